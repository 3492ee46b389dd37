//! GET, SET and the other commands of plain values.

mod increment;
pub mod lcs;
mod set;

use crate::lane::keys::Value;
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::{Call, Command, Flags, KeySpec, Merge, Run, each_group};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENY_ON_FULL);
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const SHRINK_FAST: Flags = Flags::WRITE.and(Flags::FAST);

/// Arguments per pair of MSET and MSETNX: key, value.
const MSET_STEP: usize = 2;

/// The family's table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "GET",
        arity: 2,
        flags: READ_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key",
        summary: "Returns the string at a key.",
        run: Run::Owner { key: 1, handler: get },
    },
    Command {
        name: "SET",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key value [NX|XX] [GET] \
                 [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
        summary: "Sets a key to a string, whatever it held before.",
        run: Run::Owner {
            key: 1,
            handler: set::set,
        },
    },
    Command {
        name: "SETNX",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key value",
        summary: "Sets a key to a string if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: set::setnx,
        },
    },
    Command {
        name: "SETEX",
        arity: 4,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.0.0",
        syntax: "key seconds value",
        summary: "Sets a key to a string that expires after so many seconds.",
        run: Run::Owner {
            key: 1,
            handler: set::setex,
        },
    },
    Command {
        name: "PSETEX",
        arity: 4,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.6.0",
        syntax: "key milliseconds value",
        summary: "Sets a key to a string that expires after so many milliseconds.",
        run: Run::Owner {
            key: 1,
            handler: set::psetex,
        },
    },
    Command {
        name: "GETSET",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key value",
        summary: "Sets a key to a string and returns the one before.",
        run: Run::Owner {
            key: 1,
            handler: set::getset,
        },
    },
    Command {
        name: "GETDEL",
        arity: 2,
        flags: SHRINK_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "6.2.0",
        syntax: "key",
        summary: "Returns the string at a key and deletes the key.",
        run: Run::Owner {
            key: 1,
            handler: set::getdel,
        },
    },
    Command {
        name: "GETEX",
        arity: -2,
        flags: SHRINK_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "6.2.0",
        syntax: "key \
                 [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
        summary: "Returns the string at a key and changes when the key expires.",
        run: Run::Owner {
            key: 1,
            handler: set::getex,
        },
    },
    Command {
        name: "MGET",
        arity: -2,
        flags: READ_FAST,
        keys: KeySpec::ALL,
        group: "string",
        since: "1.0.0",
        syntax: "key [key ...]",
        summary: "Returns the strings at keys, null for each that holds none.",
        run: Run::Split {
            step: 1,
            handler: mget,
            merge: Merge::Array,
            atomic: None,
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "MSET",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::every(2),
        group: "string",
        since: "1.0.1",
        syntax: "key value [key value ...]",
        summary: "Sets keys to strings, all or none.",
        run: Run::Split {
            step: MSET_STEP,
            handler: mset,
            merge: Merge::Ok,
            atomic: Some(mset_check),
            prepare: None,
            together: Some(mset_groups),
        },
    },
    Command {
        name: "MSETNX",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::every(2),
        group: "string",
        since: "1.0.1",
        syntax: "key value [key value ...]",
        summary: "Sets keys to strings if none of the keys exists.",
        run: Run::Split {
            step: MSET_STEP,
            handler: mset,
            merge: Merge::OneIfDone,
            atomic: Some(msetnx_check),
            prepare: None,
            together: None,
        },
    },
    Command {
        name: "APPEND",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.0.0",
        syntax: "key value",
        summary: "Appends to the string at a key, which is created if it does not exist.",
        run: Run::Owner {
            key: 1,
            handler: append,
        },
    },
    Command {
        name: "STRLEN",
        arity: 2,
        flags: READ_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.2.0",
        syntax: "key",
        summary: "Returns the length of the string at a key in bytes.",
        run: Run::Owner {
            key: 1,
            handler: strlen,
        },
    },
    Command {
        name: "GETRANGE",
        arity: 4,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.4.0",
        syntax: "key start end",
        summary: "Returns a part of the string at a key.",
        run: Run::Owner {
            key: 1,
            handler: getrange,
        },
    },
    Command {
        name: "SUBSTR",
        arity: 4,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key start end",
        summary: "Returns a part of the string at a key; the old name of GETRANGE.",
        run: Run::Owner {
            key: 1,
            handler: getrange,
        },
    },
    Command {
        name: "SETRANGE",
        arity: 4,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.2.0",
        syntax: "key offset value",
        summary: "Overwrites a part of the string at a key, which is created if it does not exist.",
        run: Run::Owner {
            key: 1,
            handler: setrange,
        },
    },
    Command {
        name: "INCR",
        arity: 2,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key",
        summary: "Adds one to the whole number at a key, 0 if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: increment::incr,
        },
    },
    Command {
        name: "DECR",
        arity: 2,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key",
        summary: "Subtracts one from the whole number at a key, 0 if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: increment::decr,
        },
    },
    Command {
        name: "INCRBY",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key increment",
        summary: "Adds to the whole number at a key, 0 if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: increment::incrby,
        },
    },
    Command {
        name: "DECRBY",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "1.0.0",
        syntax: "key decrement",
        summary: "Subtracts from the whole number at a key, 0 if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: increment::decrby,
        },
    },
    Command {
        name: "INCRBYFLOAT",
        arity: 3,
        flags: WRITE_FAST,
        keys: KeySpec::FIRST,
        group: "string",
        since: "2.6.0",
        syntax: "key increment",
        summary: "Adds to the number at a key, 0 if the key does not exist.",
        run: Run::Owner {
            key: 1,
            handler: increment::incrbyfloat,
        },
    },
];

