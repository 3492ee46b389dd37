//! INCR and its relatives: arithmetic on the number that a string spells.

use crate::command::Call;
use crate::lane::keys::{Origin, Value};
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::resp::number::{format_f64_redis, parse_f64, parse_i64};

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
            add_decimal(b"0", increment, &mut text)?;
            check_value_len(partition, text.len())?;
            partition.set_string(key, &text, 0, call.now_ms)?;
        }
        Some(Found {
            place,
            text: before,
            expire_at_ms,
        }) => {
            add_decimal(before, increment, &mut text)?;
            check_value_len(partition, text.len())?;
            partition.replace_string(place, &text, expire_at_ms);
        }
    }
    partition.note_origin(key, Origin::Sum);
    reply.bulk(&text);
    Ok(())
}

/// Appends the sum of two numbers: exactly if both are short decimals, else as the sum of two doubles.
///
/// Redis adds `long double`s, whose extra bits hide that 0.1 + 0.2 is not 0.3 in binary; decimal arithmetic
/// does not need to hide it.
fn add_decimal(left: &[u8], right: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    if let (Some(left), Some(right)) = (parse_fixed(left), parse_fixed(right)) {
        push_fixed(left + right, out);
        return Ok(());
    }
    let left = parse_f64(left).ok_or(Refusal::NotFloat)?;
    let right = parse_f64(right).ok_or(Refusal::NotFloat)?;
    let sum = left + right;
    if !sum.is_finite() {
        return Err(Refusal::text("ERR increment would produce NaN or Infinity"));
    }
    format_f64_redis(sum, out);
    Ok(())
}

/// Decimals of a fixed-point number: as many as Redis prints.
const FIXED_DECIMALS: usize = 17;
/// Digits in front of the point; a sum of two such numbers is far inside an `i128`.
const FIXED_WHOLE_DIGITS_MAX: usize = 20;
const FIXED_ONE: u128 = 10_u128.pow(FIXED_DECIMALS as u32);

/// `[-] digits [. digits]` as a multiple of 10^-17; `None` if it is something else or does not fit.
fn parse_fixed(text: &[u8]) -> Option<i128> {
    let (is_negative, unsigned) = match text.strip_prefix(b"-") {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let point = unsigned.iter().position(|byte| *byte == b'.');
    let (whole, decimals) = match point {
        Some(point) => (unsigned.get(..point)?, unsigned.get(point + 1..)?),
        None => (unsigned, &b""[..]),
    };
    let is_short = whole.len() <= FIXED_WHOLE_DIGITS_MAX && decimals.len() <= FIXED_DECIMALS;
    if !is_short || whole.len() + decimals.len() == 0 {
        return None;
    }
    let mut value = 0_i128;
    for byte in whole.iter().chain(decimals) {
        value = value * 10 + i128::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    for _ in decimals.len()..FIXED_DECIMALS {
        value *= 10;
    }
    Some(if is_negative { -value } else { value })
}

/// Appends a multiple of 10^-17 without trailing zeros.
fn push_fixed(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let magnitude = value.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(magnitude / FIXED_ONE).as_bytes());
    let decimals = format!("{:0FIXED_DECIMALS$}", magnitude % FIXED_ONE);
    let decimals = decimals.trim_end_matches('0');
    if !decimals.is_empty() {
        out.push(b'.');
        out.extend_from_slice(decimals.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let mut out = Vec::new();
        match add_decimal(left.as_bytes(), right.as_bytes(), &mut out) {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn short_decimals_are_added_exactly() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.50", "0.1"), "10.6");
        assert_eq!(sum("1.5", "-1.5"), "0");
        assert_eq!(sum("-0.0", "0"), "0");
        assert_eq!(sum(".5", "-1."), "-0.5");
        assert_eq!(
            sum("99999999999999999", "0.00000000000000001"),
            "99999999999999999.00000000000000001"
        );
        assert_eq!(sum("9223372036854775807", "0.5"), "9223372036854775807.5");
        assert_eq!(
            sum("-99999999999999999999", "-99999999999999999999"),
            "-199999999999999999998"
        );
        assert_eq!(
            sum("99999999999999999", "99999999999999999"),
            "199999999999999998"
        );
    }

    #[test]
    fn other_numbers_are_added_as_doubles() {
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("+1", "1"), "2");
        assert_eq!(
            sum("1e308", "1e308"),
            "ERR increment would produce NaN or Infinity"
        );
        assert_eq!(sum("inf", "-inf"), "ERR increment would produce NaN or Infinity");
        for bad in ["", ".", "-", " 1", "1 ", "nan", "0x10", "1.2.3", "abc"] {
            assert_eq!(sum(bad, "1"), "ERR value is not a valid float", "{bad}");
            assert_eq!(sum("1", bad), "ERR value is not a valid float", "{bad}");
        }
    }
}
