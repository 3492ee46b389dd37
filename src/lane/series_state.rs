//! One series in memory: its head, its late samples, and what is known of its sealed chunks.

use std::cell::{Cell, OnceCell};

use crate::series::{CHUNK_SAMPLES_MAX, Columns, Sample};
use crate::store::Tier;

use super::deletions;
use super::rest::{NO_REST, SealedRest, SeriesRest};

/// What is stored of a series beside its chunks; its row in the `series` family.
///
/// In this order in memory: what every late sample looks at comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SealedState {
    /// Newest sealed timestamp, which may be deleted since; `i64::MIN` before the first seal. Samples up to it are late.
    pub last_timestamp: i64,
    /// Oldest sealed timestamp; `i64::MAX` before the first seal.
    pub first_timestamp: i64,
    /// Samples of this series in journal records up to this sequence are in `chunks` or `late`.
    pub sequence: u64,
    /// Samples in hot chunks.
    pub chunk_samples: u64,
    /// Bytes of hot chunks.
    pub chunk_bytes: u64,
    /// Samples written to `late`, equal timestamps counted again, and deleted ones until the next fold.
    pub late_samples: u64,
    /// What most series have nothing of.
    pub(super) rest: Option<Box<SealedRest>>,
}

impl Default for SealedState {
    fn default() -> Self {
        SealedState {
            last_timestamp: i64::MIN,
            first_timestamp: i64::MAX,
            sequence: 0,
            chunk_samples: 0,
            chunk_bytes: 0,
            late_samples: 0,
            rest: None,
        }
    }
}

const ROW_VERSION: u8 = 3;
/// Up to and including the retention and the number of deleted ranges, which follow it.
const ROW_HEADER_BYTES: usize = 2 + 10 * 8;
pub(super) const DELETED_RANGE_BYTES: usize = 16;

impl SealedState {
    /// Encodes the row of a series: version, data type, ten 64-bit integers (little-endian, the last is
    /// the number of deleted ranges), two integers for each deleted range, key.
    pub fn encode(&self, data_type: u8, key: &[u8]) -> Vec<u8> {
        let rest = self.rest();
        let mut row = Vec::with_capacity(ROW_HEADER_BYTES + key.len());
        row.extend_from_slice(&[ROW_VERSION, data_type]);
        for word in [
            self.last_timestamp as u64,
            self.first_timestamp as u64,
            self.sequence,
            self.chunk_samples,
            self.chunk_bytes,
            self.late_samples,
            rest.cold_samples,
            rest.cold_bytes,
            rest.retention_and_one,
            rest.deleted.len() as u64,
        ] {
            row.extend_from_slice(&word.to_le_bytes());
        }
        for (from, to) in &rest.deleted {
            row.extend_from_slice(&from.to_le_bytes());
            row.extend_from_slice(&to.to_le_bytes());
        }
        row.extend_from_slice(key);
        row
    }

    /// Retention of this series in the business's unit; 0 = for ever, `None` = that of the business.
    pub fn retention(&self) -> Option<i64> {
        let retention = self.rest().retention_and_one.checked_sub(1);
        retention.map(|retention| retention as i64)
    }

    /// Changes [`SealedState::retention`].
    pub fn set_retention(&mut self, retention: Option<i64>) {
        let retention_and_one = retention.map_or(0, |retention| (retention as u64).saturating_add(1));
        if retention_and_one != self.rest().retention_and_one {
            self.rest_mut().retention_and_one = retention_and_one;
            self.drop_empty_rest();
        }
    }

    /// True if the newest sealed timestamp is known.
    pub fn has_chunks(&self) -> bool {
        self.last_timestamp != i64::MIN || self.has_chunk_samples()
    }

    /// True if there are samples in chunks of any tier.
    pub fn has_chunk_samples(&self) -> bool {
        self.chunk_samples + self.rest().cold_samples > 0
    }

    /// True if there are samples in chunks of any tier or in `late`.
    pub fn has_samples(&self) -> bool {
        self.late_samples > 0 || self.has_chunk_samples()
    }

    /// Samples are not late any more that are newer than `newest`, the newest sealed one; `None` = nothing is sealed.
    pub fn lower_last_timestamp(&mut self, newest: Option<i64>) {
        match newest {
            Some(newest) => self.last_timestamp = self.last_timestamp.min(newest),
            None if !self.has_chunk_samples() => {
                self.last_timestamp = i64::MIN;
                self.first_timestamp = i64::MAX;
                self.late_samples = 0;
            }
            None => {}
        }
    }

