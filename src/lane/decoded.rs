//! Decoded chunks, kept within a limit of bytes for reads that come again: such a read decodes nothing and asks the
//! database nothing.
//!
//! A chunk is kept together with the time before it that is known to be empty, so that a range over several kept
//! chunks, and over gaps between them, is known to be whole. Late samples and deleted ranges are not in here: series that
//! have some are read in full.

use std::cell::Cell;
use std::ops::Range;

use hashbrown::HashMap;

use crate::series::{Columns, Search};

use super::prefetch::{fetch_samples, prefetch};

/// Chunks that one read puts together at most: what is longer is not likely to come again soon.
pub(super) const PARTS_MAX: usize = 8;
/// A chunk that takes a larger share of the limit than one in so many is not kept.
const CHUNK_SHARE_MIN: usize = 4;

struct Kept {
    series_id: u64,
    /// No chunk of the series has a sample from here up to the first one of this.
    known_from: i64,
    first: i64,
    last: i64,
    /// Used since the eviction clock passed.
    touched: Cell<bool>,
    samples: Columns,
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Kept>() + size_of::<(i64, u32)>() + self.samples.memory_bytes()
    }

    fn search(&self) -> Search<'_> {
        Search::between(&self.samples.timestamps, self.first, self.last)
    }
}

/// Which sealed samples a read wants.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) series_id: u64,
    /// Place of the series in its partition's slab.
    pub(super) member: u32,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) limit: usize,
    pub(super) reverse: bool,
    /// Oldest and newest sealed timestamp of the series.
    pub(super) oldest: i64,
    pub(super) newest: i64,
}

/// Where the samples of a read lie, in the order of the read.
#[derive(Clone, Default)]
pub(super) struct Parts {
    places: [(u32, u32, u32); PARTS_MAX],
    count: usize,
    /// Samples in all.
    pub(super) samples: usize,
}

impl Parts {
    fn clear(&mut self) {
        (self.count, self.samples) = (0, 0);
    }

    fn push(&mut self, slot: u32, within: Range<usize>) -> Result<(), Missing> {
        if within.is_empty() {
            return Ok(());
        }
        let place = self.places.get_mut(self.count).ok_or(Missing::TooMuch)?;
        *place = (slot, within.start as u32, within.end as u32);
        self.count += 1;
        self.samples += within.len();
        Ok(())
    }
}

/// Why a read cannot be answered from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The chunk at, or next to, this time.
    At(i64),
    /// It goes over more than [`PARTS_MAX`] chunks.
    TooMuch,
}

/// See the head of the file.
#[derive(Default)]
pub(super) struct DecodedChunks {
    limit_bytes: usize,
    used_bytes: usize,
    /// First timestamp and slot of each kept chunk of a series, ascending.
    by_series: HashMap<u64, Vec<(i64, u32)>>,
    slots: Vec<Option<Kept>>,
    free: Vec<u32>,
    /// By the place of a series in the slab, one more than the slot that answered its last read alone; 0 = none. Where
    /// that is out of date the slot holds another series, or nothing.
    recent: Vec<u32>,
    /// Next slot that the eviction clock looks at.
    hand: usize,
}

