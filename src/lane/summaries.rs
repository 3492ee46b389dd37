//! What is known of the chunks of a series without reading them: their summaries, kept within a limit of bytes for
//! aggregations that come again.
//!
//! A table has all chunks of some stretches of time, as they are in one state of the series. A seal, which puts chunks
//! behind all others, carries it over into the next state; in any other state it is worth nothing. A chunk that lies in
//! two buckets is known by the summaries of its two parts as well. Late samples and deleted ranges are not in here: series
//! that have some are read in full.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use hashbrown::HashMap;

use crate::aggregate;
use crate::series::{ChunkSummary, Columns};
use crate::store::Tier;

use super::deletions::{self, TimeRange};
use super::series_state::SealedState;

/// Chunks that one table has: walking over them takes a third of a millisecond.
pub(super) const CHUNKS_MAX: usize = 16_384;
/// Part of the oldest chunks that a table loses when a seal makes it too long.
const CHUNKS_SHARE_DROPPED: usize = 4;
/// A table with no more chunks than this is copied when it changes while the blocking pool walks over it; a longer one
/// is given up.
const COPIED_CHUNKS_MAX: usize = 2_048;
/// Tables take one in so many bytes of the limit at most; the rest is left to decoded chunks.
const LIMIT_SHARE: usize = 2;
/// A table that takes a larger share of what tables may take is not kept.
const TABLE_SHARE_MIN: usize = 2;
/// What the blocking pool has learned and the lane has not taken in yet.
const LESSONS_MAX: usize = 32;

/// Which chunks a series has. Whatever is appended, late or deleted comes with a seal, and each raises the sequence;
/// retention and moves to the cold tier take samples out of a tier. So no two states of a series without late samples and
/// deletions, between which a chunk has changed, have the same version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    sequence: u64,
    hot: (u64, u64),
    cold: (u64, u64),
    ends: (i64, i64),
}

impl Version {
    pub(super) fn of(sealed: &SealedState) -> Version {
        Version {
            sequence: sealed.sequence,
            hot: (sealed.chunk_samples, sealed.chunk_bytes),
            cold: (sealed.rest().cold_samples, sealed.rest().cold_bytes),
            ends: (sealed.first_timestamp, sealed.last_timestamp),
        }
    }
}

/// The two parts of a chunk that lies in two buckets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    /// Last timestamp of the first bucket.
    pub(super) border: i64,
    pub(super) before: ChunkSummary,
    pub(super) behind: ChunkSummary,
    /// What rounding has taken from their sums.
    pub(super) sum_rests: (f64, f64),
}

impl Cut {
    /// The parts of a decoded chunk up to `border` and behind it; `None` if one of them is empty.
    pub(super) fn of(decoded: &Columns, border: i64) -> Option<Cut> {
        let split = decoded.timestamps.partition_point(|each| *each <= border);
        let part = |timestamps: &[i64], values: &[f64]| {
            let (summary, sum_rest) = aggregate::summary_of(values)?;
            let part = ChunkSummary {
                count: timestamps.len(),
                first_timestamp: *timestamps.first()?,
                last_timestamp: *timestamps.last()?,
                values: summary,
            };
            Some((part, sum_rest))
        };
        let (timestamps, values) = (&decoded.timestamps, &decoded.values);
        let (before, before_rest) = part(timestamps.get(..split)?, values.get(..split)?)?;
        let (behind, behind_rest) = part(timestamps.get(split..)?, values.get(split..)?)?;
        Some(Cut {
            border,
            before,
            behind,
            sum_rests: (before_rest, behind_rest),
        })
    }
}

/// A chunk by its summary.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct KnownChunk {
    pub(super) tier: Tier,
    pub(super) summary: ChunkSummary,
    /// As the last bucket border that was met inside cuts it.
    pub(super) cut: Option<Box<Cut>>,
}

impl KnownChunk {
    pub(super) fn new(tier: Tier, summary: ChunkSummary) -> KnownChunk {
        KnownChunk {
            tier,
            summary,
            cut: None,
        }
    }

    fn first(&self) -> i64 {
        self.summary.first_timestamp
    }
}

/// What a walk over chunks has found.
pub(super) struct Lesson {
    pub(super) series_id: u64,
    pub(super) version: Version,
    /// The time whose chunks these are, all of them; `None` if they are some that tables know, but for their cuts.
    pub(super) range: Option<TimeRange>,
    /// Ascending.
    pub(super) chunks: Vec<KnownChunk>,
}

/// A table: all chunks that have samples in some stretches of time.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) version: Version,
    /// Ascending and apart.
    stretches: Vec<TimeRange>,
    /// Ascending.
    chunks: Vec<KnownChunk>,
    cuts: usize,
}