    /// Changes samples and bytes of the chunks of one tier.
    pub fn change_tier(&mut self, tier: Tier, change: impl FnOnce(&mut u64, &mut u64)) {
        match tier {
            Tier::Hot => change(&mut self.chunk_samples, &mut self.chunk_bytes),
            Tier::Cold => {
                let rest = self.rest_mut();
                change(&mut rest.cold_samples, &mut rest.cold_bytes);
                self.drop_empty_rest();
            }
        }
    }

    /// Splits a row into state, data type and key; `None` if it is damaged.
    pub fn decode(row: &[u8]) -> Option<(SealedState, u8, &[u8])> {
        let (header, key) = row.split_at_checked(ROW_HEADER_BYTES)?;
        let [ROW_VERSION, data_type] = *header.first_chunk::<2>()? else {
            return None;
        };
        let mut words = header
            .get(2..)?
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap_or([0; 8])));
        let mut word = || words.next();
        let mut state = SealedState {
            last_timestamp: word()? as i64,
            first_timestamp: word()? as i64,
            sequence: word()?,
            chunk_samples: word()?,
            chunk_bytes: word()?,
            late_samples: word()?,
            rest: None,
        };
        let mut rest = SealedRest {
            cold_samples: word()?,
            cold_bytes: word()?,
            retention_and_one: word()?,
            deleted: Vec::new(),
        };
        let ranges = usize::try_from(word()?).ok()?;
        let (ranges, key) = key.split_at_checked(ranges.checked_mul(DELETED_RANGE_BYTES)?)?;
        let end = |bytes: &[u8]| bytes.try_into().map_or(0, i64::from_le_bytes);
        for range in ranges.chunks_exact(DELETED_RANGE_BYTES) {
            let (from, to) = range.split_at(DELETED_RANGE_BYTES / 2);
            rest.deleted.push((end(from), end(to)));
        }
        state.rest = (rest != NO_REST).then(|| Box::new(rest));
        Some((state, data_type, key))
    }
}

/// Bytes of a sample in a chunk above which its values count as noise.
const INCOMPRESSIBLE_BYTES: u64 = 6;
/// Heads of such values grow so many times as long.
const INCOMPRESSIBLE_GROWTH: usize = 8;

/// Where a sample went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Into the head.
    Head,
    /// To the late samples, which take more memory than before if they have grown.
    Late { has_grown: bool },
}

/// A series that has been touched. What a new sample touches, in order or late, comes first, in two lines of the cache:
/// see [`SAMPLE_TOUCHES_BYTES`].
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Series {
    /// Newest samples, ascending; all newer than everything sealed.
    pub head: Columns,
    /// Samples not newer than everything sealed, in order of arrival.
    pub late: Vec<Sample>,
    /// Never reused.
    pub id: u64,
    /// Nothing in the head or sealed is newer: saves the look at the end of the head, which is seldom in the cache.
    newest: i64,
    /// Journal record that holds the oldest change not sealed yet; 0 = none.
    pub first_unsealed_sequence: u64,
    /// Unix milliseconds of the last write.
    pub touched_ms: i64,
    /// Its share of the partition's count of memory.
    pub(super) counted_bytes: u32,
    /// 0 unless said.
    pub data_type: u8,
    /// Already on the list of series to seal.
    pub seal_due: bool,
    /// Whether there is a [`Series::found_newest`]: late samples ask.
    pub(super) newest_is_found: Cell<bool>,
    /// What is sealed.
    pub sealed: SealedState,
    /// Place of its key's entry in the key table; [`NO_ENTRY`] before replay has met the key.
    pub(super) entry: u32,
    /// What most series have nothing of.
    pub(super) rest: OnceCell<Box<SeriesRest>>,
}

/// No place in the key table.
pub(super) const NO_ENTRY: u32 = u32::MAX;

/// Bytes at the start of a [`Series`] that a new sample touches: up to the last sealed timestamp, which comes first of
/// what is sealed.
pub(super) const SAMPLE_TOUCHES_BYTES: usize =
    std::mem::offset_of!(Series, sealed) + std::mem::offset_of!(SealedState, first_timestamp);
