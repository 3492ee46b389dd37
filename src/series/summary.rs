//! What a chunk knows about its samples without decoding them.

use crate::series::codec::bits::{Reader, put_varint};
use crate::series::error::ChunkError;

/// Count, time range and values of one chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChunkSummary {
    /// Samples in the chunk, at least 1.
    pub count: usize,
    pub first_timestamp: i64,
    pub last_timestamp: i64,
    pub values: ValueSummary,
}

/// Aggregates of a run of values. NaN is left out of all but `first` and `last`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueSummary {
    /// Values that are not NaN.
    pub counted: usize,
    pub first: f64,
    pub last: f64,
    /// NaN if nothing was counted.
    pub min: f64,
    /// NaN if nothing was counted.
    pub max: f64,
    /// 0 if nothing was counted. Decimals are summed exactly, other values with Neumaier's compensation.
    pub sum: f64,
}

impl ValueSummary {
    /// Summarises `values`, which must not be empty.
    pub fn of(values: &[f64]) -> Self {
        let (mut min, mut max, mut counted) = (f64::NAN, f64::NAN, 0);
        let (mut sum, mut compensation) = (0.0f64, 0.0f64);
        for &value in values {
            if value.is_nan() {
                continue;
            }
            counted += 1;
            min = min.min(value);
            max = max.max(value);
            let total = sum + value;
            compensation += if sum.abs() >= value.abs() {
                (sum - total) + value
            } else {
                (value - total) + sum
            };
            sum = total;
        }
        // An infinite sum turns its compensation into NaN.
        let sum = if sum.is_finite() { sum + compensation } else { sum };
        let (first, last) = (values[0], values[values.len() - 1]);
        ValueSummary {
            counted,
            first,
            last,
            min,
            max,
            sum,
        }
    }

    /// The summary of `count` times the same value.
    pub fn of_constant(value: f64, count: usize) -> Self {
        if value.is_nan() {
            return ValueSummary {
                counted: 0,
                first: value,
                last: value,
                min: value,
                max: value,
                sum: 0.0,
            };
        }
        let sum = value * count as f64;
        ValueSummary {
            counted: count,
            first: value,
            last: value,
            min: value,
            max: value,
            sum,
        }
    }

    pub(super) fn write(&self, count: usize, out: &mut Vec<u8>) {
        put_varint(out, (count - self.counted) as u64);
        for value in [self.first, self.last, self.min, self.max, self.sum] {
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Self, ChunkError> {
        let counted = count - reader.count(count)?;
        let mut value = || reader.word().map(f64::from_bits);
        Ok(ValueSummary {
            counted,
            first: value()?,
            last: value()?,
            min: value()?,
            max: value()?,
            sum: value()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        let summary = ValueSummary::of(&[1.0, 1e100, 1.0, -1e100]);
        assert_eq!((summary.sum, summary.min, summary.max), (2.0, -1e100, 1e100));
    }

    #[test]
    fn nan_is_left_out() {
        let summary = ValueSummary::of(&[f64::NAN, 3.0, 1.0, f64::NAN]);
        assert_eq!(
            (summary.counted, summary.min, summary.max, summary.sum),
            (2, 1.0, 3.0, 4.0)
        );
        assert!(summary.first.is_nan() && summary.last.is_nan());
        let nothing = ValueSummary::of(&[f64::NAN]);
        assert!(nothing.min.is_nan() && nothing.max.is_nan());
        assert_eq!((nothing.counted, nothing.sum), (0, 0.0));
    }

    #[test]
    fn infinities_sum_as_ieee_says() {
        assert_eq!(ValueSummary::of(&[1.0, f64::INFINITY]).sum, f64::INFINITY);
        assert!(ValueSummary::of(&[f64::NEG_INFINITY, f64::INFINITY]).sum.is_nan());
        assert_eq!(ValueSummary::of(&[f64::MAX, f64::MAX]).sum, f64::INFINITY);
    }

    #[test]
    fn constants_are_summarised_in_closed_form() {
        let (closed, counted) = (ValueSummary::of_constant(2.5, 40), ValueSummary::of(&[2.5; 40]));
        assert_eq!(closed, counted);
    }
}
