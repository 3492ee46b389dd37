//! Loops over runs of values, written in lanes so that the compiler can use vector instructions.

/// Lanes of the wide loops: four vectors of four doubles hide the latency of an addition.
const LANES: usize = 16;
/// Lanes of compensated sums, which have two accumulators and enough arithmetic to hide the latency with
/// fewer.
const SUM_LANES: usize = 8;
/// Values looked at between two chances to stop early.
const SCAN_VALUES: usize = 64;

/// Whether any of the values is NaN.
pub(super) fn has_nan(values: &[f64]) -> bool {
    values
        .chunks(SCAN_VALUES)
        .any(|chunk| chunk.iter().fold(false, |found, value| found | value.is_nan()))
}

/// Smallest and greatest of values that hold no NaN; (infinity, -infinity) for none.
pub(super) fn extremes(values: &[f64]) -> (f64, f64) {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    if !blocks.is_empty() {
        let lanes = LaneExtremes::of(blocks);
        low = fold_halves(lanes.low, lesser);
        high = fold_halves(lanes.high, greater);
    }
    for &value in rest {
        low = lesser(value, low);
        high = greater(value, high);
    }
    (low, high)
}

/// Folds lanes in a few steps, each of which combines the two halves of what is left.
#[inline]
fn fold_halves<const WIDTH: usize>(mut lanes: [f64; WIDTH], mut fold: impl FnMut(f64, f64) -> f64) -> f64 {
    let mut half = WIDTH / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = fold(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Smallest and greatest value of each lane.
struct LaneExtremes {
    low: [f64; LANES],
    high: [f64; LANES],
}

impl LaneExtremes {
    // A function of its own: where the compiler sees what becomes of single lanes it gives up on vectors.
    #[inline(never)]
    fn of(blocks: &[[f64; LANES]]) -> Self {
        let (mut low, mut high) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        for block in blocks {
            for lane in 0..LANES {
                low[lane] = lesser(block[lane], low[lane]);
                high[lane] = greater(block[lane], high[lane]);
            }
        }
        LaneExtremes { low, high }
    }
}

// `f64::min` also handles NaN, which costs two more instructions a value; these are one.
#[inline]
pub(super) fn lesser(left: f64, right: f64) -> f64 {
    if left < right { left } else { right }
}

#[inline]
pub(super) fn greater(left: f64, right: f64) -> f64 {
    if left > right { left } else { right }
}

/// A sum with the rounding errors of its additions (Neumaier 1974), so that small terms survive large ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CompensatedSum {
    sum: f64,
    compensation: f64,
    /// The sum divided by [`OVERFLOW_SCALE`] and its compensation, from when it has overflowed: the mean of large values
    /// is no larger than they are.
    scaled: Option<(f64, f64)>,
}

/// A power of two, so that nothing is rounded.
const OVERFLOW_SCALE: f64 = (1_u128 << 64) as f64;

impl CompensatedSum {
    /// Adds one term.
    #[inline]
    pub fn add(&mut self, value: f64) {
        let (total, error) = two_sum(self.sum, value);
        if !total.is_finite() {
            self.add_scaled(value);
        }
        self.compensation += error;
        self.sum = total;
    }

    #[cold]
    fn add_scaled(&mut self, value: f64) {
        let (before, compensation) = match self.scaled {
            Some(scaled) => scaled,
            None => (self.value() / OVERFLOW_SCALE, 0.0),
        };
        let (scaled, error) = two_sum(before, value / OVERFLOW_SCALE);
        self.scaled = Some((scaled, compensation + error));
    }

    /// The sum divided by the number of its terms, also where the sum overflows.
    #[inline]
    pub fn mean(&self, count: u64) -> f64 {
        let (sum, count) = (self.value(), count as f64);
        match self.scaled {
            Some((scaled, compensation)) if scaled.is_finite() => {
                let quotient = scaled / count;
                let rest = quotient.mul_add(-count, scaled) + compensation;
                let mean = (quotient + rest / count) * OVERFLOW_SCALE;
                mean.clamp(-f64::MAX, f64::MAX)
            }
            _ => sum / count,
        }
    }

    /// Adds all values, in lanes.
    pub fn add_all(&mut self, values: &[f64]) {
        let before = *self;
        self.add_in_lanes(values);
        if !self.sum.is_finite() {
            // Lanes may overflow where the sum in order does not: the order decides.
            *self = before;
            values.iter().for_each(|&value| self.add(value));
        }
    }

    fn add_in_lanes(&mut self, values: &[f64]) {
        let (blocks, rest) = values.as_chunks::<SUM_LANES>();
        if !blocks.is_empty() {
            let lanes = LaneSums::of(blocks);
            let mut compensation = fold_halves(lanes.compensations, |left, right| left + right);
            let sum = fold_halves(lanes.sums, |left, right| {
                let (total, error) = two_sum(left, right);
                compensation += error;
                total
            });
            self.add(sum);
            self.compensation += compensation;
        }
        for &value in rest {
            self.add(value);
        }
    }

    /// The sum as [`CompensatedSum::value`] has it, and what rounding has taken from it.
    pub fn value_and_rest(&self) -> (f64, f64) {
        let value = self.value();
        let (total, rest) = two_sum(self.sum, self.compensation);
        (
            value,
            if rest.is_finite() && total == value {
                rest
            } else {
                0.0
            },
        )
    }

    /// Adds what rounding has taken from a term.
    pub fn add_rest(&mut self, rest: f64) {
        self.compensation += rest;
    }

    /// The sum. Infinite terms and overflow make the compensation meaningless, never the sum.
    #[inline]
    pub fn value(&self) -> f64 {
        if self.compensation.is_finite() {
            self.sum + self.compensation
        } else {
            self.sum
        }
    }
}

/// A sum and its rounding error: Knuth's six operations do without the comparison of Neumaier's three.
#[inline]
fn two_sum(left: f64, right: f64) -> (f64, f64) {
    let total = left + right;
    let added = total - left;
    (total, (left - (total - added)) + (right - added))
}

/// A compensated sum in each lane.
struct LaneSums {
    sums: [f64; SUM_LANES],
    compensations: [f64; SUM_LANES],
}

impl LaneSums {
    // A function of its own for the same reason as that of `LaneExtremes`.
    #[inline(never)]
    fn of(blocks: &[[f64; SUM_LANES]]) -> Self {
        let (mut sums, mut compensations) = ([0.0; SUM_LANES], [0.0; SUM_LANES]);
        for block in blocks {
            for lane in 0..SUM_LANES {
                let (total, error) = two_sum(sums[lane], block[lane]);
                compensations[lane] += error;
                sums[lane] = total;
            }
        }
        LaneSums { sums, compensations }
    }
}

/// Count, mean and sum of squared distances from the mean: runs are summed in two passes and merged after
/// Chan, Golub and LeVeque (1979), so that nothing cancels however far the values are from zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: f64,
    /// The first value: what is computed with are distances from it, which are small or exact.
    origin: f64,
    /// Mean of the distances from the origin.
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Adds a run of values.
    pub fn add_all(&mut self, values: &[f64]) {
        let Some(&first) = values.first() else {
            return;
        };
        if self.count == 0.0 {
            self.origin = first;
        }
        let (origin, count) = (self.origin, values.len() as f64);
        let mean = lane_sum(values, |value| value - origin) / count;
        let squares = lane_sum(values, |value| {
            let distance = (value - origin) - mean;
            distance * distance
        });
        let total = self.count + count;
        let distance = mean - self.mean;
        self.squares += squares + distance * distance * (self.count * count / total);
        self.mean += distance * (count / total);
        self.count = total;
    }

    /// Variance over all values as the population; NaN for none.
    pub fn variance_population(&self) -> f64 {
        self.squares / self.count
    }

    /// Variance with the values as a sample of the population; 0 for one value, NaN for none.
    pub fn variance_sample(&self) -> f64 {
        match self.count {
            0.0 => f64::NAN,
            1.0 => 0.0,
            count => self.squares / (count - 1.0),
        }
    }
}

