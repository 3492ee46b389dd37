//! Periodic work of a partition in bounded pieces: expiry, idle heads, memory.

use crate::series::Label;
use crate::store::{Reach, Read, layout};

use super::keys::Value;
use super::memory::{allocated, hashed};
use super::partition::Partition;
use super::stop::{Stop, Wait};

/// Keys deleted per call: the rest waits for the next call a few milliseconds later.
const EXPIRED_PER_CALL_MAX: usize = 256;
/// Deadline rows looked at per call.
const DEADLINE_ROWS_PER_CALL_MAX: usize = 1024;
/// Series visited per call, and while memory is over budget.
const SERIES_PER_CALL: usize = 4096;
/// Entries that leave memory per call, and series, whose labels leave the index with them: half a millisecond.
const VICTIMS_MAX: usize = 2_048;
const SERIES_VICTIMS_MAX: usize = 512;
const SERIES_PER_CALL_PRESSED: usize = 4 * SERIES_PER_CALL;
/// A series without writes for this long is sealed while memory is over budget.
const PRESSED_IDLE_MS: i64 = 1_000;

/// Of a deadline in the ordered set, beside its key: its share of a node, of which two thirds are filled.
const DEADLINE_BYTES: usize = size_of::<(i64, Box<[u8]>)>() * 3 / 2;

/// Memory that a lane gives to one of its partitions.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget {
    /// For clean entries of the key table.
    pub read_cache_bytes: usize,
    /// For series, their heads, keys and labels.
    pub series_bytes: usize,
}

/// A walk over the series slab, a slice per call.
#[derive(Default)]
pub struct SeriesSweep {
    next: usize,
}

impl Partition {
    /// Deletes keys whose time has come. Returns keys that must be read from the disk first.
    pub fn expire_keys(&mut self, now_ms: i64) -> Vec<Box<[u8]>> {
        for _ in 0..EXPIRED_PER_CALL_MAX {
            let due = self.deadlines.first().filter(|(deadline, _)| *deadline <= now_ms);
            let Some((deadline, key)) = due.cloned() else {
                break;
            };
            if self.batches.is_held(&key, None) {
                break;
            }
            // Looking the key up deletes it; a deadline that no longer is the key's own just goes away.
            if self
                .keys
                .find(&key)
                .is_none_or(|place| self.keys.at(place).expire_at_ms != deadline)
                || self.find(&key, now_ms).is_err()
            {
                self.deadlines.remove(&(deadline, key));
            }
        }
        self.expire_stored_keys(now_ms)
    }

    fn expire_stored_keys(&mut self, now_ms: i64) -> Vec<Box<[u8]>> {
        if self.next_stored_deadline_ms > now_ms || self.checkpoint.is_running() {
            return Vec::new();
        }
        let due = match self.due_rows(now_ms) {
            Some(due) => due,
            // The rows themselves are on the disk: reading any key next to them warms the cache.
            None => return Vec::new(),
        };
        let mut to_load = Vec::new();
        let mut next_ms = i64::MAX;
        for (deadline, key) in due {
            if to_load.len() >= EXPIRED_PER_CALL_MAX || deadline > now_ms {
                next_ms = next_ms.min(deadline);
                break;
            }
            // Otherwise it is deleted now, or it has another deadline since: its row goes with the next checkpoint.
            if let Err(Stop::Wait(Wait::Load(key))) = self.find(&key, now_ms) {
                to_load.push(key);
                next_ms = next_ms.min(deadline);
            }
        }
        self.next_stored_deadline_ms = next_ms;
        to_load
    }

    /// Stored deadlines up to one row beyond now; `None` if the disk would have to be read.
    fn due_rows(&self, now_ms: i64) -> Option<Vec<(i64, Box<[u8]>)>> {
        let mut rows = self.store.expired_rows(i64::MAX - 1, Reach::Memory);
        let mut due = Vec::new();
        while due.len() < DEADLINE_ROWS_PER_CALL_MAX {
            match rows.current() {
                Ok(Read::Known(Some((row, _)))) => {
                    let Some((deadline, key)) = layout::decode_deadline_key(row) else {
                        break;
                    };
                    due.push((deadline, key.into()));
                    if deadline > now_ms {
                        break;
                    }
                }
                Ok(Read::Known(None)) => break,
                Ok(Read::Cold) => return None,
                Err(error) => {
                    log::error!("{error}");
                    return None;
                }
            }
            rows.advance();
        }
        Some(due)
    }

