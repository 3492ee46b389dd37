//! SCAN cursors: the numbers that clients hold, and the positions they stand for.
//!
//! A cursor names the lane that keeps it in its low bits, so that it can be continued on any connection. A position is
//! kept for a while after it was used, so that a client may repeat a call. The oldest go first; a cursor that is no
//! longer known begins again, which repeats keys, as SCAN may.

use std::collections::VecDeque;

use crate::lane::ScanPosition;

/// Positions kept per lane.
const CURSORS_MAX: usize = 4096;
/// Low bits of a cursor: the lane.
const LANE_BITS: u32 = 8;

/// A walk over all partitions of all lanes.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Lane and place being walked.
    pub lane: usize,
    /// Place of the partition on that lane.
    pub place: usize,
    /// Where in it; `None` = at its beginning.
    pub position: Option<ScanPosition>,
    /// Unix seconds at which the walk began.
    pub started_s: u32,
}

impl Walk {
    /// True where a partition's table, or what it has on disk, begins.
    pub fn is_at_a_beginning(&self) -> bool {
        matches!(
            self.position,
            None | Some(ScanPosition::Stored { after: None } | ScanPosition::Table { place: 0, .. })
        )
    }
}

/// See the head of the file.
#[derive(Default)]
pub struct ScanCursors {
    walks: VecDeque<(u64, Walk)>,
    next: u64,
}

impl ScanCursors {
    /// Keeps a walk and returns its cursor.
    pub fn keep(&mut self, lane: usize, walk: Walk) -> u64 {
        self.next += 1;
        let cursor = (self.next << LANE_BITS) | lane as u64;
        if self.walks.len() == CURSORS_MAX {
            self.walks.pop_front();
        }
        self.walks.push_back((cursor, walk));
        cursor
    }

    /// The walk of a cursor.
    pub fn find(&self, cursor: u64) -> Option<Walk> {
        let index = self
            .walks
            .binary_search_by_key(&cursor, |(known, _)| *known)
            .ok()?;
        self.walks.get(index).map(|(_, walk)| walk.clone())
    }
}

/// The lane that keeps a cursor.
pub fn lane_of(cursor: u64) -> usize {
    (cursor & ((1 << LANE_BITS) - 1)) as usize
}

const _: () = assert!(crate::limits::LANES_MAX <= 1 << LANE_BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_cursors_go_first() {
        let mut cursors = ScanCursors::default();
        let walk = Walk {
            lane: 0,
            place: 1,
            position: None,
            started_s: 0,
        };
        let first = cursors.keep(3, walk.clone());
        assert_eq!(lane_of(first), 3);
        assert_eq!(cursors.find(first).map(|walk| walk.place), Some(1));
        for _ in 0..CURSORS_MAX {
            cursors.keep(3, walk.clone());
        }
        assert!(cursors.find(first).is_none());
    }
}
