//! CLIENT: what a connection is called, how it behaves, which others there are.

use crate::command::Flags;
use crate::command::plan::Plan;
use crate::command::report::{ReportKinds, Reports};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, subcommand};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::client_kill::{ClientType, kill};
use super::client_line;
use super::client_mode::{
    NOT_TRACKING, parse_switch, pause, pause_order, reply_mode, tracking, tracking_info, unblock,
};

/// Longest text that SETNAME and SETINFO keep, in bytes: it is repeated in every CLIENT LIST.
const ATTRIBUTE_LEN_MAX_BYTES: usize = 64 * 1024;

const NAME_HAS_BLANKS: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// All but HELP.
pub const SUBCOMMANDS: &[Subcommand] = &[
    subcommand("client|caching", 3, Flags::NONE, |_, _, _| {
        Err(Refusal::text(NOT_TRACKING).into())
    })
    .says(
        "6.0.0",
        "<YES | NO>",
        "Instructs the server whether to track the keys in the next request.",
    ),
    subcommand("client|getname", 2, Flags::NONE, get_name).says(
        "2.6.9",
        "",
        "Returns the name of the connection.",
    ),
    subcommand("client|getredir", 2, Flags::NONE, |_, _, reply| {
        write(reply, |reply| reply.integer(-1))
    })
    .says(
        "6.0.0",
        "",
        "Returns the client ID to which the connection's tracking notifications are redirected.",
    ),
    subcommand("client|id", 2, Flags::NONE, |context, _, reply| {
        let id = context.session.id as i64;
        write(reply, |reply| reply.integer(id))
    })
    .says("5.0.0", "", "Returns the unique client ID of the connection."),
    subcommand("client|info", 2, Flags::NONE, info).says(
        "6.2.0",
        "",
        "Returns information about the connection.",
    ),
    subcommand("client|kill", -3, Flags::ADMIN, kill).says(
        "2.4.0",
        "<ip:port | <[ID client-id] | [TYPE <NORMAL | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] \
         | [LADDR ip:port] | [SKIPME <YES | NO>] | [MAXAGE maxage]>>",
        "Terminates open connections.",
    ),
    subcommand("client|list", -2, Flags::ADMIN, list).says(
        "2.4.0",
        "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        "Lists open connections.",
    ),
    subcommand("client|no-evict", 3, Flags::ADMIN, |context, args, reply| {
        context.session.no_evict = parse_switch(args.get(2))?;
        write(reply, Reply::ok)
    })
    .says(
        "7.0.0",
        "<ON | OFF>",
        "Sets the client eviction mode of the connection.",
    ),
    subcommand("client|no-touch", 3, Flags::NONE, |context, args, reply| {
        context.session.no_touch = parse_switch(args.get(2))?;
        write(reply, Reply::ok)
    })
    .says(
        "7.2.0",
        "<ON | OFF>",
        "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
    ),
    subcommand("client|pause", -3, Flags::ADMIN, pause).says(
        "3.0.0",
        "timeout [WRITE | ALL]",
        "Suspends commands processing.",
    ),
    subcommand("client|reply", 3, Flags::NONE, reply_mode).says(
        "3.2.0",
        "<ON | OFF | SKIP>",
        "Instructs the server whether to reply to commands.",
    ),
    subcommand("client|setinfo", 4, Flags::NONE, set_info).says(
        "7.2.0",
        "<LIB-NAME libname | LIB-VER libver>",
        "Sets information specific to the client or connection.",
    ),
    subcommand("client|setname", 3, Flags::NONE, |context, args, reply| {
        context.session.name = valid_name(args.get(2))?.to_owned();
        write(reply, Reply::ok)
    })
    .says("2.6.9", "connection-name", "Sets the connection name."),
    subcommand("client|tracking", -3, Flags::NONE, tracking).says(
        "6.0.0",
        "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] \
         [NOLOOP]",
        "Controls server-assisted client-side caching for the connection.",
    ),
    subcommand("client|trackinginfo", 2, Flags::NONE, tracking_info).says(
        "6.2.0",
        "",
        "Returns information about server-assisted client-side caching for the connection.",
    ),
    subcommand("client|unblock", -3, Flags::ADMIN, unblock).says(
        "5.0.0",
        "client-id [TIMEOUT | ERROR]",
        "Unblocks a client blocked by a blocking command from a different connection.",
    ),
    subcommand("client|unpause", 2, Flags::ADMIN, |_, _, _| {
        Err(pause_order(0, false).into())
    })
    .says("6.2.0", "", "Resumes processing commands from paused clients."),
];

/// Writes a reply that cannot be refused.
fn write(reply: &mut Reply, write: impl FnOnce(&mut Reply)) -> Result<(), SessionStop> {
    write(reply);
    Ok(())
}

/// A name for CLIENT SETNAME; empty takes the name away.
///
/// # Errors
/// Blanks, line ends and anything else that would break CLIENT LIST.
pub fn valid_name(name: &[u8]) -> Result<&str, Refusal> {
    attribute(name).ok_or(Refusal::text(NAME_HAS_BLANKS))
}

fn attribute(text: &[u8]) -> Option<&str> {
    let is_plain = text.len() <= ATTRIBUTE_LEN_MAX_BYTES && text.iter().all(u8::is_ascii_graphic);
    if is_plain { str::from_utf8(text).ok() } else { None }
}

fn get_name(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    match context.session.name.as_str() {
        "" => reply.null(),
        name => reply.bulk(name.as_bytes()),
    }
    Ok(())
}

