//! COMMAND COUNT, INFO, DOCS, GETKEYS, GETKEYSANDFLAGS and LIST: all of it from the one command table.

use crate::command::connection::has_time_series;
use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, find, subcommand, subcommands_of};
use crate::command::{Command, CommandTable, Flags, KeySpec};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply, glob_match};

use super::command_docs;
use super::command_facts::key_flags;
use super::command_info::{
    categories_of, categories_of_subcommand, default_key_flags, write_all, write_command, write_subcommand,
};

/// All but HELP.
pub const SUBCOMMANDS: &[Subcommand] = &[
    subcommand("command|count", 2, Flags::NONE, |context, _, reply| {
        reply.integer(context.shared.commands.iter().count() as i64);
        Ok(())
    })
    .says("2.8.13", "", "Returns a count of commands."),
    subcommand("command|docs", -2, Flags::NONE, docs).says(
        "7.0.0",
        "[command-name [command-name ...]]",
        "Returns documentary information about one, multiple or all commands.",
    ),
    subcommand("command|getkeys", -4, Flags::NONE, get_keys).says(
        "2.8.13",
        "command [arg [arg ...]]",
        "Extracts the key names from an arbitrary command.",
    ),
    subcommand("command|getkeysandflags", -4, Flags::NONE, get_keys_and_flags).says(
        "7.0.0",
        "command [arg [arg ...]]",
        "Extracts the key names and access flags for an arbitrary command.",
    ),
    subcommand("command|info", -2, Flags::NONE, info).says(
        "2.8.13",
        "[command-name [command-name ...]]",
        "Returns information about one, multiple or all commands.",
    ),
    subcommand("command|list", -2, Flags::NONE, list).says(
        "7.0.0",
        "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        "Returns a list of command names.",
    ),
];

/// A command, or one of the subcommands of a container.
#[derive(Clone, Copy)]
pub enum Named<'a> {
    /// A command.
    Command(&'a Command),
    /// A subcommand with its container.
    Subcommand(&'static Subcommand, &'a Command),
}

impl<'a> Named<'a> {
    /// Finds `get` and `config|get`, in any case.
    pub fn find(table: &'a CommandTable, name: &[u8]) -> Option<Named<'a>> {
        let container_len = name.iter().position(|byte| *byte == b'|').unwrap_or(name.len());
        let (container, rest) = name.split_at_checked(container_len)?;
        let command = table.get(table.find(container)?);
        match rest.split_first() {
            None => Some(Named::Command(command)),
            Some((_, subcommand)) => {
                let subcommand = find(subcommands_of(command.name), subcommand)?;
                Some(Named::Subcommand(subcommand, command))
            }
        }
    }
}

fn info(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let table = &context.shared.commands;
    if args.len() == 2 {
        write_all(table, reply);
        return Ok(());
    }
    let names = args.from(2);
    reply.array(names.len());
    for name in names {
        match Named::find(table, name) {
            Some(Named::Command(command)) => write_command(command, reply),
            Some(Named::Subcommand(subcommand, command)) => {
                write_subcommand(subcommand, command.group, reply)
            }
            None => reply.null(),
        }
    }
    Ok(())
}

fn docs(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let table = &context.shared.commands;
    let named: Vec<Named<'_>> = if args.len() == 2 {
        table.iter().map(|(_, command)| Named::Command(command)).collect()
    } else {
        args.from(2)
            .iter()
            .filter_map(|name| Named::find(table, name))
            .collect()
    };
    reply.map(named.len());
    for one in named {
        command_docs::write(one, reply);
    }
    Ok(())
}

