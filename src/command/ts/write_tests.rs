//! What the writing TS commands store and refuse.

use std::sync::Arc;

use crate::command::test_run::{NOW_MS, check, run, run_at};
use crate::lane::test_support::{TestPartition, test_partition};
use crate::lane::{Committed, Partition, SeriesSweep};
use crate::series::{DuplicatePolicy, EncodeScratch, SeriesDefaults};

const BLOCKED: &str = "-ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to BLOCK \
    mode, or either current or new value is NaN and DUPLICATE_POLICY is MAX/MIN/SUM";

/// The value stored at timestamp 10 of a new series after both values were added under the policy.
fn combined(policy: &str, first: &str, second: &str) -> String {
    let mut partition = test_partition();
    run(&mut partition, &format!("TS.CREATE k DUPLICATE_POLICY {policy}"));
    run(&mut partition, &format!("TS.ADD k 10 {first}"));
    let reply = run(&mut partition, &format!("TS.ADD k 10 {second}"));
    let stored = run(&mut partition, "TS.GET k");
    match reply.as_str() {
        ":10" => stored.trim_start_matches("*2 :10 +").to_owned(),
        BLOCKED => format!("blocked {}", stored.trim_start_matches("*2 :10 +")),
        other => other.to_owned(),
    }
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

#[test]
fn samples_are_added_and_series_created() {
    let mut partition = test_partition();
    run(&mut partition, "SET s 1");
    let now = format!(":{NOW_MS}");
    check(
        &mut partition,
        &[
            ("TS.ADD k 10 1.5", ":10"),
            ("TS.ADD k 20 2", ":20"),
            ("TS.ADD k * 3", &now),
            ("TS.ADD k 0 0", ":0"),
            ("TS.RANGE k 0 20", "*3 *2 :0 +0 *2 :10 +1.5 *2 :20 +2"),
            ("TYPE k", "+TSDB-TYPE"),
            ("TS.ADD nan 1 NaN", ":1"),
            ("TS.GET nan", "*2 :1 +NaN"),
            ("TS.ADD k 10 x", "-ERR TSDB: invalid value"),
            ("TS.ADD k 10 inf", "-ERR TSDB: invalid value"),
            ("TS.ADD k x 1", "-ERR TSDB: invalid timestamp"),
            ("TS.ADD k x y", "-ERR TSDB: invalid value"),
            (
                "TS.ADD k -1 1",
                "-ERR TSDB: invalid timestamp, must be a nonnegative integer",
            ),
            ("TS.ADD s 1 1", "-ERR TSDB: the key is not a TSDB key"),
            ("TS.ADD new 1 1 RETENTION -1", "-TSDB: Couldn't parse RETENTION"),
            ("EXISTS new", ":0"),
            ("TS.ADD k 30 1 RETENTION -1", ":30"),
            (
                "TS.ADD k 30 1 ON_DUPLICATE bogus",
                "-ERR TSDB: Unknown DUPLICATE_POLICY",
            ),
        ],
    );
}

#[test]
fn policies_combine_values() {
    for (policy, both) in [
        ("BLOCK", "blocked 4"),
        ("FIRST", "4"),
        ("LAST", "3"),
        ("MIN", "3"),
        ("MAX", "4"),
        ("SUM", "7"),
    ] {
        assert_eq!(combined(policy, "4", "3"), both, "{policy}");
    }
    assert_eq!(combined("MIN", "3", "4"), "3");
    assert_eq!(combined("MAX", "3", "4"), "4");
}

#[test]
fn a_number_wins_over_nan_or_the_sample_is_refused() {
    for policy in ["FIRST", "LAST"] {
        assert_eq!(combined(policy, "nan", "3"), "3", "{policy}");
        assert_eq!(combined(policy, "3", "nan"), "3", "{policy}");
        assert_eq!(combined(policy, "nan", "nan"), "NaN", "{policy}");
    }
    for policy in ["MIN", "MAX", "SUM"] {
        assert_eq!(combined(policy, "nan", "3"), "blocked NaN", "{policy}");
        assert_eq!(combined(policy, "3", "nan"), "blocked 3", "{policy}");
        assert_eq!(combined(policy, "nan", "nan"), "NaN", "{policy}");
    }
    assert_eq!(combined("BLOCK", "nan", "3"), "blocked NaN");
}

#[test]
fn the_call_decides_before_the_series_and_the_server() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("TS.CREATE k", "+OK"),
            ("TS.ADD k 10 1", ":10"),
            ("TS.ADD k 10 2", BLOCKED),
            ("TS.ADD k 10 2 ON_DUPLICATE LAST", ":10"),
            ("TS.GET k", "*2 :10 +2"),
            ("TS.ALTER k DUPLICATE_POLICY SUM", "+OK"),
            ("TS.ADD k 10 3", ":10"),
            ("TS.ADD k 10 9 ON_DUPLICATE FIRST", ":10"),
            ("TS.GET k", "*2 :10 +5"),
        ],
    );
    let defaults = SeriesDefaults {
        duplicate_policy: DuplicatePolicy::Max,
        ..SeriesDefaults::default()
    };
    partition.settings.series_defaults.store(Arc::new(defaults));
    check(
        &mut partition,
        &[
            ("TS.ADD j 10 1", ":10"),
            ("TS.ADD j 10 7", ":10"),
            ("TS.ADD j 10 3", ":10"),
            ("TS.GET j", "*2 :10 +7"),
            ("TS.ADD k 10 1", ":10"),
            ("TS.GET k", "*2 :10 +6"),
        ],
    );
}

