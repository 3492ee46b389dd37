//! Checkpoints: writing dirty keys back and sealing old heads, so that the journal up to a point can be dropped.
//!
//! A checkpoint closes an epoch, gathers what that epoch changed in slices between turns, waits until the batches in
//! it are settled everywhere, lets the blocking pool write and flush the rows, and then moves the low-water mark with
//! the next commit. An entry changed again meanwhile is skipped: its newer operation is in the journal above the mark.

use crate::refusal::Refusal;
use crate::store::layout::{KvRow, TYPE_SERIES, TYPE_SERIES_WITH_PROPERTIES, TYPE_STRING};
use crate::store::{CheckpointRows, StoredKey};

use super::eviction::Pressure;
use super::keys::Value;
use super::loading::encode_series_member;
use super::partition::Partition;
use super::stop::{Stop, Wait};

/// Places of the key table and series visited per slice: tens of microseconds.
const SLICE_PLACES: usize = 2048;
const SLICE_SERIES: u32 = 2048;
const SLICE_SEALS: usize = 64;
/// Seals of one slice while memory is short.
const SLICE_SEALS_PRESSED: usize = 256;
/// Time between checkpoints while series are over their budget, and while they are much so: only what is written back
/// can be evicted.
const SHORT_OF_MEMORY_INTERVAL_MS: i64 = 5_000;
const VERY_SHORT_OF_MEMORY_INTERVAL_MS: i64 = 500;
/// Dirty entries after which a checkpoint starts: the rows that it gathers are in memory until they are written.
const DIRTY_KEYS_MAX: usize = 1 << 20;
/// Dirty entries, and bytes of journal, that may come while a checkpoint runs: clients that write faster than it writes
/// back wait for it then. Bytes are counted in multiples of `storage.checkpoint_journal`, but at least so many.
const DIRTY_KEYS_RUNNING_MAX: usize = 2 * DIRTY_KEYS_MAX;
const JOURNAL_RUNNING_MULTIPLE: usize = 4;
const JOURNAL_RUNNING_MIN_BYTES: usize = 64 << 20;
/// A client whose write waits for so long is refused instead.
const WRITE_WAIT_MAX_MS: i64 = 10_000;

#[derive(Default)]
enum Phase {
    #[default]
    Idle,
    /// Waits for batches that have begun to commit; new ones are held off.
    Gating,
    Gathering(Gathering),
    /// Gathered; waits for batches up to the mark to settle.
    Settling(Gathering),
    /// The blocking pool has the rows.
    Writing(Mark),
    /// The rows are on disk: the next commit moves the mark.
    Moving(Mark),
}

/// Up to where this checkpoint goes.
#[derive(Clone, Copy)]
struct Mark {
    sequence: u64,
    epoch: u32,
    next_deadline_ms: i64,
}

struct Gathering {
    mark: Mark,
    rows: CheckpointRows,
    /// Places of the table when the walk began: entries at later ones belong to the next epoch.
    places: usize,
    next_place: usize,
    next_series: u32,
    /// Series before this one have nothing left that the mark covers.
    settled_series: u32,
    next_deadline_ms: i64,
}

/// State of the partition's checkpoint.
#[derive(Default)]
pub struct Checkpoint {
    phase: Phase,
    journal_bytes: usize,
    /// Bytes of the journal when the running checkpoint began: they go away with it.
    journal_bytes_at_start: usize,
    last_completed_ms: i64,
    /// Completed since start.
    pub completed: u64,
    /// Unix milliseconds at which the last one had its rows on disk; 0 = none yet.
    pub finished_at_ms: i64,
    /// Unix milliseconds since when writes wait for the running one; 0 = they do not.
    awaited_since_ms: i64,
}

