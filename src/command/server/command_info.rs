//! Entries of COMMAND and COMMAND INFO, in the shapes of Redis 7.

use crate::command::subcommand::{Subcommand, subcommands_of};
use crate::command::{Command, CommandTable, Flags, KeySpec};
use crate::resp::Reply;

use super::command_facts::{
    FLAG_ORDER, is_mere_container, key_flags, key_note, more_flags, other_categories, shown_keys,
    subcommand_keys, subcommand_tips, tips,
};

/// ACL categories, as Redis names and orders them, then that of the time series.
pub const CATEGORIES: [&str; 22] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
    "timeseries",
];

/// Commands whose category is `fast` although their flag is not, as RedisTimeSeries has it.
const FAST_CATEGORY: [&str; 4] = ["TS.CREATE", "TS.DELETERULE", "TS.GET", "TS.INFO"];

/// Commands whose category is not `fast` although their flag is, as RedisTimeSeries has it.
const SLOW_CATEGORY: [&str; 1] = ["TS.CREATERULE"];

/// Names of flags as COMMAND INFO shows them.
const FLAG_NAMES: [(Flags, &str); 7] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENY_ON_FULL, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MULTI, "no_multi"),
];

/// Writes what COMMAND replies.
pub fn write_all(table: &CommandTable, reply: &mut Reply) {
    let commands: Vec<&Command> = table.iter().map(|(_, command)| command).collect();
    reply.array(commands.len());
    for command in commands {
        write_command(command, reply);
    }
}

/// The ACL categories of a command with these flags in this group, in the order of [`CATEGORIES`].
pub fn categories(flags: Flags, group: &str) -> Vec<&'static str> {
    let group = match group {
        "generic" => "keyspace",
        "transactions" => "transaction",
        "sorted-set" | "sorted_set" => "sortedset",
        "tsdb" | "module" => "timeseries",
        other => other,
    };
    let is_in = |category: &&str| match *category {
        "read" => flags.has(Flags::READONLY),
        "write" => flags.has(Flags::WRITE),
        "admin" | "dangerous" => flags.has(Flags::ADMIN),
        "fast" => flags.has(Flags::FAST),
        "slow" => !flags.has(Flags::FAST),
        category => category == group,
    };
    CATEGORIES.into_iter().filter(is_in).collect()
}

/// The ACL categories of a command.
pub fn categories_of(command: &Command) -> Vec<&'static str> {
    let flags = if FAST_CATEGORY.contains(&command.name) {
        command.flags.and(Flags::FAST)
    } else if SLOW_CATEGORY.contains(&command.name) {
        Flags(command.flags.0 & !Flags::FAST.0)
    } else {
        command.flags
    };
    if is_mere_container(command.name) {
        return vec!["slow"];
    }
    corrected(categories(flags, command.group), &command.lower_name())
}

/// The ACL categories of a subcommand of a command in this group.
pub fn categories_of_subcommand(subcommand: &Subcommand, group: &str) -> Vec<&'static str> {
    corrected(categories(subcommand.flags, group), subcommand.full_name)
}

