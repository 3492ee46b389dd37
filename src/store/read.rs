//! Reading rows: from memory only, so that a lane never waits for the disk, or from anywhere on the blocking pool.

use rocksdb::{DBRawIterator, ErrorKind, ReadOptions, ReadTier};

use super::database::Database;
use super::error::{StoreError, StoreOperation};
use super::layout;

/// A row: its key and its value.
type Row<'a> = (&'a [u8], &'a [u8]);

/// Rows looked up at a time: so many blocks at most are held in memory for it.
const ROWS_PER_LOOKUP: usize = 128;

/// How far a read may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Memtables and block cache; what is not there comes back as [`Read::Cold`].
    Memory,
    /// The disk too: for the blocking pool only.
    Disk,
}

/// Result of a read that may not be allowed to touch the disk.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<T> {
    /// The answer is known.
    Known(T),
    /// The disk would have to be read.
    Cold,
}

fn options(reach: Reach) -> ReadOptions {
    let mut options = ReadOptions::default();
    if reach == Reach::Memory {
        options.set_read_tier(ReadTier::BlockCache);
    }
    options
}

impl Database {
    /// A read that may reach the disk has said that it cannot say.
    pub fn unreached(&self) -> StoreError {
        self.error(StoreOperation::Read, "the disk was not reached")
    }

    /// Looks up a row by its whole key and hands its bytes to `decode`.
    fn row<T>(
        &self,
        family: &'static str,
        key: &[u8],
        reach: Reach,
        decode: impl FnOnce(Option<&[u8]>) -> Result<T, StoreError>,
    ) -> Result<Read<T>, StoreError> {
        self.row_with(family, key, &options(reach), decode)
    }

    fn row_with<T>(
        &self,
        family: &'static str,
        key: &[u8],
        options: &ReadOptions,
        decode: impl FnOnce(Option<&[u8]>) -> Result<T, StoreError>,
    ) -> Result<Read<T>, StoreError> {
        match self.db().get_pinned_cf_opt(self.family(family), key, options) {
            Ok(row) => decode(row.as_deref()).map(Read::Known),
            Err(e) if e.kind() == ErrorKind::Incomplete => Ok(Read::Cold),
            Err(e) => Err(self.error(StoreOperation::Read, e)),
        }
    }

