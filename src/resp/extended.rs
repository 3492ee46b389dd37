//! Numbers as `INCRBYFLOAT` of Redis computes with: the x87's 80-bit floating point, whose mantissa has 64 bits.
//!
//! Rust has no such type, and the results are stored: what one server computes, another one should compute alike.
//! Source of the format: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 4.2.2.

use std::cmp::Ordering;

use crate::resp::natural::Natural;

/// Exponent of the last bit of the smallest numbers, and the one behind the first bit of the largest.
const EXPONENT_MIN: i32 = -16_445;
const EXPONENT_END: i32 = 16_384;
const MANTISSA_BITS: u32 = u64::BITS;
/// Longer texts are no numbers for Redis.
const TEXT_LEN_MAX_BYTES: usize = 5 * 1024 - 1;
/// Numbers from ten to this power on are too large, below ten to minus this power they are 0.
const DECIMAL_EXPONENT_MAX: i64 = 5_000;
/// Decimals that Redis prints.
const DECIMALS: usize = 17;
const DECIMAL_ONE: u128 = 10_u128.pow(DECIMALS as u32);
/// With so many digits a mantissa fits 64 bits.
const SHORT_DIGITS_MAX: usize = 19;
/// A short mantissa over ten to this power has more bits in 128 than are kept.
const SHORT_DECIMALS_MAX: u32 = 18;
/// Bits of a quotient that are found: enough to round by.
const QUOTIENT_BITS: u32 = MANTISSA_BITS + 4;

/// What a text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A number.
    Finite(Extended),
    /// `inf`, of either sign.
    Infinite,
}

