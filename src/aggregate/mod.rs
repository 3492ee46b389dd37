//! Aggregation of samples into buckets of time, and what is done with rows of several series. Numbers only,
//! no I/O.
//!
//! A [`BucketAggregation`] is fed with decoded columns or with chunk summaries in ascending order and
//! answers with [`Rows`]. Differences from RedisTimeSeries, all of them in favour of the exact result: sums
//! are compensated, variances are computed in two passes and merged after Chan.
//!
//! The rules for NaN, as RedisTimeSeries has them since 8.6: a bucket is reported if at least one of its
//! aggregators has a sample to speak of (`countall` any, `countnan` a NaN, all others a number) or if EMPTY
//! is given. In a reported bucket, an aggregator without a sample answers as for an empty bucket: 0 for
//! sums and counts, the value before the bucket for `last`, the interpolated value for `twa`, NaN for all
//! others.

mod aggregator;
mod asof;
mod bucketing;
mod buckets;
mod calendar;
mod candle;
mod duration;
mod error;
mod filter;
mod kernels;
mod reduce;
mod report;
mod rows;
mod sketch;
mod statistics;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod reference;

pub use aggregator::{Aggregator, Percentile};
pub use asof::{AsofDirection, join_asof, join_inner};
pub use bucketing::{Bucket, BucketTimestamp, Bucketing, BucketingError};
pub use buckets::{AggregationSpec, BucketAggregation};
pub use calendar::{Calendar, Period};
pub use candle::{CANDLE_WIDTH, Candle};
pub use duration::parse_duration;
pub use error::AggregateError;
pub use filter::{filter_by_quality, filter_by_timestamps, filter_by_value};
pub use reduce::reduce;
pub use report::Surroundings;
pub use rows::{Rows, join_rows};
pub use sketch::{SKETCH_ERROR_RELATIVE, Sketch};
pub use statistics::summary_of;

/// Values of empty buckets that one query may report: 64 MiB of them.
pub const EMPTY_VALUES_MAX: usize = 8 * 1024 * 1024;
