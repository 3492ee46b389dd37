//! Keeping memory within its budgets: dropping entries that are clean, and making clean those that are not.
//!
//! A series may go when its samples are sealed and its key is written back, which takes time: if that began when there
//! are too many series, there would be many more of them by then. So what comes within a second at the rate of the last
//! one counts as if it were there, up to an eighth of the budget. While series are over their budget in this sense, heads
//! are sealed sooner and checkpoints come sooner; every beat drops as many series as the excess asks for, and every
//! series that comes into memory is paid for by two that leave it, as far as there are any, when its turn ends.

use super::keys::Value;
use super::partition::Partition;

/// Entries that leave memory per call, and series, whose labels leave the index with them: at most a millisecond.
const VICTIMS_MAX: usize = 2_048;
const SERIES_VICTIMS_MAX: usize = 1_024;
/// Series that leave memory for one that comes while there are too many, and at most at the end of one turn.
const VICTIMS_PER_SERIES: usize = 2;
const VICTIMS_PER_TURN_MAX: usize = 512;
/// An excess of one in so many bytes of the budget is much, and no more growth is foreseen.
const MUCH_ONE_IN: usize = 8;
/// Looks at the budget in a second, one at each heartbeat.
const LOOKS_PER_SECOND: usize = 200;

/// Memory that a lane gives to one of its partitions.
#[derive(Clone, Copy, Debug)]
pub struct MemoryBudget {
    /// For clean entries of the key table.
    pub read_cache_bytes: usize,
    /// For series, their heads, keys and labels.
    pub series_bytes: usize,
}

/// How far series are over their budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressure {
    /// They are not.
    #[default]
    None,
    /// By less than an eighth.
    Some,
    /// By more.
    Much,
}

/// What the last look at the budget found, and what has come since.
#[derive(Debug)]
pub(super) struct Excess {
    pub(super) pressure: Pressure,
    series_budget_bytes: usize,
    /// What series had in memory about a second ago, once somebody has looked: each look takes it nearer to what they
    /// have now, so that it is behind a steady growth by that of a second.
    earlier_bytes: Option<usize>,
    /// Series that came into memory since the last payment.
    pub(super) newcomers: usize,
}

impl Default for Excess {
    fn default() -> Self {
        Excess {
            pressure: Pressure::None,
            series_budget_bytes: usize::MAX,
            earlier_bytes: None,
            newcomers: 0,
        }
    }
}

impl Excess {
    /// Notes what series have in memory at this heartbeat.
    fn look(&mut self, used_bytes: usize) {
        let earlier = self.earlier_bytes.unwrap_or(used_bytes);
        self.earlier_bytes = Some(if used_bytes >= earlier {
            earlier + (used_bytes - earlier).div_ceil(LOOKS_PER_SECOND)
        } else {
            used_bytes
        });
    }

    /// What series have in memory, and what they are about to have.
    fn foreseen_bytes(&self, used_bytes: usize) -> usize {
        let grown = used_bytes.saturating_sub(self.earlier_bytes.unwrap_or(used_bytes));
        used_bytes + grown.min(self.series_budget_bytes / MUCH_ONE_IN)
    }
}

impl Partition {
    /// True while series are over their budget: [`Partition::sweep_series`] should be called at every beat.
    pub fn is_short_of_memory(&self) -> bool {
        self.excess.pressure > Pressure::None
    }

    /// Drops clean entries that were not used lately while memory is over budget, at most some thousands: called at
    /// every heartbeat, it keeps up with clients that write new keys all the time. What is not clean
    /// yet becomes so with the next checkpoint, which comes sooner while series are over their budget.
    pub fn evict(&mut self, budget: &MemoryBudget) {
        self.excess.series_budget_bytes = budget.series_bytes;
        self.excess.look(self.series_memory_bytes());
        let series_bytes = self.note_pressure();
        let cache_bytes = if self.cache_enabled {
            budget.read_cache_bytes
        } else {
            0
        };
        let keys_over = self.plain_memory_bytes() > cache_bytes;
        if keys_over {
            self.evict_some(VICTIMS_MAX, true);
        } else if self.is_short_of_memory() {
            self.evict_some(self.series_too_many(series_bytes), false);
        }
    }

