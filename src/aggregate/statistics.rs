//! What is known of the bucket that is being filled.

use crate::aggregate::aggregator::{Aggregator, Needs};
use crate::aggregate::candle::Candle;
use crate::aggregate::kernels::{self, CompensatedSum, Moments};
use crate::aggregate::sketch::Sketch;
use crate::series::ValueSummary;

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub timestamp: i64,
    pub value: f64,
}

/// Primitive statistics of the samples of one bucket; those that are not needed stay at their start values.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// Samples, NaN among them.
    samples: u64,
    /// Samples that are not NaN.
    counted: u64,
    sum: CompensatedSum,
    minimum: f64,
    maximum: f64,
    moments: Moments,
    /// First and last sample that is not NaN; meaningless while nothing is counted.
    first: Point,
    last: Point,
    /// Area under the straight lines from `first` to `last`.
    area: f64,
    sketch: Option<Box<Sketch>>,
    /// The last sample before the bucket, and what a counter went up since then.
    previous: Option<Point>,
    increase: f64,
}

/// What a counter went up from one value to the next: one that went down was reset to 0 in between.
#[inline]
pub(super) fn counter_step(from: f64, to: f64) -> f64 {
    if to < from { to } else { to - from }
}

const NOWHERE: Point = Point {
    timestamp: 0,
    value: f64::NAN,
};

impl Statistics {
    /// Of no samples.
    pub fn new() -> Self {
        Statistics {
            samples: 0,
            counted: 0,
            sum: CompensatedSum::default(),
            minimum: f64::INFINITY,
            maximum: f64::NEG_INFINITY,
            moments: Moments::default(),
            first: NOWHERE,
            last: NOWHERE,
            area: 0.0,
            sketch: None,
            previous: None,
            increase: 0.0,
        }
    }

    /// Of no samples of the next bucket.
    #[inline]
    pub fn start_next(&mut self) {
        let previous = if self.is_counted() {
            Some(self.last)
        } else {
            self.previous
        };
        let mut sketch = self.sketch.take();
        if let Some(sketch) = &mut sketch {
            sketch.clear();
        }
        *self = Statistics {
            previous,
            sketch,
            ..Statistics::new()
        };
    }

    /// What a counter did in a bucket that has no bucket before it.
    pub fn first_counter(&self) -> Option<FirstCounter> {
        (self.previous.is_none() && self.is_counted()).then_some(FirstCounter {
            first: self.first,
            last: self.last,
            increase: self.increase,
        })
    }

    /// Whether there are values that are not NaN.
    pub fn is_counted(&self) -> bool {
        self.counted > 0
    }

    /// First and last sample that is not NaN with the area between them, once something is counted.
    pub fn path(&self) -> Option<(Point, Point, f64)> {
        self.is_counted().then_some((self.first, self.last, self.area))
    }

    /// Adds samples whose values were left out because they are NaN.
    pub fn add_nan(&mut self, samples: usize) {
        self.samples += samples as u64;
    }

    /// Adds a run of samples, newer than all so far and without NaN; it must not be empty.
    #[inline]
    pub fn add_run(&mut self, needs: Needs, timestamps: &[i64], values: &[f64]) {
        let len = values.len();
        if needs.sum {
            self.sum.add_all(values);
        }
        if needs.extremes {
            let (low, high) = kernels::extremes(values);
            self.minimum = kernels::lesser(low, self.minimum);
            self.maximum = kernels::greater(high, self.maximum);
        }
        if needs.moments {
            self.moments.add_all(values);
        }
        if needs.sketch {
            let sketch = self.sketch.get_or_insert_default();
            values.iter().for_each(|&value| sketch.add(value));
        }
        if needs.counter {
            self.add_counter(values);
        }
        if needs.area || needs.ends {
            let at = |index: usize| Point {
                timestamp: timestamps[index],
                value: values[index],
            };
            if needs.area {
                self.add_path(at(0), kernels::area(timestamps, values));
            }
            if !self.is_counted() {
                self.first = at(0);
            }
            self.last = at(len - 1);
        }
        self.counted += len as u64;
        self.samples += len as u64;
    }

    fn add_counter(&mut self, values: &[f64]) {
        let before = if self.is_counted() {
            Some(self.last)
        } else {
            self.previous
        };
        if let Some(before) = before {
            self.increase += counter_step(before.value, values[0]);
        }
        self.increase += values
            .windows(2)
            .map(|pair| counter_step(pair[0], pair[1]))
            .sum::<f64>();
    }

    fn add_path(&mut self, start: Point, area: f64) {
        if self.is_counted() {
            self.area +=
                kernels::trapezoid(self.last.timestamp, self.last.value, start.timestamp, start.value);
        }
        self.area += area;
    }

    /// Whether the summary of samples says what is needed of them; `first_known` if the bucket has a value
    /// already.
    pub fn can_add_summary(needs: Needs, first_known: bool, summary: &ValueSummary) -> bool {
        if summary.counted == 0 {
            return true;
        }
        let first_known = first_known || !summary.first.is_nan();
        let ends_known = first_known && !summary.last.is_nan();
        let sum_known = summary.sum.is_finite() || !needs.sum;
        !needs.samples() && sum_known && (ends_known || !needs.ends)
    }

