//! Sealing: which series give their heads up for chunks, when, and how many with one record.
//!
//! Full series wait for others, and all that are full are sealed in the order of their rows: RocksDB's tables are walked
//! through instead of searched, and the code and tables of the encoder are in the processor's caches for all but the
//! first. Series that are written to at the same pace stay in step that way, however they have come out of it. But a turn
//! of a few commands must not wait until dozens of heads are encoded, nor one that comes during a checkpoint: what one
//! record seals is in proportion to what it holds.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::series::{self, CHUNK_SAMPLES_MAX, ChunkSummary, EncodeScratch};
use crate::store::{Batch, Tier};

use super::deletions;
use super::late;
use super::partition::{LATE_SAMPLES_MAX, Partition};
use super::series_state::{SealedState, Series};

/// When a full head has grown by one in so many samples since, all full ones are sealed.
const FULL_HEAD_GROWTH: usize = 8;
/// Full series wait for others so long at most.
const WAIT_MS: i64 = 100;
/// While memory is short, series that were sealed with no more samples than this give the memory of their heads back:
/// others will soon have as many again.
const SMALL_SEAL_SAMPLES: usize = 64;
/// Samples that one record seals at least, and for each sample that it holds: encoding one takes up to 0.1 us, so one
/// series, or as long as the samples of a pipeline themselves took. More would be a pause that clients notice: all of ten
/// thousand series that are written to alike are full within a second. It is twelve times as much as comes in.
const SEALED_SAMPLES_MIN: usize = 500;
const SEALED_PER_SAMPLE: usize = 12;
/// Rows of a series take as long as encoding so many samples.
const SEAL_OWN_SAMPLES: usize = 56;

/// Series that are to be sealed.
#[derive(Debug, Default)]
pub(super) struct SealQueue {
    /// Their places by their ids, the order of their rows.
    due: BTreeMap<u64, u32>,
    /// The id at which the next record goes on.
    next_id: u64,
    /// Records seal until none is due.
    is_begun: bool,
    /// Empty records do, too.
    is_urgent: bool,
    /// The last record has left some that could have been sealed.
    has_rest: bool,
    /// Unix milliseconds when full series have waited for others long enough.
    wait_ends_ms: i64,
    /// Samples that the partition had taken when the last record ended.
    samples_before: u64,
}

impl SealQueue {
    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.due.clear();
        (self.is_begun, self.is_urgent, self.has_rest) = (false, false, false);
    }

    /// The series is gone.
    pub(super) fn forget(&mut self, id: u64) {
        self.due.remove(&id);
    }

    /// Those that are due have waited for others long enough, if the last ones have at least [`WAIT_MS`] ago.
    pub(super) fn end_waiting(&mut self, now_ms: i64) {
        if now_ms >= self.wait_ends_ms {
            self.wait_ends_ms = now_ms + WAIT_MS;
            self.is_urgent |= !self.due.is_empty();
        }
    }

    fn add(&mut self, series: &mut Series, member: u32) {
        if !series.seal_due {
            series.seal_due = true;
            self.due.insert(series.id, member);
        }
    }

    fn has_begun(&self) -> bool {
        self.is_begun || self.is_urgent
    }

    /// The one behind the last one taken; behind the last of all, the first.
    fn take_next(&mut self) -> Option<(u64, u32)> {
        let behind = self.due.range(self.next_id..).next();
        let (id, member) = behind
            .or_else(|| self.due.first_key_value())
            .map(|(id, member)| (*id, *member))?;
        self.due.remove(&id);
        self.next_id = id + 1;
        Some((id, member))
    }
}

impl Partition {
    /// Puts a series that is full on the list to be sealed. When one has gone on growing, sealing begins.
    #[cold]
    pub(super) fn note_full(&mut self, member: u32) {
        let head_samples_max = self.settings.head_samples_max;
        let Some(series) = self.series.get_mut(member) else {
            return;
        };
        let usual = series.head_samples_max(head_samples_max);
        let has_grown = series.head.grow_by(usual / FULL_HEAD_GROWTH);
        let has_waited = series.head.len() >= usual + usual / FULL_HEAD_GROWTH
            || series.late.len() >= LATE_SAMPLES_MAX + LATE_SAMPLES_MAX / FULL_HEAD_GROWTH;
        self.seal_queue.add(series, member);
        self.seal_queue.is_begun |= has_waited;
        if has_grown {
            self.recount(member);
        }
    }

