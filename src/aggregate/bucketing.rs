//! Which bucket a timestamp belongs to, and the timestamp that a bucket is reported with.

use std::fmt;

use jiff::tz::TimeZone;

use crate::aggregate::calendar::{Calendar, Period};
use crate::aggregate::duration::{parse_duration, split_count};

/// How time is cut into buckets. Times and widths are in the unit of the series' timestamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bucketing {
    /// Buckets of one width; one of them starts at `align_remainder`.
    Fixed {
        /// At least 1.
        width: i64,
        /// The alignment modulo the width.
        align_remainder: i64,
    },
    /// Days, weeks, months or years on the calendar of a time zone.
    Calendar(Calendar),
}

/// Why a text is not a bucketing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketingError {
    /// Not a positive whole number of time units, nor a duration, nor a calendar period.
    Width,
    UnknownTimeZone,
    /// Calendar buckets begin where the calendar says.
    AlignedCalendar,
}

impl fmt::Display for BucketingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BucketingError::Width => "bucketDuration must be greater than zero",
            BucketingError::UnknownTimeZone => "unknown time zone",
            BucketingError::AlignedCalendar => "ALIGN cannot be used with calendar buckets",
        })
    }
}

impl std::error::Error for BucketingError {}

/// The first and the last timestamp of a bucket, both inclusive, cut off at the ends of `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub start: i64,
    pub last: i64,
}

impl Bucket {
    /// Whether the timestamp lies in the bucket.
    #[inline]
    pub fn contains(self, timestamp: i64) -> bool {
        self.start <= timestamp && timestamp <= self.last
    }
}

/// Which of its timestamps a bucket is reported with (BUCKETTIMESTAMP).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketTimestamp {
    #[default]
    Start,
    Middle,
    /// The start of the next bucket.
    End,
}

impl BucketTimestamp {
    /// Reads `-` and `start`, `~` and `mid`, `+` and `end`, in any case.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is = |names: [&str; 2]| {
            names
                .iter()
                .any(|name| name.as_bytes().eq_ignore_ascii_case(text))
        };
        if is(["-", "start"]) {
            Some(BucketTimestamp::Start)
        } else if is(["~", "mid"]) {
            Some(BucketTimestamp::Middle)
        } else if is(["+", "end"]) {
            Some(BucketTimestamp::End)
        } else {
            None
        }
    }
}

impl Bucketing {
    /// Buckets of `width`, one of which starts at `align`; None unless the width is positive.
    pub fn fixed(width: i64, align: i64) -> Option<Self> {
        (width > 0).then(|| Bucketing::Fixed {
            width,
            align_remainder: align.rem_euclid(width),
        })
    }

    /// Reads a width: a whole number of time units, a duration such as `5m`, or a calendar period such as
    /// `1mo` or `1y`. With a time zone (an IANA name), `1d` and `1w` are calendar periods too: days begin
    /// at local midnight, weeks on Monday. Widths of hours and less are fixed with or without one.
    /// `unit_ns` is the unit of the timestamps in nanoseconds.
    ///
    /// # Errors
    /// As [`BucketingError`] says.
    pub fn parse(text: &[u8], align: i64, zone: Option<&str>, unit_ns: i64) -> Result<Self, BucketingError> {
        let (count, unit) = split_count(text).ok_or(BucketingError::Width)?;
        let periods = i32::try_from(count).unwrap_or(i32::MAX);
        let period = match (unit.as_str(), zone) {
            ("mo", _) => Some(Period::Months(periods)),
            ("y", _) => Some(Period::Months(periods.saturating_mul(12))),
            ("d", Some(_)) => Some(Period::Days(periods)),
            ("w", Some(_)) => Some(Period::Weeks(periods)),
            _ => None,
        };
        let zone = match zone {
            Some(name) => TimeZone::get(name).map_err(|_| BucketingError::UnknownTimeZone)?,
            None => TimeZone::UTC,
        };
        let Some(period) = period else {
            let width = if unit.is_empty() {
                Some(count)
            } else {
                parse_duration(text, unit_ns)
            };
            return width
                .and_then(|width| Bucketing::fixed(width, align))
                .ok_or(BucketingError::Width);
        };
        if align != 0 {
            return Err(BucketingError::AlignedCalendar);
        }
        Calendar::new(period, zone, unit_ns)
            .map(Bucketing::Calendar)
            .ok_or(BucketingError::Width)
    }

    /// The bucket that the timestamp lies in.
    #[inline]
    pub fn bucket_of(&self, timestamp: i64) -> Bucket {
        let (width, align_remainder) = match self {
            Bucketing::Fixed {
                width,
                align_remainder,
            } => (*width, *align_remainder),
            Bucketing::Calendar(calendar) => return calendar.bucket_of(timestamp),
        };
        // Both remainders lie in 0..width, so their difference cannot overflow; `timestamp - align` could.
        let offset = timestamp.rem_euclid(width) - align_remainder;
        let offset = if offset < 0 { offset + width } else { offset };
        Bucket {
            start: timestamp.saturating_sub(offset),
            last: timestamp.saturating_add(width - 1 - offset),
        }
    }

    /// No bucket is narrower, but for those cut off at the ends of time.
    pub fn width_min(&self) -> u64 {
        match self {
            Bucketing::Fixed { width, .. } => width.unsigned_abs(),
            Bucketing::Calendar(calendar) => calendar.width_min(),
        }
    }

    /// The bucket behind `bucket`, cheaper than looking its first timestamp up; None at the end of time.
    #[inline]
    pub fn following(&self, bucket: Bucket) -> Option<Bucket> {
        let start = bucket.last.checked_add(1)?;
        Some(match self {
            Bucketing::Fixed { width, .. } => Bucket {
                start,
                last: start.saturating_add(width - 1),
            },
            Bucketing::Calendar(calendar) => calendar.bucket_of(start),
        })
    }

