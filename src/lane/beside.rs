//! The buckets beside that of a change: some aggregators read samples of other buckets than their own.
//!
//! `increase` and `rate` go by the sample before the bucket, `twa` by that behind it too. So a change of samples that are
//! older than the newest is seen by the next bucket that has samples, and for `twa` by the one before; only closed ones
//! count here. Where the nearest sample is has to be read: what is not in memory is owed.

use crate::aggregate::{Aggregator, Bucket, Bucketing};
use crate::series::{Rule, Sample};

use super::keys::Value;
use super::outbox::Side;
use super::partition::Partition;
use super::properties::PLAIN_DATA_TYPE;
use super::range::RangeQuery;
use super::rollup_reads::{NEIGHBOUR_SAMPLES, bucket_begun_before};
use super::rules::Stretch;
use super::stop::Stop;

/// True if a bucket's value depends on the sample before it.
pub(super) fn looks_back(rule: &Rule) -> bool {
    let counters = [Aggregator::Increase, Aggregator::Rate];
    looks_ahead(rule) || counters.contains(&rule.aggregator)
}

/// True if a bucket's value depends on the sample behind it.
pub(super) fn looks_ahead(rule: &Rule) -> bool {
    rule.aggregator == Aggregator::TimeWeightedAverage
}

impl Partition {
    /// The closed buckets on this side of the bucket of `changed` whose values the rule from `source` to `destination`
    /// computes from samples of that one; `None` if there are none, or no such rule. They reach up to the nearest sample
    /// that is not NaN.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`, `Wait::Warm`, or if a row cannot be read.
    pub fn stretch_beside(
        &mut self,
        (source, destination): (&[u8], &[u8]),
        (changed, side): (i64, Side),
        now_ms: i64,
    ) -> Result<Option<Stretch>, Stop> {
        let Some((member, rule, bucketing)) = self.find_rule(source, destination, now_ms)? else {
            return Ok(None);
        };
        let Some(newest) = self.certain_newest(member)? else {
            return Ok(None);
        };
        let limits = Limits {
            own: bucketing.bucket_of(changed),
            open_start: bucketing.start_of(newest),
            oldest: self.retained(member, RangeQuery::NEWEST).from,
        };
        let mut nearest = self.nearest_samples(member, changed, side)?;
        nearest.retain(|sample| limits.is_beside(sample.timestamp, side, (&rule, &bucketing)));
        let timestamps = || nearest.iter().map(|sample| sample.timestamp);
        let (Some(first), Some(last)) = (timestamps().min(), timestamps().max()) else {
            return Ok(None);
        };
        Ok(Some((bucketing.start_of(first), bucketing.bucket_of(last).last)))
    }

    /// The nearest sample, and behind those that are NaN the next ones, up to the first that is not.
    fn nearest_samples(&self, member: u32, changed: i64, side: Side) -> Result<Vec<Sample>, Stop> {
        let start = match side {
            Side::Earlier => changed.checked_sub(1),
            Side::Later => changed.checked_add(1),
        };
        let Some(start) = start else {
            return Ok(Vec::new());
        };
        let read = |limit| {
            let (from, to) = match side {
                Side::Earlier => (i64::MIN, start),
                Side::Later => (start, i64::MAX),
            };
            let query = RangeQuery {
                from,
                to,
                limit,
                reverse: side == Side::Earlier,
            };
            self.read_samples(member, query)
        };
        let mut samples = read(1)?;
        if samples.values.iter().any(|value| value.is_nan()) {
            samples = read(NEIGHBOUR_SAMPLES)?;
        }
        let mut nearest: Vec<Sample> = match side {
            Side::Earlier => samples.iter().rev().collect(),
            Side::Later => samples.iter().collect(),
        };
        let number = nearest.iter().position(|sample| !sample.value.is_nan());
        nearest.truncate(number.map_or(nearest.len(), |number| number + 1));
        Ok(nearest)
    }

