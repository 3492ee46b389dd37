//! Damaged requests never panic or hang, and parse the same however the network cuts them.

use fastrand::Rng;
use ticklane::resp::{ProtocolError, RequestLimits, RequestParser, skip_value};

const INPUTS: u64 = 200_000;

/// Small limits, so that damage reaches them.
const LIMITS: RequestLimits = RequestLimits {
    bulk_len_max_bytes: 300,
    args_max: 20,
    inline_len_max_bytes: 60,
    unauthenticated: false,
};

/// Bytes that mean something to the parser, so that damage is more than noise.
const TELLING_BYTES: &[u8] = b"*$\r\n0123456789-+ \"'\\x:\0\xff";

/// All requests of a stream as their arguments, the bytes used, and how the stream ended.
#[derive(Debug, Default, PartialEq)]
struct Conversation {
    requests: Vec<Vec<Vec<u8>>>,
    consumed_bytes: usize,
    error: Option<ProtocolError>,
}

/// Parses everything in `bytes`, which arrive up to each of `cuts` in turn and then whole.
fn converse(bytes: &[u8], cuts: &[usize]) -> Conversation {
    let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
    let mut conversation = Conversation::default();
    for arrived in cuts.iter().copied().chain([bytes.len()]) {
        while conversation.consumed_bytes < arrived {
            let buf = &bytes[conversation.consumed_bytes..arrived];
            match parser.parse(buf, &LIMITS, &mut spans) {
                Ok(Some(request)) => {
                    assert!(request.consumed_bytes > 0 && request.consumed_bytes <= buf.len());
                    let source = if request.inline {
                        parser.inline_bytes()
                    } else {
                        buf
                    };
                    let args = spans.iter().map(|span| source[span.range()].to_vec()).collect();
                    conversation.requests.push(args);
                    conversation.consumed_bytes += request.consumed_bytes;
                }
                Ok(None) => {
                    assert!(parser.missing_bytes() > 0);
                    break;
                }
                Err(error) => {
                    conversation.error = Some(error);
                    return conversation;
                }
            }
        }
    }
    conversation
}

/// A few requests, most of them well-formed.
fn stream(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..4) {
        match rng.u8(0..8) {
            0 => bytes.extend_from_slice(b"SET \"a\\x41 b\" 'c\\'d' e\r\n"),
            1 => bytes.extend_from_slice(b"*0\r\n"),
            2 => bytes.extend(std::iter::repeat_with(|| telling_byte(rng)).take(20)),
            _ => push_command(&mut bytes, rng),
        }
    }
    bytes
}

fn push_command(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let args = rng.usize(1..8);
    bytes.extend_from_slice(format!("*{args}\r\n").as_bytes());
    for _ in 0..args {
        let len_bytes = if rng.u8(0..10) == 0 {
            rng.usize(90..330)
        } else {
            rng.usize(0..12)
        };
        bytes.extend_from_slice(format!("${len_bytes}\r\n").as_bytes());
        bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(len_bytes));
        bytes.extend_from_slice(b"\r\n");
    }
}

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(0..4) {
        let index = rng.usize(..=bytes.len());
        let byte = telling_byte(rng);
        match rng.u8(0..4) {
            0 => bytes.insert(index, byte),
            1 if index < bytes.len() => drop(bytes.remove(index)),
            2 => bytes.truncate(index),
            _ if index < bytes.len() => bytes[index] = byte,
            _ => bytes.push(byte),
        }
    }
}

fn telling_byte(rng: &mut Rng) -> u8 {
    TELLING_BYTES[rng.usize(..TELLING_BYTES.len())]
}

#[test]
fn damaged_requests_parse_the_same_however_they_are_cut() {
    let (mut complete, mut refused) = (0_u64, 0_u64);
    for seed in 0..INPUTS {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = stream(&mut rng);
        damage(&mut bytes, &mut rng);
        let whole = converse(&bytes, &[]);
        let mut cuts = [rng.usize(..=bytes.len()), rng.usize(..=bytes.len())];
        cuts.sort_unstable();
        assert_eq!(
            converse(&bytes, &cuts),
            whole,
            "seed {seed}: {} cut at {cuts:?}",
            bytes.escape_ascii()
        );
        if seed % 64 == 0 {
            let every_byte: Vec<usize> = (0..bytes.len()).collect();
            assert_eq!(
                converse(&bytes, &every_byte),
                whole,
                "seed {seed}: {}",
                bytes.escape_ascii()
            );
        }
        assert!(
            skip_value(&bytes).is_none_or(|length| length <= bytes.len()),
            "seed {seed}"
        );
        complete += u64::from(!whole.requests.is_empty());
        refused += u64::from(whole.error.is_some());
    }
    // The input is neither all sound nor all broken, so both sides of the parser have been seen.
    assert!(
        complete > INPUTS / 4 && refused > INPUTS / 10,
        "{complete} complete, {refused} refused"
    );
}
