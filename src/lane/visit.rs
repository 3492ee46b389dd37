//! Visiting a range of one series chunk by chunk instead of gathering it: for aggregations, which need not see samples
//! of which a summary says enough.

use std::ops::Range;

use crate::series::{self, ChunkSummary, Columns};
use crate::store::{Reach, Read, StoreError, Tier, View};

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

    /// True if [`RangeVisitor::is_full`] never is.
    fn wants_all(&self) -> bool;

    /// True if later samples change nothing.
    fn is_full(&self) -> bool;
}

/// Counts the samples of a range without looking at more of them than it has to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RangeCount {
    /// So many.
    pub samples: u64,
    /// Timestamps of the oldest and of the newest one; `None` without samples.
    pub ends: Option<(i64, i64)>,
}

impl RangeCount {
    fn add(&mut self, samples: usize, first: i64, last: i64) {
        self.samples += samples as u64;
        self.ends = Some((self.ends.map_or(first, |ends| ends.0), last));
    }
}

impl RangeVisitor for RangeCount {
    fn samples(&mut self, columns: &Columns, within: Range<usize>) {
        let timestamps = columns.timestamps.get(within).unwrap_or(&[]);
        if let [first, .., last] | [first @ last] = timestamps {
            self.add(timestamps.len(), *first, *last);
        }
    }

    fn summary(&mut self, summary: &ChunkSummary) -> bool {
        self.add(summary.count, summary.first_timestamp, summary.last_timestamp);
        true
    }

    fn takes_summaries(&self) -> bool {
        true
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn is_full(&self) -> bool {
        false
    }
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
        // What is seen on the lane would be seen again by the job.
        if visitor.wants_all() && self.expected_chunks(member, &query) > IN_PLACE_SUMMARIES_MAX as u64 {
            return Ok(Some(job));
        }
        let view = job.store.view(Reach::Memory);
        let visited = job.visit_reached(&view, &job.stored, Reach::Memory, visitor)?;
        drop(view);
        Ok(match visited {
            Read::Known(()) => None,
            Read::Cold => Some(job),
        })
    }

    /// About how many chunks lie in the range, if they are as large as usual.
    fn expected_chunks(&self, member: u32, query: &RangeQuery) -> u64 {
        self.expected_samples(member, query) / self.settings.head_samples_max.max(1) as u64
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
        self.visit_all(&view, &stored, visitor)
    }

    /// As [`RangeJob::visit`], in the view that the job was made for.
    ///
    /// # Errors
    /// As [`RangeJob::visit`].
    pub fn visit_in(&self, view: &View<'_>, visitor: &mut impl RangeVisitor) -> Result<(), StoreError> {
        self.visit_all(view, &self.stored, visitor)
    }

    fn visit_all(
        &self,
        view: &View<'_>,
        stored: &Stored,
        visitor: &mut impl RangeVisitor,
    ) -> Result<(), StoreError> {
        match self.visit_reached(view, stored, Reach::Disk, visitor)? {
            Read::Known(()) => Ok(()),
            Read::Cold => Err(self.store.unreached()),
        }
    }

    fn visit_reached(
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
            let Read::Known(sealed) = self.gather(view, stored, chunks_max)? else {
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
            let is_wanted = tier == Tier::Hot || stored.has_cold_chunks;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::test_partition;
    use crate::series::{EncodeScratch, Sample};

    #[test]
    fn a_long_range_is_left_to_the_job_at_once() {
        let mut partition = test_partition();
        let samples = (IN_PLACE_SUMMARIES_MAX as i64 + 2) * 1024;
        for timestamp in 0..samples {
            let added = partition.add_sample(b"k", 0, Sample::new(timestamp, 1.0), 0);
            assert!(added.is_ok());
        }
        let member = partition.find_series(b"k", 0, 0).ok().flatten().unwrap();
        while partition.has_changes() {
            partition.request_seal(member);
            partition.commit(&mut EncodeScratch::default());
        }
        let of = |to: i64| RangeQuery {
            from: 0,
            to,
            limit: usize::MAX,
            reverse: false,
        };
        let mut count = RangeCount::default();
        let job = partition.visit_range(member, of(samples), &mut count).unwrap();
        assert_eq!(count, RangeCount::default());
        job.unwrap().visit(&mut count).unwrap();
        assert_eq!(count.samples, samples as u64);
        count = RangeCount::default();
        let half = partition.visit_range(member, of(samples / 2 - 1), &mut count);
        assert!(half.unwrap().is_none());
        assert_eq!(count.samples, samples as u64 / 2);
    }

    #[test]
    fn ranges_are_counted_chunk_by_chunk() {
        let mut partition = test_partition();
        for timestamp in 0..50_000_i64 {
            let added = partition.add_sample(b"k", 0, Sample::new(timestamp * 2, 1.0), 0);
            assert!(added.is_ok());
        }
        let member = partition.find_series(b"k", 0, 0).ok().flatten().unwrap();
        let count = |partition: &Partition, from: i64, to: i64| {
            let mut count = RangeCount::default();
            let query = RangeQuery {
                from,
                to,
                limit: usize::MAX,
                reverse: false,
            };
            match partition.visit_range(member, query, &mut count).unwrap() {
                None => count,
                Some(job) => {
                    count = RangeCount::default();
                    job.visit(&mut count).unwrap();
                    count
                }
            }
        };
        for sealed in [false, true] {
            if sealed {
                partition.request_seal(member);
                partition.commit(&mut EncodeScratch::default());
                assert!(partition.series_at(member).is_sealed());
            }
            let all = count(&partition, i64::MIN, i64::MAX);
            assert_eq!((all.samples, all.ends), (50_000, Some((0, 99_998))), "{sealed}");
            let some = count(&partition, 3, 70_001);
            assert_eq!((some.samples, some.ends), (34_999, Some((4, 70_000))), "{sealed}");
            assert_eq!(count(&partition, 3, 3), RangeCount::default());
        }
    }
}
