//! Which series need background work, which jobs run, and writing what they found.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::store::{Batch, Database, Reach, Read, StoreError};

use super::keys::Value;
use super::loading::damaged_series;
use super::partition::{LATE_SAMPLES_MAX, Partition, PartitionSettings};
use super::rewrite::{RewriteJob, Rewritten};
use super::sealing::Seal;
use super::series_state::{SealedState, Series};

/// Late samples from which a series is folded although it is still written to.
const LATE_SAMPLES_FOLDED: u64 = 4 * LATE_SAMPLES_MAX as u64;
/// A series for which there was nothing to do is left alone for so long.
const NOTHING_TO_DO_MS: i64 = 600_000;
/// Series that wait for a job.
const WAITING_MAX: usize = 1_024;

/// State of a partition's background work on sealed series.
#[derive(Default)]
pub struct Rewrites {
    waiting: VecDeque<u64>,
    /// Jobs by series id: as long as one is listed, its series is not sealed.
    running: HashMap<u64, Arc<()>>,
    /// Finished, to be written with the next commit.
    pub(super) finished: Vec<Rewritten>,
    /// Jobs whose change was written, since start.
    pub written: u64,
}

impl Rewrites {
    /// True while the rows of the series must not change.
    pub fn is_running(&self, series_id: u64) -> bool {
        !self.running.is_empty() && self.running.contains_key(&series_id)
    }

    /// True if there is something to write.
    pub fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Forgets everything: results that come later are refused.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.running.clear();
        self.finished.clear();
    }
}

fn expired_before(settings: &PartitionSettings, series: &Series) -> Option<i64> {
    // Deleting the newest samples may show older ones again: which, is known when they are gone from the disk.
    let newest = series.known_newest()??;
    let retention = series.sealed.retention().unwrap_or(settings.retention);
    (retention > 0).then(|| newest.saturating_sub(retention))
}

fn cold_before(settings: &PartitionSettings, now_ms: i64) -> Option<i64> {
    let nanoseconds_per_unit = i128::from(settings.time_unit.nanoseconds());
    let now = i64::try_from(i128::from(now_ms) * 1_000_000 / nanoseconds_per_unit).unwrap_or(i64::MAX);
    settings.hot_age.map(|age| now.saturating_sub(age))
}

fn needs_rewrite(settings: &PartitionSettings, series: &Series, now_ms: i64) -> bool {
    let sealed = &series.sealed;
    let is_before = |limit: Option<i64>| limit.is_some_and(|limit| sealed.first_timestamp < limit);
    let is_idle = now_ms - series.touched_ms >= settings.head_idle_ms;
    !sealed.rest().deleted.is_empty()
        || sealed.late_samples >= LATE_SAMPLES_FOLDED
        || (sealed.late_samples > 0 && is_idle)
        || is_before(expired_before(settings, series))
        || (sealed.chunk_samples >= settings.cold_chunk_samples as u64 / 2
            && is_before(cold_before(settings, now_ms)))
}

/// A slice of a walk over all series of a partition, loaded or not, for the blocking pool.
pub struct SeriesWalk {
    store: Database,
    settings: Arc<PartitionSettings>,
    next_id: u64,
}

/// Rows that one slice of a walk reads.
const ROWS_PER_SLICE: usize = 1_000;

impl SeriesWalk {
    /// Returns the keys of series that seem to need background work, and where the next slice begins, if there is one.
    /// Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or is damaged.
    #[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
    pub fn slice(mut self, now_ms: i64) -> Result<(Vec<Box<[u8]>>, Option<u64>), StoreError> {
        let mut keys = Vec::new();
        let mut rows = self.store.series_from(self.next_id, Reach::Disk);
        for _ in 0..ROWS_PER_SLICE {
            let Read::Known(Some((id, row))) = rows.current()? else {
                return Ok((keys, None));
            };
            let id = u64::from_be_bytes(id.try_into().unwrap_or([u8::MAX; 8]));
            let state = SealedState::decode(row).ok_or_else(|| damaged_series(&self.store, id))?;
            let (sealed, data_type, key) = state;
            if needs_rewrite(&self.settings, &Series::new(id, data_type, sealed), now_ms) {
                keys.push(key.into());
            }
            self.next_id = id.saturating_add(1);
            rows.advance();
        }
        Ok((keys, Some(self.next_id)))
    }
}