    /// Looks up rows by their whole keys, which ascend, and hands `each` its number and its bytes; one look into the index
    /// serves all keys beside each other.
    fn rows(
        &self,
        family: &'static str,
        keys: &[impl AsRef<[u8]>],
        options: &ReadOptions,
        mut each: impl FnMut(usize, Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<Read<()>, StoreError> {
        let handle = self.family(family);
        for (part, keys) in keys.chunks(ROWS_PER_LOOKUP).enumerate() {
            let keys = keys.iter().map(AsRef::as_ref);
            let rows = self
                .db()
                .batched_multi_get_cf_opt::<[u8], _>(handle, keys, true, options);
            for (number, row) in rows.into_iter().enumerate() {
                match row {
                    Ok(row) => each(part * ROWS_PER_LOOKUP + number, row.as_deref())?,
                    Err(e) if e.kind() == ErrorKind::Incomplete => return Ok(Read::Cold),
                    Err(e) => return Err(self.error(StoreOperation::Read, e)),
                }
            }
        }
        Ok(Read::Known(()))
    }

    /// Looks up in `kv` what [`Database::kv`] finds of each of these keys, which ascend; `each` gets their numbers.
    ///
    /// # Errors
    /// If a row cannot be read, or is damaged.
    pub fn kv_many(
        &self,
        keys: &[impl AsRef<[u8]>],
        reach: Reach,
        mut each: impl FnMut(usize, Option<layout::KvRow<'_>>),
    ) -> Result<Read<()>, StoreError> {
        let rows: Vec<Vec<u8>> = keys.iter().map(|key| layout::kv_key(key.as_ref())).collect();
        self.rows(layout::KV, &rows, &options(reach), |number, row| {
            let found = match row {
                None => None,
                Some(row) => Some(layout::KvRow::decode(row).ok_or_else(|| {
                    let key = keys.get(number).map_or(&b""[..], AsRef::as_ref);
                    let what = format!("damaged kv row of key {:?}", String::from_utf8_lossy(key));
                    self.error(StoreOperation::Decode, what)
                })?),
            };
            each(number, found);
            Ok(())
        })
    }

    /// Looks up `key` in `kv`.
    ///
    /// # Errors
    /// If the row cannot be read, or is damaged.
    pub fn kv<T>(
        &self,
        key: &[u8],
        reach: Reach,
        found: impl FnOnce(Option<layout::KvRow<'_>>) -> T,
    ) -> Result<Read<T>, StoreError> {
        self.row(layout::KV, &layout::kv_key(key), reach, |row| {
            let Some(row) = row else { return Ok(found(None)) };
            let row = layout::KvRow::decode(row).ok_or_else(|| {
                let what = format!("damaged kv row of key {:?}", String::from_utf8_lossy(key));
                self.error(StoreOperation::Decode, what)
            })?;
            Ok(found(Some(row)))
        })
    }

    /// Looks up the state row of a series.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn series(&self, series_id: u64, reach: Reach) -> Result<Read<Option<Vec<u8>>>, StoreError> {
        self.row(layout::SERIES, &series_id.to_be_bytes(), reach, |row| {
            Ok(row.map(<[u8]>::to_vec))
        })
    }

    /// Number of keys in `kv`. Blocks.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn kv_key_count(&self) -> Result<u64, StoreError> {
        let counted = self.row(layout::KV, layout::KV_ROWS, Reach::Disk, |row| {
            let bytes: Option<[u8; 8]> = row.map_or(Some([0; 8]), |row| row.try_into().ok());
            bytes
                .map(u64::from_le_bytes)
                .ok_or_else(|| self.error(StoreOperation::Decode, "damaged key count"))
        })?;
        match counted {
            Read::Known(count) => Ok(count),
            Read::Cold => Err(self.error(StoreOperation::Read, "the key count cannot be read")),
        }
    }

    /// Keys of `kv` from `start` (inclusive) in key order; each comes with its tag byte in front.
    pub fn kv_rows(&self, start: &[u8], reach: Reach) -> RowCursor<'_> {
        self.tagged_rows(&layout::kv_key(start), &[layout::KV_KEY_TAG + 1], reach)
    }

    /// Deadlines of stored keys up to `until_ms`, earliest first: see [`layout::decode_deadline_key`].
    pub fn expired_rows(&self, until_ms: i64, reach: Reach) -> RowCursor<'_> {
        let end = layout::deadline_key(until_ms.saturating_add(1), b"");
        self.tagged_rows(&[layout::KV_DEADLINE_TAG], &end, reach)
    }

    /// State rows of series from this id on, in the order of ids; the keys are ids, 8 bytes big-endian.
    pub fn series_from(&self, series_id: u64, reach: Reach) -> RowCursor<'_> {
        let mut rows = self
            .db()
            .raw_iterator_cf_opt(self.family(layout::SERIES), options(reach));
        rows.seek(series_id.to_be_bytes());
        RowCursor { database: self, rows }
    }

    /// Rows that list keys under a label (and one of its values, if given): see [`layout::label_row`].
    pub fn label_rows(&self, name: &[u8], value: Option<&[u8]>, reach: Reach) -> RowCursor<'_> {
        let start = layout::label_prefix(name, value);
        let mut end = start.clone();
        // The prefix ends in two zero bytes, so the last one can be counted up.
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.tagged_rows(&start, &end, reach)
    }

    /// Rows that list keys under any label.
    pub fn all_label_rows(&self, reach: Reach) -> RowCursor<'_> {
        self.tagged_rows(&[layout::KV_LABEL_TAG], &[layout::KV_LABEL_TAG + 1], reach)
    }

    fn tagged_rows(&self, start: &[u8], end: &[u8], reach: Reach) -> RowCursor<'_> {
        let mut options = options(reach);
        options.set_iterate_upper_bound(end);
        let mut rows = self.db().raw_iterator_cf_opt(self.family(layout::KV), options);
        rows.seek(start);
        RowCursor { database: self, rows }
    }

    /// A view of the series as of now; it does not change while it is held. Views of memory take no snapshot: the lane
    /// that reads is the one that writes.
    pub fn view(&self, reach: Reach) -> View<'_> {
        let snapshot = (reach == Reach::Disk).then(|| self.db().snapshot());
        View {
            database: self,
            snapshot,
            reach,
        }
    }
}

