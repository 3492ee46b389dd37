//! FLUSHALL: a partition forgets everything at once, on record before it happens.

use super::journal::BatchId;
use super::partition::Partition;
use super::rewrites::TierTotals;
use super::stop::{Stop, Wait};
use super::warmed::WarmedReads;

impl Partition {
    /// Deletes everything; `batch` is the one that holds every key, if any.
    ///
    /// # Errors
    /// `Wait::Checkpoint` while one is running: it would write deleted keys back. `Wait::Held` while another batch is
    /// under way, or while the open record has begun.
    pub fn flush_everything(&mut self, batch: Option<BatchId>) -> Result<(), Stop> {
        // A checkpoint that waits for this very batch to end would wait for ever: it has not begun, so it may go.
        if self.checkpoint.cancel_waiting() {
            self.batches.set_gate(false);
        }
        if self.checkpoint.is_writing() {
            return Err(Stop::Wait(Wait::Checkpoint));
        }
        if self.batches.any_uncommitted_but(batch) || !self.journal.is_empty() {
            return Err(Stop::Wait(Wait::Held));
        }
        // What the batch has written before is void. The flush itself is a record of its own, at once: it deletes rows
        // by range, which cannot wait for the batch's outcome.
        self.batches.clear_part(batch);
        // Nor would one end that waits for deliveries to keys that the batch holds: what it has gathered is gone now.
        self.checkpoint.cancel_gathering();
        self.journal.flush();
        self.apply_flush();
        Ok(())
    }

    pub(super) fn apply_flush(&mut self) {
        if !self.watches.is_empty() {
            for entry in self.keys.iter().filter(|entry| entry.is_present()) {
                self.watches.touch(entry.key());
            }
            // Keys that are only stored may be among the watched: better a transaction too many called off than one
            // too few.
            if self.stored_keys > 0 {
                let keys = &self.keys;
                self.watches.touch_if(|key| keys.find(key).is_none());
            }
        }
        self.keys.clear();
        self.labels.clear();
        self.outbox.clear();
        self.stale_labels.clear();
        self.series.clear();
        self.changed_series.clear();
        self.seal_queue.clear();
        self.series_memory_bytes = 0;
        self.dirty_keys = 0;
        self.dropped_series.clear();
        self.rewrites.clear();
        self.warmed = WarmedReads::default();
        self.tier_totals = TierTotals::default();
        self.deadlines.clear();
        self.next_stored_deadline_ms = i64::MAX;
        (self.key_count, self.stored_keys, self.unlisted_stored_keys) = (0, 0, 0);
        // What is being read from the disk for commands that wait was read before: it is not taken in.
        self.completed_epoch = self.epoch;
        self.epoch += 1;
        self.warmed_labels.clear();
        self.fetched_buckets.clear();
        self.counters.changes += 1;
        self.flushed = true;
    }
}
