//! What a series is like unless it was told otherwise: the server's own settings, which CONFIG SET may change.

use crate::series::compaction::CompactionPolicy;
use crate::series::properties::{
    CHUNK_SIZE_DEFAULT_BYTES, DuplicatePolicy, Encoding, Ignore, SeriesProperties,
};

/// See the head of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDefaults {
    /// Of series without a policy of their own.
    pub duplicate_policy: DuplicatePolicy,
    /// Of new series.
    pub encoding: Encoding,
    /// Of new series.
    pub chunk_size_bytes: u32,
    /// Of new series, in steps of the business's unit; 0 = that of the business.
    pub retention: i64,
    /// Of new series.
    pub ignore: Ignore,
    /// TS.MADD creates series that are missing.
    pub madd_creates: bool,
    /// The destination of a rule may be the source of another.
    pub chained_rules: bool,
    /// Rollups of series that are created by a sample.
    pub compaction: Vec<CompactionPolicy>,
}

impl Default for SeriesDefaults {
    fn default() -> Self {
        SeriesDefaults {
            duplicate_policy: DuplicatePolicy::Block,
            encoding: Encoding::Compressed,
            chunk_size_bytes: CHUNK_SIZE_DEFAULT_BYTES,
            retention: 0,
            ignore: Ignore::default(),
            madd_creates: false,
            chained_rules: false,
            compaction: Vec::new(),
        }
    }
}

impl SeriesDefaults {
    /// Properties of a new series that was given no options.
    pub fn properties(&self) -> SeriesProperties {
        SeriesProperties {
            retention: (self.retention > 0).then_some(self.retention),
            encoding: self.encoding,
            chunk_size_bytes: self.chunk_size_bytes,
            ignore: self.ignore,
            ..SeriesProperties::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_redis_time_series() {
        let defaults = SeriesDefaults::default();
        assert_eq!(defaults.properties(), SeriesProperties::default());
        assert_eq!(defaults.duplicate_policy, DuplicatePolicy::Block);
        let kept = SeriesDefaults {
            retention: 7,
            ..defaults
        };
        assert_eq!(kept.properties().retention, Some(7));
    }
}
