//! Opening a partition: reading the low-water mark, settling batches with the other partitions, replaying the journal.
//!
//! Two passes over the journal. The first only collects evidence about batches of several partitions; when every
//! partition has been heard, [`super::void_batches`] decides which of them never happened; the second replays all others.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::series::SeriesProperties;
use crate::store::{Database, JournalRecord, Reach, Read, StoreError, StoreOperation, StoredKey, layout};

use super::batches::Batches;
use super::checkpoint::Checkpoint;
use super::eviction::Excess;
use super::evidence::Evidence;
use super::journal::{BatchId, JournalBuffer, JournalReader, Operation, PartitionName};
use super::keys::{KeyTable, Value};
use super::labels::LabelTable;
use super::loading::{LoadedKey, damaged_series, load_key, load_key_but, load_stored};
use super::members::Members;
use super::outbox::{Outbox, OutboxEntry};
use super::partition::{Partition, PartitionCounters, PartitionSettings};
use super::replay_places::{RememberedPlaces, SeriesIds};
use super::replay_rows::{self, KeyRows};
use super::rewrites::{Rewrites, TierTotals};
use super::sealing::SealQueue;
use super::series_state::{SealedState, Series};
use super::series_table::SeriesTable;
use super::warmed::WarmedReads;
use super::watches::Watches;

/// A database that has been opened and not replayed yet.
pub struct OpenedPartition {
    store: Database,
    name: PartitionName,
    low_water: u64,
    /// Series whose samples are on record.
    sampled: RefCell<SeriesIds>,
}