const _: () = assert!(SAMPLE_TOUCHES_BYTES <= 128);
/// Three lines of the cache; a place in the slab needs no more.
const _: () = assert!(size_of::<Option<Series>>() == 192);

impl Series {
    /// A series without samples in memory.
    pub fn new(id: u64, data_type: u8, sealed: SealedState) -> Series {
        Series {
            id,
            data_type,
            head: Columns::default(),
            late: Vec::new(),
            newest: sealed.last_timestamp,
            newest_is_found: Cell::new(false),
            sealed,
            first_unsealed_sequence: 0,
            touched_ms: 0,
            seal_due: false,
            counted_bytes: 0,
            entry: NO_ENTRY,
            rest: OnceCell::new(),
        }
    }

    /// Adds a sample; an equal timestamp is replaced. O(1) in order, O(head) inside the head, O(1) when late.
    #[inline]
    pub fn add(&mut self, sample: Sample, sequence: u64) -> Destination {
        if self.first_unsealed_sequence == 0 {
            self.first_unsealed_sequence = sequence;
        }
        if sample.timestamp > self.newest {
            self.newest = sample.timestamp;
            self.head.push(sample);
            return Destination::Head;
        }
        match self.head.timestamps.last() {
            None if self.is_newer_than_sealed(sample.timestamp) => self.head.push(sample),
            _ if self.is_newer_than_sealed(sample.timestamp) => {
                self.head.upsert(sample);
            }
            _ => {
                self.note_late(sample.timestamp);
                let room = self.late.capacity();
                self.late.push(sample);
                let has_grown = self.late.capacity() != room;
                return Destination::Late { has_grown };
            }
        }
        Destination::Head
    }

    /// The highest timestamp so far, `None` before the first sample. The sample there may be deleted by now.
    #[inline]
    pub fn newest(&self) -> Option<i64> {
        (self.newest != i64::MIN).then_some(self.newest)
    }

    /// Ranges of what is sealed are deleted: the newest timestamp may be among them.
    pub fn has_deletions(&self) -> bool {
        !self.unsealed_deletions().is_empty() || !self.sealed.rest().deleted.is_empty()
    }

    /// Samples at which the head is full. Where values do not compress, a chunk's own bytes weigh more than its
    /// index saves: such heads grow longer.
    pub fn head_samples_max(&self, usual: usize) -> usize {
        let sealed = &self.sealed;
        let incompressible = sealed.chunk_bytes > sealed.chunk_samples.saturating_mul(INCOMPRESSIBLE_BYTES);
        if incompressible {
            usual
                .saturating_mul(INCOMPRESSIBLE_GROWTH)
                .clamp(1, CHUNK_SAMPLES_MAX)
        } else {
            usual
        }
    }

    /// What is sealed was read or written anew.
    pub fn set_sealed(&mut self, sealed: SealedState) {
        self.newest = self.newest.max(sealed.last_timestamp);
        self.sealed = sealed;
        self.set_found_newest(None);
    }

    /// True if the head holds everything.
    pub fn has_nothing_sealed(&self) -> bool {
        !self.sealed.has_samples() && self.late.is_empty()
    }

    /// True if there may be samples in `from..=to`.
    pub fn may_hold(&self, from: i64, to: i64) -> bool {
        let in_late = || self.late.iter().any(|s| (from..=to).contains(&s.timestamp));
        !self.head.range(from, to).is_empty() || in_late() || self.sealed_within(from, to).is_some()
    }

    /// What `from..=to` has in common with the time from the oldest to the newest sealed sample.
    fn sealed_within(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        let sealed = &self.sealed;
        let (from, to) = (from.max(sealed.first_timestamp), to.min(sealed.last_timestamp));
        (sealed.has_samples() && from <= to).then_some((from, to))
    }

    /// Deletes the samples in `from..=to`: in memory at once, of what is sealed it is remembered.
    pub fn delete_range(&mut self, from: i64, to: i64, sequence: u64) {
        if self.first_unsealed_sequence == 0 {
            self.first_unsealed_sequence = sequence;
        }
        let within = self.head.range(from, to);
        self.head.remove(within);
        self.late
            .retain(|sample| !(from..=to).contains(&sample.timestamp));
        if let Some((from, to)) = self.sealed_within(from, to) {
            self.add_unsealed_deletion(from, to);
        }
        self.note_deleted(from, to);
        self.find_newest();
    }

