//! Visiting a range of one series chunk by chunk instead of gathering it: for aggregations, which need not see samples
//! of which a summary says enough.

use std::ops::Range;

use crate::series::{self, ChunkSummary, Columns};
use crate::store::{Reach, Read, StoreError, StoreOperation, Tier, View};

use super::partition::Partition;
use super::range::{RangeJob, RangeQuery, Stored};

/// Chunks decoded, and summaries read, on the lane itself: about a hundred microseconds each.
const IN_PLACE_CHUNKS_MAX: usize = 64;
const IN_PLACE_SUMMARIES_MAX: usize = 512;

/// Sees the samples of a range, oldest first.
pub trait RangeVisitor {
    /// Sees the samples at `within`.
    fn samples(&mut self, columns: &Columns, within: Range<usize>);

    /// Sees a chunk that lies wholly in the range and of which nothing is hidden. False, and nothing seen, if it has to
    /// be decoded.
    fn summary(&mut self, summary: &ChunkSummary) -> bool;

    /// True if [`RangeVisitor::summary`] is worth a try.
    fn takes_summaries(&self) -> bool;

    /// True if later samples change nothing.
    fn is_full(&self) -> bool;
}

impl Partition {
    /// Shows the samples of the range in the series at `member` to `visitor`; limit and order of `query` do not count.
    /// What is left is a job for the blocking pool: then the visitor has seen a part only, and another one has to see
    /// everything.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn visit_range(
        &self,
        member: u32,
        query: RangeQuery,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Option<RangeJob>, StoreError> {
        let query = self.retained(
            member,
            RangeQuery {
                limit: usize::MAX,
                reverse: false,
                ..query
            },
        );
        let series = self.series_at(member);
        if series.has_nothing_sealed() || query.from > query.to {
            visitor.samples(&series.head, series.head.range(query.from, query.to));
            return Ok(None);
        }
        let job = self.range_job(member, query);
        let view = job.store.view(Reach::Memory);
        let visited = job.visit_in(&view, &job.stored, Reach::Memory, visitor)?;
        drop(view);
        Ok(match visited {
            Read::Known(()) => None,
            Read::Cold => Some(job),
        })
    }
}

impl RangeJob {
    /// Shows all samples to `visitor`, from the disk if need be. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn visit(self, visitor: &mut impl RangeVisitor) -> Result<(), StoreError> {
        let view = self.store.view(Reach::Disk);
        let stored = self.stored_in(&view)?;
        match self.visit_in(&view, &stored, Reach::Disk, visitor)? {
            Read::Known(()) => Ok(()),
            Read::Cold => Err(StoreError::new(
                StoreOperation::Read,
                self.store.name(),
                "the disk was not reached",
            )),
        }
    }

    fn visit_in(
        &self,
        view: &View<'_>,
        stored: &Stored,
        reach: Reach,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Read<()>, StoreError> {
        if self.has_several_sources(stored) {
            let chunks_max = match reach {
                Reach::Memory => IN_PLACE_CHUNKS_MAX,
                Reach::Disk => usize::MAX,
            };
            let Read::Known(sealed) = self.gather(view, stored, reach, chunks_max)? else {
                return Ok(Read::Cold);
            };
            let all = self.finish(sealed);
            visitor.samples(&all, 0..all.len());
            return Ok(Read::Known(()));
        }
        // The head may have been sealed since the query came: then it is in chunks as well.
        let to = match self.head.timestamps.first() {
            Some(first) => self.query.to.min(first.saturating_sub(1)),
            None => self.query.to,
        };
        for tier in [Tier::Cold, Tier::Hot] {
            let is_wanted = tier == Tier::Hot || stored.has_cold_chunks || reach == Reach::Disk;
            if is_wanted && let Read::Cold = self.visit_tier(view, tier, to, reach, visitor)? {
                return Ok(Read::Cold);
            }
        }
        visitor.samples(&self.head, 0..self.head.len());
        Ok(Read::Known(()))
    }

    fn visit_tier(
        &self,
        view: &View<'_>,
        tier: Tier,
        to: i64,
        reach: Reach,
        visitor: &mut impl RangeVisitor,
    ) -> Result<Read<()>, StoreError> {
        let from = self.query.from;
        let mut rows = view.chunks(tier, self.series_id, from, to, false);
        let mut decoded = Columns::default();
        let (mut decodings, mut summaries) = (0, 0);
        while !visitor.is_full() {
            let (first, bytes) = match rows.current()? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(None) => break,
                Read::Known(Some(row)) => row,
            };
            let damaged = |error| self.damaged(&format!("chunk ({error})"), first);
            let mut is_seen = false;
            if visitor.takes_summaries() && first >= from {
                let summary = series::summary(bytes).map_err(damaged)?;
                is_seen = summary.last_timestamp <= to && visitor.summary(&summary);
                summaries += 1;
            }
            if !is_seen {
                decoded.clear();
                series::decode(bytes, &mut decoded).map_err(damaged)?;
                let within = decoded.range(from, to);
                visitor.samples(&decoded, within);
                decodings += 1;
            }
            let is_long = decodings > IN_PLACE_CHUNKS_MAX || summaries > IN_PLACE_SUMMARIES_MAX;
            if reach == Reach::Memory && is_long {
                return Ok(Read::Cold);
            }
            rows.advance();
        }
        Ok(Read::Known(()))
    }
}
