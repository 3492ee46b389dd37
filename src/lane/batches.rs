//! Batches of several partitions, as one participant sees them: held keys, gathered parts, and what is not settled.
//!
//! Hold → execute → commit → outcome → forget. Between hold and outcome the batch's keys wait for nobody else; what
//! it changes is gathered apart from the open record and enters it as one marked part at commit. A checkpoint does
//! not pass a part before the coordinator says that every participant has its outcome on record (forget).

use std::collections::{HashMap, HashSet};

use super::journal::{BatchId, JournalBuffer, PartitionName};
use super::partition::Partition;
use super::series_state::{SealedState, Series};

/// Id of a series whose key is gone, and what is sealed of it.
pub type DroppedSeries = (u64, SealedState);

#[derive(Default)]
struct Part {
    keys: Vec<Box<[u8]>>,
    all_keys: bool,
    operations: JournalBuffer,
    dropped_series: Vec<DroppedSeries>,
    /// Oldest record with samples of a dropped series that are nowhere else; 0 = none.
    dropped_sequence: u64,
    /// Record that holds the part; 0 before it is committed.
    sequence: u64,
}

/// See the head of the file.
#[derive(Default)]
pub struct Batches {
    parts: HashMap<BatchId, Part>,
    holders: HashMap<Box<[u8]>, BatchId>,
    holder_of_all: Option<BatchId>,
    /// The batch whose commands run right now.
    running: Option<BatchId>,
    /// No new holds: a checkpoint waits for the present ones to end.
    gated: bool,
    /// Commands that nobody may interrupt wait for a read midway: see [`Batches::freeze`].
    frozen: bool,
}

/// The batch of a read that holds keep nobody from: of one that who holds keys himself waits for.
pub const READS_PAST_HOLDS: BatchId = BatchId::MAX;

impl Batches {
    /// True if no key is held: the hot path's only check.
    #[inline]
    pub fn holds_nothing(&self) -> bool {
        self.holders.is_empty() && self.holder_of_all.is_none() && !self.frozen
    }

    /// True if a command outside of `batch` may not touch `key` now.
    pub fn is_held(&self, key: &[u8], batch: Option<BatchId>) -> bool {
        if batch == Some(READS_PAST_HOLDS) {
            return false;
        }
        let held_by_other = |holder: Option<&BatchId>| holder.is_some_and(|holder| Some(*holder) != batch);
        self.frozen || held_by_other(self.holder_of_all.as_ref()) || held_by_other(self.holders.get(key))
    }

    /// Commands that nobody may interrupt, which have begun, wait for a read (`true`), or go on (`false`). Until
    /// then every key is held and the open record, which has a part of what they do, is not written.
    pub fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// True if the open record may not be written now.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The batch whose commands run right now.
    pub fn running(&self) -> Option<BatchId> {
        self.running
    }

    /// Holds `keys` (or every key) for `id`, all or none; false if any of them is held by another batch.
    pub fn try_hold(&mut self, id: BatchId, keys: &[&[u8]], all_keys: bool) -> bool {
        let is_new = !self.parts.contains_key(&id);
        if is_new && self.gated {
            return false;
        }
        let others = self.holders.values().any(|holder| *holder != id);
        if (all_keys && others)
            || self.frozen
            || keys.iter().any(|key| self.is_held(key, Some(id)))
            || self.is_held_whole(id)
        {
            return false;
        }
        let part = self.parts.entry(id).or_default();
        for key in keys {
            if self.holders.insert((*key).into(), id).is_none() {
                part.keys.push((*key).into());
            }
        }
        if all_keys {
            part.all_keys = true;
            self.holder_of_all = Some(id);
        }
        true
    }

    fn is_held_whole(&self, id: BatchId) -> bool {
        self.holder_of_all.is_some_and(|holder| holder != id)
    }

    /// Opens or closes the gate for new batches.
    pub fn set_gate(&mut self, closed: bool) {
        self.gated = closed;
    }

    /// Diverts what commands write into the part of `id` until [`Batches::leave`].
    pub fn enter(&mut self, id: BatchId, journal: &mut JournalBuffer) {
        if let Some(part) = self.parts.get_mut(&id) {
            std::mem::swap(&mut part.operations, journal);
            self.running = Some(id);
        }
    }

    /// Ends the diversion.
    pub fn leave(&mut self, journal: &mut JournalBuffer) {
        if let Some(part) = self.running.take().and_then(|id| self.parts.get_mut(&id)) {
            std::mem::swap(&mut part.operations, journal);
        }
    }

    /// Remembers a series that the running batch has dropped until the batch's outcome; `None` if no batch is running.
    pub fn drop_later(&mut self, series: &Series) -> Option<()> {
        let part = self.running.and_then(|id| self.parts.get_mut(&id))?;
        part.dropped_series.push((series.id, series.sealed.clone()));
        let oldest = series.first_unsealed_sequence;
        if oldest != 0 && (part.dropped_sequence == 0 || oldest < part.dropped_sequence) {
            part.dropped_sequence = oldest;
        }
        Some(())
    }

    /// Adds the part of `id` to the open record of number `sequence`. False if the batch is unknown here.
    pub fn commit(
        &mut self,
        id: BatchId,
        participants: &[PartitionName],
        journal: &mut JournalBuffer,
        sequence: u64,
    ) -> bool {
        let Some(part) = self.parts.get_mut(&id) else {
            return false;
        };
        journal.batch_part(id, participants, &part.operations);
        part.operations.clear();
        part.sequence = sequence;
        true
    }

