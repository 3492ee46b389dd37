//! The mathematics of time series: samples, columns, chunks and their codecs. Bytes and numbers only, no I/O.
//!
//! A head collects samples in [`Columns`]; [`encode`] turns a run of them into a chunk, [`decode`] and its
//! column-at-a-time relatives turn a chunk back, [`summary`] answers without decoding, and [`merge_newer`]
//! lays late samples over older ones.

pub mod candle_series;
pub mod chunk;
pub mod codec;
pub mod columns;
pub mod compaction;
pub mod defaults;
pub mod error;
pub mod merge;
pub mod payload;
pub mod properties;
pub mod sample;
pub mod search;
pub mod summary;

#[cfg(test)]
mod chunk_tests;
#[cfg(test)]
mod format_tests;

pub use candle_series::{CANDLE_PARTS, CANDLE_SUFFIX_MAX_BYTES};
pub use chunk::{
    CHUNK_SAMPLES_MAX, EncodeScratch, decode, decode_timestamps, encode, encode_cold, summary, time_range,
};
pub use columns::{Columns, Qualities};
pub use compaction::CompactionPolicy;
pub use defaults::SeriesDefaults;
pub use error::ChunkError;
pub use merge::{merge_newer, sort_into, sorted};
pub use properties::{DuplicatePolicy, Encoding, Ignore, Label, Rule, SeriesProperties};
pub use sample::{DEFAULT_QUALITY, Sample};
pub use search::Search;
pub use summary::{ChunkSummary, ValueSummary};