/// The command whose keys are asked for, and its arguments.
fn subject<'t, 'a>(table: &'t CommandTable, args: Args<'a>) -> Result<(&'t Command, Args<'a>), Refusal> {
    let subject = args.from(2);
    let id = table
        .find(subject.name())
        .ok_or(Refusal::text("ERR Invalid command specified"))?;
    let command = table.get(id);
    if command.keys == KeySpec::NONE {
        return Err(Refusal::text("ERR The command has no key arguments"));
    }
    if !command.accepts(subject.len()) {
        return Err(Refusal::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    if command.keys.is_counted() && command.keys.keys(subject).next().is_none() {
        return Err(Refusal::text("ERR Invalid arguments specified for command"));
    }
    Ok((command, subject))
}

fn get_keys(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let (command, subject) = subject(&context.shared.commands, args)?;
    let keys: Vec<&[u8]> = command.keys.keys(subject).collect();
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
    Ok(())
}

fn get_keys_and_flags(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    let (command, subject) = subject(&context.shared.commands, args)?;
    let keys: Vec<&[u8]> = command.keys.keys(subject).collect();
    let ways = key_flags(command.name);
    let only = match command.name {
        // The optional word GET decides.
        "SET"
            if subject
                .from(3)
                .iter()
                .any(|word| word.eq_ignore_ascii_case(b"GET")) =>
        {
            &["RW", "access", "update"]
        }
        "SET" => &["OW", "update"][..],
        _ => default_key_flags(command),
    };
    reply.array(keys.len());
    for (index, key) in keys.into_iter().enumerate() {
        let flags = match ways {
            _ if command.name == "SET" => only,
            [] => only,
            [flags] => flags,
            ways => ways.get(index).copied().unwrap_or(only),
        };
        reply.array(2);
        reply.bulk(key);
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    Ok(())
}

/// What COMMAND LIST leaves in.
enum Filter<'a> {
    All,
    Module(&'a [u8]),
    Category(&'a [u8]),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Filter<'a>, Refusal> {
        if args.len() == 2 {
            return Ok(Filter::All);
        }
        if args.len() != 5 || !args.get(2).eq_ignore_ascii_case(b"FILTERBY") {
            return Err(Refusal::Syntax);
        }
        match args.get(3).to_ascii_uppercase().as_slice() {
            b"MODULE" => Ok(Filter::Module(args.get(4))),
            b"ACLCAT" => Ok(Filter::Category(args.get(4))),
            b"PATTERN" => Ok(Filter::Pattern(args.get(4))),
            _ => Err(Refusal::Syntax),
        }
    }

    fn keeps(&self, name: &str, categories: &[&str], has_time_series: bool) -> bool {
        match self {
            Filter::All => true,
            Filter::Module(module) => *module == b"timeseries" && has_time_series && name.starts_with("ts."),
            Filter::Category(wanted) => categories
                .iter()
                .any(|category| category.as_bytes().eq_ignore_ascii_case(wanted)),
            Filter::Pattern(pattern) => glob_match(pattern, name.as_bytes(), true),
        }
    }
}

fn list(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let filter = Filter::parse(args)?;
    let has_time_series = has_time_series(context.shared);
    let mut names = Vec::new();
    for (_, command) in context.shared.commands.iter() {
        let name = command.lower_name();
        if filter.keeps(&name, &categories_of(command), has_time_series) {
            names.push(name);
        }
        for subcommand in subcommands_of(command.name) {
            let name = subcommand.full_name;
            if filter.keeps(
                name,
                &categories_of_subcommand(subcommand, command.group),
                has_time_series,
            ) {
                names.push(name.to_owned());
            }
        }
    }
    reply.set(names.len());
    for name in names {
        reply.bulk(name.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::test_support::TestClient;

    #[test]
    fn keys_are_found_in_commands() {
        let mut client = TestClient::new();
        let keys = |client: &mut TestClient, words: &[&str]| {
            let line: Vec<&str> = ["COMMAND", "GETKEYS"].iter().chain(words).copied().collect();
            client.run(&line)
        };
        assert_eq!(
            keys(&mut client, &["MSET", "a", "1", "b", "2"]),
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
        assert_eq!(keys(&mut client, &["get", "a"]), "*1\r\n$1\r\na\r\n");
        assert_eq!(
            keys(&mut client, &["NOSUCH", "a"]),
            "-ERR Invalid command specified\r\n"
        );
        assert_eq!(
            keys(&mut client, &["PING", "a"]),
            "-ERR The command has no key arguments\r\n"
        );
        let wrong = "-ERR Invalid number of arguments specified for command\r\n";
        assert_eq!(keys(&mut client, &["GET", "a", "b"]), wrong);
        let flags = client.run(&["COMMAND", "GETKEYSANDFLAGS", "DEL", "a"]);
        assert_eq!(flags, "*1\r\n*2\r\n$1\r\na\r\n*2\r\n+RM\r\n+delete\r\n");
    }

    #[test]
    fn lists_are_filtered() {
        let mut client = TestClient::new();
        let list = client.run(&["COMMAND", "LIST", "FILTERBY", "PATTERN", "config|re*"]);
        assert_eq!(list, "*2\r\n$16\r\nconfig|resetstat\r\n$14\r\nconfig|rewrite\r\n");
        assert_eq!(
            client.run(&["COMMAND", "LIST", "FILTERBY", "MODULE", "nosuch"]),
            "*0\r\n"
        );
        let connection = client.run(&["COMMAND", "LIST", "FILTERBY", "ACLCAT", "connection"]);
        assert!(
            connection.contains("\r\nping\r\n") && !connection.contains("\r\nconfig\r\n"),
            "{connection}"
        );
        assert_eq!(
            client.run(&["COMMAND", "LIST", "FILTERBY", "BOGUS", "x"]),
            "-ERR syntax error\r\n"
        );
        assert_eq!(
            client.run(&["COMMAND", "LIST", "FILTERBY"]),
            "-ERR syntax error\r\n"
        );
        let count = client.shared.commands.iter().count();
        assert_eq!(client.run(&["COMMAND", "COUNT"]), format!(":{count}\r\n"));
    }
}
