//! Samples in, one row per bucket out.

use crate::aggregate::aggregator::{Aggregator, Needs};
use crate::aggregate::bucketing::{Bucket, BucketTimestamp, Bucketing};
use crate::aggregate::kernels;
use crate::aggregate::statistics::{FirstCounter, Point, Statistics};
use crate::series::ChunkSummary;

/// What is asked of the buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregationSpec {
    /// In the order of the values in a row.
    pub aggregators: Vec<Aggregator>,
    pub bucketing: Bucketing,
    pub bucket_timestamp: BucketTimestamp,
    /// Whether buckets without samples between the others are reported.
    pub empty: bool,
}

/// First and last sample of a bucket that is not NaN, and the area under the straight lines between them.
pub(super) type Path = Option<(Point, Point, f64)>;

/// Aggregates the samples of one series, fed in ascending order of time.
#[derive(Debug)]
pub struct BucketAggregation {
    pub(super) spec: AggregationSpec,
    pub(super) needs: Needs,
    width: usize,
    /// Starts of the closed buckets that are reported, and their values, row after row.
    pub(super) starts: Vec<i64>,
    pub(super) values: Vec<f64>,
    /// One for each closed bucket, if an aggregator needs the area.
    pub(super) paths: Vec<Path>,
    /// The bucket being filled; None before the first sample.
    open: Option<Bucket>,
    statistics: Statistics,
    /// Samples of the last closed bucket: a guess for the next.
    guess: usize,
    /// Whether no sample so far is older than time 0.
    pub(super) starts_at_zero: bool,
    /// Value of the last sample of the closed buckets, if an aggregator needs it.
    carried: f64,
    /// Whether a closed bucket has a sample that is not NaN.
    pub(super) has_number: bool,
    /// The first row in which a counter was seen.
    pub(super) first_counter: Option<(usize, FirstCounter)>,
    pub(super) units_per_second: f64,
    scratch: Scratch,
}

/// Samples of a run that are not NaN.
#[derive(Debug, Default)]
struct Scratch {
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl BucketAggregation {
    /// Before the first sample.
    pub fn new(spec: AggregationSpec) -> Self {
        BucketAggregation {
            needs: Needs::of(&spec.aggregators),
            width: spec.aggregators.iter().map(|aggregator| aggregator.width()).sum(),
            spec,
            starts: Vec::new(),
            values: Vec::new(),
            paths: Vec::new(),
            open: None,
            statistics: Statistics::new(),
            guess: 0,
            starts_at_zero: true,
            carried: f64::NAN,
            has_number: false,
            first_counter: None,
            units_per_second: 1e3,
            scratch: Scratch::default(),
        }
    }

    /// Says that timestamps count units of `unit_ns` nanoseconds, not milliseconds: `rate` is per second.
    pub fn with_unit_ns(mut self, unit_ns: i64) -> Self {
        self.units_per_second = 1e9 / unit_ns as f64;
        self
    }

    /// Values of one row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds samples that are newer than all so far. Both columns have the same length.
    pub fn add_columns(&mut self, timestamps: &[i64], values: &[f64]) {
        debug_assert_eq!(timestamps.len(), values.len());
        let any_nan = kernels::has_nan(values);
        self.reserve(timestamps);
        let mut from = 0;
        while from < timestamps.len() {
            let bucket = self.enter(timestamps[from]);
            let to = kernels::run_end(timestamps, from, self.guess, bucket.last);
            if any_nan {
                self.add_run_with_nan(&timestamps[from..to], &values[from..to]);
            } else {
                self.statistics
                    .add_run(self.needs, &timestamps[from..to], &values[from..to]);
            }
            self.guess = to - from;
            from = to;
        }
    }

    /// Makes room for the buckets that the timestamps can fill.
    fn reserve(&mut self, timestamps: &[i64]) {
        if let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) {
            let buckets = last.abs_diff(first) / self.spec.bucketing.width_min() + 1;
            let rows = usize::try_from(buckets).map_or(timestamps.len(), |rows| rows.min(timestamps.len()));
            self.starts.reserve(rows);
            self.values.reserve(rows.saturating_mul(self.width));
        }
    }

