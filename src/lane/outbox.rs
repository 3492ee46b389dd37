//! What a partition owes to keys of other partitions: rolled-up buckets and news about the other end of a rule.
//!
//! An entry goes on record together with the change that caused it and leaves when its delivery is on record, so a
//! crash in between delivers it again: every delivery states a result and may be repeated. Checkpoints do not pass a
//! record whose entries are not delivered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::journal::BatchId;

pub use super::outbox_entry::{OutboxEntry, Side};

struct Waiting {
    entry: OutboxEntry,
    /// Record that holds it.
    sequence: u64,
    /// The batch that wrote it, and whether that batch is complete everywhere.
    batch: Option<BatchId>,
    is_complete: bool,
    /// Handed out to be delivered.
    taken: bool,
    /// Not to be handed out again before its batch is committed.
    is_deferred: bool,
}

/// Entries that are not delivered yet, in the order in which they were made.
#[derive(Default)]
pub struct Outbox {
    entries: BTreeMap<u64, Waiting>,
    next_id: u64,
    /// Keys of destinations with the number of rollups that they are owed.
    rolled_up: HashMap<Box<[u8]>, usize>,
}

impl Outbox {
    /// Adds an entry; returns its number.
    pub fn push(&mut self, entry: OutboxEntry, sequence: u64, batch: Option<BatchId>) -> u64 {
        self.next_id += 1;
        self.restore(self.next_id, entry, sequence, batch);
        self.next_id
    }

    /// Adds an entry read from the journal.
    pub fn restore(&mut self, id: u64, entry: OutboxEntry, sequence: u64, batch: Option<BatchId>) {
        self.next_id = self.next_id.max(id);
        self.take_out(id);
        if let Some(destination) = entry.destination() {
            *self.rolled_up.entry(destination.into()).or_default() += 1;
        }
        self.entries.insert(
            id,
            Waiting {
                entry,
                sequence,
                batch,
                is_complete: batch.is_none(),
                taken: false,
                is_deferred: false,
            },
        );
    }

    /// The entry has been delivered.
    pub fn remove(&mut self, id: u64) -> bool {
        self.take_out(id).is_some()
    }

    fn take_out(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.entries.remove(&id)?;
        if let Some(destination) = waiting.entry.destination()
            && let Some(count) = self.rolled_up.get_mut(destination)
        {
            *count -= 1;
            if *count == 0 {
                self.rolled_up.remove(destination);
            }
        }
        Some(waiting)
    }

    /// True if a rollup of the key is not delivered: what is written to it now may be overwritten by what was read before.
    pub fn owes_rollup_to(&self, destination: &[u8]) -> bool {
        !self.rolled_up.is_empty() && self.rolled_up.contains_key(destination)
    }

    /// The entry has been delivered but for this; returns the number of that, which stands in for it and comes after
    /// all others. `sequence` is the record that says so.
    pub fn replace(&mut self, id: u64, rest: OutboxEntry, sequence: u64) -> Option<u64> {
        let waiting = self.take_out(id)?;
        let next = self.push(rest, sequence, waiting.batch);
        if let Some(replaced) = self.entries.get_mut(&next) {
            replaced.is_complete = waiting.is_complete;
        }
        Some(next)
    }

    /// Every part of the batch is on record: its entries may be delivered.
    pub fn complete(&mut self, batch: BatchId) {
        for waiting in self.entries.values_mut() {
            waiting.is_complete |= waiting.batch == Some(batch);
        }
    }

    /// Entries of the batch that are not delivered.
    pub fn count_of(&self, batch: BatchId) -> usize {
        self.entries
            .values()
            .filter(|waiting| waiting.batch == Some(batch))
            .count()
    }

    /// Number of the first entry of the batch that is not delivered.
    pub fn first_of(&self, batch: BatchId) -> Option<u64> {
        let mut entries = self.entries.iter();
        entries.find_map(|(id, waiting)| (waiting.batch == Some(batch)).then_some(*id))
    }

    /// Takes entries in records before `sequence`, at most `max`; they stay listed until removed.
    pub fn take_ready(&mut self, sequence: u64, max: usize) -> Vec<(u64, OutboxEntry)> {
        let ready = self
            .entries
            .iter_mut()
            .filter(|(_, waiting)| !waiting.taken && waiting.is_complete && waiting.sequence < sequence);
        ready
            .take(max)
            .map(|(id, waiting)| {
                waiting.taken = true;
                (*id, waiting.entry.clone())
            })
            .collect()
    }

    /// Takes the entries of a batch that is not committed whose keys are among `held` (`None`: of all); they stay
    /// listed until removed.
    pub fn take_of(&mut self, batch: BatchId, held: Option<&BTreeSet<Box<[u8]>>>) -> Vec<(u64, OutboxEntry)> {
        let own = self.entries.iter_mut().filter(|(_, waiting)| {
            !waiting.taken
                && !waiting.is_deferred
                && waiting.batch == Some(batch)
                && held.is_none_or(|held| held.contains(waiting.entry.target()))
        });
        own.map(|(id, waiting)| {
            waiting.taken = true;
            (*id, waiting.entry.clone())
        })
        .collect()
    }

    /// An entry that could not be delivered within its batch waits until that is committed.
    pub fn defer(&mut self, id: u64) {
        if let Some(waiting) = self.entries.get_mut(&id) {
            (waiting.taken, waiting.is_deferred) = (false, true);
        }
    }

    /// Entries that could not be delivered may be taken again.
    pub fn give_back(&mut self, ids: &[u64]) {
        for id in ids {
            if let Some(waiting) = self.entries.get_mut(id) {
                waiting.taken = false;
            }
        }
    }

