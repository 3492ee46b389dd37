//! One partition of one business: its key table, its series, its open journal record and its database.
//!
//! Lives on the lane that owns it; nothing else touches it. Handlers change memory and append to the open record;
//! the commit that follows makes the record durable before any reply leaves (DESIGN: the life of a command).

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::config::TimeUnit;
use crate::refusal::Refusal;
use crate::series::{Label, Sample, SeriesDefaults};
use crate::store::{Database, Reach, Read, StoredKey};

use super::batches::Batches;
use super::checkpoint::Checkpoint;
use super::decoded::DecodedChunks;
use super::eviction::Excess;
use super::journal::{BatchId, JournalBuffer, PartitionName};
use super::keys::{Entry, KeyTable, Value};
use super::label_query::WarmedLabels;
use super::labels::LabelTable;
use super::loading::{LoadedKey, LoadedValue, load_key};
use super::outbox::Outbox;
use super::replay_places::RememberedPlaces;
use super::rewrites::{Rewrites, TierTotals};
use super::samples::FoundSample;
use super::sealing::SealQueue;
use super::series_state::{SealedState, Series};
use super::series_table::SeriesTable;
use super::stop::{Stop, Wait};
use super::warmed::WarmedReads;
use super::watches::Watches;

/// Settings of a partition, from its business and from `[storage]`.
#[derive(Clone, Debug)]
pub struct PartitionSettings {
    /// Index of the business in the configuration.
    pub business: usize,
    /// Unit of `*` and of retention.
    pub time_unit: TimeUnit,
    /// Samples older than the newest by more than this are not shown; 0 = kept for ever. In `time_unit`.
    pub retention: i64,
    /// Chunks older than this go to the cold tier; `None` = there is none. In `time_unit`.
    pub hot_age: Option<i64>,
    /// Samples of one cold chunk; with fewer than half as many old ones, a series keeps them hot.
    pub cold_chunk_samples: usize,
    /// Samples at which a head is sealed.
    pub head_samples_max: usize,
    /// A head without writes for this long is sealed.
    pub head_idle_ms: i64,
    /// Journal bytes after which a checkpoint starts.
    pub checkpoint_journal_bytes: usize,
    /// Time after which a checkpoint starts if there is anything to write.
    pub checkpoint_interval_ms: i64,
    /// Bytes of a value.
    pub value_len_max_bytes: usize,
    /// What series are like unless they were told otherwise; replaced whole while the server runs.
    pub series_defaults: Arc<ArcSwap<SeriesDefaults>>,
    /// Which events are listened to: an [`EventClasses`](super::EventClasses), set while the server runs.
    pub event_classes: Arc<AtomicU32>,
    /// Set for good when the first rule is seen, in any partition.
    pub rules_seen: Arc<AtomicBool>,
}

/// Late samples held in memory per series before they are written to `late`.
pub(super) const LATE_SAMPLES_MAX: usize = 512;

/// Counts since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionCounters {
    /// Look-ups that found a key.
    pub keyspace_hits: u64,
    /// Look-ups that found none.
    pub keyspace_misses: u64,
    /// Look-ups answered by the key table.
    pub cache_hits: u64,
    /// Look-ups that had to ask the database.
    pub cache_misses: u64,
    /// Keys deleted because their time had come.
    pub expired_keys: u64,
    /// Entries dropped by the read cache.
    pub evicted_entries: u64,
    /// Samples added.
    pub samples_added: u64,
    /// Changes of the data since the last checkpoint.
    pub changes: u64,
}

impl PartitionCounters {
    /// Adds the counts of another partition.
    pub fn add(&mut self, other: &PartitionCounters) {
        self.keyspace_hits += other.keyspace_hits;
        self.keyspace_misses += other.keyspace_misses;
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.expired_keys += other.expired_keys;
        self.evicted_entries += other.evicted_entries;
        self.samples_added += other.samples_added;
        self.changes += other.changes;
    }
}

