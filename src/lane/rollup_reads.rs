//! What a rollup rule makes of a stretch of time: reading the source's samples and the values of its buckets.

use crate::aggregate::{
    AggregationSpec, Bucket, BucketAggregation, BucketTimestamp, Bucketing, Rows, Surroundings,
};
use crate::series::{Columns, Rule, Sample};

use super::beside::{looks_ahead, looks_back};
use super::partition::Partition;
use super::range::{RangeQuery, RangeRead};
use super::rules::Stretch;
use super::stop::Stop;

/// Samples in which a neighbour of a bucket that is not NaN is looked for.
pub(super) const NEIGHBOUR_SAMPLES: usize = 32;

/// What a destination is to hold in a stretch of time: these samples and no others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RolledUp {
    /// First and last timestamp that is replaced; nothing if the first comes after the last.
    pub replaced: Stretch,
    /// Starts of buckets and their values, ascending.
    pub samples: Vec<(i64, f64)>,
}

impl RolledUp {
    const NOTHING: RolledUp = RolledUp {
        replaced: (0, -1),
        samples: Vec::new(),
    };
}

/// What came of reading a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub enum RollupFound {
    /// The buckets of all of it.
    Whole(RolledUp),
    /// It holds as many samples as were to be read at most, or more: up to here, where a bucket ends, they are few
    /// enough to be read without a limit, unless they are all in one bucket.
    UpTo(i64),
}

/// What a rule's value is computed from.
pub struct RollupRead {
    rule: Rule,
    bucketing: Bucketing,
    unit_ns: i64,
    stretch: Stretch,
    /// Samples from before the rule are left out of the first bucket.
    leaves_out: bool,
    samples_max: usize,
    /// What the bucket is reported as that is open and will be written when it is closed.
    unwritten: Option<i64>,
    read: RangeRead,
    /// Samples next to the stretch, if the aggregator looks at them.
    neighbours: [RangeRead; 2],
}

impl RollupRead {
    /// True if the disk need not be read.
    pub fn is_ready(&self) -> bool {
        let mut reads = self.neighbours.iter().chain([&self.read]);
        reads.all(|read| matches!(read, RangeRead::Ready(_)))
    }

    /// The buckets, if they have few enough samples. Blocks unless ready.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn run(self) -> Result<RollupFound, crate::store::StoreError> {
        let samples = self.read.into_columns()?;
        if samples.len() >= self.samples_max
            && let Some(last_read) = samples.timestamps.last()
        {
            // Whether a bucket behind which samples were deleted keeps a value is a matter of the whole stretch.
            let is_divisible = self.unwritten.is_some();
            let (_, last) = self.stretch;
            let first_piece = is_divisible.then(|| first_piece(&self.bucketing, self.stretch, *last_read));
            return Ok(RollupFound::UpTo(first_piece.unwrap_or(last)));
        }
        if self.leaves_out && samples.is_empty() {
            return Ok(RollupFound::Whole(RolledUp::NOTHING));
        }
        let [before, after] = self.neighbours;
        let around = surroundings(self.stretch, &before.into_columns()?, &after.into_columns()?);
        let rows = aggregate(
            &self.rule,
            self.bucketing.clone(),
            self.unit_ns,
            (&samples, &around),
        );
        let reported = |start| self.bucketing.reported(start, 0, BucketTimestamp::Start);
        let (first, last) = self.stretch;
        Ok(RollupFound::Whole(RolledUp {
            replaced: (reported(first), reported(self.bucketing.start_of(last))),
            samples: rows
                .iter()
                .filter(|(start, _)| self.unwritten.is_none_or(|open| *start < open))
                .map(|(start, row)| (start, row.first().copied().unwrap_or(f64::NAN)))
                .collect(),
        }))
    }
}

/// The samples next to a stretch that the rule's aggregator looks at: those of TS.RANGE do the same.
pub(super) fn neighbour_queries(rule: &Rule, (from, to): Stretch) -> [Option<RangeQuery>; 2] {
    let before = from.checked_sub(1).filter(|_| looks_back(rule));
    let after = to.checked_add(1).filter(|_| looks_ahead(rule));
    [
        before.map(|to| RangeQuery {
            from: i64::MIN,
            to,
            limit: NEIGHBOUR_SAMPLES,
            reverse: true,
        }),
        after.map(|from| RangeQuery {
            from,
            to: i64::MAX,
            limit: NEIGHBOUR_SAMPLES,
            reverse: false,
        }),
    ]
}

pub(super) fn surroundings((from, to): Stretch, before: &Columns, after: &Columns) -> Surroundings {
    let is_number = |sample: &Sample| !sample.value.is_nan();
    Surroundings {
        from,
        // A bucket lasts until the next one begins, as when all of the source is asked for.
        to: to.saturating_add(1),
        before: before.iter().rev().find(is_number),
        after: after.iter().find(is_number),
    }
}

