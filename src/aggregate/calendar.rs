//! Buckets of whole days or months on the calendar of a time zone.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use crate::aggregate::bucketing::Bucket;

/// Years between which the calendar is used; what is outside lies in one bucket on each side.
const YEARS: (i16, i16) = (-9_000, 9_000);
/// A Monday: weeks begin on Mondays, as ISO 8601 has it.
const FIRST_MONDAY: Date = date(1970, 1, 5);

/// How many days or months a bucket has. Days are counted from 1970-01-01, weeks from Monday 1970-01-05,
/// months from January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    Days(i32),
    Weeks(i32),
    Months(i32),
}

impl Period {
    /// Days that no period falls short of.
    fn days_min(self) -> i64 {
        match self {
            Period::Days(days) => i64::from(days),
            Period::Weeks(weeks) => i64::from(weeks) * 7,
            Period::Months(months) => i64::from(months) * 28,
        }
    }

    /// First day of the period that is `offset` periods behind the one with this day.
    fn start(self, day: Date, offset: i32) -> Option<Date> {
        let by_days = |origin: Date, width: i32| {
            let since = day.since((jiff::Unit::Day, origin)).ok()?.get_days();
            let periods = since.div_euclid(width).checked_add(offset)?;
            let days = i64::from(periods) * i64::from(width);
            origin.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
        };
        match self {
            Period::Days(days) => by_days(date(1970, 1, 1), days),
            Period::Weeks(weeks) => by_days(FIRST_MONDAY, weeks.checked_mul(7)?),
            Period::Months(months) => {
                let since = (i32::from(day.year()) - 1970) * 12 + i32::from(day.month()) - 1;
                let periods = since.div_euclid(months).checked_add(offset)?;
                let month = periods.checked_mul(months)?;
                let year = i16::try_from(1970 + month.div_euclid(12)).ok()?;
                Date::new(year, (month.rem_euclid(12) + 1) as i8, 1).ok()
            }
        }
    }
}

/// Buckets that begin at local midnight. They are as long as the calendar says: 23 to 25 hours a day where
/// clocks are changed, 28 to 31 days a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    period: Period,
    zone: TimeZone,
    /// Nanoseconds of one unit of the timestamps.
    unit_ns: i64,
    /// Timestamps between which the calendar is used, both inclusive.
    bounds: Bucket,
}

impl Calendar {
    /// None unless the period is positive, of at most a million, and `unit_ns` is positive.
    pub fn new(period: Period, zone: TimeZone, unit_ns: i64) -> Option<Self> {
        let (Period::Days(count) | Period::Weeks(count) | Period::Months(count)) = period;
        if !(1..=1_000_000).contains(&count) || unit_ns <= 0 {
            return None;
        }
        let mut calendar = Calendar {
            period,
            zone,
            unit_ns,
            bounds: Bucket {
                start: i64::MIN,
                last: i64::MAX,
            },
        };
        calendar.bounds.start = calendar.midnight(date(YEARS.0, 1, 1))?;
        calendar.bounds.last = calendar.midnight(date(YEARS.1, 1, 1))?.saturating_sub(1);
        Some(calendar)
    }

    /// Units that no bucket falls short of, but for those cut off.
    pub(super) fn width_min(&self) -> u64 {
        // Half of each day: no change of clocks takes more.
        let nanoseconds = i128::from(self.period.days_min()) * 43_200 * 1_000_000_000;
        u64::try_from(nanoseconds / i128::from(self.unit_ns)).map_or(u64::MAX, |width| width.max(1))
    }