fn lane_sum(values: &[f64], term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0f64; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += term(block[lane]);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        sums[lane] += term(value);
    }
    fold_halves(sums, |left, right| left + right)
}

/// Area under straight lines from sample to sample, in value times time unit.
pub(super) fn area(timestamps: &[i64], values: &[f64]) -> f64 {
    timestamps
        .windows(2)
        .zip(values.windows(2))
        .map(|(times, ends)| trapezoid(times[0], ends[0], times[1], ends[1]))
        .sum()
}

/// Area under the straight line between two points, `from` not behind `to`.
#[inline]
pub(super) fn trapezoid(from: i64, start: f64, to: i64, end: f64) -> f64 {
    (start * 0.5 + end * 0.5) * span(from, to)
}

/// Time from `from` to `to`, `from` not behind `to`.
#[inline]
pub(super) fn span(from: i64, to: i64) -> f64 {
    to.abs_diff(from) as f64
}

/// Index of the first timestamp behind `last`, searched from `from` with ever longer steps; `guess` samples
/// are expected. The timestamp at `from` must not be behind `last`.
#[inline]
pub(super) fn run_end(timestamps: &[i64], from: usize, guess: usize, last: i64) -> usize {
    let len = timestamps.len();
    if timestamps[len - 1] <= last {
        return len;
    }
    // Regular series have runs of one length, give or take a sample.
    let expected = from + guess;
    if guess > 0 && expected < len && timestamps[expected - 1] <= last && timestamps[expected] > last {
        return expected;
    }
    let (mut low, mut step) = (from, 1);
    while low + step < len && timestamps[low + step] <= last {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(len);
    low + 1 + timestamps[low + 1..high].partition_point(|&timestamp| timestamp <= last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_terms_survive_large_ones() {
        for padding in 0..40 {
            let mut values = vec![0.25; padding];
            values.extend([1.0, 1e100, 1.0, -1e100]);
            let mut sum = CompensatedSum::default();
            sum.add_all(&values);
            assert_eq!(sum.value(), 2.0 + 0.25 * padding as f64);
        }
    }

    #[test]
    fn sums_of_parts_with_their_rests_are_as_exact_as_one() {
        let values: Vec<f64> = (0..1_000)
            .map(|index| f64::from(index * 7 % 997) / 10.0)
            .collect();
        let mut all = CompensatedSum::default();
        all.add_all(&values);
        for parts in [1, 3, 10, 500] {
            let mut sum = CompensatedSum::default();
            for part in values.chunks(values.len() / parts) {
                let mut part_sum = CompensatedSum::default();
                part_sum.add_all(part);
                let (value, rest) = part_sum.value_and_rest();
                assert_eq!(value, part_sum.value());
                sum.add(value);
                sum.add_rest(rest);
            }
            assert_eq!(sum.value(), all.value(), "{parts}");
        }
        let mut infinite = CompensatedSum::default();
        infinite.add_all(&[1.0, f64::INFINITY]);
        assert_eq!(infinite.value_and_rest(), (f64::INFINITY, 0.0));
    }

    #[test]
    fn infinities_sum_as_ieee_says() {
        let sum = |values: &[f64]| {
            let mut sum = CompensatedSum::default();
            sum.add_all(values);
            sum.value()
        };
        assert_eq!(sum(&[1.0, f64::INFINITY, 3.0]), f64::INFINITY);
        assert_eq!(sum(&[f64::NEG_INFINITY; 40]), f64::NEG_INFINITY);
        assert!(sum(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
        assert_eq!(sum(&[f64::MAX; 40]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, -f64::MAX].repeat(40)), 0.0);
    }

    #[test]
    fn means_of_large_values_do_not_overflow() {
        let mean = |values: &[f64]| {
            let mut sum = CompensatedSum::default();
            values.chunks(7).for_each(|run| sum.add_all(run));
            sum.mean(values.len() as u64)
        };
        for count in [1, 3, 40, 1000] {
            assert_eq!(mean(&vec![f64::MAX; count]), f64::MAX);
            assert_eq!(mean(&vec![f64::MIN; count]), f64::MIN);
        }
        let mixed = mean(&[f64::MAX, f64::MAX, f64::MAX, f64::MIN, f64::MIN]);
        assert!((mixed / (f64::MAX / 5.0) - 1.0).abs() < 1e-15, "{mixed}");
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(mean(&[f64::MAX, f64::INFINITY]), f64::INFINITY);
        assert!(mean(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    }

    #[test]
    fn variance_does_not_cancel_far_from_zero() {
        let values: Vec<f64> = (0..1000).map(|index| 1e9 + f64::from(index % 2)).collect();
        let mut moments = Moments::default();
        for run in values.chunks(37) {
            moments.add_all(run);
        }
        assert!((moments.variance_population() - 0.25).abs() < 1e-9);
        assert!(Moments::default().variance_population().is_nan());
        assert!(Moments::default().variance_sample().is_nan());
    }

    #[test]
    fn nan_is_found_wherever_it_is() {
        for len in [1, 3, 64, 65, 200] {
            let mut values = vec![1.0; len];
            assert!(!has_nan(&values));
            for index in 0..len {
                values[index] = f64::NAN;
                assert!(has_nan(&values));
                values[index] = f64::INFINITY;
            }
        }
        assert!(!has_nan(&[]));
    }

    proptest! {
        #[test]
        fn run_ends_agree_with_a_scan(
            steps in prop::collection::vec(1i64..5, 1..200),
            from in 0usize..200,
            guess in 0usize..40,
            reach in 0i64..300,
        ) {
            let timestamps: Vec<i64> = steps
                .iter()
                .scan(0, |now, step| { *now += step; Some(*now) })
                .collect();
            let from = from % timestamps.len();
            let last = timestamps[from] + reach;
            let scanned = timestamps.iter().position(|&each| each > last).unwrap_or(timestamps.len());
            prop_assert_eq!(run_end(&timestamps, from, guess, last), scanned);
        }

        #[test]
        fn extremes_agree_with_a_fold(values in prop::collection::vec(-1e300f64..1e300, 1..100)) {
            let expected = (
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            );
            prop_assert_eq!(extremes(&values), expected);
        }
    }
}
