//! What TS.GET, TS.RANGE, TS.REVRANGE and TS.GETAT answer.

use crate::command::test_run::{NOW_MS, add_series, check, run};
use crate::lane::test_support::{TestPartition, test_partition};
use crate::lane::{Committed, Partition, SeriesSweep};
use crate::series::EncodeScratch;

/// `k` holds `(timestamp, value, quality)` of these.
fn with_samples(samples: &[(i64, &str, u8)]) -> TestPartition {
    let mut partition = test_partition();
    for (timestamp, value, quality) in samples {
        run(
            &mut partition,
            &format!("TSDB_SET k {timestamp} {value} 0 {quality}"),
        );
    }
    partition
}

fn ten() -> TestPartition {
    let samples: Vec<(i64, String, u8)> = (1..=10).map(|index| (index * 10, index.to_string(), 0)).collect();
    let samples: Vec<(i64, &str, u8)> = samples.iter().map(|(at, value, q)| (*at, &**value, *q)).collect();
    with_samples(&samples)
}

/// The timestamps and values of a RESP2 reply of rows, such as `10:1 20:2,5`.
fn rows(partition: &mut Partition, line: &str) -> String {
    let reply = run(partition, line);
    let mut words = reply.split(' ').skip(1).peekable();
    let mut shown = Vec::new();
    while let Some(head) = words.next() {
        let Some(width) = head
            .strip_prefix('*')
            .and_then(|width| width.parse::<usize>().ok())
        else {
            return reply;
        };
        let row: Vec<&str> = words.by_ref().take(width).collect();
        let values: Vec<&str> = row[1..].iter().map(|value| &value[1..]).collect();
        shown.push(format!("{}:{}", &row[0][1..], values.join(",")));
    }
    shown.join(" ")
}

fn check_rows(partition: &mut Partition, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(rows(partition, line), *expected, "{line}");
    }
}

#[test]
fn the_newest_sample() {
    let mut partition = ten();
    run(&mut partition, "SET s 1");
    run(&mut partition, "TSDB_SET other 5 1 7");
    check(
        &mut partition,
        &[
            ("TS.GET k", "*2 :100 +10"),
            ("TS.GET k LATEST", "*2 :100 +10"),
            ("TS.GET k latest", "*2 :100 +10"),
            ("TS.GET k X", "-ERR TSDB: wrong 3rd argument"),
            ("TS.GET nope", "-ERR TSDB: the key does not exist"),
            ("TS.GET nope X", "-ERR TSDB: the key does not exist"),
            ("TS.GET other", "-ERR TSDB: the key does not exist"),
            (
                "TS.GET s",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
    );
}

#[test]
fn ranges_include_both_ends() {
    let mut partition = ten();
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k 20 40", "20:2 30:3 40:4"),
            ("TS.RANGE k 21 39", "30:3"),
            ("TS.RANGE k 40 20", ""),
            ("TS.RANGE k - 20", "10:1 20:2"),
            ("TS.RANGE k 90 +", "90:9 100:10"),
            ("TS.REVRANGE k 80 +", "100:10 90:9 80:8"),
            ("TS.RANGE k - + COUNT 2", "10:1 20:2"),
            ("TS.REVRANGE k - + COUNT 2", "100:10 90:9"),
            ("TS.RANGE nope - +", "-ERR TSDB: the key does not exist"),
            ("TS.RANGE k x +", "-ERR TSDB: wrong fromTimestamp"),
        ],
    );
}

#[test]
fn samples_are_filtered_before_they_are_counted() {
    let mut partition = ten();
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k - + FILTER_BY_TS 30 10 35 30", "10:1 30:3"),
            ("TS.REVRANGE k - + FILTER_BY_TS 30 10 COUNT 1", "30:3"),
            ("TS.RANGE k 20 + FILTER_BY_TS 30 10", "30:3"),
            ("TS.RANGE k - + FILTER_BY_VALUE 3 5", "30:3 40:4 50:5"),
            ("TS.RANGE k - + FILTER_BY_VALUE 3 5 COUNT 1", "30:3"),
            ("TS.REVRANGE k - + FILTER_BY_VALUE 3 5 COUNT 2", "50:5 40:4"),
            (
                "TS.RANGE k - + FILTER_BY_TS 30 40 60 FILTER_BY_VALUE 4 9",
                "40:4 60:6",
            ),
            ("TS.RANGE k - + FILTER_BY_VALUE 3 5 AGGREGATION count 100", "0:3"),
        ],
    );
}