    /// First timestamp of a day, cut off at the ends of `i64`.
    fn midnight(&self, day: Date) -> Option<i64> {
        let instant = day.to_zoned(self.zone.clone()).ok()?.timestamp().as_nanosecond();
        let unit = i128::from(self.unit_ns);
        let timestamp = -(-instant).div_euclid(unit);
        Some(timestamp.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }

    /// The local day of a timestamp.
    fn day(&self, timestamp: i64) -> Option<Date> {
        let instant = i128::from(timestamp) * i128::from(self.unit_ns);
        let instant = Timestamp::from_nanosecond(instant).ok()?;
        Some(self.zone.to_datetime(instant).date())
    }

    /// The bucket that the timestamp lies in.
    pub fn bucket_of(&self, timestamp: i64) -> Bucket {
        if timestamp < self.bounds.start {
            return Bucket {
                start: i64::MIN,
                last: self.bounds.start - 1,
            };
        }
        if timestamp > self.bounds.last {
            return Bucket {
                start: self.bounds.last + 1,
                last: i64::MAX,
            };
        }
        self.bucket_inside(timestamp).unwrap_or(self.bounds)
    }

    fn bucket_inside(&self, timestamp: i64) -> Option<Bucket> {
        let day = self.day(timestamp)?;
        // Clocks that are put back over midnight make a day begin twice: the first time counts, so that the
        // bucket may be a neighbour of the one that the date names.
        [0, 1, -1, 2, -2].into_iter().find_map(|offset| {
            let start = self.period_start(day, offset, self.bounds.start)?;
            let next = self.period_start(day, offset + 1, self.bounds.last.saturating_add(1))?;
            let bucket = Bucket {
                start: start.max(self.bounds.start),
                last: next.saturating_sub(1).min(self.bounds.last),
            };
            bucket.contains(timestamp).then_some(bucket)
        })
    }

    /// First timestamp of a period, `outside` where the calendar ends before it.
    fn period_start(&self, day: Date, offset: i32, outside: i64) -> Option<i64> {
        match self.period.start(day, offset) {
            Some(start) => self.midnight(start).or(Some(outside)),
            None => Some(outside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: i64 = 1_000_000;

    fn calendar(period: Period, zone: &str) -> Calendar {
        let zone = TimeZone::get(zone).expect("known zone");
        Calendar::new(period, zone, MILLISECOND).expect("positive period")
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().expect("timestamp").as_millisecond()
    }

    #[test]
    fn days_begin_at_local_midnight_and_have_23_to_25_hours() {
        let bucket = calendar(Period::Days(1), "Asia/Shanghai").bucket_of(at("2024-05-01T17:00:00Z"));
        assert_eq!(bucket.start, at("2024-05-01T16:00:00Z"));
        assert_eq!(bucket.last, at("2024-05-02T16:00:00Z") - 1);
        let berlin = calendar(Period::Days(1), "Europe/Berlin");
        let hours = |text| {
            let bucket = berlin.bucket_of(at(text));
            (bucket.last + 1 - bucket.start) / 3_600_000
        };
        assert_eq!(hours("2024-03-31T12:00:00Z"), 23);
        assert_eq!(hours("2024-10-27T12:00:00Z"), 25);
        assert_eq!(hours("2024-10-28T12:00:00Z"), 24);
    }

    #[test]
    fn weeks_begin_on_mondays_and_months_on_the_first() {
        let week = calendar(Period::Weeks(1), "UTC").bucket_of(at("2024-05-05T23:59:59Z"));
        assert_eq!(week.start, at("2024-04-29T00:00:00Z"));
        let month = calendar(Period::Months(1), "America/New_York").bucket_of(at("2024-03-01T04:59:59Z"));
        assert_eq!(month.start, at("2024-02-01T05:00:00Z"));
        assert_eq!(month.last, at("2024-03-01T05:00:00Z") - 1);
        let year = calendar(Period::Months(12), "UTC").bucket_of(at("1969-07-20T20:17:40Z"));
        assert_eq!((year.start, year.last), (at("1969-01-01T00:00:00Z"), -1));
    }

    #[test]
    fn days_that_begin_twice_or_never_still_have_one_bucket() {
        // Newfoundland put its clocks back at 00:01, Samoa left 2011-12-30 out.
        let newfoundland = calendar(Period::Days(1), "America/St_Johns");
        let changed = newfoundland.bucket_of(at("2010-11-07T02:45:00Z"));
        assert!(changed.contains(at("2010-11-07T02:45:00Z")));
        let samoa = calendar(Period::Days(1), "Pacific/Apia").bucket_of(at("2011-12-30T09:59:59Z"));
        assert_eq!(samoa.last, at("2011-12-30T10:00:00Z") - 1);
    }

    #[test]
    fn periods_are_positive_and_bounded() {
        for period in [Period::Days(0), Period::Weeks(-1), Period::Months(1_000_001)] {
            assert_eq!(Calendar::new(period, TimeZone::UTC, MILLISECOND), None);
        }
        assert_eq!(Calendar::new(Period::Days(1), TimeZone::UTC, 0), None);
    }

    proptest! {
        #[test]
        fn every_timestamp_lies_in_one_bucket_and_buckets_follow_each_other(
            timestamp in prop_oneof![any::<i64>(), -4_000_000_000_000i64..4_000_000_000_000],
            count in 1i32..1_000,
            kind in 0..3,
            zone in prop::sample::select(vec!["UTC", "America/St_Johns", "Pacific/Apia"]),
        ) {
            let period = [Period::Days(count), Period::Weeks(count), Period::Months(count)][kind as usize];
            let calendar = calendar(period, zone);
            let bucket = calendar.bucket_of(timestamp);
            prop_assert!(bucket.contains(timestamp));
            prop_assert_eq!(calendar.bucket_of(bucket.start), bucket);
            prop_assert_eq!(calendar.bucket_of(bucket.last), bucket);
            if let Some(next) = bucket.last.checked_add(1) {
                prop_assert_eq!(calendar.bucket_of(next).start, next);
            }
        }
    }
}
