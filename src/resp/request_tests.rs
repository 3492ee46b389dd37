//! Tests of the request parser.

use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;

const LIMITS: RequestLimits = RequestLimits {
    bulk_len_max_bytes: 1_000,
    inline_len_max_bytes: 64,
    ..USUAL_LIMITS
};

/// Of a server that is not configured otherwise.
const USUAL_LIMITS: RequestLimits = RequestLimits {
    bulk_len_max_bytes: 64 << 20,
    args_max: 1 << 20,
    inline_len_max_bytes: INLINE_LEN_MAX_BYTES,
    unauthenticated: false,
};

/// One request's arguments and its length, or that it is incomplete.
type Parsed = Result<Option<(Vec<Vec<u8>>, usize)>, ProtocolError>;

fn parse_on(parser: &mut RequestParser, buf: &[u8], limits: &RequestLimits) -> Parsed {
    // Fresh rubbish on every call: what the parser needs it must keep itself.
    let mut spans = vec![Span { start: 7, end: 9 }];
    let Some(request) = parser.parse(buf, limits, &mut spans)? else {
        assert!(parser.missing_bytes() > 0);
        return Ok(None);
    };
    let bytes = if request.inline {
        parser.inline_bytes()
    } else {
        buf
    };
    let args = spans.iter().map(|span| bytes[span.range()].to_vec()).collect();
    Ok(Some((args, request.consumed_bytes)))
}

fn parse(buf: &[u8]) -> Parsed {
    parse_on(&mut RequestParser::new(), buf, &LIMITS)
}

fn args(args: &[&[u8]], consumed_bytes: usize) -> Parsed {
    Ok(Some((
        args.iter().map(|arg| arg.to_vec()).collect(),
        consumed_bytes,
    )))
}

fn parse_byte_by_byte(buf: &[u8]) -> Parsed {
    let mut parser = RequestParser::new();
    for end in 0..=buf.len() {
        let parsed = parse_on(&mut parser, &buf[..end], &LIMITS);
        if parsed != Ok(None) {
            return parsed;
        }
    }
    Ok(None)
}

fn text(buf: &[u8]) -> String {
    let error = parse(buf).expect_err("must be refused");
    assert_eq!(parse_byte_by_byte(buf), Err(error), "{}", buf.escape_ascii());
    error.to_string().replace("Protocol error: ", "")
}