#[test]
fn qualities_are_filtered_and_shown() {
    let mut partition = with_samples(&[(1, "1", 0), (2, "2", 7), (3, "3", 9)]);
    check(
        &mut partition,
        &[
            (
                "TS.RANGE k - + WITHQUALITY FILTER_BY_QUALITY 7 9",
                "*2 *3 :2 +2 :7 *3 :3 +3 :9",
            ),
            (
                "TS.REVRANGE k - + WITHQUALITY COUNT 2",
                "*2 *3 :3 +3 :9 *3 :2 +2 :7",
            ),
        ],
    );
    check_rows(
        &mut partition,
        &[("TS.RANGE k - + FILTER_BY_QUALITY 1 255 AGGREGATION sum 10", "0:5")],
    );
}

#[test]
fn buckets_of_samples() {
    let mut partition = ten();
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k - + AGGREGATION avg 30", "0:1.5 30:4 60:7 90:9.5"),
            ("TS.REVRANGE k - + AGGREGATION avg 30", "90:9.5 60:7 30:4 0:1.5"),
            ("TS.RANGE k - + AGGREGATION avg 30 COUNT 2", "0:1.5 30:4"),
            ("TS.RANGE k - + COUNT 2 AGGREGATION avg 30", "0:1.5 30:4"),
            (
                "TS.REVRANGE k - + AGGREGATION first,last 30 COUNT 2",
                "90:9,10 60:6,8",
            ),
            ("TS.RANGE k - + AGGREGATION min,max 60", "0:1,5 60:6,10"),
            (
                "TS.RANGE k - + AGGREGATION sum 30 BUCKETTIMESTAMP end",
                "30:3 60:12 90:21 120:19",
            ),
            (
                "TS.RANGE k - + AGGREGATION sum 30 BUCKETTIMESTAMP mid",
                "15:3 45:12 75:21 105:19",
            ),
            ("TS.RANGE k 20 60 ALIGN start AGGREGATION sum 30", "20:9 50:11"),
            ("TS.RANGE k 20 60 ALIGN end AGGREGATION sum 30", "0:2 30:12 60:6"),
            ("TS.RANGE k 20 60 ALIGN 25 AGGREGATION sum 30", "0:2 25:12 55:6"),
            (
                "TS.RANGE k - + AGGREGATION sum 1d TZ Nowhere",
                "-ERR TSDB: unknown time zone",
            ),
            ("TS.RANGE k - + AGGREGATION count 1mo", "0:10"),
        ],
    );
}

#[test]
fn empty_buckets_lie_between_reported_ones() {
    let mut partition = with_samples(&[(10, "1", 0), (50, "5", 0)]);
    run(&mut partition, "TS.ADD k 55 nan");
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k 0 100 AGGREGATION sum 20 EMPTY", "0:1 20:0 40:5"),
            (
                "TS.RANGE k 0 100 AGGREGATION last,count 20 EMPTY",
                "0:1,1 20:1,0 40:5,1",
            ),
            ("TS.RANGE k 0 100 AGGREGATION avg 20 EMPTY", "0:1 20:NaN 40:5"),
            (
                "TS.RANGE k 0 100 AGGREGATION countnan,countall 20",
                "0:0,1 40:1,2",
            ),
            ("TS.RANGE k 0 100 AGGREGATION countnan 20", "40:1"),
        ],
    );
}

#[test]
fn averages_over_time_look_at_both_neighbours() {
    let mut partition = with_samples(&[(0, "0", 0), (10, "10", 0), (30, "30", 0), (40, "40", 0)]);
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k 10 29 AGGREGATION twa 10", "10:15"),
            ("TS.RANGE k 10 29 AGGREGATION twa 10 EMPTY", "10:15 20:24.5"),
        ],
    );
}