    /// Compares the memory of series, and what is foreseen, with their budget, and returns both.
    fn note_pressure(&mut self) -> usize {
        let (used, budget) = (self.series_memory_bytes(), self.excess.series_budget_bytes);
        let foreseen = self.excess.foreseen_bytes(used);
        self.excess.pressure = if foreseen <= budget {
            Pressure::None
        } else if used <= budget + budget / MUCH_ONE_IN {
            Pressure::Some
        } else {
            Pressure::Much
        };
        foreseen
    }

    /// So many series of the usual size should leave memory, as far as one call may.
    fn series_too_many(&self, foreseen_bytes: usize) -> usize {
        let excess_bytes = foreseen_bytes.saturating_sub(self.excess.series_budget_bytes);
        let usual_bytes = foreseen_bytes / self.series.len().max(1);
        (excess_bytes / usual_bytes.max(1) + 1).min(SERIES_VICTIMS_MAX)
    }

    /// Drops series for those that have come since the last call while there were too many.
    pub(super) fn pay_for_newcomers(&mut self) {
        let newcomers = std::mem::take(&mut self.excess.newcomers);
        if newcomers == 0 || self.excess.pressure == Pressure::None {
            return;
        }
        let series_bytes = self.note_pressure();
        if self.is_short_of_memory() {
            let price = (newcomers * VICTIMS_PER_SERIES).min(VICTIMS_PER_TURN_MAX);
            self.evict_some(price.min(self.series_too_many(series_bytes)), false);
        }
    }