    /// The batch is complete everywhere: lets its keys go and hands over the series it dropped.
    pub fn outcome(&mut self, id: BatchId, journal: &mut JournalBuffer) -> Vec<DroppedSeries> {
        self.release_keys(id);
        let Some(part) = self.parts.get_mut(&id) else {
            return Vec::new();
        };
        journal.batch_outcome(id, true);
        part.dropped_sequence = 0;
        std::mem::take(&mut part.dropped_series)
    }

    /// Every part is committed: others may touch the keys again.
    pub fn let_go(&mut self, id: BatchId) {
        self.release_keys(id);
    }

    /// Nothing was committed anywhere: the batch never happened. Only for batches that wrote nothing here.
    pub fn release(&mut self, id: BatchId) {
        self.release_keys(id);
        self.parts.remove(&id);
    }

    fn release_keys(&mut self, id: BatchId) {
        if let Some(part) = self.parts.get_mut(&id) {
            for key in std::mem::take(&mut part.keys) {
                self.holders.remove(&key);
            }
            if std::mem::take(&mut part.all_keys) {
                self.holder_of_all = None;
            }
        }
    }

    /// Every participant has the outcome on record: a checkpoint may pass the part.
    pub fn forget(&mut self, id: BatchId) {
        self.release_keys(id);
        self.parts.remove(&id);
    }

    /// True if a batch has begun and has no committed part yet: memory holds what no record holds.
    pub fn any_uncommitted(&self) -> bool {
        self.parts.values().any(|part| part.sequence == 0)
    }

    /// As [`Batches::any_uncommitted`], not counting `id`.
    pub fn any_uncommitted_but(&self, id: Option<BatchId>) -> bool {
        self.parts
            .iter()
            .any(|(other, part)| part.sequence == 0 && Some(*other) != id)
    }

    /// Empties the part of `id`: what it wrote has been flushed away.
    pub fn clear_part(&mut self, id: Option<BatchId>) {
        if let Some(part) = id.and_then(|id| self.parts.get_mut(&id)) {
            part.operations.clear();
            part.dropped_series.clear();
            part.dropped_sequence = 0;
        }
    }

    /// Batches whose part is in the record `sequence`.
    pub fn parts_in(&self, sequence: u64) -> Vec<BatchId> {
        self.parts
            .iter()
            .filter(|(_, part)| part.sequence == sequence)
            .map(|(id, _)| *id)
            .collect()
    }

    /// True if a part in a record up to `sequence` is not forgotten yet, or if a batch that may yet turn out never to have
    /// happened has dropped samples of such a record.
    pub fn any_unsettled_up_to(&self, sequence: u64) -> bool {
        let is_up_to = |record: u64| record != 0 && record <= sequence;
        self.parts
            .values()
            .any(|part| is_up_to(part.sequence) || is_up_to(part.dropped_sequence))
    }
}

impl Partition {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_held_by_one_batch_at_a_time() {
        let mut batches = Batches::default();
        assert!(batches.try_hold(1, &[b"a", b"b"], false));
        assert!(!batches.try_hold(2, &[b"c", b"b"], false));
        assert!(!batches.is_held(b"c", None), "a refused hold leaves nothing");
        assert!(batches.is_held(b"a", None) && !batches.is_held(b"a", Some(1)));
        assert!(!batches.try_hold(3, &[], true));
        batches.release(1);
        assert!(batches.holds_nothing() && batches.try_hold(3, &[], true));
        assert!(batches.is_held(b"z", None));
    }

    #[test]
    fn a_frozen_partition_holds_every_key() {
        let mut batches = Batches::default();
        assert!(batches.try_hold(1, &[b"a"], false));
        batches.freeze(true);
        assert!(batches.is_frozen() && !batches.holds_nothing());
        assert!(batches.is_held(b"z", None) && batches.is_held(b"a", Some(1)));
        assert!(!batches.is_held(b"z", Some(READS_PAST_HOLDS)));
        assert!(!batches.try_hold(2, &[b"b"], false) && !batches.try_hold(3, &[], true));
        batches.freeze(false);
        assert!(!batches.is_held(b"a", Some(1)) && batches.is_held(b"a", None));
        assert!(batches.try_hold(2, &[b"b"], false));
    }

    #[test]
    fn a_part_enters_the_record_once_and_settles_late() {
        let mut batches = Batches::default();
        let mut journal = JournalBuffer::default();
        assert!(batches.try_hold(7, &[b"a"], false));
        batches.enter(7, &mut journal);
        journal.set(b"a", b"1", 0);
        batches.leave(&mut journal);
        assert!(journal.is_empty() && batches.any_uncommitted());
        assert!(batches.commit(7, &[PartitionName::new("x", 0)], &mut journal, 42));
        assert!(!journal.is_empty() && !batches.any_uncommitted());
        let mut series = Series::new(3, 0, SealedState::default());
        series.first_unsealed_sequence = 40;
        assert!(batches.drop_later(&series).is_none());
        batches.enter(7, &mut journal);
        assert!(batches.drop_later(&series).is_some());
        batches.leave(&mut journal);
        assert!(batches.any_unsettled_up_to(40) && !batches.any_unsettled_up_to(39));
        let dropped = batches.outcome(7, &mut journal);
        assert_eq!(dropped, [(3, SealedState::default())]);
        assert!(
            batches.holds_nothing() && batches.any_unsettled_up_to(42) && !batches.any_unsettled_up_to(41)
        );
        batches.forget(7);
        assert!(batches.parts.is_empty());
    }
}
