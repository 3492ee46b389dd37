//! What every aggregator means, written for clearness, not for speed: the engine is tested against it.

use std::collections::BTreeMap;

use crate::aggregate::{AggregationSpec, Aggregator, BucketTimestamp, Bucketing, Surroundings};
use crate::series::Sample;

pub(super) const ALL: [Aggregator; 17] = [
    Aggregator::Average,
    Aggregator::Sum,
    Aggregator::Minimum,
    Aggregator::Maximum,
    Aggregator::Range,
    Aggregator::Count,
    Aggregator::First,
    Aggregator::Last,
    Aggregator::DeviationPopulation,
    Aggregator::DeviationSample,
    Aggregator::VariancePopulation,
    Aggregator::VarianceSample,
    Aggregator::TimeWeightedAverage,
    Aggregator::CountNan,
    Aggregator::CountAll,
    Aggregator::Increase,
    Aggregator::Rate,
];

/// A query and the series it is put to.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub samples: Vec<(i64, f64)>,
    pub from: i64,
    pub to: i64,
    pub width: i64,
    pub align: i64,
    pub aggregators: Vec<Aggregator>,
    pub empty: bool,
    pub limit: usize,
    pub reverse: bool,
}

impl Case {
    fn start_of(&self, timestamp: i64) -> i64 {
        timestamp - (timestamp - self.align).rem_euclid(self.width)
    }

    pub fn spec(&self) -> AggregationSpec {
        AggregationSpec {
            aggregators: self.aggregators.clone(),
            bucketing: Bucketing::fixed(self.width, self.align).expect("width is positive"),
            bucket_timestamp: BucketTimestamp::Start,
            empty: self.empty,
        }
    }

    pub fn queried(&self) -> Vec<(i64, f64)> {
        let inside = |&&(timestamp, _): &&(i64, f64)| (self.from..=self.to).contains(&timestamp);
        self.samples.iter().filter(inside).copied().collect()
    }

    fn numbers(&self) -> Vec<(i64, f64)> {
        let number = |&&(_, value): &&(i64, f64)| !value.is_nan();
        self.samples.iter().filter(number).copied().collect()
    }

    pub fn surroundings(&self) -> Surroundings {
        let sample = |(timestamp, value)| Sample::new(timestamp, value);
        let numbers = self.numbers();
        Surroundings {
            from: self.from,
            to: self.to,
            before: numbers
                .iter()
                .rev()
                .find(|point| point.0 < self.from)
                .copied()
                .map(sample),
            after: numbers
                .iter()
                .find(|point| point.0 > self.to)
                .copied()
                .map(sample),
        }
    }

    /// Mean over time of the bucket: the whole part of it that is queried and lies between two samples.
    fn average_over_time(&self, start: i64) -> f64 {
        let (low, high) = (start.max(self.from), (start + self.width).min(self.to));
        let numbers = self.numbers();
        let inside: Vec<_> = numbers
            .iter()
            .filter(|point| self.start_of(point.0) == start && (self.from..=self.to).contains(&point.0))
            .collect();
        let (mut area, mut covered) = (0.0, 0.0);
        for pair in numbers.windows(2) {
            let ((left, left_value), (right, right_value)) = (pair[0], pair[1]);
            let (from, to) = (left.max(low), right.min(high));
            if from < to {
                let slope = (right_value - left_value) / (right - left) as f64;
                let middle = (from + to) as f64 / 2.0 - left as f64;
                area += (left_value + slope * middle) * (to - from) as f64;
                covered += (to - from) as f64;
            }
        }
        match (inside.last(), covered) {
            (Some(last), 0.0) => last.1,
            (None, _) if covered < (high - low) as f64 || covered == 0.0 => self.at_instant(low, high),
            _ => area / covered,
        }
    }

    /// Of a bucket whose queried part has no width: the line at that instant.
    fn at_instant(&self, low: i64, high: i64) -> f64 {
        let numbers = self.numbers();
        let left = numbers.iter().rev().find(|point| point.0 <= low);
        let right = numbers.iter().find(|point| point.0 >= high);
        match (left, right) {
            (Some(left), Some(right)) if low == high && left.0 < right.0 => {
                left.1 + (right.1 - left.1) * (low - left.0) as f64 / (right.0 - left.0) as f64
            }
            _ => f64::NAN,
        }
    }

