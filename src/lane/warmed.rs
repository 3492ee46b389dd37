//! Ranges that the blocking pool has read for a command that then runs again.
//!
//! Reading fills the block cache, but a cache can be too small, and the lane itself reads few chunks at a time: so what
//! was read is kept for a moment, and the command is certain to find it. Only the sealed part is kept, and it counts
//! only as long as nothing of the series has been sealed or deleted since; memory is read anew each time.

use crate::series::Columns;

use super::deletions::{self, TimeRange};
use super::range::RangeQuery;
use super::series_state::Series;

/// What was read is kept for so long.
const KEPT_MS: i64 = 5_000;
/// Reads kept, of all commands together.
const KEPT_READS_MAX: usize = 4_096;
/// Bytes kept, of all commands together; the latest read is kept whatever its size.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The sealed part of a range.
#[derive(Debug)]
pub struct Warmed {
    pub(super) series_id: u64,
    pub(super) query: RangeQuery,
    /// State of the series that was read.
    pub(super) sealed_sequence: u64,
    pub(super) unsealed_deletions: Vec<TimeRange>,
    /// Visible samples; at least as many as wanted if there are more.
    pub(super) sealed: Columns,
}

impl Warmed {
    fn is_of(&self, series: &Series) -> bool {
        self.series_id == series.id
            && self.sealed_sequence == series.sealed.sequence
            && self.unsealed_deletions == series.unsealed_deletions()
    }

    /// Retention may have moved the start since: then samples at the start are not wanted any more.
    fn answers(&self, query: &RangeQuery) -> bool {
        let mine = &self.query;
        let holds_all = mine.reverse || mine.limit == usize::MAX || self.sealed.len() < mine.limit;
        (mine.to, mine.limit, mine.reverse) == (query.to, query.limit, query.reverse)
            && (mine.from == query.from || (mine.from < query.from && holds_all))
    }

    fn bytes(&self) -> usize {
        size_of::<Warmed>() + self.sealed.memory_bytes()
    }
}

/// What is kept by a partition.
#[derive(Default)]
pub struct WarmedReads {
    /// Unix milliseconds of their arrival, oldest first.
    reads: Vec<(i64, Warmed)>,
}

impl WarmedReads {
    /// Keeps a read for the command that waits for it.
    pub(super) fn keep(&mut self, warmed: Warmed, now_ms: i64) {
        let mut bytes = warmed.bytes();
        self.reads.push((now_ms, warmed));
        let older = self.reads.iter().rev().skip(1);
        let fitting = older.take(KEPT_READS_MAX - 1).take_while(|(_, read)| {
            bytes += read.bytes();
            bytes <= KEPT_BYTES_MAX
        });
        let kept = 1 + fitting.count();
        self.reads.drain(..self.reads.len() - kept);
    }

    /// The sealed samples of the range, if they have been read.
    pub(super) fn find(&self, series: &Series, query: &RangeQuery) -> Option<Columns> {
        let mut reads = self.reads.iter().rev().map(|(_, read)| read);
        let found = reads.find(|read| read.is_of(series) && read.answers(query))?;
        let mut columns = Columns::default();
        let within = found.sealed.range(query.from, query.to);
        deletions::copy_visible(&found.sealed, within, &[], &mut columns);
        Some(columns)
    }

    /// Lets what was read of a series go: it has changed.
    pub(super) fn forget(&mut self, series_id: u64) {
        self.reads.retain(|(_, read)| read.series_id != series_id);
    }

    /// Lets go of what nobody came for.
    pub(super) fn expire(&mut self, now_ms: i64) {
        self.reads.retain(|(kept_ms, _)| now_ms - kept_ms < KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::series_state::SealedState;
    use crate::series::Sample;

    const QUERY: RangeQuery = RangeQuery {
        from: 0,
        to: 100,
        limit: usize::MAX,
        reverse: false,
    };

    fn warmed(series_id: u64, query: RangeQuery, samples: i64) -> Warmed {
        Warmed {
            series_id,
            query,
            sealed_sequence: 0,
            unsealed_deletions: Vec::new(),
            sealed: (0..samples)
                .map(|index| Sample::new(index, index as f64))
                .collect(),
        }
    }

    fn found(reads: &WarmedReads, series: &Series, query: RangeQuery) -> Option<usize> {
        reads.find(series, &query).map(|columns| columns.len())
    }

    #[test]
    fn a_read_answers_its_own_query_as_long_as_the_series_is_as_it_was() {
        let mut series = Series::new(1, 0, SealedState::default());
        let mut reads = WarmedReads::default();
        reads.keep(warmed(1, QUERY, 10), 0);
        assert_eq!(found(&reads, &series, QUERY), Some(10));
        assert_eq!(found(&reads, &series, RangeQuery { from: 4, ..QUERY }), Some(6));
        assert_eq!(found(&reads, &series, RangeQuery { from: -1, ..QUERY }), None);
        assert_eq!(found(&reads, &series, RangeQuery { to: 99, ..QUERY }), None);
        series.add_unsealed_deletion(5, 5);
        assert_eq!(found(&reads, &series, QUERY), None);
        series.take_unsealed_deletions();
        series.sealed.sequence = 1;
        assert_eq!(found(&reads, &series, QUERY), None);
    }

    #[test]
    fn a_limited_read_is_no_answer_once_its_start_has_moved() {
        let series = Series::new(1, 0, SealedState::default());
        let mut reads = WarmedReads::default();
        let limited = RangeQuery { limit: 10, ..QUERY };
        reads.keep(warmed(1, limited, 10), 0);
        assert_eq!(found(&reads, &series, limited), Some(10));
        assert_eq!(found(&reads, &series, RangeQuery { from: 1, ..limited }), None);
    }

    #[test]
    fn reads_go_when_they_are_too_many_or_too_old() {
        let series = |id| Series::new(id, 0, SealedState::default());
        let mut reads = WarmedReads::default();
        for id in 0..KEPT_READS_MAX as u64 + 5 {
            reads.keep(warmed(id, QUERY, 1), id as i64);
        }
        assert_eq!(reads.reads.len(), KEPT_READS_MAX);
        assert_eq!(found(&reads, &series(4), QUERY), None);
        assert_eq!(found(&reads, &series(5), QUERY), Some(1));
        reads.forget(5);
        assert_eq!(found(&reads, &series(5), QUERY), None);
        reads.expire(6 + KEPT_MS);
        assert_eq!(found(&reads, &series(6), QUERY), None);
        assert_eq!(found(&reads, &series(7), QUERY), Some(1));
        let large = (KEPT_BYTES_MAX / 16) as i64;
        reads.keep(warmed(1, QUERY, large), 7);
        assert_eq!(reads.reads.len(), 1, "the latest one stays, whatever its size");
    }
}
