//! One open database: opening, committing a turn, forcing it to the disk, replaying the journal.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{ColumnFamily, DB, DBRecoveryMode, ErrorKind, FlushOptions, ReadOptions, WriteOptions};

use super::batch::{Batch, CommitError};
use super::error::{StoreError, StoreOperation};
use super::layout;
use super::log_check::logs_bytes;
use super::options::{self, DatabaseOptions, SharedResources};

/// What RocksDB says when a cut would leave table files that are newer than the log's end.
const BEYOND_THE_CUT: &str = "SST file contains data beyond the point of corruption";

/// A handle that is cheap to clone and may be sent to the blocking pool.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    db: DB,
    /// `business/partition`, for messages.
    name: String,
    read_only: bool,
    /// Its buffers have grown.
    loaded: AtomicBool,
}

/// One record of the journal as read back at recovery.
pub struct JournalRecord<'a> {
    /// Position in the journal.
    pub sequence: u64,
    /// The turn's operations.
    pub operations: &'a [u8],
}

impl Database {
    /// Opens or creates the database at `path`. `name` is `business/partition`.
    ///
    /// # Errors
    /// What RocksDB says: locked by another process, damaged, not permitted, no space.
    pub fn open(
        path: &Path,
        name: &str,
        options: &DatabaseOptions,
        shared: &SharedResources,
    ) -> Result<Database, StoreError> {
        let open_error = |e: &dyn std::fmt::Display| StoreError::new(StoreOperation::Open, name, e);
        std::fs::create_dir_all(path).map_err(|e| open_error(&format!("{}: {e}", path.display())))?;
        if let Some(path) = &options.cold_path {
            std::fs::create_dir_all(path).map_err(|e| open_error(&format!("{}: {e}", path.display())))?;
        }
        let families = options::families(options, shared, logs_bytes(path))?;
        let db = DB::open_cf_descriptors(&options::database(name, options, shared), path, families)
            .map_err(|e| open_error(&e))?;
        Ok(Database::new(db, name, shared))
    }

