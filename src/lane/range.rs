//! Reading a range of one series: sealed chunks, then late samples, then what is still in memory.
//!
//! Where they meet, the newer source wins: a late sample is always newer than the chunk it falls into, and the head is
//! newer than everything sealed. Deleted ranges hide what is sealed, each only what is older than it. What the block
//! cache holds is read on the lane; the rest goes to the blocking pool.

use std::ops::Range;

use crate::series::{self, Columns, Sample};
use crate::store::{Database, Reach, Read, StoreError, StoreOperation, Tier, View};

use super::deletions::{self, TimeRange};
use super::late::LateSamples;
use super::loading::damaged_series;
use super::partition::Partition;
use super::series_state::{SealedState, Series};
use super::stop::{Stop, Wait};
use super::summaries::Version;
use super::warmed::Warmed;

/// Chunks decoded on the lane itself: about a hundred microseconds.
const IN_PLACE_CHUNKS_MAX: usize = 64;

/// Which samples, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// First timestamp.
    pub from: i64,
    /// Last timestamp.
    pub to: i64,
    /// At most so many, counted from the side where the answer begins.
    pub limit: usize,
    /// Newest first. The columns are ascending all the same; `limit` then counts from the end.
    pub reverse: bool,
}

impl RangeQuery {
    /// The newest sample.
    pub const NEWEST: RangeQuery = RangeQuery {
        from: i64::MIN,
        to: i64::MAX,
        limit: 1,
        reverse: true,
    };
}

/// Samples, or the work that finds them.
pub enum RangeRead {
    /// Ascending; read the last ones first if the query was reversed.
    Ready(Columns),
    /// For the blocking pool.
    Offload(Box<RangeJob>),
}

impl RangeRead {
    /// The samples; blocks if they have to be read from the disk.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn into_columns(self) -> Result<Columns, StoreError> {
        match self {
            RangeRead::Ready(columns) => Ok(columns),
            RangeRead::Offload(job) => job.run(),
        }
    }
}

/// Everything the blocking pool needs to answer a range.
pub struct RangeJob {
    pub(super) store: Database,
    pub(super) series_id: u64,
    pub(super) stored: Stored,
    /// Hide chunks and late samples, but nothing in memory.
    unsealed_deletions: Vec<TimeRange>,
    /// What is in memory, within the range.
    pub(super) head: Columns,
    late: Columns,
    pub(super) query: RangeQuery,
}

impl std::fmt::Debug for RangeJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RangeJob(series {}, {:?})", self.series_id, self.query)
    }
}

/// What has to be known of the state of a series to read its rows.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) version: Version,
    sequence: u64,
    has_late_samples: bool,
    pub(super) has_cold_chunks: bool,
    /// Hide chunks only.
    deleted: Vec<TimeRange>,
}

impl Stored {
    fn of(sealed: &SealedState) -> Stored {
        Stored {
            version: Version::of(sealed),
            sequence: sealed.sequence,
            has_late_samples: sealed.late_samples > 0,
            has_cold_chunks: sealed.rest().cold_samples > 0,
            deleted: sealed.rest().deleted.to_vec(),
        }
    }
}

