//! Filters that keep some samples of columns, before anything is aggregated.

use crate::series::{Columns, Sample};

/// Keeps the samples whose value lies between `minimum` and `maximum`, both inclusive; NaN never does.
pub fn filter_by_value(columns: &mut Columns, minimum: f64, maximum: f64) {
    retain(columns, |sample| {
        sample.value >= minimum && sample.value <= maximum
    });
}

/// Keeps the samples whose quality lies between `minimum` and `maximum`, both inclusive.
pub fn filter_by_quality(columns: &mut Columns, minimum: u8, maximum: u8) {
    retain(columns, |sample| {
        sample.quality >= minimum && sample.quality <= maximum
    });
}

/// Keeps the samples at the given timestamps, which must ascend.
pub fn filter_by_timestamps(columns: &mut Columns, timestamps: &[i64]) {
    debug_assert!(timestamps.is_sorted());
    let mut kept = Columns::with_capacity(timestamps.len().min(columns.len()));
    let mut from = 0;
    for &timestamp in timestamps {
        from += columns.timestamps[from..].partition_point(|&each| each < timestamp);
        if columns.timestamps.get(from) == Some(&timestamp) {
            kept.push(columns.get(from));
            from += 1;
        }
    }
    *columns = kept;
}

/// Keeps the samples that `keep` says; copies nothing while all are kept.
fn retain(columns: &mut Columns, keep: impl Fn(Sample) -> bool) {
    let Some(first_dropped) = columns.iter().position(|sample| !keep(sample)) else {
        return;
    };
    let mut kept = Columns::with_capacity(columns.len());
    kept.extend_from(columns, 0..first_dropped);
    kept.extend(
        columns
            .iter()
            .skip(first_dropped + 1)
            .filter(|&sample| keep(sample)),
    );
    *columns = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        [
            (10, 1.0, 0),
            (20, f64::NAN, 3),
            (30, 3.0, 3),
            (40, -5.0, 0),
            (50, 5.0, 9),
        ]
        .into_iter()
        .map(|(timestamp, value, quality)| Sample {
            timestamp,
            value,
            quality,
        })
        .collect()
    }

    fn kept(filter: impl Fn(&mut Columns)) -> Vec<(i64, u8)> {
        let mut columns = columns();
        filter(&mut columns);
        columns
            .iter()
            .map(|sample| (sample.timestamp, sample.quality))
            .collect()
    }

    #[test]
    fn values_are_compared_inclusively_and_nan_never_passes() {
        assert_eq!(
            kept(|columns| filter_by_value(columns, 1.0, 5.0)),
            [(10, 0), (30, 3), (50, 9)]
        );
        let everything = kept(|columns| filter_by_value(columns, f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(everything.len(), 4);
        assert_eq!(kept(|columns| filter_by_value(columns, 5.0, 1.0)), []);
    }

    #[test]
    fn qualities_stay_with_their_samples() {
        assert_eq!(
            kept(|columns| filter_by_quality(columns, 3, 9)),
            [(20, 3), (30, 3), (50, 9)]
        );
        assert_eq!(kept(|columns| filter_by_quality(columns, 0, 255)).len(), 5);
    }

    #[test]
    fn timestamps_may_be_missing_repeated_or_outside() {
        let wanted = [i64::MIN, 10, 10, 25, 30, 50, i64::MAX];
        assert_eq!(
            kept(|columns| filter_by_timestamps(columns, &wanted)),
            [(10, 0), (30, 3), (50, 9)]
        );
        assert_eq!(kept(|columns| filter_by_timestamps(columns, &[])), []);
    }
}
