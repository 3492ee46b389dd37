//! Removing deleted samples from the chunks of a series: the part of background work that gives deleted space back.

use crate::series::{self, Columns, EncodeScratch};
use crate::store::{Read, StoreError, Tier, View};

use super::deletions::{self, TimeRange};
use super::rewrite::{DROPS_PER_JOB_MAX, RewriteJob, Rewritten, SAMPLES_PER_JOB_MAX};

/// A pass over the chunks that deleted ranges touch.
struct Removal<'a> {
    view: &'a View<'a>,
    scratch: EncodeScratch,
    /// Samples decoded.
    samples: usize,
}

impl RewriteJob {
    /// Removes the samples of deleted ranges from chunks, and their ranges from the state of the series. What is too much
    /// for one job stays for the next.
    pub(super) fn remove_deleted(&self, view: &View<'_>, out: &mut Rewritten) -> Result<(), StoreError> {
        let mut removal = Removal {
            view,
            scratch: EncodeScratch::default(),
            samples: 0,
        };
        let mut rest_begins = None;
        // Chunks of the cold tier are all older than hot ones, so this is the order of time.
        for tier in [Tier::Cold, Tier::Hot] {
            if rest_begins.is_none() {
                rest_begins = self.remove_from_tier(tier, &mut removal, out)?;
            }
        }
        out.sealed.deleted = match rest_begins {
            Some(first) => deletions::from(&self.sealed.deleted, first),
            None => Vec::new(),
        };
        out.has_news = true;
        let border = self.sealed.last_timestamp;
        if rest_begins.is_none() && deletions::covering(&self.sealed.deleted, border).is_some() {
            out.newest_sealed = Some(self.newest_sealed(view)?);
        }
        Ok(())
    }

    /// Returns the first timestamp of the first chunk that was too much for one job.
    fn remove_from_tier(
        &self,
        tier: Tier,
        removal: &mut Removal<'_>,
        out: &mut Rewritten,
    ) -> Result<Option<i64>, StoreError> {
        let mut done = None;
        for (from, to) in &self.sealed.deleted {
            let mut rows = removal.view.chunks(tier, self.series_id, *from, *to, false);
            while let Read::Known(Some((first, bytes))) = rows.current()? {
                // A chunk is done with all ranges at once.
                if done.is_none_or(|done| first > done) {
                    let is_enough = removal.samples >= SAMPLES_PER_JOB_MAX
                        || out.deleted_chunks.len() >= DROPS_PER_JOB_MAX;
                    if is_enough {
                        return Ok(Some(first));
                    }
                    self.remove_from_chunk(tier, first, bytes, removal, out)?;
                    done = Some(first);
                }
                rows.advance();
            }
        }
        Ok(None)
    }

    fn remove_from_chunk(
        &self,
        tier: Tier,
        first: i64,
        bytes: &[u8],
        removal: &mut Removal<'_>,
        out: &mut Rewritten,
    ) -> Result<(), StoreError> {
        let damaged = |error| self.damaged(&format!("chunk ({error})"), first);
        let summary = series::summary(bytes).map_err(damaged)?;
        if is_covered(&self.sealed.deleted, first, summary.last_timestamp) {
            out.remove(tier, first, summary.count, bytes.len());
            return Ok(());
        }
        let mut samples = Columns::default();
        series::decode(bytes, &mut samples).map_err(damaged)?;
        removal.samples += samples.len();
        let mut left = Columns::default();
        deletions::copy_visible(&samples, 0..samples.len(), &self.sealed.deleted, &mut left);
        if left.len() < samples.len() {
            out.remove(tier, first, samples.len(), bytes.len());
            if !left.is_empty() {
                self.encode(&left, tier, &mut removal.scratch, out);
            }
        }
        Ok(())
    }

    /// Newest sample that is neither in memory nor deleted.
    fn newest_sealed(&self, view: &View<'_>) -> Result<Option<i64>, StoreError> {
        let late = view.late_rows_backwards(self.series_id);
        let newest_late = match late.current()? {
            Read::Known(row) => row.map(|(timestamp, _)| timestamp),
            Read::Cold => None,
        };
        for tier in [Tier::Hot, Tier::Cold] {
            let mut rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, true);
            while let Read::Known(Some((first, bytes))) = rows.current()? {
                let mut timestamps = Vec::new();
                series::decode_timestamps(bytes, &mut timestamps)
                    .map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
                let is_visible =
                    |timestamp: &&i64| deletions::covering(&self.sealed.deleted, **timestamp).is_none();
                if let Some(newest) = timestamps.iter().rev().find(is_visible) {
                    return Ok(newest_late.max(Some(*newest)));
                }
                rows.advance();
            }
        }
        Ok(newest_late)
    }
}

fn is_covered(ranges: &[TimeRange], first: i64, last: i64) -> bool {
    deletions::covering(ranges, first).is_some_and(|range| range.1 >= last)
}
