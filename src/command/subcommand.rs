//! Subcommands of container commands such as CLIENT: look-up, arity and HELP.

use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

use super::session::{SessionContext, SessionStop};
use super::{Command, Flags, SessionHandler};

/// Bytes of an unknown subcommand that its refusal repeats; Redis's own limit.
const QUOTED_NAME_MAX_BYTES: usize = 128;

/// One subcommand, complete.
#[derive(Clone, Copy)]
pub struct Subcommand {
    /// Container and subcommand in lower case: `client|list`.
    pub full_name: &'static str,
    /// Arguments with both names: exactly so many, or at least so many if negative.
    pub arity: i16,
    /// What it does.
    pub flags: Flags,
    /// Version that brought it.
    pub since: &'static str,
    /// Arguments after the names.
    pub syntax: &'static str,
    /// One sentence, present tense.
    pub summary: &'static str,
    /// Runs on the connection's lane.
    pub handler: SessionHandler,
}

/// An entry of a table of subcommands; [`Subcommand::says`] completes it.
pub const fn subcommand(
    full_name: &'static str,
    arity: i16,
    flags: Flags,
    handler: SessionHandler,
) -> Subcommand {
    Subcommand {
        full_name,
        arity,
        flags,
        since: "",
        syntax: "",
        summary: "",
        handler,
    }
}

impl Subcommand {
    /// Fills in what COMMAND DOCS and HELP tell.
    pub const fn says(self, since: &'static str, syntax: &'static str, summary: &'static str) -> Subcommand {
        Subcommand {
            since,
            syntax,
            summary,
            ..self
        }
    }

    /// The part behind the container's name, in lower case.
    pub fn name(&self) -> &'static str {
        self.full_name
            .split_once('|')
            .map_or(self.full_name, |(_, name)| name)
    }

    /// True if `len` arguments (with both names) fit.
    fn accepts(&self, len: usize) -> bool {
        let len = len as i64;
        if self.arity >= 0 {
            len == i64::from(self.arity)
        } else {
            len >= -i64::from(self.arity)
        }
    }
}

/// The subcommands of a container; empty for other commands. `container` is the name in upper case.
pub fn subcommands_of(container: &str) -> &'static [Subcommand] {
    match container {
        "ACL" => super::server::ACL,
        "BUSINESS" => super::business::BUSINESS,
        "CACHE" => super::business::CACHE,
        "CLIENT" => super::connection::CLIENT,
        "CLUSTER" => super::cluster::CLUSTER,
        "COMMAND" => super::server::COMMAND,
        "CONFIG" => super::server::CONFIG,
        "DEBUG" => super::server::DEBUG,
        "FUNCTION" => super::server::FUNCTION,
        "LATENCY" => super::latency::LATENCY,
        "MEMORY" => super::server::MEMORY,
        "MODULE" => super::server::MODULE,
        "OBJECT" => super::key::inspect::OBJECT,
        "PUBSUB" => super::pubsub::PUBSUB,
        "SLOWLOG" => super::latency::SLOWLOG,
        _ => &[],
    }
}

