//! What a range query answers: one row of values for each timestamp.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rows of `width` values: those of row `i` are `values[i * width..][..width]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub timestamps: Vec<i64>,
    pub width: usize,
    /// Row after row.
    pub values: Vec<f64>,
}

impl Rows {
    /// No rows of `width` values, with room for `rows`.
    pub fn with_capacity(width: usize, rows: usize) -> Self {
        Rows {
            timestamps: Vec::with_capacity(rows),
            width,
            values: Vec::with_capacity(rows.saturating_mul(width)),
        }
    }

    /// Samples as rows of one value; both columns have the same length.
    pub fn of_samples(timestamps: Vec<i64>, values: Vec<f64>) -> Self {
        debug_assert_eq!(timestamps.len(), values.len());
        Rows {
            timestamps,
            width: 1,
            values,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Values of one row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.width..][..self.width]
    }

    /// All rows with their timestamps.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i64, &[f64])> + ExactSizeIterator {
        (0..self.len()).map(|index| (self.timestamps[index], self.row(index)))
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.timestamps.truncate(rows);
        self.values.truncate(rows.saturating_mul(self.width));
    }

    /// Turns the order of the rows round.
    pub fn reverse(&mut self) {
        self.timestamps.reverse();
        self.values.reverse();
        if self.width > 1 {
            self.values
                .chunks_exact_mut(self.width)
                .for_each(<[f64]>::reverse);
        }
    }
}

/// Joins rows of several series by timestamp (TS.NRANGE): a joined row holds those of all series side by
/// side, NaN where a series has none. All rows must ascend, without a timestamp twice in one series.
pub fn join_rows(series: &[Rows]) -> Rows {
    let width = series.iter().map(|rows| rows.width).sum();
    let mut offset = 0;
    let offsets: Vec<usize> = series
        .iter()
        .map(|rows| {
            offset += rows.width;
            offset - rows.width
        })
        .collect();
    let longest = series.iter().map(Rows::len).max().unwrap_or(0);
    let mut joined = Rows::with_capacity(width, longest);
    merge_by_timestamp(series, |timestamp, index, row| {
        if joined.timestamps.last() != Some(&timestamp) {
            joined.timestamps.push(timestamp);
            joined.values.resize(joined.values.len() + width, f64::NAN);
        }
        let start = joined.values.len() - width + offsets[index];
        joined.values[start..start + row.len()].copy_from_slice(row);
    });
    joined
}

/// Visits all rows of all series in order of time, those of one timestamp in the order of the series. The
/// arguments are the timestamp, the index of the series and the values.
pub(super) fn merge_by_timestamp(series: &[Rows], mut visit: impl FnMut(i64, usize, &[f64])) {
    if let Some((first, others)) = series.split_first()
        && others.iter().all(|rows| rows.timestamps == first.timestamps)
    {
        for (index, &timestamp) in first.timestamps.iter().enumerate() {
            for (which, rows) in series.iter().enumerate() {
                visit(timestamp, which, rows.row(index));
            }
        }
        return;
    }
    let mut heads: BinaryHeap<Reverse<(i64, usize, usize)>> = series
        .iter()
        .enumerate()
        .filter_map(|(which, rows)| Some(Reverse((*rows.timestamps.first()?, which, 0))))
        .collect();
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((timestamp, which, index)) = *head;
        visit(timestamp, which, series[which].row(index));
        match series[which].timestamps.get(index + 1) {
            Some(&following) => *head = Reverse((following, which, index + 1)),
            None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn reversing_keeps_the_values_of_a_row_in_order() {
        let mut rows = Rows {
            timestamps: vec![1, 2, 3],
            width: 2,
            values: vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0],
        };
        rows.reverse();
        rows.truncate(2);
        assert_eq!(rows.timestamps, [3, 2]);
        assert_eq!(rows.values, [3.0, 30.0, 2.0, 20.0]);
        assert_eq!(rows.row(1), [2.0, 20.0]);
    }

    #[test]
    fn missing_rows_are_nan() {
        let joined = join_rows(&[
            Rows::of_samples(vec![1, 3], vec![10.0, 30.0]),
            Rows {
                timestamps: vec![2, 3],
                width: 2,
                values: vec![5.0, 6.0, 7.0, 8.0],
            },
        ]);
        assert_eq!((joined.timestamps.as_slice(), joined.width), (&[1, 2, 3][..], 3));
        let text: Vec<String> = joined.iter().map(|(_, row)| format!("{row:?}")).collect();
        assert_eq!(text, ["[10.0, NaN, NaN]", "[NaN, 5.0, 6.0]", "[30.0, 7.0, 8.0]"]);
        assert_eq!(join_rows(&[]), Rows::default());
    }

    proptest! {
        #[test]
        fn joins_agree_with_maps(
            series in prop::collection::vec(prop::collection::btree_map(0i64..20, -9.0f64..9.0, 0..12), 0..5),
            same in any::<bool>(),
        ) {
            let series = if same { vec![series.first().cloned().unwrap_or_default(); 3] } else { series };
            let rows: Vec<Rows> = series
                .iter()
                .map(|map| Rows::of_samples(map.keys().copied().collect(), map.values().copied().collect()))
                .collect();
            let mut expected: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (index, map) in series.iter().enumerate() {
                for (&timestamp, &value) in map {
                    expected.entry(timestamp).or_insert_with(|| vec![f64::NAN; series.len()])[index] = value;
                }
            }
            let joined = join_rows(&rows);
            let got: BTreeMap<i64, Vec<f64>> = joined.iter().map(|(at, row)| (at, row.to_vec())).collect();
            prop_assert_eq!(got.len(), joined.len());
            prop_assert_eq!(format!("{got:?}"), format!("{expected:?}"));
        }
    }
}