impl Partition {
    /// Reads samples of the series at `member`.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn read_range(&self, member: u32, query: RangeQuery) -> Result<RangeRead, StoreError> {
        self.read_whole_range(member, self.retained(member, query))
    }

    /// As [`Partition::read_range`], retention or not.
    pub(super) fn read_whole_range(&self, member: u32, query: RangeQuery) -> Result<RangeRead, StoreError> {
        let series = self.series_at(member);
        if let Some(columns) = self.with_decoded(member, series, &query, |range| range.to_columns())? {
            return Ok(RangeRead::Ready(columns));
        }
        let within = limited(series.head.range(query.from, query.to), &query);
        let head_suffices = query.reverse && within.len() >= query.limit;
        if series.has_nothing_sealed() || head_suffices || query.from > query.to {
            let mut head = Columns::default();
            head.extend_from(&series.head, within);
            return Ok(RangeRead::Ready(head));
        }
        let job = self.range_job(member, query);
        let view = job.store.view(Reach::Memory);
        let gathered = match job.gather(&view, &job.stored, IN_PLACE_CHUNKS_MAX)? {
            Read::Known(sealed) => Some(sealed),
            Read::Cold => self.warmed.find(series, &job.query),
        };
        drop(view);
        Ok(match gathered {
            Some(sealed) => RangeRead::Ready(job.finish(sealed)),
            None => RangeRead::Offload(Box::new(job)),
        })
    }

    /// The query without what retention hides.
    pub(super) fn retained(&self, member: u32, mut query: RangeQuery) -> RangeQuery {
        let series = self.series_at(member);
        let retention = series.sealed.retention().unwrap_or(self.settings.retention);
        if retention > 0
            && let Some(newest) = series.newest_timestamp()
        {
            query.from = query.from.max(newest.saturating_sub(retention));
        }
        query
    }

    pub(super) fn range_job(&self, member: u32, query: RangeQuery) -> RangeJob {
        let series = self.series_at(member);
        let within = limited(series.head.range(query.from, query.to), &query);
        let mut head = Columns::default();
        head.extend_from(&series.head, within);
        RangeJob {
            store: self.store.clone(),
            series_id: series.id,
            stored: Stored::of(&series.sealed),
            unsealed_deletions: series.unsealed_deletions().to_vec(),
            head,
            late: late_columns(&series.late, &query),
            query,
        }
    }

    /// As [`Partition::read_range`], for a command that goes on after reading, to write for example: it runs again when
    /// the range has been read.
    ///
    /// # Errors
    /// `Wait::Warm` if the disk has to be read; if a row cannot be read or a chunk is damaged.
    pub fn read_samples(&self, member: u32, query: RangeQuery) -> Result<Columns, Stop> {
        self.read_unretained(member, self.retained(member, query))
    }

    /// As [`Partition::read_samples`], retention or not.
    ///
    /// # Errors
    /// As [`Partition::read_samples`].
    pub(super) fn read_unretained(&self, member: u32, query: RangeQuery) -> Result<Columns, Stop> {
        match self.read_whole_range(member, query)? {
            RangeRead::Ready(columns) => Ok(columns),
            RangeRead::Offload(job) => Err(Stop::Wait(Wait::Warm(job))),
        }
    }

    /// The newest sample that is not deleted.
    ///
    /// # Errors
    /// As [`Partition::read_samples`].
    pub fn last_sample(&self, member: u32) -> Result<Option<Sample>, Stop> {
        // Retention goes by this very sample.
        Ok(self.read_unretained(member, RangeQuery::NEWEST)?.last())
    }

    /// Keeps what [`RangeJob::warm`] has read for the command that waits for it.
    pub fn keep_warmed(&mut self, warmed: Warmed, now_ms: i64) {
        self.warmed.keep(warmed, now_ms);
    }
}

/// Late samples in arrival order as columns within the range; of equal timestamps the last one counts.
fn late_columns(late: &[Sample], query: &RangeQuery) -> Columns {
    let within = |sample: &&Sample| (query.from..=query.to).contains(&sample.timestamp);
    series::sorted(late.iter().filter(within).copied().collect())
}

fn limited(range: Range<usize>, query: &RangeQuery) -> Range<usize> {
    if query.reverse {
        range.end.saturating_sub(query.limit).max(range.start)..range.end
    } else {
        range.start..range.end.min(range.start.saturating_add(query.limit))
    }
}

/// Samples of chunks on the way to an answer.
struct GatheredChunks {
    /// Ranges that hide samples.
    hidden: Vec<TimeRange>,
    /// Beyond so many chunks, gathering ends as if they were cold.
    chunks_max: usize,
    /// One per chunk, in the order of the query.
    parts: Vec<Columns>,
    /// Samples in these.
    found: usize,
}