impl Partition {
    /// A slice of a walk over all series, from this id on.
    pub fn walk_series(&self, next_id: u64) -> SeriesWalk {
        SeriesWalk {
            store: self.store.clone(),
            settings: self.settings.clone(),
            next_id,
        }
    }

    /// Considers the series of a key that is in memory.
    pub fn consider_key(&mut self, key: &[u8], now_ms: i64) {
        let Some(place) = self.keys.find(key) else {
            return;
        };
        if let Value::Series(members) = &self.keys.at(place).value {
            let members = members.clone();
            for (_, member) in members.iter() {
                self.consider_rewrite(*member, now_ms);
            }
        }
    }

    /// True if series wait for a job: no more need be looked for now.
    pub fn has_rewrites_waiting(&self) -> bool {
        !self.rewrites.waiting.is_empty()
    }

    /// Puts the series at `member` on the list if there is background work to do for it.
    pub(super) fn consider_rewrite(&mut self, member: u32, now_ms: i64) {
        let Some(series) = self.series.get_mut(member) else {
            return;
        };
        if now_ms < series.rewrite_after_ms() || !needs_rewrite(&self.settings, series, now_ms) {
            return;
        }
        if self.rewrites.waiting.len() < WAITING_MAX {
            // Not listed again before the job has had its chance.
            series.set_rewrite_after_ms(now_ms + self.settings.head_idle_ms);
            self.rewrites.waiting.push_back(series.id);
        }
    }

    /// The next job for the blocking pool; report its result with [`Partition::finish_rewrite`]. None while the disk does
    /// not keep up with what jobs have written: commits would have to wait for it.
    pub fn start_rewrite(&mut self, now_ms: i64) -> Option<RewriteJob> {
        if self.rewrites.waiting.is_empty() || self.store.is_behind_with_flushes() {
            return None;
        }
        while let Some(series_id) = self.rewrites.waiting.pop_front() {
            let member = self.series.place_of(series_id);
            let Some(series) = member.and_then(|member| self.series.get(member)) else {
                continue;
            };
            // A series created in the open record has nothing sealed, one held by a batch may yet change its name.
            if self.rewrites.is_running(series_id) || self.batches.is_held(self.key_of(series), None) {
                continue;
            }
            let ticket = Arc::new(());
            let job = RewriteJob {
                store: self.store.clone(),
                series_id,
                sealed: series.sealed.clone(),
                expired_before: expired_before(&self.settings, series),
                cold_before: cold_before(&self.settings, now_ms),
                head_samples_max: self.settings.head_samples_max,
                cold_chunk_samples: self.settings.cold_chunk_samples,
                ticket: ticket.clone(),
            };
            self.rewrites.running.insert(series_id, ticket);
            return Some(job);
        }
        None
    }

    /// Takes the result of a job; `None` if it failed. What it found is written with the next commit. Returns whether
    /// there is anything to write.
    pub fn finish_rewrite(&mut self, series_id: u64, result: Option<Rewritten>, now_ms: i64) -> bool {
        let is_current = |rewritten: &Rewritten| {
            let running = self.rewrites.running.get(&series_id);
            running.is_some_and(|ticket| Arc::ptr_eq(ticket, &rewritten.ticket))
        };
        if result.as_ref().is_some_and(|rewritten| !is_current(rewritten)) {
            return false;
        }
        let member = self.series.place_of(series_id);
        let series = member.and_then(|member| self.series.get_mut(member));
        match (result, series) {
            (Some(rewritten), Some(series)) if !rewritten.is_empty() => {
                series.set_rewrite_after_ms(0);
                self.rewrites.finished.push(rewritten);
                true
            }
            (_, series) => {
                if let Some(series) = series {
                    series.set_rewrite_after_ms(now_ms + NOTHING_TO_DO_MS);
                }
                self.rewrites.running.remove(&series_id);
                false
            }
        }
    }