    /// Visits a slice of the series: seals idle heads, and heads not touched since the last walk when memory is over
    /// budget.
    pub fn sweep_series(&mut self, sweep: &mut SeriesSweep, now_ms: i64, over_budget: bool) {
        self.warmed.expire(now_ms);
        // Full heads have waited for others long enough.
        self.seals_are_urgent |= !self.seal_due.is_empty();
        let head_idle_ms = self.settings.head_idle_ms;
        let (slice, idle_max_ms) = if over_budget {
            (SERIES_PER_CALL_PRESSED, head_idle_ms.min(PRESSED_IDLE_MS))
        } else {
            (SERIES_PER_CALL, head_idle_ms)
        };
        let end = self.series.len().min(sweep.next + slice);
        for member in sweep.next..end {
            let Some(Some(series)) = self.series.get_mut(member) else {
                continue;
            };
            if now_ms - series.touched_ms >= idle_max_ms {
                if series.is_sealed() {
                    series.release_buffers();
                } else {
                    self.request_seal(member as u32);
                }
            }
            self.recount(member as u32);
            self.consider_rewrite(member, now_ms);
        }
        sweep.next = if end == self.series.len() { 0 } else { end };
    }

    /// Memory of series, of the keys that have them and of their labels. Of labels that `kv` still lists, those of one
    /// key stand for all: they are few, or all alike.
    pub fn series_memory_bytes(&self) -> usize {
        let stale = |key: &[u8], labels: &Vec<Label>| {
            let texts = labels
                .iter()
                .map(|(name, value)| allocated(name.len()) + allocated(value.len()));
            hashed(size_of::<(Box<[u8]>, Vec<Label>)>())
                + allocated(key.len())
                + allocated(labels.capacity() * size_of::<Label>())
                + texts.sum::<usize>()
        };
        self.series_memory_bytes
            + self.keys.series_memory_bytes()
            + self.labels.memory_bytes()
            + self
                .stale_labels
                .iter()
                .next()
                .map_or(0, |(key, labels)| self.stale_labels.len() * stale(key, labels))
    }

    /// Memory of keys that hold no series, and of deadlines, of which the first stands for all.
    pub fn plain_memory_bytes(&self) -> usize {
        let deadline = |(_, key): &(i64, Box<[u8]>)| DEADLINE_BYTES + allocated(key.len());
        self.keys.memory_bytes() - self.keys.series_memory_bytes()
            + self
                .deadlines
                .first()
                .map_or(0, |first| self.deadlines.len() * deadline(first))
    }

    /// Drops clean entries that were not used lately while memory is over budget, at most some thousands: called at
    /// every heartbeat, it keeps up with clients that write new keys all the time. What is not clean
    /// yet becomes so with the next checkpoint, which comes sooner while series are over their budget.
    pub fn evict(&mut self, budget: &MemoryBudget) {
        let cache_bytes = if self.cache_enabled {
            budget.read_cache_bytes
        } else {
            0
        };
        let keys_over = self.plain_memory_bytes() > cache_bytes;
        let series_over = self.series_memory_bytes() > budget.series_bytes;
        self.memory_is_short = series_over;
        if !keys_over && !series_over {
            return;
        }
        let completed = self.completed_epoch;
        let series = &self.series;
        let is_sealed = |member: &u32| {
            series
                .get(*member as usize)
                .and_then(Option::as_ref)
                .is_none_or(|series| series.is_sealed())
        };
        let victims_max = if keys_over {
            VICTIMS_MAX
        } else {
            SERIES_VICTIMS_MAX
        };
        let victims = self.keys.clock(victims_max, |entry| {
            entry.dirty_epoch <= completed
                && match &entry.value {
                    Value::Series(members) => {
                        series_over && members.iter().all(|(_, member)| is_sealed(member))
                    }
                    _ => keys_over,
                }
        });
        for place in victims {
            self.forget(place);
        }
    }

    /// Drops every clean entry and every chunk that is kept decoded: CACHE CLEAR. Returns how many entries.
    pub fn clear_cache(&mut self) -> u64 {
        self.decoded.borrow_mut().clear();
        let before = self.keys.len();
        let completed = self.completed_epoch;
        let clean: Vec<usize> = (0..self.keys.places())
            .filter(|place| {
                self.keys
                    .get(*place)
                    .is_some_and(|e| e.dirty_epoch <= completed && !matches!(e.value, Value::Series(_)))
            })
            .collect();
        for place in clean {
            self.forget(place);
        }
        (before - self.keys.len()) as u64
    }