impl RangeJob {
    /// A read, by [`RangeJob::run_in`], of a series none of whose samples are in memory; `view` shows it as `sealed`, and
    /// `default_retention` is that of the business. Blocks.
    ///
    /// # Errors
    /// If what retention hides depends on a row that cannot be read, or on a chunk that is damaged.
    pub fn of_stored(
        (store, view): (&Database, &View<'_>),
        series_id: u64,
        sealed: &SealedState,
        default_retention: i64,
        mut query: RangeQuery,
    ) -> Result<RangeJob, StoreError> {
        let job = |query| RangeJob::of_stored_whole(store, series_id, sealed, query);
        let retention = sealed.retention().unwrap_or(default_retention);
        if retention > 0 {
            let newest = match Series::new(series_id, 0, sealed.clone()).known_newest() {
                Some(newest) => newest,
                None => job(RangeQuery::NEWEST).run_in(view)?.timestamps.last().copied(),
            };
            let oldest = newest.map_or(i64::MIN, |newest| newest.saturating_sub(retention));
            query.from = query.from.max(oldest);
        }
        Ok(job(query))
    }

    /// As [`RangeJob::of_stored`], retention or not.
    pub(super) fn of_stored_whole(
        store: &Database,
        series_id: u64,
        sealed: &SealedState,
        query: RangeQuery,
    ) -> RangeJob {
        RangeJob {
            store: store.clone(),
            series_id,
            stored: Stored::of(sealed),
            unsealed_deletions: Vec::new(),
            head: Columns::default(),
            late: Columns::default(),
            query,
        }
    }

    /// As [`RangeJob::run`], in the view that the job was made for.
    ///
    /// # Errors
    /// As [`RangeJob::run`].
    pub fn run_in(self, view: &View<'_>) -> Result<Columns, StoreError> {
        let sealed = self.gather_all(view, &self.stored)?;
        Ok(self.finish(sealed))
    }

    /// Reads from the disk what memory does not hold. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn run(self) -> Result<Columns, StoreError> {
        let (_, sealed) = self.gather_from_disk()?;
        Ok(self.finish(sealed))
    }

