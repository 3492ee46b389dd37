//! Durations as whole numbers of a business's time unit, or as text with units such as `1h` and `250ms`.

use crate::config::TimeUnit;
use crate::resp::number::parse_i64;

/// Names of units and their nanoseconds; of two that begin alike the longer comes first.
const UNITS: [(&[u8], i128); 8] = [
    (b"ns", 1),
    (b"us", 1_000),
    (b"ms", 1_000_000),
    (b"s", 1_000_000_000),
    (b"m", 60 * 1_000_000_000),
    (b"h", 3_600 * 1_000_000_000),
    (b"d", 86_400 * 1_000_000_000),
    (b"w", 604_800 * 1_000_000_000),
];

/// Longest text that is looked at: far more than every duration needs.
const TEXT_LEN_MAX_BYTES: usize = 64;

/// Reads a duration in steps of `unit`.
///
/// A whole number, which may be negative, is that many steps. Otherwise numbers with units follow each other
/// (`90s`, `1h30m`); their sum must be a whole number of steps, since rounding would move every bucket.
pub fn parse_duration(text: &[u8], unit: TimeUnit) -> Option<i64> {
    parse_i64(text).or_else(|| parse_units(text, unit))
}

/// Reads numbers with units, not below zero, in steps of `unit`.
pub fn parse_units(text: &[u8], unit: TimeUnit) -> Option<i64> {
    if text.is_empty() || text.len() > TEXT_LEN_MAX_BYTES {
        return None;
    }
    let mut rest = text;
    let mut nanoseconds = 0_i128;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, tail) = rest.split_at(digits);
        let number: i128 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let letters = tail.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (name, tail) = tail.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(unit, _)| name.eq_ignore_ascii_case(unit))?;
        nanoseconds = nanoseconds.checked_add(number.checked_mul(*factor)?)?;
        rest = tail;
    }
    let step = i128::from(unit.nanoseconds());
    (nanoseconds % step == 0)
        .then(|| i64::try_from(nanoseconds / step).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(text: &str) -> Option<i64> {
        parse_duration(text.as_bytes(), TimeUnit::Milliseconds)
    }

    #[test]
    fn whole_numbers_are_steps_of_the_unit() {
        assert_eq!(milliseconds("60000"), Some(60_000));
        assert_eq!(milliseconds("0"), Some(0));
        assert_eq!(milliseconds("-5"), Some(-5));
        assert_eq!(parse_duration(b"7", TimeUnit::Nanoseconds), Some(7));
    }

    #[test]
    fn units_are_added() {
        for (text, expected) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1H", 3_600_000),
            ("1h30m", 5_400_000),
            ("1000us", 1),
            ("0s", 0),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        assert_eq!(parse_duration(b"2s", TimeUnit::Microseconds), Some(2_000_000));
        assert_eq!(parse_duration(b"1m", TimeUnit::Seconds), Some(60));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "h", "1", "1.5h", "-1h", "+1h", "1 h", "1mo", "1x", "1h5", "1h-5m", "1\u{b5}s",
        ] {
            assert_eq!(
                parse_units(text.as_bytes(), TimeUnit::Milliseconds),
                None,
                "{text}"
            );
        }
        assert_eq!(milliseconds("1us"), None, "finer than the unit");
        assert_eq!(
            parse_duration(b"250ms", TimeUnit::Seconds),
            None,
            "finer than the unit"
        );
        assert_eq!(milliseconds("9223372036854775807w"), None, "beyond the range");
        assert_eq!(milliseconds(&"9".repeat(60)), None, "beyond the range");
        assert_eq!(milliseconds(&"1s".repeat(40)), None, "too long");
    }
}
