//! Walking all keys of a partition, a step at a time: first the key table, then the stored keys that are not in it.
//!
//! A key that is there from beginning to end is returned at least once: one that moves from the table to `kv` only is
//! met in the second phase, and one that is read into the table during the walk is recognised by its load time.

use crate::resp::glob_match;
use crate::store::layout::{KvRow, TYPE_STRING};
use crate::store::{Database, Reach, Read, StoreError};

use super::keys::{Entry, Value};
use super::partition::Partition;

/// Type of a key, as TYPE and SCAN name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A plain value.
    String,
    /// A time series.
    Series,
}

impl KeyType {
    /// The word on the wire.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::Series => "TSDB-TYPE",
        }
    }

    /// The type of an entry, `None` if it is deleted.
    pub fn of(entry: &Entry) -> Option<KeyType> {
        match entry.value {
            Value::Absent => None,
            Value::String(_) => Some(KeyType::String),
            Value::Series(_) => Some(KeyType::Series),
        }
    }
}

/// Where a walk stands inside one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanPosition {
    /// In the key table: next place. Entries never move.
    Table { place: usize },
    /// In the stored keys: after this key.
    Stored { after: Option<Box<[u8]>> },
}

/// Which keys a walk is interested in.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    /// Glob pattern; `None` = all.
    pub pattern: Option<Box<[u8]>>,
    /// Type; `None` = all.
    pub key_type: Option<KeyType>,
}

impl KeyFilter {
    /// True if the key is wanted.
    pub fn accepts(&self, key: &[u8], key_type: KeyType) -> bool {
        self.key_type.is_none_or(|wanted| wanted == key_type)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| glob_match(pattern, key, false))
    }
}

/// Places visited per key asked for, so that a nearly empty table does not hold the lane.
const PLACES_PER_KEY_MAX: usize = 16;
/// A table of so few places is visited in one call: microseconds.
const PLACES_PER_CALL_MIN: usize = 1_024;

impl Partition {
    /// The position at which a walk of this partition begins.
    pub fn scan_start(&self) -> ScanPosition {
        ScanPosition::Table { place: 0 }
    }

    /// Visits about `count` keys of the table; returns where to go on.
    pub fn scan_table(
        &self,
        mut place: usize,
        count: usize,
        filter: &KeyFilter,
        now_ms: i64,
        found: &mut Vec<Box<[u8]>>,
    ) -> Option<ScanPosition> {
        let places = self.keys.places();
        let mut visited = 0;
        let step = count.saturating_mul(PLACES_PER_KEY_MAX).max(PLACES_PER_CALL_MIN);
        let last = places.min(place.saturating_add(step));
        while place < last && visited < count {
            if let Some(entry) = self.keys.get(place) {
                visited += 1;
                let key_type = KeyType::of(entry).filter(|_| !entry.is_expired(now_ms));
                if key_type.is_some_and(|key_type| filter.accepts(entry.key(), key_type)) {
                    found.push(entry.key().into());
                }
            }
            place += 1;
        }
        match (place < places, self.stored_keys > 0) {
            (true, _) => Some(ScanPosition::Table { place }),
            (false, true) => Some(ScanPosition::Stored { after: None }),
            (false, false) => None,
        }
    }

    /// True if the walk that began at `started_s` has met this stored key in the table.
    fn was_in_table(&self, key: &[u8], started_s: u32) -> bool {
        self.keys
            .find(key)
            .is_some_and(|place| self.keys.at(place).loaded_at_s < started_s)
    }

    /// Keeps the stored keys that the table phase has not returned.
    pub fn filter_stored(&self, stretch: StoredStretch, started_s: u32, found: &mut Vec<Box<[u8]>>) {
        found.extend(
            stretch
                .keys
                .into_iter()
                .filter(|key| !self.was_in_table(key, started_s)),
        );
    }

    /// True if `kv` may hold keys that are not in the table.
    pub fn has_stored_keys(&self) -> bool {
        self.stored_keys > 0
    }

    /// Some live key of the table, found from a random place on.
    pub fn random_table_key(&self, random: usize, now_ms: i64) -> Option<&[u8]> {
        let places = self.keys.places();
        (0..places)
            .filter_map(|step| self.keys.get((random % places + step) % places))
            .find(|entry| entry.is_present() && !entry.is_expired(now_ms))
            .map(Entry::key)
    }
}

/// A stretch of stored keys as read, and where it ended.
pub struct StoredStretch {
    /// Live keys that are wanted, ascending.
    pub keys: Vec<Box<[u8]>>,
    /// Last key looked at; `None` if the walk reached the end.
    pub last: Option<Box<[u8]>>,
}

/// Reads up to `count` stored keys after `after` (from the beginning when `None`).
///
/// # Errors
/// If a row cannot be read or is damaged.
pub fn stored_stretch(
    store: &Database,
    after: Option<&[u8]>,
    count: usize,
    filter: &KeyFilter,
    now_ms: i64,
    reach: Reach,
) -> Result<Read<StoredStretch>, StoreError> {
    let mut cursor = store.kv_rows(after.unwrap_or(b""), reach);
    let mut stretch = StoredStretch {
        keys: Vec::new(),
        last: None,
    };
    let mut visited = 0;
    loop {
        match cursor.current()? {
            Read::Cold => return Ok(Read::Cold),
            Read::Known(None) => {
                stretch.last = None;
                return Ok(Read::Known(stretch));
            }
            Read::Known(Some((row_key, row))) => {
                let key = row_key.get(1..).unwrap_or(b"");
                if after != Some(key) {
                    if visited == count {
                        return Ok(Read::Known(stretch));
                    }
                    visited += 1;
                    stretch.last = Some(key.into());
                    if is_wanted(key, row, filter, now_ms) {
                        stretch.keys.push(key.into());
                    }
                }
            }
        }
        cursor.advance();
    }
}

fn is_wanted(key: &[u8], row: &[u8], filter: &KeyFilter, now_ms: i64) -> bool {
    let Some(row) = KvRow::decode(row) else {
        return false;
    };
    let key_type = if row.type_byte == TYPE_STRING {
        KeyType::String
    } else {
        KeyType::Series
    };
    (row.expire_at_ms == 0 || row.expire_at_ms > now_ms) && filter.accepts(key, key_type)
}
