//! Replaying the journal: what each operation leaves in memory, over rows that checkpoints have written before or after it.

use crate::series::{Sample, SeriesProperties};
use crate::store::{Reach, Read, StoreError, StoreOperation, StoredKey};

use super::journal::Operation;
use super::key_bytes::KeyBytes;
use super::keys::Value;
use super::loading::{damaged_series, load_key_but, load_stored};
use super::members::Members;
use super::outbox::OutboxEntry;
use super::partition::Partition;
use super::replay_rows::KeyRows;
use super::series_state::{NO_ENTRY, SealedState, Series};

impl Partition {
    /// Does what an operation on record says.
    ///
    /// # Errors
    /// If the operation is damaged, or a row that it needs cannot be read or is damaged.
    pub(super) fn replay(&mut self, operation: &Operation<'_>) -> Result<(), StoreError> {
        match *operation {
            Operation::Set {
                key,
                value,
                expire_at_ms,
            } => {
                let place = self.place_for_replay(key)?;
                self.apply_string(place, value, expire_at_ms);
            }
            Operation::Patch { key, offset, bytes } => {
                let place = self.place_for_replay(key)?;
                self.apply_patch(place, offset, bytes);
            }
            Operation::Delete { key } => {
                if let Some(place) = self.locate_for_replay(key)? {
                    self.apply_delete(place);
                }
            }
            Operation::Expire { key, expire_at_ms } => self.replay_expire(key, expire_at_ms)?,
            Operation::Rename {
                from,
                to,
                ref members,
                expire_at_ms,
            } => self.replay_rename(from, to, members, expire_at_ms)?,
            Operation::SetProperties { key, properties } => self.replay_properties(key, properties)?,
            Operation::CreateSeries {
                key,
                data_type,
                series_id,
            } => self.replay_create_series(key, data_type, series_id)?,
            Operation::Sample {
                series_id,
                timestamp,
                value,
                quality,
            } => {
                let sample = Sample {
                    timestamp,
                    value,
                    quality,
                };
                self.replay_sample(series_id, sample)?;
            }
            Operation::DeleteRange { series_id, from, to } => {
                self.replay_delete_range(series_id, from, to)?;
            }
            Operation::DropSeries { series_id } => self.replay_drop_series(series_id)?,
            Operation::Owe { id, entry } => self.replay_owe(id, entry)?,
            Operation::Delivered { id } => {
                self.outbox.remove(id);
            }
            Operation::Flush => self.replay_flush(),
            Operation::BatchBegin { .. } | Operation::BatchEnd | Operation::BatchOutcome { .. } => {}
        }
        Ok(())
    }

    /// The record being replayed has a damaged `part`.
    fn damaged(&self, part: &str) -> StoreError {
        let what = format!("journal record {}: damaged {part}", self.sequence);
        StoreError::new(StoreOperation::Decode, self.store.name(), what)
    }

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

    fn touch_replayed(&mut self, place: usize) {
        let epoch = self.epoch;
        let entry = self.keys.at_mut(place);
        self.dirty_keys += usize::from(entry.dirty_epoch != epoch);
        entry.dirty_epoch = epoch;
    }

    fn replay_expire(&mut self, key: &[u8], expire_at_ms: i64) -> Result<(), StoreError> {
        let place = self.locate_for_replay(key)?;
        if let Some(place) = place.filter(|place| self.keys.at(*place).is_present()) {
            self.set_deadline(place, expire_at_ms);
            self.touch_replayed(place);
        }
        Ok(())
    }

    fn replay_properties(&mut self, key: &[u8], properties: &[u8]) -> Result<(), StoreError> {
        let properties = SeriesProperties::decode(properties).ok_or_else(|| self.damaged("properties"))?;
        if let Some(place) = self.locate_for_replay(key)? {
            self.apply_properties(place, Some(properties));
            self.touch_replayed(place);
        }
        Ok(())
    }

    fn replay_drop_series(&mut self, series_id: u64) -> Result<(), StoreError> {
        if let Some(member) = self.series.place_of(series_id) {
            self.remove_series(member);
        }
        // The rows of a series that a batch has dropped go with its outcome, and count until then.
        let sealed = self.series_row(series_id)?.map(|(sealed, _, _)| sealed);
        self.drop_rows(series_id, &sealed.unwrap_or_default());
        Ok(())
    }

    fn replay_owe(&mut self, id: u64, entry: &[u8]) -> Result<(), StoreError> {
        let entry = OutboxEntry::decode(entry).ok_or_else(|| self.damaged("outbox entry"))?;
        self.outbox.restore(id, entry, self.sequence, None);
        Ok(())
    }

    /// Replay starts at the record that begins with the flush, whose batch has deleted every row: what `kv` holds now was
    /// written later.
    fn replay_flush(&mut self) {
        let (stored, deadline) = (self.stored_keys, self.next_stored_deadline_ms);
        let totals = self.tier_totals;
        self.apply_flush();
        self.tier_totals = totals;
        (self.key_count, self.stored_keys, self.next_stored_deadline_ms) = (stored, stored, deadline);
        self.unlisted_stored_keys = stored;
        self.flushed = false;
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

    fn series_row(&mut self, series_id: u64) -> Result<Option<(SealedState, u8, KeyBytes)>, StoreError> {
        let Read::Known(Some(row)) = self.store.series(series_id, Reach::Disk)? else {
            return Ok(None);
        };
        let (sealed, data_type, key) =
            SealedState::decode(&row).ok_or_else(|| damaged_series(&self.store, series_id))?;
        Ok(Some((sealed, data_type, key.into())))
    }

    fn replay_sample(&mut self, series_id: u64, sample: Sample) -> Result<(), StoreError> {
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
        Ok(row.map(|(sealed, data_type, key)| self.add_loose_series(series_id, data_type, key, sealed)))
    }

    /// Adds a series that is met before its key.
    pub(super) fn add_loose_series(
        &mut self,
        id: u64,
        data_type: u8,
        key: KeyBytes,
        sealed: SealedState,
    ) -> u32 {
        self.loose_keys.push((key, id));
        self.add_series(Series::new(id, data_type, sealed))
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
            self.changed_series.push(*member);
        }
        let target = match self.keys.find(to) {
            Some(target) => {
                self.before_overwrite(target);
                target
            }
            None => self.keys.insert(to, Value::Absent, 0, StoredKey::default()),
        };
        for (_, member) in members.iter() {
            self.note_entry(*member, target);
        }
        self.keys.set_value(target, Value::Series(members));
        if let Some(properties) = properties {
            self.list(target, properties);
        }
        self.set_deadline(target, expire_at_ms);
        self.touch_replayed(target);
    }

    /// Gives series that were met without their key to it, and forgets those that no key has any more.
    pub(super) fn finish_replay(&mut self) -> Result<(), StoreError> {
        let mut loose = std::mem::take(&mut self.loose_keys);
        loose.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        let store = self.store.clone();
        let mut rows = KeyRows::new(&store);
        for (key, series_id) in loose {
            let member = self.series.place_of(series_id);
            let is_loose = member.is_some_and(|member| self.series_at(member).entry == NO_ENTRY);
            if !is_loose || self.keys.find(&key).is_some() {
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
}
