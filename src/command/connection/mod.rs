//! PING, HELLO, AUTH, CLIENT and other commands about the connection itself.

mod client;
mod client_kill;
mod client_line;
mod client_mode;

use std::hint::black_box;

use crate::limits::PASSWORD_LEN_MAX_BYTES;
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Proto, Reply};

use super::entry::entry;
use super::plan::Plan;
use super::session::{PortKind, ReplyMode, Session, SessionContext, SessionStop};
use super::shared::Shared;
use super::subcommand::{Subcommand, dispatch};
use super::{Command, Flags};

pub use client_line::client_line;

/// Subcommands of CLIENT.
pub const CLIENT: &[Subcommand] = client::SUBCOMMANDS;

/// The version of Redis whose behaviour clients may expect: they switch features by it.
pub const REDIS_VERSION: &str = "7.4.0";

/// Version of RedisTimeSeries whose commands are understood, as MODULE LIST counts: 8.10.0.
pub const TIME_SERIES_MODULE_VERSION: i64 = 81_000;

/// Name of the only user.
pub const DEFAULT_USER: &str = "default";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";
const HELLO_NOT_AUTHENTICATED: &str = "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select \
    the RESP protocol version at the same time";

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("AUTH", -2, Flags::FAST.and(Flags::NO_AUTH), auth)
        .of_group("connection")
        .says("1.0.0", "[username] password", "Authenticates the connection."),
    entry("CLIENT", -2, Flags::NONE, client_command)
        .of_group("connection")
        .says("2.4.0", "", "A container for client connection commands."),
    entry("ECHO", 2, Flags::FAST, echo).of_group("connection").says(
        "1.0.0",
        "message",
        "Returns the given string.",
    ),
    entry("HELLO", -1, Flags::FAST.and(Flags::NO_AUTH), hello)
        .of_group("connection")
        .says(
            "6.0.0",
            "[protover [AUTH username password] [SETNAME clientname]]",
            "Handshakes with the server.",
        ),
    entry("PING", -1, Flags::FAST, ping).of_group("connection").says(
        "1.0.0",
        "[message]",
        "Returns the server's liveliness response.",
    ),
    entry(
        "QUIT",
        -1,
        Flags::FAST.and(Flags::NO_AUTH).and(Flags::IN_MULTI),
        quit,
    )
    .of_group("connection")
    .says("1.0.0", "", "Closes the connection."),
    entry(
        "RESET",
        1,
        Flags::FAST.and(Flags::NO_AUTH).and(Flags::IN_MULTI),
        reset,
    )
    .of_group("connection")
    .says("6.2.0", "", "Resets the connection."),
    entry("TIME", 1, Flags::FAST, time)
        .of_group("server")
        .says("2.6.0", "", "Returns the server time."),
];

fn client_command(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    dispatch(CLIENT, context, args, reply)
}

fn ping(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    // Among messages, an answer has to look like one of them.
    if context.session.subscriptions.is_some() && reply.proto() == Proto::Resp2 && args.len() <= 2 {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(args.try_get(1).unwrap_or(b""));
        return Ok(());
    }
    match args.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.get(1)),
        _ => return Err(Refusal::Arity("ping".into()).into()),
    }
    Ok(())
}

fn echo(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    reply.bulk(args.get(1));
    Ok(())
}

fn quit(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    context.session.closing = true;
    reply.ok();
    Ok(())
}

/// Back to the state of a new connection; what SETINFO told stays, as in Redis.
fn reset(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let is_open = context.shared.settings().password.is_empty();
    let session = &mut *context.session;
    session.transaction = None;
    session.batch = Vec::new();
    session.monitor = None;
    session.subscriptions = None;
    session.name.clear();
    session.proto = Proto::Resp2;
    session.reply_mode = ReplyMode::On;
    session.no_evict = false;
    session.no_touch = false;
    session.readonly = false;
    session.authenticated = is_open;
    reply.set_proto(Proto::Resp2);
    if session.watching {
        return Err(Plan::Reset.into());
    }
    reply.simple("RESET");
    Ok(())
}

fn time(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let now_us = context.clock.now_us();
    reply.array(2);
    reply.bulk_i64(now_us.div_euclid(1_000_000));
    reply.bulk_i64(now_us.rem_euclid(1_000_000));
    Ok(())
}

fn auth(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let (user, password) = match args.len() {
        2 if context.shared.settings().password.is_empty() => return Err(Refusal::text(NO_PASSWORD).into()),
        2 => (DEFAULT_USER.as_bytes(), args.get(1)),
        3 => (args.get(1), args.get(2)),
        _ => return Err(Refusal::Syntax.into()),
    };
    authenticate(context, user, password)?;
    reply.ok();
    Ok(())
}