impl Checkpoint {
    /// True from the start of a checkpoint until its mark has moved.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Idle)
    }

    /// Calls a checkpoint off that still waits for batches to end; true if there was one.
    pub(super) fn cancel_waiting(&mut self) -> bool {
        let waiting = matches!(self.phase, Phase::Gating);
        if waiting {
            self.phase = Phase::Idle;
        }
        waiting
    }

    /// True if its rows are being written, or its mark is about to move.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.phase, Phase::Writing(_) | Phase::Moving(_))
    }

    /// Calls a checkpoint off that has not written anything. Entries that it has gathered count as stored: only when all
    /// of them go away.
    pub(super) fn cancel_gathering(&mut self) {
        if matches!(self.phase, Phase::Gathering(_) | Phase::Settling(_)) {
            self.phase = Phase::Idle;
        }
    }

    /// The mark to be written with the next commit.
    pub fn low_water_due(&self) -> Option<u64> {
        match &self.phase {
            Phase::Moving(mark) => Some(mark.sequence),
            _ => None,
        }
    }

    /// Journal bytes above the low-water mark.
    pub fn journal_bytes(&self) -> usize {
        self.journal_bytes
    }

    /// A commit of `journal_bytes` has succeeded.
    pub(super) fn committed(&mut self, journal_bytes: usize) {
        self.journal_bytes += journal_bytes;
        if matches!(self.phase, Phase::Moving(_)) {
            self.phase = Phase::Idle;
            self.journal_bytes = self.journal_bytes.saturating_sub(self.journal_bytes_at_start);
            self.completed += 1;
        }
    }

    /// Journal bytes that the running checkpoint will not free.
    fn journal_bytes_running(&self) -> usize {
        match self.phase {
            Phase::Gating => self.journal_bytes,
            _ => self.journal_bytes.saturating_sub(self.journal_bytes_at_start),
        }
    }

    /// Accounts for a journal found at recovery.
    pub(super) fn recovered(&mut self, journal_bytes: usize) {
        self.journal_bytes = journal_bytes;
    }
}

/// What the caller of [`Partition::checkpoint_step`] has to do.
pub enum CheckpointStep {
    /// Nothing now.
    Rest,
    /// Call again soon: there is more to gather.
    More,
    /// Run [`CheckpointRows::write`] on the blocking pool and report with [`Partition::checkpoint_written`].
    Write(CheckpointRows),
}

impl Partition {
    /// The checkpoint's state.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Does a bounded piece of checkpoint work, starting one when it is due or `forced`.
    pub fn checkpoint_step(&mut self, now_ms: i64, forced: bool) -> CheckpointStep {
        match std::mem::take(&mut self.checkpoint.phase) {
            Phase::Idle => {
                if self.store.is_read_only() || (!forced && !self.checkpoint_is_due(now_ms)) {
                    return CheckpointStep::Rest;
                }
                self.batches.set_gate(true);
                self.checkpoint.phase = Phase::Gating;
                self.checkpoint_step(now_ms, forced)
            }
            // The mark lies between two records, so the open one must be empty: called right after a commit it is.
            Phase::Gating if self.batches.any_uncommitted() || !self.journal.is_empty() => {
                self.checkpoint.phase = Phase::Gating;
                CheckpointStep::Rest
            }
            Phase::Gating => {
                self.batches.set_gate(false);
                self.checkpoint.phase = Phase::Gathering(self.begin_gathering());
                CheckpointStep::More
            }
            Phase::Gathering(mut gathering) => {
                let done = self.gather_slice(&mut gathering);
                self.checkpoint.phase = if done {
                    Phase::Settling(gathering)
                } else {
                    Phase::Gathering(gathering)
                };
                CheckpointStep::More
            }
            Phase::Settling(mut gathering) => {
                let place = gathering.settled_series;
                let settled = self.settle_slice(&mut gathering);
                let rows_later = !self.changed_series.is_empty();
                let owes = self.outbox.any_up_to(gathering.mark.sequence);
                let unsettled = self.batches.any_unsettled_up_to(gathering.mark.sequence);
                if !settled || rows_later || owes || unsettled {
                    let went_on = !settled && gathering.settled_series > place;
                    self.checkpoint.phase = Phase::Settling(gathering);
                    return if went_on {
                        CheckpointStep::More
                    } else {
                        CheckpointStep::Rest
                    };
                }
                let mark = Mark {
                    next_deadline_ms: gathering.next_deadline_ms,
                    ..gathering.mark
                };
                self.checkpoint.phase = Phase::Writing(mark);
                self.checkpoint.last_completed_ms = now_ms;
                CheckpointStep::Write(gathering.rows)
            }
            busy @ (Phase::Writing(_) | Phase::Moving(_)) => {
                self.checkpoint.phase = busy;
                CheckpointStep::Rest
            }
        }
    }

    /// Called after every commit, when the open record is empty: a checkpoint that waits for that moment begins.
    pub(super) fn begin_waiting_checkpoint(&mut self) {
        if matches!(self.checkpoint.phase, Phase::Gating) && !self.batches.any_uncommitted() {
            self.batches.set_gate(false);
            self.checkpoint.phase = Phase::Gathering(self.begin_gathering());
        }
    }

