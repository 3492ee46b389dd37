//! Aggregation measured: nanoseconds a sample by aggregator, bucket width and share of NaN, for 1,000
//! samples one second apart.
//!
//! Run it with nothing else running; every time is the minimum of several rounds.

use std::hint::black_box;
use std::time::Instant;

use ticklane::aggregate::{
    AggregationSpec, Aggregator, BucketAggregation, BucketTimestamp, Bucketing, Surroundings,
};

const SAMPLES: usize = 1_000;
const ROUNDS: usize = 15;
const RUNS_PER_ROUND: usize = 2_000;
const START_MS: i64 = 1_728_462_600_000;
const AGGREGATORS: [&str; 9] = [
    "count",
    "max",
    "sum",
    "avg",
    "last",
    "std.p",
    "twa",
    "p99",
    "min,max,avg,count",
];

fn spec(names: &str, width_ms: i64) -> AggregationSpec {
    let aggregators = names
        .split(',')
        .map(|name| Aggregator::parse(name.as_bytes()).expect("known aggregator"));
    AggregationSpec {
        aggregators: aggregators.collect(),
        bucketing: Bucketing::fixed(width_ms, 0).expect("positive width"),
        bucket_timestamp: BucketTimestamp::Start,
        empty: false,
    }
}

/// Nanoseconds a sample, everything from the new aggregation to its rows.
fn measure(spec: &AggregationSpec, timestamps: &[i64], values: &[f64]) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..RUNS_PER_ROUND {
            let mut aggregation = BucketAggregation::new(black_box(spec.clone()));
            aggregation.add_columns(black_box(timestamps), black_box(values));
            let rows = aggregation.finish(&Surroundings::default(), None, false);
            black_box(rows.expect("no empty buckets"));
        }
        let nanoseconds = start.elapsed().as_nanos() as f64;
        best = best.min(nanoseconds / (RUNS_PER_ROUND * SAMPLES) as f64);
    }
    best
}

fn main() {
    println!("nanoseconds a sample, {SAMPLES} samples");
    for (bucket_seconds, nan_every) in [(60, None), (60, Some(20)), (1_000, None), (10, None), (1, None)] {
        let timestamps: Vec<i64> = (0..SAMPLES as i64)
            .map(|index| START_MS + index * 1_000 + index * 7_919 % 400)
            .collect();
        let values: Vec<f64> = (0..SAMPLES)
            .map(|index| match nan_every {
                Some(every) if index % every == 0 => f64::NAN,
                _ => 20.0 + (index % 97) as f64 * 0.01,
            })
            .collect();
        let nan = if nan_every.is_some() { ", 5 % NaN" } else { "" };
        print!("{bucket_seconds} s buckets{nan}:");
        for names in AGGREGATORS {
            let nanoseconds = measure(&spec(names, bucket_seconds * 1_000), &timestamps, &values);
            print!(" {names} {nanoseconds:.2}");
        }
        println!();
    }
}
