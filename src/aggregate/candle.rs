//! Candles: what a value did in a bucket, and candles of candles.

use crate::aggregate::bucketing::{Bucket, BucketTimestamp, Bucketing};
use crate::aggregate::rows::Rows;

/// Values of a candle in a row: open, high, low, close, count.
pub const CANDLE_WIDTH: usize = 5;

/// First, greatest, smallest and last value of a bucket and their number; NaN and 0 without any.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candle {
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub count: f64,
}

impl Candle {
    /// Of no values.
    pub const EMPTY: Candle = Candle {
        open: f64::NAN,
        high: f64::NAN,
        low: f64::NAN,
        close: f64::NAN,
        count: 0.0,
    };

    /// The values in the order of a row.
    pub fn to_row(self) -> [f64; CANDLE_WIDTH] {
        [self.open, self.high, self.low, self.close, self.count]
    }

    /// Reads the values of a row.
    pub fn from_row([open, high, low, close, count]: [f64; CANDLE_WIDTH]) -> Self {
        Candle {
            open,
            high,
            low,
            close,
            count,
        }
    }

    /// Takes a newer candle in: the result is the candle of all values of both.
    pub fn merge(&mut self, newer: &Candle) {
        if newer.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *newer;
            return;
        }
        self.high = self.high.max(newer.high);
        self.low = self.low.min(newer.low);
        self.close = newer.close;
        self.count += newer.count;
    }
}

/// Aggregates ascending rows of candles into wider buckets. The rows carry the timestamps at which their
/// buckets start; every bucket should be made of whole ones. Buckets without values are left out.
pub fn merge_candles(candles: &Rows, bucketing: &Bucketing, which: BucketTimestamp) -> Rows {
    let mut merged = Rows::with_capacity(CANDLE_WIDTH, 0);
    let (rows, _) = candles.values.as_chunks::<CANDLE_WIDTH>();
    let floor = if candles.timestamps.first().is_some_and(|&first| first < 0) {
        i64::MIN
    } else {
        0
    };
    let mut open: Option<(Bucket, Candle)> = None;
    let mut close = |bucket: Bucket, candle: Candle| {
        if candle.count > 0.0 {
            merged
                .timestamps
                .push(bucketing.reported(bucket.start, floor, which));
            merged.values.extend(candle.to_row());
        }
    };
    for (&timestamp, &row) in candles.timestamps.iter().zip(rows) {
        let candle = Candle::from_row(row);
        match &mut open {
            Some((bucket, sum)) if bucket.contains(timestamp) => sum.merge(&candle),
            _ => {
                if let Some((bucket, sum)) = open.replace((bucketing.bucket_of(timestamp), candle)) {
                    close(bucket, sum);
                }
            }
        }
    }
    if let Some((bucket, sum)) = open {
        close(bucket, sum);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{AggregationSpec, Aggregator, BucketAggregation, Surroundings};
    use proptest::prelude::*;

    fn candles(samples: &[(i64, f64)], width: i64) -> Rows {
        let mut aggregation = BucketAggregation::new(AggregationSpec {
            aggregators: vec![Aggregator::Candle],
            bucketing: Bucketing::fixed(width, 0).expect("positive width"),
            bucket_timestamp: BucketTimestamp::Start,
            empty: false,
        });
        let (timestamps, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
        aggregation.add_columns(&timestamps, &values);
        aggregation
            .finish(&Surroundings::default(), None, false)
            .expect("no empty buckets")
    }

    #[test]
    fn a_candle_has_open_high_low_close_and_count() {
        let rows = candles(
            &[(0, f64::NAN), (1, 3.0), (2, 9.0), (3, 1.0), (4, 4.0), (12, 7.0)],
            10,
        );
        assert_eq!(rows.timestamps, [0, 10]);
        assert_eq!(rows.row(0), [3.0, 9.0, 1.0, 4.0, 4.0]);
        assert_eq!(rows.row(1), [7.0, 7.0, 7.0, 7.0, 1.0]);
    }

    proptest! {
        #[test]
        fn candles_of_candles_are_candles(
            steps in prop::collection::vec((1i64..9, -5.0f64..5.0), 0..100),
            width in 1i64..8,
            factor in 1i64..6,
        ) {
            let mut now = 0;
            let samples: Vec<(i64, f64)> = steps
                .into_iter()
                .map(|(step, value)| {
                    now += step;
                    (now, value)
                })
                .collect();
            let wide = Bucketing::fixed(width * factor, 0).expect("positive width");
            let merged = merge_candles(&candles(&samples, width), &wide, BucketTimestamp::Start);
            prop_assert_eq!(merged, candles(&samples, width * factor));
        }
    }
}