    fn add_run_with_nan(&mut self, timestamps: &[i64], values: &[f64]) {
        let scratch = &mut self.scratch;
        scratch.timestamps.clear();
        scratch.values.clear();
        for (&timestamp, &value) in timestamps.iter().zip(values) {
            if !value.is_nan() {
                scratch.timestamps.push(timestamp);
                scratch.values.push(value);
            }
        }
        self.statistics.add_nan(values.len() - scratch.values.len());
        if !scratch.values.is_empty() {
            self.statistics
                .add_run(self.needs, &scratch.timestamps, &scratch.values);
        }
    }

    /// Adds a whole chunk, newer than all samples so far, by its summary. False, and nothing added, if the
    /// chunk has to be decoded: it lies in more than one bucket or the summary does not say what an
    /// aggregator needs.
    pub fn add_summary(&mut self, summary: &ChunkSummary) -> bool {
        let bucket = self.bucket_at(summary.first_timestamp);
        let first_known = self.open == Some(bucket) && self.statistics.is_counted();
        let is_served = bucket.contains(summary.last_timestamp)
            && Statistics::can_add_summary(self.needs, first_known, &summary.values);
        if is_served {
            self.enter(summary.first_timestamp);
            self.statistics
                .add_summary(self.needs, summary.count, &summary.values);
        }
        is_served
    }

    /// Adds what rounding has taken from the sum of the summary that was added last.
    pub fn add_sum_rest(&mut self, rest: f64) {
        self.statistics.add_sum_rest(rest);
    }

    /// Whether [`BucketAggregation::add_summary`] is worth a try.
    pub fn takes_summaries(&self) -> bool {
        !self.needs.samples()
    }

    /// Last timestamp of the bucket that a timestamp, newer than all so far, lies in.
    pub fn bucket_last(&self, timestamp: i64) -> i64 {
        self.bucket_at(timestamp).last
    }

    fn bucket_at(&self, timestamp: i64) -> Bucket {
        match self.open {
            Some(open) if open.contains(timestamp) => open,
            _ => self.spec.bucketing.bucket_of(timestamp),
        }
    }

    /// Whether the first `limit` rows are known, so that a query for the oldest rows can stop reading. The
    /// bucket that is being filled does not count, nor do empty ones.
    pub fn is_full(&self, limit: usize) -> bool {
        let knows_next = self.statistics.is_counted();
        // The average over time of the last row reaches out to the next sample, and empty buckets before the
        // first row are reported only if there is a number behind them.
        self.starts.len() >= limit
            && (!self.needs.area || knows_next)
            && (!self.spec.empty || self.has_number || knows_next)
    }

    /// Makes the bucket of the timestamp the open one.
    #[inline]
    fn enter(&mut self, timestamp: i64) -> Bucket {
        let bucketing = &self.spec.bucketing;
        let bucket = match self.open {
            Some(open) if timestamp <= open.last => return open,
            Some(open) => match bucketing.following(open) {
                Some(following) if timestamp <= following.last => following,
                _ => bucketing.bucket_of(timestamp),
            },
            None => {
                self.starts_at_zero = timestamp >= 0;
                bucketing.bucket_of(timestamp)
            }
        };
        self.close();
        self.open = Some(bucket);
        bucket
    }

    /// Writes the row of the open bucket, unless it is not reported.
    pub(super) fn close(&mut self) {
        let Some(bucket) = self.open.take() else {
            return;
        };
        let statistics = &self.statistics;
        self.has_number |= statistics.is_counted();
        let aggregators = &self.spec.aggregators;
        let reported = self.spec.empty
            || aggregators
                .iter()
                .any(|&aggregator| statistics.is_valid_for(aggregator));
        if !reported {
            self.statistics.start_next();
            return;
        }
        self.starts.push(bucket.start);
        for &aggregator in aggregators {
            match aggregator {
                Aggregator::Last if !statistics.is_counted() => self.values.push(self.carried),
                Aggregator::Rate => {
                    let rate = statistics.value(aggregator) * self.units_per_second;
                    self.values.push(rate);
                }
                _ => statistics.push(aggregator, &mut self.values),
            }
        }
        if self.needs.ends && statistics.is_counted() {
            self.carried = statistics.value(Aggregator::Last);
        }
        if self.needs.counter && self.first_counter.is_none() {
            let row = self.starts.len() - 1;
            self.first_counter = statistics.first_counter().map(|counter| (row, counter));
        }
        if self.needs.area {
            self.paths.push(statistics.path());
        }
        self.statistics.start_next();
    }
}