    fn value(&self, start: i64, bucket: &[(i64, f64)], aggregator: Aggregator) -> f64 {
        let values: Vec<f64> = bucket
            .iter()
            .map(|point| point.1)
            .filter(|value| !value.is_nan())
            .collect();
        let count = values.len() as f64;
        let sum: f64 = values.iter().sum();
        let squares: f64 = values.iter().map(|value| (value - sum / count).powi(2)).sum();
        let least = values.iter().copied().fold(f64::NAN, f64::min);
        let greatest = values.iter().copied().fold(f64::NAN, f64::max);
        let sample = if values.len() == 1 {
            0.0
        } else {
            squares / (count - 1.0)
        };
        match aggregator {
            Aggregator::Count => count,
            Aggregator::CountAll => bucket.len() as f64,
            Aggregator::CountNan => bucket.len() as f64 - count,
            Aggregator::Sum => sum,
            Aggregator::TimeWeightedAverage => self.average_over_time(start),
            Aggregator::Last => {
                let past = self
                    .numbers()
                    .into_iter()
                    .rev()
                    .find(|point| point.0 < (start + self.width).min(self.to + 1));
                past.map_or(f64::NAN, |point| point.1)
            }
            _ if values.is_empty() => f64::NAN,
            Aggregator::Average => sum / count,
            Aggregator::Minimum => least,
            Aggregator::Maximum => greatest,
            Aggregator::Range => greatest - least,
            Aggregator::First => values[0],
            Aggregator::VariancePopulation => squares / count,
            Aggregator::VarianceSample => sample,
            Aggregator::DeviationPopulation => (squares / count).sqrt(),
            Aggregator::DeviationSample => sample.sqrt(),
            Aggregator::Increase | Aggregator::Rate => self.counter(aggregator, start, bucket),
            Aggregator::Candle | Aggregator::Percentile(_) => f64::NAN,
        }
    }

    /// Steps up from the sample before the bucket to its last, those down being resets to 0.
    fn counter(&self, aggregator: Aggregator, start: i64, bucket: &[(i64, f64)]) -> f64 {
        let numbers = self.numbers();
        let first = bucket
            .iter()
            .find(|point| !point.1.is_nan())
            .map_or(start, |point| point.0);
        let before = numbers.iter().rev().find(|point| point.0 < first);
        let inside = bucket.iter().filter(|point| !point.1.is_nan());
        let path: Vec<(i64, f64)> = before.into_iter().chain(inside).copied().collect();
        let (Some(from), Some(to)) = (path.first(), path.last().filter(|_| path.len() > 1)) else {
            return f64::NAN;
        };
        let step = |pair: &[(i64, f64)]| {
            if pair[1].1 < pair[0].1 {
                pair[1].1
            } else {
                pair[1].1 - pair[0].1
            }
        };
        let increase: f64 = path.windows(2).map(step).sum();
        match aggregator {
            Aggregator::Rate => increase / ((to.0 - from.0) as f64 / 1e3),
            _ => increase,
        }
    }

    /// Starts of the buckets that are reported, samples or not.
    fn reported(&self, buckets: &BTreeMap<i64, Vec<(i64, f64)>>) -> Vec<i64> {
        let has_sample = |bucket: &Vec<(i64, f64)>| {
            let nan = bucket.iter().filter(|point| point.1.is_nan()).count();
            self.aggregators.iter().any(|aggregator| match aggregator {
                Aggregator::CountAll => true,
                Aggregator::CountNan => nan > 0,
                _ => nan < bucket.len(),
            })
        };
        if !self.empty {
            return buckets
                .iter()
                .filter(|entry| has_sample(entry.1))
                .map(|entry| *entry.0)
                .collect();
        }
        let around = self.surroundings();
        let numbers = self.numbers();
        let mut first = buckets.keys().next().copied();
        let mut last = buckets.keys().next_back().copied();
        if around.before.is_some() && numbers.iter().any(|point| point.0 >= self.from) {
            first = Some(self.start_of(self.from)).filter(|_| first.is_some() || around.after.is_some());
        }
        if around.after.is_some() && numbers.iter().any(|point| point.0 <= self.to) {
            last = Some(self.start_of(self.to)).filter(|_| last.is_some() || around.before.is_some());
        }
        match (first, last) {
            (Some(first), Some(last)) => (first..=last).step_by(self.width as usize).collect(),
            _ => Vec::new(),
        }
    }

    pub fn expected(&self) -> Vec<(i64, Vec<f64>)> {
        let mut buckets: BTreeMap<i64, Vec<(i64, f64)>> = BTreeMap::new();
        for point in self.queried() {
            buckets.entry(self.start_of(point.0)).or_default().push(point);
        }
        let mut rows: Vec<_> = self
            .reported(&buckets)
            .into_iter()
            .map(|start| {
                let bucket = buckets.get(&start).map_or(&[][..], Vec::as_slice);
                let value = |&aggregator: &Aggregator| self.value(start, bucket, aggregator);
                (start, self.aggregators.iter().map(value).collect())
            })
            .collect();
        if self.reverse {
            rows.reverse();
        }
        rows.truncate(self.limit);
        rows
    }
}
