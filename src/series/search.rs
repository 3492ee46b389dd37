//! Finding timestamps where they would be if all steps were alike: mostly with one look at memory that no cache holds.

use std::ops::Range;

/// First step of the search beside the place where a timestamp is expected: where a range ends between two samples, the
/// one before is looked for, and further away the next line of the cache would have to come from memory.
const NEAR_SAMPLES: usize = 1;

/// Ascending timestamps to be searched, with the outer ones at hand.
#[derive(Clone, Copy)]
pub struct Search<'a> {
    timestamps: &'a [i64],
    first: i64,
    last: i64,
}

impl<'a> Search<'a> {
    /// In these timestamps.
    #[inline]
    pub fn new(timestamps: &'a [i64]) -> Search<'a> {
        let first = timestamps.first().copied().unwrap_or(i64::MAX);
        let last = timestamps.last().copied().unwrap_or(i64::MIN);
        Search::between(timestamps, first, last)
    }

    /// In timestamps of which the outer ones are known; `i64::MAX` and `i64::MIN` where there are none.
    #[inline]
    pub fn between(timestamps: &'a [i64], first: i64, last: i64) -> Search<'a> {
        Search {
            timestamps,
            first,
            last,
        }
    }

    /// Index of the sample at a time between the first and the last one if all steps were alike.
    #[inline]
    pub fn guess(&self, timestamp: i64) -> usize {
        let share = timestamp.wrapping_sub(self.first) as u64 as f64
            / self.last.wrapping_sub(self.first) as u64 as f64;
        (self.timestamps.len().saturating_sub(1) as f64 * share + 0.5) as usize
    }

    /// Index of the first one at or after `timestamp`; their number if there is none.
    #[inline]
    pub fn lower_bound(&self, timestamp: i64) -> usize {
        if timestamp <= self.first {
            return 0;
        }
        if timestamp > self.last {
            return self.timestamps.len();
        }
        let guess = self.guess(timestamp);
        // A branch of its own: values are then looked up before the timestamp has come from memory.
        if self.timestamps.get(guess) == Some(&timestamp) {
            return guess;
        }
        self.lower_bound_near(guess, timestamp)
    }

    /// Index behind the last one at or before `timestamp`; 0 if there is none.
    #[inline]
    pub fn upper_bound(&self, timestamp: i64) -> usize {
        if timestamp >= self.last {
            return self.timestamps.len();
        }
        if timestamp < self.first {
            return 0;
        }
        let guess = self.guess(timestamp);
        if self.timestamps.get(guess) == Some(&timestamp) {
            return guess + 1;
        }
        self.lower_bound_near(guess, timestamp.saturating_add(1))
    }

    /// Indices of those from `from` to `to`, both included.
    #[inline]
    pub fn range(&self, from: i64, to: i64) -> Range<usize> {
        let start = self.lower_bound(from);
        let end = if from == to && self.timestamps.get(start) == Some(&to) {
            start + 1
        } else {
            self.upper_bound(to)
        };
        start..end.max(start)
    }

    fn lower_bound_near(&self, guess: usize, timestamp: i64) -> usize {
        let timestamps = self.timestamps;
        let guess = guess.min(timestamps.len());
        let (mut low, mut high, mut step) = (guess, guess, NEAR_SAMPLES);
        let is_before = |index: usize| timestamps.get(index).is_some_and(|each| *each < timestamp);
        if is_before(guess) {
            while is_before(high) {
                low = high;
                high = timestamps.len().min(high + step);
                step *= 2;
            }
        } else {
            while low > 0 && !is_before(low) {
                high = low;
                low = low.saturating_sub(step);
                step *= 2;
            }
        }
        let near = timestamps.get(low..high).unwrap_or(&[]);
        low + near.partition_point(|each| *each < timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extremes_of_time_are_found() {
        let times = [i64::MIN, -1, 0, i64::MAX];
        let search = Search::new(&times);
        for (index, at) in times.into_iter().enumerate() {
            assert_eq!(search.range(at, at), index..index + 1);
        }
        assert_eq!(search.range(i64::MIN, i64::MAX), 0..4);
        assert_eq!(search.range(1, 5), 3..3);
        assert_eq!(Search::new(&[]).range(i64::MIN, i64::MAX), 0..0);
        assert_eq!(Search::new(&[7]).range(7, 7), 0..1);
        assert_eq!(Search::new(&[7]).range(8, 9), 1..1);
    }

    proptest! {
        #[test]
        fn a_timestamp_is_found_however_the_steps_vary(
            mut steps in prop::collection::vec(prop_oneof![1i64..4, 1i64..1_000_000_000_000], 0..300),
            target in any::<prop::sample::Index>(), off in -2i64..3, length in -5i64..2_000_000_000_000,
        ) {
            steps.iter_mut().fold(0, |sum, step| { *step += sum; *step });
            let at = if steps.is_empty() { 5 } else { steps[target.index(steps.len())] } + off;
            let search = Search::new(&steps);
            prop_assert_eq!(search.lower_bound(at), steps.partition_point(|each| *each < at));
            prop_assert_eq!(search.upper_bound(at), steps.partition_point(|each| *each <= at));
            for to in [at, at + length] {
                let start = steps.partition_point(|each| *each < at);
                let end = steps.partition_point(|each| *each <= to);
                prop_assert_eq!(search.range(at, to), start..end.max(start));
            }
        }
    }
}
