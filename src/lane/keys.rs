//! The key table of one partition: every dirty key, and the clean ones that the read cache has room for.
//!
//! An entry is dirty from the turn that changed it until a checkpoint that started later has written it to `kv`.
//! Epochs count checkpoints: an entry is clean when its epoch is not newer than the last completed one, so a
//! checkpoint never has to visit an entry twice.

use std::cell::Cell;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::store::StoredKey;

use super::key_bytes::KeyBytes;
use super::members::Members;
use super::memory::{allocated, hashed};
use super::prefetch::prefetch;
use super::properties::ListedProperties;
use super::slab::Slab;

/// What a key holds.
#[derive(Debug)]
pub enum Value {
    /// Nothing: deleted, but `kv` may still hold a row until the next checkpoint.
    Absent,
    /// A plain value.
    String(Box<[u8]>),
    /// A time series per data type.
    Series(Members),
}

/// How a string came about, as far as OBJECT ENCODING tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// It was set as a whole.
    #[default]
    Set,
    /// Bytes of it were written in place since then: Redis keeps it as it is.
    Patched,
    /// It is what INCRBYFLOAT has computed, which Redis keeps as text even where it is an integer.
    Sum,
}

/// One key.
#[derive(Debug)]
pub struct Entry {
    key: KeyBytes,
    /// What the key holds.
    pub value: Value,
    /// Unix milliseconds; 0 = never.
    pub expire_at_ms: i64,
    /// What `kv` holds of this key.
    pub stored: StoredKey,
    /// Number of the checkpoint that will write this entry; clean when not above the last completed one.
    pub dirty_epoch: u32,
    /// Last checkpoint that gathered this entry, so that a walk that begins again does not gather it twice.
    pub gathered_epoch: u32,
    /// Unix seconds at which the entry was read from `kv`; 0 if a command created it. SCAN needs it.
    pub loaded_at_s: u32,
    /// Set at every use, cleared by the eviction clock.
    pub referenced: bool,
    /// How its string came about.
    pub origin: Origin,
    /// Of a series key that was given some.
    properties: Option<Box<ListedProperties>>,
}

/// Fixed memory of an entry: its place in the slab and its number in the hash table.
const ENTRY_BYTES: usize = size_of::<Option<Entry>>() + hashed(size_of::<u32>());

impl Entry {
    /// The key's bytes.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The key's bytes, if they are not in the entry itself.
    #[inline]
    pub(super) fn key_elsewhere(&self) -> &[u8] {
        self.key.elsewhere()
    }

    /// Properties of a series key that was given some.
    pub fn properties(&self) -> Option<&ListedProperties> {
        self.properties.as_deref()
    }

    /// True if the key exists, expired or not.
    pub fn is_present(&self) -> bool {
        !matches!(self.value, Value::Absent)
    }

    /// True if the deadline has passed.
    pub fn is_expired(&self, now_ms: i64) -> bool {
        self.expire_at_ms != 0 && self.expire_at_ms <= now_ms
    }

    /// Memory of this entry.
    pub fn memory_bytes(&self) -> usize {
        let value = match &self.value {
            Value::Absent => 0,
            Value::String(value) => allocated(value.len()),
            Value::Series(series) => allocated(series.own_bytes()),
        };
        let properties = self.properties.as_ref().map_or(0, |listed| listed.memory_bytes());
        ENTRY_BYTES + allocated(self.key.own_bytes()) + value + properties
    }

    /// The same if it is that of a series key.
    fn series_memory_bytes(&self) -> usize {
        match self.value {
            Value::Series(_) => self.memory_bytes(),
            _ => 0,
        }
    }
}

/// Places that the eviction clock passes per call: hardly any where nothing may go, else half a millisecond's worth.
const CLOCK_STEPS_MIN: usize = 512;
const CLOCK_STEPS_MAX: usize = 32_768;
/// It walks farther when one in so many places could do without its entry.
const CLOCK_WORTHWHILE_ONE_IN: usize = 16;

/// Fewer keys than this, and their series, stay in the processor's cache: with TSDB_MSET, 1,000 series cost 6 % more if they
/// are fetched ahead, 2,000 cost 9 % less.
const SOUGHT_KEYS_MIN: usize = 1_024;
/// Sought keys that are remembered.
pub const SOUGHT_KEYS_MAX: usize = 1_024;

/// Where a key that is looked up soon seems to be in a [`KeyTable`].
#[derive(Clone, Copy, Default)]
pub struct SoughtKey(u32);

