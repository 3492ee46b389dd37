//! Which arguments of a command are keys.

use crate::resp::Args;

/// Keys are `first`, `first + step`, … up to `last` (counted from the end if negative). `first` 0 = none.
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

    /// Every `step`th argument from the first.
    pub const fn every(step: usize) -> KeySpec {
        KeySpec {
            first: 1,
            last: -1,
            step,
        }
    }

    /// Indexes of the keys among `len` arguments.
    pub fn indexes(self, len: usize) -> impl Iterator<Item = usize> {
        let last = if self.last < 0 {
            len.saturating_sub(self.last.unsigned_abs() as usize)
        } else {
            self.last as usize
        };
        let end = if self.first == 0 { 0 } else { (last + 1).min(len) };
        (self.first..end.max(self.first)).step_by(self.step.max(1))
    }

    /// The keys among `args`.
    pub fn keys<'a>(self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.indexes(args.len()).map(move |index| args.get(index))
    }
}