    /// Reads what is sealed, for a command that runs again. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn warm(self) -> Result<Warmed, StoreError> {
        let (sealed_sequence, sealed) = self.gather_from_disk()?;
        Ok(Warmed {
            series_id: self.series_id,
            query: self.query,
            sealed_sequence,
            unsealed_deletions: self.unsealed_deletions,
            sealed,
        })
    }

    /// Samples in chunks and late runs, and the record up to which they are sealed.
    fn gather_from_disk(&self) -> Result<(u64, Columns), StoreError> {
        let view = self.store.view(Reach::Disk);
        let stored = self.stored_in(&view)?;
        let sealed = self.gather_all(&view, &stored)?;
        Ok((stored.sequence, sealed))
    }

    fn gather_all(&self, view: &View<'_>, stored: &Stored) -> Result<Columns, StoreError> {
        match self.gather(view, stored, usize::MAX)? {
            Read::Known(sealed) => Ok(sealed),
            Read::Cold => Err(self.store.unreached()),
        }
    }

    /// How the rows of the view are to be read: seals and background work may have changed them since the query came.
    pub(super) fn stored_in(&self, view: &View<'_>) -> Result<Stored, StoreError> {
        match view.series(self.series_id)? {
            Read::Known(Some(row)) => {
                let sealed = SealedState::decode(&row).map(|(sealed, _, _)| sealed);
                let damaged = || damaged_series(&self.store, self.series_id);
                Ok(Stored::of(&sealed.ok_or_else(damaged)?))
            }
            _ => Ok(self.stored.clone()),
        }
    }

    /// True if chunks and head alone are not the answer.
    pub(super) fn has_several_sources(&self, stored: &Stored) -> bool {
        let hides = !stored.deleted.is_empty() || !self.unsealed_deletions.is_empty();
        hides || stored.has_late_samples || !self.late.is_empty()
    }

    /// Chunks and late samples of one moment, as background work moves samples from the one to the other.
    pub(super) fn gather(
        &self,
        view: &View<'_>,
        stored: &Stored,
        chunks_max: usize,
    ) -> Result<Read<Columns>, StoreError> {
        let Read::Known(chunks) = self.gather_chunks(view, stored, chunks_max)? else {
            return Ok(Read::Cold);
        };
        if !stored.has_late_samples {
            return Ok(Read::Known(chunks));
        }
        // Samples beyond the limit are not wanted, so late samples beyond the last chunk read are not either.
        let (mut from, mut to) = (self.query.from, self.query.to);
        if chunks.len() >= self.query.limit {
            match (
                self.query.reverse,
                chunks.timestamps.first(),
                chunks.timestamps.last(),
            ) {
                (true, Some(first), _) => from = from.max(*first),
                (false, _, Some(last)) => to = to.min(*last),
                _ => {}
            }
        }
        let Read::Known(late) = self.gather_late(view, (from, to), chunks_max)? else {
            return Ok(Read::Cold);
        };
        let mut merged = Columns::default();
        series::merge_newer(&chunks, &late, &mut merged);
        Ok(Read::Known(merged))
    }

    /// Sealed late samples in `from..=to`.
    fn gather_late(
        &self,
        view: &View<'_>,
        (from, to): (i64, i64),
        rows_max: usize,
    ) -> Result<Read<Columns>, StoreError> {
        let mut late = LateSamples::default();
        let mut rows = view.late_runs(self.series_id);
        let mut found = 0;
        loop {
            match rows.current()? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(None) => break,
                Read::Known(Some(_)) if found >= rows_max => return Ok(Read::Cold),
                Read::Known(Some((number, row))) => {
                    let what = |error| self.damaged(&format!("late run {number} ({error})"), from);
                    late.add(row, from, to).map_err(what)?;
                    found += 1;
                }
            }
            rows.advance();
        }
        late.retain(|timestamp| deletions::covering(&self.unsealed_deletions, timestamp).is_none());
        Ok(Read::Known(late.finish()))
    }

    fn gather_chunks(
        &self,
        view: &View<'_>,
        stored: &Stored,
        chunks_max: usize,
    ) -> Result<Read<Columns>, StoreError> {
        let tiers: &[Tier] = match (stored.has_cold_chunks, self.query.reverse) {
            (false, _) => &[Tier::Hot],
            (true, false) => &[Tier::Cold, Tier::Hot],
            (true, true) => &[Tier::Hot, Tier::Cold],
        };
        let mut gathered = GatheredChunks {
            hidden: deletions::union(&stored.deleted, &self.unsealed_deletions),
            chunks_max,
            parts: Vec::new(),
            found: 0,
        };
        for tier in tiers {
            if let Read::Cold = self.gather_tier(view, *tier, &mut gathered)? {
                return Ok(Read::Cold);
            }
        }
        if self.query.reverse {
            gathered.parts.reverse();
        }
        let mut all = Columns::default();
        for part in &gathered.parts {
            all.extend_from(part, 0..part.len());
        }
        Ok(Read::Known(all))
    }

    /// Adds what one tier holds, in the order of the query, until the limit is found.
    fn gather_tier(
        &self,
        view: &View<'_>,
        tier: Tier,
        gathered: &mut GatheredChunks,
    ) -> Result<Read<()>, StoreError> {
        let query = &self.query;
        let mut rows = view.chunks(tier, self.series_id, query.from, query.to, query.reverse);
        let mut decoded = Columns::default();
        while gathered.found < query.limit {
            match rows.current()? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(None) => break,
                Read::Known(Some((first, bytes))) => {
                    decoded.clear();
                    series::decode(bytes, &mut decoded)
                        .map_err(|e| self.damaged(&format!("chunk ({e})"), first))?;
                }
            }
            let within = decoded.range(query.from, query.to);
            if query.reverse
                && within.is_empty()
                && decoded.timestamps.last().is_none_or(|last| *last < query.from)
            {
                break;
            }
            let mut part = Columns::default();
            deletions::copy_visible(&decoded, within, &gathered.hidden, &mut part);
            gathered.found += part.len();
            gathered.parts.push(part);
            if gathered.parts.len() > gathered.chunks_max {
                return Ok(Read::Cold);
            }
            rows.advance();
        }
        Ok(Read::Known(()))
    }

    pub(super) fn damaged(&self, what: &str, timestamp: i64) -> StoreError {
        let what = format!(
            "damaged {what} of series {} at timestamp {timestamp}",
            self.series_id
        );
        StoreError::new(StoreOperation::Decode, self.store.name(), what)
    }

    /// Puts the sources together and cuts the answer to the limit.
    pub(super) fn finish(&self, sealed: Columns) -> Columns {
        let mut with_late = Columns::default();
        series::merge_newer(&sealed, &self.late, &mut with_late);
        let mut all = Columns::default();
        series::merge_newer(&with_late, &self.head, &mut all);
        let mut answer = Columns::default();
        answer.extend_from(&all, limited(0..all.len(), &self.query));
        answer
    }
}
