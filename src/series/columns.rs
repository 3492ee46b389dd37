//! A run of samples as columns: what heads hold, chunks decode into and aggregations read.

use std::ops::Range;

use crate::series::sample::{DEFAULT_QUALITY, Sample};
use crate::series::search::Search;

/// Columns of one run of samples: timestamps ascend without duplicates; `values[i]` and quality `i` belong to
/// `timestamps[i]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    pub timestamps: Vec<i64>,
    pub values: Vec<f64>,
    pub qualities: Qualities,
}

/// Samples for which there is room at first: a column of so many takes the smallest block of the allocator. Then comes
/// room for so many that doubling makes it whole chunks.
pub const SMALL_SAMPLES: usize = 3;
/// See [`SMALL_SAMPLES`].
pub const NEXT_SAMPLES: usize = 8;

/// One quality per sample, or nothing while all are the default.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "hardly any head has one: two words are what it saves"
)]
pub struct Qualities(Option<Box<Vec<u8>>>);

/// Absent and stored defaults are the same qualities.
impl PartialEq for Qualities {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => left == right,
            (left, right) => left
                .iter()
                .chain(right)
                .flat_map(|stored| stored.iter())
                .all(|&quality| quality == DEFAULT_QUALITY),
        }
    }
}

impl Qualities {
    /// Quality of sample `index`; the default where none is stored.
    #[inline]
    pub fn get(&self, index: usize) -> u8 {
        self.0
            .as_ref()
            .and_then(|stored| stored.get(index))
            .copied()
            .unwrap_or(DEFAULT_QUALITY)
    }

    /// The stored qualities of `range`; None where all of them are the default.
    pub fn stored(&self, range: Range<usize>) -> Option<&[u8]> {
        let run = &self.0.as_ref()?[range];
        run.iter()
            .any(|&quality| quality != DEFAULT_QUALITY)
            .then_some(run)
    }

    /// Appends the quality of sample `len`, the number of samples so far.
    #[inline]
    pub fn push(&mut self, len: usize, quality: u8) {
        match &mut self.0 {
            None if quality == DEFAULT_QUALITY => (),
            None => self.make_stored(len).push(quality),
            Some(stored) => stored.push(quality),
        }
    }

    /// Inserts the quality of a new sample at `index` of `len` so far.
    pub fn insert(&mut self, len: usize, index: usize, quality: u8) {
        if self.0.is_some() || quality != DEFAULT_QUALITY {
            self.make_stored(len).insert(index, quality);
        }
    }

    /// Replaces the quality of sample `index` of `len`.
    pub fn set(&mut self, len: usize, index: usize, quality: u8) {
        if self.0.is_some() || quality != DEFAULT_QUALITY {
            self.make_stored(len)[index] = quality;
        }
    }

    /// Appends the default for `count` samples behind the first `len`.
    pub fn extend_default(&mut self, len: usize, count: usize) {
        if let Some(stored) = &mut self.0 {
            stored.resize(len + count, DEFAULT_QUALITY);
        }
    }

    /// Appends those of `range` in `other`, behind the first `len`.
    pub fn extend_from(&mut self, len: usize, other: &Qualities, range: Range<usize>) {
        match other.stored(range.clone()) {
            Some(run) => self.make_stored(len).extend_from_slice(run),
            None => self.extend_default(len, range.len()),
        }
    }

    /// The stored bytes of the first `len` samples, made if they were absent.
    pub(super) fn make_stored(&mut self, len: usize) -> &mut Vec<u8> {
        self.0.get_or_insert_with(|| Box::new(vec![DEFAULT_QUALITY; len]))
    }

    /// Forgets all behind the first `len`.
    pub fn truncate(&mut self, len: usize) {
        if let Some(stored) = &mut self.0 {
            stored.truncate(len);
            if len == 0 {
                self.0 = None;
            }
        }
    }

    /// Removes those of `range`; what is behind moves up.
    pub fn remove(&mut self, range: Range<usize>) {
        if let Some(stored) = &mut self.0 {
            stored.drain(range);
        }
    }

    /// Bytes of heap held.
    pub fn memory_bytes(&self) -> usize {
        self.0
            .as_ref()
            .map_or(0, |stored| size_of::<Vec<u8>>() + stored.capacity())
    }
}

