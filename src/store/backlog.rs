//! How near RocksDB is to holding up writes because flushes and merges are behind.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::database::{Database, Inner};
use super::layout;
use super::options::{PENDING_BYTES_SLOWDOWN, level0_slowdown_files, write_buffers_max};

/// Of [`OpenDatabases::backlog_permille`]: RocksDB holds up writes.
const FULL_PERMILLE: u64 = 1_000;

/// The databases of the process that are open for writing.
#[derive(Clone, Default)]
pub(super) struct OpenDatabases {
    list: Arc<Mutex<Vec<Weak<Inner>>>>,
}

impl OpenDatabases {
    /// Takes a database in until it is closed, which this does not delay.
    pub(super) fn add(&self, database: &Arc<Inner>) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|open| open.strong_count() > 0);
        list.push(Arc::downgrade(database));
    }

    /// The largest share, in thousandths, that any family of any database has reached of what makes RocksDB hold up
    /// writes.
    pub(super) fn backlog_permille(&self) -> u64 {
        let open: Vec<Arc<Inner>> = {
            let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            list.iter().filter_map(Weak::upgrade).collect()
        };
        open.into_iter()
            .map(|inner| Database::of(inner).backlog_permille())
            .max()
            .unwrap_or(0)
    }
}

impl Database {
    fn backlog_permille(&self) -> u64 {
        let share = |name: &'static str, property, full: u64| {
            self.property(name, property).saturating_mul(FULL_PERMILLE) / full
        };
        // Writes are slowed down when all buffers but one are full.
        let buffers = |name| {
            share(
                name,
                "rocksdb.num-immutable-mem-table",
                write_buffers_max(name) as u64 - 1,
            )
        };
        if !self.is_loaded() {
            // Many databases may rest: the family that everything is written to first tells of a sudden load.
            return buffers(layout::JOURNAL);
        }
        let family = |name: &'static str| {
            let files = share(
                name,
                "rocksdb.num-files-at-level0",
                level0_slowdown_files(name) as u64,
            );
            let pending = share(
                name,
                "rocksdb.estimate-pending-compaction-bytes",
                PENDING_BYTES_SLOWDOWN,
            );
            buffers(name).max(files).max(pending)
        };
        layout::FAMILIES
            .iter()
            .map(|name| family(name))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::store::{Compression, DatabaseOptions, SharedResources};

    const BUFFER_BYTES: usize = 64 << 10;

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < end, "not within 20 s: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn full_buffers_show_until_they_are_written_and_closed_databases_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let shared = SharedResources::new(8 << 20, 64 << 20, 1).unwrap();
        let options = DatabaseOptions {
            compression: Compression::None,
            checkpoint_journal_bytes: 1 << 20,
            cold_path: None,
            max_open_files: 64,
            wal_bytes_per_sync: 0,
            background_jobs: 2,
            compaction: true,
        };
        assert_eq!(shared.backlog_permille(), 0);
        let database = Database::open(&directory.path().join("p0"), "test/0", &options, &shared).unwrap();
        assert_eq!(shared.backlog_permille(), 0);
        let mut most = 0;
        let mut sequence = 0;
        for is_loaded in [false, true] {
            if is_loaded {
                database.grow_buffers(BUFFER_BYTES, BUFFER_BYTES).unwrap();
            }
            until("a backlog", || {
                sequence += 1;
                let mut batch = database.batch();
                batch.journal(sequence, &[7; BUFFER_BYTES]);
                let _ = database.commit(batch);
                most = most.max(shared.backlog_permille());
                most >= 333
            });
            until("everything is written", || shared.backlog_permille() < 100);
            assert!((333..=1_333).contains(&most), "{most}");
        }
        drop(database);
        assert_eq!(shared.backlog_permille(), 0);
        assert!(
            shared
                .open
                .list
                .lock()
                .unwrap()
                .iter()
                .all(|open| open.strong_count() == 0)
        );
    }
}
