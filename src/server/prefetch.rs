//! Fetching what several commands will look up before the first of them runs, so that they wait for memory together.

use crate::lane::{FETCHED_KEYS_MAX, Lane, Partition, Purpose, SoughtKey};

/// Keys whose entries are on their way into the cache, the places of their partitions, and what is wanted of them.
#[derive(Default)]
pub struct Sought {
    keys: [(u32, SoughtKey, Purpose); FETCHED_KEYS_MAX],
    len: usize,
}

impl Sought {
    /// Starts fetching the entry of `key`, which the partition at `place` owns. Keys beyond the room are left alone.
    #[inline]
    pub fn seek(&mut self, lane: &mut Lane, place: usize, key: &[u8], purpose: Purpose) {
        let Ok(partition) = lane.partition(place) else {
            return;
        };
        let begun = self.keys.get(..self.len).unwrap_or(&[]);
        if !begun.iter().any(|(other, ..)| *other as usize == place) {
            partition.begin_seeking();
        }
        if let Some(room) = self.keys.get_mut(self.len)
            && let Some(sought) = partition.seek_key(key)
        {
            *room = (place as u32, sought, purpose);
            self.len += 1;
        }
    }

    /// Starts fetching what the entries point to, and what that points to.
    #[inline]
    pub fn fetch(&self, lane: &mut Lane) {
        let mut has_series = false;
        self.each(lane, |partition, key, purpose| {
            has_series |= partition.fetch_key(key, purpose)
        });
        if has_series {
            self.each(lane, |partition, key, purpose| {
                partition.fetch_series(key, purpose)
            });
        }
    }

    #[inline]
    fn each(&self, lane: &mut Lane, mut go_on: impl FnMut(&Partition, SoughtKey, Purpose)) {
        for (place, key, purpose) in self.keys.get(..self.len).unwrap_or(&[]) {
            if let Ok(partition) = lane.partition(*place as usize) {
                go_on(partition, *key, *purpose);
            }
        }
    }
}
