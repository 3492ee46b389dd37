//! What a partition owes to keys of other partitions: rolled-up buckets and news about the other end of a rule.
//!
//! An entry goes on record together with the change that caused it and leaves when its delivery is on record, so a
//! crash in between delivers it again: every delivery states a result and may be repeated. Checkpoints do not pass a
//! record whose entries are not delivered.

use std::collections::{BTreeMap, BTreeSet};

use crate::series::codec::bits::{Reader, put_bytes, put_signed, put_varint};
use crate::series::{Label, SeriesProperties};

use super::journal::BatchId;

/// Something to be done at another key.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxEntry {
    /// The buckets of the source that hold samples from `from` to `to` go to the destination of its rule.
    Rollup {
        /// Key of the series with the rule; in this partition.
        source: Box<[u8]>,
        /// Key of the series that is written.
        destination: Box<[u8]>,
        /// First timestamp.
        from: i64,
        /// Last timestamp.
        to: i64,
    },
    /// The other end of a rule has another name, or is gone.
    Relink {
        /// Key whose properties name the other end.
        key: Box<[u8]>,
        /// The name that they know.
        from: Box<[u8]>,
        /// The name that it has now; `None` = it is gone.
        to: Option<Box<[u8]>>,
    },
    /// A series that a new rule writes to is created unless it is there.
    Create {
        /// Its key.
        key: Box<[u8]>,
        /// The key of the series with the rule.
        source: Box<[u8]>,
        /// Retention in the business's unit.
        retention: i64,
        /// Labels.
        labels: Vec<Label>,
    },
}

const ROLLUP: u8 = 1;
const RELINK: u8 = 2;
const CREATE: u8 = 3;

impl OutboxEntry {
    /// The key at which it is to be done.
    pub fn target(&self) -> &[u8] {
        match self {
            OutboxEntry::Rollup { destination, .. } => destination,
            OutboxEntry::Relink { key, .. } | OutboxEntry::Create { key, .. } => key,
        }
    }

    /// True if `key` is one of its keys.
    fn names(&self, key: &[u8]) -> bool {
        match self {
            OutboxEntry::Rollup {
                source, destination, ..
            } => **source == *key || **destination == *key,
            OutboxEntry::Relink { key: at, from, to } => {
                **at == *key || **from == *key || to.as_deref() == Some(key)
            }
            OutboxEntry::Create { key: at, source, .. } => **at == *key || **source == *key,
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            OutboxEntry::Rollup {
                source,
                destination,
                from,
                to,
            } => {
                out.push(ROLLUP);
                put_bytes(source, out);
                put_bytes(destination, out);
                put_signed(out, *from);
                put_signed(out, *to);
            }
            OutboxEntry::Relink { key, from, to } => {
                out.push(RELINK);
                put_bytes(key, out);
                put_bytes(from, out);
                out.push(u8::from(to.is_some()));
                put_bytes(to.as_deref().unwrap_or(b""), out);
            }
            OutboxEntry::Create {
                key,
                source,
                retention,
                labels,
            } => {
                out.push(CREATE);
                put_bytes(key, out);
                put_bytes(source, out);
                put_signed(out, *retention);
                put_varint(out, labels.len() as u64);
                for (name, value) in labels {
                    put_bytes(name, out);
                    put_bytes(value, out);
                }
            }
        }
    }

    /// Inverse of [`OutboxEntry::encode`]; `None` if the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Option<OutboxEntry> {
        let mut reader = Reader::new(bytes);
        match reader.byte().ok()? {
            ROLLUP => Some(OutboxEntry::Rollup {
                source: get_bytes(&mut reader)?,
                destination: get_bytes(&mut reader)?,
                from: reader.signed().ok()?,
                to: reader.signed().ok()?,
            }),
            RELINK => {
                let (key, from) = (get_bytes(&mut reader)?, get_bytes(&mut reader)?);
                let is_renamed = reader.byte().ok()? != 0;
                let to = Some(get_bytes(&mut reader)?).filter(|_| is_renamed);
                Some(OutboxEntry::Relink { key, from, to })
            }
            CREATE => {
                let (key, source) = (get_bytes(&mut reader)?, get_bytes(&mut reader)?);
                let retention = reader.signed().ok()?;
                let mut labels = Vec::new();
                for _ in 0..reader.varint().ok()? {
                    labels.push((get_bytes(&mut reader)?, get_bytes(&mut reader)?));
                }
                Some(OutboxEntry::Create {
                    key,
                    source,
                    retention,
                    labels,
                })
            }
            _ => None,
        }
    }

    /// Properties of a series made by a `Create` entry.
    pub fn created_properties(source: &[u8], retention: Option<i64>, labels: Vec<Label>) -> SeriesProperties {
        SeriesProperties {
            retention,
            labels,
            source: Some(source.into()),
            ..SeriesProperties::default()
        }
    }
}

fn get_bytes(reader: &mut Reader<'_>) -> Option<Box<[u8]>> {
    reader.bytes().ok().map(Box::from)
}

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
        self.entries.remove(&id).is_some()
    }

    /// The entry has been delivered but for this; returns the number of that, which stands in for it and comes after
    /// all others. `sequence` is the record that says so.
    pub fn replace(&mut self, id: u64, rest: OutboxEntry, sequence: u64) -> Option<u64> {
        let waiting = self.entries.remove(&id)?;
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<OutboxEntry> {
        let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
        vec![
            OutboxEntry::Rollup {
                source: bytes("s"),
                destination: bytes("d"),
                from: -5,
                to: i64::MAX,
            },
            OutboxEntry::Relink {
                key: bytes("k"),
                from: bytes("a"),
                to: None,
            },
            OutboxEntry::Relink {
                key: bytes("k"),
                from: bytes("a"),
                to: Some(bytes("")),
            },
            OutboxEntry::Create {
                key: bytes("k"),
                source: bytes("s"),
                retention: 7,
                labels: vec![(bytes("l"), bytes("v"))],
            },
        ]
    }

    #[test]
    fn entries_come_back() {
        for entry in entries() {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(OutboxEntry::decode(&bytes), Some(entry));
            assert_eq!(OutboxEntry::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(OutboxEntry::decode(&[9]), None);
    }

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
}