#[test]
fn requests_are_found() {
    assert_eq!(
        parse(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n"),
        args(&[b"GET", b"k"], 20)
    );
    assert_eq!(parse(b"*1\r\n$0\r\n\r\n"), args(&[b""], 10));
    assert_eq!(parse(b"PING\r\nrest"), args(&[b"PING"], 6));
    assert_eq!(parse(b"SET \"a b\" 'c'\n"), args(&[b"SET", b"a b", b"c"], 14));
    let long = [&b"*1\r\n$1000\r\n"[..], &[b'x'; 1000], b"\r\n"].concat();
    assert_eq!(parse(&long), args(&[&[b'x'; 1000]], long.len()));
    let twelve = [&b"*12\r\n"[..], &b"$12\r\nabcdefghijkl\r\n".repeat(12)].concat();
    assert_eq!(parse(&twelve), args(&[&b"abcdefghijkl"[..]; 12], twelve.len()));
}

#[test]
fn empty_requests_have_no_arguments() {
    for (buf, consumed_bytes) in [
        (&b"\r\n"[..], 2),
        (b"\n", 1),
        (b"  \r\n", 4),
        (b"*0\r\n", 4),
        (b"*-1\r\n", 5),
    ] {
        assert_eq!(parse(buf), args(&[], consumed_bytes));
        assert_eq!(parse_byte_by_byte(buf), args(&[], consumed_bytes));
    }
}

#[test]
fn refusals_have_the_words_of_redis() {
    assert_eq!(text(b"*x\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*01\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*1048577\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*99999999999999999999\r\n"), "invalid multibulk length");
    assert_eq!(text(b"*1\r\n:3\r\n"), "expected '$', got ':'");
    assert_eq!(text(b"*1\r\n\r\n"), "expected '$', got ' '");
    assert_eq!(text(b"*1\r\n$-1\r\n"), "invalid bulk length");
    assert_eq!(text(b"*1\r\n$1001\r\n"), "invalid bulk length");
    assert_eq!(text(b"*1\r\n$abc\r\n"), "invalid bulk length");
    assert_eq!(text(b"*1\r\n$007\r\n"), "invalid bulk length");
    assert_eq!(text(b"GET 'x\r\n"), "unbalanced quotes in request");
    assert_eq!(text(&[b'1'; 65]), "too big inline request");
    assert_eq!(text(&[&[b'a'; 65][..], b"\n"].concat()), "too big inline request");
    assert_eq!(
        text(&[&b"*"[..], &[b'1'; 64]].concat()),
        "too big mbulk count string"
    );
    assert_eq!(
        text(&[&b"*1\r\n$"[..], &[b'1'; 64]].concat()),
        "too big bulk count string"
    );
    assert_eq!(
        text(&[&b"*1\r\n$"[..], &[b'1'; 64], b"\r\n"].concat()),
        "too big bulk count string"
    );
    assert_eq!(
        parse(&[&[b'a'; 64][..], b"\n"].concat()),
        args(&[&[b'a'; 64]], 65)
    );
}

#[test]
fn strangers_may_send_little() {
    let parse = |buf: &[u8]| {
        parse_on(&mut RequestParser::new(), buf, &RequestLimits::UNAUTHENTICATED)
            .map_err(|error| error.to_string())
    };
    let refused = |text: &str| Err(format!("Protocol error: {text}"));
    assert_eq!(parse(b"*10\r\n"), Ok(None));
    assert_eq!(parse(b"*11\r\n"), refused("unauthenticated multibulk length"));
    assert_eq!(parse(b"*2147483648\r\n"), refused("invalid multibulk length"));
    assert_eq!(parse(b"*1\r\n$16384\r\n"), Ok(None));
    assert_eq!(parse(b"*1\r\n$16385\r\n"), refused("unauthenticated bulk length"));
    assert_eq!(parse(b"*1\r\n$-5\r\n"), refused("invalid bulk length"));
}

#[test]
fn the_reader_learns_how_much_is_missing() {
    let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
    for (buf, missing_bytes) in [
        (&b""[..], 1),
        (b"*1\r", 1),
        (b"*1\r\n$500\r\n", 502),
        (b"*1\r\n$500\r\nab", 500),
    ] {
        assert_eq!(parser.parse(buf, &LIMITS, &mut spans), Ok(None));
        assert_eq!(parser.missing_bytes(), missing_bytes);
    }
}

#[test]
fn announcements_take_no_memory() {
    let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
    let limits = USUAL_LIMITS;
    assert_eq!(
        parser.parse(b"*1048576\r\n$67108864\r\n", &limits, &mut spans),
        Ok(None)
    );
    assert_eq!(spans.capacity() + parser.partial_spans.capacity(), 0);
}

#[test]
fn a_million_arguments_in_pieces_are_not_read_again() {
    let mut bytes = b"*1000000\r\n".to_vec();
    bytes.extend_from_slice(&b"$1\r\nx\r\n".repeat(1_000_000));
    let (mut parser, mut spans) = (RequestParser::new(), Vec::new());
    let limits = USUAL_LIMITS;
    let mut position = 0;
    // 70,000 calls: reading everything again each time would take minutes.
    for end in (0..bytes.len()).step_by(100) {
        assert_eq!(parser.parse(&bytes[..end], &limits, &mut spans), Ok(None));
        assert!(parser.progress.position >= position && parser.progress.position + 107 > end);
        position = parser.progress.position;
    }
    let request = parser.parse(&bytes, &limits, &mut spans).unwrap().unwrap();
    assert_eq!((request.consumed_bytes, spans.len()), (bytes.len(), 1_000_000));
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let frames = args
        .iter()
        .map(|arg| BytesFrame::BulkString(arg.clone().into()))
        .collect();
    let mut bytes = Default::default();
    extend_encode(&mut bytes, &BytesFrame::Array(frames), false).unwrap();
    bytes.to_vec()
}

proptest! {
    #[test]
    fn commands_parse_to_what_was_encoded(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..15), 1..4),
    ) {
        let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        let mut parser = RequestParser::new();
        let mut rest = &bytes[..];
        for command in &commands {
            let (args, consumed_bytes) = parse_on(&mut parser, rest, &LIMITS).unwrap().unwrap();
            prop_assert_eq!(&args, command);
            rest = &rest[consumed_bytes..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_pipeline_is_read_as_its_commands_are_one_by_one(
        lens in prop::collection::vec(prop::collection::vec(prop::sample::select(&[0, 1, 3, 9, 10, 13, 99, 100][..]), 1..14), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"$*\r\n019x"[..])), 0..3),
    ) {
        let command = |lens: &Vec<usize>| encode(&lens.iter().map(|len| vec![b'a'; *len]).collect::<Vec<_>>());
        let mut bytes: Vec<u8> = lens.iter().flat_map(command).collect();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let (mut headers, mut spans, mut rest) = (ArgHeaders::default(), Vec::new(), &bytes[..]);
        loop {
            spans.clear();
            let quick = complete_request(rest, &LIMITS, &mut spans, &mut headers);
            let careful = parse(rest);
            let Some(consumed_bytes) = quick else {
                prop_assert!(!matches!(careful, Ok(Some(_))) || rest.first() != Some(&b'*'));
                break;
            };
            let args: Vec<Vec<u8>> = spans.iter().map(|span| rest[span.range()].to_vec()).collect();
            prop_assert_eq!(careful, Ok(Some((args, consumed_bytes))));
            rest = &rest[consumed_bytes..];
        }
    }

    #[test]
    fn the_cut_does_not_matter(
        command in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut bytes = encode(&command);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let whole = parse(&bytes);
        prop_assert_eq!(parse_byte_by_byte(&bytes), whole.clone());
        for cut in 0..bytes.len() {
            let mut parser = RequestParser::new();
            let first = parse_on(&mut parser, &bytes[..cut], &LIMITS);
            let outcome = if first == Ok(None) { parse_on(&mut parser, &bytes, &LIMITS) } else { first };
            prop_assert_eq!(outcome, whole.clone(), "cut at {}", cut);
        }
    }
}