/// See the head of the file.
pub struct Partition {
    /// As named inside batches.
    pub name: PartitionName,
    /// Configuration.
    pub settings: Arc<PartitionSettings>,
    /// Counts since start.
    pub counters: PartitionCounters,
    /// Batches of several partitions that are under way here.
    pub batches: Batches,
    /// Keys that clients WATCH.
    pub watches: Watches,
    pub(super) store: Database,
    pub(super) keys: KeyTable,
    pub(super) series: SeriesTable,
    pub(super) journal: JournalBuffer,
    /// Sequence of the open record.
    pub(super) sequence: u64,
    /// Epoch that changes belong to, and the last one that is written back.
    pub(super) epoch: u32,
    pub(super) completed_epoch: u32,
    /// Keys that exist, expired ones included.
    pub(super) key_count: u64,
    /// Keys in the `kv` family.
    pub(super) stored_keys: u64,
    /// Those that are not in the key table.
    pub(super) unlisted_stored_keys: u64,
    pub(super) next_series_id: u64,
    /// Series whose row is to be written with the open record. A new one gets its row with its first seal, at the
    /// latest when a checkpoint takes its record away.
    pub(super) changed_series: Vec<u32>,
    /// Background work on what is sealed.
    pub(super) rewrites: Rewrites,
    /// Ranges read from the disk for commands that run again.
    pub(super) warmed: WarmedReads,
    /// Events to be told when the open record is written.
    pub(super) events: Vec<super::KeyEvent>,
    /// Chunks decoded for reads that come again.
    pub(super) decoded: RefCell<DecodedChunks>,
    /// Sums over all series, and the same as last written.
    pub(super) tier_totals: TierTotals,
    pub(super) stored_tier_totals: TierTotals,
    /// Lent to commands on many series.
    pub(super) found_samples: Vec<FoundSample>,
    /// There are rules, or have been, and whether the disk says so.
    pub(super) has_rules: bool,
    pub(super) stored_has_rules: bool,
    /// Series to seal with one of the next records.
    pub(super) seal_queue: SealQueue,
    /// Ids whose rows are to be deleted with the open record.
    pub(super) dropped_series: Vec<u64>,
    /// Everything is to be deleted before the open record.
    pub(super) flushed: bool,
    /// Labels of keys in the table.
    pub(super) labels: LabelTable,
    /// Labels that `kv` lists a key with, of keys in the table that have others now.
    pub(super) stale_labels: HashMap<Box<[u8]>, Vec<Label>>,
    /// What is owed to keys elsewhere.
    pub(super) outbox: Outbox,
    /// Open buckets by destination, for commands that are about to be run again.
    pub(super) fetched_buckets: HashMap<Box<[u8]>, Option<Sample>>,
    /// The other ends of the rules of keys that are renamed or replaced now hear of it from whoever does that.
    pub ends_are_told: bool,
    /// Rules that are being followed, one within the other.
    pub(super) roll_up_depth: usize,
    /// What the disk has answered to label queries that are about to be run again.
    pub(super) warmed_labels: Vec<WarmedLabels>,
    /// Deadlines of keys in the table.
    pub(super) deadlines: BTreeSet<(i64, Box<[u8]>)>,
    /// Earliest deadline among the rows of `kv`; `i64::MAX` = none.
    pub(super) next_stored_deadline_ms: i64,
    pub(super) checkpoint: Checkpoint,
    /// Memory of loaded series. Follows growth by doubling at once, the rest with the next sweep.
    pub(super) series_memory_bytes: usize,
    /// How far series are over budget: a checkpoint, which lets more of them be evicted, comes sooner.
    pub(super) excess: Excess,
    /// Entries that have become dirty in this epoch.
    pub(super) dirty_keys: usize,
    /// The journal is being replayed: series without a key stay until its end.
    pub(super) replaying: bool,
    /// Where the replay has met series.
    pub(super) replay_places: RememberedPlaces,
    /// The read cache keeps clean entries.
    pub cache_enabled: bool,
    /// The database's write buffers have been raised from their idle size.
    pub(super) has_grown: bool,
    /// Tells this opening of the partition from others; the supervisor's own.
    pub opening: u64,
}

/// Journal bytes after which a database counts as loaded.
const LOADED_JOURNAL_BYTES: usize = 64 << 10;

