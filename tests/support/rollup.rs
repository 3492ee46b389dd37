//! What rollup rules are to write: the buckets of a series, computed plainly from all its samples.

use std::collections::BTreeMap;

/// Rounding differs with the order of additions.
const ROUNDING: f64 = 1e-9;
const MILLISECONDS_PER_SECOND: f64 = 1_000.0;

/// Timestamp and value.
pub type Point = (i64, f64);

/// True if the values of this aggregator depend on samples of other buckets.
pub fn looks_beside(aggregator: &str) -> bool {
    ["increase", "rate", "twa"].contains(&aggregator)
}

/// Starts and values of the buckets, which are `width` wide and start at multiples of it, the open one included. Samples
/// for which `counts` says no are left out of them, though not as neighbours; what is left out of a bucket is at its start.
pub fn rolled_up(
    aggregator: &str,
    samples: &BTreeMap<i64, f64>,
    width: i64,
    counts: impl Fn(i64) -> bool,
) -> Vec<Point> {
    let numbers: Vec<Point> = samples.iter().map(|(time, value)| (*time, *value)).collect();
    let numbers: Vec<Point> = numbers.into_iter().filter(|(_, value)| !value.is_nan()).collect();
    let start_of = |time: i64| time - time.rem_euclid(width);
    let mut buckets: BTreeMap<i64, (usize, usize)> = BTreeMap::new();
    for (index, (time, _)) in numbers.iter().enumerate().filter(|(_, (time, _))| counts(*time)) {
        buckets.entry(start_of(*time)).or_insert((index, index)).1 = index;
    }
    let value = |(start, (first, last)): (i64, (usize, usize))| {
        let before = first.checked_sub(1).map(|before| numbers[before]);
        let after = numbers.get(last + 1).copied();
        let own = &numbers[first..=last];
        (
            start,
            aggregate(aggregator, own, (before, after), (start, start + width)),
        )
    };
    buckets.into_iter().map(value).collect()
}

/// True if both are the same samples, but for rounding.
pub fn is_same(found: &[Point], expected: &[Point]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| is_near(*found, *expected))
}

/// As [`is_same`] of one sample.
pub fn is_near(found: Point, expected: Point) -> bool {
    let distance = (found.1 - expected.1).abs();
    let is_near = distance <= ROUNDING * expected.1.abs().max(1.0);
    found.0 == expected.0 && (is_near || found.1.is_nan() && expected.1.is_nan())
}

fn aggregate(
    aggregator: &str,
    own: &[Point],
    (before, after): (Option<Point>, Option<Point>),
    bounds: (i64, i64),
) -> f64 {
    let values = own.iter().map(|sample| sample.1);
    match aggregator {
        "sum" => values.sum(),
        "min" => values.fold(f64::INFINITY, f64::min),
        "max" => values.fold(f64::NEG_INFINITY, f64::max),
        "last" => own[own.len() - 1].1,
        "increase" | "rate" => counter(aggregator, own, before),
        "twa" => average_over_time(own, (before, after), bounds),
        _ => own.len() as f64,
    }
}

/// What a counter went up since the sample before the bucket; one that went down began at 0 again.
fn counter(aggregator: &str, own: &[Point], before: Option<Point>) -> f64 {
    let path: Vec<Point> = before.into_iter().chain(own.iter().copied()).collect();
    if path.len() < 2 {
        return f64::NAN;
    }
    let step = |pair: &[Point]| {
        if pair[1].1 < pair[0].1 {
            pair[1].1
        } else {
            pair[1].1 - pair[0].1
        }
    };
    let increase: f64 = path.windows(2).map(step).sum();
    let span = (path[path.len() - 1].0 - path[0].0) as f64;
    if aggregator == "rate" {
        increase / span * MILLISECONDS_PER_SECOND
    } else {
        increase
    }
}

/// The mean of the straight lines between samples, as far as they lie in the bucket.
fn average_over_time(
    own: &[Point],
    (before, after): (Option<Point>, Option<Point>),
    (start, end): (i64, i64),
) -> f64 {
    let at = |left: Point, right: Point, time: i64| {
        let share = (time - left.0) as f64 / (right.0 - left.0) as f64;
        (time, left.1 + (right.1 - left.1) * share)
    };
    let (first, last) = (own[0], own[own.len() - 1]);
    let mut path = Vec::new();
    path.extend(before.map(|before| at(before, first, start.max(before.0))));
    path.extend_from_slice(own);
    path.extend(after.map(|after| at(last, after, end.min(after.0))));
    let area: f64 = path
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0) as f64 * (pair[0].1 + pair[1].1) / 2.0)
        .sum();
    let span = path[path.len() - 1].0 - path[0].0;
    if span == 0 { last.1 } else { area / span as f64 }
}
