//! Durations as text: `250ms`, `5s`, `1m`, `1h`, `1d`, `1w`.

const NANOSECONDS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
    ("w", 604_800 * 1_000_000_000),
];

/// The duration in units of `unit_ns` nanoseconds each: `parse_duration(b"5s", 1_000_000)` is 5,000. None
/// if the text is not a whole number with a unit behind it, or is not a whole number of units, or does not
/// fit.
pub fn parse_duration(text: &[u8], unit_ns: i64) -> Option<i64> {
    let (count, unit) = split_count(text)?;
    let (_, nanoseconds) = NANOSECONDS.iter().find(|(name, _)| *name == unit)?;
    let total = i128::from(count) * i128::from(*nanoseconds);
    let unit_ns = i128::from(unit_ns);
    if unit_ns <= 0 || total % unit_ns != 0 {
        return None;
    }
    i64::try_from(total / unit_ns).ok()
}

/// The leading digits as a number, and what is behind them in lower case.
pub(super) fn split_count(text: &[u8]) -> Option<(i64, String)> {
    let text = str::from_utf8(text).ok()?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    Some((count.parse().ok()?, unit.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: i64 = 1_000_000;

    #[test]
    fn units_scale_to_the_timestamps() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1H", 3_600_000),
            ("1d", 86_400_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text.as_bytes(), MILLISECOND),
                Some(milliseconds),
                "{text}"
            );
        }
        assert_eq!(parse_duration(b"3us", 1), Some(3_000));
        assert_eq!(parse_duration(b"90m", 3_600 * 1_000_000_000), None);
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "1.5h",
            "5 s",
            "1mo",
            "1h30m",
            "99999999999999999999s",
            "9223372036854775807w",
        ] {
            assert_eq!(parse_duration(text.as_bytes(), MILLISECOND), None, "{text}");
        }
        assert_eq!(parse_duration(b"\xff", MILLISECOND), None);
        assert_eq!(parse_duration(b"1us", MILLISECOND), None);
    }
}
