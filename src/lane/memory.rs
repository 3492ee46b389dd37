//! What things in memory cost: series, the allocator's share, and that of hash tables.

use crate::series::{Columns, Sample};

use super::series_state::Series;

/// Blocks of the allocator are multiples of this and at least twice as long; each has a header.
const BLOCK_STEP_BYTES: usize = 16;
const BLOCK_HEADER_BYTES: usize = 8;
/// Of a hash table's places, which cost a byte beside their entries, between 7/16 and 7/8 are taken.
const PLACES_OF_16: usize = 16;
const PLACES_TAKEN_OF_16: usize = 11;

/// Bytes that the allocator takes for `bytes`, none for none.
pub const fn allocated(bytes: usize) -> usize {
    if bytes == 0 {
        return 0;
    }
    let block = (bytes + BLOCK_HEADER_BYTES).next_multiple_of(BLOCK_STEP_BYTES);
    if block < 2 * BLOCK_STEP_BYTES {
        2 * BLOCK_STEP_BYTES
    } else {
        block
    }
}

/// Bytes that a hash table takes for an entry of `bytes`, its share of the empty places included.
pub const fn hashed(bytes: usize) -> usize {
    (bytes + 1) * PLACES_OF_16 / PLACES_TAKEN_OF_16
}

/// A series without samples: its place in the slab, and its number in the table of ids.
const SERIES_BYTES: usize = size_of::<Option<Series>>() + hashed(size_of::<u32>());

/// Of what is behind a pointer and a list in it.
const fn seldom((own_bytes, list_bytes): (usize, usize)) -> usize {
    allocated(own_bytes) + allocated(list_bytes)
}

impl Series {
    /// Memory held, with what the allocator and the tables that list the series take.
    pub fn memory_bytes(&self) -> usize {
        SERIES_BYTES
            + self.head_memory_bytes()
            + allocated(self.late.capacity() * size_of::<Sample>())
            + seldom(self.rest_bytes())
            + seldom(self.sealed.own_bytes())
    }

    fn head_memory_bytes(&self) -> usize {
        let Columns {
            timestamps,
            values,
            qualities,
        } = &self.head;
        allocated(timestamps.capacity() * size_of::<i64>())
            + allocated(values.capacity() * size_of::<f64>())
            + allocated(qualities.memory_bytes())
    }

    /// Gives the memory of heads and late samples back while there are none.
    pub(super) fn release_buffers(&mut self) {
        if self.head.is_empty() {
            self.head = Columns::default();
        }
        if self.late.is_empty() {
            self.late = Vec::new();
        }
    }

    /// Counts the memory again: how much it was when it was counted before, and how much it is now.
    pub(super) fn recount(&mut self) -> (usize, usize) {
        let (before, after) = (self.counted_bytes as usize, self.memory_bytes());
        self.counted_bytes = u32::try_from(after).unwrap_or(u32::MAX);
        (before, self.counted_bytes as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::test_partition;
    use crate::lane::{Committed, Partition, SeriesSweep};
    use crate::series::EncodeScratch;

    #[test]
    fn blocks_have_headers_and_a_least_size() {
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
        assert_eq!(hashed(10), 16);
    }

    #[test]
    fn an_idle_series_takes_little() {
        let mut partition = test_partition();
        let key = b"stock_0000001";
        let taken = |partition: &Partition| {
            let series: usize = partition.series.iter().map(Series::memory_bytes).sum();
            series + partition.keys.series_memory_bytes()
        };
        for timestamp in 0..3 {
            assert!(
                partition
                    .add_sample(key, 0, Sample::new(timestamp, 0.5), 0)
                    .is_ok()
            );
        }
        assert!((340..=370).contains(&taken(&partition)), "{}", taken(&partition));
        assert_eq!(
            partition.series_memory_bytes(),
            taken(&partition),
            "counted as it grew"
        );
        let member = partition.find_series(key, 0, 0).ok().flatten().unwrap();
        partition.request_seal(member);
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
        partition.sweep_series(&mut SeriesSweep::default(), 100_000, false);
        assert!((250..=310).contains(&taken(&partition)), "{}", taken(&partition));
    }
}