    /// The bucket before `bucket`; None at the beginning of time.
    pub fn preceding(&self, bucket: Bucket) -> Option<Bucket> {
        bucket
            .start
            .checked_sub(1)
            .map(|timestamp| self.bucket_of(timestamp))
    }

    /// First timestamp of the bucket that `timestamp` lies in.
    pub fn start_of(&self, timestamp: i64) -> i64 {
        self.bucket_of(timestamp).start
    }

    /// The timestamp a bucket is reported with: its start, not below `floor`, plus none, half or all of its
    /// width.
    pub fn reported(&self, start: i64, floor: i64, which: BucketTimestamp) -> i64 {
        let base = start.max(floor);
        if which == BucketTimestamp::Start {
            return base;
        }
        let width = match self {
            Bucketing::Fixed { width, .. } => *width,
            Bucketing::Calendar(calendar) => {
                let bucket = calendar.bucket_of(start);
                bucket.last.saturating_sub(bucket.start).saturating_add(1)
            }
        };
        match which {
            BucketTimestamp::Middle => base.saturating_add(width / 2),
            _ => base.saturating_add(width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_start_at_the_alignment() {
        let bucketing = Bucketing::fixed(10, 3).expect("positive width");
        let starts: Vec<_> = [-8, -7, 2, 3, 12, 13].map(|at| bucketing.start_of(at)).into();
        assert_eq!(starts, [-17, -7, -7, 3, 3, 13]);
        assert_eq!(Bucketing::fixed(0, 0), None);
        assert_eq!(Bucketing::fixed(-1, 0), None);
    }

    #[test]
    fn reported_timestamps_are_clamped_before_they_are_moved() {
        let bucketing = Bucketing::fixed(10, 3).expect("positive width");
        let report = |which| bucketing.reported(-7, 0, which);
        assert_eq!(
            [
                BucketTimestamp::Start,
                BucketTimestamp::Middle,
                BucketTimestamp::End
            ]
            .map(report),
            [0, 5, 10]
        );
        assert_eq!(bucketing.reported(-7, i64::MIN, BucketTimestamp::End), 3);
        assert_eq!(bucketing.reported(i64::MAX, 0, BucketTimestamp::End), i64::MAX);
    }

    #[test]
    fn bucket_timestamps_have_signs_and_words() {
        for (text, which) in [
            ("-", BucketTimestamp::Start),
            ("START", BucketTimestamp::Start),
            ("~", BucketTimestamp::Middle),
            ("mid", BucketTimestamp::Middle),
            ("+", BucketTimestamp::End),
            ("eNd", BucketTimestamp::End),
        ] {
            assert_eq!(BucketTimestamp::parse(text.as_bytes()), Some(which));
        }
        assert_eq!(BucketTimestamp::parse(b"middle"), None);
    }

    #[test]
    fn widths_are_numbers_durations_or_calendar_periods() {
        let parse = |text: &str, zone| Bucketing::parse(text.as_bytes(), 0, zone, 1_000_000);
        let fixed = |width| Ok(Bucketing::fixed(width, 0).expect("positive width"));
        assert_eq!(parse("60000", None), fixed(60_000));
        assert_eq!(parse("5m", None), fixed(300_000));
        assert_eq!(parse("1d", None), fixed(86_400_000));
        assert_eq!(parse("2h", Some("Asia/Shanghai")), fixed(7_200_000));
        assert!(matches!(
            parse("1d", Some("Asia/Shanghai")),
            Ok(Bucketing::Calendar(_))
        ));
        assert_eq!(parse("1mo", None), parse("1MO", Some("UTC")));
        assert_eq!(parse("1y", None), parse("12mo", None));
        assert_eq!(
            parse("1d", Some("Mars/Olympus")),
            Err(BucketingError::UnknownTimeZone)
        );
        for text in ["0", "-1", "", "m", "0d", "0mo", "1.5h", "9999999999y"] {
            assert_eq!(parse(text, None), Err(BucketingError::Width), "{text}");
        }
        let aligned = Bucketing::parse(b"1mo", 5, None, 1_000_000);
        assert_eq!(aligned, Err(BucketingError::AlignedCalendar));
    }

    #[test]
    fn calendar_buckets_are_reported_with_their_own_width() {
        let months = Bucketing::parse(b"1mo", 0, None, 1_000_000).expect("a month");
        let day = 86_400_000;
        assert_eq!(months.reported(31 * day, 0, BucketTimestamp::End), 59 * day);
        assert_eq!(months.reported(31 * day, 0, BucketTimestamp::Middle), 45 * day);
    }

    proptest! {
        #[test]
        fn buckets_agree_with_wide_arithmetic(timestamp: i64, align: i64, width in 1i64..) {
            let bucketing = Bucketing::fixed(width, align).expect("positive width");
            let wide = i128::from(timestamp);
            let start = wide - (wide - i128::from(align)).rem_euclid(i128::from(width));
            let clamp = |wide: i128| wide.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
            let bucket = bucketing.bucket_of(timestamp);
            prop_assert_eq!(bucket.start, clamp(start));
            prop_assert_eq!(bucket.last, clamp(start + i128::from(width) - 1));
            prop_assert!(bucket.contains(timestamp));
            if let Some(following) = bucketing.following(bucket) {
                prop_assert_eq!(following, bucketing.bucket_of(following.start));
                if bucket.start > i64::MIN {
                    prop_assert_eq!(bucketing.preceding(following), Some(bucket));
                }
            }
        }
    }
}
