//! Text with units to numbers and back: sizes, times, lists of cores.

use std::time::Duration;

use crate::limits::{CORE_ID_MAX, GIB, KIB, MIB, TIB};

/// Names and factors in bytes, largest first within each of the two systems.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Names and factors in microseconds, largest first.
const TIME_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a size such as `64 MiB`, `64MB` or `0`, in bytes; `None` if it is not one.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    parse_with_units(text, &SIZE_UNITS)
}

/// Reads a time such as `500 ms`, `1min` or `0`; `None` if it is not one.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse_with_units(text, &TIME_UNITS).map(Duration::from_micros)
}

/// A bare number is refused unless it is zero: whoever wrote it had a unit in mind, and we cannot know which.
fn parse_with_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return (number == 0).then_some(0);
    }
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// Writes a size in the largest binary unit that holds it without a fraction.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let binary = SIZE_UNITS
        .iter()
        .filter(|(name, factor)| name.contains('i') || *factor == 1);
    format_with_units(bytes, "0 B", binary)
}

/// Writes a time in the largest unit that holds it without a fraction; below a microsecond is cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    format_with_units(microseconds, "0 s", TIME_UNITS.iter())
}

fn format_with_units<'a>(
    number: u64,
    zero: &str,
    mut units: impl Iterator<Item = &'a (&'a str, u64)>,
) -> String {
    match units.find(|(_, factor)| number != 0 && number.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{} {name}", number / factor),
        None => zero.to_owned(),
    }
}

/// Reads a list of cores such as `0-3,6`, in the order written; empty text is an empty list.
///
/// `None` if it is not such a list, names a core twice or one above `CORE_ID_MAX`.
#[must_use]
pub fn parse_cores(text: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    if text.trim().is_empty() {
        return Some(cores);
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (parse_core(first)?, parse_core(last)?);
        if last < first {
            return None;
        }
        for core in first..=last {
            if cores.contains(&core) {
                return None;
            }
            cores.push(core);
        }
    }
    Some(cores)
}

fn parse_core(text: &str) -> Option<usize> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let core = is_number.then(|| text.parse().ok())??;
    (core <= CORE_ID_MAX).then_some(core)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("64 MiB", 64 * MIB),
            ("64MiB", 64 * MIB),
            ("64 MB", 64_000_000),
            ("64MB", 64_000_000),
            (" 1 kB ", 1_000),
            ("1 KB", 1_000),
            ("7 B", 7),
            ("0", 0),
            ("0 MiB", 0),
            ("2 TiB", 2 * TIB),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text:?}");
        }
    }

    #[test]
    fn sizes_without_or_with_unknown_unit_are_refused() {
        for text in [
            "64",
            "",
            "MiB",
            "-1 MiB",
            "+1 MiB",
            "1.5 GiB",
            "64 mib",
            "64 M",
            "64 MiB x",
            "1 s",
            "99999999 TiB",
        ] {
            assert_eq!(parse_bytes(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, microseconds) in [
            ("500 ms", 500_000),
            ("500ms", 500_000),
            ("20 us", 20),
            ("1 s", 1_000_000),
            ("5 min", 300_000_000),
            ("1 h", 3_600_000_000),
            ("30 d", 2_592_000_000_000),
            ("0", 0),
            ("0 s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_micros(microseconds)),
                "{text:?}"
            );
        }
        for text in [
            "500",
            "1 m",
            "1 sec",
            "-1 s",
            "1 MiB",
            "",
            "99999999999999999999 s",
            "999999999999999 d",
        ] {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn formatting_reads_back_as_the_same_number() {
        for bytes in [
            0,
            1,
            1_000,
            KIB,
            1536,
            64 * MIB,
            GIB,
            3 * TIB,
            u64::from(u32::MAX),
        ] {
            assert_eq!(parse_bytes(&format_bytes(bytes)), Some(bytes));
        }
        assert_eq!(format_bytes(1536), "1536 B");
        assert_eq!(format_bytes(64 * MIB), "64 MiB");
        for microseconds in [0, 1, 1_500, 90_000_000, 2_592_000_000_000] {
            let duration = Duration::from_micros(microseconds);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90 s");
        assert_eq!(format_duration(Duration::from_secs(86_400)), "1 d");
    }

    #[test]
    fn core_lists() {
        assert_eq!(parse_cores("0-3,6"), Some(vec![0, 1, 2, 3, 6]));
        assert_eq!(parse_cores(" 5 , 1-2"), Some(vec![5, 1, 2]));
        assert_eq!(parse_cores(""), Some(vec![]));
        for text in [
            "a",
            "1,",
            "3-1",
            "1,1",
            "0-2,2",
            "-1",
            "1-",
            "+1",
            "1024",
            "99999999999999999999",
        ] {
            assert_eq!(parse_cores(text), None, "{text:?}");
        }
    }
}