/// Keys that are looked up soon, in that order: who looks them up need not hash them again.
#[derive(Default)]
struct SoughtKeys {
    /// At most [`SOUGHT_KEYS_MAX`].
    places: Vec<u32>,
    /// The one that was looked up last.
    current: Cell<usize>,
}

/// Entries, which stay where they are, and a hash table of their places; see the head of the file.
pub struct KeyTable {
    entries: Slab<Entry>,
    by_key: HashTable<u32>,
    hasher: DefaultHashBuilder,
    memory_bytes: usize,
    /// Share of the entries of series keys.
    series_memory_bytes: usize,
    clock_hand: usize,
    clock_steps: usize,
    sought: SoughtKeys,
}

impl Default for KeyTable {
    fn default() -> Self {
        KeyTable {
            entries: Slab::default(),
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            memory_bytes: 0,
            series_memory_bytes: 0,
            clock_hand: 0,
            clock_steps: CLOCK_STEPS_MIN,
            sought: SoughtKeys::default(),
        }
    }
}

/// As `==`, without a call for the lengths that keys usually have.
#[inline(always)]
fn is_same(left: &[u8], right: &[u8]) -> bool {
    const WORD: usize = 8;
    if left.len() != right.len() {
        return false;
    }
    let (Some(left_last), Some(right_last)) = (left.last_chunk::<WORD>(), right.last_chunk::<WORD>()) else {
        return left.iter().eq(right);
    };
    // The last word overlaps the one before it unless the length is a multiple of eight.
    let (left_words, right_words) = (left.as_chunks::<WORD>().0, right.as_chunks::<WORD>().0);
    left_last == right_last && left_words.iter().eq(right_words)
}