    /// Adds what jobs have found to `batch`. Results of series that are gone are dropped, those of series whose name
    /// is not certain wait.
    pub(super) fn write_rewrites(&mut self, batch: &mut Batch) -> Vec<Rewritten> {
        let mut written = Vec::new();
        for mut rewritten in std::mem::take(&mut self.rewrites.finished) {
            let member = self.series.place_of(rewritten.series_id);
            let series = member.and_then(|member| self.series.get(member));
            let Some(series) = series else {
                self.rewrites.running.remove(&rewritten.series_id);
                continue;
            };
            if self.batches.is_held(self.key_of(series), None) {
                self.rewrites.finished.push(rewritten);
                continue;
            }
            for (tier, first) in &rewritten.deleted_chunks {
                if !rewritten.replaces(*tier, *first) {
                    batch.delete_chunk(*tier, series.id, *first);
                }
            }
            for (tier, first, chunk) in &rewritten.chunks {
                batch.put_chunk(*tier, series.id, *first, chunk);
            }
            for number in &rewritten.deleted_late_runs {
                batch.delete_late_run(series.id, *number);
            }
            if let Some((number, run)) = &rewritten.late_run {
                batch.put_late_run(series.id, *number, run);
            }
            // It may have been changed while the job ran.
            rewritten.sealed.set_retention(series.sealed.retention());
            if let Some(newest) = rewritten.newest_sealed {
                rewritten.sealed.lower_last_timestamp(newest);
            }
            batch.put_series(
                series.id,
                &rewritten.sealed.encode(series.data_type, self.key_of(series)),
            );
            written.push(rewritten);
        }
        written
    }

    /// The sums once a commit has written these.
    pub(super) fn totals_with(&self, seals: &[Seal], rewritten: &[Rewritten]) -> TierTotals {
        let mut totals = self.tier_totals;
        for seal in seals {
            totals.change(&self.series_at(seal.member).sealed, &seal.sealed);
        }
        for rewritten in rewritten {
            if let Some(member) = self.series.place_of(rewritten.series_id) {
                totals.change(&self.series_at(member).sealed, &rewritten.sealed);
            }
        }
        totals
    }

    /// Takes over the states of what a committed batch has written.
    pub(super) fn finish_rewrites(&mut self, written: Vec<Rewritten>) {
        for rewritten in written {
            self.rewrites.running.remove(&rewritten.series_id);
            self.rewrites.written += 1;
            self.decoded.get_mut().forget(rewritten.series_id);
            self.summaries.get_mut().forget(rewritten.series_id);
            let member = self.series.place_of(rewritten.series_id);
            if let Some(series) = member.and_then(|member| self.series.get_mut(member)) {
                series.set_sealed(rewritten.sealed);
                if rewritten.newest_sealed.is_some() {
                    series.last_timestamp_lowered();
                }
            }
        }
    }
}

/// Samples and bytes of the sealed series of a partition, by tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierTotals {
    /// Samples in hot chunks.
    pub hot_samples: u64,
    /// Bytes of hot chunks.
    pub hot_bytes: u64,
    /// Samples in cold chunks.
    pub cold_samples: u64,
    /// Bytes of cold chunks.
    pub cold_bytes: u64,
}

impl TierTotals {
    /// As stored.
    pub fn words(&self) -> [u64; 4] {
        [
            self.hot_samples,
            self.hot_bytes,
            self.cold_samples,
            self.cold_bytes,
        ]
    }

    /// A series that was `before` is `after`.
    pub fn change(&mut self, before: &SealedState, after: &SealedState) {
        let moved =
            |total: &mut u64, before: u64, after: u64| *total = (*total + after).saturating_sub(before);
        moved(&mut self.hot_samples, before.chunk_samples, after.chunk_samples);
        moved(&mut self.hot_bytes, before.chunk_bytes, after.chunk_bytes);
        moved(
            &mut self.cold_samples,
            before.rest().cold_samples,
            after.rest().cold_samples,
        );
        moved(
            &mut self.cold_bytes,
            before.rest().cold_bytes,
            after.rest().cold_bytes,
        );
    }
}