/// Logs the client in; without a configured password any will do, as in Redis.
fn authenticate(context: &mut SessionContext<'_>, user: &[u8], password: &[u8]) -> Result<(), Refusal> {
    let settings = context.shared.settings();
    let expected = settings.password.as_bytes();
    let is_right = expected.is_empty() || equal_in_constant_time(password, expected);
    if user != DEFAULT_USER.as_bytes() || !is_right {
        return Err(Refusal::text(WRONG_PASSWORD));
    }
    context.session.authenticated = true;
    Ok(())
}

/// Compares without telling by the time taken how much of a guess was right.
fn equal_in_constant_time(given: &[u8], expected: &[u8]) -> bool {
    let byte = |text: &[u8], index: usize| text.get(index).copied().unwrap_or(0);
    let mut difference = u8::from(given.len() != expected.len());
    for index in 0..PASSWORD_LEN_MAX_BYTES {
        difference |= black_box(byte(given, index) ^ byte(expected, index));
    }
    black_box(difference) == 0
}

/// Options of HELLO, read completely before anything is changed.
#[derive(Default)]
struct Hello<'a> {
    proto: Option<Proto>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a str>,
}

fn parse_hello<'a>(args: Args<'a>) -> Result<Hello<'a>, Refusal> {
    let mut hello = Hello::default();
    let mut options = args.cursor(1);
    if let Some(version) = options.next() {
        let not_a_number = "ERR Protocol version is not an integer or out of range";
        hello.proto = match parse_i64(version) {
            Some(2) => Some(Proto::Resp2),
            Some(3) => Some(Proto::Resp3),
            Some(_) => return Err(Refusal::text("NOPROTO unsupported protocol version")),
            None => return Err(Refusal::text(not_a_number)),
        };
    }
    while let Some(option) = options.next() {
        let values = options.rest();
        if option.eq_ignore_ascii_case(b"AUTH") && values.len() >= 2 {
            hello.login = Some((values.get(0), values.get(1)));
            options = values.cursor(2);
        } else if option.eq_ignore_ascii_case(b"SETNAME") && !values.is_empty() {
            hello.name = Some(client::valid_name(values.get(0))?);
            options = values.cursor(1);
        } else {
            let option = String::from_utf8_lossy(option);
            return Err(Refusal::text(format!(
                "ERR Syntax error in HELLO option '{option}'"
            )));
        }
    }
    Ok(hello)
}

fn hello(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let hello = parse_hello(args)?;
    if let Some((user, password)) = hello.login {
        authenticate(context, user, password)?;
    }
    if !context.session.authenticated {
        return Err(Refusal::text(HELLO_NOT_AUTHENTICATED).into());
    }
    if let Some(name) = hello.name {
        context.session.name = name.to_owned();
    }
    if let Some(proto) = hello.proto {
        context.session.proto = proto;
        reply.set_proto(proto);
    }
    reply.map(7);
    for (name, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if context.session.proto == Proto::Resp3 {
        3
    } else {
        2
    });
    reply.bulk(b"id");
    reply.integer(context.session.id as i64);
    for (name, value) in [("mode", mode(context.session)), ("role", "master")] {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    write_modules(context.shared, reply);
    Ok(())
}

/// `cluster` on lane ports, where every core is a node.
pub fn mode(session: &Session) -> &'static str {
    if matches!(session.port, PortKind::Lane(_)) {
        "cluster"
    } else {
        "standalone"
    }
}

/// True if the commands of RedisTimeSeries are there.
pub fn has_time_series(shared: &Shared) -> bool {
    shared.commands.find(b"TS.ADD").is_some()
}

