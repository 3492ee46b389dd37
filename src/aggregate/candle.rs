//! Candles: what a value did in a bucket.

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
}

#[cfg(test)]
mod tests {
    use crate::aggregate::{
        AggregationSpec, Aggregator, BucketAggregation, BucketTimestamp, Bucketing, Rows, Surroundings,
    };

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
}
