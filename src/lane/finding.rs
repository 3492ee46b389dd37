//! Finding keys: in the key table, or in the database without ever waiting for it.

use crate::refusal::Refusal;
use crate::store::{Reach, Read, StoredKey};

use super::keys::{Entry, Origin, Value};
use super::loading::{LoadedKey, LoadedValue, load_key};
use super::partition::Partition;
use super::series_state::Series;
use super::stop::{Stop, Wait};

impl Partition {
    /// Place of a key that exists and has not expired.
    ///
    /// # Errors
    /// `Wait::Load` if the key has to be read from the disk.
    #[inline]
    pub fn find(&mut self, key: &[u8], now_ms: i64) -> Result<Option<usize>, Stop> {
        let Some(place) = self.locate(key)? else {
            self.counters.keyspace_misses += 1;
            return Ok(None);
        };
        let entry = self.keys.at_mut(place);
        // Written only if it changes: what is not written need not go back to memory.
        if !entry.referenced {
            entry.referenced = true;
        }
        if !entry.is_present() {
            self.counters.keyspace_misses += 1;
            return Ok(None);
        }
        if entry.is_expired(now_ms) {
            self.expire_at(place);
            self.counters.keyspace_misses += 1;
            return Ok(None);
        }
        self.counters.keyspace_hits += 1;
        Ok(Some(place))
    }

    /// Place of the key in the table, whether it exists or not, or `None` if it exists nowhere.
    #[inline]
    pub(super) fn locate(&mut self, key: &[u8]) -> Result<Option<usize>, Stop> {
        if let Some(place) = self.keys.find(key) {
            self.counters.cache_hits += 1;
            return Ok(Some(place));
        }
        self.locate_stored(key)
    }

    /// As [`Partition::locate`], for a key that is not in the table.
    #[inline(never)]
    fn locate_stored(&mut self, key: &[u8]) -> Result<Option<usize>, Stop> {
        if self.stored_keys == 0 {
            return Ok(None);
        }
        self.counters.cache_misses += 1;
        match load_key(&self.store, key, Reach::Memory)? {
            Read::Cold => Err(Stop::Wait(Wait::Load(key.into()))),
            Read::Known(None) => Ok(None),
            Read::Known(Some(loaded)) => Ok(Some(self.insert_loaded(key, loaded))),
        }
    }

    /// Makes sure that looking `key` up will not have to wait for the disk.
    ///
    /// # Errors
    /// `Wait::Load` if it would.
    #[inline]
    pub fn warm(&mut self, key: &[u8]) -> Result<(), Stop> {
        if self.stored_keys > 0 {
            self.locate(key).map(|_| ())
        } else {
            Ok(())
        }
    }

    /// Puts what was read of `key` into the table.
    pub(super) fn insert_loaded(&mut self, key: &[u8], loaded: LoadedKey) -> usize {
        let LoadedKey {
            value,
            expire_at_ms,
            properties,
        } = loaded;
        let stored = StoredKey {
            exists: true,
            expire_at_ms,
            labelled: properties
                .as_ref()
                .is_some_and(|properties| !properties.labels.is_empty()),
        };
        let value = match value {
            LoadedValue::String(bytes) => Value::String(bytes),
            LoadedValue::Series(rows) => Value::Series(
                rows.into_iter()
                    .map(|(id, data_type, sealed)| {
                        // Replay may have met the series before its key.
                        let known = self.series.place_of(id);
                        let series = || Series::new(id, data_type, sealed);
                        (data_type, known.unwrap_or_else(|| self.add_series(series())))
                    })
                    .collect(),
            ),
        };
        let place = self.keys.insert(key, value, expire_at_ms, stored);
        if let Value::Series(members) = &self.keys.at(place).value {
            for (_, member) in members.clone().iter() {
                self.note_entry(*member, place);
            }
        }
        self.unlisted_stored_keys = self.unlisted_stored_keys.saturating_sub(1);
        let entry = self.keys.at_mut(place);
        entry.dirty_epoch = self.completed_epoch;
        if let Some(properties) = properties {
            self.list(place, properties);
        }
        place
    }

    /// Takes in a key that the blocking pool has read, unless the table or the family changed meanwhile.
    pub fn finish_load(&mut self, key: &[u8], loaded: Option<LoadedKey>, completed_epoch: u32) {
        if completed_epoch != self.completed_epoch || self.keys.find(key).is_some() {
            return;
        }
        match loaded {
            Some(loaded) => {
                self.insert_loaded(key, loaded);
            }
            None => {
                let place = self.keys.insert(key, Value::Absent, 0, StoredKey::default());
                let entry = self.keys.at_mut(place);
                entry.dirty_epoch = self.completed_epoch;
            }
        }
    }

    /// Number of the last completed checkpoint, to be handed back to [`Partition::finish_load`].
    pub fn completed_epoch(&self) -> u32 {
        self.completed_epoch
    }

    /// The entry at `place`.
    #[inline]
    pub fn entry(&self, place: usize) -> &Entry {
        self.keys.at(place)
    }

    /// The string at `key`, `None` if the key does not exist.
    ///
    /// # Errors
    /// `WRONGTYPE` if it holds something else.
    #[inline]
    pub fn string(&mut self, key: &[u8], now_ms: i64) -> Result<Option<&[u8]>, Stop> {
        match self.find(key, now_ms)? {
            None => Ok(None),
            Some(place) => match &self.keys.at(place).value {
                Value::String(value) => Ok(Some(value)),
                _ => Err(Refusal::WrongType.into()),
            },
        }
    }

    /// Place to write `key` at: existing, expired (then deleted first) or new.
    #[inline]
    pub(super) fn place_to_write(&mut self, key: &[u8], now_ms: i64) -> Result<usize, Stop> {
        match self.locate(key)? {
            Some(place) => {
                if self.keys.at(place).is_present() && self.keys.at(place).is_expired(now_ms) {
                    self.expire_at(place);
                }
                Ok(place)
            }
            None => {
                self.check_key(key)?;
                Ok(self.keys.insert(key, Value::Absent, 0, StoredKey::default()))
            }
        }
    }

    /// Checks the length of a key that may be about to be created.
    ///
    /// # Errors
    /// If it is too long.
    #[inline]
    pub fn check_key(&self, key: &[u8]) -> Result<(), Refusal> {
        let max = crate::limits::KEY_LEN_MAX_BYTES;
        if key.len() > max {
            return Err(Refusal::text(format!("ERR key is longer than {max} bytes")));
        }
        Ok(())
    }

    /// What the key holds: its string, or its series (data type, place), and its deadline.
    ///
    /// # Errors
    /// `Wait::Load`.
    #[expect(clippy::type_complexity, reason = "callers take it apart at once")]
    pub fn image_parts(
        &mut self,
        key: &[u8],
        now_ms: i64,
    ) -> Result<Option<(Option<Box<[u8]>>, Vec<(u8, u32)>, i64)>, Stop> {
        let Some(place) = self.find(key, now_ms)? else {
            return Ok(None);
        };
        let entry = self.keys.at(place);
        Ok(Some(match &entry.value {
            Value::String(value) => (Some(value.clone()), Vec::new(), entry.expire_at_ms),
            Value::Series(members) => (None, members.to_vec(), entry.expire_at_ms),
            Value::Absent => return Ok(None),
        }))
    }

    /// How the string at `key`, which has just been looked up, came about.
    pub fn origin(&self, key: &[u8]) -> Origin {
        let place = self.keys.find(key);
        place.map_or(Origin::Set, |place| self.keys.at(place).origin)
    }
}
