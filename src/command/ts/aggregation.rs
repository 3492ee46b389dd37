//! The AGGREGATION clause: aggregators, bucket, and what stands behind them.

use crate::aggregate::{Aggregator, BucketTimestamp};
use crate::config::TimeUnit;
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::resp::number::parse_u64;

use super::duration::parse_duration;
use super::texts;
use super::timestamp::{Bounds, Now, parse_point};

/// Aggregators of one list.
pub const AGGREGATORS_MAX: usize = 15;

/// Calendar units longer than a day, in months.
const MONTHS: [(&[u8], i64); 3] = [(b"mo", 1), (b"q", 3), (b"y", 12)];

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// In steps of the business's unit.
    Fixed(i64),
    /// Calendar months: `1mo`, `1q`, `1y`.
    Months(i64),
}

/// The length of buckets as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSize {
    /// Above zero.
    pub width: Width,
    /// Name of the time zone behind `TZ`, not checked; days and months begin there.
    pub zone: Option<Box<[u8]>>,
    /// As the client wrote it.
    pub text: Box<[u8]>,
}

/// Where one of the buckets begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Align {
    /// At the epoch.
    #[default]
    Epoch,
    /// At the start of the range, which is explicit.
    Start,
    /// At the end of the range, which is explicit.
    End,
    /// At this timestamp.
    At(i64),
}

impl Align {
    /// Reads `-`, `start`, `+`, `end` or a point in time.
    pub fn parse(text: &[u8], now: Now) -> Option<Align> {
        match text.to_ascii_lowercase().as_slice() {
            b"-" | b"start" => Some(Align::Start),
            b"+" | b"end" => Some(Align::End),
            _ => parse_point(text, now).map(Align::At),
        }
    }

    /// The timestamp that is meant in a range of these bounds.
    pub fn timestamp(self, bounds: Bounds) -> i64 {
        match self {
            Align::Epoch => 0,
            Align::Start => bounds.from.timestamp,
            Align::End => bounds.to.timestamp,
            Align::At(timestamp) => timestamp,
        }
    }
}

/// A whole AGGREGATION clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// One list, or one per key for TS.NRANGE; none of them empty.
    pub lists: Vec<Vec<Aggregator>>,
    /// Shared by all lists.
    pub bucket: BucketSize,
    /// Where one bucket begins.
    pub align: Align,
    /// Which timestamp stands for a bucket.
    pub bucket_timestamp: BucketTimestamp,
    /// Buckets without samples between the first and the last one are reported.
    pub empty: bool,
}

impl Aggregation {
    /// The aggregators of the only list.
    pub fn aggregators(&self) -> &[Aggregator] {
        self.lists.first().map_or(&[], Vec::as_slice)
    }
}

/// The words `list ... bucket [TZ zone]` behind AGGREGATION.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// As in [`Aggregation`].
    pub lists: Vec<Vec<Aggregator>>,
    /// As in [`Aggregation`].
    pub bucket: BucketSize,
    /// Index of the first argument behind them.
    pub end: usize,
}

impl Head {
    /// Reads `list_count` lists of aggregators and a bucket from argument `index` on.
    ///
    /// # Errors
    /// The texts of RedisTimeSeries about aggregations and buckets.
    pub fn parse(args: Args<'_>, index: usize, list_count: usize, unit: TimeUnit) -> Result<Head, Refusal> {
        let size = |index: usize| args.try_get(index).and_then(|text| parse_width(text, unit));
        let bucket_index = index.saturating_add(list_count);
        if list_count > 1 {
            for index in index..bucket_index {
                let list = args.try_get(index).filter(|_| size(index).is_none());
                parse_aggregators(list.ok_or(texts::NUMKEYS_AGGREGATORS)?)?;
            }
            let follows = args.try_get(bucket_index);
            if follows.is_some_and(|text| parse_aggregators(text).is_ok()) {
                return Err(texts::NUMKEYS_AGGREGATORS);
            }
        }
        let width = size(bucket_index).ok_or(texts::AGGREGATION)?;
        let lists = args.range(index..bucket_index).into_iter();
        let lists: Result<Vec<Vec<Aggregator>>, Refusal> = lists.map(parse_aggregators).collect();
        let lists = lists?;
        if matches!(width, Width::Fixed(..1) | Width::Months(..1)) {
            return Err(texts::BUCKET_NOT_POSITIVE);
        }
        let mut end = bucket_index + 1;
        let has_zone = args
            .try_get(end)
            .is_some_and(|word| word.eq_ignore_ascii_case(b"TZ"));
        let mut zone = None;
        if has_zone {
            let name = args.try_get(end + 1).filter(|name| !name.is_empty());
            zone = Some(Box::from(name.ok_or(texts::AGGREGATION)?));
            end += 2;
        }
        let text = args.get(bucket_index).into();
        Ok(Head {
            lists,
            bucket: BucketSize { width, zone, text },
            end,
        })
    }
}

