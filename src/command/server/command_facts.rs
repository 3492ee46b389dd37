//! What Redis 7 says of its commands in COMMAND INFO and this server does not need itself.

use crate::command::subcommand::subcommands_of;
use crate::command::{Command, KeySpec, Merge, Run};

/// All flags that are shown, in the order of Redis.
pub const FLAG_ORDER: [&str; 17] = [
    "write",
    "readonly",
    "denyoom",
    "module",
    "admin",
    "pubsub",
    "noscript",
    "loading",
    "stale",
    "skip_slowlog",
    "fast",
    "no_auth",
    "no_async_loading",
    "no_multi",
    "movablekeys",
    "allow_busy",
    "blocking",
];

/// A flag and the commands that have it: names, or a container and a bar for all of its subcommands.
const MORE_FLAGS: [(&str, &[&str]); 8] = [
    (
        "pubsub",
        &[
            "subscribe",
            "unsubscribe",
            "psubscribe",
            "punsubscribe",
            "ssubscribe",
            "sunsubscribe",
            "publish",
            "spublish",
            "pubsub|",
        ],
    ),
    (
        "noscript",
        &[
            "acl|",
            "auth",
            "bgrewriteaof",
            "bgsave",
            "client|",
            "cluster|reset",
            "config|",
            "debug",
            "discard",
            "exec",
            "function|",
            "hello",
            "latency|",
            "module|",
            "monitor",
            "multi",
            "psubscribe",
            "punsubscribe",
            "quit",
            "replicaof",
            "reset",
            "role",
            "save",
            "shutdown",
            "slaveof",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "unsubscribe",
            "unwatch",
            "wait",
            "watch",
        ],
    ),
    (
        "loading",
        &[
            "acl|",
            "auth",
            "client|",
            "command",
            "command|",
            "config|",
            "debug",
            "discard",
            "echo",
            "exec",
            "hello",
            "info",
            "lastsave",
            "latency|",
            "monitor",
            "multi",
            "psubscribe",
            "publish",
            "pubsub|",
            "punsubscribe",
            "quit",
            "readonly",
            "readwrite",
            "reset",
            "role",
            "select",
            "shutdown",
            "slowlog|",
            "spublish",
            "ssubscribe",
            "subscribe",
            "sunsubscribe",
            "time",
            "unsubscribe",
            "unwatch",
            "watch",
        ],
    ),
    ("stale", &["cluster|", "replicaof", "slaveof"]),
    ("skip_slowlog", &["exec"]),
    (
        "no_async_loading",
        &["bgrewriteaof", "bgsave", "replicaof", "save", "slaveof"],
    ),
    (
        "allow_busy",
        &[
            "auth", "discard", "hello", "multi", "quit", "reset", "shutdown", "unwatch", "watch",
        ],
    ),
    ("module", &[]),
];

/// Categories that flags and groups do not tell: more of them, fewer of them, and the commands.
const OTHER_CATEGORIES: [(&[&str], &[&str], &[&str]); 5] = [
    (&["write"], &["admin", "dangerous"], &["function|flush"]),
    (
        &["connection"],
        &["keyspace"],
        &["asking", "command", "command|", "readonly", "readwrite", "wait"],
    ),
    (&["keyspace"], &[], &["dbsize", "flushall", "flushdb", "swapdb"]),
    (
        &["dangerous"],
        &[],
        &["flushall", "flushdb", "info", "keys", "restore", "swapdb"],
    ),
    (&["admin", "dangerous"], &[], &["lastsave", "role"]),
];

/// Ways in which keys are used, in Redis's words; one entry for each key where they are used differently.
const KEY_FLAGS: [(&[&str], &[&[&str]]); 13] = [
    (&["SET"], &[&["RW", "access", "update", "variable_flags"]]),
    (
        &["MSET", "SETEX", "PSETEX", "TSDB_SET", "TSDB_MSET", "RESTORE"],
        &[&["OW", "update"]],
    ),
    (&["SETNX", "MSETNX", "TS.CREATE"], &[&["OW", "insert"]]),
    (&["DEL", "UNLINK"], &[&["RM", "delete"]]),
    (&["TS.DEL"], &[&["RW", "delete"]]),
    (&["GETDEL"], &[&["RW", "access", "delete"]]),
    (&["APPEND"], &[&["RW", "insert"]]),
    (
        &[
            "GETSET",
            "GETEX",
            "INCR",
            "DECR",
            "INCRBY",
            "DECRBY",
            "INCRBYFLOAT",
            "MOVE",
        ],
        &[&["RW", "access", "update"]],
    ),
    (
        &[
            "EXISTS", "TYPE", "TOUCH", "STRLEN", "WATCH", "TS.INFO", "OBJECT", "MEMORY",
        ],
        &[&["RO"]],
    ),
    (&["COPY"], &[&["RO", "access"], &["OW", "update"]]),
    (&["RENAME"], &[&["RW", "access", "delete"], &["OW", "update"]]),
    (&["RENAMENX"], &[&["RW", "access", "delete"], &["OW", "insert"]]),
    (&["SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE"], &[&["not_key"]]),
];

/// True if `full_name` (lower case) is in `list`, by itself or with all subcommands of its container.
fn is_listed(list: &[&str], full_name: &str) -> bool {
    let container = full_name.split_once('|').map(|(container, _)| container);
    list.iter().any(|listed| match listed.strip_suffix('|') {
        Some(listed) => container == Some(listed),
        None => *listed == full_name,
    })
}

