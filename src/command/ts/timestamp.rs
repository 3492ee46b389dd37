//! Timestamps of samples and bounds of ranges, in a business's time unit.

use crate::command::Call;
use crate::command::session::SessionContext;
use crate::command::tsdb::now_in;
use crate::config::TimeUnit;
use crate::lane::Partition;
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::resp::number::parse_i64;

use super::duration::parse_units;
use super::texts;

/// What a text about time means on this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The present, in steps of `unit` since the epoch.
    pub timestamp: i64,
    /// What one step means.
    pub unit: TimeUnit,
}

impl Now {
    /// Time as the partition's business counts it.
    pub fn of(partition: &Partition, call: &Call<'_>) -> Now {
        let unit = partition.settings.time_unit;
        Now {
            timestamp: now_in(unit, call),
            unit,
        }
    }

    /// Time for reading the form of arguments whose meaning is for the owners of their keys to say.
    pub fn of_form(context: &SessionContext<'_>) -> Now {
        Now {
            timestamp: context.clock.now_ms(),
            unit: TimeUnit::Milliseconds,
        }
    }
}

/// One end of a range, included in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// In steps of the business's unit; never negative.
    pub timestamp: i64,
    /// Written as `-` or `+`: the range is open at this end.
    pub is_open: bool,
}

/// Both ends of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest.
    pub from: Bound,
    /// The newest; may lie before `from`, then the range is empty.
    pub to: Bound,
}

/// Reads the timestamp of a sample: `*` is the present.
///
/// # Errors
/// [`texts::INVALID_TIMESTAMP`], [`texts::NEGATIVE_TIMESTAMP`].
pub fn parse_timestamp(text: &[u8], now: Now) -> Result<i64, Refusal> {
    if text == b"*" {
        return Ok(now.timestamp);
    }
    match parse_i64(text) {
        Some(timestamp) if timestamp >= 0 => Ok(timestamp),
        Some(_) => Err(texts::NEGATIVE_TIMESTAMP),
        None => Err(texts::INVALID_TIMESTAMP),
    }
}

/// Reads a point in time: a whole number that is not negative, `*` or `now`, or a distance from the present
/// such as `-1h`, `now-1h`, `*+5m`. A point before the epoch is the epoch.
pub fn parse_point(text: &[u8], now: Now) -> Option<i64> {
    if let Some(timestamp) = parse_i64(text) {
        return (timestamp >= 0).then_some(timestamp);
    }
    let word = text
        .get(..3)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"now"));
    let distance = match text {
        [b'*', rest @ ..] => rest,
        [_, _, _, rest @ ..] if word => rest,
        [b'-' | b'+', ..] => text,
        _ => return None,
    };
    match distance {
        [] => Some(now.timestamp),
        [b'-', length @ ..] => {
            let earlier = now.timestamp.saturating_sub(parse_units(length, now.unit)?);
            Some(earlier.max(0))
        }
        [b'+', length @ ..] => Some(now.timestamp.saturating_add(parse_units(length, now.unit)?)),
        _ => None,
    }
}

/// Reads the start of a range: `-` or what [`parse_point`] reads.
///
/// # Errors
/// [`texts::FROM`].
pub fn parse_from(text: &[u8], now: Now) -> Result<Bound, Refusal> {
    parse_end(text, b"-", 0, now).ok_or(texts::FROM)
}

/// Reads the end of a range: `+` or what [`parse_point`] reads.
///
/// # Errors
/// [`texts::TO`].
pub fn parse_to(text: &[u8], now: Now) -> Result<Bound, Refusal> {
    parse_end(text, b"+", i64::MAX, now).ok_or(texts::TO)
}

/// Reads the bounds at arguments `index` and `index + 1`.
///
/// # Errors
/// [`texts::FROM`], [`texts::TO`], also if an argument is missing.
pub fn parse_bounds(args: Args<'_>, index: usize, now: Now) -> Result<Bounds, Refusal> {
    let from = args.try_get(index).ok_or(texts::FROM)?;
    let to = args.try_get(index + 1).ok_or(texts::TO)?;
    Ok(Bounds {
        from: parse_from(from, now)?,
        to: parse_to(to, now)?,
    })
}

fn parse_end(text: &[u8], open: &[u8], at_open: i64, now: Now) -> Option<Bound> {
    if text == open {
        return Some(Bound {
            timestamp: at_open,
            is_open: true,
        });
    }
    Some(Bound {
        timestamp: parse_point(text, now)?,
        is_open: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        timestamp: 10_000_000,
        unit: TimeUnit::Milliseconds,
    };

    #[test]
    fn samples_have_whole_timestamps_or_the_present() {
        assert_eq!(parse_timestamp(b"*", NOW), Ok(10_000_000));
        assert_eq!(parse_timestamp(b"0", NOW), Ok(0));
        assert_eq!(parse_timestamp(b"9223372036854775807", NOW), Ok(i64::MAX));
        assert_eq!(parse_timestamp(b"-1", NOW), Err(texts::NEGATIVE_TIMESTAMP));
        for text in ["", "x", "1.5", "-", "+", "9223372036854775808", "-1h", " 1"] {
            assert_eq!(
                parse_timestamp(text.as_bytes(), NOW),
                Err(texts::INVALID_TIMESTAMP),
                "{text}"
            );
        }
    }

    #[test]
    fn open_ends_are_told_from_explicit_ones() {
        let open = |timestamp| Bound {
            timestamp,
            is_open: true,
        };
        let explicit = |timestamp| Bound {
            timestamp,
            is_open: false,
        };
        assert_eq!(parse_from(b"-", NOW), Ok(open(0)));
        assert_eq!(parse_from(b"0", NOW), Ok(explicit(0)));
        assert_eq!(parse_to(b"+", NOW), Ok(open(i64::MAX)));
        assert_eq!(parse_to(b"9223372036854775807", NOW), Ok(explicit(i64::MAX)));
        for text in ["+", "", "x", "-5", "1h", "-1x", "now1h", "*1h", "nowhere", "no"] {
            assert_eq!(parse_from(text.as_bytes(), NOW), Err(texts::FROM), "{text}");
        }
        for text in ["-", "", "x", "-5", "- 1h", "+5"] {
            assert_eq!(parse_to(text.as_bytes(), NOW), Err(texts::TO), "{text}");
        }
    }

    #[test]
    fn distances_count_from_the_present() {
        for (text, expected) in [
            ("*", 10_000_000),
            ("now", 10_000_000),
            ("NOW", 10_000_000),
            ("-1h", 6_400_000),
            ("now-1h", 6_400_000),
            ("*-1h", 6_400_000),
            ("+1m", 10_060_000),
            ("Now+1m", 10_060_000),
            ("-1h30m", 4_600_000),
            ("-1w", 0),
        ] {
            assert_eq!(parse_point(text.as_bytes(), NOW), Some(expected), "{text}");
        }
    }

    #[test]
    fn bounds_stand_side_by_side() {
        use crate::resp::Span;
        let spans = [
            Span { start: 0, end: 1 },
            Span { start: 1, end: 2 },
            Span { start: 2, end: 3 },
        ];
        let args = Args::new(b"k-7", &spans);
        let bounds = parse_bounds(args, 1, NOW).unwrap();
        assert_eq!((bounds.from.is_open, bounds.to.timestamp), (true, 7));
        assert_eq!(parse_bounds(args, 2, NOW), Err(texts::TO));
        assert_eq!(parse_bounds(args, 3, NOW), Err(texts::FROM));
    }
}