/// Which family a chunk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// `chunks`.
    Hot,
    /// `cold`.
    Cold,
}

impl Tier {
    pub(super) fn family(self) -> &'static str {
        match self {
            Tier::Hot => layout::CHUNKS,
            Tier::Cold => layout::COLD,
        }
    }
}

/// See [`Database::view`].
pub struct View<'a> {
    database: &'a Database,
    snapshot: Option<rocksdb::Snapshot<'a>>,
    reach: Reach,
}

impl View<'_> {
    /// Chunks of a series that may hold samples in `from..=to`: positioned at the first of them, or at the last when
    /// `reverse`.
    pub fn chunks(&self, tier: Tier, series_id: u64, from: i64, to: i64, reverse: bool) -> ChunkCursor<'_> {
        self.series_rows(tier.family(), series_id, (from, to), true, reverse)
    }

    /// Hands `found` the chunk of a series that begins at `first`, or `None`.
    ///
    /// # Errors
    /// If it cannot be read; those of `found`.
    pub fn chunk<T>(
        &self,
        tier: Tier,
        series_id: u64,
        first: i64,
        found: impl FnOnce(Option<&[u8]>) -> Result<T, StoreError>,
    ) -> Result<Read<T>, StoreError> {
        let key = layout::chunk_key(series_id, first);
        self.database
            .row_with(tier.family(), &key, &self.options(), found)
    }

    /// Rows of late samples of a series, each with its number, oldest first.
    pub fn late_runs(&self, series_id: u64) -> ChunkCursor<'_> {
        self.series_rows(layout::LATE, series_id, (i64::MIN, i64::MAX), false, false)
    }

    fn options(&self) -> ReadOptions {
        let mut options = options(self.reach);
        if let Some(snapshot) = &self.snapshot {
            options.set_snapshot(snapshot);
        }
        options
    }

    /// Hands `each` the state rows of these series, whose ids ascend, with their numbers.
    ///
    /// # Errors
    /// If a row cannot be read; those of `each`.
    pub fn series_many(
        &self,
        series_ids: &[u64],
        each: impl FnMut(usize, Option<&[u8]>) -> Result<(), StoreError>,
    ) -> Result<Read<()>, StoreError> {
        let keys: Vec<[u8; 8]> = series_ids.iter().map(|id| id.to_be_bytes()).collect();
        self.database.rows(layout::SERIES, &keys, &self.options(), each)
    }

    /// For the newest chunks of several series.
    pub fn newest_chunks(&self, tier: Tier) -> NewestChunks<'_> {
        let mut options = self.options();
        options.set_total_order_seek(true);
        let database = self.database;
        let family = database.family(tier.family());
        NewestChunks {
            database,
            rows: database.db().raw_iterator_cf_opt(family, options),
        }
    }

    /// The state row of a series.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn series(&self, series_id: u64) -> Result<Read<Option<Vec<u8>>>, StoreError> {
        let database = self.database;
        let family = database.family(layout::SERIES);
        match database
            .db()
            .get_cf_opt(family, series_id.to_be_bytes(), &self.options())
        {
            Ok(row) => Ok(Read::Known(row)),
            Err(e) if e.kind() == ErrorKind::Incomplete => Ok(Read::Cold),
            Err(e) => Err(database.error(StoreOperation::Read, e)),
        }
    }

    fn series_rows(
        &self,
        family: &'static str,
        series_id: u64,
        (from, to): (i64, i64),
        step_back: bool,
        reverse: bool,
    ) -> ChunkCursor<'_> {
        let mut options = self.options();
        options.set_iterate_lower_bound(series_id.to_be_bytes());
        options.set_iterate_upper_bound(layout::end_of_rows(series_id, to));
        let database = self.database;
        let mut rows = database
            .db()
            .raw_iterator_cf_opt(database.family(family), options);
        let first = layout::chunk_key(series_id, from);
        if reverse {
            rows.seek_for_prev(layout::chunk_key(series_id, to));
        } else if step_back {
            // The chunk that starts before `from` may reach into the range.
            rows.seek_for_prev(first);
            if !rows.valid() && rows.status().is_ok() {
                rows.seek(first);
            }
        } else {
            rows.seek(first);
        }
        ChunkCursor {
            database,
            rows,
            reverse,
        }
    }
}

