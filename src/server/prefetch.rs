//! Fetching what several commands will look up before the first of them runs, so that they wait for memory together.

use crate::lane::{FETCHED_KEYS_MAX, KeyHash, Lane};

/// Keys whose entries are on their way into the cache, and the places of their partitions.
#[derive(Default)]
pub struct Sought {
    keys: [(u32, KeyHash); FETCHED_KEYS_MAX],
    len: usize,
}

impl Sought {
    /// Starts fetching the entry of `key`, which the partition at `place` owns. Keys beyond the room are left alone.
    #[inline]
    pub fn seek(&mut self, lane: &mut Lane, place: usize, key: &[u8]) {
        let Some(room) = self.keys.get_mut(self.len) else {
            return;
        };
        if let Ok(partition) = lane.partition(place)
            && let Some(hash) = partition.seek_key(key)
        {
            *room = (place as u32, hash);
            self.len += 1;
        }
    }

    /// Starts fetching what the entries point to, and what that points to.
    #[inline]
    pub fn fetch(&self, lane: &mut Lane) {
        let mut has_series = false;
        self.each(lane, |partition, hash| has_series |= partition.fetch_key(hash));
        if has_series {
            self.each(lane, |partition, hash| partition.fetch_heads(hash));
        }
    }

    #[inline]
    fn each(&self, lane: &mut Lane, mut go_on: impl FnMut(&crate::lane::Partition, KeyHash)) {
        for (place, hash) in self.keys.get(..self.len).unwrap_or(&[]) {
            if let Ok(partition) = lane.partition(*place as usize) {
                go_on(partition, *hash);
            }
        }
    }
}
