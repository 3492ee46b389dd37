//! What things in memory cost: series, the allocator's share, and that of hash tables.

use crate::series::{Columns, Sample};

use super::series_state::{DELETED_RANGE_BYTES, Series};

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

/// A series without samples: itself, its place in the slab, which grows by doubling, and its entry in the table of ids.
const SERIES_BYTES: usize =
    allocated(size_of::<Series>()) + size_of::<usize>() * 3 / 2 + hashed(size_of::<(u64, u32)>());

impl Series {
    /// Memory held, with what the allocator and the tables that list the series take.
    pub fn memory_bytes(&self) -> usize {
        SERIES_BYTES
            + allocated(self.key.len())
            + self.head.memory_bytes()
            + allocated(self.late.capacity() * size_of::<Sample>())
            + allocated(self.unsealed_deletions.capacity() * DELETED_RANGE_BYTES)
            + allocated(self.sealed.deleted.capacity() * DELETED_RANGE_BYTES)
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
        let (before, after) = (self.counted_bytes, self.memory_bytes());
        self.counted_bytes = after;
        (before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_headers_and_a_least_size() {
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
        assert_eq!(hashed(10), 16);
    }
}