pub(super) fn aggregate(
    rule: &Rule,
    bucketing: Bucketing,
    unit_ns: i64,
    (samples, around): (&Columns, &Surroundings),
) -> Rows {
    let spec = AggregationSpec {
        aggregators: vec![rule.aggregator],
        bucketing,
        bucket_timestamp: BucketTimestamp::Start,
        empty: false,
    };
    let mut aggregation = BucketAggregation::new(spec).with_unit_ns(unit_ns);
    aggregation.add_columns(&samples.timestamps, &samples.values);
    // Without EMPTY there is no bucket too many.
    aggregation.finish(around, None, false).unwrap_or_default()
}

/// The bucket in the midst of which the rule was made, while samples from before the rule are left out of it.
pub(super) fn bucket_begun_before(rule: &Rule, bucketing: &Bucketing) -> Option<Bucket> {
    let bucket = bucketing.bucket_of(rule.from.checked_sub(1)?);
    bucket.contains(rule.from).then_some(bucket)
}

impl Partition {
    /// What the rule from `source` to `destination` makes of a stretch of time, if that has fewer samples than
    /// `samples_max`; `None` if there is no such rule. The open bucket has no value, unless it was closed before what
    /// followed it was deleted.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`, `Wait::Warm`, or if a row cannot be read.
    pub fn read_rollup(
        &mut self,
        source: &[u8],
        destination: &[u8],
        ((from, to), samples_max): (Stretch, usize),
        now_ms: i64,
    ) -> Result<Option<RollupRead>, Stop> {
        let Some((member, rule, bucketing)) = self.find_rule(source, destination, now_ms)? else {
            return Ok(None);
        };
        let begun =
            bucket_begun_before(&rule, &bucketing).filter(|bucket| from <= bucket.last && bucket.start <= to);
        let first = begun.map_or(from, |_| from.max(rule.from));
        let query = RangeQuery {
            from: first,
            to,
            limit: samples_max,
            reverse: false,
        };
        let newest = self.certain_newest(member)?.filter(|newest| *newest >= rule.from);
        // Where the stretch goes on behind it, samples were deleted, and it was closed before: then it keeps a value.
        let open = newest
            .map(|newest| bucketing.bucket_of(newest))
            .filter(|open| to <= open.last);
        let unwritten = open.map(|open| bucketing.reported(open.start, 0, BucketTimestamp::Start));
        let mut neighbours = [(); 2].map(|()| RangeRead::Ready(Columns::default()));
        for (read, query) in neighbours.iter_mut().zip(neighbour_queries(&rule, (first, to))) {
            if let Some(query) = query {
                *read = self.read_range(member, query)?;
            }
        }
        Ok(Some(RollupRead {
            read: self.read_range(member, query)?,
            neighbours,
            rule,
            bucketing,
            unit_ns: self.settings.time_unit.nanoseconds(),
            stretch: (first, to),
            leaves_out: first > from,
            samples_max,
            unwritten,
        }))
    }
}

/// Where the first piece of a stretch ends, of which so much was read: behind the last whole bucket of it, or behind
/// its only one.
fn first_piece(bucketing: &Bucketing, (from, to): Stretch, last_read: i64) -> i64 {
    let bucket = bucketing.bucket_of(last_read);
    match bucket.start.checked_sub(1).filter(|last| *last >= from) {
        Some(last) => last.min(to),
        None => bucket.last.min(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Aggregator;

    #[test]
    fn long_stretches_are_cut_where_a_bucket_ends() {
        let bucketing = Bucketing::fixed(60, 7).expect("a width");
        let cut = |from, to, last_read| first_piece(&bucketing, (from, to), last_read);
        assert_eq!(cut(0, 1_000, 500), 486, "the last bucket may go on");
        assert_eq!(cut(0, 1_000, 6), 6, "the only bucket is read whole");
        assert_eq!(cut(67, 1_000, 80), 126);
        assert_eq!(cut(0, 100, 100), 66);
        assert_eq!(cut(67, 100, 100), 100);
        assert_eq!(
            cut(i64::MIN, i64::MAX, i64::MAX),
            bucketing.start_of(i64::MAX) - 1
        );
    }

    #[test]
    fn only_a_bucket_that_the_rule_was_made_in_the_midst_of_is_begun() {
        let bucketing = Bucketing::fixed(60, 7).expect("a width");
        let rule = |from| Rule {
            destination: Box::default(),
            aggregator: Aggregator::Sum,
            bucket: 60,
            align: 7,
            calendar: Default::default(),
            from,
        };
        let begun = |from| bucket_begun_before(&rule(from), &bucketing).map(|bucket| bucket.start);
        assert_eq!(begun(i64::MIN), None);
        assert_eq!((begun(66), begun(67), begun(68)), (Some(7), None, Some(67)));
    }
}
