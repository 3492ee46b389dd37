//! Reading ranges where they lie decoded, and keeping chunks decoded that such reads want.

use std::ops::Range;

use crate::series::{self, ChunkError, Columns, Sample};
use crate::store::{Reach, Read, StoreError, StoreOperation, Tier};

use super::decoded::{DecodedChunks, Missing, PARTS_MAX, Parts, Wanted};
use super::partition::Partition;
use super::range::RangeQuery;
use super::series_state::Series;

/// Looks into the database for one read; more means that there is no room for what it wants.
const FETCHES_MAX: usize = 3;
/// Samples of a range that is better decoded and kept than looked at by the summaries of its chunks.
const SHORT_RANGE_SAMPLES: u64 = 4_096;

/// The answer to a range, where its samples lie.
pub struct DecodedRange<'a> {
    chunks: &'a DecodedChunks,
    parts: &'a Parts,
    head: &'a Columns,
    head_range: Range<usize>,
    reverse: bool,
}

impl DecodedRange<'_> {
    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.parts.samples + self.head_range.len()
    }

    /// Hands the samples to `visit` in runs, in the order of the query; the samples of a run ascend.
    pub fn for_each_run(&self, mut visit: impl FnMut(&Columns, Range<usize>)) {
        if self.reverse && !self.head_range.is_empty() {
            visit(self.head, self.head_range.clone());
        }
        for (columns, range) in self.chunks.runs(self.parts) {
            visit(columns, range);
        }
        if !self.reverse && !self.head_range.is_empty() {
            visit(self.head, self.head_range.clone());
        }
    }

    /// The newest sample.
    pub fn newest(&self) -> Option<Sample> {
        if !self.head_range.is_empty() {
            return Some(self.head.get(self.head_range.end - 1));
        }
        let mut runs = self.chunks.runs(self.parts);
        let run = if self.reverse { runs.next() } else { runs.last() };
        run.map(|(columns, range)| columns.get(range.end - 1))
    }

    /// A copy, ascending.
    pub(super) fn to_columns(&self) -> Columns {
        let mut all = Columns::with_capacity(self.samples());
        let mut runs = Vec::with_capacity(PARTS_MAX);
        runs.extend(self.chunks.runs(self.parts));
        if self.reverse {
            runs.reverse();
        }
        for (columns, range) in runs {
            all.extend_from(columns, range);
        }
        all.extend_from(self.head, self.head_range.clone());
        all
    }
}

impl Partition {
    /// Hands `answer` the samples of the series at `member` where they lie decoded; `None` if not all of them do, even
    /// after a look into the database's memory: then [`Partition::read_range`] finds them.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn with_decoded_range<T>(
        &self,
        member: u32,
        query: &RangeQuery,
        answer: impl FnOnce(&DecodedRange<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let series = self.series_at(member);
        let query = self.retained(member, *query);
        self.with_decoded(member, series, &query, answer)
    }

    /// True if about so few samples lie in the range that they are likely to be in a few chunks, which are worth keeping
    /// decoded.
    pub fn is_short_range(&self, member: u32, query: &RangeQuery) -> bool {
        self.expected_samples(member, query) <= SHORT_RANGE_SAMPLES
    }

    /// About how many samples in chunks lie in the range, if they are spread evenly.
    pub(super) fn expected_samples(&self, member: u32, query: &RangeQuery) -> u64 {
        let sealed = &self.series_at(member).sealed;
        let samples = sealed.chunk_samples + sealed.rest().cold_samples;
        let (first, last) = (sealed.first_timestamp, sealed.last_timestamp);
        let (from, to) = (query.from.max(first), query.to.min(last));
        if from > to || first == last {
            return if from > to { 0 } else { samples };
        }
        let share = to.wrapping_sub(from) as u64 as f64 / last.wrapping_sub(first) as u64 as f64;
        (samples as f64 * share) as u64
    }