    fn find_newest(&mut self) {
        let newest = self.head.timestamps.last().copied();
        self.newest = newest.unwrap_or(self.sealed.last_timestamp);
    }

    /// The last sealed timestamp is lower now: late samples that are newer belong to the head, and what was deleted
    /// behind it is gone.
    pub(super) fn last_timestamp_lowered(&mut self) {
        let late = std::mem::take(&mut self.late).into_iter();
        let (newer, late): (Vec<Sample>, Vec<Sample>) =
            late.partition(|sample| self.is_newer_than_sealed(sample.timestamp));
        self.late = late;
        for sample in newer {
            self.head.upsert(sample);
        }
        for (from, to) in self.take_unsealed_deletions() {
            if let Some((from, to)) = self.sealed_within(from, to) {
                self.add_unsealed_deletion(from, to);
            }
        }
        self.set_found_newest(None);
        self.find_newest();
    }

    /// Timestamp of the newest sample; `None` if there is none. As long as it is not known, see
    /// [`Series::known_newest`], the newest sample may be older than this, but never newer.
    pub fn newest_timestamp(&self) -> Option<i64> {
        if let Some(newest) = self.known_newest() {
            return newest;
        }
        match self.newest_deletion() {
            // Late samples may be newer than the deletion.
            Some((from, _)) if self.sealed.late_samples == 0 => {
                let late = self.late.iter().map(|sample| sample.timestamp).max();
                late.max(Some(from.saturating_sub(1)))
            }
            _ => Some(self.sealed.last_timestamp),
        }
    }

    /// The deleted range, merged from all, that the last sealed timestamp lies in.
    pub(super) fn newest_deletion(&self) -> Option<(i64, i64)> {
        let (stored, unsealed) = (&self.sealed.rest().deleted, self.unsealed_deletions());
        let last = self.sealed.last_timestamp;
        if deletions::covering(stored, last).is_none() && deletions::covering(unsealed, last).is_none() {
            return None;
        }
        deletions::covering(&deletions::union(stored, unsealed), last)
    }

    fn is_newer_than_sealed(&self, timestamp: i64) -> bool {
        !self.sealed.has_chunks() || timestamp > self.sealed.last_timestamp
    }

    /// True if nothing would be lost by forgetting the series.
    ///
    /// A series whose samples in memory are all deleted again is not sealed before its row says so: the deletion may
    /// belong to a batch that is not committed, then the journal must keep the samples.
    pub fn is_sealed(&self) -> bool {
        self.head.is_empty() && self.late.is_empty() && self.first_unsealed_sequence == 0
    }

    /// Samples, rows of `late` with equal timestamps counted again, and deleted ones until they are removed from disk.
    pub fn sample_count(&self) -> u64 {
        self.sealed.chunk_samples
            + self.sealed.rest().cold_samples
            + self.sealed.late_samples
            + (self.head.len() + self.late.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(timestamp: i64) -> Sample {
        Sample {
            timestamp,
            value: timestamp as f64,
            quality: 0,
        }
    }

    #[test]
    fn samples_go_where_they_belong() {
        let sealed = SealedState {
            last_timestamp: 10,
            chunk_samples: 1,
            ..SealedState::default()
        };
        let mut series = Series::new(1, 0, sealed);
        for timestamp in [20, 30, 25, 30, 10, 5] {
            series.add(sample(timestamp), 7);
        }
        assert_eq!(series.head.timestamps, [20, 25, 30]);
        assert_eq!(
            series.late.iter().map(|s| s.timestamp).collect::<Vec<_>>(),
            [10, 5]
        );
        assert_eq!(series.first_unsealed_sequence, 7);
    }

    #[test]
    fn rows_come_back() {
        let mut state = SealedState {
            last_timestamp: -1,
            sequence: 9,
            ..SealedState::default()
        };
        state.set_retention(Some(0));
        state.set_deleted(vec![(-4, 5), (7, 7)]);
        assert_eq!(state.retention(), Some(0));
        let row = state.encode(3, b"key");
        assert_eq!(SealedState::decode(&row), Some((state, 3, &b"key"[..])));
        assert_eq!(SealedState::decode(&row[..10]), None);
        let mut other = row.clone();
        other[0] = ROW_VERSION - 1;
        assert_eq!(SealedState::decode(&other), None);
    }
}
