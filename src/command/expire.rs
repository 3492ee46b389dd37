//! EXPIRE and its relatives.

use crate::lane::{Handled, Partition};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{ArgCursor, Reply};

use super::{Call, Command, Flags, KeySpec, Run};

const READ: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// The family's table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "EXPIRE",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "1.0.0",
        syntax: "key seconds [NX|XX|GT|LT]",
        summary: "Lets a key expire after so many seconds.",
        run: Run::Owner {
            key: 1,
            handler: expire,
        },
    },
    Command {
        name: "PEXPIRE",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.6.0",
        syntax: "key milliseconds [NX|XX|GT|LT]",
        summary: "Lets a key expire after so many milliseconds.",
        run: Run::Owner {
            key: 1,
            handler: pexpire,
        },
    },
    Command {
        name: "EXPIREAT",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "1.2.0",
        syntax: "key unix-time-seconds [NX|XX|GT|LT]",
        summary: "Lets a key expire at a Unix time in seconds.",
        run: Run::Owner {
            key: 1,
            handler: expireat,
        },
    },
    Command {
        name: "PEXPIREAT",
        arity: -3,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.6.0",
        syntax: "key unix-time-milliseconds [NX|XX|GT|LT]",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        run: Run::Owner {
            key: 1,
            handler: pexpireat,
        },
    },
    Command {
        name: "TTL",
        arity: 2,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "1.0.0",
        syntax: "key",
        summary: "Returns the seconds until a key expires.",
        run: Run::Owner { key: 1, handler: ttl },
    },
    Command {
        name: "PTTL",
        arity: 2,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.6.0",
        syntax: "key",
        summary: "Returns the milliseconds until a key expires.",
        run: Run::Owner {
            key: 1,
            handler: pttl,
        },
    },
    Command {
        name: "EXPIRETIME",
        arity: 2,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "7.0.0",
        syntax: "key",
        summary: "Returns the Unix time in seconds at which a key expires.",
        run: Run::Owner {
            key: 1,
            handler: expiretime,
        },
    },
    Command {
        name: "PEXPIRETIME",
        arity: 2,
        flags: READ,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "7.0.0",
        syntax: "key",
        summary: "Returns the Unix time in milliseconds at which a key expires.",
        run: Run::Owner {
            key: 1,
            handler: pexpiretime,
        },
    },
    Command {
        name: "PERSIST",
        arity: 2,
        flags: WRITE,
        keys: KeySpec::FIRST,
        group: "generic",
        since: "2.2.0",
        syntax: "key",
        summary: "Removes the time at which a key expires.",
        run: Run::Owner {
            key: 1,
            handler: persist,
        },
    },
];

const MILLISECONDS_PER_SECOND: i64 = 1000;

/// Unit of an amount of time that a client gives or gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// `base_ms` plus `amount`, in unix milliseconds; `None` if that overflows.
pub(super) fn deadline_ms(amount: i64, unit: Unit, base_ms: i64) -> Option<i64> {
    let amount_ms = match unit {
        Unit::Seconds => amount.checked_mul(MILLISECONDS_PER_SECOND)?,
        Unit::Milliseconds => amount,
    };
    base_ms.checked_add(amount_ms)
}

/// The refusal of a time that overflows, or that has to be above zero and is not; `command` in lower case.
pub(super) fn invalid_expire_time(command: &str) -> Refusal {
    Refusal::text(format!("ERR invalid expire time in '{command}' command"))
}