    /// True if a checkpoint should be started.
    pub fn wants_checkpoint(&mut self, now_ms: i64) -> bool {
        !self.checkpoint.is_running() && self.checkpoint_is_due(now_ms)
    }

    fn checkpoint_is_due(&mut self, now_ms: i64) -> bool {
        if self.store.is_read_only() {
            return false;
        }
        if self.checkpoint.last_completed_ms == 0 {
            self.checkpoint.last_completed_ms = now_ms;
        }
        let waited_ms = now_ms - self.checkpoint.last_completed_ms;
        let longest_ms = match self.excess.pressure {
            Pressure::None => i64::MAX,
            Pressure::Some => SHORT_OF_MEMORY_INTERVAL_MS,
            Pressure::Much => VERY_SHORT_OF_MEMORY_INTERVAL_MS,
        };
        let interval_ms = self.settings.checkpoint_interval_ms.min(longest_ms);
        self.checkpoint.journal_bytes >= self.settings.checkpoint_journal_bytes
            || self.dirty_keys >= DIRTY_KEYS_MAX
            || (self.checkpoint.journal_bytes > 0 && waited_ms >= interval_ms)
    }

    /// True while so much was written since the running checkpoint began that whoever writes more has to wait for it.
    #[inline]
    pub fn is_behind(&self) -> bool {
        self.checkpoint.is_running()
            && (self.dirty_keys >= DIRTY_KEYS_RUNNING_MAX
                || self.checkpoint.journal_bytes_running()
                    >= (JOURNAL_RUNNING_MULTIPLE * self.settings.checkpoint_journal_bytes)
                        .max(JOURNAL_RUNNING_MIN_BYTES))
    }

    /// To be called before a write that nobody waits for while he holds keys: memory would grow without bound if clients
    /// wrote faster than checkpoints write back.
    ///
    /// # Errors
    /// `Wait::Checkpoint` while the partition is behind; a refusal once that takes too long.
    #[inline]
    pub fn admit_write(&mut self, now_ms: i64) -> Result<(), Stop> {
        if !self.is_behind() {
            self.checkpoint.awaited_since_ms = 0;
            return Ok(());
        }
        self.await_checkpoint(now_ms)
    }

    #[cold]
    fn await_checkpoint(&mut self, now_ms: i64) -> Result<(), Stop> {
        let since_ms = &mut self.checkpoint.awaited_since_ms;
        if *since_ms == 0 {
            *since_ms = now_ms;
        }
        if now_ms.saturating_sub(*since_ms) < WRITE_WAIT_MAX_MS {
            return Err(Stop::Wait(Wait::Checkpoint));
        }
        let text = "TRYAGAIN a checkpoint does not keep up with the writes: they are refused until it has ended, \
                    reads go on";
        Err(Refusal::text(text).into())
    }

    fn begin_gathering(&mut self) -> Gathering {
        let mark = Mark {
            sequence: self.sequence - 1,
            epoch: self.epoch,
            next_deadline_ms: i64::MAX,
        };
        self.epoch += 1;
        self.dirty_keys = 0;
        self.counters.changes = 0;
        self.checkpoint.journal_bytes_at_start = self.checkpoint.journal_bytes;
        Gathering {
            mark,
            rows: CheckpointRows::new(self.stored_keys),
            places: self.keys.places(),
            next_place: 0,
            next_series: 0,
            settled_series: 0,
            next_deadline_ms: i64::MAX,
        }
    }

    /// Gathers some dirty keys and requests some seals; true when all are done.
    fn gather_slice(&mut self, gathering: &mut Gathering) -> bool {
        let end = gathering.places.min(gathering.next_place + SLICE_PLACES);
        for place in gathering.next_place..end {
            self.gather(place, gathering);
        }
        gathering.next_place = end;
        let seals_max = if self.is_short_of_memory() {
            SLICE_SEALS_PRESSED
        } else {
            SLICE_SEALS
        };
        let mut seals = 0;
        let end = self.series.places().min(gathering.next_series + SLICE_SERIES);
        while gathering.next_series < end && seals < seals_max {
            let member = gathering.next_series;
            if let Some(series) = self.series.get(member) {
                let first = series.first_unsealed_sequence;
                if first != 0 && first <= gathering.mark.sequence {
                    self.request_seal(member);
                    seals += 1;
                } else if series.sealed.sequence == 0 {
                    // Only the journal knows of it, and the record that made it may go away.
                    self.changed_series.push(member);
                    seals += 1;
                }
            }
            gathering.next_series += 1;
        }
        gathering.next_place >= gathering.places && gathering.next_series >= self.series.places()
    }