    pub(super) fn with_decoded<T>(
        &self,
        member: u32,
        series: &Series,
        query: &RangeQuery,
        answer: impl FnOnce(&DecodedRange<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let sealed = &series.sealed;
        let mut chunks = self.decoded.borrow_mut();
        if sealed.late_samples > 0 || !series.late.is_empty() || series.has_deletions() || !chunks.is_on() {
            return Ok(None);
        }
        let has_chunks = sealed.chunk_samples + sealed.rest().cold_samples > 0;
        // The head is newer than all that is sealed.
        let mut head_range = if has_chunks && query.to <= sealed.last_timestamp {
            0..0
        } else {
            series.head.range(query.from, query.to)
        };
        let mut wanted = Wanted {
            series_id: series.id,
            member,
            from: query.from,
            to: query.to,
            limit: if has_chunks { query.limit } else { 0 },
            reverse: query.reverse,
            oldest: sealed.first_timestamp,
            newest: sealed.last_timestamp,
        };
        if query.reverse {
            let taken = head_range.len().min(query.limit);
            head_range.start = head_range.end - taken;
            wanted.limit = wanted.limit.saturating_sub(taken);
        }
        let mut parts = Parts::default();
        if !self.find_or_fetch(&mut chunks, &wanted, sealed.rest().cold_samples > 0, &mut parts)? {
            return Ok(None);
        }
        if !query.reverse {
            let taken = head_range.len().min(query.limit - parts.samples);
            head_range.end = head_range.start + taken;
        }
        Ok(Some(answer(&DecodedRange {
            chunks: &chunks,
            parts: &parts,
            head: &series.head,
            head_range,
            reverse: query.reverse,
        })))
    }

    /// Finds where everything lies that is wanted; false if that is not possible.
    fn find_or_fetch(
        &self,
        chunks: &mut DecodedChunks,
        wanted: &Wanted,
        has_cold: bool,
        parts: &mut Parts,
    ) -> Result<bool, StoreError> {
        if wanted.limit == 0 || wanted.from.max(wanted.oldest) > wanted.to.min(wanted.newest) {
            return Ok(true);
        }
        if chunks.find_again(wanted, parts).is_some() {
            return Ok(true);
        }
        for _ in 0..FETCHES_MAX {
            match chunks.find(wanted, parts) {
                Ok(()) => {
                    chunks.note_found(wanted, parts);
                    return Ok(true);
                }
                Err(Missing::TooMuch) => return Ok(false),
                Err(Missing::At(at)) => {
                    let is_there = if wanted.reverse {
                        self.fetch_backwards(chunks, wanted, at, has_cold)?
                    } else {
                        self.fetch_forwards(chunks, wanted, at, has_cold)?
                    };
                    if !is_there {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(chunks.find(wanted, parts).is_ok())
    }

    /// Keeps chunks from `at` on; false if the disk would have to be read, or if that would not help.
    fn fetch_forwards(
        &self,
        chunks: &mut DecodedChunks,
        wanted: &Wanted,
        at: i64,
        has_cold: bool,
    ) -> Result<bool, StoreError> {
        let id = wanted.series_id;
        let view = self.store.view(Reach::Memory);
        let tiers: &[Tier] = if has_cold {
            &[Tier::Cold, Tier::Hot]
        } else {
            &[Tier::Hot]
        };
        let (mut known_from, mut fetched, mut samples) = (at, 0, 0);
        for tier in tiers {
            let mut rows = view.chunks(*tier, id, at, wanted.to, false);
            loop {
                let (first, bytes) = match rows.current()? {
                    Read::Cold => return Ok(false),
                    Read::Known(None) => break,
                    Read::Known(Some(row)) => row,
                };
                let damaged = |e| self.damaged_chunk(id, first, e);
                let (_, last) = series::time_range(bytes).map_err(damaged)?;
                if last >= at {
                    let mut decoded = Columns::default();
                    series::decode(bytes, &mut decoded).map_err(damaged)?;
                    fetched += 1;
                    samples += decoded.len() - decoded.lower_bound(at);
                    if !chunks.insert(id, known_from.min(first), decoded) {
                        return Ok(false);
                    }
                    if samples >= wanted.limit || last >= wanted.to || fetched >= PARTS_MAX {
                        return Ok(true);
                    }
                }
                known_from = known_from.max(last.saturating_add(1));
                rows.advance();
            }
        }
        Ok(fetched > 0)
    }

    /// Keeps chunks from `at` on backwards; false if the disk would have to be read, or if that would not help.
    fn fetch_backwards(
        &self,
        chunks: &mut DecodedChunks,
        wanted: &Wanted,
        at: i64,
        has_cold: bool,
    ) -> Result<bool, StoreError> {
        let id = wanted.series_id;
        let view = self.store.view(Reach::Memory);
        let tiers: &[Tier] = if has_cold {
            &[Tier::Hot, Tier::Cold]
        } else {
            &[Tier::Hot]
        };
        // Where the time begins that is known to hold no chunk up to the one before in the walk.
        let (mut known_from, mut fetched, mut samples) = (at.saturating_add(1), 0, 0);
        for tier in tiers {
            let mut rows = view.chunks(*tier, id, wanted.from, at, true);
            loop {
                let (first, bytes) = match rows.current()? {
                    Read::Cold => return Ok(false),
                    Read::Known(None) => break,
                    Read::Known(Some(row)) => row,
                };
                let mut decoded = Columns::default();
                series::decode(bytes, &mut decoded).map_err(|e| self.damaged_chunk(id, first, e))?;
                let last = decoded.timestamps.last().copied().unwrap_or(first);
                fetched += 1;
                samples += decoded.range(wanted.from, at).len();
                chunks.extend_back(id, known_from, last);
                if !chunks.insert(id, first, decoded) {
                    return Ok(false);
                }
                known_from = first;
                if samples >= wanted.limit || first <= wanted.from || fetched >= PARTS_MAX {
                    return Ok(true);
                }
                rows.advance();
            }
        }
        // Nothing is older: the time before the oldest one holds no chunk.
        chunks.extend_back(id, known_from, wanted.from.saturating_sub(1));
        Ok(fetched > 0)
    }

    fn damaged_chunk(&self, series_id: u64, first: i64, error: ChunkError) -> StoreError {
        let what = format!("damaged chunk ({error}) of series {series_id} at timestamp {first}");
        StoreError::new(StoreOperation::Decode, self.label(), what)
    }

    /// Memory of decoded chunks and of summaries.
    pub fn decoded_bytes(&self) -> usize {
        self.decoded.borrow().used_bytes() + self.summary_bytes()
    }

    /// Memory of summaries of chunks.
    pub fn summary_bytes(&self) -> usize {
        self.summaries.borrow().used_bytes()
    }

    /// Keeps no more bytes of decoded chunks and of summaries than this from now on.
    pub fn set_decoded_limit(&self, limit_bytes: usize) {
        self.take_lessons();
        let mut summaries = self.summaries.borrow_mut();
        summaries.set_limit(limit_bytes);
        self.decoded.borrow_mut().set_limit(summaries.rest_bytes());
    }
}