/// Flags of a command or subcommand (lower case) that mean nothing here.
pub fn more_flags(full_name: &str) -> impl Iterator<Item = &'static str> {
    // What may run while data is loaded may also run on a replica that has lost its master.
    let has = move |flag: &str| {
        let listed = |name: &str| {
            MORE_FLAGS
                .iter()
                .any(|(flag, list)| *flag == name && is_listed(list, full_name))
        };
        match flag {
            "stale" => listed("stale") || listed("loading"),
            "module" => full_name.starts_with("ts."),
            flag => listed(flag),
        }
    };
    let flags: Vec<&'static str> = MORE_FLAGS
        .iter()
        .map(|(flag, _)| *flag)
        .filter(|flag| has(flag))
        .collect();
    flags.into_iter()
}

/// Categories that a command or subcommand (lower case) has beside those of its flags and group, and those that it lacks.
pub fn other_categories(full_name: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut more, mut less) = (Vec::new(), Vec::new());
    for (added, removed, list) in OTHER_CATEGORIES {
        if is_listed(list, full_name) {
            more.extend_from_slice(added);
            less.extend_from_slice(removed);
        }
    }
    (more, less)
}

/// True if a command does nothing without a subcommand, so that only these have flags and keys.
pub fn is_mere_container(name: &str) -> bool {
    !matches!(name, "COMMAND" | "DEBUG") && !subcommands_of(name).is_empty()
}

/// The keys that COMMAND INFO shows of a command: channels of a shard stand where keys would.
pub fn shown_keys(command: &Command) -> KeySpec {
    match command.name {
        name if is_mere_container(name) => KeySpec::NONE,
        "SPUBLISH" => KeySpec::FIRST,
        "SSUBSCRIBE" | "SUNSUBSCRIBE" => KeySpec::ALL,
        _ => command.keys,
    }
}

/// Keys of a subcommand.
pub fn subcommand_keys(full_name: &str) -> KeySpec {
    match full_name.starts_with("object|") || full_name == "memory|usage" {
        true => KeySpec::SECOND,
        false => KeySpec::NONE,
    }
}

/// How a command (upper case) uses its keys; empty for what its other flags say, several if each has its own way.
pub fn key_flags(name: &str) -> &'static [&'static [&'static str]] {
    let found = KEY_FLAGS.iter().find(|(names, _)| names.contains(&name));
    found.map_or(&[], |(_, flags)| *flags)
}

/// What Redis remarks about the keys of a command.
pub fn key_note(name: &str) -> Option<&'static str> {
    match name {
        "SET" => Some("RW and ACCESS due to the optional `GET` argument"),
        "GETEX" => Some("RW and UPDATE because it changes the TTL"),
        _ => None,
    }
}

/// Hints of a subcommand.
pub fn subcommand_tips(full_name: &str) -> &'static [&'static str] {
    match full_name {
        "client|info"
        | "client|list"
        | "cluster|getkeysinslot"
        | "cluster|info"
        | "cluster|nodes"
        | "cluster|shards"
        | "cluster|slots" => &["nondeterministic_output"],
        "command|docs" | "command|info" | "command|list" | "function|list" | "module|list" => {
            &["nondeterministic_output_order"]
        }
        "config|set" | "latency|reset" | "slowlog|reset" => {
            &["request_policy:all_nodes", "response_policy:all_succeeded"]
        }
        "function|flush" | "memory|purge" => &["request_policy:all_shards", "response_policy:all_succeeded"],
        "latency|doctor" | "latency|graph" | "latency|histogram" | "latency|history" | "latency|latest" => &[
            "nondeterministic_output",
            "request_policy:all_nodes",
            "response_policy:special",
        ],
        "memory|doctor" | "memory|malloc-stats" | "memory|stats" => &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        "slowlog|get" => &["request_policy:all_nodes", "nondeterministic_output"],
        "slowlog|len" => &[
            "request_policy:all_nodes",
            "response_policy:agg_sum",
            "nondeterministic_output",
        ],
        name if name.starts_with("object|") => &["nondeterministic_output"],
        _ => &[],
    }
}

/// Hints for cluster-aware clients: a command over many keys can be cut by slots.
pub fn tips(command: &Command) -> &'static [&'static str] {
    match (command.run, command.name) {
        (_, "PING") => &["request_policy:all_shards", "response_policy:all_succeeded"],
        (_, "DBSIZE") => &["request_policy:all_shards", "response_policy:agg_sum"],
        (_, "KEYS") => &["request_policy:all_shards", "nondeterministic_output_order"],
        (_, "FLUSHALL" | "FLUSHDB") => &["request_policy:all_shards", "response_policy:all_succeeded"],
        (_, "SCAN") => &["nondeterministic_output", "request_policy:special"],
        (_, "RANDOMKEY") => &["request_policy:all_shards", "nondeterministic_output"],
        (_, "INFO") => &[
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:special",
        ],
        (_, "COMMAND") => &["nondeterministic_output_order"],
        (_, "WAIT") => &["request_policy:all_shards", "response_policy:agg_min"],
        (_, "TIME" | "LASTSAVE" | "TTL" | "PTTL" | "DUMP") => &["nondeterministic_output"],
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
