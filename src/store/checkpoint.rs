//! Writing dirty keys back to `kv`: in key order, without the log, then flushed before the low-water mark may move.

use std::ops::Range;

use rocksdb::{WriteBatch, WriteOptions};

use super::database::Database;
use super::error::{StoreError, StoreOperation};
use super::layout;

/// Rows per write: small, because a lane's own commit may have to wait behind one of them.
const ROWS_PER_WRITE_MAX: usize = 64;

/// Rows gathered by the lane, in one buffer that is handed to the blocking pool.
pub struct CheckpointRows {
    bytes: Vec<u8>,
    rows: Vec<RowSpan>,
    /// Keys in the family before these rows.
    key_rows: u64,
    /// Row keys of labels in the buffer, by key: see [`RowSpan::unlisted`].
    label_rows: Vec<(usize, usize)>,
}

struct RowSpan {
    key: (usize, usize),
    /// `None`: the key is deleted.
    row: Option<(usize, usize)>,
    /// What the family holds of this key now.
    stored: StoredKey,
    /// Its new deadline; 0 = none.
    expire_at_ms: i64,
    /// Places in `label_rows` of the labels that the family lists the key with, and those that it is to be listed with.
    unlisted: Range<usize>,
    listed: Range<usize>,
}

/// What `kv` holds of a key: needed to keep the key count and the deadline rows right without reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredKey {
    /// The family has a row of this key.
    pub exists: bool,
    /// The deadline in that row, unix milliseconds; 0 = none.
    pub expire_at_ms: i64,
    /// The family lists the key by labels.
    pub labelled: bool,
}

/// Labels of a key, name and value.
type Labels = [(Box<[u8]>, Box<[u8]>)];

impl CheckpointRows {
    /// Rows for a family that holds `key_rows` keys.
    pub fn new(key_rows: u64) -> CheckpointRows {
        CheckpointRows {
            bytes: Vec::new(),
            rows: Vec::new(),
            key_rows,
            label_rows: Vec::new(),
        }
    }

    /// Adds one key: its new row (`None` to delete), what the family holds of it now, and the labels that the family
    /// lists it with, and those that it is to be listed with.
    pub fn push(
        &mut self,
        key: &[u8],
        row: Option<layout::KvRow<'_>>,
        stored: StoredKey,
        (unlisted, listed): (&Labels, &Labels),
    ) {
        let unlisted = self.append_labels(key, unlisted);
        let listed = self.append_labels(key, listed);
        let key = self.append(|bytes| bytes.extend_from_slice(key));
        let expire_at_ms = row.map_or(0, |row| row.expire_at_ms);
        let row = row.map(|row| self.append(|bytes| row.encode(bytes)));
        self.rows.push(RowSpan {
            key,
            row,
            stored,
            expire_at_ms,
            unlisted,
            listed,
        });
    }

    fn append_labels(&mut self, key: &[u8], labels: &Labels) -> Range<usize> {
        let start = self.label_rows.len();
        for (name, value) in labels {
            let row = layout::label_row(name, value, key);
            let span = self.append(|bytes| bytes.extend_from_slice(&row));
            self.label_rows.push(span);
        }
        start..self.label_rows.len()
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (usize, usize) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        (start, self.bytes.len())
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn slice(&self, span: (usize, usize)) -> &[u8] {
        self.bytes
            .get(span.0..span.1)
            .expect("invariant: spans lie in the buffer")
    }

    /// Writes the rows in key order, bypassing the log (the journal still holds them), and flushes them to table
    /// files. Blocks. Returns the number of keys that the family then holds.
    ///
    /// # Errors
    /// What RocksDB says; the journal is untouched, so the checkpoint can be repeated.
    pub fn write(mut self, database: &Database) -> Result<u64, StoreError> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by(|a, b| self.slice(a.key).cmp(self.slice(b.key)));
        let mut write = WriteOptions::default();
        write.disable_wal(true);
        write.set_low_pri(true);
        let mut key_rows = self.key_rows;
        for group in rows.chunks(ROWS_PER_WRITE_MAX) {
            let mut batch = WriteBatch::default();
            for row in group {
                self.add(row, database, &mut batch, &mut key_rows);
            }
            batch.put_cf(
                database.family(layout::KV),
                layout::KV_ROWS,
                key_rows.to_le_bytes(),
            );
            let written = database.db().write_opt(batch, &write);
            written.map_err(|e| database.error(StoreOperation::Checkpoint, e))?;
        }
        database.flush_families(&[layout::KV])?;
        Ok(key_rows)
    }

    fn add(&self, row: &RowSpan, database: &Database, batch: &mut WriteBatch, key_rows: &mut u64) {
        let kv = database.family(layout::KV);
        let key = self.slice(row.key);
        match row.row {
            Some(value) => batch.put_cf(kv, layout::kv_key(key), self.slice(value)),
            None => batch.delete_cf(kv, layout::kv_key(key)),
        }
        let label_rows = |range: &Range<usize>| {
            let spans = self.label_rows.get(range.clone()).unwrap_or(&[]);
            spans.iter().map(|span| self.slice(*span))
        };
        label_rows(&row.unlisted).for_each(|label| batch.delete_cf(kv, label));
        label_rows(&row.listed).for_each(|label| batch.put_cf(kv, label, []));
        *key_rows += u64::from(row.row.is_some() && !row.stored.exists);
        *key_rows -= u64::from(row.row.is_none() && row.stored.exists);
        if row.stored.expire_at_ms != row.expire_at_ms {
            if row.stored.expire_at_ms != 0 {
                batch.delete_cf(kv, layout::deadline_key(row.stored.expire_at_ms, key));
            }
            if row.expire_at_ms != 0 {
                batch.put_cf(kv, layout::deadline_key(row.expire_at_ms, key), []);
            }
        }
    }
}
