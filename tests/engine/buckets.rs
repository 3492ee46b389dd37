//! Aggregations over buckets, chunk by chunk, compared with the model: again and again, as what they learn of chunks is
//! kept.

use std::collections::BTreeMap;
use std::ops::Range;

use ticklane::lane::{InPlace, RangeQuery, RangeVisitor};
use ticklane::series::{ChunkSummary, Columns};

use super::run::{Outcome, Run};

/// What a bucket is compared by. Sums of the model's values are exact in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    samples: usize,
    sum: f64,
    min: f64,
    max: f64,
    first: f64,
    last: f64,
}

/// Buckets of one width, by their first timestamps.
#[derive(Debug)]
struct Buckets {
    width: i64,
    by_start: BTreeMap<i64, Bucket>,
    newest: Option<i64>,
    disorder: Option<i64>,
    /// Summaries seen.
    summaries: u64,
}

impl Buckets {
    fn new(width: i64) -> Buckets {
        Buckets {
            width,
            by_start: BTreeMap::new(),
            newest: None,
            disorder: None,
            summaries: 0,
        }
    }

    fn start_of(&self, timestamp: i64) -> i64 {
        timestamp - timestamp.rem_euclid(self.width)
    }

    fn add(&mut self, first: i64, last: i64, new: Bucket) {
        if self.newest.is_some_and(|newest| newest >= first) {
            self.disorder = Some(first);
        }
        self.newest = Some(last);
        let start = self.start_of(first);
        self.by_start
            .entry(start)
            .and_modify(|bucket| {
                bucket.samples += new.samples;
                bucket.sum += new.sum;
                bucket.min = bucket.min.min(new.min);
                bucket.max = bucket.max.max(new.max);
                bucket.last = new.last;
            })
            .or_insert(new);
    }

    fn add_sample(&mut self, timestamp: i64, value: f64) {
        let bucket = Bucket {
            samples: 1,
            sum: value,
            min: value,
            max: value,
            first: value,
            last: value,
        };
        self.add(timestamp, timestamp, bucket);
    }
}

impl RangeVisitor for Buckets {
    fn samples(&mut self, columns: &Columns, within: Range<usize>) {
        for index in within {
            let sample = columns.get(index);
            self.add_sample(sample.timestamp, sample.value);
        }
    }

    fn summary(&mut self, summary: &ChunkSummary, sum_rest: f64) -> bool {
        let (first, last) = (summary.first_timestamp, summary.last_timestamp);
        // As an average, which cannot take an infinite sum.
        if last > self.bucket_last(first) || !summary.values.sum.is_finite() {
            return false;
        }
        assert_eq!(sum_rest, 0.0, "nothing is rounded");
        let values = &summary.values;
        let bucket = Bucket {
            samples: summary.count,
            sum: values.sum,
            min: values.min,
            max: values.max,
            first: values.first,
            last: values.last,
        };
        self.add(first, last, bucket);
        self.summaries += 1;
        true
    }

    fn bucket_last(&self, timestamp: i64) -> i64 {
        self.start_of(timestamp) + self.width - 1
    }

    fn takes_summaries(&self) -> bool {
        true
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
}

impl Run {
    /// Aggregates a range on the blocking pool and then twice on the lane, where the last time most is known.
    pub(super) fn compare_aggregated(
        &mut self,
        key: &[u8],
        data_type: u8,
        query: RangeQuery,
        width: i64,
    ) -> Outcome {
        let query = RangeQuery {
            limit: usize::MAX,
            reverse: false,
            ..query
        };
        let mut expected = Buckets::new(width);
        for (timestamp, bits, _) in self.expected(key, data_type, query) {
            expected.add_sample(timestamp, f64::from_bits(bits));
        }
        for in_place in [InPlace::NOTHING, InPlace::USUAL, InPlace::USUAL] {
            let found = self.buckets_of(key, data_type, query, width, in_place)?;
            if self.is_uncertain(key, data_type) {
                continue;
            }
            if found.by_start != expected.by_start || found.disorder.is_some() {
                let wrong = found
                    .by_start
                    .iter()
                    .find(|(start, bucket)| expected.by_start.get(start) != Some(bucket));
                return Err(format!(
                    "{} type {data_type} {query:?} buckets of {width}, {in_place:?}: {} for {}, {wrong:?}, disorder {:?}",
                    String::from_utf8_lossy(key),
                    found.by_start.len(),
                    expected.by_start.len(),
                    found.disorder,
                ));
            }
            self.summaries += found.summaries;
        }
        Ok(())
    }

    fn buckets_of(
        &mut self,
        key: &[u8],
        data_type: u8,
        query: RangeQuery,
        width: i64,
        in_place: InPlace,
    ) -> Result<Buckets, String> {
        let found = self.until_done(|partition, now_ms| {
            let Some(member) = partition.find_series(key, data_type, now_ms)? else {
                return Ok(None);
            };
            let mut buckets = Buckets::new(width);
            let job = partition.visit_range_within(member, query, in_place, &mut buckets)?;
            Ok(Some((buckets, job)))
        })?;
        match found.flatten() {
            None => Ok(Buckets::new(width)),
            Some((buckets, None)) => Ok(buckets),
            Some((_, Some(job))) => {
                let mut buckets = Buckets::new(width);
                job.visit(&mut buckets).map_err(|error| error.to_string())?;
                Ok(buckets)
            }
        }
    }
}
