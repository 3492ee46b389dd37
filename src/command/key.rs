//! DEL, EXISTS, TYPE, SCAN and other commands of any key.

mod dump;
pub mod inspect;
mod keyspace;
mod transfer;

use crate::lane::{Handled, KeyType, Partition};
use crate::resp::Reply;

use super::entry::internal;
use super::{Call, Command, Flags, KeySpec, Merge, ReportKinds, Run};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENY_ON_FULL);
/// Takes every partition at once, which no transaction does.
const CLEAR: Flags = Flags::WRITE;

/// The family's table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "DEL",
        arity: -2,
        flags: WRITE,
        keys: KeySpec::ALL,
        group: "generic",
        since: "1.0.0",
        syntax: "key [key ...]",
        summary: "Deletes keys and returns how many there were.",
        run: Run::Split {
            step: 1,
            handler: del,
            merge: Merge::Sum,
            atomic: None,
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "UNLINK",
        arity: -2,
        flags: WRITE_FAST,
        keys: KeySpec::ALL,
        group: "generic",
        since: "4.0.0",
        syntax: "key [key ...]",
        summary: "Deletes keys and returns how many there were; the same as DEL.",
        run: Run::Split {
            step: 1,
            handler: del,
            merge: Merge::Sum,
            atomic: None,
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "EXISTS",
        arity: -2,
        flags: READ_FAST,
        keys: KeySpec::ALL,
        group: "generic",
        since: "1.0.0",
        syntax: "key [key ...]",
        summary: "Returns how many of the keys exist.",
        run: Run::Split {
            step: 1,
            handler: exists,
            merge: Merge::Sum,
            atomic: None,
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "TOUCH",
        arity: -2,
        flags: READ_FAST,
        keys: KeySpec::ALL,
        group: "generic",
        since: "3.2.1",
        syntax: "key [key ...]",
        summary: "Marks keys as used and returns how many of them exist.",
        run: Run::Split {
            step: 1,
            handler: exists,
            merge: Merge::Sum,
            atomic: None,
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "DUMP",
        arity: 2,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.6.0",
        syntax: "key",
        summary: "Returns everything a key holds as bytes of this server's own format.",
        run: Run::Owner {
            key: 1,
            handler: dump::dump,
        },
    },
    Command {
        name: "RESTORE",
        arity: -4,
        flags: GROW,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.6.0",
        syntax: "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        summary: "Creates a key of what DUMP has returned.",
        run: Run::Owner {
            key: 1,
            handler: dump::restore,
        },
    },
    Command {
        name: "TYPE",
        arity: 2,
        flags: READ_FAST,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "1.0.0",
        syntax: "key",
        summary: "Returns the type of a key.",
        run: Run::Owner {
            key: 1,
            handler: key_type,
        },
    },
    Command {
        name: "KEYS",
        arity: 2,
        flags: READ,
        keys: KeySpec::NONE,
        group: "generic",
        since: "1.0.0",
        syntax: "pattern",
        summary: "Returns every key that matches a pattern.",
        run: Run::Session(keyspace::keys),
    },
    Command {
        name: "SCAN",
        arity: -2,
        flags: READ,
        keys: KeySpec::NONE,
        group: "generic",
        since: "2.8.0",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        summary: "Walks the keys, some per call.",
        run: Run::Session(keyspace::scan),
    },
    Command {
        name: "RANDOMKEY",
        arity: 1,
        flags: READ,
        keys: KeySpec::NONE,
        group: "generic",
        since: "1.0.0",
        syntax: "",
        summary: "Returns some key.",
        run: Run::Session(keyspace::randomkey),
    },
    Command {
        name: "RENAME",
        arity: 3,
        flags: WRITE,
        keys: KeySpec::TWO,
        group: "generic",
        since: "1.0.0",
        syntax: "key newkey",
        summary: "Renames a key, in place of any key of the new name.",
        run: Run::Session(transfer::rename),
    },
    Command {
        name: "RENAMENX",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::TWO,
        group: "generic",
        since: "1.0.0",
        syntax: "key newkey",
        summary: "Renames a key if there is none of the new name.",
        run: Run::Session(transfer::renamenx),
    },
    Command {
        name: "COPY",
        arity: -3,
        flags: GROW,
        keys: KeySpec::TWO,
        group: "generic",
        since: "6.2.0",
        syntax: "source destination [DB destination-db] [REPLACE]",
        summary: "Copies what a key holds, and when it expires, to another key.",
        run: Run::Session(transfer::copy),
    },
    Command {
        name: "DBSIZE",
        arity: 1,
        flags: READ_FAST,
        keys: KeySpec::NONE,
        group: "server",
        since: "1.0.0",
        syntax: "",
        summary: "Returns the number of keys.",
        run: Run::Report {
            kinds: ReportKinds::BASIC,
            render: keyspace::dbsize,
        },
    },
    Command {
        name: "OBJECT",
        arity: -2,
        flags: Flags::NONE,
        keys: KeySpec::SECOND,
        group: "generic",
        since: "2.2.3",
        syntax: "",
        summary: "A container for commands that tell how a key is kept.",
        run: Run::Session(inspect::object),
    },
    internal(inspect::OBJECT_PART, "generic", READ, inspect::object_part),
    internal(inspect::MEMORY_PART, "generic", READ, inspect::memory_part),
    Command {
        name: "FLUSHDB",
        arity: -1,
        flags: CLEAR,
        keys: KeySpec::NONE,
        group: "server",
        since: "1.0.0",
        syntax: "[ASYNC|SYNC]",
        summary: "Deletes every key.",
        run: Run::Session(keyspace::flush),
    },
    Command {
        name: "FLUSHALL",
        arity: -1,
        flags: CLEAR,
        keys: KeySpec::NONE,
        group: "server",
        since: "1.0.0",
        syntax: "[ASYNC|SYNC]",
        summary: "Deletes every key; the same as FLUSHDB, as there is one database.",
        run: Run::Session(keyspace::flush),
    },
];

/// DEL and UNLINK of one key; memory is let go at once, the rows by the next checkpoint.
fn del(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(0), call.now_ms)?;
    if let Some(place) = place {
        partition.delete(place);
    }
    reply.integer(i64::from(place.is_some()));
    Ok(())
}

/// EXISTS and TOUCH of one key: every look-up counts as a use.
fn exists(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(0), call.now_ms)?;
    reply.integer(i64::from(place.is_some()));
    Ok(())
}

