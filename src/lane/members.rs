//! The series of one key: usually one.

use std::ops::Deref;

/// (data type, place of the series), one for each data type.
#[derive(Clone, Debug)]
pub enum Members {
    /// A key whose series are all of one data type.
    One([(u8, u32); 1]),
    /// Any other number.
    Many(Vec<(u8, u32)>),
}

impl Members {
    /// The same with the series at `place` for `data_type`, instead of the one it had.
    #[must_use]
    pub fn with(&self, data_type: u8, place: u32) -> Members {
        let others = self.iter().filter(|member| member.0 != data_type).copied();
        others.chain([(data_type, place)]).collect()
    }

    /// Place of the series of this data type.
    #[inline]
    pub fn of(&self, data_type: u8) -> Option<u32> {
        self.iter()
            .find(|member| member.0 == data_type)
            .map(|member| member.1)
    }

    /// Bytes of the memory that it has of its own.
    pub fn own_bytes(&self) -> usize {
        match self {
            Members::One(_) => 0,
            Members::Many(members) => members.capacity() * size_of::<(u8, u32)>(),
        }
    }
}

impl Default for Members {
    fn default() -> Self {
        Members::Many(Vec::new())
    }
}

impl Deref for Members {
    type Target = [(u8, u32)];

    #[inline]
    fn deref(&self) -> &[(u8, u32)] {
        match self {
            Members::One(member) => member,
            Members::Many(members) => members,
        }
    }
}

impl FromIterator<(u8, u32)> for Members {
    fn from_iter<I: IntoIterator<Item = (u8, u32)>>(members: I) -> Members {
        let mut members = members.into_iter();
        match (members.next(), members.next()) {
            (None, _) => Members::default(),
            (Some(only), None) => Members::One([only]),
            (Some(first), Some(second)) => {
                Members::Many([first, second].into_iter().chain(members).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_series_needs_no_memory_of_its_own() {
        let one = Members::default().with(3, 7);
        assert_eq!((&*one, one.own_bytes()), (&[(3, 7)][..], 0));
        assert_eq!((one.of(3), one.of(0)), (Some(7), None));
        let two = one.with(0, 8);
        assert_eq!(&*two, [(3, 7), (0, 8)]);
        assert!(two.own_bytes() > 0);
        assert_eq!(&*two.with(3, 9), [(0, 8), (3, 9)]);
        assert_eq!(&*one.with(3, 9), [(3, 9)]);
    }
}
