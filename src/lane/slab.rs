//! A list of things that never move: in pieces, so that it grows without copying and with hardly any empty places.

/// Places of one piece: a bit each in [`Piece::taken`].
const PIECE_PLACES: usize = 256;
const WORD_PLACES: usize = u64::BITS as usize;

/// Things at places that stay theirs until they are removed; see the head of the file.
#[derive(Debug)]
pub struct Slab<T> {
    /// Piece by piece, what is at its places; `None` while no place is taken.
    pieces: Vec<Option<Places<T>>>,
    marks: Vec<Marks>,
    /// Pieces that have an empty place.
    open: Vec<usize>,
    len: usize,
}

type Places<T> = Box<[Option<T>; PIECE_PLACES]>;

/// Which places of a piece are taken, and whether it is on the list of those that have an empty one.
#[derive(Debug)]
struct Marks {
    taken: [u64; PIECE_PLACES / WORD_PLACES],
    is_open: bool,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            pieces: Vec::new(),
            marks: Vec::new(),
            open: Vec::new(),
            len: 0,
        }
    }
}

impl Marks {
    /// The first empty place.
    fn empty_place(&self) -> Option<usize> {
        let word = self.taken.iter().position(|word| *word != u64::MAX)?;
        let bit = self.taken.get(word)?.trailing_ones() as usize;
        Some(word * WORD_PLACES + bit)
    }

    fn mark(&mut self, place: usize, is_taken: bool) {
        let bit = 1 << (place % WORD_PLACES);
        if let Some(word) = self.taken.get_mut(place / WORD_PLACES) {
            *word = if is_taken { *word | bit } else { *word & !bit };
        }
    }
}

fn empty_piece<T>() -> Places<T> {
    let places: Vec<Option<T>> = std::iter::repeat_with(|| None).take(PIECE_PLACES).collect();
    let places = places.into_boxed_slice().try_into().ok();
    places.expect("invariant: so many places were just made")
}

impl<T> Slab<T> {
    /// Puts `thing` at an empty place, and returns the place.
    pub fn insert(&mut self, thing: T) -> usize {
        let (number, place) = self.take_empty_place();
        if let Some(piece) = self.pieces.get_mut(number)
            && let Some(empty) = piece.get_or_insert_with(empty_piece).get_mut(place)
        {
            *empty = Some(thing);
        }
        self.len += 1;
        number * PIECE_PLACES + place
    }

    fn take_empty_place(&mut self) -> (usize, usize) {
        while let Some(number) = self.open.last().copied() {
            if let Some(marks) = self.marks.get_mut(number) {
                if let Some(place) = marks.empty_place() {
                    marks.mark(place, true);
                    return (number, place);
                }
                marks.is_open = false;
            }
            self.open.pop();
        }
        let mut marks = Marks {
            taken: [0; PIECE_PLACES / WORD_PLACES],
            is_open: true,
        };
        marks.mark(0, true);
        self.open.push(self.pieces.len());
        self.marks.push(marks);
        self.pieces.push(None);
        (self.pieces.len() - 1, 0)
    }

    /// Takes out what is at `place`. The memory of a piece that has become empty is given back.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let (number, place) = (place / PIECE_PLACES, place % PIECE_PLACES);
        let piece = self.pieces.get_mut(number)?;
        let thing = piece.as_mut()?.get_mut(place)?.take()?;
        let marks = self.marks.get_mut(number)?;
        marks.mark(place, false);
        if marks.taken.iter().all(|word| *word == 0) {
            *piece = None;
        }
        if !marks.is_open {
            marks.is_open = true;
            self.open.push(number);
        }
        self.len -= 1;
        Some(thing)
    }

    /// The memory of a place that is or was taken, without a look at it.
    #[inline]
    pub fn place(&self, place: usize) -> Option<&Option<T>> {
        let piece = self.pieces.get(place / PIECE_PLACES)?.as_ref()?;
        piece.get(place % PIECE_PLACES)
    }

    /// What is at `place`.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&T> {
        let piece = self.pieces.get(place / PIECE_PLACES)?.as_ref()?;
        piece.get(place % PIECE_PLACES)?.as_ref()
    }

    /// What is at `place`.
    #[inline]
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        let piece = self.pieces.get_mut(place / PIECE_PLACES)?.as_mut()?;
        piece.get_mut(place % PIECE_PLACES)?.as_mut()
    }

    /// How many things there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All places are below this.
    pub fn places(&self) -> usize {
        self.pieces.len() * PIECE_PLACES
    }

    /// All things in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let pieces = self.pieces.iter().flatten();
        pieces.flat_map(|piece| piece.iter().flatten())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Slab::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_stay_and_are_given_again() {
        let mut slab = Slab::default();
        let places: Vec<usize> = (0..1_000).map(|number| slab.insert(number)).collect();
        assert_eq!((slab.len(), slab.places()), (1_000, 1_024));
        assert!(
            places
                .iter()
                .enumerate()
                .all(|(number, place)| slab.get(*place) == Some(&number))
        );
        assert_eq!(
            (slab.remove(places[300]), slab.remove(places[300])),
            (Some(300), None)
        );
        assert_eq!(slab.get(places[300]), None);
        let again = slab.insert(7);
        assert_eq!((again, slab.places()), (places[300], 1_024));
        *slab.get_mut(again).unwrap() = 8;
        assert_eq!(slab.iter().filter(|number| **number == 8).count(), 2);
        assert_eq!(slab.get(usize::MAX), None);
    }

    #[test]
    fn empty_pieces_give_their_memory_back() {
        let mut slab = Slab::default();
        let places: Vec<usize> = (0..3 * PIECE_PLACES).map(|number| slab.insert(number)).collect();
        for place in &places[..2 * PIECE_PLACES] {
            slab.remove(*place);
        }
        let held = |slab: &Slab<usize>| slab.pieces.iter().flatten().count();
        assert_eq!((held(&slab), slab.len()), (1, PIECE_PLACES));
        let again: std::collections::HashSet<usize> = (0..2 * PIECE_PLACES).map(|_| slab.insert(0)).collect();
        assert_eq!((again.len(), slab.places()), (2 * PIECE_PLACES, 3 * PIECE_PLACES));
    }
}