fn sealed() -> TestPartition {
    let mut partition = test_partition();
    run(&mut partition, "TS.CREATE k");
    for timestamp in 1..=20 {
        run(
            &mut partition,
            &format!("TS.ADD k {} {timestamp}", timestamp * 10),
        );
    }
    seal(&mut partition);
    partition
}

#[test]
fn duplicates_of_sealed_samples_are_found() {
    let mut partition = sealed();
    check(
        &mut partition,
        &[
            ("TS.ADD k 50 9", BLOCKED),
            ("TS.ADD k 55 9", ":55"),
            ("TS.ADD k 55 9", BLOCKED),
            ("TS.ADD k 50 9 ON_DUPLICATE SUM", ":50"),
            ("TS.ADD k 50 1 ON_DUPLICATE SUM", ":50"),
            ("TS.ADD k 60 1 ON_DUPLICATE LAST", ":60"),
            ("TS.ADD k 200 1", BLOCKED),
            ("TS.RANGE k 50 60", "*3 *2 :50 +15 *2 :55 +9 *2 :60 +1"),
            ("TS.INCRBY k 5 TIMESTAMP 200", ":200"),
            ("TS.GET k", "*2 :200 +25"),
            ("TS.INCRBY k 5 TIMESTAMP 210", ":210"),
            ("TS.GET k", "*2 :210 +30"),
        ],
    );
}

#[test]
fn samples_older_than_retention_are_refused() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("TS.CREATE k RETENTION 100", "+OK"),
            ("TS.ADD k 1000 1", ":1000"),
            ("TS.ADD k 900 1", ":900"),
            ("TS.ADD k 899 1", "-ERR TSDB: Timestamp is older than retention"),
            ("TS.ADD k 1050 1", ":1050"),
            ("TS.RANGE k - +", "*2 *2 :1000 +1 *2 :1050 +1"),
            ("TS.ALTER k RETENTION 0", "+OK"),
            ("TS.ADD k 1 1", ":1"),
        ],
    );
}

#[test]
fn close_samples_are_ignored_if_the_last_one_counts() {
    let mut partition = test_partition();
    check(
        &mut partition,
        &[
            ("TS.CREATE k DUPLICATE_POLICY LAST IGNORE 10 0.5", "+OK"),
            ("TS.ADD k 100 1", ":100"),
            ("TS.ADD k 105 1.5", ":100"),
            ("TS.ADD k 110 1.5", ":100"),
            ("TS.ADD k 110 1.6", ":110"),
            ("TS.ADD k 121 1.6", ":121"),
            ("TS.ADD k 122 nan", ":122"),
            ("TS.ADD k 123 1", ":123"),
            ("TS.ADD k 124 1 ON_DUPLICATE MAX", ":124"),
            ("TS.ADD k 90 1", ":90"),
            ("TS.INCRBY k 0.1 TIMESTAMP 125", ":124"),
            ("TS.CREATE j DUPLICATE_POLICY MAX IGNORE 10 0.5", "+OK"),
            ("TS.ADD j 100 1", ":100"),
            ("TS.ADD j 101 1", ":101"),
        ],
    );
}

