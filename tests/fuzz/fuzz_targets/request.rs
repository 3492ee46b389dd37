//! Requests parse the same whether their bytes arrive at once or in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ticklane::resp::{ProtocolError, RequestLimits, RequestParser, glob_match, skip_value};

/// Small limits, so that the fuzzer reaches them.
const LIMITS: RequestLimits = RequestLimits {
    bulk_len_max_bytes: 300,
    args_max: 20,
    inline_len_max_bytes: 100,
    unauthenticated: false,
};

/// All requests in a stream, and how the stream ended.
type Conversation = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Parses everything in `bytes`, of which the first `cut` arrive first.
fn converse(bytes: &[u8], cut: usize) -> Conversation {
    let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
    let (mut requests, mut position) = (Vec::new(), 0);
    for arrived in [cut, bytes.len()] {
        while position < arrived {
            let buf = &bytes[position..arrived];
            match parser.parse(buf, &LIMITS, &mut spans) {
                Ok(Some(request)) => {
                    let source = if request.inline {
                        parser.inline_bytes()
                    } else {
                        buf
                    };
                    requests.push(spans.iter().map(|span| source[span.range()].to_vec()).collect());
                    assert!(request.consumed_bytes > 0 && request.consumed_bytes <= buf.len());
                    position += request.consumed_bytes;
                }
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut) * bytes.len() / 255;
    assert_eq!(converse(bytes, cut), converse(bytes, bytes.len()));
    assert!(skip_value(bytes).is_none_or(|length| length <= bytes.len()));
    let (pattern, text) = bytes.split_at(cut);
    glob_match(pattern, text, true);
});