    /// Adds `samples` samples, newer than all so far, of which only the summary is known.
    pub fn add_summary(&mut self, needs: Needs, samples: usize, summary: &ValueSummary) {
        if summary.counted == 0 {
            self.add_nan(samples);
            return;
        }
        if needs.ends {
            let at = |value| Point { value, ..NOWHERE };
            if !self.is_counted() {
                self.first = at(summary.first);
            }
            self.last = at(summary.last);
        }
        self.sum.add(summary.sum);
        self.minimum = kernels::lesser(summary.min, self.minimum);
        self.maximum = kernels::greater(summary.max, self.maximum);
        self.counted += summary.counted as u64;
        self.samples += samples as u64;
    }

    /// Adds what rounding has taken from the sum of a summary.
    pub fn add_sum_rest(&mut self, rest: f64) {
        self.sum.add_rest(rest);
    }

    /// Whether the aggregator has a sample to speak of: a bucket without one for any of its aggregators is
    /// not reported.
    pub fn is_valid_for(&self, aggregator: Aggregator) -> bool {
        match aggregator {
            Aggregator::CountAll => self.samples > 0,
            Aggregator::CountNan => self.samples > self.counted,
            _ => self.is_counted(),
        }
    }

    /// The aggregated value; counts and sums of nothing are 0, all else of nothing is NaN. Of the
    /// time-weighted average, which needs its neighbours, it says NaN.
    #[inline]
    pub fn value(&self, aggregator: Aggregator) -> f64 {
        match aggregator {
            Aggregator::Sum => self.sum.value(),
            Aggregator::Count => self.counted as f64,
            Aggregator::CountNan => (self.samples - self.counted) as f64,
            Aggregator::CountAll => self.samples as f64,
            _ if self.counted == 0 => f64::NAN,
            Aggregator::Average => self.sum.mean(self.counted),
            Aggregator::Minimum => self.minimum,
            Aggregator::Maximum => self.maximum,
            Aggregator::Range => self.maximum - self.minimum,
            Aggregator::First => self.first.value,
            Aggregator::Last => self.last.value,
            Aggregator::VariancePopulation => self.moments.variance_population(),
            Aggregator::VarianceSample => self.moments.variance_sample(),
            Aggregator::DeviationPopulation => self.moments.variance_population().sqrt(),
            Aggregator::DeviationSample => self.moments.variance_sample().sqrt(),
            Aggregator::TimeWeightedAverage | Aggregator::Candle => f64::NAN,
            Aggregator::Percentile(percentile) => self
                .sketch
                .as_ref()
                .map_or(f64::NAN, |sketch| sketch.quantile(percentile.share())),
            Aggregator::Increase | Aggregator::Rate => {
                let start = self.previous.unwrap_or(self.first);
                counter_value(aggregator, self.increase, start, self.last)
            }
        }
    }

    /// Appends all values of the aggregator to a row.
    #[inline]
    pub fn push(&self, aggregator: Aggregator, row: &mut Vec<f64>) {
        if aggregator == Aggregator::Candle {
            row.extend(self.candle().to_row());
        } else {
            row.push(self.value(aggregator));
        }
    }

    fn candle(&self) -> Candle {
        if !self.is_counted() {
            return Candle::EMPTY;
        }
        Candle {
            open: self.first.value,
            high: self.maximum,
            low: self.minimum,
            close: self.last.value,
            count: self.counted as f64,
        }
    }
}

/// The summary of a run of values, a good deal faster than [`ValueSummary::of`], and what rounding has taken from its
/// sum; `None` if there are none.
pub fn summary_of(values: &[f64]) -> Option<(ValueSummary, f64)> {
    let (first, last) = (*values.first()?, *values.last()?);
    if kernels::has_nan(values) {
        return Some((ValueSummary::of(values), 0.0));
    }
    let mut compensated = CompensatedSum::default();
    compensated.add_all(values);
    let (sum, rest) = compensated.value_and_rest();
    let (min, max) = kernels::extremes(values);
    let summary = ValueSummary {
        counted: values.len(),
        first,
        last,
        min,
        max,
        sum,
    };
    Some((summary, rest))
}

/// What a counter did in the first bucket that has samples, which waits for the sample before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstCounter {
    first: Point,
    last: Point,
    increase: f64,
}

impl FirstCounter {
    /// The value with the sample before known; a rate is per time unit.
    pub fn value_after(&self, aggregator: Aggregator, before: Point) -> f64 {
        let increase = self.increase + counter_step(before.value, self.first.value);
        counter_value(aggregator, increase, before, self.last)
    }
}

/// The increase or the rate per time unit; NaN where there is nothing to compare with.
fn counter_value(aggregator: Aggregator, increase: f64, from: Point, to: Point) -> f64 {
    if from.timestamp == to.timestamp {
        f64::NAN
    } else if aggregator == Aggregator::Rate {
        increase / kernels::span(from.timestamp, to.timestamp)
    } else {
        increase
    }
}
