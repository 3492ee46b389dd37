//! INCR and its relatives: arithmetic on the number that a string spells.

use crate::command::Call;
use crate::lane::keys::{Origin, Value};
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::resp::extended::{Extended, Parsed};
use crate::resp::number::parse_i64;

use super::check_value_len;

pub(super) fn incr(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    add(partition, call, reply, 1)
}

pub(super) fn decr(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    add(partition, call, reply, -1)
}

pub(super) fn incrby(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let increment = parse_i64(call.args.get(2)).ok_or(Refusal::NotInteger)?;
    add(partition, call, reply, increment)
}

pub(super) fn decrby(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let decrement = parse_i64(call.args.get(2)).ok_or(Refusal::NotInteger)?;
    let increment = decrement
        .checked_neg()
        .ok_or(Refusal::text("ERR decrement would overflow"))?;
    add(partition, call, reply, increment)
}

fn add(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply, increment: i64) -> Handled {
    let key = call.args.get(1);
    let mut digits = itoa::Buffer::new();
    let sum = match find_number(partition, key, call.now_ms)? {
        None => {
            partition.set_string(key, digits.format(increment).as_bytes(), 0, call.now_ms)?;
            increment
        }
        Some(Found {
            place,
            text,
            expire_at_ms,
        }) => {
            let before = parse_i64(text).ok_or(Refusal::NotInteger)?;
            let overflow = Refusal::text("ERR increment or decrement would overflow");
            let sum = before.checked_add(increment).ok_or(overflow)?;
            partition.replace_string(place, digits.format(sum).as_bytes(), expire_at_ms);
            sum
        }
    };
    reply.integer(sum);
    Ok(())
}

/// An existing string that is to be read as a number.
struct Found<'a> {
    place: usize,
    text: &'a [u8],
    expire_at_ms: i64,
}

#[inline]
fn find_number<'a>(partition: &'a mut Partition, key: &[u8], now_ms: i64) -> Result<Option<Found<'a>>, Stop> {
    let Some(place) = partition.find(key, now_ms)? else {
        return Ok(None);
    };
    let entry = partition.entry(place);
    match &entry.value {
        Value::String(text) => Ok(Some(Found {
            place,
            text,
            expire_at_ms: entry.expire_at_ms,
        })),
        _ => Err(Refusal::WrongType.into()),
    }
}

pub(super) fn incrbyfloat(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (key, increment) = (call.args.get(1), call.args.get(2));
    let mut text = Vec::new();
    match find_number(partition, key, call.now_ms)? {
        None => {
            add_floats(b"0", increment, &mut text)?;
            check_value_len(partition, text.len())?;
            partition.set_string(key, &text, 0, call.now_ms)?;
        }
        Some(Found {
            place,
            text: before,
            expire_at_ms,
        }) => {
            add_floats(before, increment, &mut text)?;
            check_value_len(partition, text.len())?;
            partition.replace_string(place, &text, expire_at_ms);
        }
    }
    partition.note_origin(key, Origin::Sum);
    reply.bulk(&text);
    Ok(())
}

/// Appends the sum of two numbers, calculated as Redis does it on x86-64.
fn add_floats(left: &[u8], right: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let left = Extended::parse(left).ok_or(Refusal::NotFloat)?;
    let right = Extended::parse(right).ok_or(Refusal::NotFloat)?;
    let sum = match (left, right) {
        (Parsed::Finite(left), Parsed::Finite(right)) => left.plus(right),
        _ => None,
    };
    let infinite = Refusal::text("ERR increment would produce NaN or Infinity");
    sum.ok_or(infinite)?.format(out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let mut out = Vec::new();
        match add_floats(left.as_bytes(), right.as_bytes(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn sums_and_refusals() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.50", "0.1"), "10.6");
        assert_eq!(sum("1e17", "1"), "100000000000000001");
        for (left, right) in [("1e4932", "1e4932"), ("inf", "-inf"), ("1", "Infinity")] {
            assert_eq!(sum(left, right), "ERR increment would produce NaN or Infinity");
        }
        for bad in ["", " 1", "nan", "1e5000"] {
            assert_eq!(sum(bad, "1"), "ERR value is not a valid float", "{bad}");
            assert_eq!(sum("1", bad), "ERR value is not a valid float", "{bad}");
        }
    }
}
