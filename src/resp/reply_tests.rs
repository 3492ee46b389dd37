//! Tests of the eply encode, read back by an independent decoder.

use super::*;
use crate::resp::skip_value;
use redis_protocol::resp2::decode::decode as decode_resp2;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode as decode_resp3;
use redis_protocol::resp3::types::OwnedFrame as Frame3;
use redis_protocol::resp3::types::VerbatimStringFormat;

fn encoded(proto: Proto, write: impl Fn(&mut Reply)) -> Vec<u8> {
    let mut reply = Reply::new(proto);
    write(&mut reply);
    assert_eq!(
        skip_value(reply.as_bytes()),
        Some(reply.len()),
        "{}",
        reply.as_bytes().escape_ascii()
    );
    reply.take()
}

fn resp2(write: impl Fn(&mut Reply)) -> Frame2 {
    let bytes = encoded(Proto::Resp2, write);
    let (frame, used) = decode_resp2(&bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    frame
}

fn resp3(write: impl Fn(&mut Reply)) -> Frame3 {
    let bytes = encoded(Proto::Resp3, write);
    let (frame, used) = decode_resp3(&bytes).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    frame
}

fn bulk2(text: &str) -> Frame2 {
    Frame2::BulkString(text.as_bytes().to_vec())
}

fn number3(data: i64) -> Frame3 {
    Frame3::Number {
        data,
        attributes: None,
    }
}

#[test]
fn plain_values_decode_in_resp2() {
    assert_eq!(resp2(Reply::ok), Frame2::SimpleString(b"OK".to_vec()));
    assert_eq!(
        resp2(|r| r.simple("a\r\nb")),
        Frame2::SimpleString(b"a  b".to_vec())
    );
    for value in [0, 1, -1, 42, i64::MIN, i64::MAX] {
        assert_eq!(resp2(|r| r.integer(value)), Frame2::Integer(value));
        assert_eq!(resp2(|r| r.bulk_i64(value)), bulk2(&value.to_string()));
    }
    for length in [0, 1, 9, 10, 255, 256, 100_000] {
        let text = "x".repeat(length);
        assert_eq!(resp2(|r| r.bulk(text.as_bytes())), bulk2(&text));
        assert_eq!(resp2(|r| r.bulk_display(&text)), bulk2(&text));
    }
    assert_eq!(resp2(Reply::null), Frame2::Null);
    assert_eq!(resp2(Reply::null_array), Frame2::Null);
    assert_eq!(resp2(|r| r.boolean(true)), Frame2::Integer(1));
    assert_eq!(resp2(|r| r.double(1.5)), bulk2("1.5"));
    assert_eq!(resp2(|r| r.verbatim("txt", b"hi")), bulk2("hi"));
}

#[test]
fn plain_values_decode_in_resp3() {
    assert_eq!(resp3(Reply::null), Frame3::Null);
    assert_eq!(resp3(Reply::null_array), Frame3::Null);
    assert_eq!(
        resp3(|r| r.boolean(false)),
        Frame3::Boolean {
            data: false,
            attributes: None
        }
    );
    for value in [1.5, 3.0, 1e300, 1e-300, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(
            resp3(|r| r.double(value)),
            Frame3::Double {
                data: value,
                attributes: None
            }
        );
    }
    assert_eq!(encoded(Proto::Resp3, |r| r.double(f64::NAN)), b",nan\r\n");
    let verbatim = Frame3::VerbatimString {
        data: b"hi".to_vec(),
        format: VerbatimStringFormat::Text,
        attributes: None,
    };
    assert_eq!(resp3(|r| r.verbatim("txt", b"hi")), verbatim);
}

#[test]
fn aggregates_decode() {
    let pairs = |r: &mut Reply| {
        r.map(1);
        r.bulk(b"k");
        r.integer(7);
    };
    assert_eq!(resp2(pairs), Frame2::Array(vec![bulk2("k"), Frame2::Integer(7)]));
    let Frame3::Map { data, .. } = resp3(pairs) else {
        panic!("not a map")
    };
    let key = Frame3::BlobString {
        data: b"k".to_vec(),
        attributes: None,
    };
    assert_eq!(data.get(&key), Some(&number3(7)));

    let many = |r: &mut Reply| {
        r.array(300);
        (0..300).for_each(|i| r.integer(i));
    };
    assert_eq!(
        resp2(many),
        Frame2::Array((0..300).map(Frame2::Integer).collect())
    );
    let set = |r: &mut Reply| {
        r.set(1);
        r.integer(1);
    };
    assert_eq!(resp2(set), Frame2::Array(vec![Frame2::Integer(1)]));
    assert!(matches!(resp3(set), Frame3::Set { data, .. } if data.contains(&number3(1))));
    assert_eq!(
        encoded(Proto::Resp3, |r| (r.push(1), r.integer(2)).1),
        b">1\r\n:2\r\n"
    );
    assert_eq!(
        encoded(Proto::Resp2, |r| (r.push(1), r.integer(2)).1),
        b"*1\r\n:2\r\n"
    );
}

#[test]
fn an_error_is_one_line() {
    let text = "ERR unknown command 'a\r\n+OK\r\n'";
    assert_eq!(
        resp2(|r| r.error(text)),
        Frame2::Error("ERR unknown command 'a  +OK  '".into())
    );
    assert_eq!(
        encoded(Proto::Resp3, |r| r.error(format_args!("ERR {}", 5))),
        b"-ERR 5\r\n"
    );
}

#[test]
fn a_part_can_be_taken_back() {
    let mut reply = Reply::new(Proto::Resp2);
    reply.ok();
    let mark = reply.len();
    reply.array(5);
    reply.null();
    reply.truncate(mark);
    reply.raw(b":1\r\n");
    assert_eq!(reply.as_bytes(), b"+OK\r\n:1\r\n");
    assert_eq!(
        (reply.take(), reply.is_empty()),
        (b"+OK\r\n:1\r\n".to_vec(), true)
    );
    reply.set_proto(Proto::Resp3);
    reply.null();
    assert_eq!((reply.as_bytes(), reply.proto()), (&b"_\r\n"[..], Proto::Resp3));
}