fn key_type(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(1), call.now_ms)?;
    let key_type = place.and_then(|place| KeyType::of(partition.entry(place)));
    reply.simple(key_type.map_or("none", KeyType::name));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::command::test_run::{NOW_MS, add_series, check, run, run_at};
    use crate::lane::test_support::test_partition;

    #[test]
    fn keys_of_any_type_are_counted_and_deleted() {
        let mut partition = test_partition();
        add_series(&mut partition, "s");
        check(
            &mut partition,
            &[
                ("MSET a 1 b 2", "+OK"),
                ("EXISTS a a b s none", ":4"),
                ("TOUCH a s none", ":2"),
                ("TYPE a", "+string"),
                ("TYPE s", "+TSDB-TYPE"),
                ("TYPE none", "+none"),
                ("DEL a a s none", ":2"),
                ("UNLINK a b", ":1"),
                ("EXISTS a b s", ":0"),
                ("DEL", "-ERR wrong number of arguments for 'del' command"),
            ],
        );
        assert_eq!((partition.key_count(), partition.loaded_series()), (0, 0));
    }

    #[test]
    fn an_expired_key_is_not_there() {
        let mut partition = test_partition();
        assert_eq!(run(&mut partition, "SET k v PX 5"), "+OK");
        assert_eq!(run_at(&mut partition, NOW_MS + 4, "TYPE k"), "+string");
        assert_eq!(run_at(&mut partition, NOW_MS + 5, "TYPE k"), "+none");
        assert_eq!(run_at(&mut partition, NOW_MS, "DEL k"), ":0");
    }
}