/// What MODULE LIST replies: tools look for `timeseries` before they send TS commands.
pub fn write_modules(shared: &Shared, reply: &mut Reply) {
    if !has_time_series(shared) {
        reply.array(0);
        return;
    }
    reply.array(1);
    reply.map(4);
    reply.bulk(b"name");
    reply.bulk(b"timeseries");
    reply.bulk(b"ver");
    reply.integer(TIME_SERIES_MODULE_VERSION);
    reply.bulk(b"path");
    reply.bulk(b"");
    reply.bulk(b"args");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::TestClient;

    #[test]
    fn small_ones_answer_as_redis() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["PING"]), "+PONG\r\n");
        assert_eq!(client.run(&["PING", "a"]), "$1\r\na\r\n");
        assert_eq!(
            client.run(&["PING", "a", "b"]),
            "-ERR wrong number of arguments for 'ping' command\r\n"
        );
        assert_eq!(client.run(&["ECHO", "a"]), "$1\r\na\r\n");
        assert_eq!(
            client.run(&["TIME"]),
            "*2\r\n$10\r\n1700000000\r\n$6\r\n123000\r\n"
        );
        assert_eq!(client.run(&["QUIT"]), "+OK\r\n");
        assert!(client.session.closing);
    }

    #[test]
    fn a_password_is_asked_for_and_compared() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["AUTH", "x"]), format!("-{NO_PASSWORD}\r\n"));
        assert_eq!(client.run(&["AUTH", "default", "x"]), "+OK\r\n");
        assert_eq!(client.run(&["CONFIG", "SET", "requirepass", "secret"]), "+OK\r\n");
        client.session.authenticated = false;
        for wrong in ["secre", "secret1", "", "Secret"] {
            assert_eq!(client.run(&["AUTH", wrong]), format!("-{WRONG_PASSWORD}\r\n"));
        }
        assert_eq!(
            client.run(&["AUTH", "nobody", "secret"]),
            format!("-{WRONG_PASSWORD}\r\n")
        );
        assert_eq!(client.run(&["AUTH", "a", "b", "c"]), "-ERR syntax error\r\n");
        assert!(
            client
                .run(&["HELLO", "3"])
                .starts_with("-NOAUTH HELLO must be called")
        );
        assert!(!client.session.authenticated && client.session.proto == Proto::Resp2);
        assert!(
            client
                .run(&["HELLO", "3", "AUTH", "default", "secret"])
                .starts_with("%7\r\n")
        );
        assert!(client.session.authenticated);
        assert_eq!(client.run(&["RESET"]), "+RESET\r\n");
        assert!(!client.session.authenticated && client.session.proto == Proto::Resp2);
        assert_eq!(client.run(&["AUTH", "secret"]), "+OK\r\n");
        assert!(client.session.authenticated);
        assert!(
            !equal_in_constant_time(b"secret\0", b"secret"),
            "zero bytes are no padding"
        );
    }

    #[test]
    fn hello_says_who_we_are_in_both_dialects() {
        let mut client = TestClient::new();
        let resp2 = client.run(&["HELLO", "2", "SETNAME", "me"]);
        let head =
            format!("*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n{REDIS_VERSION}\r\n");
        assert!(resp2.starts_with(&head), "{resp2}");
        assert!(resp2.contains("$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"));
        assert_eq!(client.session.name, "me");
        assert!(client.run(&["HELLO", "3"]).starts_with("%7\r\n"));
        client.session.port = PortKind::Lane(1);
        assert!(
            client
                .run(&["HELLO"])
                .contains("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$7\r\ncluster\r\n")
        );
    }

    #[test]
    fn a_refused_hello_changes_nothing() {
        let mut client = TestClient::new();
        for (line, text) in [
            (&["HELLO", "4"][..], "NOPROTO unsupported protocol version"),
            (
                &["HELLO", "abc"],
                "ERR Protocol version is not an integer or out of range",
            ),
            (
                &["HELLO", "3", "BOGUS"],
                "ERR Syntax error in HELLO option 'BOGUS'",
            ),
            (
                &["HELLO", "3", "AUTH", "default"],
                "ERR Syntax error in HELLO option 'AUTH'",
            ),
            (
                &["HELLO", "3", "SETNAME"],
                "ERR Syntax error in HELLO option 'SETNAME'",
            ),
            (
                &["HELLO", "3", "SETNAME", "two words"],
                "ERR Client names cannot contain spaces, newlines or special characters.",
            ),
            (&["HELLO", "3", "AUTH", "nobody", "x"], WRONG_PASSWORD),
        ] {
            assert_eq!(client.run(line), format!("-{text}\r\n"));
            assert_eq!(
                (client.session.proto, client.session.name.as_str()),
                (Proto::Resp2, "")
            );
        }
    }

    #[test]
    fn reset_forgets_what_was_begun() {
        let mut client = TestClient::new();
        client.session.transaction = Some(Default::default());
        client.session.batch.push(b"k".as_slice().into());
        client.session.reply_mode = ReplyMode::Off;
        assert_eq!(client.run(&["RESET"]), "+RESET\r\n");
        assert!(client.session.transaction.is_none() && client.session.batch.is_empty());
        assert_eq!(client.session.reply_mode, ReplyMode::On);
        client.session.watching = true;
        assert!(matches!(client.plan(&["RESET"]), Plan::Reset));
    }
}