/// Adds and takes away what flags and groups do not tell.
fn corrected(mut names: Vec<&'static str>, full_name: &str) -> Vec<&'static str> {
    let (more, less) = other_categories(full_name);
    names.retain(|name| !less.contains(name));
    names.extend(more);
    names.sort_by_key(|name| CATEGORIES.iter().position(|category| category == name));
    names.dedup();
    names
}

/// Writes the entry of one command with its subcommands.
pub fn write_command(command: &Command, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(command.lower_name().as_bytes());
    reply.integer(command.arity.into());
    let flags = match is_mere_container(command.name) {
        true => Flags::NONE,
        false => command.flags,
    };
    let movable = command.keys.is_counted().then_some("movablekeys");
    write_flags(flags, &command.lower_name(), movable, reply);
    let keys = shown_keys(command);
    for position in key_positions(keys) {
        reply.integer(position);
    }
    write_categories(&categories_of(command), reply);
    write_tips(tips(command), reply);
    let flags = key_flags(command.name);
    if keys == KeySpec::NONE {
        reply.set(0);
    } else if flags.len() > 1 {
        // Keys that are used in different ways are described one by one.
        reply.set(flags.len());
        for (index, flags) in flags.iter().enumerate() {
            let first = keys.first + index * keys.step;
            let last = first as i32;
            write_key_spec(KeySpec { first, last, ..keys }, flags, None, reply);
        }
    } else {
        reply.set(1);
        let flags = flags
            .first()
            .copied()
            .unwrap_or_else(|| default_key_flags(command));
        write_key_spec(keys, flags, key_note(command.name), reply);
    }
    let subcommands = subcommands_of(command.name);
    reply.set(subcommands.len());
    for subcommand in subcommands {
        write_subcommand(subcommand, command.group, reply);
    }
}

/// How a command uses its keys where nothing else is known.
pub fn default_key_flags(command: &Command) -> &'static [&'static str] {
    match command.flags.has(Flags::READONLY) {
        true => &["RO", "access"],
        false => &["RW", "update"],
    }
}

/// Writes the entry of one subcommand.
pub fn write_subcommand(subcommand: &Subcommand, group: &str, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(subcommand.full_name.as_bytes());
    reply.integer(subcommand.arity.into());
    write_flags(subcommand.flags, subcommand.full_name, None, reply);
    let keys = subcommand_keys(subcommand.full_name);
    for position in key_positions(keys) {
        reply.integer(position);
    }
    write_categories(&categories_of_subcommand(subcommand, group), reply);
    write_tips(subcommand_tips(subcommand.full_name), reply);
    if keys == KeySpec::NONE {
        reply.set(0);
    } else {
        reply.set(1);
        write_key_spec(keys, &["RO"], None, reply);
    }
    reply.set(0);
}

fn write_flags(flags: Flags, full_name: &str, movable: Option<&'static str>, reply: &mut Reply) {
    let mut names: Vec<&str> = FLAG_NAMES
        .iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| *name)
        .chain(more_flags(full_name))
        .chain(movable)
        .collect();
    names.sort_by_key(|name| FLAG_ORDER.iter().position(|flag| flag == name));
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

fn write_tips(tips: &[&str], reply: &mut Reply) {
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
}

fn write_categories(names: &[&str], reply: &mut Reply) {
    reply.set(names.len());
    for name in names {
        reply.simple(&format!("@{name}"));
    }
}

fn key_positions(keys: KeySpec) -> [i64; 3] {
    if keys.is_counted() {
        return [0; 3];
    }
    [keys.first as i64, i64::from(keys.last), keys.step as i64]
}

fn write_key_spec(keys: KeySpec, flags: &[&str], note: Option<&str>, reply: &mut Reply) {
    reply.map(3 + usize::from(note.is_some()));
    if let Some(note) = note {
        reply.bulk(b"notes");
        reply.bulk(note.as_bytes());
    }
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.simple(flag);
    }
    reply.bulk(b"begin_search");
    let begin = keys.first - usize::from(keys.is_counted());
    write_search("index", &[("index", begin as i64)], reply);
    reply.bulk(b"find_keys");
    if keys.is_counted() {
        let spec = [("keynumidx", 0), ("firstkey", 1), ("keystep", keys.step as i64)];
        write_search("keynum", &spec, reply);
        return;
    }
    // Redis counts the last key from the first one, unless it counts from the end.
    let last = if keys.last < 0 {
        i64::from(keys.last)
    } else {
        i64::from(keys.last) - keys.first as i64
    };
    write_search(
        "range",
        &[("lastkey", last), ("keystep", keys.step as i64), ("limit", 0)],
        reply,
    );
}

