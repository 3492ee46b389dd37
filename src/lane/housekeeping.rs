//! Periodic work of a partition in bounded pieces: expiry, idle heads, memory.

use std::time::Duration;

use crate::series::Label;
use crate::store::{Reach, Read, layout};

use super::eviction::Pressure;
use super::memory::{allocated, hashed};
use super::partition::Partition;
use super::stop::{Stop, Wait};

/// Keys deleted per call: the rest waits for the next call a few milliseconds later.
const EXPIRED_PER_CALL_MAX: usize = 256;
/// Deadline rows looked at per call.
const DEADLINE_ROWS_PER_CALL_MAX: usize = 1024;
/// Series visited per call at most: with memory short, or where calls are rare. Each takes some 0.15 us, and clients wait
/// meanwhile.
const SERIES_PER_CALL_MAX: u32 = 4_096;
/// Series visited per second while there is memory enough.
const SERIES_PER_SECOND: u32 = 40_960;
/// Series that a call asks to be sealed while memory is over budget: half a millisecond of the commit.
const SEALS_PER_CALL_PRESSED: usize = 256;
/// A series without writes for this long is sealed while memory is over budget, and while it is much so.
const PRESSED_IDLE_MS: i64 = 1_000;
const HARD_PRESSED_IDLE_MS: i64 = 100;

/// Of a deadline in the ordered set, beside its key: its share of a node, of which two thirds are filled.
const DEADLINE_BYTES: usize = size_of::<(i64, Box<[u8]>)>() * 3 / 2;

/// A walk over the series slab, a slice per call.
pub struct SeriesSweep {
    next: u32,
    series_per_call: u32,
}

impl Default for SeriesSweep {
    fn default() -> Self {
        SeriesSweep::every(Duration::from_secs(1))
    }
}

impl SeriesSweep {
    /// A walk with a call each `interval`.
    pub fn every(interval: Duration) -> SeriesSweep {
        let calls_per_second = 1.0 / interval.as_secs_f64();
        let series_per_call = (f64::from(SERIES_PER_SECOND) / calls_per_second).ceil() as u32;
        SeriesSweep {
            next: 0,
            series_per_call: series_per_call.clamp(1, SERIES_PER_CALL_MAX),
        }
    }
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
        self.seal_queue.end_waiting(now_ms);
        let (seals_max, pressed_idle_ms) = match self.excess.pressure {
            Pressure::Much => (SEALS_PER_CALL_PRESSED, HARD_PRESSED_IDLE_MS),
            _ if over_budget => (SEALS_PER_CALL_PRESSED, PRESSED_IDLE_MS),
            _ => (usize::MAX, i64::MAX),
        };
        let idle_max_ms = self.settings.head_idle_ms.min(pressed_idle_ms);
        let per_call = if over_budget {
            SERIES_PER_CALL_MAX
        } else {
            sweep.series_per_call
        };
        let end = self.series.places().min(sweep.next.saturating_add(per_call));
        let mut seals = 0;
        while sweep.next < end && seals < seals_max {
            let member = sweep.next;
            sweep.next += 1;
            let Some(series) = self.series.get_mut(member) else {
                continue;
            };
            if now_ms - series.touched_ms >= idle_max_ms {
                if series.is_sealed() {
                    series.release_buffers();
                    series.release_rest(now_ms);
                } else {
                    self.request_seal(member);
                    seals += 1;
                }
            }
            self.recount(member);
            self.consider_rewrite(member, now_ms);
        }
        if sweep.next >= self.series.places() {
            sweep.next = 0;
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Committed;
    use crate::lane::test_support::test_partition;
    use crate::series::{EncodeScratch, Sample};

    #[test]
    fn a_walk_in_short_calls_visits_every_series_as_often() {
        const SERIES: usize = 500;
        const BEAT: Duration = Duration::from_millis(5);
        let mut partition = test_partition();
        let mut members = Vec::new();
        for number in 0..SERIES {
            let key = format!("series{number}");
            let added = partition.add_sample(key.as_bytes(), 0, Sample::new(1, 1.0), 0);
            assert!(added.is_ok());
            members.extend(partition.find_series(key.as_bytes(), 0, 0).ok().flatten());
        }
        let now_ms = partition.settings.head_idle_ms + 1;
        let per_call = (f64::from(SERIES_PER_SECOND) * BEAT.as_secs_f64()).ceil() as usize;
        let mut sweep = SeriesSweep::every(BEAT);
        let mut calls = 0;
        while members
            .iter()
            .any(|member| !partition.series_at(*member).seal_due)
        {
            partition.sweep_series(&mut sweep, now_ms, false);
            calls += 1;
            let due = members
                .iter()
                .filter(|member| partition.series_at(**member).seal_due);
            assert_eq!(due.count(), SERIES.min(calls * per_call));
        }
        assert_eq!(calls, SERIES.div_ceil(per_call));
        while partition.has_changes() {
            assert!(matches!(
                partition.commit(&mut EncodeScratch::default()),
                Committed::Written { .. }
            ));
        }
        assert!(
            members
                .iter()
                .all(|member| partition.series_at(*member).is_sealed())
        );
    }

    #[test]
    fn rare_calls_are_no_longer_than_one_with_memory_short() {
        let per_call = |interval| SeriesSweep::every(interval).series_per_call;
        assert_eq!(per_call(Duration::from_millis(1)), 41);
        assert_eq!(per_call(Duration::from_millis(100)), SERIES_PER_CALL_MAX);
        assert_eq!(per_call(Duration::from_secs(1)), SERIES_PER_CALL_MAX);
    }
}