    /// Puts the series at `member` on the list to be sealed with one of the next records, however few there are.
    pub(crate) fn request_seal(&mut self, member: u32) {
        if let Some(series) = self.series.get_mut(member)
            && !series.is_sealed()
        {
            self.seal_queue.add(series, member);
            self.seal_queue.is_urgent = true;
        }
    }

    /// True if series are to be sealed with the open record.
    pub(super) fn seals_are_due(&self) -> bool {
        self.seal_queue.has_begun() && !self.seal_queue.due.is_empty()
    }

    /// True if another record, even an empty one, should seal what the last one has left.
    pub fn has_more_to_seal(&self) -> bool {
        self.seal_queue.has_rest
    }

    /// Those that the open record seals, in the order of their ids. A series held by a batch, or whose chunks are being
    /// rewritten, stays in the queue.
    fn take_due(&mut self) -> Vec<u32> {
        let samples = self.counters.samples_added - self.seal_queue.samples_before;
        let samples = usize::try_from(samples).unwrap_or(usize::MAX);
        let mut room = samples.saturating_mul(SEALED_PER_SAMPLE).max(SEALED_SAMPLES_MIN);
        let (mut taken, mut waiting) = (Vec::new(), Vec::new());
        while self.seal_queue.has_begun()
            && room > 0
            && let Some((id, member)) = self.seal_queue.take_next()
        {
            let Some(series) = self.series.get(member) else {
                continue;
            };
            if self.batches.is_held(self.key_of(series), None) || self.rewrites.is_running(id) {
                waiting.push((id, member));
            } else {
                room = room.saturating_sub(SEAL_OWN_SAMPLES + series.head.len() + series.late.len());
                taken.push(member);
            }
        }
        let queue = &mut self.seal_queue;
        queue.is_begun &= !queue.due.is_empty();
        queue.is_urgent &= !queue.due.is_empty();
        queue.has_rest = queue.is_urgent;
        queue.is_urgent |= !waiting.is_empty();
        queue.due.extend(waiting);
        taken
    }

    /// Adds the chunks, late samples and state rows of series that are due to `batch`. Memory is left as it is:
    /// [`Partition::finish_seals`] lets it go once the batch is committed.
    pub(super) fn write_seals(&mut self, batch: &mut Batch, scratch: &mut EncodeScratch) -> Vec<Seal> {
        self.take_lessons();
        let due = self.take_due();
        let mut seals = Vec::with_capacity(due.len());
        // Without operations there is no record of this number yet: the next one will have it.
        let sequence = if self.journal.is_empty() {
            self.sequence - 1
        } else {
            self.sequence
        };
        let (mut chunk, mut late_scratch) = (Vec::new(), late::LateScratch::default());
        for member in due {
            let Some(series) = self.series.get(member) else {
                continue;
            };
            let mut sealed = series.sealed.clone();
            sealed.sequence = sequence;
            seal_deletions(series, &mut sealed, batch);
            let has_table = self.summaries.borrow().has(series.id);
            let mut summaries = Vec::new();
            for range in chunk_ranges(series, self.settings.head_samples_max) {
                chunk.clear();
                series::encode(&series.head, range.clone(), scratch, &mut chunk);
                let first = series.head.get(range.start).timestamp;
                batch.put_chunk(Tier::Hot, series.id, first, &chunk);
                sealed.first_timestamp = sealed.first_timestamp.min(first);
                sealed.last_timestamp = series.head.get(range.end - 1).timestamp;
                sealed.chunk_samples += range.len() as u64;
                sealed.chunk_bytes += chunk.len() as u64;
                if has_table {
                    summaries.extend(series::summary(&chunk));
                }
            }
            if !series.late.is_empty() {
                late::write_samples(series, &mut sealed, batch, scratch, &mut late_scratch);
            }
            batch.put_series(series.id, &sealed.encode(series.data_type, self.key_of(series)));
            seals.push(Seal {
                member,
                id: series.id,
                sealed,
                summaries,
            });
        }
        seals
    }