impl Columns {
    /// Empty columns with room for `samples` of the default quality.
    pub fn with_capacity(samples: usize) -> Self {
        Columns {
            timestamps: Vec::with_capacity(samples),
            values: Vec::with_capacity(samples),
            qualities: Qualities::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Appends a sample, which must be newer than all others.
    #[inline]
    pub fn push(&mut self, sample: Sample) {
        debug_assert!(self.timestamps.last().is_none_or(|&last| last < sample.timestamp));
        if self.timestamps.capacity() <= SMALL_SAMPLES {
            self.grow_small();
        }
        self.qualities.push(self.timestamps.len(), sample.quality);
        self.timestamps.push(sample.timestamp);
        self.values.push(sample.value);
    }

    /// Makes room as long as there are few samples.
    fn grow_small(&mut self) {
        let room = match self.len() {
            0 => SMALL_SAMPLES,
            SMALL_SAMPLES => NEXT_SAMPLES - SMALL_SAMPLES,
            _ => return,
        };
        self.timestamps.reserve_exact(room);
        self.values.reserve_exact(room);
    }

    /// Makes room for so many more samples, and no more than that, if there is none for the next one, which otherwise
    /// would double it. True if that took more memory.
    pub fn grow_by(&mut self, samples: usize) -> bool {
        let is_full = self.len() == self.timestamps.capacity().min(self.values.capacity());
        if is_full {
            self.timestamps.reserve_exact(samples);
            self.values.reserve_exact(samples);
        }
        is_full
    }

    /// Puts a sample in its place; of an equal timestamp it replaces value and quality. Says whether it is
    /// new.
    pub fn upsert(&mut self, sample: Sample) -> bool {
        let len = self.len();
        let index = match self.timestamps.last() {
            Some(&last) if last >= sample.timestamp => self.lower_bound(sample.timestamp),
            _ => len,
        };
        if self.timestamps.get(index) == Some(&sample.timestamp) {
            self.values[index] = sample.value;
            self.qualities.set(len, index, sample.quality);
            return false;
        }
        self.qualities.insert(len, index, sample.quality);
        self.timestamps.insert(index, sample.timestamp);
        self.values.insert(index, sample.value);
        true
    }

    /// The sample at `index`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, index: usize) -> Sample {
        Sample {
            timestamp: self.timestamps[index],
            value: self.values[index],
            quality: self.qualities.get(index),
        }
    }

    /// The newest sample.
    pub fn last(&self) -> Option<Sample> {
        self.len().checked_sub(1).map(|index| self.get(index))
    }

    /// Index of the sample with exactly this timestamp.
    pub fn find(&self, timestamp: i64) -> Option<usize> {
        self.timestamps.binary_search(&timestamp).ok()
    }

    /// Index of the first sample at or after `timestamp`; the length if there is none.
    #[inline]
    pub fn lower_bound(&self, timestamp: i64) -> usize {
        self.timestamps.partition_point(|&each| each < timestamp)
    }

    /// Indices of the samples from `from` to `to`, both inclusive.
    pub fn range(&self, from: i64, to: i64) -> Range<usize> {
        Search::new(&self.timestamps).range(from, to)
    }

    /// Appends those of `range` in `other`, which must be newer than all here.
    pub fn extend_from(&mut self, other: &Columns, range: Range<usize>) {
        self.qualities
            .extend_from(self.timestamps.len(), &other.qualities, range.clone());
        self.timestamps
            .extend_from_slice(&other.timestamps[range.clone()]);
        self.values.extend_from_slice(&other.values[range]);
    }

    /// Removes the samples at `range` of indices; what is behind moves up.
    pub fn remove(&mut self, range: Range<usize>) {
        self.timestamps.drain(range.clone());
        self.values.drain(range.clone());
        self.qualities.remove(range);
    }

    /// Forgets all but the first `len` samples.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.values.truncate(len);
        self.qualities.truncate(len);
    }

    /// Forgets all samples and keeps the memory for new ones.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// All samples in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Sample> + ExactSizeIterator + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Bytes of heap held.
    pub fn memory_bytes(&self) -> usize {
        (self.timestamps.capacity() + self.values.capacity()) * size_of::<u64>()
            + self.qualities.memory_bytes()
    }
}

impl Extend<Sample> for Columns {
    /// Appends samples that are newer than all others, in order.
    fn extend<I: IntoIterator<Item = Sample>>(&mut self, samples: I) {
        for sample in samples {
            self.push(sample);
        }
    }
}

impl FromIterator<Sample> for Columns {
    /// Columns of samples that come in order, without duplicates.
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let mut columns = Columns::default();
        columns.extend(samples);
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn qualities_are_absent_until_needed() {
        let mut columns: Columns = (0..10).map(|index| Sample::new(index, 1.0)).collect();
        assert_eq!(columns.qualities.memory_bytes(), 0);
        assert_eq!(columns.qualities, Qualities::default());
        columns.push(Sample {
            timestamp: 10,
            value: 2.0,
            quality: 9,
        });
        assert_ne!(columns.qualities, Qualities::default());
        assert_eq!(columns.qualities.stored(0..10), None);
        assert_eq!((columns.get(9).quality, columns.get(10).quality), (0, 9));
        columns.truncate(10);
        assert_eq!(columns, (0..10).map(|index| Sample::new(index, 1.0)).collect());
        columns.clear();
        assert_eq!(columns.qualities.memory_bytes(), 0);
    }

    #[test]
    fn ranges_are_inclusive_and_never_backwards() {
        let columns: Columns = [10, 20, 30]
            .map(|timestamp| Sample::new(timestamp, 0.0))
            .into_iter()
            .collect();
        assert_eq!(columns.range(10, 30), 0..3);
        assert_eq!(columns.range(11, 29), 1..2);
        assert_eq!(columns.range(31, i64::MAX), 3..3);
        assert_eq!(columns.range(30, 10), 2..2);
        assert_eq!((columns.find(20), columns.find(21)), (Some(1), None));
    }

    proptest! {
        #[test]
        fn upserts_and_removals_agree_with_a_map(
            operations in prop::collection::vec((0i64..60, any::<f64>(), 0u8..3, any::<bool>()), 0..200),
        ) {
            let (mut columns, mut model) = (Columns::default(), BTreeMap::new());
            for (timestamp, value, quality, remove) in operations {
                if remove && quality == 2 {
                    let range = columns.range(timestamp, timestamp + 5);
                    columns.remove(range);
                    model.retain(|at, _| !(timestamp..=timestamp + 5).contains(at));
                } else {
                    let sample = Sample { timestamp, value, quality };
                    prop_assert_eq!(columns.upsert(sample), model.insert(timestamp, sample).is_none());
                }
                prop_assert!(columns.iter().eq(model.values().copied()));
            }
        }
    }
}