    /// Drops at most `victims_max` clean entries that were not used lately: series while there are too many, and others
    /// if `keys_over`.
    fn evict_some(&mut self, victims_max: usize, keys_over: bool) {
        let series_over = self.is_short_of_memory();
        let completed = self.completed_epoch;
        let series = &self.series;
        let is_sealed = |member: &u32| series.get(*member).is_none_or(|series| series.is_sealed());
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

    /// Drops every clean entry, and all that is kept of chunks: CACHE CLEAR. Returns how many entries.
    pub fn clear_cache(&mut self) -> u64 {
        self.decoded.borrow_mut().clear();
        self.summaries.borrow_mut().clear();
        let before = self.keys.len();
        let completed = self.completed_epoch;
        let clean: Vec<usize> = (0..self.keys.places())
            .filter(|place| {
                self.keys.get(*place).is_some_and(|entry| {
                    entry.dirty_epoch <= completed && !matches!(entry.value, Value::Series(_))
                })
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
        self.unlisted_stored_keys += u64::from(entry.stored.exists);
        if let Some(listed) = entry.properties() {
            self.labels.remove(listed.id, &listed.properties.labels);
        }
        if entry.expire_at_ms != 0 {
            self.deadlines.remove(&(entry.expire_at_ms, entry.key().into()));
        }
        if let Value::Series(members) = &entry.value {
            for (_, member) in members.iter() {
                self.remove_series(*member);
            }
        }
        self.counters.evicted_entries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::{TestPartition, test_partition};
    use crate::lane::{CheckpointStep, Committed, RangeQuery, SeriesSweep, Stop, Wait};
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
        partition.evict(&BUDGET);
        let is_short = partition.is_short_of_memory();
        partition.sweep_series(sweep, now_ms, is_short);
        loop {
            match partition.commit(&mut scratch) {
                // The disk is behind: the commit task would try again, too.
                Committed::Stalled => continue,
                committed => assert!(matches!(committed, Committed::Written { .. })),
            }
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
            let series = partition.series.iter();
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

    /// Some series that are sealed and written back, and a budget for half of them, which nothing has asked for yet.
    fn half_too_many() -> (TestPartition, MemoryBudget) {
        let mut partition = test_partition();
        for number in 0..SERIES {
            add(&mut partition, format!("series{number}").as_bytes(), 1, 0);
        }
        let mut scratch = EncodeScratch::default();
        let mut forced = true;
        loop {
            assert!(matches!(
                partition.commit(&mut scratch),
                Committed::Written { .. }
            ));
            match partition.checkpoint_step(0, std::mem::take(&mut forced)) {
                CheckpointStep::Write(rows) => {
                    let stored = rows.write(partition.database()).unwrap();
                    partition.checkpoint_written(stored, 0);
                }
                CheckpointStep::Rest if !partition.checkpoint().is_running() => break,
                _ => {}
            }
        }
        let budget = MemoryBudget {
            read_cache_bytes: 1 << 20,
            series_bytes: partition.series_memory_bytes() / 2,
        };
        (partition, budget)
    }

    #[test]
    fn as_many_series_go_as_there_are_too_many() {
        let (mut partition, budget) = half_too_many();
        assert_eq!(partition.unlisted_stored_keys, 0);
        let mut calls = 0;
        while calls == 0 || partition.is_short_of_memory() {
            let before = partition.loaded_series();
            partition.evict(&budget);
            assert!(before - partition.loaded_series() <= SERIES_VICTIMS_MAX);
            calls += 1;
        }
        assert!((3..30).contains(&calls), "{calls} calls");
        let left = partition.loaded_series();
        assert!((SERIES * 4 / 10..=SERIES / 2).contains(&left), "{left} series");
        assert_eq!(partition.unlisted_stored_keys, (SERIES - left) as u64);
        assert_eq!(partition.excess.pressure, Pressure::None);
        for number in 0..SERIES {
            add(&mut partition, format!("series{number}").as_bytes(), 2, 0);
        }
        assert_eq!(partition.unlisted_stored_keys, 0, "all have come back");
        partition.apply_flush();
        assert_eq!(partition.unlisted_stored_keys, 0);
    }

    #[test]
    fn newcomers_are_paid_for_at_the_end_of_their_turn() {
        let (mut partition, budget) = half_too_many();
        // Every series has been used when it came: the clock has to pass them once.
        while partition.counters.evicted_entries == 0 {
            partition.evict(&budget);
        }
        assert_eq!(partition.excess.pressure, Pressure::Much);
        let first = partition.counters.evicted_entries;
        let mut evicted = first;
        for turn in 0..20 {
            for number in 0..5 {
                add(&mut partition, format!("new{turn}-{number}").as_bytes(), 1, 0);
            }
            let committed = partition.commit(&mut EncodeScratch::default());
            assert!(matches!(committed, Committed::Written { .. }));
            let now_evicted = partition.counters.evicted_entries;
            assert!(now_evicted - evicted <= 5 * VICTIMS_PER_SERIES as u64);
            evicted = now_evicted;
        }
        assert!(evicted - first >= 100, "{} went, 100 came", evicted - first);
    }

    #[test]
    fn series_go_before_there_are_too_many_if_there_soon_will_be() {
        let (mut partition, mut budget) = half_too_many();
        budget.series_bytes = partition.series_memory_bytes() * 12 / 10;
        for _ in 0..2 * LOOKS_PER_SECOND {
            partition.evict(&budget);
        }
        assert!(!partition.is_short_of_memory(), "nothing grows");
        let mut came = 0;
        while partition.counters.evicted_entries == 0 {
            for _ in 0..SERIES / LOOKS_PER_SECOND {
                add(&mut partition, format!("new{came}").as_bytes(), 1, 0);
                came += 1;
            }
            let committed = partition.commit(&mut EncodeScratch::default());
            assert!(matches!(committed, Committed::Written { .. }));
            partition.evict(&budget);
            let used = partition.series_memory_bytes();
            assert!(
                used <= budget.series_bytes,
                "{used} bytes, {came} series have come"
            );
        }
        // As soon as nothing comes any more, nothing has to go.
        for _ in 0..10 * LOOKS_PER_SECOND {
            partition.evict(&budget);
        }
        assert!(!partition.is_short_of_memory());
        assert!(partition.loaded_series() >= SERIES * 9 / 10);
    }

    #[test]
    fn checkpoints_come_the_sooner_the_more_memory_is_short() {
        let (mut partition, mut budget) = half_too_many();
        add(&mut partition, b"new", 1, 0);
        partition.commit(&mut EncodeScratch::default());
        let mut waits_ms = |partition: &mut Partition, series_bytes| {
            budget.series_bytes = series_bytes;
            partition.evict(&budget);
            (0..100_000)
                .step_by(500)
                .find(|now_ms| partition.wants_checkpoint(1 + now_ms))
        };
        let used = partition.series_memory_bytes();
        assert_eq!(waits_ms(&mut partition, used), Some(60_000));
        assert_eq!(waits_ms(&mut partition, used - 1_000), Some(5_000));
        assert_eq!(waits_ms(&mut partition, used / 2), Some(500));
    }
}
