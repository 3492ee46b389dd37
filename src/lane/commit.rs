//! Turning the open record into one atomic batch and, once it is written, into the past.

use crate::series::EncodeScratch;
use crate::store::{CommitError, StoreError, StoreOperation, layout};

use super::partition::Partition;

/// What a commit did.
#[derive(Debug)]
pub enum Committed {
    /// Everything up to the record is in the log.
    Written {
        /// Bytes handed to RocksDB.
        bytes: usize,
    },
    /// RocksDB would have had to wait: nothing changed, try again soon.
    Stalled,
    /// The outcome is unknown: the partition must be closed and opened again.
    Failed(StoreError),
}

impl Partition {
    /// Writes everything that has changed since the last commit as one batch.
    pub fn commit(&mut self, scratch: &mut EncodeScratch) -> Committed {
        if self.store.is_read_only() {
            return self.commit_nothing();
        }
        let mut batch = self.store.batch();
        if self.flushed {
            // The open record begins with the flush: replay starts there.
            batch.delete_everything();
            batch.low_water(self.sequence - 1);
            batch.meta_u64(layout::META_NEXT_SERIES_ID, self.next_series_id);
        }
        for id in &self.dropped_series {
            batch.delete_series(*id);
        }
        // A row must not name a key that a batch may yet turn out not to have written.
        let mut held_series = Vec::new();
        for member in &self.changed_series {
            if let Some(series) = self.series.get(*member) {
                if self.batches.is_held(self.key_of(series), None) {
                    held_series.push(*member);
                } else {
                    batch.put_series(
                        series.id,
                        &series.sealed.encode(series.data_type, self.key_of(series)),
                    );
                }
            }
        }
        let seals = self.write_seals(&mut batch, scratch);
        let rewritten = self.write_rewrites(&mut batch);
        let totals = self.totals_with(&seals, &rewritten);
        if totals != self.stored_tier_totals {
            batch.meta_words(layout::META_TIERS, &totals.words());
        }
        if self.has_rules && !self.stored_has_rules {
            batch.meta_u64(layout::META_HAS_RULES, 1);
        }
        if let Some(low_water) = self.checkpoint.low_water_due() {
            batch.low_water(low_water);
            batch.meta_u64(layout::META_NEXT_SERIES_ID, self.next_series_id);
        }
        if !self.journal.is_empty() {
            batch.journal(self.sequence, self.journal.bytes());
        }
        let bytes = batch.len_bytes();
        match self.store.commit(batch) {
            Ok(()) => {
                self.finish_seals(seals);
                self.finish_rewrites(rewritten);
                self.tier_totals = totals;
                self.stored_tier_totals = totals;
                self.stored_has_rules = self.has_rules;
                self.dropped_series.clear();
                self.changed_series = held_series;
                self.flushed = false;
                self.checkpoint.committed(self.journal.bytes().len());
                if !self.journal.is_empty() {
                    self.sequence += 1;
                    self.journal.clear();
                }
                self.begin_waiting_checkpoint();
                self.pay_for_newcomers();
                Committed::Written { bytes }
            }
            Err(CommitError::Stalled) => {
                self.retry_seals(seals);
                self.rewrites.finished.extend(rewritten);
                Committed::Stalled
            }
            Err(CommitError::Failed(error)) => Committed::Failed(error),
        }
    }

    /// Background work waits until the database can be written again; a change that a client waits for fails.
    fn commit_nothing(&self) -> Committed {
        if self.journal.is_empty() && !self.flushed {
            return Committed::Written { bytes: 0 };
        }
        let cause = "it is open for reading only until there is space on the disk";
        let mut error = StoreError::new(StoreOperation::Commit, self.label(), cause);
        error.out_of_space = true;
        Committed::Failed(error)
    }
}
