//! SET and its relatives: everything that replaces a whole string or changes when it expires.

use crate::command::Call;
use crate::command::expire::{Unit, deadline_ms, invalid_expire_time};
use crate::lane::keys::Value;
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{ArgCursor, Reply};

use super::check_value_len;

/// What an option says about the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Keep,
    Persist,
    Ex,
    Px,
    ExAt,
    PxAt,
}

/// Condition on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnlyIf {
    Absent,
    Present,
}

/// The options of SET, or those of GETEX.
#[derive(Debug, Default)]
struct Options<'a> {
    only_if: Option<OnlyIf>,
    get: bool,
    expiry: Option<(Expiry, &'a [u8])>,
}

impl<'a> Options<'a> {
    fn parse_set(mut cursor: ArgCursor<'a>) -> Result<Options<'a>, Refusal> {
        let mut options = Options::default();
        while !cursor.is_done() {
            if cursor.take_flag(b"NX") {
                options.set_condition(OnlyIf::Absent)?;
            } else if cursor.take_flag(b"XX") {
                options.set_condition(OnlyIf::Present)?;
            } else if cursor.take_flag(b"GET") {
                options.get = true;
            } else if cursor.take_flag(b"KEEPTTL") {
                options.set_expiry(Expiry::Keep, b"")?;
            } else {
                options.take_deadline(&mut cursor)?;
            }
        }
        Ok(options)
    }

    fn parse_getex(mut cursor: ArgCursor<'a>) -> Result<Options<'a>, Refusal> {
        let mut options = Options::default();
        while !cursor.is_done() {
            if cursor.take_flag(b"PERSIST") {
                options.set_expiry(Expiry::Persist, b"")?;
            } else {
                options.take_deadline(&mut cursor)?;
            }
        }
        Ok(options)
    }

    fn set_condition(&mut self, only_if: OnlyIf) -> Result<(), Refusal> {
        if self.only_if.is_some_and(|other| other != only_if) {
            return Err(Refusal::Syntax);
        }
        self.only_if = Some(only_if);
        Ok(())
    }

    /// The same option may be repeated, and the last one counts; two different ones exclude each other.
    fn set_expiry(&mut self, expiry: Expiry, amount: &'a [u8]) -> Result<(), Refusal> {
        if self.expiry.is_some_and(|(other, _)| other != expiry) {
            return Err(Refusal::Syntax);
        }
        self.expiry = Some((expiry, amount));
        Ok(())
    }

    fn take_deadline(&mut self, cursor: &mut ArgCursor<'a>) -> Result<(), Refusal> {
        let words: [(&[u8], Expiry); 4] = [
            (b"EX", Expiry::Ex),
            (b"PX", Expiry::Px),
            (b"EXAT", Expiry::ExAt),
            (b"PXAT", Expiry::PxAt),
        ];
        for (word, expiry) in words {
            if cursor.take_flag(word) {
                return self.set_expiry(expiry, cursor.next().ok_or(Refusal::Syntax)?);
            }
        }
        Err(Refusal::Syntax)
    }

    /// The new deadline in unix milliseconds, if one is asked for; `command` is named in the refusal.
    fn deadline_ms(&self, now_ms: i64, command: &str) -> Result<Option<i64>, Refusal> {
        let (unit, base_ms, amount) = match self.expiry {
            None | Some((Expiry::Keep | Expiry::Persist, _)) => return Ok(None),
            Some((Expiry::Ex, amount)) => (Unit::Seconds, now_ms, amount),
            Some((Expiry::Px, amount)) => (Unit::Milliseconds, now_ms, amount),
            Some((Expiry::ExAt, amount)) => (Unit::Seconds, 0, amount),
            Some((Expiry::PxAt, amount)) => (Unit::Milliseconds, 0, amount),
        };
        positive_deadline_ms(amount, unit, base_ms, command).map(Some)
    }
}

/// `base_ms` plus an amount that has to be above zero, in unix milliseconds.
fn positive_deadline_ms(amount: &[u8], unit: Unit, base_ms: i64, command: &str) -> Result<i64, Refusal> {
    let amount = parse_i64(amount).ok_or(Refusal::NotInteger)?;
    if amount <= 0 {
        return Err(invalid_expire_time(command));
    }
    deadline_ms(amount, unit, base_ms).ok_or_else(|| invalid_expire_time(command))
}

pub(super) fn set(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, value) = (call.args.get(1), call.args.get(2));
    check_value_len(partition, value.len())?;
    if call.args.len() == 3 {
        partition.set_string(key, value, 0, call.now_ms)?;
        reply.ok();
        return Ok(());
    }
    set_with_options(partition, call, reply)
}

fn set_with_options(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, value) = (call.args.get(1), call.args.get(2));
    let options = Options::parse_set(call.args.cursor(3))?;
    let deadline_ms = options.deadline_ms(call.now_ms, "set")?;
    let place = partition.find(key, call.now_ms)?;
    if options.get {
        reply_string(partition, place, reply)?;
    }
    let goes_ahead = options
        .only_if
        .is_none_or(|only_if| (only_if == OnlyIf::Present) == place.is_some());
    if goes_ahead {
        match place {
            Some(place) => {
                let kept_ms = match options.expiry {
                    Some((Expiry::Keep, _)) => partition.entry(place).expire_at_ms,
                    _ => 0,
                };
                partition.replace_string(place, value, deadline_ms.unwrap_or(kept_ms));
            }
            None => partition.set_string(key, value, deadline_ms.unwrap_or(0), call.now_ms)?,
        }
    }
    match (options.get, goes_ahead) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

/// Replies the string at `place`, null if there is no key.
fn reply_string(partition: &Partition, place: Option<usize>, reply: &mut Reply) -> Result<(), Stop> {
    match place.map(|place| &partition.entry(place).value) {
        None => reply.null(),
        Some(Value::String(value)) => reply.bulk(value),
        Some(_) => return Err(Refusal::WrongType.into()),
    }
    Ok(())
}

pub(super) fn setnx(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, value) = (call.args.get(1), call.args.get(2));
    check_value_len(partition, value.len())?;
    let is_absent = partition.find(key, call.now_ms)?.is_none();
    if is_absent {
        partition.set_string(key, value, 0, call.now_ms)?;
    }
    reply.integer(i64::from(is_absent));
    Ok(())
}

