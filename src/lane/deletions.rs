//! Deleted ranges of time of one series: a sorted list of ranges, both ends included, that neither overlap nor touch.

use std::ops::Range;

use crate::series::Columns;

/// First and last timestamp, both included.
pub type TimeRange = (i64, i64);

/// Adds `from..=to` to `ranges`, merging it with what it overlaps or touches. O(ranges).
pub fn insert(ranges: &mut Vec<TimeRange>, from: i64, to: i64) {
    let start = ranges.partition_point(|range| range.1.saturating_add(1) < from);
    let end = ranges.partition_point(|range| range.0 <= to.saturating_add(1));
    let end = end.max(start);
    let merged = ranges
        .get(start..end)
        .unwrap_or(&[])
        .iter()
        .fold((from, to), |all, range| (all.0.min(range.0), all.1.max(range.1)));
    ranges.splice(start..end, [merged]);
}

/// What `older` and `newer` cover together.
pub fn union(older: &[TimeRange], newer: &[TimeRange]) -> Vec<TimeRange> {
    let mut all = older.to_vec();
    for (from, to) in newer {
        insert(&mut all, *from, *to);
    }
    all
}

/// The range that covers `timestamp`.
pub fn covering(ranges: &[TimeRange], timestamp: i64) -> Option<TimeRange> {
    let next = ranges.partition_point(|range| range.1 < timestamp);
    ranges.get(next).copied().filter(|range| range.0 <= timestamp)
}

/// What `ranges` cover from `start` on.
pub fn from(ranges: &[TimeRange], start: i64) -> Vec<TimeRange> {
    let next = ranges.partition_point(|range| range.1 < start);
    let rest = ranges.get(next..).unwrap_or(&[]);
    rest.iter().map(|range| (range.0.max(start), range.1)).collect()
}

/// Appends the samples at `within` that no range covers to `out`.
pub fn copy_visible(columns: &Columns, within: Range<usize>, ranges: &[TimeRange], out: &mut Columns) {
    let Range { mut start, end } = within;
    let first = columns.timestamps.get(start).copied().unwrap_or(i64::MAX);
    let relevant = ranges.partition_point(|range| range.1 < first);
    for range in ranges.get(relevant..).unwrap_or(&[]) {
        if start >= end {
            return;
        }
        let hidden = columns.range(range.0, range.1);
        if hidden.start > start {
            out.extend_from(columns, start..hidden.start.min(end));
        }
        start = start.max(hidden.end);
    }
    if start < end {
        out.extend_from(columns, start..end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Sample;

    #[test]
    fn ranges_stay_sorted_and_apart() {
        let mut ranges = Vec::new();
        for (from, to) in [(10, 20), (30, 40), (50, 60)] {
            insert(&mut ranges, from, to);
        }
        insert(&mut ranges, 22, 28);
        assert_eq!(ranges, [(10, 20), (22, 28), (30, 40), (50, 60)]);
        insert(&mut ranges, 21, 21);
        assert_eq!(ranges, [(10, 28), (30, 40), (50, 60)]);
        insert(&mut ranges, 35, 70);
        assert_eq!(ranges, [(10, 28), (30, 70)]);
        insert(&mut ranges, i64::MIN, i64::MIN);
        insert(&mut ranges, i64::MAX, i64::MAX);
        assert_eq!(
            ranges,
            [(i64::MIN, i64::MIN), (10, 28), (30, 70), (i64::MAX, i64::MAX)]
        );
        insert(&mut ranges, i64::MIN, i64::MAX);
        assert_eq!(ranges, [(i64::MIN, i64::MAX)]);
    }

    #[test]
    fn cover_and_rest() {
        let ranges = [(10, 20), (30, 40)];
        assert_eq!(covering(&ranges, 9), None);
        assert_eq!(covering(&ranges, 10), Some((10, 20)));
        assert_eq!(covering(&ranges, 20), Some((10, 20)));
        assert_eq!(covering(&ranges, 25), None);
        assert_eq!(covering(&ranges, 41), None);
        assert_eq!(from(&ranges, 15), [(15, 20), (30, 40)]);
        assert_eq!(from(&ranges, 21), [(30, 40)]);
        assert_eq!(from(&ranges, 41), []);
        assert_eq!(union(&ranges, &[(21, 29), (50, 50)]), [(10, 40), (50, 50)]);
    }

    #[test]
    fn only_what_no_range_covers_is_copied() {
        let columns: Columns = (0..100).map(|index| Sample::new(index, 0.0)).collect();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut ranges = Vec::new();
            for _ in 0..random.usize(0..5) {
                let from = random.i64(-10..110);
                insert(&mut ranges, from, from + random.i64(0..30));
            }
            let start = random.usize(0..=100);
            let within = start..random.usize(start..=100);
            let mut copied = Columns::default();
            copy_visible(&columns, within.clone(), &ranges, &mut copied);
            let expected: Vec<i64> = (within.start as i64..within.end as i64)
                .filter(|timestamp| !ranges.iter().any(|range| (range.0..=range.1).contains(timestamp)))
                .collect();
            assert_eq!(copied.timestamps, expected, "{ranges:?} {within:?}");
        }
    }
}
