//! LATEST: the open buckets of rules, whose sources may live in other partitions.

use crate::aggregate::BucketTimestamp;
use crate::series::{Columns, Sample};

use super::partition::Partition;
use super::range::RangeQuery;
use super::rollup_reads::{aggregate, neighbour_queries, surroundings};
use super::stop::{Stop, Wait};

/// Open buckets kept for commands that are about to be run again.
const FETCHED_BUCKETS_MAX: usize = 65_536;

/// Keys of the source and of the destination of a rule.
pub type RuleEnds = (Box<[u8]>, Box<[u8]>);

impl Partition {
    /// The open bucket of the rule from `source` to `destination`; `None` if there is no such rule or no sample in it.
    ///
    /// # Errors
    /// As [`Partition::read_rollup`].
    pub fn read_open_bucket(
        &mut self,
        source: &[u8],
        destination: &[u8],
        now_ms: i64,
    ) -> Result<Option<Sample>, Stop> {
        let Some((member, rule, bucketing)) = self.find_rule(source, destination, now_ms)? else {
            return Ok(None);
        };
        let Some(newest) = self.last_sample(member)? else {
            return Ok(None);
        };
        let open = bucketing.bucket_of(newest.timestamp);
        let query = RangeQuery {
            from: open.start.max(rule.from),
            to: open.last,
            limit: usize::MAX,
            reverse: false,
        };
        let samples = self.read_samples(member, query)?;
        let [before, _] = neighbour_queries(&rule, (query.from, query.to));
        let before = before
            .map(|before| self.read_samples(member, before))
            .transpose()?;
        let before = before.unwrap_or_default();
        let around = surroundings((query.from, query.to), &before, &Columns::default());
        let unit_ns = self.settings.time_unit.nanoseconds();
        let rows = aggregate(&rule, bucketing.clone(), unit_ns, (&samples, &around));
        let start = bucketing.reported(open.start, 0, BucketTimestamp::Start);
        let value = rows.values.first().copied();
        Ok(value.map(|value| Sample::new(start, value)))
    }

    /// The open buckets of the rules from each source to each destination, the destinations being in this partition.
    ///
    /// # Errors
    /// `Wait::OpenBuckets` if a source lives elsewhere, `Wait::Load`, `Wait::Warm`.
    pub fn open_buckets(&mut self, ends: &[RuleEnds], now_ms: i64) -> Result<Vec<Option<Sample>>, Stop> {
        let (mut found, mut missing) = (Vec::with_capacity(ends.len()), Vec::new());
        for (source, destination) in ends {
            if self.find_plain_series(source, now_ms)?.is_some() {
                found.push(self.read_open_bucket(source, destination, now_ms)?);
            } else if let Some(sample) = self.fetched_buckets.get(destination) {
                found.push(*sample);
            } else {
                missing.push((source.clone(), destination.clone()));
            }
        }
        if !missing.is_empty() {
            return Err(Stop::Wait(Wait::OpenBuckets(missing)));
        }
        // What was fetched is true for the command that waited, and for no later one.
        for (_, destination) in ends {
            self.fetched_buckets.remove(destination);
        }
        Ok(found)
    }

    /// Takes in open buckets whose sources live elsewhere, for the command that is run again now.
    pub fn finish_open_buckets(&mut self, fetched: Vec<(Box<[u8]>, Option<Sample>)>) {
        if self.fetched_buckets.len() > FETCHED_BUCKETS_MAX {
            self.fetched_buckets.clear();
        }
        self.fetched_buckets.extend(fetched);
    }
}