    /// Lets go of what a committed batch has sealed.
    pub(super) fn finish_seals(&mut self, seals: Vec<Seal>) {
        self.seal_queue.samples_before = self.counters.samples_added;
        let is_short = self.is_short_of_memory();
        for Seal {
            member,
            id,
            sealed,
            summaries,
        } in seals
        {
            let Some(series) = self.series.get_mut(member) else {
                continue;
            };
            if series.id != id {
                continue;
            }
            let tables = self.summaries.get_mut();
            tables.append(id, &series.sealed, &sealed, summaries);
            series.set_sealed(sealed);
            if !series.unsealed_deletions().is_empty() {
                // There may be something to remove now.
                series.set_rewrite_after_ms(0);
            }
            let sealed_samples = series.head.len() + series.late.len();
            series.head.clear();
            series.late.clear();
            series.take_unsealed_deletions();
            series.first_unsealed_sequence = 0;
            series.seal_due = false;
            if is_short && sealed_samples <= SMALL_SEAL_SAMPLES {
                series.release_buffers();
                let (before, after) = series.recount();
                self.series_memory_bytes = self.series_memory_bytes + after - before;
            }
            self.warmed.forget(id);
        }
    }

    /// Puts series whose seal was not committed back on the list.
    pub(super) fn retry_seals(&mut self, seals: Vec<Seal>) {
        self.seal_queue.is_urgent |= !seals.is_empty();
        self.seal_queue
            .due
            .extend(seals.into_iter().map(|seal| (seal.id, seal.member)));
    }
}

/// The head cut into chunks of the usual size or, as it may have grown while it waited, up to twice that.
fn chunk_ranges(series: &Series, head_samples_max: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let len = series.head.len();
    let usual = series
        .head_samples_max(head_samples_max)
        .min(CHUNK_SAMPLES_MAX / 2);
    let pieces = (len / usual.max(1)).max(usize::from(len > 0));
    (0..pieces).map(move |piece| len * piece / pieces..len * (piece + 1) / pieces)
}

/// Puts the deletions of a series on disk: among its late samples, of which they hide those written before, and in its
/// state for what chunks hold.
fn seal_deletions(series: &Series, sealed: &mut SealedState, batch: &mut Batch) {
    if sealed.late_samples > 0 && !series.unsealed_deletions().is_empty() {
        late::write_deletions(series, sealed.sequence, batch);
    }
    if sealed.has_chunk_samples() {
        for (from, to) in series.unsealed_deletions() {
            deletions::insert(&mut sealed.rest_mut().deleted, *from, *to);
        }
    }
}

/// A series whose samples are in a batch that is not committed yet.
pub(super) struct Seal {
    pub(super) member: u32,
    id: u64,
    pub(super) sealed: SealedState,
    /// Of its chunks, if there is a table that they go on with.
    summaries: Vec<ChunkSummary>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Committed;
    use crate::lane::test_support::{TestPartition, test_partition};
    use crate::series::Sample;

    /// A partition with so many series of so many samples each, committed but not sealed, and their places.
    fn partition_with(count: usize, samples: i64) -> (TestPartition, Vec<u32>) {
        let mut partition = test_partition();
        let mut members = Vec::new();
        for number in 0..count {
            let key = format!("series{number}");
            for timestamp in 1..=samples {
                let added = partition.add_sample(key.as_bytes(), 0, Sample::new(timestamp, 1.0), 0);
                assert!(added.is_ok());
            }
            members.extend(partition.find_series(key.as_bytes(), 0, 0).ok().flatten());
        }
        commit(&mut partition);
        (partition, members)
    }

    fn commit(partition: &mut Partition) {
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
    }

    fn sealed(partition: &Partition, members: &[u32]) -> usize {
        let is_sealed = |member: &&u32| partition.series_at(**member).is_sealed();
        members.iter().filter(is_sealed).count()
    }

