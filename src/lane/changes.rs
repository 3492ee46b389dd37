//! Every change of a key's value or deadline, so that none bypasses the journal.
//!
//! What begins with `apply` changes memory only: replay calls it with what the journal says.

use crate::refusal::Refusal;

use super::keys::{Origin, Value};
use super::partition::Partition;
use super::series_state::SealedState;
use super::stop::Stop;

impl Partition {
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
        self.keys.at_mut(place).origin = Origin::Patched;
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
            let origin = entry.origin;
            self.set_string(to, &value, expire_at_ms, now_ms)?;
            self.note_origin(to, origin);
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

    /// Deletes the existing key at `place`, whose contents have moved to the key `to`.
    pub fn delete_moved(&mut self, place: usize, to: &[u8]) {
        self.tell_other_ends(place, Some(to));
        self.unlist(place);
        self.delete(place);
    }

    /// The string at `key`, which was just set, came about like this.
    pub fn note_origin(&mut self, key: &[u8], origin: Origin) {
        if origin != Origin::Set
            && let Some(place) = self.keys.find(key)
        {
            self.keys.at_mut(place).origin = origin;
        }
    }
}
