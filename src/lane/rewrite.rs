//! Background work on the sealed part of a series: dropping what retention no longer shows, removing deleted samples,
//! folding late samples into chunks, moving old chunks to the cold tier.
//!
//! A job reads on the blocking pool and returns what to change; the lane writes it with its next commit, rows and
//! counts in one batch. While a job of a series runs, that series is not sealed, so nothing else changes its rows;
//! what arrives meanwhile stays in memory and in the journal.

use std::sync::Arc;

use crate::series::{self, CHUNK_SAMPLES_MAX, Columns, EncodeScratch};
use crate::store::{Database, Reach, Read, StoreError, StoreOperation, Tier, View};

use super::late::{self, LateSamples};
use super::series_state::SealedState;

/// Late samples after which a job reads no further row of them.
const LATE_SAMPLES_PER_JOB_MAX: u64 = 8_192;
/// Samples that one job re-encodes.
pub(super) const SAMPLES_PER_JOB_MAX: usize = 65_536;
/// Chunks that one job drops.
pub(super) const DROPS_PER_JOB_MAX: usize = 256;

/// Work on one series for the blocking pool.
pub struct RewriteJob {
    pub(super) store: Database,
    pub(super) series_id: u64,
    pub(super) sealed: SealedState,
    /// Samples before this are not shown any more.
    pub(super) expired_before: Option<i64>,
    /// Chunks that end before this go to the cold tier.
    pub(super) cold_before: Option<i64>,
    pub(super) head_samples_max: usize,
    pub(super) cold_chunk_samples: usize,
    /// Tells this job from one that was begun before the partition was opened again.
    pub(super) ticket: Arc<()>,
}

/// What a job wants changed.
pub struct Rewritten {
    pub(super) series_id: u64,
    pub(super) ticket: Arc<()>,
    /// State of the series with the change.
    pub(super) sealed: SealedState,
    pub(super) deleted_chunks: Vec<(Tier, i64)>,
    pub(super) chunks: Vec<(Tier, i64, Vec<u8>)>,
    pub(super) deleted_late_runs: Vec<i64>,
    /// A run made anew, of what is left of those deleted.
    pub(super) late_run: Option<(i64, Vec<u8>)>,
    /// The state says something new although no row may have changed.
    pub(super) has_news: bool,
    /// The newest sealed sample, if it was deleted samples that determined the last timestamp; `Some(None)` = nothing is
    /// sealed any more.
    pub(super) newest_sealed: Option<Option<i64>>,
    /// Bytes of chunks read and written, for the rate limit.
    pub work_bytes: u64,
}

impl Rewritten {
    /// True if there was nothing to do.
    pub fn is_empty(&self) -> bool {
        self.deleted_chunks.is_empty()
            && self.chunks.is_empty()
            && self.deleted_late_runs.is_empty()
            && !self.has_news
    }

    /// True if a chunk is written where a deleted one was.
    pub(super) fn replaces(&self, tier: Tier, first: i64) -> bool {
        self.chunks
            .iter()
            .any(|chunk| chunk.0 == tier && chunk.1 == first)
    }

    pub(super) fn remove(&mut self, tier: Tier, first: i64, samples: usize, bytes: usize) {
        self.deleted_chunks.push((tier, first));
        self.work_bytes += bytes as u64;
        self.sealed.change_tier(tier, |total_samples, total_bytes| {
            *total_samples = total_samples.saturating_sub(samples as u64);
            *total_bytes = total_bytes.saturating_sub(bytes as u64);
        });
    }

    fn add(&mut self, tier: Tier, first: i64, samples: usize, chunk: Vec<u8>) {
        self.work_bytes += chunk.len() as u64;
        self.sealed.change_tier(tier, |total_samples, total_bytes| {
            *total_samples += samples as u64;
            *total_bytes += chunk.len() as u64;
        });
        self.chunks.push((tier, first, chunk));
    }
}

/// A chunk taken from its family.
struct Found {
    tier: Tier,
    first: i64,
    bytes: usize,
    samples: Columns,
    /// First timestamp of the chunk after it, in either tier.
    next: Option<i64>,
}

impl RewriteJob {
    /// Which series it is about.
    pub fn series_id(&self) -> u64 {
        self.series_id
    }

