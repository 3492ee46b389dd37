//! The engine against the definitions of its aggregators, and examples of what they do not cover.

use proptest::prelude::*;

use crate::aggregate::reference::{ALL, Case};
use crate::aggregate::{
    AggregateError, AggregationSpec, Aggregator, BucketAggregation, BucketTimestamp, Bucketing, Rows,
    Surroundings,
};
use crate::series::{self, ChunkSummary, Columns, EncodeScratch, Sample, ValueSummary};

fn close(left: f64, right: f64) -> bool {
    left.is_nan() && right.is_nan() || (left - right).abs() <= 1e-9 * (1.0 + left.abs())
}

/// Compares rows whose starts below 0 are reported as they are.
fn assert_rows(got: &Rows, expected: &[(i64, Vec<f64>)], floor: i64) {
    let starts: Vec<i64> = expected.iter().map(|row| row.0.max(floor)).collect();
    assert_eq!(got.timestamps, starts);
    for ((timestamp, row), (_, wanted)) in got.iter().zip(expected) {
        let same =
            row.len() == wanted.len() && row.iter().zip(wanted).all(|(&left, &right)| close(left, right));
        assert!(same, "at {timestamp}: got {row:?}, expected {wanted:?}");
    }
}

fn points() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value =
        prop_oneof![4 => (-400i32..400).prop_map(|value| f64::from(value) / 4.0), 1 => Just(f64::NAN)];
    let step = prop_oneof![4 => 1i64..6, 1 => 20i64..60];
    (-60i64..60, prop::collection::vec((step, value), 0..120)).prop_map(|(start, steps)| {
        let mut now = start;
        steps
            .into_iter()
            .map(|(step, value)| {
                now += step;
                (now, value)
            })
            .collect()
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let range = (-80i64..300, 0i64..500);
    let aggregators = prop_oneof![
        Just(ALL.to_vec()),
        prop::sample::subsequence(ALL.to_vec(), 1..5),
        prop::sample::select(ALL.to_vec()).prop_map(|one| vec![one]),
    ];
    let limit = prop_oneof![2 => Just(usize::MAX), 1 => 0usize..20];
    (
        points(),
        range,
        1i64..50,
        -100i64..100,
        aggregators,
        limit,
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(samples, (from, len), width, align, aggregators, limit, [empty, reverse])| Case {
                samples,
                from,
                to: from + len,
                width,
                align,
                aggregators,
                empty,
                limit,
                reverse,
            },
        )
}

/// Feeds the columns in pieces, as summaries where `by_summary` says so and the engine takes them.
fn feed(aggregation: &mut BucketAggregation, samples: &[(i64, f64)], pieces: &[(usize, bool)]) {
    let (mut rest, mut pieces) = (samples, pieces.iter().cycle());
    while !rest.is_empty() {
        let &(len, by_summary) = pieces.next().unwrap_or(&(usize::MAX, false));
        let (piece, behind) = rest.split_at(len.clamp(1, rest.len()));
        rest = behind;
        let (timestamps, values): (Vec<i64>, Vec<f64>) = piece.iter().copied().unzip();
        let summary = ChunkSummary {
            count: piece.len(),
            first_timestamp: timestamps[0],
            last_timestamp: timestamps[timestamps.len() - 1],
            values: ValueSummary::of(&values),
        };
        if !by_summary || !aggregation.add_summary(&summary) {
            aggregation.add_columns(&timestamps, &values);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_aggregator_agrees_with_its_definition(
        case in cases(),
        pieces in prop::collection::vec((1usize..40, any::<bool>()), 0..6),
    ) {
        let mut aggregation = BucketAggregation::new(case.spec());
        let queried = case.queried();
        feed(&mut aggregation, &queried, &pieces);
        let surroundings = case.surroundings();
        let is_negative = queried.first().is_some_and(|point| point.0 < 0)
            || surroundings.before.is_some_and(|sample| sample.timestamp < 0);
        let rows = aggregation
            .finish(&surroundings, Some(case.limit), case.reverse)
            .expect("few empty buckets");
        assert_rows(&rows, &case.expected(), if is_negative { i64::MIN } else { 0 });
    }

    #[test]
    fn reading_may_stop_once_full(mut case in cases(), limit in 0usize..10) {
        (case.reverse, case.limit) = (false, limit);
        let mut aggregation = BucketAggregation::new(case.spec());
        for chunk in case.queried().chunks(7) {
            feed(&mut aggregation, chunk, &[]);
            if aggregation.is_full(limit) {
                break;
            }
        }
        let surroundings = case.surroundings();
        let rows = aggregation.finish(&surroundings, Some(limit), false).expect("few empty buckets");
        let expected = case.expected();
        assert_rows(&rows, &expected, rows.timestamps.first().map_or(0, |&first| first.min(0)));
    }

    #[test]
    fn stored_summaries_agree_with_decoded_chunks(
        samples in points(),
        width in 1i64..2_000,
        chunk_len in 1usize..50,
    ) {
        let spec = AggregationSpec {
            aggregators: ALL[..8].to_vec(),
            bucketing: Bucketing::fixed(width, 0).expect("width is positive"),
            bucket_timestamp: BucketTimestamp::Start,
            empty: false,
        };
        let (mut by_summary, mut by_columns) =
            (BucketAggregation::new(spec.clone()), BucketAggregation::new(spec));
        for chunk in samples.chunks(chunk_len) {
            let columns: Columns = chunk.iter().map(|&(at, value)| Sample::new(at, value)).collect();
            let mut bytes = Vec::new();
            series::encode(&columns, 0..columns.len(), &mut EncodeScratch::default(), &mut bytes);
            let summary = series::summary(&bytes).expect("just written");
            if !by_summary.add_summary(&summary) {
                by_summary.add_columns(&columns.timestamps, &columns.values);
            }
            by_columns.add_columns(&columns.timestamps, &columns.values);
        }
        let finish = |aggregation: BucketAggregation| {
            aggregation.finish(&Surroundings::default(), None, false).expect("no empty buckets")
        };
        let (left, right) = (finish(by_summary), finish(by_columns));
        prop_assert_eq!(left.timestamps, right.timestamps);
        prop_assert!(left.values.iter().zip(&right.values).all(|(&left, &right)| close(left, right)));
    }
}

#[test]
fn summaries_are_refused_where_they_do_not_say_enough() {
    let summary = |values: &[f64]| ChunkSummary {
        count: values.len(),
        first_timestamp: 100,
        last_timestamp: 119,
        values: ValueSummary::of(values),
    };
    let takes = |aggregator, width, values: &[f64]| {
        let mut aggregation = BucketAggregation::new(AggregationSpec {
            aggregators: vec![aggregator],
            bucketing: Bucketing::fixed(width, 0).expect("width is positive"),
            bucket_timestamp: BucketTimestamp::Start,
            empty: false,
        });
        aggregation.add_summary(&summary(values))
    };
    assert!(takes(Aggregator::Maximum, 20, &[1.0, 2.0]));
    assert!(!takes(Aggregator::Maximum, 10, &[1.0, 2.0]));
    assert!(takes(Aggregator::Last, 20, &[1.0, 2.0]));
    assert!(!takes(Aggregator::Last, 20, &[1.0, f64::NAN]));
    assert!(!takes(Aggregator::First, 20, &[f64::NAN, 1.0]));
    assert!(takes(Aggregator::First, 20, &[f64::NAN, f64::NAN]));
    assert!(takes(Aggregator::CountNan, 20, &[f64::NAN, 1.0]));
    assert!(!takes(Aggregator::VariancePopulation, 20, &[1.0, 2.0]));
    assert!(!takes(Aggregator::TimeWeightedAverage, 20, &[1.0, 2.0]));
}

#[test]
fn empty_buckets_are_bounded_and_a_limit_keeps_clear_of_the_bound() {
    let aggregation = || {
        let mut aggregation = BucketAggregation::new(AggregationSpec {
            aggregators: vec![Aggregator::Sum],
            bucketing: Bucketing::fixed(1, 0).expect("width is positive"),
            bucket_timestamp: BucketTimestamp::Start,
            empty: true,
        });
        aggregation.add_columns(&[i64::MIN, 0, i64::MAX], &[1.0, 2.0, 3.0]);
        aggregation
    };
    let around = Surroundings::default();
    assert!(matches!(
        aggregation().finish(&around, None, false),
        Err(AggregateError::TooManyEmptyBuckets { .. })
    ));
    let newest = aggregation().finish(&around, Some(2), true).expect("two rows");
    assert_eq!(newest.timestamps, [i64::MAX, i64::MAX - 1]);
    assert_eq!(newest.values, [3.0, 0.0]);
    let oldest = aggregation().finish(&around, Some(2), false).expect("two rows");
    assert_eq!(oldest.timestamps, [i64::MIN, i64::MIN + 1]);
}

#[test]
fn bucket_timestamps_move_after_the_clamp() {
    let starts = |first: i64, which| {
        let mut aggregation = BucketAggregation::new(AggregationSpec {
            aggregators: vec![Aggregator::Count],
            bucketing: Bucketing::fixed(100, 30).expect("width is positive"),
            bucket_timestamp: which,
            empty: false,
        });
        aggregation.add_columns(&[first, 40, 250], &[1.0; 3]);
        let rows = aggregation.finish(&Surroundings::default(), None, false);
        rows.expect("no empty buckets").timestamps
    };
    assert_eq!(starts(5, BucketTimestamp::Start), [0, 30, 230]);
    assert_eq!(starts(5, BucketTimestamp::Middle), [50, 80, 280]);
    assert_eq!(starts(5, BucketTimestamp::End), [100, 130, 330]);
    assert_eq!(starts(-5, BucketTimestamp::End), [30, 130, 330]);
}

#[test]
fn percentiles_are_of_one_bucket_each() {
    let percentile = |name: &str| Aggregator::parse(name.as_bytes()).expect("a percentile");
    let mut aggregation = BucketAggregation::new(AggregationSpec {
        aggregators: ["p50", "p100", "p0"].map(percentile).to_vec(),
        bucketing: Bucketing::fixed(100, 0).expect("width is positive"),
        bucket_timestamp: BucketTimestamp::Start,
        empty: true,
    });
    let timestamps: Vec<i64> = (0..100).chain(200..301).collect();
    let values: Vec<f64> = timestamps.iter().map(|&timestamp| timestamp as f64).collect();
    aggregation.add_columns(&timestamps, &values);
    let rows = aggregation
        .finish(&Surroundings::default(), None, false)
        .expect("few empty buckets");
    let exact = [
        [49.0, 99.0, 0.0],
        [f64::NAN; 3],
        [249.0, 299.0, 200.0],
        [300.0; 3],
    ];
    for (index, wanted) in exact.iter().enumerate() {
        for (got, wanted) in rows.row(index).iter().zip(wanted) {
            let is_close = (got - wanted).abs() <= 0.0101 * wanted || got.is_nan() && wanted.is_nan();
            assert!(is_close, "{index}: {got} {wanted}");
        }
    }
}

#[test]
fn rates_are_per_second_of_any_unit() {
    let mut aggregation = BucketAggregation::new(AggregationSpec {
        aggregators: vec![Aggregator::Rate, Aggregator::Candle, Aggregator::Increase],
        bucketing: Bucketing::fixed(60, 0).expect("width is positive"),
        bucket_timestamp: BucketTimestamp::Start,
        empty: true,
    })
    .with_unit_ns(1_000_000_000);
    aggregation.add_columns(&[0, 30, 150], &[10.0, 40.0, 20.0]);
    let rows = aggregation
        .finish(&Surroundings::default(), None, false)
        .expect("one empty bucket");
    assert_eq!(rows.row(0), [1.0, 10.0, 40.0, 10.0, 40.0, 2.0, 30.0]);
    assert!(rows.row(1)[0].is_nan() && rows.row(1)[6].is_nan());
    assert_eq!(rows.row(1)[5], 0.0);
    assert_eq!(rows.row(2), [20.0 / 120.0, 20.0, 20.0, 20.0, 20.0, 1.0, 20.0]);
}