impl Known {
    fn of(version: Version, range: TimeRange, chunks: Vec<KnownChunk>) -> Known {
        Known {
            version,
            stretches: vec![range],
            cuts: chunks.iter().filter(|chunk| chunk.cut.is_some()).count(),
            chunks,
        }
    }

    /// True if all chunks are known that have samples in `from..=to`.
    pub(super) fn covers(&self, from: i64, to: i64) -> bool {
        deletions::covering(&self.stretches, from).is_some_and(|stretch| stretch.1 >= to)
    }

    /// The chunks with samples in `from..=to`.
    pub(super) fn within(&self, from: i64, to: i64) -> &[KnownChunk] {
        let start = self
            .chunks
            .partition_point(|chunk| chunk.summary.last_timestamp < from);
        let end = self.chunks.partition_point(|chunk| chunk.first() <= to);
        self.chunks.get(start..end).unwrap_or(&[])
    }

    fn bytes(&self) -> usize {
        size_of::<Known>()
            + self.stretches.capacity() * size_of::<TimeRange>()
            + self.chunks.capacity() * size_of::<KnownChunk>()
            + self.cuts * size_of::<Cut>()
    }

    fn learn(&mut self, range: Option<TimeRange>, chunks: Vec<KnownChunk>) {
        let before = self.chunks.len();
        for mut chunk in chunks {
            let known = self.chunks.get(..before).unwrap_or(&[]);
            match known.binary_search_by_key(&chunk.first(), KnownChunk::first) {
                Ok(place) => {
                    if let (Some(cut), Some(known)) = (chunk.cut.take(), self.chunks.get_mut(place)) {
                        self.cuts += usize::from(known.cut.replace(cut).is_none());
                    }
                }
                // Its cut came too late.
                Err(_) if range.is_none() => {}
                Err(_) => {
                    self.cuts += usize::from(chunk.cut.is_some());
                    self.chunks.push(chunk);
                }
            }
        }
        if self.chunks.len() > before {
            self.chunks.sort_by_key(KnownChunk::first);
        }
        if let Some((from, to)) = range {
            deletions::insert(&mut self.stretches, from, to);
        }
    }

    /// A seal has put these behind the others.
    fn append(&mut self, before: &SealedState, after: &SealedState, chunks: Vec<ChunkSummary>) {
        self.version = Version::of(after);
        let (from, to) = (before.last_timestamp, after.last_timestamp);
        if deletions::covering(&self.stretches, from).is_none() {
            return;
        }
        let chunks = chunks
            .into_iter()
            .map(|summary| KnownChunk::new(Tier::Hot, summary));
        self.chunks.extend(chunks);
        deletions::insert(&mut self.stretches, from, to);
        if self.chunks.len() > CHUNKS_MAX {
            let dropped = self.chunks.drain(..CHUNKS_MAX / CHUNKS_SHARE_DROPPED);
            self.cuts -= dropped.filter(|chunk| chunk.cut.is_some()).count();
            let oldest = self.chunks.first().map_or(i64::MAX, KnownChunk::first);
            self.stretches = deletions::from(&self.stretches, oldest);
        }
    }
}

/// Where the blocking pool leaves what it has learned.
#[derive(Clone, Default)]
pub(super) struct Lessons(Arc<Mutex<Vec<Lesson>>>);

impl Lessons {
    /// Leaves a lesson for the lane, unless there are too many.
    pub(super) fn leave(&self, lesson: Lesson) {
        if let Ok(mut lessons) = self.0.lock()
            && lessons.len() < LESSONS_MAX
        {
            lessons.push(lesson);
        }
    }

    /// All of them; none while one is being left, for which the lane does not wait.
    fn take(&self) -> Vec<Lesson> {
        self.0
            .try_lock()
            .map_or_else(|_| Vec::new(), |mut lessons| std::mem::take(&mut *lessons))
    }
}

struct Table {
    series_id: u64,
    /// Shared with walks on the blocking pool.
    known: Arc<Known>,
    bytes: usize,
    /// Used since it was made and since the eviction clock passed.
    touched: Cell<bool>,
}

impl Table {
    /// What is known, to be changed; `None` if that is not worth a copy.
    fn writable(&mut self) -> Option<&mut Known> {
        if self.known.chunks.len() <= COPIED_CHUNKS_MAX {
            return Some(Arc::make_mut(&mut self.known));
        }
        Arc::get_mut(&mut self.known)
    }
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct SummaryTables {
    /// Shared with decoded chunks.
    limit_bytes: usize,
    used_bytes: usize,
    /// Places in `tables`.
    by_series: HashMap<u64, usize>,
    tables: Vec<Table>,
    /// Next place that the eviction clock looks at.
    hand: usize,
    lessons: Lessons,
}

impl SummaryTables {
    /// Memory held.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// May anything be kept?
    pub(super) fn is_on(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Keeps its share of this from now on, and no more; 0 = nothing.
    pub(super) fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
        self.make_room();
    }

