//! An open partition in a directory of its own, for the tests of everything that works on one.

use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::config::TimeUnit;
use crate::store::{Compression, Database, DatabaseOptions, SharedResources};

use super::journal::PartitionName;
use super::partition::{Partition, PartitionSettings};
use super::recovery::OpenedPartition;

/// Bytes of a value in a [`TestPartition`].
pub const TEST_VALUE_LEN_MAX_BYTES: usize = 4096;

/// A partition whose directory vanishes with it.
pub struct TestPartition {
    partition: Partition,
    _directory: tempfile::TempDir,
}

impl Deref for TestPartition {
    type Target = Partition;

    fn deref(&self) -> &Partition {
        &self.partition
    }
}

impl DerefMut for TestPartition {
    fn deref_mut(&mut self) -> &mut Partition {
        &mut self.partition
    }
}

/// An empty partition.
pub fn test_partition() -> TestPartition {
    let directory = tempfile::tempdir().unwrap();
    let shared = SharedResources::new(8 << 20, 8 << 20, 2).unwrap();
    let options = DatabaseOptions {
        compression: Compression::None,
        checkpoint_journal_bytes: 1 << 20,
        cold_path: None,
        max_open_files: 64,
        wal_bytes_per_sync: 0,
        background_jobs: 2,
        compaction: true,
    };
    let store = Database::open(&directory.path().join("p0"), "test/0", &options, &shared).unwrap();
    let settings = PartitionSettings {
        time_unit: TimeUnit::Milliseconds,
        retention: 0,
        hot_age: None,
        cold_chunk_samples: 8_192,
        head_samples_max: 1024,
        head_idle_ms: 60_000,
        checkpoint_journal_bytes: 1 << 20,
        checkpoint_interval_ms: 60_000,
        value_len_max_bytes: TEST_VALUE_LEN_MAX_BYTES,
        series_defaults: Arc::default(),
        event_classes: Arc::default(),
        rules_seen: Arc::default(),
    };
    let opened = OpenedPartition::new(store, PartitionName::new("test", 0)).unwrap();
    let evidence = opened.evidence().unwrap();
    let partition = opened
        .replay(Arc::new(settings), &evidence, &HashSet::new())
        .unwrap();
    TestPartition {
        partition,
        _directory: directory,
    }
}