fn set_info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let (option, text) = (args.get(2), args.get(3));
    let target = match () {
        () if option.eq_ignore_ascii_case(b"LIB-NAME") => &mut context.session.library_name,
        () if option.eq_ignore_ascii_case(b"LIB-VER") => &mut context.session.library_version,
        () => {
            let option = String::from_utf8_lossy(option);
            return Err(Refusal::text(format!("ERR Unrecognized option '{option}'")).into());
        }
    };
    let Some(text) = attribute(text) else {
        let option = String::from_utf8_lossy(option);
        let text = format!("ERR {option} cannot contain spaces, newlines or special characters.");
        return Err(Refusal::text(text).into());
    };
    text.clone_into(target);
    reply.ok();
    Ok(())
}

/// Answered on the spot, so that it works inside EXEC: the caller is not idle and nothing of it waits.
fn info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let session = &*context.session;
    let query_bytes = args.iter().map(<[u8]>::len).sum();
    let now_ms = context.clock.now_ms();
    let mut line = client_line(
        session,
        session.file_descriptor,
        now_ms,
        "client|info",
        0,
        query_bytes,
        0,
    );
    line.push('\n');
    reply.verbatim("txt", line.as_bytes());
    Ok(())
}

fn list(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let option = args.try_get(2).unwrap_or_default();
    if args.len() == 4 && option.eq_ignore_ascii_case(b"TYPE") {
        if ClientType::parse(args.get(3))? != ClientType::Normal {
            reply.verbatim("txt", b"");
            return Ok(());
        }
    } else if args.len() >= 4 && option.eq_ignore_ascii_case(b"ID") {
        wanted_ids(args)?;
    } else if args.len() != 2 {
        return Err(Refusal::Syntax.into());
    }
    Err(Plan::report(ReportKinds::CLIENTS, render_list).into())
}

fn wanted_ids(args: Args<'_>) -> Result<Vec<u64>, Refusal> {
    let id = |text| parse_i64(text).and_then(|id| u64::try_from(id).ok());
    let ids = args
        .from(3)
        .iter()
        .map(|text| id(text).ok_or(Refusal::text("ERR Invalid client ID")));
    ids.collect()
}

fn render_list(
    _: &mut SessionContext<'_>,
    args: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let mut clients: Vec<_> = reports.lanes.iter().flat_map(|lane| &lane.clients).collect();
    clients.sort_by_key(|client| client.id);
    if args
        .try_get(2)
        .is_some_and(|option| option.eq_ignore_ascii_case(b"ID"))
    {
        let find = |id: &u64| {
            let place = clients.binary_search_by_key(id, |client| client.id).ok()?;
            clients.get(place).copied()
        };
        clients = wanted_ids(args)?.iter().filter_map(find).collect();
    }
    let mut text = String::new();
    for client in clients {
        text.push_str(&client.line);
        text.push('\n');
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::report::ClientReport;
    use crate::command::test_support::{TestClient, reports};

    #[test]
    fn names_are_kept_and_checked() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["CLIENT", "GETNAME"]), "$-1\r\n");
        assert_eq!(client.run(&["CLIENT", "SETNAME", "worker-1"]), "+OK\r\n");
        assert_eq!(
            client.run(&["CLIENT", "SETNAME", "two words"]),
            format!("-{NAME_HAS_BLANKS}\r\n")
        );
        assert_eq!(
            client.run(&["CLIENT", "SETNAME", "line\n"]),
            format!("-{NAME_HAS_BLANKS}\r\n")
        );
        assert_eq!(client.run(&["CLIENT", "GETNAME"]), "$8\r\nworker-1\r\n");
        assert_eq!(client.run(&["CLIENT", "SETNAME", ""]), "+OK\r\n");
        assert_eq!(client.run(&["CLIENT", "GETNAME"]), "$-1\r\n");
    }

    #[test]
    fn library_names_show_in_info() {
        let mut client = TestClient::new();
        assert_eq!(
            client.run(&["CLIENT", "SETINFO", "LIB-NAME", "redis-py"]),
            "+OK\r\n"
        );
        assert_eq!(client.run(&["CLIENT", "SETINFO", "lib-ver", "1.2"]), "+OK\r\n");
        let info = client.run(&["CLIENT", "INFO"]);
        assert!(
            info.contains(" cmd=client|info ") && info.ends_with(" lib-name=redis-py lib-ver=1.2\n\r\n"),
            "{info}"
        );
        let refusal = "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(
            client.run(&["CLIENT", "SETINFO", "lib-name", "redis py"]),
            refusal
        );
        assert_eq!(
            client.run(&["CLIENT", "SETINFO", "BOGUS", "x"]),
            "-ERR Unrecognized option 'BOGUS'\r\n"
        );
    }

    #[test]
    fn lists_are_sorted_or_as_asked() {
        let mut client = TestClient::new();
        let mut reports = reports(&client.shared);
        let report = |id: u64| ClientReport {
            id,
            line: format!("id={id}"),
        };
        reports.lanes[0].clients = vec![report(4), report(1)];
        reports.lanes[1].clients = vec![report(3)];
        assert_eq!(
            client.render(&["CLIENT", "LIST"], &reports),
            "$15\r\nid=1\nid=3\nid=4\n\r\n"
        );
        assert_eq!(
            client.render(&["CLIENT", "LIST", "ID", "4", "9", "1"], &reports),
            "$10\r\nid=4\nid=1\n\r\n"
        );
        assert_eq!(client.run(&["CLIENT", "LIST", "TYPE", "pubsub"]), "$0\r\n\r\n");
        assert_eq!(
            client.run(&["CLIENT", "LIST", "ID", "x"]),
            "-ERR Invalid client ID\r\n"
        );
        assert_eq!(client.run(&["CLIENT", "LIST", "ID"]), "-ERR syntax error\r\n");
        assert_eq!(
            client.run(&["CLIENT", "LIST", "TYPE", "x"]),
            "-ERR Unknown client type 'x'\r\n"
        );
    }
}