/// A walk over rows that are read whole.
pub struct RowCursor<'a> {
    database: &'a Database,
    rows: DBRawIterator<'a>,
}

impl RowCursor<'_> {
    /// The current row, `None` at the end; `Cold` if the disk would have to be read.
    ///
    /// # Errors
    /// If reading failed.
    pub fn current(&self) -> Result<Read<Option<Row<'_>>>, StoreError> {
        current(self.database, &self.rows)
    }

    /// Moves on.
    pub fn advance(&mut self) {
        self.rows.next();
    }

    /// Moves to the first row that is not below `row`.
    pub fn seek(&mut self, row: &[u8]) {
        self.rows.seek(row);
    }

    /// Moves to the first row behind all that begin with `prefix`, a [`layout::label_prefix`].
    pub fn seek_behind(&mut self, prefix: &[u8]) {
        let mut behind = prefix.to_vec();
        if let Some(last) = behind.last_mut() {
            *last += 1;
        }
        self.rows.seek(behind);
    }
}

/// A chunk or a row of late samples: its first timestamp or its number, and its bytes.
type SeriesRow<'a> = (i64, &'a [u8]);

/// A walk over the chunks or the rows of late samples of one series.
pub struct ChunkCursor<'a> {
    database: &'a Database,
    rows: DBRawIterator<'a>,
    reverse: bool,
}

impl ChunkCursor<'_> {
    /// The current first timestamp or number and bytes, `None` at the end; `Cold` if the disk would have to be read.
    ///
    /// # Errors
    /// If reading failed or the key is damaged.
    pub fn current(&self) -> Result<Read<Option<SeriesRow<'_>>>, StoreError> {
        match current(self.database, &self.rows)? {
            Read::Cold => Ok(Read::Cold),
            Read::Known(None) => Ok(Read::Known(None)),
            Read::Known(Some((key, value))) => match layout::key_timestamp(key) {
                Some(timestamp) => Ok(Read::Known(Some((timestamp, value)))),
                None => Err(too_short(self.database)),
            },
        }
    }

    /// Moves on, in the direction of the walk.
    pub fn advance(&mut self) {
        if self.reverse {
            self.rows.prev()
        } else {
            self.rows.next()
        }
    }
}

/// Finds the newest chunk of one series after the other.
pub struct NewestChunks<'a> {
    database: &'a Database,
    rows: DBRawIterator<'a>,
}

impl NewestChunks<'_> {
    /// First timestamp and bytes of the newest chunk of the series; `None` if it has none. Cheapest if ids ascend.
    ///
    /// # Errors
    /// If reading failed or the key is damaged.
    pub fn of(&mut self, series_id: u64) -> Result<Read<Option<SeriesRow<'_>>>, StoreError> {
        self.rows.seek_for_prev(layout::chunk_key(series_id, i64::MAX));
        match current(self.database, &self.rows)? {
            Read::Cold => Ok(Read::Cold),
            Read::Known(Some((key, value))) if key.starts_with(&series_id.to_be_bytes()) => {
                let first = layout::key_timestamp(key).ok_or_else(|| too_short(self.database))?;
                Ok(Read::Known(Some((first, value))))
            }
            Read::Known(_) => Ok(Read::Known(None)),
        }
    }
}

fn too_short(database: &Database) -> StoreError {
    database.error(StoreOperation::Decode, "a series row's key is too short")
}

fn current<'a>(
    database: &Database,
    rows: &'a DBRawIterator<'_>,
) -> Result<Read<Option<Row<'a>>>, StoreError> {
    if let Some(item) = rows.item() {
        return Ok(Read::Known(Some(item)));
    }
    match rows.status() {
        Ok(()) => Ok(Read::Known(None)),
        Err(e) if e.kind() == ErrorKind::Incomplete => Ok(Read::Cold),
        Err(e) => Err(database.error(StoreOperation::Read, e)),
    }
}
