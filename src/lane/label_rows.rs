//! Intersecting the lists of keys that `kv` keeps under the values of labels.
//!
//! All lists are sorted by key: where one stands, the others jump to. A jump costs as much as the look at a key's own
//! row, by which every key that is found is judged anyway. So a list that has let everything pass is asked only now and
//! then, until it has something to say again.

use crate::store::layout;
use crate::store::{Database, Reach, Read, RowCursor, StoreError};

use super::label_query::NamedValues;

/// Steps to the next row of a list before it is searched: a search costs about as much as so many steps.
const STEPS_BEFORE_SEEK: usize = 8;
/// Keys that a list is passed over for at most, and so at most that many too many at its end.
const UNASKED_MAX: u32 = 15;

/// What an intersection may cost, in steps.
pub struct StepsLeft(pub usize);

impl StepsLeft {
    /// False if there are not so many left.
    fn take(&mut self, steps: usize) -> bool {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// The keys that `kv` lists under one value of a label, ascending.
struct ValueRows<'a> {
    prefix: Vec<u8>,
    rows: RowCursor<'a>,
}

impl ValueRows<'_> {
    /// The first key that is not below `target`, which never goes back; `None` if there is none.
    fn at_least(
        &mut self,
        target: &[u8],
        steps_left: &mut StepsLeft,
    ) -> Result<Read<Option<&[u8]>>, StoreError> {
        let mut steps = 0;
        while let Read::Known(Some((row, _))) = self.rows.current()?
            && row.get(self.prefix.len()..).unwrap_or(b"") < target
        {
            if steps == STEPS_BEFORE_SEEK {
                steps += STEPS_BEFORE_SEEK;
                self.rows.seek(&[&self.prefix, target].concat());
                break;
            }
            self.rows.advance();
            steps += 1;
        }
        if !steps_left.take(steps) {
            return Ok(Read::Cold);
        }
        Ok(match self.rows.current()? {
            Read::Cold => Read::Cold,
            Read::Known(row) => Read::Known(row.map(|(row, _)| row.get(self.prefix.len()..).unwrap_or(b""))),
        })
    }
}

/// Keys with one of the values that are wanted of a label.
struct LabelRows<'a> {
    values: Vec<ValueRows<'a>>,
    /// It has said where to go on since the last key was found.
    has_moved: bool,
    /// Keys found that it is not asked about, and how many that were the last time.
    unasked: u32,
    unasked_before: u32,
}

impl<'a> LabelRows<'a> {
    fn of((name, values): &NamedValues, store: &'a Database, reach: Reach) -> LabelRows<'a> {
        let of_value = |value: &[u8]| ValueRows {
            prefix: layout::label_prefix(name, Some(value)),
            rows: store.label_rows(name, Some(value), reach),
        };
        LabelRows {
            values: values.iter().map(|value| of_value(value)).collect(),
            has_moved: false,
            unasked: 0,
            unasked_before: 0,
        }
    }

    /// Moves `target` to the least key of any of the values that is not below it; false if there is none.
    fn move_on(
        &mut self,
        target: &mut Vec<u8>,
        steps_left: &mut StepsLeft,
    ) -> Result<Read<bool>, StoreError> {
        let mut least: Option<&[u8]> = None;
        for value in &mut self.values {
            match value.at_least(target, steps_left)? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(Some(key)) if least.is_none_or(|least| key < least) => least = Some(key),
                Read::Known(_) => {}
            }
        }
        let Some(least) = least else {
            return Ok(Read::Known(false));
        };
        if least != target.as_slice() {
            self.has_moved = true;
            target.clear();
            target.extend_from_slice(least);
        }
        Ok(Read::Known(true))
    }

    /// A key was found.
    fn found(&mut self) {
        if std::mem::take(&mut self.has_moved) {
            (self.unasked, self.unasked_before) = (0, 0);
        } else if self.unasked > 0 {
            self.unasked -= 1;
        } else {
            self.unasked_before = (2 * self.unasked_before + 1).min(UNASKED_MAX);
            self.unasked = self.unasked_before;
        }
    }
}