    fn forget(&mut self, place: usize) {
        let Some(entry) = self.keys.remove(place) else {
            return;
        };
        if let Some(listed) = entry.properties() {
            self.labels.remove(listed.id, &listed.properties.labels);
        }
        if entry.expire_at_ms != 0 {
            self.deadlines.remove(&(entry.expire_at_ms, entry.key().into()));
        }
        if let Value::Series(members) = &entry.value {
            for (_, member) in members {
                self.remove_series(*member);
            }
        }
        self.counters.evicted_entries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::test_partition;
    use crate::lane::{CheckpointStep, Committed, RangeQuery};
    use crate::series::{EncodeScratch, Sample};

    const SERIES: usize = 3_000;
    const BUDGET: MemoryBudget = MemoryBudget {
        read_cache_bytes: 0,
        series_bytes: 128 << 10,
    };

    /// Loads what has to be read first, on the spot.
    fn add(partition: &mut Partition, key: &[u8], timestamp: i64, now_ms: i64) {
        let sample = Sample::new(timestamp, timestamp as f64);
        while let Err(stop) = partition.add_sample(key, 0, sample, now_ms) {
            let Stop::Wait(Wait::Load(wanted)) = stop else {
                panic!("a sample was refused");
            };
            let epoch = partition.completed_epoch();
            let loaded = Partition::load_from_disk(partition.database(), &wanted).unwrap();
            partition.finish_load(&wanted, loaded, epoch);
        }
    }

    /// What a lane does in one beat.
    fn beat(partition: &mut Partition, sweep: &mut SeriesSweep, now_ms: i64) {
        let mut scratch = EncodeScratch::default();
        let over_budget = partition.series_memory_bytes() > BUDGET.series_bytes;
        partition.sweep_series(sweep, now_ms, over_budget);
        partition.evict(&BUDGET);
        loop {
            assert!(matches!(
                partition.commit(&mut scratch),
                Committed::Written { .. }
            ));
            match partition.checkpoint_step(now_ms, false) {
                CheckpointStep::Write(rows) => {
                    let stored = rows.write(partition.database()).unwrap();
                    partition.checkpoint_written(stored, now_ms);
                }
                CheckpointStep::Rest if !partition.checkpoint().is_running() => return,
                _ => {}
            }
        }
    }

    #[test]
    fn series_are_evicted_when_memory_is_short_and_come_back_whole() {
        let mut partition = test_partition();
        let mut sweep = SeriesSweep::default();
        let keys: Vec<Vec<u8>> = (0..SERIES)
            .map(|number| format!("series{number}").into_bytes())
            .collect();
        let mut now_ms = 1_000_000;
        let mut largest = 0;
        for timestamp in 0..4 {
            for group in keys.chunks(100) {
                group
                    .iter()
                    .for_each(|key| add(&mut partition, key, timestamp, now_ms));
                now_ms += 2_000;
                beat(&mut partition, &mut sweep, now_ms);
                largest = largest.max(partition.series_memory_bytes());
            }
        }
        assert!(
            partition.counters.evicted_entries as usize > SERIES,
            "nothing was evicted"
        );
        assert!(largest < 3 * BUDGET.series_bytes, "{largest} bytes");
        for _ in 0..20 {
            now_ms += 6_000;
            beat(&mut partition, &mut sweep, now_ms);
        }
        assert!(partition.series_memory_bytes() <= BUDGET.series_bytes);
        assert!(partition.loaded_series() < SERIES / 4);
        let all = RangeQuery {
            from: i64::MIN,
            to: i64::MAX,
            limit: usize::MAX,
            reverse: false,
        };
        for key in &keys {
            add(&mut partition, key, 4, now_ms);
            let member = partition.find_series(key, 0, now_ms).ok().flatten().unwrap();
            let read = partition.read_range(member, all).unwrap();
            assert_eq!(read.into_columns().unwrap().timestamps, [0, 1, 2, 3, 4]);
        }
        assert_eq!(partition.key_count(), SERIES as u64);
    }

    #[test]
    fn the_count_of_memory_follows_series() {
        let mut partition = test_partition();
        let counted = |partition: &Partition| {
            let series = partition.series.iter().flatten();
            series.map(|series| series.memory_bytes()).sum::<usize>()
        };
        for timestamp in 0..300 {
            add(&mut partition, b"one", timestamp, 0);
        }
        add(&mut partition, b"two", 0, 0);
        assert!(partition.series_memory_bytes >= counted(&partition) * 9 / 10);
        partition.sweep_series(&mut SeriesSweep::default(), 0, false);
        assert_eq!(partition.series_memory_bytes, counted(&partition));
        let place = partition.find(b"one", 0).ok().flatten().unwrap();
        partition.delete(place);
        assert_eq!(partition.series_memory_bytes, counted(&partition));
    }
}