/// `mantissa * 2^exponent`, or the negative of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    is_negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    /// Reads a number as `strtold` does, decimal or hexadecimal; `None` if it is none, if it is too large, or if it is not 0
    /// but so small that it would be.
    pub fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() > TEXT_LEN_MAX_BYTES {
            return None;
        }
        let (is_negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
            return Some(Parsed::Infinite);
        }
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => hexadecimal(&Digits::scan(digits, 16)?),
            _ => decimal(&Digits::scan(unsigned, 10)?),
        }?;
        Some(Parsed::Finite(Extended {
            is_negative,
            ..magnitude
        }))
    }

    /// The number nearest to `(bits + something) * 2^exponent`, of two the even one. There is something, less than 1, if
    /// `is_inexact`; then `bits` has at least two more than a mantissa. `None` if it is too large.
    fn nearest(bits: u128, is_inexact: bool, exponent: i32) -> Option<Extended> {
        let len = u128::BITS - bits.leading_zeros();
        let too_small = u32::try_from(EXPONENT_MIN.saturating_sub(exponent)).unwrap_or(0);
        let dropped = len.saturating_sub(MANTISSA_BITS).max(too_small);
        let kept = bits.checked_shr(dropped).unwrap_or(0);
        let rest = bits - kept.checked_shl(dropped).unwrap_or(0);
        let half = match dropped {
            0 => None,
            _ => 1_u128.checked_shl(dropped - 1),
        };
        let is_up = half.is_some_and(|half| match rest.cmp(&half) {
            Ordering::Greater => true,
            Ordering::Equal => is_inexact || kept & 1 == 1,
            Ordering::Less => false,
        });
        let (rounded, mut exponent) = (kept + u128::from(is_up), exponent + dropped as i32);
        let mantissa = u64::try_from(rounded).unwrap_or_else(|_| {
            exponent += 1;
            1 << (MANTISSA_BITS - 1)
        });
        let number = Extended {
            is_negative: false,
            mantissa,
            exponent,
        };
        let end = exponent + (MANTISSA_BITS - mantissa.leading_zeros()) as i32;
        (mantissa == 0 || end <= EXPONENT_END).then_some(number)
    }

    /// The number nearest to the sum; `None` if that is too large.
    pub fn plus(self, other: Extended) -> Option<Extended> {
        let (left, right) = (self.normal(), other.normal());
        if left.mantissa == 0 || right.mantissa == 0 {
            let larger = if left.mantissa == 0 { right } else { left };
            return Some(larger);
        }
        let key = |number: &Extended| (number.exponent, number.mantissa);
        let (large, small) = if key(&left) >= key(&right) {
            (left, right)
        } else {
            (right, left)
        };
        // Below the mantissa: one bit for the carry is left above it.
        const GUARD_BITS: u32 = MANTISSA_BITS - 2;
        let distance = (large.exponent - small.exponent).unsigned_abs();
        let addend = u128::from(small.mantissa) << GUARD_BITS;
        let moved = addend.checked_shr(distance).unwrap_or(0);
        let is_inexact = moved.checked_shl(distance).unwrap_or(0) != addend;
        let base = u128::from(large.mantissa) << GUARD_BITS;
        let bits = if large.is_negative == small.is_negative {
            base + moved
        } else {
            base - moved - u128::from(is_inexact)
        };
        let sum = Extended::nearest(bits, is_inexact, large.exponent - GUARD_BITS as i32)?;
        Some(Extended {
            is_negative: large.is_negative,
            ..sum
        })
    }

    /// The same number with the first bit of its mantissa set, unless it is 0.
    fn normal(self) -> Extended {
        let zeros = self.mantissa.leading_zeros();
        Extended {
            mantissa: self.mantissa.checked_shl(zeros).unwrap_or(0),
            exponent: self.exponent - zeros as i32,
            ..self
        }
    }

    /// Appends it in fixed notation with at most 17 decimals, rounded to even, without trailing zeros; `0` for both zeros.
    pub fn format(self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.is_negative && self.mantissa != 0 {
            out.push(b'-');
        }
        if self.exponent >= 0 {
            let mut whole = Natural::from(self.mantissa);
            whole.shift_left(self.exponent.unsigned_abs());
            whole.write_decimal(out);
            return;
        }
        // Less than 2^64 * 10^17, which is less than 2^121.
        let scaled = u128::from(self.mantissa) * DECIMAL_ONE;
        let dropped = self.exponent.unsigned_abs();
        let kept = scaled.checked_shr(dropped).unwrap_or(0);
        let rest = scaled - kept.checked_shl(dropped).unwrap_or(0);
        let half = 1_u128.checked_shl(dropped - 1);
        let is_up = half.is_some_and(|half| rest > half || (rest == half && kept & 1 == 1));
        let units = kept + u128::from(is_up);
        if units == 0 {
            out.truncate(start);
        }
        out.extend_from_slice(itoa::Buffer::new().format(units / DECIMAL_ONE).as_bytes());
        let decimals = format!("{:0DECIMALS$}", units % DECIMAL_ONE);
        let decimals = decimals.trim_end_matches('0');
        if !decimals.is_empty() {
            out.push(b'.');
            out.extend_from_slice(decimals.as_bytes());
        }
    }
}

/// Digits, first the most significant, which is not 0, and what follows them.
struct Digits {
    /// Their values; empty for 0.
    values: Vec<u8>,
    /// Digits behind the point.
    fraction_digits: i64,
    /// The number behind `e` or `p`.
    exponent: i64,
}

impl Digits {
    /// `digits [. digits] [e [+-] digits]`, with a digit before or behind the point; hexadecimal ones have a `p` for the
    /// `e`.
    fn scan(text: &[u8], radix: u32) -> Option<Digits> {
        let mark = if radix == 16 { b'p' } else { b'e' };
        let is_mark = |byte: &u8| byte.to_ascii_lowercase() == mark;
        let (number, exponent) = match text.iter().position(is_mark) {
            Some(place) => (text.get(..place)?, parse_exponent(text.get(place + 1..)?)?),
            None => (text, 0),
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(point) => (number.get(..point)?, number.get(point + 1..)?),
            None => (number, &b""[..]),
        };
        if whole.len() + fraction.len() == 0 {
            return None;
        }
        let value = |byte: &u8| char::from(*byte).to_digit(radix).map(|value| value as u8);
        let values: Option<Vec<u8>> = whole.iter().chain(fraction).map(value).collect();
        let mut values = values?;
        values.drain(..values.iter().take_while(|value| **value == 0).count());
        Some(Digits {
            values,
            fraction_digits: fraction.len() as i64,
            exponent,
        })
    }
}

