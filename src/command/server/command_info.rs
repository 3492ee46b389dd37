//! Entries of COMMAND and COMMAND INFO, in the shapes of Redis 7.

use crate::command::subcommand::{Subcommand, subcommands_of};
use crate::command::{Command, CommandTable, Flags, KeySpec, Merge, Run};
use crate::resp::Reply;

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

/// Commands that can hurt although they are not the administrator's.
const DANGEROUS: [&str; 7] = ["FLUSHALL", "FLUSHDB", "KEYS", "INFO", "ROLE", "LASTSAVE", "SORT"];

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
    let mut names = categories(flags, command.group);
    if DANGEROUS.contains(&command.name) && !names.contains(&"dangerous") {
        names.push("dangerous");
        names.sort_by_key(|name| CATEGORIES.iter().position(|category| category == name));
    }
    names
}

/// Writes the entry of one command with its subcommands.
pub fn write_command(command: &Command, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(command.lower_name().as_bytes());
    reply.integer(command.arity.into());
    let movable: &[&str] = if command.keys.is_counted() {
        &["movablekeys"]
    } else {
        &[]
    };
    write_flags(command.flags, movable, reply);
    for position in key_positions(command.keys) {
        reply.integer(position);
    }
    write_categories(&categories_of(command), reply);
    let tips = tips(command);
    reply.set(tips.len());
    for tip in tips {
        reply.bulk(tip.as_bytes());
    }
    if command.keys == KeySpec::NONE {
        reply.set(0);
    } else {
        reply.set(1);
        write_key_spec(command, reply);
    }
    let subcommands = subcommands_of(command.name);
    reply.set(subcommands.len());
    for subcommand in subcommands {
        write_subcommand(subcommand, command.group, reply);
    }
}

/// Writes the entry of one subcommand; none of them has keys.
pub fn write_subcommand(subcommand: &Subcommand, group: &str, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(subcommand.full_name.as_bytes());
    reply.integer(subcommand.arity.into());
    write_flags(subcommand.flags, &[], reply);
    for _ in 0..3 {
        reply.integer(0);
    }
    write_categories(&categories(subcommand.flags, group), reply);
    for _ in 0..3 {
        reply.set(0);
    }
}

fn write_flags(flags: Flags, more: &[&'static str], reply: &mut Reply) {
    let mut names: Vec<&str> = FLAG_NAMES
        .iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| *name)
        .collect();
    names.extend_from_slice(more);
    reply.set(names.len());
    for name in names {
        reply.simple(name);
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

/// Hints for cluster-aware clients: a command over many keys can be cut by slots.
fn tips(command: &Command) -> &'static [&'static str] {
    match (command.run, command.name) {
        (_, "PING") => &["request_policy:all_shards", "response_policy:all_succeeded"],
        (_, "DBSIZE") => &["request_policy:all_shards", "response_policy:agg_sum"],
        (_, "KEYS") => &["request_policy:all_shards", "nondeterministic_output_order"],
        (_, "FLUSHALL" | "FLUSHDB") => &["request_policy:all_shards", "response_policy:all_succeeded"],
        (_, "SCAN") => &["nondeterministic_output", "request_policy:special"],
        (_, "RANDOMKEY") => &[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ],
        (_, "INFO") => &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        (_, "TIME" | "LASTSAVE" | "TTL" | "PTTL") => &["nondeterministic_output"],
        (
            Run::Split {
                merge: Merge::Array | Merge::Each,
                ..
            },
            _,
        ) => &["request_policy:multi_shard"],
        (
            Run::Split {
                merge: Merge::Sum, ..
            },
            _,
        ) => &["request_policy:multi_shard", "response_policy:agg_sum"],
        (
            Run::Split {
                merge: Merge::OneIfDone,
                ..
            },
            _,
        ) => &["request_policy:multi_shard", "response_policy:agg_min"],
        (Run::Split { merge: Merge::Ok, .. }, _) => {
            &["request_policy:multi_shard", "response_policy:all_succeeded"]
        }
        _ => &[],
    }
}

/// How a command uses its keys, in Redis's words.
pub fn key_flags(command: &Command) -> &'static [&'static str] {
    match command.name {
        "SET" => &["RW", "access", "update", "variable_flags"],
        "MSET" | "SETEX" | "PSETEX" | "TSDB_SET" | "TSDB_MSET" => &["OW", "update"],
        "SETNX" | "MSETNX" | "TS.CREATE" => &["OW", "insert"],
        "DEL" | "UNLINK" => &["RM", "delete"],
        "TS.DEL" => &["RW", "delete"],
        "GETDEL" => &["RW", "access", "delete"],
        "APPEND" => &["RW", "insert"],
        "GETSET" | "GETEX" | "INCR" | "DECR" | "INCRBY" | "DECRBY" | "INCRBYFLOAT" => {
            &["RW", "access", "update"]
        }
        "EXISTS" | "TYPE" | "TTL" | "PTTL" | "EXPIRETIME" | "PEXPIRETIME" | "TOUCH" | "STRLEN" | "WATCH"
        | "TS.INFO" => &["RO"],
        _ if command.flags.has(Flags::READONLY) => &["RO", "access"],
        _ => &["RW", "update"],
    }
}

fn write_key_spec(command: &Command, reply: &mut Reply) {
    let keys = command.keys;
    reply.map(3);
    reply.bulk(b"flags");
    let flags = key_flags(command);
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
        let expected = "*10\r\n$9\r\nts.nrange\r\n:-5\r\n~2\r\n+readonly\r\n+movablekeys\r\n\
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
        let get = "*10\r\n$10\r\nconfig|get\r\n:-3\r\n*1\r\n+admin\r\n:0\r\n:0\r\n:0\r\n*3\r\n\
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