impl Partition {
    /// `business/partition`.
    pub fn label(&self) -> &str {
        self.store.name()
    }

    /// The database, for the blocking pool.
    pub fn database(&self) -> &Database {
        &self.store
    }

    /// Keys that exist; a key whose time has come counts until it is deleted, as in Redis.
    pub fn key_count(&self) -> u64 {
        self.key_count
    }

    /// Keys with a deadline that are in memory.
    pub fn deadline_count(&self) -> u64 {
        self.deadlines.len() as u64
    }

    /// Series in memory.
    pub fn loaded_series(&self) -> usize {
        self.series.len()
    }

    /// True once, when the partition has seen real load: its database's buffers should grow.
    pub fn take_growth(&mut self) -> bool {
        let grows = !self.has_grown
            && !self.store.is_read_only()
            && self.checkpoint.journal_bytes() >= LOADED_JOURNAL_BYTES;
        self.has_grown = self.has_grown || grows;
        grows
    }

    /// Samples of the series in memory, their sealed ones included.
    pub fn loaded_samples(&self) -> u64 {
        self.series.iter().map(|series| series.sample_count()).sum()
    }

    /// Memory of keys and series.
    pub fn memory_bytes(&self) -> usize {
        self.plain_memory_bytes() + self.series_memory_bytes()
    }

    /// Entries of the key table, and the bytes of those without series.
    pub fn table_size(&self) -> (usize, usize) {
        (self.keys.len(), self.plain_memory_bytes())
    }

    /// Samples and bytes of the sealed series, loaded or not, by tier.
    pub fn tier_totals(&self) -> TierTotals {
        self.tier_totals
    }