#[test]
fn madd_answers_for_every_item() {
    let mut partition = test_partition();
    run(&mut partition, "SET s 1");
    check(
        &mut partition,
        &[
            ("TS.CREATE a", "+OK"),
            ("TS.CREATE b", "+OK"),
            (
                "TS.MADD a 1 1 nope 1 1 b 2 2 a 1 5 s 1 1 a x 1 b 3 y a 2 2",
                &format!(
                    "*8 :1 -ERR TSDB: the key does not exist :2 {BLOCKED} -ERR TSDB: the key is not a TSDB key \
                     -ERR TSDB: invalid timestamp -ERR TSDB: invalid value :2"
                ),
            ),
            ("TS.RANGE a - +", "*2 *2 :1 +1 *2 :2 +2"),
            (
                "TS.MADD a 1",
                "-ERR wrong number of arguments for 'ts.madd' command",
            ),
        ],
    );
    let defaults = SeriesDefaults {
        madd_creates: true,
        ..SeriesDefaults::default()
    };
    partition.settings.series_defaults.store(Arc::new(defaults));
    check(
        &mut partition,
        &[("TS.MADD nope 1 1", "*1 :1"), ("TS.GET nope", "*2 :1 +1")],
    );
}

#[test]
fn increments_go_on_from_the_last_value() {
    let mut partition = test_partition();
    run(&mut partition, "SET s 1");
    check(
        &mut partition,
        &[
            ("TS.INCRBY k 5 TIMESTAMP 100", ":100"),
            ("TS.INCRBY k 2.5 TIMESTAMP 100", ":100"),
            ("TS.DECRBY k 1 TIMESTAMP 200", ":200"),
            ("TS.RANGE k - +", "*2 *2 :100 +7.5 *2 :200 +6.5"),
            (
                "TS.INCRBY k 1 TIMESTAMP 199",
                "-TSDB: timestamp must be equal to or higher than the maximum existing timestamp",
            ),
            ("TS.INCRBY k x", "-ERR TSDB: invalid increase/decrease value"),
            ("TS.INCRBY k 1 TIMESTAMP", "-ERR TSDB: invalid timestamp"),
            ("TS.ADD k 300 nan", ":300"),
            ("TS.INCRBY k 1", "-ERR TSDB: cannot increment/decrement NaN value"),
            ("TS.INCRBY new 1 TIMESTAMP 5 RETENTION 7 LABELS a b", ":5"),
            (
                "TS.INCRBY s 1",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
    );
    assert_eq!(run_at(&mut partition, 400, "TS.INCRBY fresh 1"), ":400");
}

#[test]
fn series_are_created_and_altered() {
    let mut partition = test_partition();
    run(&mut partition, "SET s 1");
    check(
        &mut partition,
        &[
            ("TS.CREATE k RETENTION 5 LABELS a 1 b 2", "+OK"),
            ("TS.CREATE k", "-ERR TSDB: key already exists"),
            ("TS.CREATE s", "-ERR TSDB: key already exists"),
            (
                "TS.CREATE bad CHUNK_SIZE 50",
                "-ERR TSDB: CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]",
            ),
            ("EXISTS bad", ":0"),
            ("TS.GET k", "*0"),
            ("TS.RANGE k - +", "*0"),
            ("TS.ALTER nope RETENTION 5", "-ERR TSDB: the key does not exist"),
            ("TS.ALTER k", "+OK"),
            ("TS.ALTER k LABELS", "+OK"),
        ],
    );
    let (place, _) = partition.find_plain_series(b"k", NOW_MS).ok().flatten().unwrap();
    let properties = partition.properties(place).unwrap();
    assert_eq!((properties.labels.len(), properties.retention), (0, Some(5)));
}