impl DecodedChunks {
    /// Memory held.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes + self.recent.capacity() * size_of::<u32>()
    }

    /// May anything be kept?
    pub(super) fn is_on(&self) -> bool {
        self.limit_bytes > 0
    }

    /// Keeps no more than this from now on; 0 = nothing.
    pub(super) fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
        self.make_room(0);
        if self.by_series.is_empty() {
            self.recent = Vec::new();
        }
    }

    /// Lets everything go.
    pub(super) fn clear(&mut self) {
        let series: Vec<u64> = self.by_series.keys().copied().collect();
        series.into_iter().for_each(|series_id| self.forget(series_id));
    }

    fn kept(&self, slot: u32) -> Option<&Kept> {
        self.slots.get(slot as usize).and_then(Option::as_ref)
    }

    /// Keeps a chunk, given since when there is none before it; false if it is too large.
    pub(super) fn insert(&mut self, series_id: u64, known_from: i64, samples: Columns) -> bool {
        let kept = Kept {
            series_id,
            known_from,
            first: samples.timestamps.first().copied().unwrap_or(i64::MAX),
            last: samples.timestamps.last().copied().unwrap_or(i64::MIN),
            touched: Cell::new(true),
            samples,
        };
        let bytes = kept.bytes();
        if bytes > self.limit_bytes / CHUNK_SHARE_MIN || kept.samples.is_empty() {
            return false;
        }
        self.make_room(bytes);
        let first = kept.first;
        let chunks = self.by_series.entry(series_id).or_default();
        match chunks.binary_search_by_key(&first, |chunk| chunk.0) {
            Ok(place) => {
                let slot = chunks.get(place).map_or(0, |chunk| chunk.1);
                if let Some(Some(old)) = self.slots.get_mut(slot as usize) {
                    old.known_from = old.known_from.min(known_from);
                }
            }
            Err(place) => {
                let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
                chunks.insert(place, (first, slot));
                match self.slots.get_mut(slot as usize) {
                    Some(empty) => *empty = Some(kept),
                    None => self.slots.push(Some(kept)),
                }
                self.used_bytes += bytes;
            }
        }
        true
    }

    /// There is no chunk between `end` (not included) and the kept one that was known to have none from `before` on.
    pub(super) fn extend_back(&mut self, series_id: u64, before: i64, end: i64) {
        let slots = &mut self.slots;
        for (_, slot) in self.by_series.get(&series_id).into_iter().flatten() {
            if let Some(Some(kept)) = slots.get_mut(*slot as usize)
                && kept.known_from == before
            {
                kept.known_from = kept.known_from.min(end.saturating_add(1));
            }
        }
    }

    /// The chunks of the series have changed.
    pub(super) fn forget(&mut self, series_id: u64) {
        for (_, slot) in self.by_series.remove(&series_id).unwrap_or_default() {
            if let Some(kept) = self.slots.get_mut(slot as usize).and_then(Option::take) {
                self.used_bytes -= kept.bytes();
                self.free.push(slot);
            }
        }
    }

    /// Drops chunks that were not used lately until there is room for `bytes` more.
    fn make_room(&mut self, bytes: usize) {
        // Twice around at most: once to clear the marks, once to drop.
        let mut steps = 2 * self.slots.len();
        while self.used_bytes + bytes > self.limit_bytes && steps > 0 {
            steps -= 1;
            let slot = self.hand;
            self.hand = if slot + 1 < self.slots.len() { slot + 1 } else { 0 };
            let Some(place) = self.slots.get_mut(slot) else {
                continue;
            };
            if place.as_ref().is_some_and(|kept| kept.touched.replace(false)) {
                continue;
            }
            if let Some(kept) = place.take() {
                self.drop_entry(&kept, slot as u32);
            }
        }
    }

    fn drop_entry(&mut self, kept: &Kept, slot: u32) {
        self.used_bytes -= kept.bytes();
        self.free.push(slot);
        if let Some(chunks) = self.by_series.get_mut(&kept.series_id) {
            chunks.retain(|chunk| chunk.1 != slot);
            if chunks.is_empty() {
                self.by_series.remove(&kept.series_id);
            }
        }
    }

    /// Where everything lies that is wanted, if it is in the chunk that answered the last read of the series: that is
    /// found without the tables, each look at which may have to wait for memory.
    #[inline]
    pub(super) fn find_again(&self, wanted: &Wanted, parts: &mut Parts) -> Option<()> {
        let slot = self.recent.get(wanted.member as usize)?.checked_sub(1)?;
        let kept = self.kept(slot)?;
        let (from, to) = (wanted.from.max(wanted.oldest), wanted.to.min(wanted.newest));
        if kept.series_id != wanted.series_id || from > to || from > kept.last || to < kept.first {
            return None;
        }
        let mut within = kept.search().range(from, to);
        let is_cut = within.len() >= wanted.limit;
        let starts_here = from >= kept.known_from || (is_cut && wanted.reverse);
        let ends_here = to <= kept.last || (is_cut && !wanted.reverse);
        if !starts_here || !ends_here {
            return None;
        }
        if is_cut && wanted.reverse {
            within.start = within.end - wanted.limit;
        } else if is_cut {
            within.end = within.start + wanted.limit;
        }
        kept.touched.set(true);
        parts.clear();
        parts.push(slot, within).ok()
    }

    /// Starts fetching what is known of the chunk that answered the last read of the series at `member`.
    #[inline]
    pub(super) fn fetch(&self, member: u32) {
        let slot = self
            .recent
            .get(member as usize)
            .and_then(|recent| recent.checked_sub(1));
        if let Some(place) = slot.and_then(|slot| self.slots.get(slot as usize)) {
            prefetch(place);
        }
    }

    /// Starts fetching the samples from `at` on, if they should be in that chunk.
    #[inline]
    pub(super) fn fetch_samples(&self, member: u32, at: i64) {
        let recent = self.recent.get(member as usize);
        let slot = recent.and_then(|recent| recent.checked_sub(1));
        if let Some(kept) = slot.and_then(|slot| self.kept(slot))
            && (kept.first..=kept.last).contains(&at)
        {
            fetch_samples(&kept.samples, kept.search().guess(at));
        }
    }

    /// Notes where a read was answered.
    pub(super) fn note_found(&mut self, wanted: &Wanted, parts: &Parts) {
        let [(slot, _, _), ..] = parts.places;
        let member = wanted.member as usize;
        if parts.count == 1 {
            if self.recent.len() <= member {
                self.recent.resize(member + 1, 0);
            }
            if let Some(recent) = self.recent.get_mut(member) {
                *recent = slot + 1;
            }
        }
    }

    /// Where everything lies that is wanted.
    pub(super) fn find(&self, wanted: &Wanted, parts: &mut Parts) -> Result<(), Missing> {
        parts.clear();
        let chunks = self.by_series.get(&wanted.series_id);
        let chunks = chunks.map_or(&[][..], Vec::as_slice);
        if wanted.reverse {
            self.find_backwards(chunks, wanted, parts)
        } else {
            self.find_forwards(chunks, wanted, parts)
        }
    }

    fn find_forwards(
        &self,
        chunks: &[(i64, u32)],
        wanted: &Wanted,
        parts: &mut Parts,
    ) -> Result<(), Missing> {
        let mut at = wanted.from.max(wanted.oldest);
        let to = wanted.to.min(wanted.newest);
        // The last chunk that begins at or before the time may reach beyond it; else the one behind it is next.
        let mut place = chunks.partition_point(|chunk| chunk.0 <= at).saturating_sub(1);
        while parts.samples < wanted.limit && at <= to {
            let slot = chunks.get(place).ok_or(Missing::At(at))?.1;
            let kept = self.kept(slot).ok_or(Missing::At(at))?;
            place += 1;
            let last = kept.last;
            if last < at {
                continue;
            }
            if kept.known_from > at {
                return Err(Missing::At(at));
            }
            kept.touched.set(true);
            let start = kept.search().lower_bound(at);
            let end = kept
                .search()
                .upper_bound(to)
                .min(start.saturating_add(wanted.limit - parts.samples));
            parts.push(slot, start..end.max(start))?;
            at = last.saturating_add(1);
        }
        Ok(())
    }

    fn find_backwards(
        &self,
        chunks: &[(i64, u32)],
        wanted: &Wanted,
        parts: &mut Parts,
    ) -> Result<(), Missing> {
        let from = wanted.from.max(wanted.oldest);
        let mut at = wanted.to.min(wanted.newest);
        let mut place = chunks.partition_point(|chunk| chunk.0 <= at);
        // From here up to the chunk before in the walk there is none.
        let mut known_from = chunks
            .get(place)
            .and_then(|chunk| self.kept(chunk.1))
            .map_or(wanted.newest.saturating_add(1), |kept| kept.known_from);
        while parts.samples < wanted.limit && at >= from {
            if known_from <= from {
                break;
            }
            let slot = place.checked_sub(1).and_then(|place| chunks.get(place));
            let slot = slot.ok_or(Missing::At(at))?.1;
            place -= 1;
            let kept = self.kept(slot).ok_or(Missing::At(at))?;
            if kept.last < at && kept.last.saturating_add(1) < known_from {
                return Err(Missing::At(at));
            }
            kept.touched.set(true);
            let mut within = kept.search().range(from, at);
            within.start = within
                .start
                .max(within.end.saturating_sub(wanted.limit - parts.samples));
            parts.push(slot, within)?;
            known_from = kept.known_from;
            at = known_from.saturating_sub(1);
        }
        Ok(())
    }

    /// The samples found, in the order of the read; those of each run ascend.
    pub(super) fn runs<'a>(&'a self, parts: &'a Parts) -> impl Iterator<Item = (&'a Columns, Range<usize>)> {
        let places = parts.places.iter().take(parts.count);
        places.filter_map(|(slot, start, end)| {
            let kept = self.kept(*slot)?;
            Some((&kept.samples, *start as usize..*end as usize))
        })
    }
}

#[cfg(test)]
#[path = "decoded_tests.rs"]
mod tests;
