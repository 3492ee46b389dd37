//! Which keyspace events commands cause.

use crate::lane::{EventClasses, Partition};

use super::Call;

/// Notes what a command has done to a key, if it is a command that clients may want to hear of.
pub fn note(partition: &mut Partition, command: &str, key: &[u8], call: &Call<'_>) {
    let Some((class, name)) = event_of(command) else {
        return;
    };
    let is_there = partition.is_in_memory(key);
    match command {
        "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" | "GETEX" if !is_there => {
            partition.note_event(EventClasses::GENERIC, "del", key);
        }
        "GETEX" if has_word(call, 2, &[b"PERSIST"]) => {
            partition.note_event(EventClasses::GENERIC, "persist", key);
        }
        _ => partition.note_event(class, name, key),
    }
    let has_deadline = match command {
        "SETEX" | "PSETEX" => true,
        "SET" => has_word(call, 3, &[b"EX", b"PX", b"EXAT", b"PXAT"]),
        _ => false,
    };
    if has_deadline {
        partition.note_event(EventClasses::GENERIC, "expire", key);
    }
}

fn has_word(call: &Call<'_>, from: usize, words: &[&[u8]]) -> bool {
    let mut options = call.args.cursor(from);
    options.any(|option| words.iter().any(|word| option.eq_ignore_ascii_case(word)))
}

/// Class and name of the event of a command that has changed something.
fn event_of(command: &str) -> Option<(EventClasses, &'static str)> {
    let generic = EventClasses::GENERIC;
    let string = EventClasses::STRING;
    let series = EventClasses::MODULE;
    Some(match command {
        "SET" | "SETNX" | "SETEX" | "PSETEX" | "GETSET" | "MSET" | "MSETNX" => (string, "set"),
        "APPEND" => (string, "append"),
        "SETRANGE" => (string, "setrange"),
        "INCR" | "DECR" | "INCRBY" | "DECRBY" => (string, "incrby"),
        "INCRBYFLOAT" => (string, "incrbyfloat"),
        "DEL" | "UNLINK" | "GETDEL" => (generic, "del"),
        "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" | "GETEX" => (generic, "expire"),
        "PERSIST" => (generic, "persist"),
        "RESTORE" => (generic, "restore"),
        "TS.CREATE" => (series, "ts.create"),
        "TS.ADD" | "TS.MADD" | "TSDB_SET" | "TSDB_MSET" => (series, "ts.add"),
        "TS.ALTER" => (series, "ts.alter"),
        "TS.DEL" => (series, "ts.del"),
        "TS.INCRBY" => (generic, "ts.incrby"),
        "TS.DECRBY" => (generic, "ts.decrby"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::command::test_run::run;
    use crate::lane::test_support::test_partition;
    use std::sync::atomic::Ordering;

    #[test]
    fn commands_that_change_something_are_heard_of() {
        let mut partition = test_partition();
        run(&mut partition, "SET quiet 1");
        assert!(partition.take_events().is_empty());
        partition.settings.event_classes.store(0xfff, Ordering::Relaxed);
        for (line, expected) in [
            ("SET s 1", "set s"),
            ("SET s 2 EX 100", "set s, expire s"),
            ("SET s 3 NX", ""),
            ("SET s 4 KEEPTTL", "set s"),
            ("GETEX s PERSIST", "persist s"),
            ("GETEX s EX 5", "expire s"),
            ("APPEND s 1", "append s"),
            ("SETRANGE s 0 1", "setrange s"),
            ("INCR s", "incrby s"),
            ("INCRBYFLOAT s 1.5", "incrbyfloat s"),
            ("EXPIRE s 100", "expire s"),
            ("EXPIRE nope 100", ""),
            ("PERSIST s", "persist s"),
            ("PERSIST s", ""),
            ("MSET a 1 b 2", "set a, set b"),
            ("DEL a b c", "del a, del b"),
            ("EXPIRE s -1", "del s"),
            ("TS.CREATE k", "ts.create k"),
            ("TS.CREATE k", ""),
            ("TS.ADD k 1 1", "ts.add k"),
            ("TS.ADD k 1 1", ""),
            ("TS.MADD k 2 1 nope 1 1 k 3 1", "ts.add k, ts.add k"),
            ("TS.ALTER k RETENTION 5", "ts.alter k"),
            ("TS.INCRBY k 1 TIMESTAMP 4", "ts.incrby k"),
            ("TS.DECRBY k 1 TIMESTAMP 5", "ts.decrby k"),
            ("TS.DEL k 5 5", "ts.del k"),
            ("TS.DEL k 5 5", ""),
            ("TS.RANGE k - +", ""),
            ("GETDEL k", ""),
        ] {
            run(&mut partition, line);
            let events = partition.take_events();
            let shown: Vec<String> = events
                .iter()
                .map(|event| format!("{} {}", event.name, String::from_utf8_lossy(&event.key)))
                .collect();
            assert_eq!(shown.join(", "), expected, "{line}");
        }
        partition.settings.event_classes.store(1 << 3, Ordering::Relaxed);
        run(&mut partition, "SET s 1 EX 5");
        assert_eq!(partition.take_events().len(), 1, "only the classes asked for");
    }
}
