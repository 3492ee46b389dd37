//! ACL, MODULE, FUNCTION, ROLE, WAIT, LOLWUT: small answers that tools and test harnesses ask for.

use std::io::Read;

use crate::command::Flags;
use crate::command::connection::{DEFAULT_USER, REDIS_VERSION, write_modules};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, subcommand};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::command_info::{CATEGORIES, categories_of};

/// All but HELP; users cannot be changed.
pub const ACL: &[Subcommand] = &[
    subcommand("acl|cat", -2, Flags::NONE, cat).says(
        "6.0.0",
        "[category]",
        "Lists the ACL categories, or the commands inside a category.",
    ),
    subcommand("acl|dryrun", -4, Flags::ADMIN, dry_run).says(
        "7.0.0",
        "username command [arg [arg ...]]",
        "Simulates the execution of a command by a user, without running it.",
    ),
    subcommand("acl|genpass", -2, Flags::NONE, generate_password).says(
        "6.0.0",
        "[bits]",
        "Generates a password that is hard to guess.",
    ),
    subcommand("acl|getuser", 3, Flags::ADMIN, get_user).says(
        "6.0.0",
        "username",
        "Lists the ACL rules of a user.",
    ),
    subcommand("acl|list", 2, Flags::ADMIN, list_users).says(
        "6.0.0",
        "",
        "Dumps the effective rules in ACL file format.",
    ),
    subcommand("acl|log", -2, Flags::ADMIN, security_log).says(
        "6.0.0",
        "[count | RESET]",
        "Lists recent security events: there are none where everything is allowed.",
    ),
    subcommand("acl|users", 2, Flags::ADMIN, |_, _, reply| {
        reply.array(1);
        reply.bulk(DEFAULT_USER.as_bytes());
        Ok(())
    })
    .says("6.0.0", "", "Lists all ACL users."),
    subcommand("acl|whoami", 2, Flags::NONE, |_, _, reply| {
        reply.bulk(DEFAULT_USER.as_bytes());
        Ok(())
    })
    .says(
        "6.0.0",
        "",
        "Returns the authenticated username of the current connection.",
    ),
];

/// All but HELP; nothing can be loaded.
pub const FUNCTION: &[Subcommand] = &[
    subcommand("function|flush", -2, Flags::ADMIN, flush_functions).says(
        "7.0.0",
        "[ASYNC | SYNC]",
        "Deletes all libraries and functions.",
    ),
    subcommand("function|list", -2, Flags::NONE, list_functions).says(
        "7.0.0",
        "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        "Returns information about all libraries.",
    ),
];

/// All but HELP; nothing can be loaded.
pub const MODULE: &[Subcommand] = &[subcommand("module|list", 2, Flags::ADMIN, |context, _, reply| {
    write_modules(context.shared, reply);
    Ok(())
})
.says("4.0.0", "", "Returns all loaded modules.")];