impl OpenedPartition {
    /// Reads the marks of an opened database. Blocks.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(store: Database, name: PartitionName) -> Result<OpenedPartition, StoreError> {
        let low_water = store.meta_u64(layout::META_LOW_WATER)?;
        Ok(OpenedPartition {
            store,
            name,
            low_water,
            sampled: RefCell::default(),
        })
    }

    /// First pass: what the journal says about batches. Blocks.
    ///
    /// # Errors
    /// If a record cannot be read or is damaged.
    pub fn evidence(&self) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence {
            name: self.name,
            parts: HashMap::new(),
            outcomes: HashMap::new(),
        };
        let mut sampled = self.sampled.borrow_mut();
        self.store.replay(self.low_water, |record| {
            each_operation(&self.store, &record, |operation| {
                match operation {
                    Operation::BatchBegin { id, participants } => {
                        evidence.parts.insert(id, participants);
                    }
                    Operation::BatchOutcome { id, committed } => {
                        evidence.outcomes.insert(id, committed);
                    }
                    Operation::Sample { series_id, .. } => {
                        sampled.insert(series_id);
                    }
                    _ => {}
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(evidence)
    }

    /// Second pass: replays everything but the parts of `void` batches. Blocks.
    ///
    /// # Errors
    /// If a record or a row cannot be read or is damaged.
    pub fn replay(
        self,
        settings: Arc<PartitionSettings>,
        evidence: &Evidence,
        void: &HashSet<BatchId>,
    ) -> Result<Partition, StoreError> {
        let (store, low_water) = (self.store.clone(), self.low_water);
        let sampled = self.sampled.take().ascending();
        let mut partition = self.empty_partition(settings)?;
        for row in replay_rows::series_rows(&store, &sampled) {
            let (series_id, sealed, data_type, key) = row?;
            partition.add_series(Series::new(series_id, data_type, &key, sealed));
        }
        let mut replayed_bytes = 0;
        store.replay(low_water, |record| {
            partition.sequence = record.sequence;
            replayed_bytes += record.operations.len();
            let mut skipping = false;
            each_operation(&store, &record, |operation| {
                match &operation {
                    Operation::BatchBegin { id, .. } => skipping = void.contains(id),
                    Operation::BatchEnd => skipping = false,
                    Operation::CreateSeries { series_id, .. } if skipping => {
                        partition.next_series_id = partition.next_series_id.max(series_id.saturating_add(1));
                    }
                    _ if skipping => {}
                    _ => partition.apply(&operation)?,
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        partition.replay_places = RememberedPlaces::default();
        partition.finish_replay()?;
        partition.sequence = partition.sequence.max(low_water) + 1;
        partition.counters = PartitionCounters::default();
        partition.checkpoint.recovered(replayed_bytes);
        if partition.store.is_read_only() {
            return Ok(partition);
        }
        // On record from the first commit on, so that a later recovery decides the same.
        for id in evidence
            .parts
            .keys()
            .filter(|id| !evidence.outcomes.contains_key(id))
        {
            partition.journal.batch_outcome(*id, !void.contains(id));
        }
        Ok(partition)
    }

    fn empty_partition(self, settings: Arc<PartitionSettings>) -> Result<Partition, StoreError> {
        let stored_keys = self.store.kv_key_count()?;
        let [hot_samples, hot_bytes, cold_samples, cold_bytes] = self.store.meta_words(layout::META_TIERS)?;
        let tier_totals = TierTotals {
            hot_samples,
            hot_bytes,
            cold_samples,
            cold_bytes,
        };
        let stored_has_rules = self.store.meta_u64(layout::META_HAS_RULES)? != 0;
        settings.rules_seen.fetch_or(stored_has_rules, Ordering::Relaxed);
        let next_stored_deadline_ms = match self.store.expired_rows(i64::MAX - 1, Reach::Disk).current()? {
            Read::Known(Some((row, _))) => {
                layout::decode_deadline_key(row).map_or(i64::MAX, |(deadline, _)| deadline)
            }
            _ => i64::MAX,
        };
        Ok(Partition {
            name: self.name,
            settings,
            counters: PartitionCounters::default(),
            batches: Batches::default(),
            watches: Watches::default(),
            keys: KeyTable::default(),
            series: SeriesTable::default(),
            journal: JournalBuffer::default(),
            sequence: 0,
            epoch: 1,
            completed_epoch: 0,
            key_count: stored_keys,
            stored_keys,
            unlisted_stored_keys: stored_keys,
            next_series_id: self.store.meta_u64(layout::META_NEXT_SERIES_ID)?.max(1),
            changed_series: Vec::new(),
            rewrites: Rewrites::default(),
            events: Vec::new(),
            warmed: WarmedReads::default(),
            decoded: RefCell::default(),
            summaries: RefCell::default(),
            tier_totals,
            stored_tier_totals: tier_totals,
            found_samples: Vec::new(),
            has_rules: stored_has_rules,
            stored_has_rules,
            seal_queue: SealQueue::default(),
            dropped_series: Vec::new(),
            flushed: false,
            deadlines: BTreeSet::new(),
            labels: LabelTable::default(),
            stale_labels: hashbrown::HashMap::new(),
            warmed_labels: Vec::new(),
            outbox: Outbox::default(),
            ends_are_told: false,
            roll_up_depth: 0,
            fetched_buckets: hashbrown::HashMap::new(),
            next_stored_deadline_ms,
            checkpoint: Checkpoint::default(),
            series_memory_bytes: 0,
            excess: Excess::default(),
            dirty_keys: 0,
            cache_enabled: true,
            has_grown: false,
            opening: 0,
            replaying: true,
            replay_places: RememberedPlaces::default(),
            store: self.store,
        })
    }
}

fn each_operation(
    store: &Database,
    record: &JournalRecord<'_>,
    mut visit: impl FnMut(Operation<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut reader = JournalReader::new(record.operations);
    loop {
        match reader.next_operation() {
            Ok(Some(operation)) => visit(operation)?,
            Ok(None) => return Ok(()),
            Err(damage) => {
                let what = format!("journal record {} is damaged: {damage}", record.sequence);
                return Err(StoreError::new(StoreOperation::Decode, store.name(), what));
            }
        }
    }
}

impl Partition {
    /// Place of `key`, read from the disk if needed; `None` if it exists nowhere.
    fn locate_for_replay(&mut self, key: &[u8]) -> Result<Option<usize>, StoreError> {
        if let Some(place) = self.keys.find(key) {
            return Ok(Some(place));
        }
        if self.stored_keys == 0 {
            return Ok(None);
        }
        let series = &self.series;
        match load_key_but(&self.store, key, Reach::Disk, |id| series.place_of(id).is_some())? {
            Read::Known(Some(loaded)) => Ok(Some(self.insert_loaded(key, loaded))),
            _ => Ok(None),
        }
    }

    fn place_for_replay(&mut self, key: &[u8]) -> Result<usize, StoreError> {
        Ok(match self.locate_for_replay(key)? {
            Some(place) => place,
            None => self.keys.insert(key, Value::Absent, 0, StoredKey::default()),
        })
    }

    fn apply(&mut self, operation: &Operation<'_>) -> Result<(), StoreError> {
        match operation {
            Operation::Set {
                key,
                value,
                expire_at_ms,
            } => {
                let place = self.place_for_replay(key)?;
                self.apply_string(place, value, *expire_at_ms);
            }
            Operation::Delete { key } => {
                if let Some(place) = self.locate_for_replay(key)? {
                    self.apply_delete(place);
                }
            }
            Operation::Expire { key, expire_at_ms } => {
                if let Some(place) = self
                    .locate_for_replay(key)?
                    .filter(|place| self.keys.at(*place).is_present())
                {
                    self.set_deadline(place, *expire_at_ms);
                    self.touch_replayed(place);
                }
            }
            Operation::Patch { key, offset, bytes } => {
                let place = self.place_for_replay(key)?;
                self.apply_patch(place, *offset, bytes);
            }
            Operation::CreateSeries {
                key,
                data_type,
                series_id,
            } => {
                self.replay_create_series(key, *data_type, *series_id)?;
            }
            Operation::Sample {
                series_id,
                timestamp,
                value,
                quality,
            } => {
                let sample = crate::series::Sample {
                    timestamp: *timestamp,
                    value: *value,
                    quality: *quality,
                };
                self.replay_sample(*series_id, sample)?;
            }
            Operation::Rename {
                from,
                to,
                members,
                expire_at_ms,
            } => {
                self.replay_rename(from, to, members, *expire_at_ms)?;
            }
            Operation::DeleteRange { series_id, from, to } => {
                self.replay_delete_range(*series_id, *from, *to)?;
            }
            Operation::DropSeries { series_id } => {
                if let Some(member) = self.series.place_of(*series_id) {
                    self.remove_series(member);
                }
                // The rows of a series that a batch has dropped go with its outcome, and count until then.
                let sealed = self.series_row(*series_id)?.map(|(sealed, _, _)| sealed);
                self.drop_rows(*series_id, &sealed.unwrap_or_default());
            }
            Operation::Owe { id, entry } => {
                let entry = OutboxEntry::decode(entry).ok_or_else(|| {
                    let what = format!("journal record {}: damaged outbox entry", self.sequence);
                    StoreError::new(StoreOperation::Decode, self.store.name(), what)
                })?;
                self.outbox.restore(*id, entry, self.sequence, None);
            }
            Operation::Delivered { id } => {
                self.outbox.remove(*id);
            }
            Operation::SetProperties { key, properties } => {
                let properties = SeriesProperties::decode(properties).ok_or_else(|| {
                    let what = format!("journal record {}: damaged properties", self.sequence);
                    StoreError::new(StoreOperation::Decode, self.store.name(), what)
                })?;
                if let Some(place) = self.locate_for_replay(key)? {
                    self.apply_properties(place, Some(properties));
                    self.touch_replayed(place);
                }
            }
            // Replay starts at the record that begins with the flush, whose batch has deleted every row: what `kv`
            // holds now was written later.
            Operation::Flush => {
                let (stored, deadline) = (self.stored_keys, self.next_stored_deadline_ms);
                let totals = self.tier_totals;
                self.apply_flush();
                self.tier_totals = totals;
                (self.key_count, self.stored_keys, self.next_stored_deadline_ms) = (stored, stored, deadline);
                self.unlisted_stored_keys = stored;
                self.flushed = false;
            }
            Operation::BatchBegin { .. } | Operation::BatchEnd | Operation::BatchOutcome { .. } => {}
        }
        Ok(())
    }

    fn touch_replayed(&mut self, place: usize) {
        let epoch = self.epoch;
        let entry = self.keys.at_mut(place);
        self.dirty_keys += usize::from(entry.dirty_epoch != epoch);
        entry.dirty_epoch = epoch;
    }

    fn replay_create_series(&mut self, key: &[u8], data_type: u8, series_id: u64) -> Result<(), StoreError> {
        let place = self.place_for_replay(key)?;
        self.next_series_id = self.next_series_id.max(series_id.saturating_add(1));
        if let Some(member) = self.series.place_of(series_id) {
            // A checkpoint that did not complete has written the key's row already.
            self.attach_series(place, data_type, member);
            return Ok(());
        }
        let member = self.apply_create_series(place, data_type, series_id);
        let row = self.series_row(series_id)?;
        if let (Some((sealed, _, _)), Some(series)) = (row, self.series.get_mut(member)) {
            series.set_sealed(sealed);
            self.adopt_retention(place, member);
        }
        Ok(())
    }

    fn series_row(&mut self, series_id: u64) -> Result<Option<(SealedState, u8, Vec<u8>)>, StoreError> {
        let Read::Known(Some(row)) = self.store.series(series_id, Reach::Disk)? else {
            return Ok(None);
        };
        let (sealed, data_type, key) =
            SealedState::decode(&row).ok_or_else(|| damaged_series(&self.store, series_id))?;
        Ok(Some((sealed, data_type, key.to_vec())))
    }

    fn replay_sample(&mut self, series_id: u64, sample: crate::series::Sample) -> Result<(), StoreError> {
        // A series without a row was deleted further on.
        let Some(member) = self.member_for_replay(series_id)? else {
            return Ok(());
        };
        if self.sequence > self.series_at(member).sealed.sequence {
            let sequence = self.sequence;
            self.apply_sample(member, sample, sequence);
        }
        Ok(())
    }

    fn replay_delete_range(&mut self, series_id: u64, from: i64, to: i64) -> Result<(), StoreError> {
        if let Some(member) = self.member_for_replay(series_id)?
            && self.sequence > self.series_at(member).sealed.sequence
        {
            let sequence = self.sequence;
            self.apply_delete_range(member, from, to, sequence);
        }
        Ok(())
    }

    /// The series, read from its row if needed; its key is looked up at the end, when the key's name is the last one.
    fn member_for_replay(&mut self, series_id: u64) -> Result<Option<u32>, StoreError> {
        if let Some(member) = self.replay_places.place_of(series_id, &self.series) {
            return Ok(Some(member));
        }
        let row = self.series_row(series_id)?;
        Ok(row
            .map(|(sealed, data_type, key)| self.add_series(Series::new(series_id, data_type, &key, sealed))))
    }

    fn replay_rename(
        &mut self,
        from: &[u8],
        to: &[u8],
        members: &[(u8, u64)],
        expire_at_ms: i64,
    ) -> Result<(), StoreError> {
        let mut places = Vec::with_capacity(members.len());
        for (data_type, series_id) in members {
            places.extend(
                self.member_for_replay(*series_id)?
                    .map(|member| (*data_type, member)),
            );
        }
        let source = self.place_for_replay(from)?;
        self.apply_delete(source);
        let target = self.place_for_replay(to)?;
        self.apply_delete(target);
        if !places.is_empty() {
            self.key_count += 1;
            self.apply_rename(from, to, places.into_iter().collect(), expire_at_ms);
        }
        Ok(())
    }

    /// Moves a series key with its `members`; the target does not exist.
    pub(super) fn apply_rename(&mut self, from: &[u8], to: &[u8], members: Members, expire_at_ms: i64) {
        let mut properties = None;
        if let Some(source) = self.keys.find(from) {
            self.before_overwrite(source);
            properties = self.properties(source).cloned();
            self.unlist(source);
            self.keys.set_value(source, Value::Absent);
            self.set_deadline(source, 0);
            self.touch_replayed(source);
        }
        for (_, member) in members.iter() {
            if let Some(series) = self.series.get_mut(*member) {
                series.key = to.into();
            }
            self.changed_series.push(*member);
        }
        let target = match self.keys.find(to) {
            Some(target) => {
                self.before_overwrite(target);
                target
            }
            None => self.keys.insert(to, Value::Absent, 0, StoredKey::default()),
        };
        self.keys.set_value(target, Value::Series(members));
        if let Some(properties) = properties {
            self.list(target, properties);
        }
        self.set_deadline(target, expire_at_ms);
        self.touch_replayed(target);
    }

    /// Gives series that were met without their key to it, and forgets those that no key has any more.
    fn finish_replay(&mut self) -> Result<(), StoreError> {
        let mut loose = self.loose_series();
        loose.sort_unstable_by(|left, right| self.series_at(*left).key.cmp(&self.series_at(*right).key));
        let store = self.store.clone();
        let mut rows = KeyRows::new(&store);
        for member in &loose {
            let key = self.series_at(*member).key.clone();
            if self.keys.find(&key).is_some() {
                continue;
            }
            let series = &self.series;
            let is_loaded = |id| series.place_of(id).is_some();
            if let Some(stored) = rows.get(&key)?
                && let Read::Known(Some(loaded)) = load_stored(&store, &key, stored, Reach::Disk, is_loaded)?
            {
                self.insert_loaded(&key, loaded);
            }
        }
        for member in self.loose_series() {
            self.remove_series(member);
        }
        self.replaying = false;
        Ok(())
    }

    /// Places of the series that no key in the table has.
    fn loose_series(&self) -> Vec<u32> {
        let mut has_key = vec![false; self.series.places() as usize];
        for entry in self.keys.iter() {
            if let Value::Series(members) = &entry.value {
                for (_, member) in members.iter() {
                    if let Some(has_key) = has_key.get_mut(*member as usize) {
                        *has_key = true;
                    }
                }
            }
        }
        let is_loose = |member: &u32| !has_key.get(*member as usize).copied().unwrap_or_default();
        self.series.places_taken().filter(is_loose).collect()
    }

    /// Reads `key` from the disk, for the blocking pool.
    ///
    /// # Errors
    /// If a row cannot be read or is damaged.
    pub fn load_from_disk(store: &Database, key: &[u8]) -> Result<Option<LoadedKey>, StoreError> {
        match load_key(store, key, Reach::Disk)? {
            Read::Known(loaded) => Ok(loaded),
            Read::Cold => Ok(None),
        }
    }
}
