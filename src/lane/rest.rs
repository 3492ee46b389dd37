//! What most series have nothing of: they are a line of the processor's cache shorter without it.

use std::cell::{Cell, OnceCell};

use super::deletions::{self, TimeRange};
use super::series_state::{SealedState, Series};

/// See [`SealedState::rest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedRest {
    /// Samples in cold chunks.
    pub cold_samples: u64,
    /// Bytes of cold chunks.
    pub cold_bytes: u64,
    /// Retention of this series and one more; 0 = that of the business.
    pub(super) retention_and_one: u64,
    /// Ranges of time, both ends included, ascending and apart, whose samples in chunks are deleted. Late samples are
    /// newer than these.
    pub deleted: Vec<TimeRange>,
}

/// Of a series that has nothing of it.
pub(super) static NO_REST: SealedRest = SealedRest {
    cold_samples: 0,
    cold_bytes: 0,
    retention_and_one: 0,
    deleted: Vec::new(),
};

impl SealedState {
    /// What most series have nothing of.
    #[inline]
    pub fn rest(&self) -> &SealedRest {
        self.rest.as_deref().unwrap_or(&NO_REST)
    }

    /// The same, to be changed.
    pub fn rest_mut(&mut self) -> &mut SealedRest {
        self.rest.get_or_insert_default()
    }

    /// Sets the ranges of time whose samples in chunks are deleted.
    pub(super) fn set_deleted(&mut self, deleted: Vec<TimeRange>) {
        if *deleted != *self.rest().deleted {
            self.rest_mut().deleted = deleted;
            self.drop_empty_rest();
        }
    }

    /// Memory of what it has beside itself: of the rest, and of the deleted ranges.
    pub(super) fn own_bytes(&self) -> (usize, usize) {
        self.rest.as_ref().map_or((0, 0), |rest| {
            (
                size_of::<SealedRest>(),
                rest.deleted.capacity() * size_of::<TimeRange>(),
            )
        })
    }

    /// A state that has nothing of the rest has no memory for it, so that two that are alike are equal.
    pub(super) fn drop_empty_rest(&mut self) {
        if *self.rest() == NO_REST {
            self.rest = None;
        }
    }
}

/// See [`Series::rest`].
#[derive(Debug, Default)]
pub struct SeriesRest {
    /// What a look at the disk has found, see [`Series::known_newest`].
    found_newest: Cell<Option<i64>>,
    /// Ranges whose sealed samples are deleted, late samples included, which the next seal puts on disk. What is in memory
    /// is newer than these.
    unsealed_deletions: Vec<TimeRange>,
    /// Unix milliseconds before which no background work is looked for.
    rewrite_after_ms: i64,
}

impl Series {
    /// Ranges whose sealed samples are deleted, late samples included, which the next seal puts on disk. What is in memory
    /// is newer than these.
    pub fn unsealed_deletions(&self) -> &[TimeRange] {
        self.rest.get().map_or(&[], |rest| &rest.unsealed_deletions)
    }

    /// Adds to [`Series::unsealed_deletions`].
    pub(super) fn add_unsealed_deletion(&mut self, from: i64, to: i64) {
        deletions::insert(&mut self.rest_mut().unsealed_deletions, from, to);
    }

    /// Takes [`Series::unsealed_deletions`] out.
    pub(super) fn take_unsealed_deletions(&mut self) -> Vec<TimeRange> {
        let rest = self.rest.get_mut();
        rest.map_or_else(Vec::new, |rest| std::mem::take(&mut rest.unsealed_deletions))
    }

    /// Unix milliseconds before which no background work is looked for.
    pub(super) fn rewrite_after_ms(&self) -> i64 {
        self.rest.get().map_or(0, |rest| rest.rewrite_after_ms)
    }

    /// Changes [`Series::rewrite_after_ms`].
    pub(super) fn set_rewrite_after_ms(&mut self, rewrite_after_ms: i64) {
        if rewrite_after_ms != self.rewrite_after_ms() {
            self.rest_mut().rewrite_after_ms = rewrite_after_ms;
        }
    }

    fn rest_mut(&mut self) -> &mut SeriesRest {
        self.rest.get_or_init(Box::default);
        self.rest.get_mut().expect("invariant: it was just made")
    }

    /// Memory of what most series have nothing of: the structure, and the deleted ranges.
    pub(super) fn rest_bytes(&self) -> (usize, usize) {
        self.rest.get().map_or((0, 0), |rest| {
            let ranges = rest.unsealed_deletions.capacity();
            (size_of::<SeriesRest>(), ranges * size_of::<TimeRange>())
        })
    }

    /// Gives the memory of the rest back if there is nothing in it.
    pub(super) fn release_rest(&mut self, now_ms: i64) {
        let is_needed = |rest: &mut Box<SeriesRest>| {
            !rest.unsealed_deletions.is_empty() || rest.rewrite_after_ms > now_ms
        };
        if !self.newest_is_found.get() && !self.rest.get_mut().is_some_and(is_needed) {
            self.rest = OnceCell::new();
        }
    }

    /// What a look at the disk has found: `Some(None)` if there is nothing, `None` if nobody has looked.
    #[inline]
    pub(super) fn found_newest(&self) -> Option<Option<i64>> {
        let found = || self.rest.get().and_then(|rest| rest.found_newest.get());
        self.newest_is_found.get().then(found)
    }

    /// Changes [`Series::found_newest`].
    pub(super) fn set_found_newest(&self, found: Option<Option<i64>>) {
        self.newest_is_found.set(found.is_some());
        if let Some(newest) = found {
            self.rest.get_or_init(Box::default).found_newest.set(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tier;

    #[test]
    fn a_state_without_a_rest_has_no_memory_for_it() {
        let plain = SealedState::default();
        let mut state = plain.clone();
        state.set_retention(Some(7));
        state.set_deleted(vec![(1, 2)]);
        state.change_tier(Tier::Cold, |samples, bytes| (*samples, *bytes) = (3, 4));
        assert_eq!((state.retention(), state.rest().cold_bytes), (Some(7), 4));
        assert!(state.has_chunk_samples() && state.own_bytes().0 > 0 && state != plain);
        state.set_deleted(Vec::new());
        state.set_retention(None);
        assert!(state.rest.is_some());
        state.change_tier(Tier::Cold, |samples, bytes| (*samples, *bytes) = (0, 0));
        assert!(state.rest.is_none());
        assert_eq!((state.own_bytes(), &state), ((0, 0), &plain));
    }

    #[test]
    fn a_series_gives_its_rest_back_once_nothing_needs_it() {
        let mut series = Series::new(1, 0, SealedState::default());
        series.set_rewrite_after_ms(0);
        series.set_found_newest(None);
        assert_eq!(series.rest_bytes(), (0, 0));
        series.set_rewrite_after_ms(100);
        series.release_rest(99);
        assert_eq!(series.rewrite_after_ms(), 100);
        series.add_unsealed_deletion(5, 6);
        series.release_rest(100);
        assert_eq!(series.take_unsealed_deletions(), [(5, 6)]);
        series.set_found_newest(Some(Some(4)));
        series.release_rest(100);
        assert_eq!(series.found_newest(), Some(Some(4)));
        series.set_found_newest(None);
        series.release_rest(100);
        assert_eq!((series.rest_bytes(), series.rewrite_after_ms()), ((0, 0), 0));
    }
}