    /// True if the open record has something to write.
    pub fn has_changes(&self) -> bool {
        !self.journal.is_empty()
            || self.rewrites.has_finished()
            || self.flushed
            || self.seals_are_due()
            || !self.dropped_series.is_empty()
            || !self.changed_series.is_empty()
            || self.checkpoint.low_water_due().is_some()
    }

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
        entry.referenced = true;
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
    fn locate(&mut self, key: &[u8]) -> Result<Option<usize>, Stop> {
        if let Some(place) = self.keys.find(key) {
            self.counters.cache_hits += 1;
            return Ok(Some(place));
        }
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
                        let series = || Series::new(id, data_type, key, sealed);
                        (data_type, known.unwrap_or_else(|| self.add_series(series())))
                    })
                    .collect(),
            ),
        };
        let place = self.keys.insert(key, value, expire_at_ms, stored);
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

    /// Marks the entry at `place` as changed in the open record.
    #[inline]
    pub(super) fn touch(&mut self, place: usize) {
        let epoch = self.epoch;
        let entry = self.keys.at_mut(place);
        self.dirty_keys += usize::from(entry.dirty_epoch != epoch);
        entry.dirty_epoch = epoch;
        entry.referenced = true;
        self.counters.changes += 1;
        if !self.watches.is_empty() {
            self.watches.touch(self.keys.at(place).key());
        }
    }

    /// Sets `key` to a string; `expire_at_ms` 0 = never.
    ///
    /// # Errors
    /// `Wait::Load`, or a key that is too long.
    #[inline]
    pub fn set_string(
        &mut self,
        key: &[u8],
        value: &[u8],
        expire_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), Stop> {
        let place = self.place_to_write(key, now_ms)?;
        self.journal.set(key, value, expire_at_ms);
        self.apply_string(place, value, expire_at_ms);
        Ok(())
    }

    /// Sets the existing key at `place` to a string, without another look-up; `expire_at_ms` 0 = never.
    #[inline]
    pub fn replace_string(&mut self, place: usize, value: &[u8], expire_at_ms: i64) {
        self.journal.set(self.keys.at(place).key(), value, expire_at_ms);
        self.apply_string(place, value, expire_at_ms);
    }

    #[inline]
    pub(super) fn apply_string(&mut self, place: usize, value: &[u8], expire_at_ms: i64) {
        self.before_overwrite(place);
        match &self.keys.at(place).value {
            Value::Absent => self.key_count += 1,
            Value::Series(_) => self.drop_value(place),
            Value::String(_) => {}
        }
        self.keys.set_string(place, value);
        self.set_deadline(place, expire_at_ms);
        self.touch(place);
    }

    /// Overwrites part of the string at `key` (created if absent), zero bytes filling a gap. Returns the new length.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`, or a value that would be too long.
    pub fn patch_string(
        &mut self,
        key: &[u8],
        offset: usize,
        bytes: &[u8],
        now_ms: i64,
    ) -> Result<usize, Stop> {
        let place = self.place_to_write(key, now_ms)?;
        if matches!(self.keys.at(place).value, Value::Series(_)) {
            return Err(Refusal::WrongType.into());
        }
        let len = offset.saturating_add(bytes.len());
        if len > self.settings.value_len_max_bytes {
            let text = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
            return Err(Refusal::text(text).into());
        }
        self.journal.patch(key, offset, bytes);
        Ok(self.apply_patch(place, offset, bytes))
    }

    pub(super) fn apply_patch(&mut self, place: usize, offset: usize, bytes: &[u8]) -> usize {
        self.before_change(place);
        let old = match self.keys.set_value(place, Value::Absent) {
            Value::String(old) => old,
            _ => {
                self.key_count += 1;
                Box::default()
            }
        };
        let mut value = Vec::from(old);
        let end = offset + bytes.len();
        if value.len() < end {
            value.resize(end, 0);
        }
        if let Some(target) = value.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        let len = value.len();
        self.keys
            .set_value(place, Value::String(value.into_boxed_slice()));
        self.keys.at_mut(place).is_patched = true;
        self.touch(place);
        len
    }

    /// Sets the deadline of the existing key at `place`; 0 = never.
    pub fn set_expiry(&mut self, place: usize, expire_at_ms: i64) {
        self.before_change(place);
        self.journal.expire(self.keys.at(place).key(), expire_at_ms);
        self.set_deadline(place, expire_at_ms);
        self.touch(place);
    }

    #[inline]
    pub(super) fn set_deadline(&mut self, place: usize, expire_at_ms: i64) {
        let entry = self.keys.at_mut(place);
        let before = std::mem::replace(&mut entry.expire_at_ms, expire_at_ms);
        if before == expire_at_ms {
            return;
        }
        let key = self.keys.at(place).key();
        if before != 0 {
            self.deadlines.remove(&(before, Box::from(key)));
        }
        if expire_at_ms != 0 {
            self.deadlines.insert((expire_at_ms, key.into()));
        }
    }

    /// Memory of the key at `place`, that of its loaded series included.
    pub fn key_memory_bytes(&self, place: usize) -> usize {
        let entry = self.keys.at(place);
        let series = match &entry.value {
            Value::Series(members) => members
                .iter()
                .map(|member| self.series_at(member.1).memory_bytes())
                .sum(),
            _ => 0,
        };
        entry.memory_bytes() + series
    }

    /// Deletes the existing key at `place`.
    pub fn delete(&mut self, place: usize) {
        self.journal.delete(self.keys.at(place).key());
        self.apply_delete(place);
    }

    pub(super) fn apply_delete(&mut self, place: usize) {
        if !self.keys.at(place).is_present() {
            return;
        }
        self.before_overwrite(place);
        self.drop_value(place);
        self.set_deadline(place, 0);
        self.key_count -= 1;
        self.touch(place);
    }

    pub(super) fn expire_at(&mut self, place: usize) {
        // Nothing can be put on record: the key stays, and every look-up finds it expired.
        if self.store.is_read_only() {
            return;
        }
        self.counters.expired_keys += 1;
        if self.is_listened_to() {
            let key: Box<[u8]> = self.keys.at(place).key().into();
            self.note_event(super::EventClasses::EXPIRED, "expired", &key);
        }
        self.delete(place);
    }

    /// Empties the entry at `place` and schedules the rows of its series for deletion.
    fn drop_value(&mut self, place: usize) {
        if !self.replaying {
            self.tell_other_ends(place, None);
        }
        self.unlist(place);
        if let Value::Series(members) = self.keys.set_value(place, Value::Absent) {
            if self.replaying {
                return;
            }
            for (_, member) in members.iter() {
                if let Some(series) = self.remove_series(*member) {
                    self.journal.drop_series(series.id);
                    if self.batches.drop_later(&series).is_none() {
                        self.drop_rows(series.id, &series.sealed);
                    }
                }
            }
        }
    }

    /// The rows of the series go with the open record.
    pub(super) fn drop_rows(&mut self, series_id: u64, sealed: &SealedState) {
        self.tier_totals.change(sealed, &SealedState::default());
        self.dropped_series.push(series_id);
    }

    /// Gives the existing key `from` the name `to`, replacing what was there. Both keys are warm.
    ///
    /// # Errors
    /// `Wait::Load`, or a name that is too long.
    pub fn rename(&mut self, from: &[u8], to: &[u8], now_ms: i64) -> Result<(), Stop> {
        self.check_key(to)?;
        let Some(source) = self.find(from, now_ms)? else {
            return Err(Refusal::NoSuchKey.into());
        };
        if from == to {
            return Ok(());
        }
        let entry = self.keys.at(source);
        if let Value::String(value) = &entry.value {
            let (value, expire_at_ms) = (value.clone(), entry.expire_at_ms);
            self.set_string(to, &value, expire_at_ms, now_ms)?;
            if let Some(source) = self.find(from, now_ms)? {
                self.delete(source);
            }
            return Ok(());
        }
        if let Some(target) = self.find(to, now_ms)? {
            self.delete(target);
        }
        if let Some(source) = self.keys.find(from) {
            let entry = self.keys.at(source);
            let Value::Series(members) = &entry.value else {
                return Ok(());
            };
            let (members, expire_at_ms) = (members.clone(), entry.expire_at_ms);
            self.tell_other_ends(source, Some(to));
            let ids: Vec<(u8, u64)> = members
                .iter()
                .map(|(t, member)| (*t, self.series_at(*member).id))
                .collect();
            self.journal.rename(from, to, &ids, expire_at_ms);
            if let Some(listed) = self.keys.at(source).properties() {
                self.journal.set_properties(to, &listed.properties);
            }
            self.apply_rename(from, to, members, expire_at_ms);
        }
        if !self.watches.is_empty() {
            self.watches.touch(from);
            self.watches.touch(to);
        }
        Ok(())
    }

    /// What the key holds: its string, or its series (data type, place), and its deadline.
    ///
    /// # Errors
    /// `Wait::Load`.
    #[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
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

    /// Batches whose part is in the open record.
    pub fn open_batch_parts(&self) -> HashSet<BatchId> {
        self.batches.parts_in(self.sequence).into_iter().collect()
    }

    /// From now on, what commands write is gathered as the part of `batch`.
    pub fn enter_batch(&mut self, batch: BatchId) {
        self.batches.enter(batch, &mut self.journal);
    }

    /// Ends [`Partition::enter_batch`].
    pub fn leave_batch(&mut self) {
        self.batches.leave(&mut self.journal);
    }

    /// Deletes the existing key at `place`, whose contents have moved to the key `to`.
    pub fn delete_moved(&mut self, place: usize, to: &[u8]) {
        self.tell_other_ends(place, Some(to));
        self.unlist(place);
        self.delete(place);
    }

    /// Puts the part of `batch` on record, with the open record.
    pub fn commit_batch(&mut self, batch: BatchId, participants: &[PartitionName]) -> bool {
        let sequence = self.sequence;
        self.batches
            .commit(batch, participants, &mut self.journal, sequence)
    }

    /// Lets the keys of a complete batch go and puts its outcome on record, with the open record.
    pub fn settle_batch(&mut self, batch: BatchId) {
        self.outbox.complete(batch);
        for (id, sealed) in self.batches.outcome(batch, &mut self.journal) {
            self.drop_rows(id, &sealed);
        }
    }

    /// The batch never happened: on record with the open record. Memory still holds it: close the partition then.
    pub fn void_batch(&mut self, batch: BatchId) {
        self.journal.batch_outcome(batch, false);
    }
}