    /// False if the sample before the one that the series at `place` has just got at its end is certainly not NaN.
    pub(super) fn may_follow_nan(&self, place: usize) -> bool {
        let Value::Series(members) = &self.keys.at(place).value else {
            return false;
        };
        let Some(member) = members.of(PLAIN_DATA_TYPE) else {
            return false;
        };
        let series = self.series_at(member);
        match series.head.values.iter().rev().nth(1) {
            Some(before) => before.is_nan(),
            None => !series.has_nothing_sealed(),
        }
    }
}

/// Where samples beside a change count.
struct Limits {
    own: Bucket,
    open_start: i64,
    oldest: i64,
}

impl Limits {
    fn is_beside(&self, timestamp: i64, side: Side, (rule, bucketing): (&Rule, &Bucketing)) -> bool {
        let begun = bucket_begun_before(rule, bucketing).filter(|bucket| bucket.contains(timestamp));
        match side {
            // Where a rule was made in the midst of a bucket, samples that it leaves out come first, and they stay the same.
            Side::Later => timestamp > self.own.last && timestamp < self.open_start && begun.is_none(),
            // Half of a bucket that retention has cut is worse than what its destination has.
            Side::Earlier => {
                timestamp < self.own.start.min(self.open_start)
                    && bucketing.start_of(timestamp) >= self.oldest
                    && (begun.is_none() || timestamp >= rule.from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::outbox::OutboxEntry;
    use crate::lane::test_support::{TestPartition, test_partition};
    use crate::series::SeriesProperties;

    const ENDS: (&[u8], &[u8]) = (b"s", b"d");
    const ALL: RangeQuery = RangeQuery {
        limit: usize::MAX,
        ..RangeQuery::NEWEST
    };

    fn place(partition: &mut Partition, key: &[u8]) -> (usize, u32) {
        let found = partition.find_plain_series(key, 0).ok().flatten();
        found.expect("it is there")
    }

    fn add(partition: &mut Partition, samples: &[(i64, f64)]) {
        for (timestamp, value) in samples {
            let added = partition.add_sample(b"s", 0, Sample::new(*timestamp, *value), 0);
            assert!(added.is_ok());
        }
    }

    /// A rule of buckets of 100, made when these samples were there.
    fn ruled(samples: &[(i64, f64)], aggregator: &str, from: i64) -> TestPartition {
        let mut partition = test_partition();
        let rule = Rule {
            destination: b"d"[..].into(),
            aggregator: Aggregator::parse(aggregator.as_bytes()).expect("a known name"),
            bucket: 100,
            align: 0,
            calendar: Default::default(),
            from,
        };
        let of_destination = SeriesProperties {
            source: Some(b"s"[..].into()),
            ..SeriesProperties::default()
        };
        assert!(partition.create_plain_series(b"d", of_destination, 0).is_ok());
        assert!(
            partition
                .create_plain_series(b"s", SeriesProperties::default(), 0)
                .is_ok()
        );
        add(&mut partition, samples);
        let (at, _) = place(&mut partition, b"s");
        let of_source = SeriesProperties {
            rules: vec![rule],
            ..SeriesProperties::default()
        };
        partition.set_properties(at, of_source);
        partition
    }

    fn delete(partition: &mut Partition, from: i64, to: i64) {
        let (at, member) = place(partition, b"s");
        let newest = partition.certain_newest(member).ok().expect("all is in memory");
        assert!(partition.delete_range(member, from, to).is_ok());
        partition.roll_up_deleted(at, (from, to), newest, 0);
    }

    fn written(partition: &mut Partition) -> Vec<(i64, f64)> {
        let (_, member) = place(partition, b"d");
        let samples = partition
            .read_samples(member, ALL)
            .ok()
            .expect("all is in memory");
        samples
            .iter()
            .map(|sample| (sample.timestamp, sample.value))
            .collect()
    }

    #[test]
    fn what_a_counter_went_up_follows_the_sample_before_the_bucket() {
        let mut partition = ruled(&[], "increase", i64::MIN);
        let samples = [10, 90, 110, 190, 210, 290, 310, 390].map(|at| (at, at as f64));
        add(&mut partition, &samples);
        assert_eq!(written(&mut partition), [(0, 80.0), (100, 100.0), (200, 100.0)]);
        add(&mut partition, &[(195, 192.5)]);
        assert_eq!(written(&mut partition), [(0, 80.0), (100, 102.5), (200, 97.5)]);
        delete(&mut partition, 190, 195);
        assert_eq!(written(&mut partition), [(0, 80.0), (100, 20.0), (200, 180.0)]);
        delete(&mut partition, 100, 199);
        assert_eq!(written(&mut partition), [(0, 80.0), (200, 200.0)]);
        add(&mut partition, &[(95, f64::NAN), (180, f64::NAN), (92, 91.0)]);
        assert_eq!(
            written(&mut partition),
            [(0, 81.0), (200, 199.0)],
            "NaN is passed over"
        );
        assert_eq!(partition.undelivered(), 0);
    }

    #[test]
    fn an_average_over_time_follows_the_samples_on_both_sides() {
        let mut partition = ruled(&[], "twa", i64::MIN);
        add(&mut partition, &[10, 90, 110, 190, 210].map(|at| (at, at as f64)));
        assert_eq!(written(&mut partition), [(0, 55.0), (100, 150.0)]);
        add(&mut partition, &[(200, 0.0)]);
        assert_eq!(
            written(&mut partition),
            [(0, 55.0), (100, 140.0)],
            "late in the open bucket"
        );
        delete(&mut partition, 200, 200);
        assert_eq!(written(&mut partition), [(0, 55.0), (100, 150.0)]);
        add(&mut partition, &[(320, f64::NAN), (410, f64::NAN), (420, 210.0)]);
        let expected = [(0, 55.0), (100, 150.0), (200, 209.5)];
        assert_eq!(written(&mut partition), expected, "a number came after NaN");
    }

    #[test]
    fn what_a_rule_leaves_out_is_no_reason_to_write_its_bucket() {
        let samples = [10, 140, 160, 210, 310].map(|at| (at, 1.0));
        let mut partition = ruled(&samples, "twa", 150);
        let mut beside = |changed, side| {
            let found = partition.stretch_beside(ENDS, (changed, side), 0);
            found.ok().expect("all is in memory")
        };
        assert_eq!(beside(10, Side::Later), None);
        assert_eq!(beside(10, Side::Earlier), None);
        assert_eq!(beside(210, Side::Earlier), Some((100, 199)));
        assert_eq!(beside(140, Side::Earlier), Some((0, 99)));
        assert_eq!(beside(160, Side::Later), Some((200, 299)));
        assert_eq!(beside(210, Side::Later), None, "it is open");
        assert_eq!(beside(310, Side::Earlier), Some((200, 299)));
        assert_eq!(beside(i64::MAX, Side::Later), None);
        assert_eq!(beside(i64::MIN, Side::Earlier), None);
        let (_, member) = place(&mut partition, b"s");
        assert!(partition.delete_range(member, 160, 160).is_ok());
        let found = partition.stretch_beside(ENDS, (210, Side::Earlier), 0);
        assert_eq!(
            found.ok().expect("all is in memory"),
            None,
            "nothing came since the rule"
        );
    }

    #[test]
    fn a_rollup_does_not_overtake_those_that_are_owed() {
        let mut partition = ruled(&[], "sum", i64::MIN);
        partition.owe(OutboxEntry::Rollup {
            source: b"s"[..].into(),
            destination: b"d"[..].into(),
            from: 0,
            to: 99,
        });
        add(&mut partition, &[(10, 1.0), (110, 1.0)]);
        assert_eq!(written(&mut partition), []);
        assert_eq!(partition.undelivered(), 2);
    }
}
