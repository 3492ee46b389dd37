//! MONITOR, and how it and SLOWLOG show calls: without secrets.

use std::io::Write;

use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

use super::entry::entry;
use super::session::{SessionContext, SessionStop};
use super::subcommand::{check, subcommands_of};
use super::{Command, Flags};

/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"(redacted)";

/// Parameters of CONFIG SET whose values are secrets.
const SECRET_PARAMETERS: [&str; 3] = ["requirepass", "masterauth", "masteruser"];

/// The family's table.
pub const COMMANDS: &[Command] = &[entry("MONITOR", 1, Flags::ADMIN, monitor)
    .of_group("server")
    .says(
        "1.0.0",
        "",
        "Listens for all requests received by the server in real-time.",
    )];

/// Who monitors already gets no answer to a second MONITOR, as in Redis.
fn monitor(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if context.session.executing.is_some() {
        return Err(Refusal::text("ERR MONITOR isn't allowed for DENY BLOCKING client").into());
    }
    if context.session.monitor.is_none() {
        context.session.monitor = Some(context.shared.connections.monitor());
        reply.ok();
    }
    Ok(())
}

/// Whether a client that monitors, which Redis takes for a replica, may call the command.
///
/// # Errors
/// The refusal of Redis.
pub fn admit_monitor(command: &Command) -> Result<(), Refusal> {
    let sees_keys = command.flags.has(Flags::WRITE) || command.flags.has(Flags::READONLY);
    match sees_keys || matches!(command.name, "PUBLISH" | "SPUBLISH") {
        true => Err(Refusal::text("ERR Replica can't interact with the keyspace")),
        false => Ok(()),
    }
}

/// Whether MONITOR shows a call that was let in: not what operators do, nor what the container of a subcommand refuses.
pub fn is_shown(command: &Command, args: Args<'_>) -> bool {
    if command.flags.has(Flags::ADMIN) || command.name == "QUIT" {
        return false;
    }
    let subcommands = subcommands_of(command.name);
    subcommands.is_empty()
        || args.len() == 1
        || check(subcommands, args)
            .is_ok_and(|found| found.is_none_or(|subcommand| !subcommand.flags.has(Flags::ADMIN)))
}

/// Appends the line that clients under MONITOR get of a call.
pub fn write_line(out: &mut Vec<u8>, now_us: i64, address: &str, args: Args<'_>) {
    let (seconds, microseconds) = (now_us.div_euclid(1_000_000), now_us.rem_euclid(1_000_000));
    write!(out, "+{seconds}.{microseconds:06} [0 {address}]").expect("invariant: memory takes all");
    for arg in shown_args(args) {
        out.push(b' ');
        write_quoted(out, arg);
    }
    out.extend_from_slice(b"\r\n");
}

/// The arguments of a call without its secrets.
pub fn shown_args(args: Args<'_>) -> impl Iterator<Item = &[u8]> {
    args.iter()
        .enumerate()
        .map(move |(index, arg)| if is_secret(args, index) { REDACTED } else { arg })
}

fn is_secret(args: Args<'_>, index: usize) -> bool {
    let is = |index: Option<usize>, word: &str| {
        index
            .and_then(|index| args.try_get(index))
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let (last, last_but_one) = (index.checked_sub(1), index.checked_sub(2));
    if is(Some(0), "AUTH") {
        index > 0
    } else if is(Some(0), "HELLO") {
        // HELLO protover AUTH username password
        index > 2 && (is(last, "AUTH") || index > 3 && is(last_but_one, "AUTH"))
    } else {
        let is_value = index > 2 && index % 2 == 1;
        is_value
            && is(Some(0), "CONFIG")
            && is(Some(1), "SET")
            && SECRET_PARAMETERS.iter().any(|parameter| is(last, parameter))
    }
}

/// Appends bytes in quotes, those that cannot be printed as escapes.
fn write_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => write!(out, "\\x{byte:02x}").expect("invariant: memory takes all"),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandTable;
    use crate::command::test_support::{TestClient, args_of};

    fn line(words: &[&str]) -> String {
        let (buffer, spans) = args_of(words);
        let mut out = Vec::new();
        write_line(
            &mut out,
            1_339_518_083_107_412,
            "127.0.0.1:60866",
            Args::new(&buffer, &spans),
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_those_of_redis() {
        assert_eq!(
            line(&["keys", "*"]),
            "+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"
        );
        let escaped = line(&["set", "", "a\"b\\\r\n\t\x07\x08\0ä"]);
        assert!(
            escaped.ends_with("\"set\" \"\" \"a\\\"b\\\\\\r\\n\\t\\a\\b\\x00\\xc3\\xa4\"\r\n"),
            "{escaped}"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        for (words, shown) in [
            (&["AUTH", "secret"][..], "\"AUTH\" \"(redacted)\""),
            (
                &["auth", "me", "secret"],
                "\"auth\" \"(redacted)\" \"(redacted)\"",
            ),
            (
                &["HELLO", "3", "auth", "me", "secret", "SETNAME", "n"],
                "\"HELLO\" \"3\" \"auth\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"",
            ),
            (
                &["config", "SET", "timeout", "0", "RequirePass", "secret"],
                "\"config\" \"SET\" \"timeout\" \"0\" \"RequirePass\" \"(redacted)\"",
            ),
            (
                &["SET", "requirepass", "secret"],
                "\"SET\" \"requirepass\" \"secret\"",
            ),
        ] {
            let line = line(words);
            assert_eq!(line.split_once("] ").unwrap().1.trim_end(), shown, "{words:?}");
        }
    }

    #[test]
    fn what_operators_do_is_not_shown() {
        let table = CommandTable::default();
        for (words, shown) in [
            (&["GET", "k"][..], true),
            (&["CONFIG", "SET", "timeout", "0"], false),
            (&["CONFIG", "HELP"], true),
            (&["CLIENT", "SETNAME", "me"], true),
            (&["CLIENT", "LIST"], false),
            (&["CLIENT", "NOSUCH"], false),
            (&["CLIENT", "ID", "1"], false),
            (&["COMMAND"], true),
            (&["SAVE"], false),
            (&["DEBUG", "SLEEP", "0"], false),
            (&["MONITOR"], false),
            (&["QUIT"], false),
        ] {
            let (buffer, spans) = args_of(words);
            let args = Args::new(&buffer, &spans);
            let command = table.get(table.find(words[0].as_bytes()).unwrap());
            assert_eq!(is_shown(command, args), shown, "{words:?}");
        }
    }

    #[test]
    fn who_monitors_is_counted_until_reset() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["MONITOR"]), "+OK\r\n");
        assert_eq!(client.run(&["MONITOR"]), "");
        assert_eq!(client.shared.connections.monitors(), 1);
        assert_eq!(client.run(&["RESET"]), "+RESET\r\n");
        assert_eq!(client.shared.connections.monitors(), 0);
    }
}