    /// As [`Database::open`], for a database one of whose logs is damaged: what was written after the damage is given
    /// up. Where table files hold some of it already, a cut would tear it from rows that are only in the log, older
    /// ones among them; there only the records that cannot be read are left out.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_cutting(
        path: &Path,
        name: &str,
        options: &DatabaseOptions,
        shared: &SharedResources,
    ) -> Result<Database, StoreError> {
        match Database::open(path, name, options, shared) {
            Err(error) if error.cause.contains(BEYOND_THE_CUT) => {}
            opened => return opened,
        }
        log::warn!(
            "{name}: table files hold what was written after the damage: the log is not cut, its records that cannot \
             be read are left out and the others kept"
        );
        let families = options::families(options, shared, logs_bytes(path))?;
        let mut options = options::database(name, options, shared);
        options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
        let db = DB::open_cf_descriptors(&options, path, families)
            .map_err(|e| StoreError::new(StoreOperation::Open, name, e))?;
        Ok(Database::new(db, name, shared))
    }

    /// Opens the database at `path` as it is, without writing a byte: for a disk that has no space left. It takes no
    /// lock, so the same database may be opened for writing meanwhile; what that one writes is not seen here.
    ///
    /// # Errors
    /// What RocksDB says.
    pub fn open_read_only(
        path: &Path,
        name: &str,
        options: &DatabaseOptions,
        shared: &SharedResources,
    ) -> Result<Database, StoreError> {
        let families = options::families(options, shared, logs_bytes(path))?;
        let options = options::database(name, options, shared);
        let db = DB::open_cf_descriptors_read_only(&options, path, families, false)
            .map_err(|e| StoreError::new(StoreOperation::Open, name, e))?;
        Ok(Database::new_unwatched(db, name, true))
    }

    fn new(db: DB, name: &str, shared: &SharedResources) -> Database {
        let database = Database::new_unwatched(db, name, false);
        shared.open.add(&database.inner);
        database
    }

    /// True if it has seen a real load since it was opened.
    pub(super) fn is_loaded(&self) -> bool {
        self.inner.loaded.load(Ordering::Relaxed)
    }

    /// A handle of what is open anyway.
    pub(super) fn of(inner: Arc<Inner>) -> Database {
        Database { inner }
    }

    fn new_unwatched(db: DB, name: &str, read_only: bool) -> Database {
        Database {
            inner: Arc::new(Inner {
                db,
                name: name.to_string(),
                read_only,
                loaded: AtomicBool::new(false),
            }),
        }
    }

    /// True if it was opened by [`Database::open_read_only`].
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// `business/partition`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn db(&self) -> &DB {
        &self.inner.db
    }

    pub(super) fn family(&self, name: &'static str) -> &ColumnFamily {
        self.inner
            .db
            .cf_handle(name)
            .expect("invariant: every family of the layout is opened")
    }

    pub(super) fn error(&self, operation: StoreOperation, cause: impl std::fmt::Display) -> StoreError {
        StoreError::new(operation, self.name(), cause)
    }

    /// An empty batch for this database.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Writes `batch` atomically to the log and the memtables; it reaches the page cache, not necessarily the disk.
    ///
    /// # Errors
    /// `Stalled` if RocksDB would have to wait: nothing was written, the same batch may be tried again later.
    /// `Failed` otherwise: the outcome is unknown.
    pub fn commit(&self, batch: Batch) -> Result<(), CommitError> {
        let mut write = WriteOptions::default();
        write.set_no_slowdown(true);
        match self.inner.db.write_opt(batch.into_rocksdb(), &write) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::Incomplete => Err(CommitError::Stalled),
            Err(e) => Err(CommitError::Failed(self.error(StoreOperation::Commit, e))),
        }
    }

    /// Forces everything committed so far to the disk. Blocks: for the blocking pool only.
    ///
    /// # Errors
    /// A failed fsync; it must never be retried and acknowledged.
    pub fn sync(&self) -> Result<(), StoreError> {
        if self.is_read_only() {
            return Ok(());
        }
        self.inner
            .db
            .flush_wal(true)
            .map_err(|e| self.error(StoreOperation::Sync, e))
    }

    /// Reads a little-endian integer of the `meta` family; 0 if absent.
    ///
    /// # Errors
    /// If the row cannot be read or has another length.
    pub fn meta_u64(&self, key: &[u8]) -> Result<u64, StoreError> {
        let row = self
            .inner
            .db
            .get_cf(self.family(layout::META), key)
            .map_err(|e| self.error(StoreOperation::Read, e))?;
        let Some(row) = row else { return Ok(0) };
        let bytes: [u8; 8] = row.as_slice().try_into().map_err(|_| {
            let what = format!(
                "meta row {} has {} bytes, expected 8",
                String::from_utf8_lossy(key),
                row.len()
            );
            self.error(StoreOperation::Decode, what)
        })?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a row of little-endian integers of the `meta` family; zeros if absent.
    ///
    /// # Errors
    /// If the row cannot be read or has another length.
    pub fn meta_words<const N: usize>(&self, key: &[u8]) -> Result<[u64; N], StoreError> {
        let row = self.inner.db.get_cf(self.family(layout::META), key);
        let row = row.map_err(|e| self.error(StoreOperation::Read, e))?;
        let Some(row) = row else { return Ok([0; N]) };
        let mut words = [0; N];
        let (chunks, rest) = row.as_chunks::<8>();
        if chunks.len() != N || !rest.is_empty() {
            let what = format!(
                "meta row {} has {} bytes",
                String::from_utf8_lossy(key),
                row.len()
            );
            return Err(self.error(StoreOperation::Decode, what));
        }
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
        }
        Ok(words)
    }

    /// Visits every journal record above `low_water`, oldest first, until `visit` breaks. Blocks.
    ///
    /// # Errors
    /// If the journal cannot be read, or what `visit` returned.
    pub fn replay(
        &self,
        low_water: u64,
        mut visit: impl FnMut(JournalRecord<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let mut read = ReadOptions::default();
        read.set_readahead_size(2 << 20);
        let mut rows = self
            .inner
            .db
            .raw_iterator_cf_opt(self.family(layout::JOURNAL), read);
        rows.seek(low_water.saturating_add(1).to_be_bytes());
        while let Some((key, operations)) = rows.item() {
            let sequence: [u8; 8] = key
                .try_into()
                .map_err(|_| self.error(StoreOperation::Decode, "a journal key is not 8 bytes long"))?;
            let record = JournalRecord {
                sequence: u64::from_be_bytes(sequence),
                operations,
            };
            if visit(record)?.is_break() {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|e| self.error(StoreOperation::Read, e))
    }

    /// Raises the write buffers from their idle size to `journal_bytes` for the journal and `other_bytes` elsewhere.
    /// Writes RocksDB's option file: for the blocking pool only.
    ///
    /// # Errors
    /// What RocksDB says.
    pub fn grow_buffers(&self, journal_bytes: usize, other_bytes: usize) -> Result<(), StoreError> {
        for (family, bytes) in [
            (layout::JOURNAL, journal_bytes),
            (layout::KV, other_bytes),
            (layout::SERIES, other_bytes),
            (layout::CHUNKS, other_bytes),
            (layout::LATE, other_bytes),
            (layout::COLD, other_bytes),
        ] {
            self.inner
                .db
                .set_options_cf(self.family(family), &[("write_buffer_size", &bytes.to_string())])
                .map_err(|e| self.error(StoreOperation::Open, e))?;
        }
        self.inner.loaded.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the memtables of `families` to table files and waits for it. Blocks.
    ///
    /// # Errors
    /// What RocksDB says.
    pub(super) fn flush_families(&self, families: &[&'static str]) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let handles: Vec<&ColumnFamily> = families.iter().map(|name| self.family(name)).collect();
        self.inner
            .db
            .flush_cfs_opt(&handles, &options)
            .map_err(|e| self.error(StoreOperation::Checkpoint, e))
    }

    /// Flushes the journal family so that its part of the log can be dropped. Blocks.
    ///
    /// # Errors
    /// What RocksDB says.
    pub fn flush_journal(&self) -> Result<(), StoreError> {
        self.flush_families(&[
            layout::META,
            layout::JOURNAL,
            layout::SERIES,
            layout::CHUNKS,
            layout::LATE,
            layout::COLD,
        ])
    }

    /// Bytes of the live table files and memtables of all families, for CLUSTER_INFO.
    pub fn live_bytes(&self) -> u64 {
        let memtables = |family| self.property(family, "rocksdb.cur-size-all-mem-tables");
        layout::FAMILIES
            .iter()
            .map(|family| self.table_bytes(family) + memtables(family))
            .sum()
    }

    /// Bytes of the live table files of one family of the layout, their index and filters included.
    pub fn table_bytes(&self, family: &'static str) -> u64 {
        self.property(family, "rocksdb.live-sst-files-size")
    }

    /// True while several full write buffers of a family that background work fills wait to be written to the disk:
    /// more of that work would make RocksDB hold up all writes.
    pub fn is_behind_with_flushes(&self) -> bool {
        [layout::CHUNKS, layout::COLD, layout::LATE, layout::SERIES]
            .iter()
            .any(|family| self.property(family, "rocksdb.num-immutable-mem-table") > 1)
    }

    pub(super) fn property(&self, family: &'static str, name: &str) -> u64 {
        let value = self.inner.db.property_int_value_cf(self.family(family), name);
        value.ok().flatten().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Compression;

    #[test]
    fn recovery_makes_one_table_of_a_journal() {
        let directory = tempfile::tempdir().unwrap();
        let shared = SharedResources::new(8 << 20, 64 << 20, 2).unwrap();
        let options = DatabaseOptions {
            compression: Compression::None,
            checkpoint_journal_bytes: 8 << 20,
            cold_path: None,
            max_open_files: 64,
            wal_bytes_per_sync: 0,
            background_jobs: 2,
            compaction: false,
        };
        let open = || Database::open(&directory.path().join("p0"), "test/0", &options, &shared).unwrap();
        let database = open();
        database.grow_buffers(16 << 20, 1 << 20).unwrap();
        for sequence in 1..=200 {
            let mut batch = database.batch();
            batch.journal(sequence, &[7; 16 << 10]);
            assert!(database.commit(batch).is_ok());
        }
        let tables = |database: &Database| {
            let family = database.family(layout::JOURNAL);
            let files = database
                .db()
                .property_value_cf(family, "rocksdb.num-files-at-level0");
            files.unwrap().unwrap()
        };
        assert_eq!(tables(&database), "0");
        drop(database);
        let database = open();
        assert_eq!(tables(&database), "1");
        let mut records = 0;
        let counted = database.replay(0, |record| {
            records += usize::from(record.operations.len() == 16 << 10);
            Ok(ControlFlow::Continue(()))
        });
        counted.unwrap();
        assert_eq!(records, 200);
    }
}
