//! A list that is nearly always empty: one word then.

use std::ops::Deref;

/// A list behind a pointer, which is absent until the first element.
#[derive(Clone, Debug)]
#[expect(clippy::box_collection, reason = "three words are what it saves")]
pub struct Seldom<T>(Option<Box<Vec<T>>>);

impl<T> Default for Seldom<T> {
    fn default() -> Self {
        Seldom(None)
    }
}

impl<T> Seldom<T> {
    /// The list, to be changed.
    #[inline]
    pub fn list(&mut self) -> &mut Vec<T> {
        self.0.get_or_insert_default()
    }

    /// Appends an element; true if that took more memory.
    #[inline]
    pub fn push(&mut self, element: T) -> bool {
        let list = self.list();
        let room = list.capacity();
        list.push(element);
        list.capacity() != room
    }

    /// Forgets the elements and keeps their memory.
    pub fn clear(&mut self) {
        if let Some(list) = &mut self.0 {
            list.clear();
        }
    }

    /// Forgets the elements that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        if let Some(list) = &mut self.0 {
            list.retain(keep);
        }
    }

    /// Takes the elements out.
    pub fn take(&mut self) -> Vec<T> {
        self.0.take().map_or_else(Vec::new, |list| *list)
    }

    /// Bytes of the list itself and of its elements, a block of memory each.
    pub fn memory_bytes(&self) -> (usize, usize) {
        self.0.as_ref().map_or((0, 0), |list| {
            (size_of::<Vec<T>>(), list.capacity() * size_of::<T>())
        })
    }
}

impl<T> Deref for Seldom<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.0.as_deref().map_or(&[], |list| list)
    }
}

impl<T> From<Vec<T>> for Seldom<T> {
    fn from(list: Vec<T>) -> Self {
        Seldom((!list.is_empty()).then(|| Box::new(list)))
    }
}

/// No list and an empty one are the same.
impl<T: PartialEq> PartialEq for Seldom<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Seldom<T> {}

impl<T: PartialEq, const N: usize> PartialEq<[T; N]> for Seldom<T> {
    fn eq(&self, other: &[T; N]) -> bool {
        **self == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_no_list() {
        let mut list = Seldom::default();
        assert_eq!((size_of_val(&list), list.memory_bytes()), (8, (0, 0)));
        list.push(1);
        list.push(2);
        assert!(list.memory_bytes().1 >= 8);
        list.retain(|element| *element > 1);
        assert_eq!(list, [2]);
        list.clear();
        assert_eq!(list, Seldom::from(Vec::<i32>::new()));
        list.list().extend([4, 5]);
        assert_eq!((list.take(), list.len()), (vec![4, 5], 0));
    }
}