    /// Called before the entry at `place` changes by an operation that builds on what it holds: a running checkpoint
    /// takes what it held before, because the records that say so go away with it.
    #[inline]
    pub(super) fn before_change(&mut self, place: usize) {
        if matches!(self.checkpoint.phase, Phase::Gathering(_)) {
            self.gather_before_change(place);
        }
    }

    /// As [`Partition::before_change`], before an operation that does not build on what the entry holds: only that of a
    /// batch may turn out never to have happened.
    #[inline]
    pub(super) fn before_overwrite(&mut self, place: usize) {
        if self.batches.running().is_some() {
            self.before_change(place);
        }
    }

    #[cold]
    fn gather_before_change(&mut self, place: usize) {
        if let Phase::Gathering(mut gathering) = std::mem::take(&mut self.checkpoint.phase) {
            self.gather(place, &mut gathering);
            self.checkpoint.phase = Phase::Gathering(gathering);
        }
    }

    fn gather(&mut self, place: usize, gathering: &mut Gathering) {
        let Some(entry) = self.keys.get(place) else { return };
        let epoch = gathering.mark.epoch;
        let due = entry.dirty_epoch > self.completed_epoch && entry.dirty_epoch <= epoch;
        if !due || entry.gathered_epoch == epoch {
            return;
        }
        let unlisted = self.take_stored_labels(place);
        let Some(entry) = self.keys.get(place) else { return };
        let mut members = Vec::new();
        let row = match &entry.value {
            Value::Absent => None,
            Value::String(value) => Some((TYPE_STRING, &**value)),
            Value::Series(series) => {
                if entry.properties().is_some() {
                    members.extend_from_slice(&(series.len() as u16).to_le_bytes());
                }
                for (data_type, member) in series.iter() {
                    encode_series_member(*data_type, self.series_at(*member).id, &mut members);
                }
                match entry.properties() {
                    None => Some((TYPE_SERIES, &*members)),
                    Some(listed) => {
                        listed.properties.encode(&mut members);
                        Some((TYPE_SERIES_WITH_PROPERTIES, &*members))
                    }
                }
            }
        };
        let expire_at_ms = entry.expire_at_ms;
        let row = row.map(|(type_byte, payload)| KvRow {
            type_byte,
            expire_at_ms,
            payload,
        });
        let stored = StoredKey {
            exists: row.is_some(),
            expire_at_ms: row.map_or(0, |row| row.expire_at_ms),
            labelled: entry
                .properties()
                .is_some_and(|listed| !listed.properties.labels.is_empty()),
        };
        if row.is_some() || entry.stored.exists {
            let listed = entry
                .properties()
                .map_or(&[][..], |listed| &listed.properties.labels);
            gathering
                .rows
                .push(entry.key(), row, entry.stored, (&unlisted, listed));
        }
        if stored.expire_at_ms != 0 {
            gathering.next_deadline_ms = gathering.next_deadline_ms.min(stored.expire_at_ms);
        }
        // From here on `kv` is as good as written: if writing fails, the partition is opened anew.
        if let Some(entry) = self.keys.get_mut(place) {
            entry.stored = stored;
            entry.gathered_epoch = epoch;
        }
    }

    /// Passes series that have nothing left up to the mark: new samples are above it, so nobody has to look back. True
    /// when all are passed.
    fn settle_slice(&self, gathering: &mut Gathering) -> bool {
        let end = self.series.places().min(gathering.settled_series + SLICE_SERIES);
        while gathering.settled_series < end {
            let series = self.series.get(gathering.settled_series);
            if series.is_some_and(|s| {
                s.first_unsealed_sequence != 0 && s.first_unsealed_sequence <= gathering.mark.sequence
            }) {
                return false;
            }
            gathering.settled_series += 1;
        }
        gathering.settled_series >= self.series.places()
    }

    /// The rows are on disk, `stored_keys` keys in all.
    pub fn checkpoint_written(&mut self, stored_keys: u64, now_ms: i64) {
        let Phase::Writing(mark) = std::mem::take(&mut self.checkpoint.phase) else {
            return;
        };
        self.stored_keys = stored_keys;
        self.next_stored_deadline_ms = self.next_stored_deadline_ms.min(mark.next_deadline_ms);
        self.completed_epoch = mark.epoch;
        self.checkpoint.finished_at_ms = now_ms;
        self.checkpoint.phase = Phase::Moving(mark);
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
