//! What a partition owes, and the news about the ends of its rules.

use std::collections::BTreeSet;

use super::journal::BatchId;
use super::outbox::OutboxEntry;
use super::partition::Partition;
use super::stop::Stop;
use crate::series::SeriesProperties;

/// Properties of a key, if it has any, and whether something that names the key is not delivered yet.
pub type RuleFacts = (Option<SeriesProperties>, bool);

impl Partition {
    /// Puts an entry into the outbox and on record.
    pub fn owe(&mut self, entry: OutboxEntry) {
        let batch = self.batches.running();
        let id = self.outbox.push(entry.clone(), self.sequence, batch);
        self.journal.outbox_entry(id, &entry);
    }

    /// Entries that may be delivered now, at most `max`.
    pub fn take_deliveries(&mut self, max: usize) -> Vec<(u64, OutboxEntry)> {
        self.outbox.take_ready(self.sequence, max)
    }

    /// Entries of a batch that is not committed whose keys are among `held`; `None` = it holds all.
    pub fn take_owed_by(
        &mut self,
        batch: BatchId,
        held: Option<&BTreeSet<Box<[u8]>>>,
    ) -> Vec<(u64, OutboxEntry)> {
        if self.outbox.is_empty() {
            return Vec::new();
        }
        self.outbox.take_of(batch, held)
    }

    /// An entry that could not be delivered within its batch: it will be taken when that is committed.
    pub fn defer_delivery(&mut self, id: u64) {
        self.outbox.defer(id);
    }

    /// Entries that could not be delivered: they will be taken again.
    pub fn give_back_deliveries(&mut self, ids: &[u64]) {
        self.outbox.give_back(ids);
    }

    /// The entry was delivered, but for `rest`, which is owed in its place; on record with the open record.
    pub fn delivered(&mut self, id: u64, rest: Option<OutboxEntry>) {
        let Some(rest) = rest else {
            if self.outbox.remove(id) {
                self.journal.outbox_done(id);
            }
            return;
        };
        if let Some(next) = self.outbox.replace(id, rest.clone(), self.sequence) {
            self.journal.outbox_done(id);
            self.journal.outbox_entry(next, &rest);
        }
    }

    /// True if the open record owes something that will be delivered when it is written.
    #[inline]
    pub fn owes_in_open_record(&self) -> bool {
        !self.outbox.is_empty() && self.outbox.any_in(self.sequence)
    }

    /// Every part of the batch is on record: what it owes may be delivered.
    pub fn complete_deliveries(&mut self, batch: BatchId) {
        self.outbox.complete(batch);
    }

    /// Entries of the batch that are not delivered.
    pub fn owed_by(&self, batch: BatchId) -> usize {
        self.outbox.count_of(batch)
    }

    /// Number of the first entry of the batch that is not delivered: another one each time something of it is.
    pub fn first_owed_by(&self, batch: BatchId) -> Option<u64> {
        self.outbox.first_of(batch)
    }

    /// Entries not delivered yet.
    pub fn undelivered(&self) -> usize {
        self.outbox.len()
    }

    /// What rules say of `key`, and whether something that names it is not delivered yet.
    ///
    /// # Errors
    /// `Wait::Load`.
    pub fn rule_facts(&mut self, key: &[u8], now_ms: i64) -> Result<RuleFacts, Stop> {
        let place = self.find(key, now_ms)?;
        let properties = place.and_then(|place| self.properties(place)).cloned();
        Ok((properties, self.outbox.names(key)))
    }

    /// The other ends of the rules of the key at `place`, which is about to go away (`to` `None`) or to be renamed, are
    /// told so.
    pub(super) fn tell_other_ends(&mut self, place: usize, to: Option<&[u8]>) {
        let Some(properties) = self.properties(place) else {
            return;
        };
        if self.ends_are_told || (properties.source.is_none() && properties.rules.is_empty()) {
            return;
        }
        let own: Box<[u8]> = self.keys.at(place).key().into();
        for key in properties.rule_ends() {
            self.owe(OutboxEntry::Relink {
                key,
                from: own.clone(),
                to: to.map(Box::from),
            });
        }
    }

    /// The other end of a rule of `key` has another name, or is gone.
    ///
    /// # Errors
    /// `Wait::Load`.
    pub fn relink(&mut self, key: &[u8], from: &[u8], to: Option<&[u8]>, now_ms: i64) -> Result<(), Stop> {
        let Some((place, _)) = self.find_plain_series(key, now_ms)? else {
            return Ok(());
        };
        let Some(mut properties) = self.properties(place).cloned() else {
            return Ok(());
        };
        let before = properties.clone();
        if properties.source.as_deref() == Some(from) {
            properties.source = to.map(Box::from);
        }
        match to {
            Some(to) => properties
                .rules
                .iter_mut()
                .filter(|rule| *rule.destination == *from)
                .for_each(|rule| rule.destination = to.into()),
            None => properties.rules.retain(|rule| *rule.destination != *from),
        }
        if properties != before {
            self.set_properties(place, properties);
        }
        Ok(())
    }
}