    /// What tables leave of the limit to decoded chunks.
    pub(super) fn rest_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes)
    }

    /// Lets everything go.
    pub(super) fn clear(&mut self) {
        self.tables.clear();
        self.by_series.clear();
        self.used_bytes = 0;
    }

    /// For walks on the blocking pool.
    pub(super) fn lessons(&self) -> Lessons {
        self.lessons.clone()
    }

    /// What the blocking pool has learned since.
    pub(super) fn take_lessons(&self) -> Vec<Lesson> {
        self.lessons.take()
    }

    /// True if there is a table of the series, of whatever state.
    pub(super) fn has(&self, series_id: u64) -> bool {
        self.by_series.contains_key(&series_id)
    }

    /// What is known of the series in this state.
    pub(super) fn find(&self, series_id: u64, version: &Version) -> Option<Arc<Known>> {
        let place = self.by_series.get(&series_id)?;
        let table = self
            .tables
            .get(*place)
            .filter(|table| table.known.version == *version)?;
        table.touched.set(true);
        Some(Arc::clone(&table.known))
    }

    /// Takes in what was found in the present state of a series.
    pub(super) fn learn(&mut self, lesson: Lesson) {
        let Lesson {
            series_id,
            version,
            range,
            chunks,
        } = lesson;
        if chunks.is_empty() || !self.is_on() {
            return;
        }
        let place = self.by_series.get(&series_id).copied();
        let table = place.and_then(|place| self.tables.get_mut(place));
        let table = table.filter(|table| table.known.version == version);
        let table = table.filter(|table| {
            let more = if range.is_some() { chunks.len() } else { 0 };
            table.known.chunks.len() + more <= CHUNKS_MAX
        });
        if let (Some(place), Some(known)) = (place, table.and_then(Table::writable)) {
            known.learn(range, chunks);
            self.recount(place);
        } else if let Some(range) = range
            && chunks.len() <= CHUNKS_MAX
        {
            self.forget(series_id);
            self.insert(series_id, Known::of(version, range, chunks));
        }
    }

    /// A committed seal has put these behind the other chunks of the series.
    pub(super) fn append(
        &mut self,
        series_id: u64,
        before: &SealedState,
        after: &SealedState,
        chunks: Vec<ChunkSummary>,
    ) {
        let Some(place) = self.by_series.get(&series_id).copied() else {
            return;
        };
        let samples: usize = chunks.iter().map(|chunk| chunk.count).sum();
        let is_append = after.late_samples == 0
            && after.rest().deleted.is_empty()
            && after.chunk_samples == before.chunk_samples + samples as u64;
        let table = self.tables.get_mut(place);
        let table = table.filter(|table| is_append && table.known.version == Version::of(before));
        match table.and_then(Table::writable) {
            Some(known) => {
                known.append(before, after, chunks);
                self.recount(place);
            }
            None => self.forget(series_id),
        }
    }

    /// The chunks of the series have changed.
    pub(super) fn forget(&mut self, series_id: u64) {
        if let Some(place) = self.by_series.get(&series_id) {
            self.remove(*place);
        }
    }

    fn insert(&mut self, series_id: u64, known: Known) {
        let bytes = known.bytes();
        if bytes > self.limit_bytes / LIMIT_SHARE / TABLE_SHARE_MIN {
            return;
        }
        self.by_series.insert(series_id, self.tables.len());
        self.tables.push(Table {
            series_id,
            known: Arc::new(known),
            bytes,
            touched: Cell::new(false),
        });
        self.used_bytes += bytes;
        self.make_room();
    }

    fn recount(&mut self, place: usize) {
        if let Some(table) = self.tables.get_mut(place) {
            let bytes = table.known.bytes();
            self.used_bytes = self.used_bytes + bytes - table.bytes;
            table.bytes = bytes;
        }
        self.make_room();
    }

    fn remove(&mut self, place: usize) {
        let table = self.tables.swap_remove(place);
        self.used_bytes -= table.bytes;
        self.by_series.remove(&table.series_id);
        if let Some(moved) = self.tables.get(place) {
            self.by_series.insert(moved.series_id, place);
        }
    }

    /// Drops tables that were not used lately until the others fit.
    fn make_room(&mut self) {
        while self.used_bytes > self.limit_bytes / LIMIT_SHARE {
            if self.hand >= self.tables.len() {
                self.hand = 0;
            }
            match self.tables.get(self.hand) {
                None => return,
                Some(table) if table.touched.replace(false) => self.hand += 1,
                Some(_) => self.remove(self.hand),
            }
        }
    }
}

#[cfg(test)]
#[path = "summaries_tests.rs"]
mod tests;
