//! Joins and picks by time: the sample that was valid at a moment, not only one of exactly that moment.

use crate::aggregate::rows::Rows;

/// Which sample stands for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsofDirection {
    /// The last one at or before it.
    Previous,
    /// The first one at or behind it.
    Next,
    /// The closer one of both, the older one of two that are equally close.
    Nearest,
}

/// Index of the timestamp that stands for `moment`, at most `tolerance` time units away from it. The
/// timestamps ascend; `next` is the first one at or behind the moment.
fn pick_around(
    timestamps: &[i64],
    next: usize,
    moment: i64,
    direction: AsofDirection,
    tolerance: Option<u64>,
) -> Option<usize> {
    let distance = |index: &usize| timestamps[*index].abs_diff(moment);
    let following = Some(next).filter(|&index| index < timestamps.len());
    let exact = following.filter(|index| distance(index) == 0);
    let previous = exact.or(next.checked_sub(1));
    let picked = match direction {
        AsofDirection::Previous => previous,
        AsofDirection::Next => following,
        AsofDirection::Nearest => [previous, following].into_iter().flatten().min_by_key(distance),
    }?;
    (distance(&picked) <= tolerance.unwrap_or(u64::MAX)).then_some(picked)
}

/// Joins to each row of `left` the row of `right` that stands for its moment, NaN where there is none. Both
/// ascend.
pub fn join_asof(left: &Rows, right: &Rows, direction: AsofDirection, tolerance: Option<u64>) -> Rows {
    let mut joined = Rows::with_capacity(left.width + right.width, left.len());
    let mut next = 0;
    for (timestamp, row) in left.iter() {
        while right.timestamps.get(next).is_some_and(|&each| each < timestamp) {
            next += 1;
        }
        joined.timestamps.push(timestamp);
        joined.values.extend_from_slice(row);
        match pick_around(&right.timestamps, next, timestamp, direction, tolerance) {
            Some(index) => joined.values.extend_from_slice(right.row(index)),
            None => joined.values.resize(joined.values.len() + right.width, f64::NAN),
        }
    }
    joined
}

/// Joins the rows of the timestamps that both have. Both ascend.
pub fn join_inner(left: &Rows, right: &Rows) -> Rows {
    let mut joined = Rows::with_capacity(left.width + right.width, left.len().min(right.len()));
    let mut next = 0;
    for (timestamp, row) in left.iter() {
        while right.timestamps.get(next).is_some_and(|&each| each < timestamp) {
            next += 1;
        }
        if right.timestamps.get(next) == Some(&timestamp) {
            joined.timestamps.push(timestamp);
            joined.values.extend_from_slice(row);
            joined.values.extend_from_slice(right.row(next));
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [AsofDirection; 3] = [
        AsofDirection::Previous,
        AsofDirection::Next,
        AsofDirection::Nearest,
    ];

    fn pick_at(
        timestamps: &[i64],
        moment: i64,
        direction: AsofDirection,
        tolerance: Option<u64>,
    ) -> Option<usize> {
        let next = timestamps.partition_point(|&timestamp| timestamp < moment);
        pick_around(timestamps, next, moment, direction, tolerance)
    }

    #[test]
    fn the_direction_says_which_sample_stands_for_a_moment() {
        let timestamps = [10, 20, 40];
        let pick =
            |moment, tolerance| ALL.map(|direction| pick_at(&timestamps, moment, direction, tolerance));
        assert_eq!(pick(20, None), [Some(1), Some(1), Some(1)]);
        assert_eq!(pick(30, None), [Some(1), Some(2), Some(1)]);
        assert_eq!(pick(31, None), [Some(1), Some(2), Some(2)]);
        assert_eq!(pick(31, Some(9)), [None, Some(2), Some(2)]);
        assert_eq!(pick(9, None), [None, Some(0), Some(0)]);
        assert_eq!(pick(i64::MAX, None), [Some(2), None, Some(2)]);
        assert_eq!(pick_at(&[], 0, AsofDirection::Nearest, None), None);
    }

    #[test]
    fn inner_joins_keep_what_both_have() {
        let left = Rows::of_samples(vec![1, 2, 4], vec![1.0, 2.0, 4.0]);
        let right = Rows::of_samples(vec![2, 3, 4], vec![20.0, 30.0, 40.0]);
        let joined = join_inner(&left, &right);
        assert_eq!((joined.timestamps, joined.width), (vec![2, 4], 2));
        assert_eq!(joined.values, [2.0, 20.0, 4.0, 40.0]);
    }

    proptest! {
        #[test]
        fn joins_pick_what_a_search_finds(
            left in prop::collection::btree_set(0i64..100, 0..30),
            right in prop::collection::btree_set(0i64..100, 0..30),
            which in 0usize..3,
            tolerance in prop::option::of(0u64..30),
        ) {
            let rows = |set: std::collections::BTreeSet<i64>| {
                let values = set.iter().map(|&timestamp| timestamp as f64).collect();
                Rows::of_samples(set.into_iter().collect(), values)
            };
            let (left, right) = (rows(left), rows(right));
            let joined = join_asof(&left, &right, ALL[which], tolerance);
            prop_assert_eq!(&joined.timestamps, &left.timestamps);
            for (moment, row) in joined.iter() {
                let best = right
                    .timestamps
                    .iter()
                    .filter(|&&each| ALL[which] != AsofDirection::Previous || each <= moment)
                    .filter(|&&each| ALL[which] != AsofDirection::Next || each >= moment)
                    .filter(|&&each| each.abs_diff(moment) <= tolerance.unwrap_or(u64::MAX))
                    .min_by_key(|&&each| (each.abs_diff(moment), each));
                prop_assert_eq!(row[0], moment as f64);
                match best {
                    Some(&timestamp) => prop_assert_eq!(row[1], timestamp as f64),
                    None => prop_assert!(row[1].is_nan()),
                }
            }
        }
    }
}
