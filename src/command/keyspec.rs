//! Which arguments of a command are keys.

use crate::resp::Args;
use crate::resp::number::parse_u64;

/// Keys are `first`, `first + step`, … up to `last` (counted from the end if negative). `first` 0 = none;
/// `last` 0 = the argument before the first says how many keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Index of the first key.
    pub first: usize,
    /// Index of the last key; negative counts from the end.
    pub last: i32,
    /// Distance between keys.
    pub step: usize,
}

impl KeySpec {
    /// No keys.
    pub const NONE: KeySpec = KeySpec {
        first: 0,
        last: 0,
        step: 0,
    };
    /// Argument 1.
    pub const FIRST: KeySpec = KeySpec {
        first: 1,
        last: 1,
        step: 1,
    };
    /// Argument 2, behind a subcommand.
    pub const SECOND: KeySpec = KeySpec {
        first: 2,
        last: 2,
        step: 1,
    };
    /// Arguments 1 and 2.
    pub const TWO: KeySpec = KeySpec {
        first: 1,
        last: 2,
        step: 1,
    };
    /// All arguments.
    pub const ALL: KeySpec = KeySpec {
        first: 1,
        last: -1,
        step: 1,
    };
    /// Argument 1 is the number of keys, which follow it.
    pub const COUNTED: KeySpec = KeySpec {
        first: 2,
        last: 0,
        step: 1,
    };

    /// Every `step`th argument from the first.
    pub const fn every(step: usize) -> KeySpec {
        KeySpec {
            first: 1,
            last: -1,
            step,
        }
    }

    /// Whether the request itself says how many keys there are.
    pub const fn is_counted(self) -> bool {
        self.first > 0 && self.last == 0
    }

    /// Indexes of the keys among `len` arguments, which `argument` looks up. None if their number is
    /// malformed or beyond the arguments.
    pub fn indexes<'a>(
        self,
        len: usize,
        argument: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> impl Iterator<Item = usize> {
        let end = if self.first == 0 {
            0
        } else if self.is_counted() {
            let count = argument(self.first - 1).and_then(parse_u64);
            let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            let end = count.saturating_mul(self.step).saturating_add(self.first);
            if end > len { self.first } else { end }
        } else if self.last < 0 {
            (len + 1).saturating_sub(self.last.unsigned_abs() as usize)
        } else {
            (self.last as usize + 1).min(len)
        };
        (self.first..end.max(self.first)).step_by(self.step.max(1))
    }

    /// The keys among `args`.
    pub fn keys<'a>(self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.indexes(args.len(), move |index| args.try_get(index))
            .map(move |index| args.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(spec: KeySpec, words: &[&'static str]) -> Vec<usize> {
        spec.indexes(words.len(), |index| words.get(index).map(|word| word.as_bytes()))
            .collect()
    }

    #[test]
    fn keys_stand_in_fixed_places() {
        assert_eq!(indexes(KeySpec::NONE, &["c", "x"]), [0; 0]);
        assert_eq!(indexes(KeySpec::FIRST, &["c", "a", "x"]), [1]);
        assert_eq!(indexes(KeySpec::FIRST, &["c"]), [0; 0]);
        assert_eq!(indexes(KeySpec::TWO, &["c", "a", "b", "x"]), [1, 2]);
        assert_eq!(indexes(KeySpec::TWO, &["c", "a"]), [1]);
        assert_eq!(indexes(KeySpec::ALL, &["c", "a", "b"]), [1, 2]);
        assert_eq!(
            indexes(KeySpec::every(3), &["c", "a", "1", "2", "b", "3", "4"]),
            [1, 4]
        );
    }

    #[test]
    fn keys_are_counted_by_the_request() {
        let counted = |words: &[&'static str]| indexes(KeySpec::COUNTED, words);
        assert_eq!(counted(&["c", "2", "a", "b", "-", "+"]), [2, 3]);
        assert_eq!(counted(&["c", "1", "a"]), [2]);
        for words in [
            &["c", "0", "a"][..],
            &["c", "2", "a"],
            &["c", "-1", "a"],
            &["c", "x", "a"],
            &["c", "18446744073709551615", "a"],
            &["c"],
        ] {
            assert_eq!(counted(words), [0; 0], "{words:?}");
        }
        assert!(KeySpec::COUNTED.is_counted());
        assert!(!KeySpec::NONE.is_counted() && !KeySpec::ALL.is_counted());
    }
}
