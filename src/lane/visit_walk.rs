//! Walking over the chunks of a range: known ones by their summaries, others as the database has them.

use crate::series::{self, ChunkSummary, Columns};
use crate::store::{Read, StoreError, Tier, View};

use super::range::{RangeJob, Stored};
use super::summaries::{CHUNKS_MAX, Cut, Known, KnownChunk, Lesson, Version};
use super::visit::{InPlace, Manner, RangeVisitor};

/// What a walk keeps of what it sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Learning {
    #[default]
    Nothing,
    /// Nothing either, but chunks are shown by their parts as if they were to be kept: what comes again is the same to
    /// the last bit.
    Parts,
    /// Of chunks that are known, the parts that they were cut into.
    Cuts,
    /// All chunks.
    Everything,
}

/// A walk with a visitor.
pub(super) struct Walk<'w, V> {
    job: &'w RangeJob,
    from: i64,
    to: i64,
    in_place: InPlace,
    visitor: &'w mut V,
    learning: Learning,
    learned: Vec<KnownChunk>,
    decoded: Columns,
    decodings: usize,
    summaries: usize,
}

/// Chunks of which summaries do not say enough.
#[derive(Default)]
pub(super) struct Missing {
    pub(super) chunks: usize,
    /// Those of them that lie in more than two buckets.
    pub(super) in_many_buckets: usize,
}

/// Chunks of the range of which `visitor` will not be content with summaries; those beyond `enough` are not counted.
pub(super) fn missing(
    known: &Known,
    (from, to): (i64, i64),
    visitor: &impl RangeVisitor,
    enough: usize,
) -> Missing {
    let (mut missing, mut bucket_last) = (Missing::default(), i64::MIN);
    for chunk in known.within(from, to) {
        let summary = &chunk.summary;
        if summary.first_timestamp > bucket_last {
            bucket_last = visitor.bucket_last(summary.first_timestamp);
        }
        let fits = |cut: &Cut| {
            let behind = &cut.behind;
            cut.border == bucket_last
                && visitor.bucket_last(behind.first_timestamp) >= behind.last_timestamp
                && says_enough(&cut.before)
                && says_enough(behind)
        };
        let is_whole = summary.first_timestamp >= from && summary.last_timestamp <= to;
        let is_known = if summary.last_timestamp <= bucket_last {
            says_enough(summary)
        } else {
            chunk.cut.as_deref().is_some_and(fits)
        };
        if is_whole && is_known {
            continue;
        }
        missing.chunks += 1;
        if missing.chunks > enough {
            break;
        }
        let following_last = visitor.bucket_last(bucket_last.saturating_add(1));
        missing.in_many_buckets += usize::from(following_last < summary.last_timestamp);
    }
    missing
}

/// False if what an aggregation needs may be left out.
fn says_enough(summary: &ChunkSummary) -> bool {
    let values = &summary.values;
    let is_plain = values.sum.is_finite() && !values.first.is_nan() && !values.last.is_nan();
    is_plain || values.counted == 0
}

impl<'w, V: RangeVisitor> Walk<'w, V> {
    /// Over what of `range` is in chunks.
    pub(super) fn new(
        job: &'w RangeJob,
        (from, to): (i64, i64),
        manner: &Manner<'_>,
        visitor: &'w mut V,
    ) -> Self {
        Walk {
            job,
            from,
            to,
            in_place: manner.in_place,
            visitor,
            learning: manner.learning,
            learned: Vec::new(),
            decoded: Columns::default(),
            decodings: 0,
            summaries: 0,
        }
    }

    /// Shows the chunks of the view.
    pub(super) fn stored(&mut self, view: &View<'_>, stored: &Stored) -> Result<Read<()>, StoreError> {
        for tier in [Tier::Cold, Tier::Hot] {
            let is_wanted = tier == Tier::Hot || stored.has_cold_chunks;
            if is_wanted && let Read::Cold = self.stored_tier(view, tier)? {
                return Ok(Read::Cold);
            }
        }
        Ok(Read::Known(()))
    }