/// Reads a comma-separated list of aggregators.
///
/// # Errors
/// [`texts::AGGREGATOR_EMPTY`], [`texts::AGGREGATORS_TOO_MANY`], [`texts::AGGREGATOR_UNKNOWN`].
pub fn parse_aggregators(text: &[u8]) -> Result<Vec<Aggregator>, Refusal> {
    let names = || text.split(|byte| *byte == b',');
    if text.is_empty() {
        return Err(texts::AGGREGATOR_UNKNOWN);
    }
    if names().any(<[u8]>::is_empty) {
        return Err(texts::AGGREGATOR_EMPTY);
    }
    if names().count() > AGGREGATORS_MAX {
        return Err(texts::AGGREGATORS_TOO_MANY);
    }
    let aggregators: Option<Vec<Aggregator>> = names().map(Aggregator::parse).collect();
    aggregators.ok_or(texts::AGGREGATOR_UNKNOWN)
}

/// Reads a duration, or a number of months, quarters or years.
fn parse_width(text: &[u8], unit: TimeUnit) -> Option<Width> {
    if let Some(steps) = parse_duration(text, unit) {
        return Some(Width::Fixed(steps));
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, name) = text.split_at(digits);
    let (_, months) = MONTHS
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))?;
    let number = i64::try_from(parse_u64(number)?).ok()?;
    number.checked_mul(*months).map(Width::Months)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ts::test_args::{NOW, with_args};

    fn head(line: &str, list_count: usize) -> Result<Head, Refusal> {
        with_args(line, |args| Head::parse(args, 0, list_count, NOW.unit))
    }

    #[test]
    fn buckets_are_numbers_durations_or_months() {
        for (line, width) in [
            ("avg 60000", Width::Fixed(60_000)),
            ("avg 1m", Width::Fixed(60_000)),
            ("avg 1d", Width::Fixed(86_400_000)),
            ("avg 1mo", Width::Months(1)),
            ("avg 2q", Width::Months(6)),
            ("avg 1Y", Width::Months(12)),
        ] {
            let head = head(line, 1).unwrap();
            assert_eq!((head.bucket.width, head.end), (width, 2), "{line}");
            assert_eq!(head.bucket.zone, None);
        }
        let zoned = head("max 1d TZ Asia/Shanghai EMPTY", 1).unwrap();
        assert_eq!(zoned.bucket.zone.as_deref(), Some(&b"Asia/Shanghai"[..]));
        assert_eq!((&*zoned.bucket.text, zoned.end), (&b"1d"[..], 4));
    }

    #[test]
    fn lists_hold_up_to_fifteen() {
        let several = head("avg,MIN,Std.P 5", 1).unwrap();
        assert_eq!(
            several.lists,
            [[
                Aggregator::Average,
                Aggregator::Minimum,
                Aggregator::DeviationPopulation
            ]]
        );
        assert_eq!(
            parse_aggregators(["avg"; 15].join(",").as_bytes()).unwrap().len(),
            15
        );
        let pair = head("avg min,max 5 x", 2).unwrap();
        assert_eq!((pair.lists.len(), pair.lists[1].len(), pair.end), (2, 2, 3));
    }

    #[test]
    fn every_refusal_has_its_text() {
        let sixteen = format!("{} 5", ["avg"; 16].join(","));
        for (line, refusal) in [
            ("avg", texts::AGGREGATION),
            ("avg x", texts::AGGREGATION),
            ("avg 1.5", texts::AGGREGATION),
            ("bogus x", texts::AGGREGATION),
            ("avg 1d TZ", texts::AGGREGATION),
            ("avg 1d TZ ''", texts::AGGREGATION),
            ("bogus 5", texts::AGGREGATOR_UNKNOWN),
            ("avg,bogus 5", texts::AGGREGATOR_UNKNOWN),
            ("'' 5", texts::AGGREGATOR_UNKNOWN),
            (", 5", texts::AGGREGATOR_EMPTY),
            ("avg,,min 5", texts::AGGREGATOR_EMPTY),
            ("avg, 5", texts::AGGREGATOR_EMPTY),
            (&sixteen, texts::AGGREGATORS_TOO_MANY),
            ("avg 0", texts::BUCKET_NOT_POSITIVE),
            ("avg -5", texts::BUCKET_NOT_POSITIVE),
            ("avg 0s", texts::BUCKET_NOT_POSITIVE),
        ] {
            assert_eq!(head(line, 1), Err(refusal), "{line}");
        }
        for line in ["avg 5", "avg min max 5", "avg 5 EMPTY"] {
            assert_eq!(head(line, 2), Err(texts::NUMKEYS_AGGREGATORS), "{line}");
        }
        assert_eq!(head("avg min", 2), Err(texts::AGGREGATION));
        assert_eq!(head("avg min x", 2), Err(texts::AGGREGATION));
        assert_eq!(head("avg 5", usize::MAX), Err(texts::NUMKEYS_AGGREGATORS));
    }

    #[test]
    fn alignments_are_ends_or_points() {
        use crate::command::ts::timestamp::{Bound, Bounds};
        let bound = |timestamp| Bound {
            timestamp,
            is_open: false,
        };
        let bounds = Bounds {
            from: bound(3),
            to: bound(9),
        };
        for (text, timestamp) in [
            ("-", 3),
            ("START", 3),
            ("+", 9),
            ("end", 9),
            ("7", 7),
            ("-1h", 6_400_000),
        ] {
            let align = Align::parse(text.as_bytes(), NOW).unwrap();
            assert_eq!(align.timestamp(bounds), timestamp, "{text}");
        }
        assert_eq!(Align::parse(b"middle", NOW), None);
        assert_eq!(Align::parse(b"-7", NOW), None);
        assert_eq!(Align::Epoch.timestamp(bounds), 0);
    }
}
