//! The series of a partition that are in memory, by place and by id.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::series_state::Series;
use super::slab::Slab;

/// See the head of the file. Places are what entries of the key table name series by.
#[derive(Default)]
pub struct SeriesTable {
    slab: Slab<Series>,
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl SeriesTable {
    /// Adds a series whose id is not in the table, and returns its place.
    pub fn insert(&mut self, series: Series) -> u32 {
        let hash = self.hasher.hash_one(series.id);
        let place = u32::try_from(self.slab.insert(series));
        let place = place.expect("invariant: memory holds fewer than 2^32 series");
        let (slab, hasher) = (&self.slab, &self.hasher);
        self.by_id.insert_unique(hash, place, |place| {
            slab.get(*place as usize)
                .map_or(0, |series| hasher.hash_one(series.id))
        });
        place
    }

    /// Takes the series at `place` out.
    pub fn remove(&mut self, place: u32) -> Option<Series> {
        let series = self.slab.remove(place as usize)?;
        let hash = self.hasher.hash_one(series.id);
        if let Ok(listed) = self.by_id.find_entry(hash, |listed| *listed == place) {
            listed.remove();
        }
        Some(series)
    }

    /// The series at `place`.
    #[inline]
    pub fn get(&self, place: u32) -> Option<&Series> {
        self.slab.get(place as usize)
    }

    /// The memory of the series at `place`, without a look at it.
    #[inline]
    pub fn place(&self, place: u32) -> Option<&Option<Series>> {
        self.slab.place(place as usize)
    }

    /// The series at `place`.
    #[inline]
    pub fn get_mut(&mut self, place: u32) -> Option<&mut Series> {
        self.slab.get_mut(place as usize)
    }

    /// Place of the series with this id.
    pub fn place_of(&self, id: u64) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        let is_it = |place: &u32| self.get(*place).is_some_and(|series| series.id == id);
        self.by_id.find(hash, is_it).copied()
    }

    /// All series in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.slab.iter()
    }

    /// Place and series, in the order of places.
    pub fn places_taken(&self) -> impl Iterator<Item = u32> {
        (0..self.places()).filter(|place| self.get(*place).is_some())
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// All places are below this.
    pub fn places(&self) -> u32 {
        self.slab.places() as u32
    }

    /// Forgets all series.
    pub fn clear(&mut self) {
        self.slab.clear();
        self.by_id = HashTable::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::SealedState;

    #[test]
    fn series_are_found_by_place_and_by_id() {
        let mut table = SeriesTable::default();
        let places: Vec<u32> = (100..1_100)
            .map(|id| table.insert(Series::new(id, 0, SealedState::default())))
            .collect();
        for (id, place) in (100..).zip(&places) {
            assert_eq!(
                (table.place_of(id), table.get(*place).unwrap().id),
                (Some(*place), id)
            );
        }
        assert_eq!(table.remove(places[7]).map(|series| series.id), Some(107));
        assert_eq!((table.place_of(107), table.len()), (None, 999));
        assert_eq!(table.places_taken().count(), 999);
        let place = table.insert(Series::new(5_000, 0, SealedState::default()));
        assert_eq!((place, table.place_of(5_000)), (places[7], Some(place)));
        table.clear();
        assert_eq!((table.place_of(100), table.len(), table.places()), (None, 0, 0));
    }
}