/// Conditions on the present deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(cursor: ArgCursor<'_>) -> Result<Conditions, Refusal> {
        let mut conditions = Conditions::default();
        for word in cursor {
            let flag = match word.to_ascii_uppercase().as_slice() {
                b"NX" => &mut conditions.only_without,
                b"XX" => &mut conditions.only_with,
                b"GT" => &mut conditions.only_later,
                b"LT" => &mut conditions.only_earlier,
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(Refusal::text(format!("ERR Unsupported option {word}")));
                }
            };
            *flag = true;
        }
        let Conditions {
            only_without,
            only_with,
            only_later,
            only_earlier,
        } = conditions;
        if only_without && (only_with || only_later || only_earlier) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(Refusal::text(text));
        }
        if only_later && only_earlier {
            return Err(Refusal::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// True if a deadline may become `after_ms`; `before_ms` 0 = never, which is later than any time.
    fn allow(self, before_ms: i64, after_ms: i64) -> bool {
        let has_deadline = before_ms != 0;
        !(self.only_without && has_deadline
            || self.only_with && !has_deadline
            || self.only_later && (!has_deadline || after_ms <= before_ms)
            || self.only_earlier && has_deadline && after_ms >= before_ms)
    }
}

fn set_deadline(
    partition: &mut Partition,
    call: &Call<'_>,
    reply: &mut Reply,
    (unit, base_ms): (Unit, i64),
    command: &str,
) -> Handled {
    let conditions = Conditions::parse(call.args.cursor(3))?;
    let amount = parse_i64(call.args.get(2)).ok_or(Refusal::NotInteger)?;
    let after_ms = deadline_ms(amount, unit, base_ms).ok_or_else(|| invalid_expire_time(command))?;
    let place = partition.find(call.args.get(1), call.now_ms)?;
    let place = place.filter(|place| conditions.allow(partition.entry(*place).expire_at_ms, after_ms));
    match place {
        None => {}
        Some(place) if after_ms <= call.now_ms => partition.delete(place),
        Some(place) => partition.set_expiry(place, after_ms),
    }
    reply.integer(i64::from(place.is_some()));
    Ok(())
}

fn expire(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_deadline(partition, call, reply, (Unit::Seconds, call.now_ms), "expire")
}

fn pexpire(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_deadline(
        partition,
        call,
        reply,
        (Unit::Milliseconds, call.now_ms),
        "pexpire",
    )
}

fn expireat(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_deadline(partition, call, reply, (Unit::Seconds, 0), "expireat")
}

fn pexpireat(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_deadline(partition, call, reply, (Unit::Milliseconds, 0), "pexpireat")
}

/// Reply of the TTL family for a key that does not exist.
const NO_KEY: i64 = -2;
/// Reply of the TTL family for a key that never expires.
const NO_DEADLINE: i64 = -1;

fn show_deadline(
    partition: &mut Partition,
    call: &Call<'_>,
    reply: &mut Reply,
    (unit, base_ms): (Unit, i64),
) -> Handled {
    let place = partition.find(call.args.get(1), call.now_ms)?;
    reply.integer(match place.map(|place| partition.entry(place).expire_at_ms) {
        None => NO_KEY,
        Some(0) => NO_DEADLINE,
        Some(deadline_ms) => {
            let remaining_ms = deadline_ms.saturating_sub(base_ms);
            match unit {
                Unit::Milliseconds => remaining_ms,
                // Rounded, as Redis does: a key set to expire in 10 seconds a moment ago has 10 to live.
                Unit::Seconds => {
                    let is_rounded_up = remaining_ms % MILLISECONDS_PER_SECOND >= MILLISECONDS_PER_SECOND / 2;
                    remaining_ms / MILLISECONDS_PER_SECOND + i64::from(is_rounded_up)
                }
            }
        }
    });
    Ok(())
}

fn ttl(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    show_deadline(partition, call, reply, (Unit::Seconds, call.now_ms))
}

fn pttl(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    show_deadline(partition, call, reply, (Unit::Milliseconds, call.now_ms))
}

fn expiretime(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    show_deadline(partition, call, reply, (Unit::Seconds, 0))
}

fn pexpiretime(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    show_deadline(partition, call, reply, (Unit::Milliseconds, 0))
}

fn persist(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(1), call.now_ms)?;
    let place = place.filter(|place| partition.entry(*place).expire_at_ms != 0);
    if let Some(place) = place {
        partition.set_expiry(place, 0);
    }
    reply.integer(i64::from(place.is_some()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::test_run::{NOW_MS, add_series, check, run, run_at};
    use crate::lane::test_support::test_partition;

    #[test]
    fn deadlines_are_set_shown_and_removed() {
        let mut partition = test_partition();
        check(
            &mut partition,
            &[
                ("EXPIRE k 10", ":0"),
                ("TTL k", ":-2"),
                ("PEXPIRETIME k", ":-2"),
                ("PERSIST k", ":0"),
                ("SET k v", "+OK"),
                ("TTL k", ":-1"),
                ("EXPIRETIME k", ":-1"),
                ("PERSIST k", ":0"),
                ("EXPIRE k 10", ":1"),
                ("TTL k", ":10"),
                ("PTTL k", ":10000"),
                ("EXPIRETIME k", ":1700000010"),
                ("PEXPIRETIME k", ":1700000010000"),
                ("PEXPIRE k 1499", ":1"),
                ("TTL k", ":1"),
                ("PEXPIRE k 1500", ":1"),
                ("TTL k", ":2"),
                ("EXPIREAT k 1700000100", ":1"),
                ("PTTL k", ":100000"),
                ("PEXPIREAT k 1700000000777", ":1"),
                ("PTTL k", ":777"),
                ("PERSIST k", ":1"),
                ("PTTL k", ":-1"),
            ],
        );
    }

    #[test]
    fn the_key_goes_when_its_time_comes() {
        let mut partition = test_partition();
        add_series(&mut partition, "series");
        check(
            &mut partition,
            &[
                ("PEXPIRE series 5", ":1"),
                ("SET k v", "+OK"),
                ("PEXPIRE k 5", ":1"),
            ],
        );
        assert_eq!(run_at(&mut partition, NOW_MS + 4, "EXISTS k series"), ":2");
        assert_eq!(run_at(&mut partition, NOW_MS + 5, "GET k"), "$-1");
        assert_eq!(run_at(&mut partition, NOW_MS + 5, "TYPE series"), "+none");
        assert_eq!(partition.key_count(), 0);
    }

    #[test]
    fn a_time_in_the_past_deletes() {
        let mut partition = test_partition();
        for command in [
            "EXPIRE k 0",
            "EXPIRE k -1",
            "PEXPIRE k 0",
            "EXPIREAT k 1",
            "PEXPIREAT k 0",
            "EXPIREAT k -5",
        ] {
            check(
                &mut partition,
                &[("SET k v", "+OK"), (command, ":1"), ("EXISTS k", ":0")],
            );
        }
        check(
            &mut partition,
            &[
                ("SET k v EX 10", "+OK"),
                ("EXPIRE k -1 GT", ":0"),
                ("EXISTS k", ":1"),
            ],
        );
    }

    #[test]
    fn conditions_look_at_the_present_deadline() {
        let mut partition = test_partition();
        check(
            &mut partition,
            &[
                ("SET k v", "+OK"),
                ("EXPIRE k 10 XX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 10 xx lt", ":0"),
                ("EXPIRE k 10 NX", ":1"),
                ("EXPIRE k 20 NX", ":0"),
                ("EXPIRE k 10 GT", ":0"),
                ("EXPIRE k 20 GT", ":1"),
                ("EXPIRE k 20 LT", ":0"),
                ("EXPIRE k 15 LT XX", ":1"),
                ("TTL k", ":15"),
                ("PERSIST k", ":1"),
                ("EXPIRE k 10 LT", ":1"),
            ],
        );
    }

    #[test]
    fn refusals() {
        let mut partition = test_partition();
        let nx = "-ERR NX and XX, GT or LT options at the same time are not compatible";
        check(
            &mut partition,
            &[
                ("SET k v", "+OK"),
                ("EXPIRE k 10 NX XX", nx),
                ("EXPIRE k 10 NX GT", nx),
                (
                    "EXPIRE k 10 LT GT",
                    "-ERR GT and LT options at the same time are not compatible",
                ),
                ("EXPIRE k 10 foo", "-ERR Unsupported option foo"),
                ("EXPIRE k x", "-ERR value is not an integer or out of range"),
                (
                    "EXPIRE k 9223372036854775807",
                    "-ERR invalid expire time in 'expire' command",
                ),
                (
                    "EXPIRE k -9223372036854775808",
                    "-ERR invalid expire time in 'expire' command",
                ),
                (
                    "PEXPIRE k 9223372036854775807",
                    "-ERR invalid expire time in 'pexpire' command",
                ),
                (
                    "EXPIREAT k 9223372036854776",
                    "-ERR invalid expire time in 'expireat' command",
                ),
                ("PEXPIREAT k 9223372036854775807", ":1"),
                ("EXPIRETIME k", ":9223372036854776"),
                ("EXPIRE k", "-ERR wrong number of arguments for 'expire' command"),
            ],
        );
        assert_eq!(run(&mut partition, "GET k"), "$1 v");
    }
}