    /// Finds out what to change: one kind of work per job. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn run(self) -> Result<Rewritten, StoreError> {
        let store = self.store.clone();
        let view = store.view(Reach::Disk);
        let mut out = Rewritten {
            series_id: self.series_id,
            ticket: self.ticket.clone(),
            sealed: self.sealed.clone(),
            deleted_chunks: Vec::new(),
            chunks: Vec::new(),
            deleted_late_runs: Vec::new(),
            late_run: None,
            has_news: false,
            newest_sealed: None,
            work_bytes: 0,
        };
        if let Some(before) = self.expired_before {
            self.drop_expired(&view, before, &mut out)?;
        }
        // Before late samples are folded: those are newer than the deletions, which must not hide them in chunks.
        if out.is_empty() && !self.sealed.rest().deleted.is_empty() {
            self.remove_deleted(&view, &mut out)?;
        }
        if out.is_empty() && self.sealed.late_samples > 0 {
            self.fold(&view, &mut out)?;
        }
        if let Some(before) = self.cold_before.filter(|_| out.is_empty()) {
            self.move_to_cold(&view, before, &mut out)?;
        }
        self.find_first(&view, &mut out)?;
        Ok(out)
    }

    /// The oldest sample is another one when chunks have gone. As long as late samples or deletions are left, readers look
    /// for themselves.
    fn find_first(&self, view: &View<'_>, out: &mut Rewritten) -> Result<(), StoreError> {
        let looks = out.sealed.late_samples == 0 && out.sealed.rest().deleted.is_empty();
        if !looks || out.deleted_chunks.is_empty() {
            return Ok(());
        }
        let mut oldest = out.chunks.iter().map(|chunk| chunk.1).min();
        for tier in [Tier::Cold, Tier::Hot] {
            let mut rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, false);
            while let Read::Known(Some((first, _))) = rows.current()? {
                if !out.deleted_chunks.contains(&(tier, first)) {
                    oldest = Some(oldest.map_or(first, |oldest| oldest.min(first)));
                    break;
                }
                rows.advance();
            }
        }
        out.sealed.first_timestamp = oldest.unwrap_or(out.sealed.first_timestamp);
        Ok(())
    }

    pub(super) fn damaged(&self, what: &str, timestamp: i64) -> StoreError {
        let what = format!(
            "damaged {what} of series {} at timestamp {timestamp}",
            self.series_id
        );
        StoreError::new(StoreOperation::Decode, self.store.name(), what)
    }

    fn drop_expired(&self, view: &View<'_>, before: i64, out: &mut Rewritten) -> Result<(), StoreError> {
        let mut oldest = None;
        for tier in [Tier::Cold, Tier::Hot] {
            let mut rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, false);
            while let (None, Read::Known(Some((first, bytes)))) = (oldest, rows.current()?) {
                let summary = series::summary(bytes);
                let summary = summary.map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
                if summary.last_timestamp >= before || out.deleted_chunks.len() >= DROPS_PER_JOB_MAX {
                    oldest = Some(first);
                } else {
                    out.remove(tier, first, summary.count, bytes.len());
                    rows.advance();
                }
            }
        }
        if before == i64::MIN {
            return Ok(());
        }
        if !out.is_empty() {
            let oldest = oldest.unwrap_or(self.sealed.last_timestamp);
            // Late samples that have expired go away when the others are folded.
            let has_late = self.sealed.late_samples > 0;
            out.sealed.first_timestamp = if has_late { oldest.min(before) } else { oldest };
        }
        Ok(())
    }

    /// The oldest rows of late samples: their numbers, what they hold, and whether these are all.
    fn late_runs(&self, view: &View<'_>) -> Result<(Vec<i64>, LateSamples, bool), StoreError> {
        let (mut numbers, mut late, mut complete) = (Vec::new(), LateSamples::default(), true);
        let mut rows = view.late_runs(self.series_id);
        while let Read::Known(Some((number, row))) = rows.current()? {
            let what = |error| {
                let what = format!("damaged late run {number} of series {} ({error})", self.series_id);
                StoreError::new(StoreOperation::Decode, self.store.name(), what)
            };
            let is_enough = late.counted >= LATE_SAMPLES_PER_JOB_MAX;
            complete = complete && !is_enough;
            if !is_enough {
                late.add(row, i64::MIN, i64::MAX).map_err(what)?;
                numbers.push(number);
            } else if late::is_deletions(row) {
                // Chunks may have forgotten this deletion already: what it hides must not get into one.
                late.add(row, i64::MIN, i64::MAX).map_err(what)?;
            }
            rows.advance();
        }
        if let Some(before) = self.expired_before {
            late.retain(|timestamp| timestamp >= before);
        }
        Ok((numbers, late, complete))
    }

    /// Newest late sample on disk.
    pub(super) fn newest_late(&self, view: &View<'_>) -> Result<Option<i64>, StoreError> {
        let mut late = LateSamples::default();
        let mut rows = view.late_runs(self.series_id);
        while let Read::Known(Some((number, row))) = rows.current()? {
            let what = |error: String| self.damaged(&format!("late run ({error})"), number);
            late.add(row, i64::MIN, i64::MAX).map_err(what)?;
            rows.advance();
        }
        Ok(late.finish().timestamps.last().copied())
    }

    fn fold(&self, view: &View<'_>, out: &mut Rewritten) -> Result<(), StoreError> {
        let (numbers, late, complete) = self.late_runs(view)?;
        let (counted, late) = (late.counted, late.finish());
        let mut scratch = EncodeScratch::default();
        let (mut folded, mut samples) = (0, 0);
        while let Some(timestamp) = late.timestamps.get(folded).copied() {
            if samples >= SAMPLES_PER_JOB_MAX && late.len() - folded <= CHUNK_SAMPLES_MAX {
                break;
            }
            let Some(found) = self.chunk_for(view, timestamp)? else {
                // All chunks are gone: what is late becomes the first one.
                self.encode(&late, Tier::Hot, &mut scratch, out);
                folded = late.len();
                break;
            };
            let end = found.next.map_or(late.len(), |next| late.lower_bound(next));
            let mut part = Columns::default();
            part.extend_from(&late, folded..end);
            let mut merged = Columns::default();
            series::merge_newer(&found.samples, &part, &mut merged);
            out.remove(found.tier, found.first, found.samples.len(), found.bytes);
            self.encode(&merged, found.tier, &mut scratch, out);
            samples += merged.len();
            folded = end;
        }
        let left = late.len() - folded;
        out.deleted_late_runs = numbers;
        if left > 0 {
            // Newer than what it is made of, and older than the rows that were not read.
            let number = out.deleted_late_runs.pop().unwrap_or(0);
            let mut run = Vec::new();
            series::encode(&late, folded..late.len(), &mut scratch, &mut run);
            out.late_run = Some((number, run));
        }
        let all = complete && left == 0;
        // Rows that hold nothing but deletions must be seen again, too.
        let rest = (self.sealed.late_samples.saturating_sub(counted) + left as u64).max(1);
        out.sealed.late_samples = if all { 0 } else { rest };
        out.has_news = all;
        Ok(())
    }

    /// The chunk that a sample of this timestamp belongs to: the last one that begins before it, or the first one.
    fn chunk_for(&self, view: &View<'_>, timestamp: i64) -> Result<Option<Found>, StoreError> {
        for tier in [Tier::Hot, Tier::Cold] {
            let rows = view.chunks(tier, self.series_id, timestamp, timestamp, true);
            if let Some(found) = self.found(view, tier, &rows)? {
                return Ok(Some(found));
            }
        }
        for tier in [Tier::Cold, Tier::Hot] {
            let rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, false);
            if let Some(found) = self.found(view, tier, &rows)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn found(
        &self,
        view: &View<'_>,
        tier: Tier,
        rows: &crate::store::ChunkCursor<'_>,
    ) -> Result<Option<Found>, StoreError> {
        let Read::Known(Some((first, bytes))) = rows.current()? else {
            return Ok(None);
        };
        let mut samples = Columns::default();
        series::decode(bytes, &mut samples).map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
        let mut next = None;
        if let Some(after) = first.checked_add(1) {
            for tier in [tier, Tier::Hot] {
                let mut later = view.chunks(tier, self.series_id, after, i64::MAX, false);
                // The walk begins one chunk early, in case that one reaches into the range.
                if matches!(later.current()?, Read::Known(Some((start, _))) if start < after) {
                    later.advance();
                }
                if let (None, Read::Known(Some((start, _)))) = (next, later.current()?) {
                    next = Some(start);
                }
            }
        }
        Ok(Some(Found {
            tier,
            first,
            bytes: bytes.len(),
            samples,
            next,
        }))
    }

    /// Encodes samples as one chunk, or as several of about the usual size when they are twice as many.
    pub(super) fn encode(
        &self,
        samples: &Columns,
        tier: Tier,
        scratch: &mut EncodeScratch,
        out: &mut Rewritten,
    ) {
        let usual = match tier {
            Tier::Hot => self.head_samples_max,
            Tier::Cold => self.cold_chunk_samples,
        };
        let usual = usual.clamp(1, CHUNK_SAMPLES_MAX / 2);
        let len = samples.len();
        let pieces = if len <= 2 * usual { 1 } else { len.div_ceil(usual) };
        for piece in 0..pieces {
            let range = len * piece / pieces..len * (piece + 1) / pieces;
            let first = samples.get(range.start).timestamp;
            let (count, mut chunk) = (range.len(), Vec::new());
            match tier {
                Tier::Hot => series::encode(samples, range, scratch, &mut chunk),
                Tier::Cold => series::encode_cold(samples, range, &mut chunk),
            }
            out.add(tier, first, count, chunk);
        }
    }

    fn move_to_cold(&self, view: &View<'_>, before: i64, out: &mut Rewritten) -> Result<(), StoreError> {
        let mut samples = Columns::default();
        let mut moved = Vec::new();
        let mut rows = view.chunks(Tier::Hot, self.series_id, i64::MIN, i64::MAX, false);
        while let Read::Known(Some((first, bytes))) = rows.current()? {
            let start = samples.len();
            series::decode(bytes, &mut samples).map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
            let too_young = samples.timestamps.last().is_none_or(|last| *last >= before);
            if too_young || samples.len() > CHUNK_SAMPLES_MAX {
                samples.truncate(start);
                break;
            }
            moved.push((first, samples.len() - start, bytes.len()));
            if samples.len() >= self.cold_chunk_samples {
                break;
            }
            rows.advance();
        }
        if samples.len() < self.cold_chunk_samples / 2 {
            return Ok(());
        }
        for (first, count, bytes) in moved {
            out.remove(Tier::Hot, first, count, bytes);
        }
        let mut chunk = Vec::new();
        series::encode_cold(&samples, 0..samples.len(), &mut chunk);
        out.add(Tier::Cold, samples.get(0).timestamp, samples.len(), chunk);
        Ok(())
    }
}