fn cat(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let Some(wanted) = args.try_get(2) else {
        reply.array(CATEGORIES.len());
        for category in CATEGORIES {
            reply.bulk(category.as_bytes());
        }
        return Ok(());
    };
    if args.len() > 3 || !CATEGORIES.iter().any(|category| category.as_bytes() == wanted) {
        let wanted = String::from_utf8_lossy(wanted);
        return Err(Refusal::text(format!("ERR Unknown category '{wanted}'")).into());
    }
    let commands = context.shared.commands.iter().map(|(_, command)| command);
    let is_in = |name: &&str| name.as_bytes() == wanted;
    let names: Vec<String> = commands
        .filter(|command| categories_of(command).iter().any(is_in))
        .map(|command| command.lower_name())
        .collect();
    reply.array(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// The one user may do everything.
fn dry_run(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let quoted = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    if args.get(2) != DEFAULT_USER.as_bytes() {
        return Err(Refusal::text(format!("ERR User '{}' not found", quoted(args.get(2)))).into());
    }
    let Some(id) = context.shared.commands.find(args.get(3)) else {
        return Err(Refusal::text(format!("ERR Command '{}' not found", quoted(args.get(3)))).into());
    };
    let call = args.from(3);
    let command = context.shared.commands.get(id);
    if !command.accepts(call.len()) {
        return Err(command.arity_error().into());
    }
    reply.ok();
    Ok(())
}

/// As many hexadecimal digits as are needed for the bits, 256 unless said otherwise.
fn generate_password(
    _: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    if args.len() > 3 {
        return Err(Refusal::Arity("acl|genpass".into()).into());
    }
    let bits = match args.try_get(2) {
        Some(text) => parse_i64(text).ok_or(Refusal::NotInteger)?,
        None => 256,
    };
    let bits = usize::try_from(bits)
        .ok()
        .filter(|bits| (1..=4096).contains(bits));
    let bits = bits.ok_or(Refusal::text(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
    ))?;
    let mut bytes = vec![0; bits.div_ceil(8)];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.map_err(|error| Refusal::text(format!("ERR no random numbers: {error}")))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    reply.bulk(digits.get(..bits.div_ceil(4)).unwrap_or(&digits).as_bytes());
    Ok(())
}

fn security_log(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    match args.try_get(2) {
        _ if args.len() > 3 => return Err(Refusal::Arity("acl|log".into()).into()),
        Some(word) if word.eq_ignore_ascii_case(b"RESET") => reply.ok(),
        Some(count) if parse_i64(count).is_none() => return Err(Refusal::NotInteger.into()),
        _ => reply.array(0),
    }
    Ok(())
}

/// The password's hash is not shown: nobody needs it to read the rules.
fn get_user(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if args.get(2) != DEFAULT_USER.as_bytes() {
        reply.null();
        return Ok(());
    }
    let is_open = context.shared.settings().password.is_empty();
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(1 + usize::from(is_open));
    reply.bulk(b"on");
    if is_open {
        reply.bulk(b"nopass");
    }
    reply.bulk(b"passwords");
    reply.array(0);
    for (name, rule) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(name.as_bytes());
        reply.bulk(rule.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
    Ok(())
}

fn list_users(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let password = if context.shared.settings().password.is_empty() {
        "nopass "
    } else {
        ""
    };
    reply.array(1);
    reply.bulk_display(format_args!("user {DEFAULT_USER} on {password}~* &* +@all"));
    Ok(())
}

fn flush_functions(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let mode = args.try_get(2).unwrap_or(b"SYNC");
    if args.len() > 3
        || ![&b"SYNC"[..], b"ASYNC"]
            .iter()
            .any(|known| mode.eq_ignore_ascii_case(known))
    {
        return Err(Refusal::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option").into());
    }
    reply.ok();
    Ok(())
}

fn list_functions(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let mut options = args.cursor(2);
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"WITHCODE") {
            continue;
        }
        if !option.eq_ignore_ascii_case(b"LIBRARYNAME") {
            let option = String::from_utf8_lossy(option);
            return Err(Refusal::text(format!("ERR Unknown argument {option}")).into());
        }
        if options.next().is_none() {
            return Err(Refusal::text("ERR library name argument was not given").into());
        }
    }
    reply.array(0);
    Ok(())
}

/// REPLICAOF NO ONE is what a master does already; there is no replication.
pub fn replica_of(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if args.get(1).eq_ignore_ascii_case(b"NO") && args.get(2).eq_ignore_ascii_case(b"ONE") {
        reply.ok();
        return Ok(());
    }
    Err(Refusal::text("ERR REPLICAOF is not supported: this server does not replicate").into())
}

/// ROLE of a master without replicas.
pub fn role(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

/// WAIT: no replica will ever acknowledge, so there is nothing to wait for.
pub fn wait(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let not_a_number = Refusal::text("ERR timeout is not an integer or out of range");
    let timeout_ms = parse_i64(args.get(2)).ok_or(not_a_number)?;
    if timeout_ms < 0 {
        return Err(Refusal::text("ERR timeout is negative").into());
    }
    parse_i64(args.get(1)).ok_or(Refusal::NotInteger)?;
    reply.integer(0);
    Ok(())
}

/// LOLWUT without the art.
pub fn lolwut(_: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    reply.verbatim("txt", format!("Redis ver. {REDIS_VERSION}\n").as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::test_support::TestClient;

    #[test]
    fn there_is_one_user() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["ACL", "WHOAMI"]), "$7\r\ndefault\r\n");
        assert_eq!(client.run(&["ACL", "USERS"]), "*1\r\n$7\r\ndefault\r\n");
        assert_eq!(
            client.run(&["ACL", "LIST"]),
            "*1\r\n$34\r\nuser default on nopass ~* &* +@all\r\n"
        );
        assert_eq!(client.run(&["ACL", "GETUSER", "x"]), "$-1\r\n");
        assert!(
            client
                .run(&["ACL", "GETUSER", "default"])
                .starts_with("*12\r\n$5\r\nflags\r\n*2\r\n$2\r\non\r\n")
        );
        client.run(&["CONFIG", "SET", "requirepass", "secret"]);
        assert_eq!(
            client.run(&["ACL", "LIST"]),
            "*1\r\n$27\r\nuser default on ~* &* +@all\r\n"
        );
        assert!(
            client
                .run(&["ACL", "CAT", "connection"])
                .contains("$4\r\nping\r\n")
        );
        assert_eq!(
            client.run(&["ACL", "CAT", "nosuch"]),
            "-ERR Unknown category 'nosuch'\r\n"
        );
    }

    #[test]
    fn the_user_may_do_everything() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["ACL", "DRYRUN", "default", "get", "k"]), "+OK\r\n");
        for (line, expected) in [
            (
                &["ACL", "DRYRUN", "x", "get", "k"][..],
                "-ERR User 'x' not found\r\n",
            ),
            (
                &["ACL", "DRYRUN", "default", "nosuch"],
                "-ERR Command 'nosuch' not found\r\n",
            ),
            (
                &["ACL", "DRYRUN", "default", "get"],
                "-ERR wrong number of arguments for 'get' command\r\n",
            ),
            (&["ACL", "LOG"], "*0\r\n"),
            (&["ACL", "LOG", "reset"], "+OK\r\n"),
            (
                &["ACL", "LOG", "x"],
                "-ERR value is not an integer or out of range\r\n",
            ),
        ] {
            assert_eq!(client.run(line), expected, "{line:?}");
        }
    }

    #[test]
    fn passwords_have_the_bits_asked_for() {
        let mut client = TestClient::new();
        let first = client.run(&["ACL", "GENPASS"]);
        assert_eq!(first.len(), "$64\r\n".len() + 64 + 2);
        assert_ne!(first, client.run(&["ACL", "GENPASS"]));
        assert!(client.run(&["ACL", "GENPASS", "5"]).starts_with("$2\r\n"));
        for bits in ["0", "4097", "-1"] {
            assert!(
                client
                    .run(&["ACL", "GENPASS", bits])
                    .starts_with("-ERR ACL GENPASS"),
                "{bits}"
            );
        }
    }

    #[test]
    fn harnesses_find_nothing_loaded() {
        let mut client = TestClient::new();
        assert_eq!(client.run(&["FUNCTION", "FLUSH", "async"]), "+OK\r\n");
        assert_eq!(
            client.run(&["FUNCTION", "LIST", "LIBRARYNAME", "*", "WITHCODE"]),
            "*0\r\n"
        );
        assert_eq!(
            client.run(&["FUNCTION", "LIST", "x"]),
            "-ERR Unknown argument x\r\n"
        );
        assert_eq!(client.run(&["REPLICAOF", "no", "one"]), "+OK\r\n");
        assert!(
            client
                .run(&["SLAVEOF", "host", "1"])
                .starts_with("-ERR REPLICAOF is not supported")
        );
        assert_eq!(client.run(&["ROLE"]), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
        assert_eq!(client.run(&["WAIT", "1", "100"]), ":0\r\n");
        assert_eq!(
            client.run(&["WAIT", "1", "x"]),
            "-ERR timeout is not an integer or out of range\r\n"
        );
        let modules = client.run(&["MODULE", "LIST"]);
        let has_time_series = client.shared.commands.find(b"TS.ADD").is_some();
        assert_eq!(modules.contains("timeseries"), has_time_series);
    }
}