    #[test]
    fn many_seals_are_spread_over_records() {
        let (mut partition, members) = partition_with(100, 1);
        for member in &members {
            partition.request_seal(*member);
        }
        let at_once = SEALED_SAMPLES_MIN.div_ceil(SEAL_OWN_SAMPLES + 1);
        for record in 1..=members.len().div_ceil(at_once) {
            commit(&mut partition);
            assert_eq!(sealed(&partition, &members), members.len().min(record * at_once));
            assert_eq!(partition.has_more_to_seal(), record * at_once < members.len());
        }
    }

    #[test]
    fn full_heads_wait_until_one_of_them_has_grown() {
        let usual = test_partition().settings.head_samples_max as i64;
        let (mut partition, members) = partition_with(3, usual);
        assert_eq!(sealed(&partition, &members), 0);
        let grown = usual + usual / FULL_HEAD_GROWTH as i64;
        for timestamp in usual + 1..=grown {
            assert!(!partition.seals_are_due());
            let added = partition.add_sample(b"series1", 0, Sample::new(timestamp, 1.0), 0);
            assert!(added.is_ok());
        }
        // As long as one is due, the others need not have grown.
        while partition.seals_are_due() {
            assert!(!partition.has_more_to_seal());
            commit(&mut partition);
        }
        assert_eq!(sealed(&partition, &members), members.len());
    }

    #[test]
    fn a_record_goes_on_in_the_order_of_ids_where_the_last_one_stopped() {
        let mut queue = SealQueue {
            due: BTreeMap::from([(9, 0), (1, 2), (5, 1)]),
            ..SealQueue::default()
        };
        assert_eq!(queue.take_next(), Some((1, 2)));
        assert_eq!(queue.take_next(), Some((5, 1)));
        queue.due.insert(3, 4);
        assert_eq!(queue.take_next(), Some((9, 0)));
        assert_eq!(queue.take_next(), Some((3, 4)));
        assert_eq!(queue.take_next(), None);
    }

    #[test]
    fn full_heads_have_waited_long_enough_once_in_so_many_milliseconds() {
        let mut queue = SealQueue::default();
        queue.end_waiting(0);
        queue.due.insert(1, 0);
        queue.end_waiting(WAIT_MS - 1);
        assert!(!queue.has_begun());
        queue.end_waiting(WAIT_MS);
        assert!(queue.has_begun());
    }

    #[test]
    fn a_full_head_that_waits_grows_by_little() {
        let mut partition = test_partition();
        let usual = partition.settings.head_samples_max;
        for timestamp in 0..usual as i64 + 1 {
            let added = partition.add_sample(b"k", 0, Sample::new(timestamp, 1.0), 0);
            assert!(added.is_ok());
        }
        let member = partition.find_series(b"k", 0, 0).ok().flatten().unwrap();
        let room = partition.series_at(member).head.timestamps.capacity();
        assert_eq!(room, usual + usual / FULL_HEAD_GROWTH);
        let counted = partition.series_at(member).memory_bytes();
        assert_eq!(partition.series_memory_bytes, counted);
    }

    #[test]
    fn a_record_of_many_samples_seals_more() {
        let (mut partition, members) = partition_with(100, 1);
        for member in &members {
            partition.request_seal(*member);
        }
        let samples = (members.len() * (SEAL_OWN_SAMPLES + 1)).div_ceil(SEALED_PER_SAMPLE);
        for timestamp in 1..=samples as i64 {
            let added = partition.add_sample(b"other", 0, Sample::new(timestamp, 1.0), 0);
            assert!(added.is_ok());
        }
        commit(&mut partition);
        assert_eq!(sealed(&partition, &members), members.len());
        assert!(!partition.has_more_to_seal());
    }

    #[test]
    fn one_that_is_larger_than_the_room_is_sealed_alone() {
        let (mut partition, members) = partition_with(2, SEALED_SAMPLES_MIN as i64 + 1);
        // Full heads were sealed on the way; these are left.
        for member in &members {
            partition.request_seal(*member);
        }
        while partition.has_changes() {
            commit(&mut partition);
        }
        assert_eq!(sealed(&partition, &members), 2);
    }
}
