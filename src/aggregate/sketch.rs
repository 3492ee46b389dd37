//! Quantiles from a histogram with logarithmic bins, so that sketches of parts merge into the sketch of the
//! whole.
//!
//! The idea is DDSketch (Masson, Rim and Lee, VLDB 2019): a bin holds the values whose logarithm rounds to
//! its number, and its middle is within 1 % of each of them. Bins are never collapsed, so the bound holds
//! for every quantile; all doubles of one sign need 73,000 bins.

/// Greatest relative distance of an answer from the value of that rank.
pub const SKETCH_ERROR_RELATIVE: f64 = 0.01;
/// Ratio of the bounds of a bin.
const RATIO: f64 = (1.0 + SKETCH_ERROR_RELATIVE) / (1.0 - SKETCH_ERROR_RELATIVE);

/// Counts of values by logarithm. NaN is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    negative: Bins,
    zeros: u64,
    positive: Bins,
    count: u64,
    /// Meaningless while nothing is counted.
    minimum: f64,
    maximum: f64,
}

/// Counts of consecutive bins.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bins {
    /// Number of the first bin.
    first: i32,
    counts: Vec<u64>,
}

impl Bins {
    fn add(&mut self, bin: i32, count: u64) {
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let missing = (self.first - bin) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bin;
        }
        let index = (bin - self.first) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += count;
    }

    /// Bins that hold something, in ascending order.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> {
        let numbered = self.counts.iter().enumerate();
        numbered
            .filter(|(_, count)| **count > 0)
            .map(|(index, &count)| (self.first + index as i32, count))
    }
}

/// Number of the bin of a positive value. Infinity goes with the greatest double.
fn bin_of(value: f64) -> i32 {
    (value.min(f64::MAX).ln() / RATIO.ln()).ceil() as i32
}

/// The value that is equally far, relatively, from both bounds of a bin.
fn middle_of(bin: i32) -> f64 {
    // The exponent is brought down a little, for the bound of the last bin is no double.
    let half = (f64::from(bin) * 0.5 * RATIO.ln()).exp();
    half * (2.0 / (1.0 + RATIO)) * half
}

impl Sketch {
    /// Counts one value.
    pub fn add(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        if value > 0.0 {
            self.positive.add(bin_of(value), 1);
        } else if value < 0.0 {
            self.negative.add(bin_of(-value), 1);
        } else {
            self.zeros += 1;
        }
        self.widen(value, value);
        self.count += 1;
    }

    fn widen(&mut self, minimum: f64, maximum: f64) {
        let is_first = self.count == 0;
        self.minimum = if is_first {
            minimum
        } else {
            self.minimum.min(minimum)
        };
        self.maximum = if is_first {
            maximum
        } else {
            self.maximum.max(maximum)
        };
    }

    /// Forgets everything but the memory for it.
    pub(super) fn clear(&mut self) {
        self.positive.counts.clear();
        self.negative.counts.clear();
        self.zeros = 0;
        self.count = 0;
    }

    /// About the value that `share` (0 to 1) of the others are not above: within 1 % of the value at rank
    /// `share * (count - 1)`, rounded down. NaN of nothing.
    pub fn quantile(&self, share: f64) -> f64 {
        if self.count == 0 {
            return f64::NAN;
        }
        let rank = (share.clamp(0.0, 1.0) * (self.count - 1) as f64) as u64;
        if rank == 0 {
            return self.minimum;
        }
        if rank >= self.count - 1 {
            return self.maximum;
        }
        let negative = self
            .negative
            .iter()
            .rev()
            .map(|(bin, count)| (-middle_of(bin), count));
        let positive = self.positive.iter().map(|(bin, count)| (middle_of(bin), count));
        let mut seen = 0;
        for (value, count) in negative.chain([(0.0, self.zeros)]).chain(positive) {
            seen += count;
            if seen > rank {
                return value.clamp(self.minimum, self.maximum);
            }
        }
        self.maximum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|&value| sketch.add(value));
        sketch
    }

    #[test]
    fn nothing_has_no_quantiles_and_one_value_is_exact() {
        assert!(sketch(&[f64::NAN]).quantile(0.5).is_nan());
        for value in [0.0, -3.25, 1e-320, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(sketch(&[value]).quantile(0.5), value);
        }
    }

    #[test]
    fn all_doubles_fit() {
        let sketch = sketch(&[
            f64::MAX,
            5e-324,
            -f64::MAX,
            -5e-324,
            0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ]);
        assert!(sketch.positive.counts.len() < 73_000);
        assert_eq!(sketch.quantile(0.5), 0.0);
        assert!((sketch.quantile(5.0 / 6.0) / f64::MAX - 1.0).abs() <= 0.0101);
        assert_eq!(sketch.quantile(1.0), f64::INFINITY);
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![-1e3f64..1e3, -1e-9f64..1e-9, -1e30f64..1e30, Just(0.0)];
        prop::collection::vec(value, 1..200)
    }

    proptest! {
        #[test]
        fn quantiles_are_within_their_error(values in values(), share in 0.0f64..=1.0) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let exact = sorted[(share * (sorted.len() - 1) as f64) as usize];
            let answer = sketch(&values).quantile(share);
            let allowed = exact.abs() * SKETCH_ERROR_RELATIVE * 1.000_001;
            prop_assert!((answer - exact).abs() <= allowed, "{answer} {exact}");
        }
    }
}
