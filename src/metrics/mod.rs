//! Latency histograms, their dumps in HdrHistogram's file formats, Redis's views of them, and plain counters.
//!
//! A leaf module: it knows commands only as indexes, and names only as the strings it is handed. Every lane
//! owns one [`LatencyTable`] and one [`LaneCounters`], writes them without synchronisation, and clones them
//! for whoever asks; the asker joins the clones with `merge_from`.

pub mod counters;
pub mod dump;
pub mod histogram_log;
pub mod latency;
pub mod percentile_table;
pub mod redis_view;
pub mod replace_file;
pub mod utc;

pub use counters::LaneCounters;
pub use dump::{DumpReport, Interval, dump};
pub use latency::{CommandCounters, LatencySettings, LatencyTable, SettingsError};