pub(super) fn setex(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_until(partition, call, reply, Unit::Seconds, "setex")
}

pub(super) fn psetex(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    set_until(partition, call, reply, Unit::Milliseconds, "psetex")
}

fn set_until(
    partition: &mut Partition,
    call: &Call<'_>,
    reply: &mut Reply,
    unit: Unit,
    command: &str,
) -> Handled {
    let value = call.args.get(3);
    check_value_len(partition, value.len())?;
    let expire_at_ms = positive_deadline_ms(call.args.get(2), unit, call.now_ms, command)?;
    partition.set_string(call.args.get(1), value, expire_at_ms, call.now_ms)?;
    reply.ok();
    Ok(())
}

pub(super) fn getset(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, value) = (call.args.get(1), call.args.get(2));
    check_value_len(partition, value.len())?;
    let place = partition.find(key, call.now_ms)?;
    reply_string(partition, place, reply)?;
    match place {
        Some(place) => partition.replace_string(place, value, 0),
        None => partition.set_string(key, value, 0, call.now_ms)?,
    }
    Ok(())
}

pub(super) fn getdel(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let place = partition.find(call.args.get(1), call.now_ms)?;
    reply_string(partition, place, reply)?;
    if let Some(place) = place {
        partition.delete(place);
    }
    Ok(())
}

pub(super) fn getex(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let options = Options::parse_getex(call.args.cursor(2))?;
    let place = partition.find(call.args.get(1), call.now_ms)?;
    reply_string(partition, place, reply)?;
    let Some(place) = place else { return Ok(()) };
    let has_deadline = partition.entry(place).expire_at_ms != 0;
    match options.deadline_ms(call.now_ms, "getex")? {
        Some(deadline_ms) if deadline_ms <= call.now_ms => partition.delete(place),
        Some(deadline_ms) => partition.set_expiry(place, deadline_ms),
        None if options.expiry.is_some() && has_deadline => partition.set_expiry(place, 0),
        None => {}
    }
    Ok(())
}