/// `[+-] digits`; what is far beyond any number is cut off.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let far = 1_000_000_000;
    let magnitude = digits.iter().fold(0, |value: i64, byte| {
        (value * 10 + i64::from(byte - b'0')).min(far)
    });
    Some(if is_negative { -magnitude } else { magnitude })
}

/// A number that is not 0 must not become it.
fn but_zero(number: Extended) -> Option<Extended> {
    (number.mantissa != 0).then_some(number)
}

fn decimal(digits: &Digits) -> Option<Extended> {
    let len = digits.values.len();
    if len == 0 {
        return Some(Extended::default());
    }
    let exponent = digits.exponent - digits.fraction_digits;
    let magnitude = exponent + len as i64;
    if !(-DECIMAL_EXPONENT_MAX..=DECIMAL_EXPONENT_MAX).contains(&magnitude) {
        return None;
    }
    let power = exponent.unsigned_abs() as u32;
    if len <= SHORT_DIGITS_MAX && power <= SHORT_DECIMALS_MAX {
        let number = digits
            .values
            .iter()
            .fold(0, |n: u64, digit| n * 10 + u64::from(*digit));
        return short_decimal(number, exponent < 0, 10_u64.pow(power));
    }
    let mut number = Natural::default();
    for digit in &digits.values {
        number.multiply_add(10, u32::from(*digit));
    }
    if exponent >= 0 {
        number.multiply_power_of_ten(power);
        return of_natural(&number, 0);
    }
    let mut divisor = Natural::from(1);
    divisor.multiply_power_of_ten(power);
    let shift = QUOTIENT_BITS as i32 + divisor.bits() as i32 - number.bits() as i32;
    if shift >= 0 {
        number.shift_left(shift.unsigned_abs());
    } else {
        divisor.shift_left(shift.unsigned_abs());
    }
    let (quotient, is_inexact) = number.divide(divisor, QUOTIENT_BITS + 1);
    but_zero(Extended::nearest(quotient, is_inexact, -shift)?)
}

/// `number` over `power`, or times that.
fn short_decimal(number: u64, is_divided: bool, power: u64) -> Option<Extended> {
    let power = u128::from(power);
    if !is_divided {
        return Extended::nearest(u128::from(number) * power, false, 0);
    }
    let shift = MANTISSA_BITS + number.leading_zeros();
    let dividend = u128::from(number) << shift;
    Extended::nearest(dividend / power, !dividend.is_multiple_of(power), -(shift as i32))
}

fn hexadecimal(digits: &Digits) -> Option<Extended> {
    if digits.values.is_empty() {
        return Some(Extended::default());
    }
    let mut number = Natural::default();
    for digit in &digits.values {
        number.multiply_add(16, u32::from(*digit));
    }
    let exponent = digits.exponent - 4 * digits.fraction_digits;
    but_zero(of_natural(&number, i32::try_from(exponent).ok()?)?)
}