impl KeyTable {
    /// Place of `key`, valid until it is removed.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        if let Some(place) = self.find_sought(key) {
            return Some(place);
        }
        let hash = self.hasher.hash_one(key);
        let is_it = |place: &u32| {
            let entry = self.entries.get(*place as usize);
            entry.is_some_and(|entry| is_same(&entry.key, key))
        };
        self.by_key.find(hash, is_it).map(|place| *place as usize)
    }

    /// The place of `key` if it is the sought one whose turn it is.
    #[inline]
    fn find_sought(&self, key: &[u8]) -> Option<usize> {
        let current = self.sought.current.get();
        for turn in [current, current + 1] {
            let place = *self.sought.places.get(turn)? as usize;
            // Whatever has happened to the table since: no two entries have the same key.
            if self
                .entries
                .get(place)
                .is_some_and(|entry| is_same(&entry.key, key))
            {
                self.sought.current.set(turn);
                return Some(place);
            }
        }
        None
    }

    /// Forgets what was sought before.
    #[inline]
    pub fn begin_seeking(&mut self) {
        self.sought.places.clear();
        self.sought.current.set(0);
    }

    /// Starts fetching the entry of `key`, to be gone on with by [`KeyTable::fetched`]; `None` if there is none, or the table
    /// is so small that it is in the cache anyway.
    #[inline]
    pub fn seek(&mut self, key: &[u8]) -> Option<SoughtKey> {
        if self.entries.len() < SOUGHT_KEYS_MIN {
            return None;
        }
        let mut found = None;
        self.by_key.find(self.hasher.hash_one(key), |place| {
            if let Some(entry) = self.entries.place(*place as usize) {
                prefetch(entry);
            }
            // Nearly always the right one: few others share the part of the hash that is compared here.
            found.get_or_insert(*place);
            false
        });
        let place = found?;
        if self.sought.places.len() < SOUGHT_KEYS_MAX {
            self.sought.places.push(place);
        }
        Some(SoughtKey(place))
    }

    /// The entry that was sought, or another one in its place.
    #[inline]
    pub fn fetched(&self, sought: SoughtKey) -> Option<&Entry> {
        self.entries.get(sought.0 as usize)
    }

    /// The entry at `place`.
    #[inline]
    pub fn at(&self, place: usize) -> &Entry {
        self.entries
            .get(place)
            .expect("invariant: a place is used while its key is in the table")
    }

    /// The entry at `place`. Changes of its size go through [`KeyTable::set_value`].
    #[inline]
    pub fn at_mut(&mut self, place: usize) -> &mut Entry {
        self.entries
            .get_mut(place)
            .expect("invariant: a place is used while its key is in the table")
    }

    /// Adds a key that is not in the table and returns its place.
    pub fn insert(&mut self, key: &[u8], value: Value, expire_at_ms: i64, stored: StoredKey) -> usize {
        let entry = Entry {
            key: key.into(),
            value,
            expire_at_ms,
            stored,
            dirty_epoch: 0,
            gathered_epoch: 0,
            loaded_at_s: 0,
            referenced: true,
            origin: Origin::Set,
            properties: None,
        };
        self.memory_bytes += entry.memory_bytes();
        self.series_memory_bytes += entry.series_memory_bytes();
        let hash = self.hasher.hash_one(key);
        let place = self.entries.insert(entry);
        let (entries, hasher) = (&self.entries, &self.hasher);
        let listed = u32::try_from(place).expect("invariant: memory holds fewer than 2^32 keys");
        self.by_key.insert_unique(hash, listed, |place| {
            entries
                .get(*place as usize)
                .map_or(0, |entry| hasher.hash_one(&*entry.key))
        });
        place
    }

    /// Replaces the value at `place` by a string, in the old one's memory when the length is the same.
    #[inline]
    pub fn set_string(&mut self, place: usize, bytes: &[u8]) {
        let entry = self.at_mut(place);
        if let Value::String(old) = &mut entry.value
            && old.len() == bytes.len()
        {
            old.copy_from_slice(bytes);
            entry.origin = Origin::Set;
            return;
        }
        self.set_value(place, Value::String(bytes.into()));
    }

    /// Replaces the value at `place`, and returns the old one.
    pub fn set_value(&mut self, place: usize, value: Value) -> Value {
        let entry = self.at_mut(place);
        let before = (entry.memory_bytes(), entry.series_memory_bytes());
        let old = std::mem::replace(&mut entry.value, value);
        entry.origin = Origin::Set;
        let after = (entry.memory_bytes(), entry.series_memory_bytes());
        self.change_memory(before, after);
        old
    }

    fn change_memory(&mut self, before: (usize, usize), after: (usize, usize)) {
        self.memory_bytes = self.memory_bytes + after.0 - before.0;
        self.series_memory_bytes = self.series_memory_bytes + after.1 - before.1;
    }

    /// Replaces the properties at `place`, and returns the old ones.
    pub fn set_properties(
        &mut self,
        place: usize,
        properties: Option<Box<ListedProperties>>,
    ) -> Option<Box<ListedProperties>> {
        let entry = self.at_mut(place);
        let before = (entry.memory_bytes(), entry.series_memory_bytes());
        let old = std::mem::replace(&mut entry.properties, properties);
        let after = (entry.memory_bytes(), entry.series_memory_bytes());
        self.change_memory(before, after);
        old
    }

    /// Takes the entry at `place` out.
    pub fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        let hash = self.hasher.hash_one(&*entry.key);
        if let Ok(listed) = self.by_key.find_entry(hash, |listed| *listed as usize == place) {
            listed.remove();
        }
        self.memory_bytes -= entry.memory_bytes();
        self.series_memory_bytes -= entry.series_memory_bytes();
        Some(entry)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.by_key = HashTable::new();
        (self.memory_bytes, self.series_memory_bytes) = (0, 0);
        self.clock_hand = 0;
    }

    /// Entries in memory, deleted ones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing is in memory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory of all entries.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Memory of the entries of series keys.
    pub fn series_memory_bytes(&self) -> usize {
        self.series_memory_bytes
    }

    /// All places are below this.
    pub fn places(&self) -> usize {
        self.entries.places()
    }

    /// The entry at a place that may be empty.
    pub fn get(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// As [`KeyTable::get`], to change marks but not the size.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut Entry> {
        self.entries.get_mut(place)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Moves the clock hand on and returns the places of at most `victims_max` entries that were not used since it last
    /// passed and that `may_go` lets go. Where many may go it walks farther with each call; where none may, it hardly
    /// walks at all.
    pub fn clock(&mut self, victims_max: usize, mut may_go: impl FnMut(&Entry) -> bool) -> Vec<usize> {
        let places = self.places();
        let steps = self.clock_steps.clamp(CLOCK_STEPS_MIN, CLOCK_STEPS_MAX);
        let (mut victims, mut spared) = (Vec::new(), 0);
        for _ in 0..steps.min(places) {
            if victims.len() == victims_max {
                break;
            }
            self.clock_hand = (self.clock_hand + 1) % places.max(1);
            let place = self.clock_hand;
            let Some(entry) = self.entries.get_mut(place) else {
                continue;
            };
            if !may_go(entry) {
                continue;
            }
            if entry.referenced {
                entry.referenced = false;
                spared += 1;
            } else {
                victims.push(place);
            }
        }
        let found = victims.len() + spared;
        self.clock_steps = if found * CLOCK_WORTHWHILE_ONE_IN >= steps {
            steps * 2
        } else if found == 0 {
            steps / 2
        } else {
            steps
        };
        victims
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