fn write_search(kind: &str, spec: &[(&str, i64)], reply: &mut Reply) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(spec.len());
    for (name, value) in spec {
        reply.bulk(name.as_bytes());
        reply.integer(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Run;
    use crate::command::session::{SessionContext, SessionStop};
    use crate::command::test_support::TestClient;
    use crate::resp::{Args, Proto};

    /// An entry that no table holds.
    fn command(name: &'static str, flags: Flags, keys: KeySpec) -> Command {
        fn no_handler(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
            Ok(())
        }
        Command {
            name,
            arity: -5,
            flags,
            keys,
            group: "timeseries",
            since: "1.0.0",
            syntax: "",
            summary: "",
            run: Run::Session(no_handler),
        }
    }

    #[test]
    fn counted_keys_are_described_as_by_redis() {
        let mut reply = Reply::new(Proto::Resp3);
        write_command(
            &command("TS.NRANGE", Flags::READONLY, KeySpec::COUNTED),
            &mut reply,
        );
        let expected = "*10\r\n$9\r\nts.nrange\r\n:-5\r\n~3\r\n+readonly\r\n+module\r\n+movablekeys\r\n\
            :0\r\n:0\r\n:0\r\n\
            ~3\r\n+@read\r\n+@slow\r\n+@timeseries\r\n~0\r\n\
            ~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n\
            $12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n\
            %1\r\n$5\r\nindex\r\n:1\r\n\
            $9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n%3\r\n\
            $9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n~0\r\n";
        assert_eq!(String::from_utf8_lossy(reply.as_bytes()), expected);
    }

    #[test]
    fn categories_of_time_series_are_those_of_the_module() {
        let write = Flags::WRITE.and(Flags::DENY_ON_FULL);
        for (name, flags, categories) in [
            ("TS.CREATE", write, ["write", "fast", "timeseries"]),
            ("TS.DELETERULE", Flags::WRITE, ["write", "fast", "timeseries"]),
            (
                "TS.CREATERULE",
                Flags::WRITE.and(Flags::FAST),
                ["write", "slow", "timeseries"],
            ),
            ("TS.ADD", write, ["write", "slow", "timeseries"]),
            ("TS.GET", Flags::READONLY, ["read", "fast", "timeseries"]),
            ("TS.INFO", Flags::READONLY, ["read", "fast", "timeseries"]),
            ("TS.READ", Flags::READONLY, ["read", "slow", "timeseries"]),
        ] {
            assert_eq!(
                categories_of(&command(name, flags, KeySpec::FIRST)),
                categories,
                "{name}"
            );
        }
    }

    #[test]
    fn mset_is_described_as_by_redis() {
        let mut client = TestClient::new().resp3();
        let mset = "*2\r\n*10\r\n$4\r\nmset\r\n:-3\r\n~2\r\n+write\r\n+denyoom\r\n:1\r\n:-1\r\n:2\r\n\
            ~3\r\n+@write\r\n\
            +@string\r\n+@slow\r\n~2\r\n$26\r\nrequest_policy:multi_shard\r\n$29\r\n\
            response_policy:all_succeeded\r\n\
            ~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+OW\r\n+update\r\n$12\r\nbegin_search\r\n%2\r\n$4\r\n\
            type\r\n$5\r\nindex\
            \r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\n\
            range\r\n$4\r\n\
            spec\r\n%3\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n~0\r\n_\r\n";
        assert_eq!(client.run(&["COMMAND", "INFO", "mset", "nosuch"]), mset);
    }

    #[test]
    fn containers_list_their_subcommands() {
        let mut client = TestClient::new();
        let info = client.run(&["COMMAND", "INFO", "config"]);
        assert!(info.starts_with("*1\r\n*10\r\n$6\r\nconfig\r\n:-2\r\n"), "{info}");
        let get = "*10\r\n$10\r\nconfig|get\r\n:-3\r\n*4\r\n+admin\r\n+noscript\r\n+loading\r\n+stale\r\n:0\r\n:0\r\n:0\r\n*3\r\n\
            +@admin\r\n+@slow\r\n\
                   +@dangerous\r\n*0\r\n*0\r\n*0\r\n";
        assert!(info.contains(get), "{info}");
        assert_eq!(
            client.run(&["COMMAND", "INFO", "config|get"]),
            format!("*1\r\n{get}")
        );
        assert!(client.run(&["COMMAND"]).contains("*10\r\n$3\r\nget\r\n:2\r\n"));
    }
}
