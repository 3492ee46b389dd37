//! Arguments of the other reading commands: every form and every refusal.

use super::*;
use crate::command::ts::aggregation::Width;
use crate::command::ts::test_args::{NOW, with_args};

fn text<T>(result: Result<T, Refusal>) -> String {
    match result {
        Ok(_) => "OK".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

fn wrong(lower_name: &str) -> String {
    format!("ERR wrong number of arguments for '{lower_name}' command")
}

#[test]
fn read_has_a_cursor_and_may_block() {
    let read = |line: &str| with_args(line, parse_read);
    for (cursor, expected) in [
        ("-", ReadCursor::First),
        ("+", ReadCursor::Last),
        ("$", ReadCursor::BehindLast),
        ("7", ReadCursor::At(7)),
    ] {
        let options = read(&format!("TS.READ k {cursor}")).unwrap();
        assert_eq!(
            (options.cursor, options.block, options.max_count),
            (expected, None, None)
        );
    }
    let block = Some(ReadBlock {
        timeout_ms: 1500,
        min_count: 3,
    });
    for line in [
        "TS.READ k 5 BLOCK 1500 3 MAX_COUNT 9",
        "TS.READ k 5 max_count 9 block 1500ms 3",
    ] {
        let options = read(line).unwrap();
        assert_eq!((options.block, options.max_count), (block, Some(9)), "{line}");
    }
    assert_eq!(
        read("TS.READ k 5 BLOCK 0 1").unwrap().block.unwrap().timeout_ms,
        0
    );
    assert!(read("TS.READ k 5 BLOCK 0 9 MAX_COUNT 9").is_ok());
}

#[test]
fn read_refuses_without_err() {
    let wrong = wrong("ts.read");
    for (rest, expected) in [
        ("x", "TSDB: invalid timestamp"),
        ("-1", "TSDB: invalid timestamp"),
        ("*", "TSDB: invalid timestamp"),
        (
            "5 BLOCK x 1",
            "TSDB: BLOCK milliseconds must be a non-negative integer",
        ),
        (
            "5 BLOCK -1 1",
            "TSDB: BLOCK milliseconds must be a non-negative integer",
        ),
        ("5 BLOCK 1 0", "TSDB: BLOCK min_count must be a positive integer"),
        (
            "5 BLOCK 1 x",
            "TSDB: BLOCK milliseconds must be a non-negative integer",
        ),
        ("x MAX_COUNT 0", "TSDB: MAX_COUNT must be a positive integer"),
        ("5 BLOCK 10", &wrong),
        ("5 MAX_COUNT 0", "TSDB: MAX_COUNT must be a positive integer"),
        ("5 MAX_COUNT x", "TSDB: MAX_COUNT must be a positive integer"),
        (
            "5 BLOCK 1 5 MAX_COUNT 4",
            "TSDB: BLOCK min_count must be <= MAX_COUNT",
        ),
        ("5 BLOCK", &wrong),
        ("5 FOO 1", &wrong),
        ("5 BLOCK 1 1 MAX_COUNT", &wrong),
        ("5 MAX_COUNT 1 MAX_COUNT 2 x", &wrong),
    ] {
        let line = format!("TS.READ k {rest}");
        assert_eq!(text(with_args(&line, parse_read)), expected, "{rest}");
    }
}

#[test]
fn labels_are_queried_by_name_or_value() {
    let query = |line: &str| with_args(line, parse_query_labels);
    let names = query("TS.QUERYLABELS labels").unwrap();
    assert!(names.values_of.is_none() && names.filter.is_none());
    let values = query("TS.QUERYLABELS VALUES FILTER FILTER a=b").unwrap();
    assert_eq!(values.values_of.as_deref(), Some(&b"FILTER"[..]));
    assert_eq!(values.filter.unwrap().matchers().len(), 1);
    for (rest, expected) in [
        ("FOO", "ERR TSDB: unknown subtype, must be one of LABELS|VALUES"),
        ("VALUES", &*wrong("ts.querylabels")),
        ("LABELS FOO", "ERR TSDB: unknown argument, expected FILTER"),
        ("VALUES a FOO a=b", "ERR TSDB: unknown argument, expected FILTER"),
        (
            "LABELS FILTER",
            "ERR TSDB: FILTER given with no filter expressions",
        ),
        ("LABELS FILTER a", "ERR TSDB: failed parsing labels"),
        (
            "LABELS FILTER a!=b",
            "ERR TSDB: please provide at least one matcher",
        ),
    ] {
        assert_eq!(text(query(&format!("TS.QUERYLABELS {rest}"))), expected, "{rest}");
    }
}

#[test]
fn rules_have_one_aggregator_and_a_bucket() {
    let rule = |rest: &str| {
        with_args(&format!("TS.CREATERULE {rest}"), |args| {
            parse_create_rule(args, NOW)
        })
    };
    let plain = rule("a b AGGREGATION avg 60000").unwrap();
    assert_eq!(
        (plain.aggregator, plain.bucket.width),
        (Aggregator::Average, Width::Fixed(60_000))
    );
    assert_eq!((plain.align, plain.backfill), (0, false));
    let aligned = rule("a b aggregation MAX 1h 500").unwrap();
    assert_eq!(
        (aligned.align, aligned.bucket.width),
        (500, Width::Fixed(3_600_000))
    );
    for rest in [
        "a b AGGREGATION max 1d TZ Asia/Shanghai 5 BACKFILL",
        "a b AGGREGATION max 1d TZ Asia/Shanghai BACKFILL 5",
    ] {
        let all = rule(rest).unwrap();
        assert_eq!((all.align, all.backfill), (5, true), "{rest}");
        assert!(all.bucket.zone.is_some());
    }
    let wrong = wrong("ts.createrule");
    for (rest, expected) in [
        ("a b AGGREGATION avg", &*wrong),
        ("a b FOO avg 5", &wrong),
        ("a b AGGREGATION avg 5 6 7", &wrong),
        ("a b AGGREGATION avg x", "ERR TSDB: Couldn't parse AGGREGATION"),
        ("a b AGGREGATION foo 5", "ERR TSDB: Unknown aggregation type"),
        ("a b AGGREGATION '' 5", "ERR TSDB: Unknown aggregation type"),
        (
            "a b AGGREGATION avg 0",
            "ERR TSDB: bucketDuration must be greater than zero",
        ),
        (
            "a b AGGREGATION avg,min 5",
            "ERR TSDB: CREATERULE requires exactly one aggregation type",
        ),
        (
            "a b AGGREGATION avg 5 x",
            "ERR TSDB: Couldn't parse alignTimestamp",
        ),
        (
            "a b AGGREGATION avg 5 -1",
            "ERR TSDB: alignTimestamp should be greater or equal to 0",
        ),
        (
            "a a AGGREGATION avg 5",
            "ERR TSDB: the source key and destination key should be different",
        ),
    ] {
        assert_eq!(text(rule(rest)), expected, "{rest}");
    }
}

#[test]
fn single_words_are_checked() {
    assert_eq!(with_args("TS.GET k", parse_get), Ok(false));
    assert_eq!(with_args("TS.GET k latest", parse_get), Ok(true));
    assert_eq!(
        text(with_args("TS.GET k x", parse_get)),
        "ERR TSDB: wrong 3rd argument"
    );
    assert_eq!(text(with_args("TS.GET k LATEST x", parse_get)), wrong("ts.get"));
    assert_eq!(text(with_args("TS.GET k x y", parse_get)), wrong("ts.get"));
    assert_eq!(with_args("TS.INFO k", parse_info), Ok(false));
    assert_eq!(with_args("TS.INFO k debug", parse_info), Ok(true));
    assert_eq!(with_args("TS.INFO k x", parse_info), Ok(false));
    assert_eq!(text(with_args("TS.INFO k DEBUG x", parse_info)), wrong("ts.info"));
}

#[test]
fn mget_has_a_filter() {
    let mget = |rest: &str| with_args(&format!("TS.MGET {rest}"), parse_mget);
    let all = mget("LATEST WITHLABELS FILTER a=b c!=d").unwrap();
    assert_eq!(
        (all.latest, all.labels, all.filter.matchers().len()),
        (true, LabelChoice::All, 2)
    );
    let selected = mget("SELECTED_LABELS x y FILTER a=b").unwrap();
    assert!(!selected.latest && matches!(selected.labels, LabelChoice::Selected(_)));
    let wrong = wrong("ts.mget");
    for (rest, expected) in [
        ("WITHLABELS x", &*wrong),
        (
            "WITHLABELS FILTER",
            "ERR TSDB: please provide at least one matcher",
        ),
        ("FILTER a", "ERR TSDB: failed parsing labels"),
        ("FILTER a=", "ERR TSDB: please provide at least one matcher"),
        (
            "WITHLABELS SELECTED_LABELS x FILTER a=b",
            "ERR TSDB: cannot accept WITHLABELS and SELECT_LABELS together",
        ),
    ] {
        assert_eq!(text(mget(rest)), expected, "{rest}");
    }
}

#[test]
fn values_are_read_at_a_point_in_time() {
    let at = |rest: &str| with_args(&format!("TS.GETAT {rest}"), |args| parse_get_at(args, NOW));
    assert_eq!(
        at("k 500 prev"),
        Ok(ValueAt {
            timestamp: 500,
            nearness: Nearness::Previous,
            tolerance: None
        })
    );
    let near = at("k -1h NEAREST TOLERANCE 5s").unwrap();
    assert_eq!(
        (near.timestamp, near.nearness, near.tolerance),
        (6_400_000, Nearness::Nearest, Some(5_000))
    );
    let direction = "ERR TSDB: unknown direction, must be one of PREV|NEXT|NEAREST";
    for (rest, expected) in [
        ("k 5", &*wrong("ts.getat")),
        ("k x NEXT", "ERR TSDB: invalid timestamp"),
        ("k 5 LATER", direction),
        ("k 5 NEXT TOLERANCE", "ERR TSDB: Couldn't parse TOLERANCE"),
        ("k 5 NEXT TOLERANCE -1", "ERR TSDB: Couldn't parse TOLERANCE"),
        ("k 5 NEXT FOO", "ERR syntax error"),
    ] {
        assert_eq!(text(at(rest)), expected, "{rest}");
    }
    let mget_at = |rest: &str| with_args(&format!("TS.MGETAT {rest}"), |args| parse_mget_at(args, NOW));
    let all = mget_at("5 NEXT TOLERANCE 7 SELECTED_LABELS x FILTER a=b").unwrap();
    assert_eq!(
        (all.value_at.tolerance, all.value_at.nearness),
        (Some(7), Nearness::Next)
    );
    for (rest, expected) in [
        ("5", &*wrong("ts.mgetat")),
        ("5 NEXT WITHLABELS", &*wrong("ts.mgetat")),
        ("5 NEXT FOO FILTER a=b", "ERR syntax error"),
        ("5 FOO FILTER a=b", direction),
        (
            "5 NEXT FILTER a!=b",
            "ERR TSDB: please provide at least one matcher",
        ),
    ] {
        assert_eq!(text(mget_at(rest)), expected, "{rest}");
    }
}

#[test]
fn joins_and_deletions_have_bounds() {
    let join = |rest: &str| with_args(&format!("TS.JOIN {rest}"), |args| parse_join(args, NOW));
    let plain = join("a b - 9").unwrap();
    assert_eq!(
        (plain.bounds.to.timestamp, plain.as_of, plain.tolerance),
        (9, None, None)
    );
    let near = join("a b - + TOLERANCE 1s ASOF previous").unwrap();
    assert_eq!(
        (near.as_of, near.tolerance),
        (Some(Nearness::Previous), Some(1_000))
    );
    for (rest, expected) in [
        ("a b x +", "ERR TSDB: wrong fromTimestamp"),
        ("a b - x", "ERR TSDB: wrong toTimestamp"),
        (
            "a b - + ASOF",
            "ERR TSDB: unknown direction, must be one of PREV|NEXT|NEAREST",
        ),
        ("a b - + TOLERANCE 5", "ERR syntax error"),
        (
            "a b - + ASOF PREV TOLERANCE x",
            "ERR TSDB: Couldn't parse TOLERANCE",
        ),
        ("a b - + FOO", "ERR syntax error"),
    ] {
        assert_eq!(text(join(rest)), expected, "{rest}");
    }
    let delete = |rest: &str| with_args(&format!("TS.MDEL {rest}"), |args| parse_multi_delete(args, NOW));
    let (bounds, filter) = delete("5 + FILTER a=b").unwrap();
    assert_eq!(
        (bounds.from.timestamp, bounds.to.is_open, filter.matchers().len()),
        (5, true, 1)
    );
    for (rest, expected) in [
        ("x + FILTER a=b", "ERR TSDB: wrong fromTimestamp"),
        ("- x FILTER a=b", "ERR TSDB: wrong toTimestamp"),
        ("- + a=b", "ERR TSDB: missing FILTER argument"),
        ("- + FILTER", "ERR TSDB: missing labels for filter argument"),
        ("- + FILTER a!=b", "ERR TSDB: please provide at least one matcher"),
    ] {
        assert_eq!(text(delete(rest)), expected, "{rest}");
    }
}
