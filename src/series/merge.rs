//! Merging two sorted runs of samples.

use crate::series::columns::Columns;
use crate::series::sample::Sample;

/// Appends both runs in order to `out`, which must hold nothing newer than either; at equal timestamps the
/// sample of `newer` wins. Stretches of one run that lie between two samples of the other are copied whole.
pub fn merge_newer(base: &Columns, newer: &Columns, out: &mut Columns) {
    let (mut left, mut right) = (0, 0);
    while left < base.len() && right < newer.len() {
        let end = left + gallop(&base.timestamps[left..], newer.timestamps[right]);
        if end > left {
            out.extend_from(base, left..end);
            left = end;
        }
        let Some(&next) = base.timestamps.get(left) else {
            break;
        };
        let end = right + gallop(&newer.timestamps[right..], next);
        if end > right {
            out.extend_from(newer, right..end);
            right = end;
        }
        if newer.timestamps.get(right) == Some(&next) {
            left += 1;
        }
    }
    out.extend_from(base, left..base.len());
    out.extend_from(newer, right..newer.len());
}

/// Samples in the order of their arrival as columns; of equal timestamps the last one counts.
pub fn sorted(mut samples: Vec<Sample>) -> Columns {
    let mut columns = Columns::with_capacity(samples.len());
    sort_into(&mut samples, &mut columns);
    columns
}

/// As [`sorted`], with memory for the columns from last time; what they hold is forgotten.
pub fn sort_into(samples: &mut [Sample], columns: &mut Columns) {
    // Stable: equal timestamps keep the order of their arrival.
    samples.sort_by_key(|sample| sample.timestamp);
    columns.clear();
    for (index, sample) in samples.iter().enumerate() {
        if samples
            .get(index + 1)
            .is_none_or(|next| next.timestamp != sample.timestamp)
        {
            columns.push(*sample);
        }
    }
}

/// How many timestamps lie before `limit`: doubling steps, so that short stretches cost little.
fn gallop(timestamps: &[i64], limit: i64) -> usize {
    let mut step = 1;
    while step < timestamps.len() && timestamps[step - 1] < limit {
        step *= 2;
    }
    let (low, high) = (step / 2, step.min(timestamps.len()));
    low + timestamps[low..high].partition_point(|&timestamp| timestamp < limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn columns(samples: &BTreeMap<i64, (f64, u8)>) -> Columns {
        samples
            .iter()
            .map(|(&timestamp, &(value, quality))| Sample {
                timestamp,
                value,
                quality,
            })
            .collect()
    }

    #[test]
    fn the_last_arrival_counts() {
        let arrivals = [(5, 1.0), (3, 2.0), (5, 3.0), (4, 4.0), (3, 5.0)];
        let samples = arrivals.map(|(timestamp, value)| Sample::new(timestamp, value));
        let columns = sorted(samples.to_vec());
        assert_eq!(columns.timestamps, [3, 4, 5]);
        assert_eq!(columns.values, [5.0, 4.0, 3.0]);
    }

    #[test]
    fn newer_wins_at_equal_timestamps() {
        let base = columns(&[(1, (1.0, 0)), (2, (1.0, 4)), (3, (1.0, 0))].into());
        let newer = columns(&[(2, (2.0, 0)), (3, (2.0, 7))].into());
        let mut out = Columns::default();
        merge_newer(&base, &newer, &mut out);
        assert_eq!(
            out,
            columns(&[(1, (1.0, 0)), (2, (2.0, 0)), (3, (2.0, 7))].into())
        );
    }

    #[test]
    fn extremes_and_empty_runs() {
        let ends = columns(&[(i64::MIN, (1.0, 0)), (i64::MAX, (2.0, 1))].into());
        for (base, newer) in [
            (&ends, &Columns::default()),
            (&Columns::default(), &ends),
            (&ends, &ends),
        ] {
            let mut out = Columns::default();
            merge_newer(base, newer, &mut out);
            assert_eq!(&out, &ends);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            base in prop::collection::btree_map(0i64..300, (0.0..9.0, 0u8..2), 0..200),
            newer in prop::collection::btree_map(-50i64..400, (10.0..19.0, 0u8..2), 0..200),
        ) {
            let mut out = Columns::default();
            merge_newer(&columns(&base), &columns(&newer), &mut out);
            let mut expected = base;
            expected.extend(newer);
            prop_assert_eq!(out, columns(&expected));
        }
    }
}