    fn stored_tier(&mut self, view: &View<'_>, tier: Tier) -> Result<Read<()>, StoreError> {
        let job = self.job;
        let mut rows = view.chunks(tier, job.series_id, self.from, self.to, false);
        while !self.visitor.is_full() {
            let (first, bytes) = match rows.current()? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(None) => break,
                Read::Known(Some(row)) => row,
            };
            let damaged = |error| job.damaged(&format!("chunk ({error})"), first);
            let is_summed = self.visitor.takes_summaries()
                && (first >= self.from || self.learning == Learning::Everything);
            let mut chunk = None;
            if is_summed {
                let summary = series::summary(bytes).map_err(damaged)?;
                chunk = Some(KnownChunk::new(tier, summary));
                self.summaries += 1;
            }
            if let Some(start) = self.show_summary(chunk.as_ref()) {
                self.decoded.clear();
                series::decode(bytes, &mut self.decoded).map_err(damaged)?;
                self.show_decoded(chunk.as_mut(), start);
            }
            if let Some(chunk) = chunk {
                self.note(chunk);
            }
            if self.decodings > self.in_place.chunks_max || self.summaries > self.in_place.summaries_max {
                return Ok(Read::Cold);
            }
            rows.advance();
        }
        Ok(Read::Known(()))
    }

    /// Shows the chunks of a table that knows all of the range; the view must be of the same state.
    pub(super) fn known(&mut self, view: &View<'_>, known: &Known) -> Result<Read<()>, StoreError> {
        let job = self.job;
        for (number, chunk) in known.within(self.from, self.to).iter().enumerate() {
            if self.visitor.is_full() {
                break;
            }
            if self.decodings > self.in_place.chunks_max || number >= self.in_place.known_max {
                return Ok(Read::Cold);
            }
            let Some(start) = self.show_summary(Some(chunk)) else {
                continue;
            };
            let decoded = &mut self.decoded;
            decoded.clear();
            let first = chunk.summary.first_timestamp;
            let read = view.chunk(chunk.tier, job.series_id, first, |bytes| {
                let bytes = bytes.ok_or_else(|| job.damaged("chunk (it is gone)", first))?;
                series::decode(bytes, decoded).map_err(|e| job.damaged(&format!("chunk ({e})"), first))
            })?;
            if let Read::Cold = read {
                return Ok(Read::Cold);
            }
            let mut chunk = KnownChunk::new(chunk.tier, chunk.summary);
            self.show_decoded(Some(&mut chunk), start);
            self.note(chunk);
        }
        Ok(Read::Known(()))
    }

    /// What was learned of the series in this state, in which all chunks of the range were seen.
    pub(super) fn lesson(self, version: Version) -> Option<Lesson> {
        let is_whole = self.learning == Learning::Everything && !self.visitor.is_full();
        let is_useful = is_whole || self.learning == Learning::Cuts;
        (is_useful && !self.learned.is_empty()).then(|| Lesson {
            series_id: self.job.series_id,
            version,
            range: is_whole.then_some((self.from, self.to)),
            chunks: self.learned,
        })
    }

    fn note(&mut self, chunk: KnownChunk) {
        let is_news = match self.learning {
            Learning::Nothing | Learning::Parts => false,
            Learning::Cuts => chunk.cut.is_some(),
            // The walk begins one chunk early.
            Learning::Everything => chunk.summary.last_timestamp >= self.from,
        };
        if !is_news {
            return;
        }
        if self.learned.len() < CHUNKS_MAX {
            self.learned.push(chunk);
        } else {
            self.learning = Learning::Parts;
            self.learned = Vec::new();
        }
    }

    /// Shows a chunk by its summary, or by those of its parts. Returns from where on samples are wanted, if they are.
    fn show_summary(&mut self, chunk: Option<&KnownChunk>) -> Option<i64> {
        let Some(KnownChunk { summary, cut, .. }) = chunk else {
            return Some(self.from);
        };
        if summary.first_timestamp < self.from || summary.last_timestamp > self.to {
            return Some(self.from);
        }
        if self.visitor.summary(summary, 0.0) {
            return None;
        }
        match cut {
            Some(cut) => self.show_cut(cut),
            None => Some(summary.first_timestamp),
        }
    }

    /// Shows the parts of a chunk. Returns from where on samples are wanted, if they are.
    fn show_cut(&mut self, cut: &Cut) -> Option<i64> {
        let Cut {
            border,
            before,
            behind,
            sum_rests,
        } = cut;
        let first = before.first_timestamp;
        if self.visitor.bucket_last(first) != *border || !self.visitor.summary(before, sum_rests.0) {
            return Some(first);
        }
        (!self.visitor.summary(behind, sum_rests.1)).then_some(behind.first_timestamp)
    }

    /// Shows the chunk that is decoded, by its parts if it lies in two buckets: so it looks the same when it comes again.
    fn show_decoded(&mut self, chunk: Option<&mut KnownChunk>, mut start: i64) {
        self.decodings += 1;
        if let Some(chunk) = chunk
            && self.learning != Learning::Nothing
            && let Some(cut) = self.cut(&chunk.summary, start)
        {
            let rest = self.show_cut(&cut);
            chunk.cut = Some(Box::new(cut));
            match rest {
                Some(rest) => start = rest,
                None => return,
            }
        }
        let within = self.decoded.range(start, self.to);
        self.visitor.samples(&self.decoded, within);
    }

    /// The parts of the chunk that is decoded, if it lies in the range and in two buckets and nothing of it was shown.
    fn cut(&self, summary: &ChunkSummary, start: i64) -> Option<Cut> {
        let first = summary.first_timestamp;
        if start > first || first < self.from || summary.last_timestamp > self.to {
            return None;
        }
        let border = self.visitor.bucket_last(first);
        let behind = self.decoded.timestamps.partition_point(|each| *each <= border);
        let behind = self.decoded.timestamps.get(behind)?;
        if self.visitor.bucket_last(*behind) < summary.last_timestamp {
            return None;
        }
        Cut::of(&self.decoded, border)
    }
}
