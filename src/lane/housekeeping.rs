//! Periodic work of a partition in bounded pieces: expiry, idle heads, memory.

use crate::store::{Reach, Read, layout};

use super::keys::Value;
use super::partition::Partition;
use super::stop::{Stop, Wait};

/// Keys deleted per call: the rest waits for the next call a few milliseconds later.
const EXPIRED_PER_CALL_MAX: usize = 256;
/// Deadline rows looked at per call.
const DEADLINE_ROWS_PER_CALL_MAX: usize = 1024;
/// Series visited per call.
const SERIES_PER_CALL: usize = 4096;
/// Entries that leave memory per call, and series, whose labels leave the index with them: half a millisecond.
const VICTIMS_MAX: usize = 2_048;
const SERIES_VICTIMS_MAX: usize = 512;

/// Memory that a lane gives to one of its partitions.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget {
    /// For clean entries of the key table.
    pub read_cache_bytes: usize,
    /// For series and their heads.
    pub series_bytes: usize,
}

/// A walk over the series slab, a slice per call.
#[derive(Default)]
pub struct SeriesSweep {
    next: usize,
    memory_bytes: usize,
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
        let end = self.series.len().min(sweep.next + SERIES_PER_CALL);
        let pressure_ms = if over_budget { 1_000 } else { i64::MAX };
        for member in sweep.next..end {
            let Some(Some(series)) = self.series.get(member) else {
                continue;
            };
            sweep.memory_bytes += series.memory_bytes();
            let idle_ms = now_ms - series.touched_ms;
            if !series.is_sealed() && (idle_ms >= self.settings.head_idle_ms || idle_ms >= pressure_ms) {
                self.request_seal(member as u32);
            }
            self.consider_rewrite(member, now_ms);
        }
        sweep.next = end;
        if end == self.series.len() {
            self.series_memory_bytes = sweep.memory_bytes;
            *sweep = SeriesSweep::default();
        }
    }

    /// Drops clean entries that were not used lately while memory is over budget, at most some thousands: called at
    /// every heartbeat, it keeps up with clients that write new keys all the time.
    pub fn evict(&mut self, budget: &MemoryBudget) {
        let cache_bytes = if self.cache_enabled {
            budget.read_cache_bytes
        } else {
            0
        };
        let keys_over = self.keys.memory_bytes() > cache_bytes;
        let series_over = self.series_memory_bytes > budget.series_bytes;
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
                if let Some(series) = self.remove_series(*member) {
                    self.series_memory_bytes = self.series_memory_bytes.saturating_sub(series.memory_bytes());
                }
            }
        }
        self.counters.evicted_entries += 1;
    }
}