/// All keys that stand in each of the lists that `equalities` name, and some that stand only in one; ascending. `Cold`
/// also if that takes more than `steps_left`.
///
/// # Errors
/// If a row cannot be read.
pub fn candidates(
    store: &Database,
    equalities: &[NamedValues],
    reach: Reach,
    steps_left: &mut StepsLeft,
) -> Result<Read<Vec<Box<[u8]>>>, StoreError> {
    let mut lists: Vec<LabelRows<'_>> = equalities
        .iter()
        .map(|named| LabelRows::of(named, store, reach))
        .collect();
    let (mut found, mut target) = (Vec::new(), Vec::new());
    // The list that has moved the target last, and how many others have agreed since.
    let (mut leader, mut agreed) = (0, 0);
    while !lists.is_empty() {
        let at = (leader + agreed) % lists.len();
        if let Some(list) = lists.get_mut(at)
            && (agreed == 0 || list.unasked == 0)
        {
            let before = std::mem::take(&mut list.has_moved);
            match list.move_on(&mut target, steps_left)? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(false) => break,
                Read::Known(true) if list.has_moved => (leader, agreed) = (at, 0),
                Read::Known(true) => list.has_moved = before,
            }
        }
        agreed += 1;
        if agreed == lists.len() {
            found.push(Box::from(target.as_slice()));
            lists.iter_mut().for_each(LabelRows::found);
            // The least key above this one.
            target.push(0);
            agreed = 0;
        }
    }
    Ok(Read::Known(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::test_support::{TestPartition, test_partition};
    use crate::series::Label;
    use crate::store::{CheckpointRows, StoredKey};

    const KEYS: usize = 2_000;

    fn boxed(text: &str) -> Box<[u8]> {
        text.as_bytes().into()
    }

    fn labels_of(number: usize) -> Vec<Label> {
        let pairs = [
            ("seven", number % 7),
            ("block", number / 100),
            ("half", number % 2),
        ];
        pairs
            .map(|(name, value)| (boxed(name), boxed(&value.to_string())))
            .into()
    }

    fn filled() -> TestPartition {
        let partition = test_partition();
        let mut rows = CheckpointRows::new(0);
        for number in 0..KEYS {
            let key = format!("{number:05}");
            rows.push(
                key.as_bytes(),
                None,
                StoredKey::default(),
                (&[], &labels_of(number)),
            );
        }
        rows.write(partition.database()).unwrap();
        partition
    }

    fn named(name: &str, values: &[usize]) -> NamedValues {
        let values = values.iter().map(|value| boxed(&value.to_string())).collect();
        (boxed(name), values)
    }

    fn found(partition: &TestPartition, equalities: &[NamedValues], steps: usize) -> Option<Vec<usize>> {
        let store = partition.database();
        match candidates(store, equalities, Reach::Disk, &mut StepsLeft(steps)).unwrap() {
            Read::Cold => None,
            Read::Known(keys) => {
                let number = |key: &[u8]| std::str::from_utf8(key).unwrap().parse().unwrap();
                Some(keys.iter().map(|key| number(key)).collect())
            }
        }
    }

    #[test]
    fn all_keys_of_an_intersection_are_found_and_few_others() {
        let partition = filled();
        let filters = [
            vec![named("seven", &[3])],
            vec![named("seven", &[3]), named("block", &[5])],
            vec![
                named("half", &[1]),
                named("block", &[5, 9]),
                named("seven", &[0, 6]),
            ],
            vec![
                named("block", &[0, 19]),
                named("half", &[0]),
                named("seven", &[2]),
            ],
            vec![named("half", &[0]), named("half", &[1])],
            vec![named("block", &[4]), named("block", &[5])],
            vec![named("seven", &[9]), named("half", &[1])],
            vec![],
        ];
        for filter in filters {
            let has_all = |number: &usize| {
                let labels = labels_of(*number);
                let has_any = |(name, values): &NamedValues| {
                    labels
                        .iter()
                        .any(|label| label.0 == *name && values.contains(&label.1))
                };
                !filter.is_empty() && filter.iter().all(has_any)
            };
            let wanted: Vec<usize> = (0..KEYS).filter(has_all).collect();
            let found = found(&partition, &filter, usize::MAX).unwrap();
            assert!(found.is_sorted_by(|left, right| left < right), "{filter:?}");
            let passing: Vec<usize> = found.iter().copied().filter(has_all).collect();
            assert_eq!(passing, wanted, "{filter:?}");
            let others = found.len() - wanted.len();
            assert!(
                others <= 4 * UNASKED_MAX as usize,
                "{others} too many for {filter:?}"
            );
        }
    }

    #[test]
    fn a_long_walk_is_given_up() {
        let partition = filled();
        let filter = [named("half", &[0]), named("seven", &[1])];
        assert!(found(&partition, &filter, 100).is_none());
        assert!(found(&partition, &filter, 10 * KEYS).is_some());
        assert!(found(&partition, &[named("seven", &[9])], 0).is_some_and(|found| found.is_empty()));
    }
}
