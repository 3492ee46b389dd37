//! What replay remembers of series by their ids, without a hash table: samples come by the million.

use std::collections::BTreeSet;

use super::series_table::SeriesTable;

/// Ids below this have a bit each, once one of them is met: 8 MiB at most. Others are rare.
const BIT_IDS: u64 = 1 << 26;
/// Places remembered, each by the low bits of its series' id.
const REMEMBERED_PLACES: usize = 1 << 17;

/// A set of series ids.
#[derive(Default)]
pub struct SeriesIds {
    bits: Vec<u64>,
    others: BTreeSet<u64>,
}

impl SeriesIds {
    /// Adds an id.
    #[inline]
    pub fn insert(&mut self, id: u64) {
        let word = (id / u64::from(u64::BITS)) as usize;
        match self.bits.get_mut(word) {
            Some(word) => *word |= 1 << (id % u64::from(u64::BITS)),
            None => self.insert_beyond(id),
        }
    }

    #[cold]
    fn insert_beyond(&mut self, id: u64) {
        if id >= BIT_IDS {
            self.others.insert(id);
            return;
        }
        let words = (id / u64::from(u64::BITS)) as usize + 1;
        self.bits.resize(words.next_power_of_two(), 0);
        self.insert(id);
    }

    /// All ids, ascending.
    pub fn ascending(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        for (number, word) in (0..).zip(&self.bits) {
            let mut rest = *word;
            while rest != 0 {
                ids.push(number * u64::from(u64::BITS) + u64::from(rest.trailing_zeros()));
                rest &= rest - 1;
            }
        }
        ids.extend(&self.others);
        ids
    }
}

/// Where series were found last; a place counts only if the series there has the id.
#[derive(Default)]
pub struct RememberedPlaces(Vec<u32>);

impl RememberedPlaces {
    /// Place of the series with this id.
    #[inline]
    pub fn place_of(&mut self, id: u64, series: &SeriesTable) -> Option<u32> {
        let slot = id as usize % REMEMBERED_PLACES;
        if let Some(place) = self.0.get(slot)
            && series.get(*place).is_some_and(|series| series.id == id)
        {
            return Some(*place);
        }
        let place = series.place_of(id)?;
        self.0.resize(REMEMBERED_PLACES, u32::MAX);
        if let Some(remembered) = self.0.get_mut(slot) {
            *remembered = place;
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::SealedState;
    use crate::lane::series_state::Series;

    #[test]
    fn ids_come_back_ascending() {
        let mut ids = SeriesIds::default();
        for id in [7, 1 << 30, 0, 64, 63, 1 << 20, 7, u64::MAX] {
            ids.insert(id);
        }
        assert_eq!(ids.ascending(), [0, 7, 63, 64, 1 << 20, 1 << 30, u64::MAX]);
        assert!(SeriesIds::default().ascending().is_empty());
    }

    #[test]
    fn a_remembered_place_counts_only_while_it_is_right() {
        let mut series = SeriesTable::default();
        let mut places = RememberedPlaces::default();
        let new = |id| Series::new(id, 0, SealedState::default());
        let other = 5 + REMEMBERED_PLACES as u64;
        let (first, second) = (series.insert(new(5)), series.insert(new(other)));
        for _ in 0..2 {
            assert_eq!(places.place_of(5, &series), Some(first));
            assert_eq!(places.place_of(other, &series), Some(second));
        }
        series.remove(second);
        assert_eq!(
            (places.place_of(other, &series), places.place_of(6, &series)),
            (None, None)
        );
        let again = series.insert(new(6));
        assert_eq!((again, places.place_of(other, &series)), (second, None));
    }
}