fn get(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    match partition.string(call.args.get(1), call.now_ms)? {
        Some(value) => reply.bulk(value),
        None => reply.null(),
    }
    Ok(())
}

fn strlen(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let value = partition.string(call.args.get(1), call.now_ms)?;
    reply.integer(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

/// One key of MGET: anything but a string counts as missing.
fn mget(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(0), call.now_ms)?;
    match place.map(|place| &partition.entry(place).value) {
        Some(Value::String(value)) => reply.bulk(value),
        _ => reply.null(),
    }
    Ok(())
}

fn getrange(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let start = parse_i64(call.args.get(2)).ok_or(Refusal::NotInteger)?;
    let end = parse_i64(call.args.get(3)).ok_or(Refusal::NotInteger)?;
    let value = partition
        .string(call.args.get(1), call.now_ms)?
        .unwrap_or_default();
    reply.bulk(slice(value, start, end));
    Ok(())
}

/// Bytes `start` to `end`, both included; negative positions count from the end.
fn slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return b"";
    }
    let len = value.len() as i64;
    let from_front = |position: i64| {
        if position < 0 {
            (len + position).max(0)
        } else {
            position
        }
    };
    // An end in front of the first byte means the first byte, as in Redis.
    let (start, end) = (from_front(start), from_front(end).min(len - 1));
    if start > end {
        b""
    } else {
        value.get(start as usize..=end as usize).unwrap_or_default()
    }
}

fn mset(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    partition.set_string(call.args.get(0), call.args.get(1), 0, call.now_ms)?;
    reply.ok();
    Ok(())
}

/// All pairs of an MSET.
fn mset_groups(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Result<bool, Stop> {
    each_group(partition, call.args, MSET_STEP, |partition, pair| {
        partition.check_key(pair.get(0))?;
        check_value_len(partition, pair.get(1).len())?;
        partition.warm(pair.get(0))?;
        Ok(true)
    })?;
    for start in (0..call.args.len()).step_by(MSET_STEP) {
        let (key, value) = (call.args.get(start), call.args.get(start + 1));
        partition.set_string(key, value, 0, call.now_ms)?;
    }
    reply.ok();
    Ok(true)
}

fn mset_check(partition: &mut Partition, call: &Call<'_>) -> Result<bool, Stop> {
    check_pair_len(partition, call)?;
    partition.warm(call.args.get(0))?;
    Ok(true)
}

fn msetnx_check(partition: &mut Partition, call: &Call<'_>) -> Result<bool, Stop> {
    check_pair_len(partition, call)?;
    Ok(partition.find(call.args.get(0), call.now_ms)?.is_none())
}

/// Refuses what `set_string` would refuse while the command is being applied.
fn check_pair_len(partition: &Partition, call: &Call<'_>) -> Result<(), Refusal> {
    partition.check_key(call.args.get(0))?;
    check_value_len(partition, call.args.get(1).len())
}

/// Refuses a value that is longer than this business allows.
#[inline]
fn check_value_len(partition: &Partition, len: usize) -> Result<(), Refusal> {
    if len > partition.settings.value_len_max_bytes {
        return Err(Refusal::text(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    Ok(())
}

fn append(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, value) = (call.args.get(1), call.args.get(2));
    let len = match partition.string(key, call.now_ms)?.map(<[u8]>::len) {
        Some(len) => partition.patch_string(key, len, value, call.now_ms)?,
        None => {
            check_value_len(partition, value.len())?;
            partition.set_string(key, value, 0, call.now_ms)?;
            value.len()
        }
    };
    reply.integer(len as i64);
    Ok(())
}

fn setrange(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, bytes) = (call.args.get(1), call.args.get(3));
    let offset = parse_i64(call.args.get(2)).ok_or(Refusal::NotInteger)?;
    let offset = usize::try_from(offset).map_err(|_| Refusal::text("ERR offset is out of range"))?;
    let len = partition.string(key, call.now_ms)?.map_or(0, <[u8]>::len);
    // Nothing to write: neither a gap nor a key comes into being.
    let len = if bytes.is_empty() {
        len
    } else {
        partition.patch_string(key, offset, bytes, call.now_ms)?
    };
    reply.integer(len as i64);
    Ok(())
}

#[cfg(test)]
mod tests;