    /// True if an entry of a record up to `sequence` is not delivered.
    pub fn any_up_to(&self, sequence: u64) -> bool {
        self.entries.values().any(|waiting| waiting.sequence <= sequence)
    }

    /// True if the record `sequence` has entries that do not wait for a batch.
    pub fn any_in(&self, sequence: u64) -> bool {
        !self.entries.is_empty()
            && self
                .entries
                .values()
                .any(|waiting| waiting.sequence == sequence && waiting.batch.is_none())
    }

    /// True if an entry that is not delivered names `key`.
    pub fn names(&self, key: &[u8]) -> bool {
        self.entries.values().any(|waiting| waiting.entry.names(key))
    }

    /// Entries not delivered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if everything is delivered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.rolled_up.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::outbox_entry::tests::entries;

    #[test]
    fn a_batch_does_what_it_owes_to_the_keys_that_it_holds() {
        let mut outbox = Outbox::default();
        let [rollup, relink, _, create] = entries().try_into().expect("four entries");
        let own = outbox.push(rollup, 10, Some(7));
        outbox.push(relink.clone(), 10, Some(8));
        let other = outbox.push(relink, 10, None);
        outbox.push(create, 10, Some(7));
        let held = BTreeSet::from([b"d"[..].into(), b"s"[..].into()]);
        let taken: Vec<u64> = outbox.take_of(7, Some(&held)).iter().map(|each| each.0).collect();
        assert_eq!(taken, [own], "of this batch, to a key that it holds");
        assert!(outbox.take_of(7, Some(&held)).is_empty(), "handed out once");
        outbox.defer(own);
        assert!(outbox.take_of(7, Some(&held)).is_empty(), "not before the commit");
        assert_eq!(outbox.take_ready(11, 9).len(), 1);
        outbox.remove(other);
        outbox.complete(7);
        assert_eq!(outbox.take_ready(11, 9).len(), 2);
    }

    #[test]
    fn what_is_left_of_an_entry_comes_last_and_belongs_to_its_batch() {
        let mut outbox = Outbox::default();
        let [rollup, relink, _, create] = entries().try_into().expect("four entries");
        let first = outbox.push(rollup.clone(), 10, Some(7));
        let second = outbox.push(relink, 10, Some(7));
        assert_eq!(outbox.first_of(7), Some(first));
        let third = outbox.replace(first, create.clone(), 11).expect("it was there");
        assert_eq!(outbox.replace(first, create, 11), None);
        assert_eq!((outbox.first_of(7), outbox.first_of(8)), (Some(second), None));
        assert!(outbox.take_ready(12, 9).is_empty(), "its batch may never happen");
        outbox.complete(7);
        let fourth = outbox.replace(third, rollup, 12).expect("it was there");
        assert_eq!(
            (outbox.take_ready(12, 9).len(), outbox.take_ready(13, 9).len()),
            (1, 1)
        );
        assert!(outbox.remove(second) && outbox.any_up_to(12) && !outbox.any_up_to(11));
        assert_eq!((outbox.first_of(7), outbox.count_of(7)), (Some(fourth), 1));
        assert!(!outbox.any_in(12), "nobody who writes then waits for it");
    }

    #[test]
    fn entries_wait_for_their_record_and_their_batch() {
        let mut outbox = Outbox::default();
        let [first, second, third, _] = entries().try_into().expect("four entries");
        let first = outbox.push(first, 10, None);
        outbox.push(second, 10, Some(7));
        outbox.push(third, 11, None);
        assert!(outbox.take_ready(10, 9).is_empty());
        assert_eq!(
            outbox
                .take_ready(11, 9)
                .iter()
                .map(|each| each.0)
                .collect::<Vec<_>>(),
            [first]
        );
        assert!(outbox.take_ready(11, 9).is_empty(), "handed out once");
        assert!(outbox.names(b"s") && outbox.names(b"a") && !outbox.names(b"x"));
        outbox.give_back(&[first]);
        assert_eq!(outbox.take_ready(12, 1).len(), 1);
        assert!(outbox.remove(first) && !outbox.remove(first));
        assert_eq!(outbox.count_of(7), 1);
        outbox.complete(7);
        assert_eq!(outbox.take_ready(11, 9).len(), 1);
        assert!(outbox.any_up_to(10) && !outbox.any_up_to(9) && outbox.any_in(11) && !outbox.any_in(10));
    }

    #[test]
    fn rollups_of_a_key_are_known_until_the_last_is_delivered() {
        let mut outbox = Outbox::default();
        let [rollup, relink, _, create] = entries().try_into().expect("four entries");
        let beside = OutboxEntry::Beside {
            source: b"s"[..].into(),
            destination: b"d"[..].into(),
            changed: 5,
            side: Side::Later,
        };
        outbox.push(relink, 10, None);
        outbox.push(create, 10, None);
        assert!(!outbox.owes_rollup_to(b"k"), "it is told of something else");
        let first = outbox.push(beside, 10, None);
        outbox.restore(first + 1, rollup.clone(), 10, None);
        outbox.restore(first + 1, rollup.clone(), 11, None);
        assert!(outbox.owes_rollup_to(b"d") && !outbox.owes_rollup_to(b"s"));
        let rest = outbox.replace(first, rollup, 12).expect("it was there");
        assert!(outbox.remove(first + 1) && outbox.owes_rollup_to(b"d"));
        assert!(outbox.remove(rest) && !outbox.owes_rollup_to(b"d"));
    }
}