#[test]
fn the_value_at_a_point_in_time() {
    let mut partition = ten();
    check(
        &mut partition,
        &[
            ("TS.GETAT k 35 PREV", "*2 :30 +3"),
            ("TS.GETAT k 35 NEXT", "*2 :40 +4"),
            ("TS.GETAT k 35 NEAREST", "*2 :30 +3"),
            ("TS.GETAT k 36 NEAREST", "*2 :40 +4"),
            ("TS.GETAT k 40 NEAREST", "*2 :40 +4"),
            ("TS.GETAT k 35 PREV TOLERANCE 4", "*0"),
            ("TS.GETAT k 35 PREV TOLERANCE 5", "*2 :30 +3"),
            ("TS.GETAT k 5 PREV", "*0"),
            ("TS.GETAT k 5000 NEXT", "*0"),
            ("TS.GETAT nope 5 PREV", "-ERR TSDB: the key does not exist"),
        ],
    );
}

#[test]
fn samples_from_before_the_epoch_are_seen_by_open_ranges() {
    let mut partition = test_partition();
    add_series(&mut partition, "k");
    run(&mut partition, "TSDB_SET k -5 2");
    check_rows(
        &mut partition,
        &[
            ("TS.RANGE k - +", "-5:2 1:1.5"),
            ("TS.RANGE k 0 +", "1:1.5"),
            ("TS.RANGE k - + AGGREGATION sum 10", "-10:2 0:1.5"),
        ],
    );
}

/// Writes every head to the database.
fn seal(partition: &mut Partition) {
    let mut scratch = EncodeScratch::default();
    assert!(matches!(
        partition.commit(&mut scratch),
        Committed::Written { .. }
    ));
    partition.sweep_series(&mut SeriesSweep::default(), NOW_MS + 3_600_000, false);
    assert!(matches!(
        partition.commit(&mut scratch),
        Committed::Written { .. }
    ));
}

/// Sum and count of the buckets of 0, 1, 2 ... at 0, 10, 20 ... in `from..=to`.
fn expected_buckets(samples: i64, from: i64, to: i64, width: i64) -> String {
    let mut buckets: std::collections::BTreeMap<i64, (i64, i64)> = std::collections::BTreeMap::new();
    for value in (0..samples).filter(|value| (from..=to).contains(&(value * 10))) {
        let bucket = buckets.entry(value * 10 / width * width).or_default();
        *bucket = (bucket.0 + value, bucket.1 + 1);
    }
    let shown: Vec<String> = buckets
        .into_iter()
        .map(|(start, (sum, count))| format!("{start}:{sum},{count}"))
        .collect();
    shown.join(" ")
}

#[test]
fn chunks_are_aggregated_by_their_summaries() {
    let mut partition = test_partition();
    for value in 0..300 {
        run(&mut partition, &format!("TS.ADD k {} {value}", value * 10));
        if value % 20 == 19 && value < 280 {
            seal(&mut partition);
        }
    }
    let check_all = |partition: &mut Partition| {
        for (from, to) in [
            (0, 2_990),
            (5, 2_985),
            (200, 399),
            (190, 410),
            (1_000, 1_000),
            (2_790, 2_990),
        ] {
            for width in [7, 100, 200, 1_000, 10_000] {
                let line = format!("TS.RANGE k {from} {to} AGGREGATION sum,count {width}");
                assert_eq!(
                    rows(partition, &line),
                    expected_buckets(300, from, to, width),
                    "{line}"
                );
            }
        }
    };
    check_all(&mut partition);
    assert_eq!(
        rows(&mut partition, "TS.RANGE k 0 + AGGREGATION sum,count 200 COUNT 1"),
        "0:190,20"
    );
    assert_eq!(
        rows(
            &mut partition,
            "TS.REVRANGE k - 799 AGGREGATION first,last,max 400 COUNT 1"
        ),
        "400:40,79,79"
    );
    assert_eq!(
        rows(&mut partition, "TS.RANGE k - + FILTER_BY_VALUE 25 200 COUNT 2"),
        "250:25 260:26"
    );
    // A late sample and a deletion, in memory and then on disk.
    run(&mut partition, "TS.ADD k 500 7 ON_DUPLICATE SUM");
    run(&mut partition, "TS.DEL k 600 690");
    for _ in 0..2 {
        assert_eq!(
            rows(&mut partition, "TS.RANGE k 400 799 AGGREGATION sum,count 200"),
            "400:997,20 600:745,10"
        );
        seal(&mut partition);
    }
}
