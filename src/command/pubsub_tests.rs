//! Tests of SUBSCRIBE, PUBLISH and their kind.

use super::*;
use crate::command::test_support::TestClient;

#[test]
fn subscriptions_are_counted_and_confirmed() {
    let mut client = TestClient::new();
    let confirmed = |verb: &str, name: &str, count: usize| {
        format!(
            "*3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:{count}\r\n",
            verb.len(),
            name.len()
        )
    };
    assert_eq!(
        client.run(&["SUBSCRIBE", "a", "b", "a"]),
        confirmed("subscribe", "a", 1) + &confirmed("subscribe", "b", 2) + &confirmed("subscribe", "a", 2)
    );
    assert_eq!(
        client.run(&["PSUBSCRIBE", "n*"]),
        confirmed("psubscribe", "n*", 3)
    );
    assert_eq!(
        client.run(&["UNSUBSCRIBE", "x"]),
        confirmed("unsubscribe", "x", 3)
    );
    assert_eq!(
        client.run(&["UNSUBSCRIBE"]),
        confirmed("unsubscribe", "a", 2) + &confirmed("unsubscribe", "b", 1)
    );
    assert_eq!(
        client.run(&["UNSUBSCRIBE"]),
        "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:1\r\n"
    );
    assert_eq!(client.run(&["PUNSUBSCRIBE"]), confirmed("punsubscribe", "n*", 0));
    assert!(client.session.subscriptions.is_none());
}

#[test]
fn a_message_comes_once_per_subscription_that_it_fits() {
    let subscriptions = Subscriptions {
        channels: BTreeSet::from([b"news"[..].into()]),
        patterns: BTreeSet::from([b"n*"[..].into(), b"x*"[..].into()]),
        sharded: BTreeSet::from([b"news"[..].into()]),
    };
    let mut message = Message {
        channel: b"news"[..].into(),
        payload: b"1"[..].into(),
        is_sharded: false,
    };
    let mut reply = Reply::new(Proto::Resp3);
    assert_eq!(subscriptions.write(&message, &mut reply), 2);
    let expected = ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\n1\r\n\
                    >4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$1\r\n1\r\n";
    assert_eq!(String::from_utf8_lossy(reply.as_bytes()), expected);
    message.is_sharded = true;
    let mut reply = Reply::new(Proto::Resp2);
    assert_eq!(subscriptions.write(&message, &mut reply), 1);
    let expected = "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$1\r\n1\r\n";
    assert_eq!(String::from_utf8_lossy(reply.as_bytes()), expected);
}

#[test]
fn sharded_channels_are_counted_apart() {
    let mut client = TestClient::new();
    let one =
        |verb: &str, count: usize| format!("*3\r\n${}\r\n{verb}\r\n$1\r\na\r\n:{count}\r\n", verb.len());
    assert_eq!(client.run(&["SUBSCRIBE", "a"]), one("subscribe", 1));
    assert_eq!(client.run(&["SSUBSCRIBE", "a"]), one("ssubscribe", 1));
    assert_eq!(client.run(&["UNSUBSCRIBE"]), one("unsubscribe", 0));
    assert!(client.session.subscriptions.is_some());
    assert_eq!(client.run(&["SUNSUBSCRIBE"]), one("sunsubscribe", 0));
    assert!(client.session.subscriptions.is_none());
    assert_eq!(
        client.run(&["SUNSUBSCRIBE"]),
        "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n"
    );
    assert_eq!(
        client.run(&["PUBSUB", "SHARDCHANNELS", "a", "b"]),
        "-ERR unknown subcommand or wrong number of arguments for 'SHARDCHANNELS'. Try PUBSUB HELP.\r\n"
    );
}
