//! GROUPBY ... REDUCE: several series become one, timestamp by timestamp.

use crate::aggregate::aggregator::{Aggregator, Needs};
use crate::aggregate::rows::{Rows, merge_by_timestamp};
use crate::aggregate::statistics::Statistics;

/// Reduces the rows of several series to one row per timestamp that any of them has. All rows have one
/// value, ascend and hold no timestamp twice. NaN is left out as in buckets; a timestamp that has nothing
/// else is reported with 0 for counts and sums and NaN for all others. The reducer must satisfy
/// [`Aggregator::can_reduce`].
pub fn reduce(groups: &[Rows], reducer: Aggregator) -> Rows {
    debug_assert!(reducer.can_reduce() && groups.iter().all(|rows| rows.width == 1));
    let needs = Needs::of(&[reducer]);
    let longest = groups.iter().map(Rows::len).max().unwrap_or(0);
    let mut reduced = Rows::with_capacity(1, longest);
    let mut reduction = Reduction::default();
    merge_by_timestamp(groups, |timestamp, _, row| {
        if reduced.timestamps.last() != Some(&timestamp) {
            if !reduced.timestamps.is_empty() {
                reduced.values.push(reduction.take(needs, reducer));
            }
            reduced.timestamps.push(timestamp);
        }
        reduction.add(row[0]);
    });
    if !reduced.timestamps.is_empty() {
        reduced.values.push(reduction.take(needs, reducer));
    }
    reduced
}

/// Values of one timestamp.
#[derive(Default)]
struct Reduction {
    values: Vec<f64>,
    nan: usize,
}

impl Reduction {
    fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else {
            self.values.push(value);
        }
    }

    fn take(&mut self, needs: Needs, reducer: Aggregator) -> f64 {
        let mut statistics = Statistics::new();
        statistics.add_nan(self.nan);
        if !self.values.is_empty() {
            statistics.add_run(needs, &[], &self.values);
        }
        self.values.clear();
        self.nan = 0;
        statistics.value(reducer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Vec<Rows> {
        vec![
            Rows::of_samples(vec![1, 2, 4], vec![1.0, 10.0, f64::NAN]),
            Rows::of_samples(vec![], vec![]),
            Rows::of_samples(vec![2, 3], vec![30.0, 5.0]),
            Rows::of_samples(vec![1, 2], vec![f64::NAN, 20.0]),
        ]
    }

    #[test]
    fn each_timestamp_is_reduced_by_itself() {
        for (reducer, expected) in [
            (Aggregator::Sum, [1.0, 60.0, 5.0, 0.0]),
            (Aggregator::Count, [1.0, 3.0, 1.0, 0.0]),
            (Aggregator::CountAll, [2.0, 3.0, 1.0, 1.0]),
            (Aggregator::CountNan, [1.0, 0.0, 0.0, 1.0]),
        ] {
            let reduced = reduce(&groups(), reducer);
            assert_eq!(
                (reduced.timestamps.as_slice(), reduced.width),
                (&[1, 2, 3, 4][..], 1)
            );
            assert_eq!(reduced.values, expected, "{reducer:?}");
        }
        for (reducer, expected) in [
            (Aggregator::Average, [1.0, 20.0, 5.0]),
            (Aggregator::Maximum, [1.0, 30.0, 5.0]),
            (Aggregator::Range, [0.0, 20.0, 0.0]),
            (Aggregator::VarianceSample, [0.0, 100.0, 0.0]),
        ] {
            let reduced = reduce(&groups(), reducer);
            assert_eq!(reduced.values[..3], expected, "{reducer:?}");
            assert!(reduced.values[3].is_nan());
        }
    }

    #[test]
    fn nothing_reduces_to_nothing() {
        assert_eq!(reduce(&[], Aggregator::Sum).len(), 0);
        assert_eq!(
            reduce(&[Rows::of_samples(vec![], vec![])], Aggregator::Sum).len(),
            0
        );
    }
}
