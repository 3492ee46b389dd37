//! What one turn changes in one partition: applied as a whole or not at all.

use rocksdb::WriteBatch;

use super::database::Database;
use super::error::StoreError;
use super::layout;
use super::read::Tier;

/// Why a batch was not acknowledged.
#[derive(Debug)]
pub enum CommitError {
    /// RocksDB would have had to wait for a flush or compaction. Nothing was written.
    Stalled,
    /// The write failed; whether it will be seen after a restart is unknown.
    Failed(StoreError),
}

/// Rows to be written together.
pub struct Batch {
    database: Database,
    rows: WriteBatch,
}

impl Batch {
    pub(super) fn new(database: Database) -> Batch {
        Batch {
            database,
            rows: WriteBatch::default(),
        }
    }

    pub(super) fn into_rocksdb(self) -> WriteBatch {
        self.rows
    }

    /// Bytes gathered so far.
    pub fn len_bytes(&self) -> usize {
        self.rows.size_in_bytes()
    }

    /// Adds the turn's journal record.
    pub fn journal(&mut self, sequence: u64, operations: &[u8]) {
        self.rows.put_cf(
            self.database.family(layout::JOURNAL),
            sequence.to_be_bytes(),
            operations,
        );
    }

    /// Sets an integer of the `meta` family.
    pub fn meta_u64(&mut self, key: &[u8], value: u64) {
        self.rows
            .put_cf(self.database.family(layout::META), key, value.to_le_bytes());
    }

    /// Sets a row of integers of the `meta` family.
    pub fn meta_words(&mut self, key: &[u8], words: &[u64]) {
        let row: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.rows.put_cf(self.database.family(layout::META), key, row);
    }

    /// Moves the low-water mark to `sequence` and drops the journal up to it.
    pub fn low_water(&mut self, sequence: u64) {
        self.meta_u64(layout::META_LOW_WATER, sequence);
        let end = sequence.saturating_add(1).to_be_bytes();
        self.rows
            .delete_range_cf(self.database.family(layout::JOURNAL), 0_u64.to_be_bytes(), end);
    }

    /// Sets the state row of a series.
    pub fn put_series(&mut self, series_id: u64, row: &[u8]) {
        self.rows
            .put_cf(self.database.family(layout::SERIES), series_id.to_be_bytes(), row);
    }

    /// Adds or replaces a chunk.
    pub fn put_chunk(&mut self, tier: Tier, series_id: u64, first_timestamp: i64, chunk: &[u8]) {
        self.rows.put_cf(
            self.database.family(tier.family()),
            layout::chunk_key(series_id, first_timestamp),
            chunk,
        );
    }

    /// Removes one chunk.
    pub fn delete_chunk(&mut self, tier: Tier, series_id: u64, first_timestamp: i64) {
        self.rows.delete_cf(
            self.database.family(tier.family()),
            layout::chunk_key(series_id, first_timestamp),
        );
    }

    /// Adds or replaces a row of late samples or deletions; higher numbers count more.
    pub fn put_late_run(&mut self, series_id: u64, number: i64, row: &[u8]) {
        let key = layout::chunk_key(series_id, number);
        self.rows.put_cf(self.database.family(layout::LATE), key, row);
    }

    /// Removes one row of late samples.
    pub fn delete_late_run(&mut self, series_id: u64, number: i64) {
        let key = layout::chunk_key(series_id, number);
        self.rows.delete_cf(self.database.family(layout::LATE), key);
    }

    /// Removes everything stored of a series.
    pub fn delete_series(&mut self, series_id: u64) {
        self.rows
            .delete_cf(self.database.family(layout::SERIES), series_id.to_be_bytes());
        let (from, to) = (series_id.to_be_bytes(), series_id.saturating_add(1).to_be_bytes());
        for family in [layout::CHUNKS, layout::LATE, layout::COLD] {
            self.rows.delete_range_cf(self.database.family(family), from, to);
        }
    }

    /// Removes every key and every series, for FLUSHDB.
    pub fn delete_everything(&mut self) {
        // Rows of `kv` begin with one of four tags, those of the others with a series id, of which the last is never
        // reached.
        let kv_end = [layout::KV_LABEL_TAG + 1];
        self.rows
            .delete_range_cf(self.database.family(layout::KV), &[][..], &kv_end[..]);
        for family in [layout::SERIES, layout::CHUNKS, layout::LATE, layout::COLD] {
            self.rows
                .delete_range_cf(self.database.family(family), &[][..], &u64::MAX.to_be_bytes()[..]);
        }
    }
}