/// The number nearest to `number * 2^exponent`.
fn of_natural(number: &Natural, exponent: i32) -> Option<Extended> {
    let (bits, dropped, is_inexact) = number.first_bits();
    Extended::nearest(bits, is_inexact, exponent.checked_add_unsigned(dropped)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(left: &str, right: &str) -> String {
        let (left, right) = (
            Extended::parse(left.as_bytes()),
            Extended::parse(right.as_bytes()),
        );
        let (Some(Parsed::Finite(left)), Some(Parsed::Finite(right))) = (left, right) else {
            return "no number".to_owned();
        };
        let mut out = Vec::new();
        match left.plus(right) {
            Some(sum) => sum.format(&mut out),
            None => return "too large".to_owned(),
        }
        String::from_utf8(out).unwrap()
    }

    /// What a redis-server on x86-64 answers.
    #[test]
    fn sums_are_those_of_the_x87() {
        for (left, right, expected) in [
            ("1e17", "1", "100000000000000001"),
            ("3.0e3", "200", "3200"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("-1e-5", "0", "-0.00001"),
            ("123456789.123456789", "0.1", "123456789.22345678899728227"),
            ("1234.56", "0.01", "1234.57000000000000006"),
            ("99.9", "0.1", "100"),
            ("9223372036854775807", "0.5", "9223372036854775807.5"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551616", "1", "18446744073709551616"),
            ("36893488147419103233", "0", "36893488147419103232"),
            ("0.000000000000000005", "0", "0"),
            ("0.000000000000000015", "0", "0.00000000000000002"),
            ("-0.0", "0", "0"),
            ("-1e-30", "0", "0"),
            ("+1", "1", "2"),
            (".5", "-1.", "-0.5"),
            ("0x10", "1", "17"),
            ("0x1.8p1", "1", "4"),
            ("1e-4950", "0", "0"),
            ("1e4932", "1e4932", "too large"),
            ("1e4932", "-1e4932", "0"),
        ] {
            assert_eq!(sum(left, right), expected, "{left} + {right}");
        }
        let large = sum("1e300", "0");
        assert_eq!(
            (large.len(), &large[..32]),
            (301, "10000000000000000000089973240795")
        );
        assert!(large.ends_with("90089424915104006144"), "{large}");
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", ".", "-", " 1", "1 ", "nan", "0x", "0xg", "1.2.3", "abc", "1e", "1e+", "1e5000", "1e-5000",
            "1p3", "0x1e",
        ] {
            let is_number = Extended::parse(text.as_bytes()).is_some();
            assert_eq!(is_number, text == "0x1e", "{text}");
        }
        assert_eq!(Extended::parse(&[b'1'; TEXT_LEN_MAX_BYTES + 1]), None);
        assert_eq!(Extended::parse(b"-inf"), Some(Parsed::Infinite));
        assert_eq!(Extended::parse(b"+Infinity"), Some(Parsed::Infinite));
    }

    #[test]
    fn the_short_way_and_the_long_one_agree() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let number = random.u64(..10_u64.pow(SHORT_DIGITS_MAX as u32)) >> random.u32(..60);
            let power = random.i32(-18..=18);
            let short = Extended::parse(format!("{number}e{power}").as_bytes());
            let zeros = "0".repeat(20);
            let long = format!("{number}{zeros}e{}", power - 20);
            let (Some(Parsed::Finite(short)), Some(Parsed::Finite(long))) =
                (short, Extended::parse(long.as_bytes()))
            else {
                panic!("{number}e{power}");
            };
            assert_eq!(short.normal(), long.normal(), "{number}e{power}");
        }
    }

    #[test]
    fn doubles_come_back_exactly() {
        let mut random = fastrand::Rng::with_seed(8);
        for _ in 0..2_000 {
            let double = f64::from_bits(random.u64(..));
            if !double.is_finite() {
                continue;
            }
            let Some(Parsed::Finite(number)) = Extended::parse(format!("{double:e}").as_bytes()) else {
                panic!("{double:e}");
            };
            // 64 bits hold more than the shortest digits say: rounded to 53 they are the double again.
            let back = number.mantissa as f64
                * 2_f64.powi(number.exponent / 2)
                * 2_f64.powi(number.exponent - number.exponent / 2);
            let error = (back.abs() - double.abs()).abs() / double.abs().max(f64::MIN_POSITIVE);
            assert!(error <= f64::EPSILON, "{double:e}: {back:e}");
        }
    }
}