/// The subcommand of `table` that `name` means, in any case.
pub fn find(table: &'static [Subcommand], name: &[u8]) -> Option<&'static Subcommand> {
    table
        .iter()
        .find(|subcommand| subcommand.name().as_bytes().eq_ignore_ascii_case(name))
}

/// Name of a call as CLIENT LIST shows it: `client|list`, or `None` if the command has no such subcommand and
/// its own name in lower case is to be shown.
pub fn subcommand_name(container: &str, args: Args<'_>) -> Option<&'static str> {
    let table = subcommands_of(container);
    if table.is_empty() {
        return None;
    }
    find(table, args.try_get(1)?).map(|subcommand| subcommand.full_name)
}

/// Runs the subcommand that argument 1 names.
///
/// # Errors
/// An unknown subcommand, a wrong number of arguments, or what the subcommand says.
pub fn dispatch(
    table: &'static [Subcommand],
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    match check(table, args)? {
        Some(subcommand) => (subcommand.handler)(context, args, reply),
        None => {
            write_help(table, args.name(), reply);
            Ok(())
        }
    }
}

/// The subcommand that argument 1 names; `None` is HELP.
///
/// # Errors
/// An unknown subcommand, or a wrong number of arguments.
pub fn check(table: &'static [Subcommand], args: Args<'_>) -> Result<Option<&'static Subcommand>, Refusal> {
    let name = args.try_get(1).unwrap_or_default();
    let container = String::from_utf8_lossy(args.name());
    let Some(subcommand) = find(table, name) else {
        if name.eq_ignore_ascii_case(b"HELP") {
            let full_name = format!("{}|help", container.to_ascii_lowercase());
            return match args.len() {
                2 => Ok(None),
                _ => Err(Refusal::Arity(full_name.into())),
            };
        }
        let quoted = name.get(..QUOTED_NAME_MAX_BYTES).unwrap_or(name);
        let quoted = String::from_utf8_lossy(quoted);
        let container = container.to_ascii_uppercase();
        return Err(Refusal::text(format!(
            "ERR unknown subcommand '{quoted}'. Try {container} HELP."
        )));
    };
    match subcommand.accepts(args.len()) {
        true => Ok(Some(subcommand)),
        false => Err(Refusal::Arity(subcommand.full_name.into())),
    }
}

/// Checks what a container would refuse, for a call that is not to run now.
///
/// # Errors
/// As [`check`].
pub fn check_call(command: &Command, args: Args<'_>) -> Result<(), Refusal> {
    let table = subcommands_of(command.name);
    // To Redis the subcommands of DEBUG are arguments.
    if table.is_empty() || args.len() == 1 || command.name == "DEBUG" {
        return Ok(());
    }
    check(table, args).map(|_| ())
}

/// The refusal of containers that do not tell a wrong name from a wrong number of arguments. `container` is in upper
/// case.
pub fn unknown_or_wrong_count(container: &str, name: &[u8]) -> Refusal {
    let quoted = String::from_utf8_lossy(name.get(..QUOTED_NAME_MAX_BYTES).unwrap_or(name));
    Refusal::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{quoted}'. Try {container} HELP."
    ))
}

/// HELP in the shape of Redis: a headline, then each subcommand with its summary indented.
fn write_help(table: &[Subcommand], container: &[u8], reply: &mut Reply) {
    let container = String::from_utf8_lossy(container).to_ascii_uppercase();
    reply.array(table.len() * 2 + 3);
    reply.simple(&format!(
        "{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for subcommand in table {
        let line = format!("{} {}", subcommand.name().to_ascii_uppercase(), subcommand.syntax);
        reply.simple(line.trim_end());
        reply.simple(&format!("    {}", subcommand.summary));
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::{TestClient, args_of};

    #[test]
    fn entries_are_complete_and_named_after_their_container() {
        let table = crate::command::CommandTable::default();
        let mut containers = 0;
        for (_, command) in table.iter() {
            let subcommands = subcommands_of(command.name);
            containers += usize::from(!subcommands.is_empty());
            for subcommand in subcommands {
                let (container, name) = subcommand.full_name.split_once('|').expect("two parts");
                assert_eq!(container, command.lower_name());
                assert_eq!(name, name.to_ascii_lowercase());
                assert!(subcommand.summary.ends_with('.'), "{}", subcommand.full_name);
                assert!(subcommand.arity.unsigned_abs() >= 2, "{}", subcommand.full_name);
            }
        }
        assert_eq!(containers, 15);
    }

    #[test]
    fn unknown_names_and_wrong_counts_are_refused_as_by_redis() {
        let mut client = TestClient::new();
        assert_eq!(
            client.run(&["CLIENT", "BOGUS"]),
            "-ERR unknown subcommand 'BOGUS'. Try CLIENT HELP.\r\n"
        );
        let long = "x".repeat(200);
        let refusal = client.run(&["client", &long]);
        assert_eq!(
            refusal,
            format!(
                "-ERR unknown subcommand '{}'. Try CLIENT HELP.\r\n",
                "x".repeat(128)
            )
        );
        let arity = "-ERR wrong number of arguments for 'client|id' command\r\n";
        assert_eq!(client.run(&["CLIENT", "ID", "x"]), arity);
        let arity = "-ERR wrong number of arguments for 'client|help' command\r\n";
        assert_eq!(client.run(&["CLIENT", "help", "x"]), arity);
        let help = client.run(&["latency", "help"]);
        assert!(
            help.contains("+LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"),
            "{help}"
        );
        assert!(help.ends_with("+HELP\r\n+    Prints this help.\r\n"), "{help}");
    }

    #[test]
    fn calls_are_named_with_their_subcommand() {
        let (buffer, spans) = args_of(&["Client", "LIST"]);
        assert_eq!(
            subcommand_name("CLIENT", Args::new(&buffer, &spans)),
            Some("client|list")
        );
        let (buffer, spans) = args_of(&["GET", "list"]);
        assert_eq!(subcommand_name("GET", Args::new(&buffer, &spans)), None);
    }
}
