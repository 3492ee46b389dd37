//! Fetching what several commands will look up before the first of them runs, so that they wait for memory together.

use crate::lane::{KeyHash, Lane};

use super::input::AHEAD_REQUESTS_MAX;

/// Keys whose entries are on their way into the cache.
#[derive(Default)]
pub struct Sought {
    keys: [(u32, KeyHash); AHEAD_REQUESTS_MAX],
    len: usize,
}

impl Sought {
    /// Starts fetching the entry of `key`, which the partition at `place` owns.
    #[inline]
    pub fn seek(&mut self, lane: &mut Lane, place: usize, key: &[u8]) {
        let Some(slot) = self.keys.get_mut(self.len) else {
            return;
        };
        if let Some(hash) = lane
            .partition(place)
            .ok()
            .and_then(|partition| partition.seek_key(key))
        {
            *slot = (place as u32, hash);
            self.len += 1;
        }
    }

    /// Starts fetching what the entries point to.
    #[inline]
    pub fn fetch(&self, lane: &mut Lane) {
        for (place, hash) in self.keys.get(..self.len).unwrap_or(&[]) {
            if let Ok(partition) = lane.partition(*place as usize) {
                partition.fetch_key(*hash);
            }
        }
    }
}
