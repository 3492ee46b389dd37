//! COMMAND DOCS: redis-cli shows its hints from these.

use crate::command::KeySpec;
use crate::command::subcommand::subcommands_of;
use crate::command::ts::facts::complexity_of;
use crate::resp::Reply;

use super::command_list::Named;
use super::syntax::{Argument, Kind, parse};

/// Writes the name of a command and the map that documents it.
pub fn write(named: Named<'_>, reply: &mut Reply) {
    match named {
        Named::Command(command) => {
            let name = command.lower_name();
            let subcommands = subcommands_of(command.name);
            let has_keys = command.keys != KeySpec::NONE;
            let head = Head {
                name: &name,
                summary: command.summary,
                since: command.since,
                group: command.group,
                complexity: complexity_of(command.name),
            };
            write_one(
                &head,
                &parse(command.syntax),
                has_keys,
                !subcommands.is_empty(),
                reply,
            );
            if !subcommands.is_empty() {
                reply.bulk(b"subcommands");
                reply.map(subcommands.len());
                for subcommand in subcommands {
                    write(Named::Subcommand(subcommand, command), reply);
                }
            }
        }
        Named::Subcommand(subcommand, command) => {
            let head = Head {
                name: subcommand.full_name,
                summary: subcommand.summary,
                since: subcommand.since,
                group: command.group,
                complexity: None,
            };
            write_one(&head, &parse(subcommand.syntax), false, false, reply);
        }
    }
}

struct Head<'a> {
    name: &'a str,
    summary: &'a str,
    since: &'a str,
    group: &'a str,
    complexity: Option<&'a str>,
}

fn write_one(
    head: &Head<'_>,
    arguments: &[Argument],
    has_keys: bool,
    has_subcommands: bool,
    reply: &mut Reply,
) {
    reply.bulk(head.name.as_bytes());
    let facts = [
        ("summary", Some(head.summary)),
        ("since", Some(head.since)),
        ("group", Some(head.group)),
        ("complexity", head.complexity),
    ];
    let known = facts.iter().filter(|(_, text)| text.is_some()).count();
    reply.map(known + usize::from(!arguments.is_empty()) + usize::from(has_subcommands));
    for (name, text) in facts {
        let Some(text) = text else { continue };
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(arguments, has_keys, reply);
    }
}

fn write_arguments(arguments: &[Argument], has_keys: bool, reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(argument, has_keys, reply);
    }
}

fn write_argument(argument: &Argument, has_keys: bool, reply: &mut Reply) {
    let is_key = has_keys && is_key_name(&argument.name);
    let flags = [("optional", argument.optional), ("multiple", argument.multiple)];
    let flags: Vec<&str> = flags
        .iter()
        .filter(|(_, is_set)| *is_set)
        .map(|(name, _)| *name)
        .collect();
    let has_parts = !argument.parts.is_empty();
    let pairs = 2
        + usize::from(is_key)
        + usize::from(argument.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(has_parts);
    reply.map(pairs);
    reply.bulk(b"name");
    reply.bulk(argument.name.as_bytes());
    reply.bulk(b"type");
    reply.bulk(type_name(argument, is_key).as_bytes());
    if is_key {
        reply.bulk(b"key_spec_index");
        reply.integer(0);
    }
    if let Some(token) = &argument.token {
        reply.bulk(b"token");
        reply.bulk(token.as_bytes());
    }
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        for flag in flags {
            reply.simple(flag);
        }
    }
    if has_parts {
        reply.bulk(b"arguments");
        write_arguments(&argument.parts, has_keys, reply);
    }
}

fn is_key_name(name: &str) -> bool {
    matches!(
        name,
        "key" | "newkey" | "source" | "destination" | "sourceKey" | "destKey" | "leftKey" | "rightKey"
    )
}

fn type_name(argument: &Argument, is_key: bool) -> &'static str {
    match argument.kind {
        Kind::Token => "pure-token",
        Kind::OneOf => "oneof",
        Kind::Block => "block",
        Kind::Value if is_key => "key",
        Kind::Value => match argument.name.as_str() {
            "pattern" => "pattern",
            "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
            "seconds" | "milliseconds" | "increment" | "decrement" | "offset" | "start" | "end" | "count"
            | "cursor" | "limit" | "index" | "timeout" | "slot" | "numkeys" | "minCount" | "size"
            | "alignTimestamp" | "db" | "destination-db" | "index1" | "index2" => "integer",
            "addend" | "subtrahend" | "maxValDiff" => "double",
            _ => "string",
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::command::test_support::TestClient;

    #[test]
    fn documents_are_maps() {
        let mut client = TestClient::new().resp3();
        let ping = client.run(&["COMMAND", "DOCS", "ping"]);
        let expected = "%1\r\n$4\r\nping\r\n%4\r\n$7\r\nsummary\r\n$41\r\nReturns the server's liveliness \
            response.\r\n\
            $5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$10\r\nconnection\r\n$9\r\narguments\r\n*1\r\n\
            %3\r\n$4\r\nname\
            \r\n$7\r\nmessage\r\n$4\r\ntype\r\n$6\r\nstring\r\n$5\r\nflags\r\n~1\r\n+optional\r\n";
        assert_eq!(ping, expected);
        assert_eq!(client.run(&["COMMAND", "DOCS", "nosuch"]), "%0\r\n");
        let get = client.run(&["COMMAND", "DOCS", "get"]);
        assert!(get.contains(
            "%3\r\n$4\r\nname\r\n$3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n"
        ));
    }

    #[test]
    fn containers_document_their_subcommands() {
        let mut client = TestClient::new();
        let config = client.run(&["COMMAND", "DOCS", "config"]);
        assert!(
            config.contains("$11\r\nsubcommands\r\n*8\r\n$10\r\nconfig|get\r\n*8\r\n"),
            "{config}"
        );
        let all = client.run(&["COMMAND", "DOCS"]);
        let count = client.shared.commands.iter().count();
        assert!(all.starts_with(&format!("*{}\r\n", count * 2)));
    }
}
