//! Options of ranges: every option, every refusal, positions and orders.

use super::*;
use crate::command::ts::aggregation::Width;
use crate::command::ts::test_args::{NOW, with_args};

fn range(options: &str) -> Result<RangeOptions, Refusal> {
    bounded(&format!("1000 2000 {options}"))
}

fn bounded(rest: &str) -> Result<RangeOptions, Refusal> {
    let line = format!("TS.RANGE k {rest}");
    with_args(line.trim_end(), |args| {
        parse_range(args, RangeCommand::Range, NOW)
    })
}

fn multi(rest: &str) -> Result<MultiRange, Refusal> {
    let line = format!("TS.MRANGE 1000 2000 {rest}");
    with_args(line.trim_end(), |args| {
        parse_multi_range(args, RangeCommand::MRange, NOW)
    })
}

fn numbered(rest: &str) -> Result<NumberedRange, Refusal> {
    let line = format!("TS.NRANGE {rest}");
    with_args(line.trim_end(), |args| {
        parse_numbered_range(args, RangeCommand::NRange, NOW)
    })
}

fn aggregation(options: &str) -> Aggregation {
    range(options).unwrap().aggregation.unwrap()
}

#[test]
fn all_options_of_a_range_are_read() {
    let options = range(
        "LATEST FILTER_BY_TS 30 10 20 10 FILTER_BY_VALUE -inf 5.5 FILTER_BY_QUALITY 0 192 COUNT 7 ALIGN \
            start \
         AGGREGATION min,max 1m BUCKETTIMESTAMP mid EMPTY",
    )
    .unwrap();
    assert_eq!(
        (options.bounds.from.timestamp, options.bounds.to.timestamp),
        (1000, 2000)
    );
    assert!(options.latest && !options.with_quality);
    assert_eq!(options.timestamps, Some(vec![10, 20, 30]));
    assert_eq!(options.values, Some((f64::NEG_INFINITY, 5.5)));
    assert_eq!(options.qualities, Some((0, 192)));
    assert_eq!(options.count, Some(7));
    let aggregation = options.aggregation.unwrap();
    assert_eq!(
        aggregation.aggregators(),
        [Aggregator::Minimum, Aggregator::Maximum]
    );
    assert_eq!(aggregation.bucket.width, Width::Fixed(60_000));
    assert_eq!(
        (aggregation.align, aggregation.bucket_timestamp, aggregation.empty),
        (Align::Start, BucketTimestamp::Middle, true)
    );
}

#[test]
fn bounds_may_be_open_or_relative() {
    let open = bounded("- +").unwrap().bounds;
    assert!(open.from.is_open && open.to.is_open);
    assert_eq!((open.from.timestamp, open.to.timestamp), (0, i64::MAX));
    let relative = bounded("-1h now").unwrap().bounds;
    assert_eq!(
        (relative.from.timestamp, relative.to.timestamp),
        (6_400_000, 10_000_000)
    );
    assert_eq!(bounded("x +"), Err(texts::FROM));
    assert_eq!(bounded("-1 +"), Err(texts::FROM));
    assert_eq!(bounded("- x"), Err(texts::TO));
}

#[test]
fn unknown_words_are_passed_over_and_the_first_occurrence_counts() {
    let grafana = range("5000 COUNT 3 foo COUNT 9").unwrap();
    assert_eq!((grafana.count, grafana.aggregation), (Some(3), None));
    let filters = range("FILTER_BY_TS 5 x 7").unwrap();
    assert_eq!(filters.timestamps, Some(vec![5]));
    let in_order = range("COUNT 1 LATEST").unwrap();
    assert!(in_order.latest);
    assert_eq!(range("EMPTY BUCKETTIMESTAMP what").unwrap().aggregation, None);
    assert!(
        range("FILTER a=b GROUPBY x EXCLUDEEMPTY").is_ok(),
        "no options of TS.RANGE"
    );
}

#[test]
fn more_timestamps_than_redis_time_series_takes() {
    let list: Vec<String> = (0..300).map(|timestamp| timestamp.to_string()).collect();
    let options = range(&format!("FILTER_BY_TS {}", list.join(" "))).unwrap();
    assert_eq!(options.timestamps.map(|timestamps| timestamps.len()), Some(300));
}

#[test]
fn aggregators_called_like_options_are_aggregators() {
    let counted = range("AGGREGATION count 10 COUNT 5").unwrap();
    assert_eq!(counted.count, Some(5));
    assert_eq!(
        aggregation("AGGREGATION count 10").aggregators(),
        [Aggregator::Count]
    );
}

#[test]
fn empty_and_bucket_timestamp_stand_behind_the_bucket() {
    for (options, which, empty) in [
        ("AGGREGATION avg 10", BucketTimestamp::Start, false),
        ("AGGREGATION avg 10 EMPTY", BucketTimestamp::Start, true),
        (
            "AGGREGATION avg 10 BUCKETTIMESTAMP +",
            BucketTimestamp::End,
            false,
        ),
        (
            "AGGREGATION avg 10 BUCKETTIMESTAMP ~ EMPTY",
            BucketTimestamp::Middle,
            true,
        ),
        (
            "AGGREGATION avg 10 EMPTY BUCKETTIMESTAMP END",
            BucketTimestamp::End,
            true,
        ),
        (
            "AGGREGATION avg 10 buckettimestamp - empty COUNT 5",
            BucketTimestamp::Start,
            true,
        ),
        (
            "AGGREGATION avg 1d TZ Asia/Shanghai BUCKETTIMESTAMP end EMPTY",
            BucketTimestamp::End,
            true,
        ),
    ] {
        let aggregation = aggregation(options);
        assert_eq!(
            (aggregation.bucket_timestamp, aggregation.empty),
            (which, empty),
            "{options}"
        );
    }
    for options in [
        "EMPTY AGGREGATION avg 10",
        "AGGREGATION avg 10 COUNT 5 x EMPTY",
        "AGGREGATION avg 10 LATEST EMPTY",
    ] {
        assert_eq!(range(options), Err(texts::EMPTY_PLACE), "{options}");
    }
    for options in [
        "BUCKETTIMESTAMP mid AGGREGATION avg 10",
        "AGGREGATION avg 10 COUNT 5 BUCKETTIMESTAMP mid",
    ] {
        assert_eq!(range(options), Err(texts::BUCKET_TIMESTAMP_PLACE), "{options}");
    }
}

#[test]
fn alignment_needs_explicit_ends() {
    assert_eq!(aggregation("ALIGN 7 AGGREGATION avg 10").align, Align::At(7));
    assert_eq!(aggregation("AGGREGATION avg 10 ALIGN +").align, Align::End);
    assert_eq!(aggregation("AGGREGATION avg 10").align, Align::Epoch);
    assert_eq!(range("ALIGN 7"), Err(texts::ALIGN_ALONE));
    for align in ["-", "start"] {
        let options = format!("- 2000 ALIGN {align} AGGREGATION avg 10");
        assert_eq!(bounded(&options), Err(texts::ALIGN_OPEN_START));
    }
    for align in ["+", "end"] {
        let options = format!("1000 + ALIGN {align} AGGREGATION avg 10");
        assert_eq!(bounded(&options), Err(texts::ALIGN_OPEN_END));
    }
    assert!(bounded("- 2000 ALIGN end AGGREGATION avg 10").is_ok());
    assert!(bounded("- + ALIGN 0 AGGREGATION avg 10").is_ok());
}

#[test]
fn every_refusal_has_its_text() {
    for (options, text) in [
        ("COUNT", "ERR TSDB: COUNT argument is missing"),
        ("COUNT x", "ERR TSDB: Couldn't parse COUNT"),
        ("COUNT 0", "ERR TSDB: Invalid COUNT value"),
        ("COUNT -1", "ERR TSDB: Invalid COUNT value"),
        ("ALIGN", "ERR wrong number of arguments for 'ts.range' command"),
        ("ALIGN x AGGREGATION avg 10", "ERR TSDB: unknown ALIGN parameter"),
        (
            "AGGREGATION avg 10 BUCKETTIMESTAMP x",
            "ERR TSDB: unknown BUCKETTIMESTAMP parameter",
        ),
        (
            "AGGREGATION avg 10 BUCKETTIMESTAMP",
            "ERR wrong number of arguments for 'ts.range' command",
        ),
        ("AGGREGATION", "ERR TSDB: Couldn't parse AGGREGATION"),
        ("AGGREGATION avg", "ERR TSDB: Couldn't parse AGGREGATION"),
        ("AGGREGATION foo 5", "ERR TSDB: Unknown aggregation type"),
        (
            "AGGREGATION avg 0",
            "ERR TSDB: bucketDuration must be greater than zero",
        ),
        (
            "FILTER_BY_VALUE",
            "ERR TSDB: FILTER_BY_VALUE one or more arguments are missing",
        ),
        (
            "FILTER_BY_VALUE 1",
            "ERR TSDB: FILTER_BY_VALUE one or more arguments are missing",
        ),
        ("FILTER_BY_VALUE x 1", "ERR TSDB: Couldn't parse MIN"),
        ("FILTER_BY_VALUE 1 x", "ERR TSDB: Couldn't parse MAX"),
        (
            "FILTER_BY_TS",
            "ERR TSDB: FILTER_BY_TS one or more arguments are missing",
        ),
        (
            "FILTER_BY_TS COUNT 5",
            "ERR TSDB: FILTER_BY_TS one or more arguments are missing",
        ),
        (
            "FILTER_BY_QUALITY 1",
            "ERR TSDB: FILTER_BY_QUALITY one or more arguments are missing",
        ),
        (
            "FILTER_BY_QUALITY 1 256",
            "ERR TSDB: Couldn't parse FILTER_BY_QUALITY, must be 0 to 255",
        ),
        (
            "WITHQUALITY AGGREGATION avg 10",
            "ERR TSDB: WITHQUALITY is not allowed with AGGREGATION or GROUPBY",
        ),
    ] {
        assert_eq!(range(options).unwrap_err().to_string(), text, "{options}");
    }
}

#[test]
fn several_series_are_filtered_labelled_and_grouped() {
    let all = multi("WITHLABELS COUNT 5 EXCLUDEEMPTY FILTER a=b c!=d").unwrap();
    assert_eq!((all.labels, all.exclude_empty), (LabelChoice::All, true));
    assert_eq!((all.filter.matchers().len(), all.range.count), (2, Some(5)));
    assert_eq!(all.group, None);
    let grouped = multi("SELECTED_LABELS x y AGGREGATION avg 10 FILTER a=b GROUPBY c reduce MAX").unwrap();
    assert_eq!(
        grouped.group,
        Some(Group {
            label: b"c"[..].into(),
            reducer: Aggregator::Maximum
        })
    );
    assert!(matches!(grouped.labels, LabelChoice::Selected(labels) if labels.len() == 2));
    assert!(grouped.range.aggregation.is_some());
    for reducer in [
        "sum", "min", "range", "count", "avg", "std.p", "var.s", "countnan", "countall",
    ] {
        assert!(
            multi(&format!("FILTER a=b GROUPBY c REDUCE {reducer}")).is_ok(),
            "{reducer}"
        );
    }
}

#[test]
fn every_refusal_about_several_series_has_its_text() {
    let arity = "ERR wrong number of arguments for 'ts.mrange' command";
    for (options, text) in [
        ("", "ERR TSDB: missing FILTER argument"),
        ("WITHLABELS", "ERR TSDB: missing FILTER argument"),
        ("FILTER", "ERR TSDB: missing labels for filter argument"),
        (
            "FILTER GROUPBY c REDUCE max",
            "ERR TSDB: missing labels for filter argument",
        ),
        ("FILTER a", "ERR TSDB: failed parsing labels"),
        ("FILTER a=b EXCLUDEEMPTY", "ERR TSDB: failed parsing labels"),
        ("FILTER a=b COUNT 5", "ERR TSDB: failed parsing labels"),
        ("FILTER a!=b", "ERR TSDB: please provide at least one matcher"),
        (
            "GROUPBY c REDUCE max FILTER a=b",
            "ERR TSDB: GROUPBY should always come after filter",
        ),
        ("GROUPBY c REDUCE max", "ERR TSDB: missing FILTER argument"),
        (
            "WITHLABELS SELECTED_LABELS a FILTER a=b",
            "ERR TSDB: cannot accept WITHLABELS and SELECT_LABELS together",
        ),
        (
            "SELECTED_LABELS FILTER a=b",
            "ERR TSDB: SELECT_LABELS should have at least 1 parameter",
        ),
        ("FILTER a=b GROUPBY", arity),
        ("FILTER a=b GROUPBY c", arity),
        ("FILTER a=b GROUPBY c REDUCE", arity),
        ("FILTER a=b GROUPBY c REDUCE max x", arity),
        ("FILTER a=b GROUPBY c SHRINK max", arity),
        (
            "FILTER a=b GROUPBY c REDUCE bogus",
            "ERR TSDB: Invalid reducer type",
        ),
        (
            "FILTER a=b GROUPBY c REDUCE first",
            "ERR TSDB: Invalid reducer type",
        ),
        (
            "FILTER a=b GROUPBY c REDUCE last",
            "ERR TSDB: Invalid reducer type",
        ),
        (
            "FILTER a=b GROUPBY c REDUCE twa",
            "ERR TSDB: Invalid reducer type",
        ),
        (
            "AGGREGATION min,max 10 FILTER a=b GROUPBY c REDUCE max",
            "ERR TSDB: GROUPBY is not allowed when multiple aggregators are specified",
        ),
        (
            "EXCLUDEEMPTY FILTER a=b GROUPBY c REDUCE max",
            "ERR TSDB: EXCLUDEEMPTY is not allowed with GROUPBY",
        ),
        (
            "WITHQUALITY FILTER a=b GROUPBY c REDUCE max",
            "ERR TSDB: WITHQUALITY is not allowed with AGGREGATION or GROUPBY",
        ),
    ] {
        assert_eq!(multi(options).unwrap_err().to_string(), text, "{options}");
    }
}

#[test]
fn numbered_keys_share_a_bucket() {
    let two = numbered("2 a b - + AGGREGATION avg min,max 10 BUCKETTIMESTAMP end EMPTY").unwrap();
    assert_eq!(two.keys, 2..4);
    let aggregation = two.range.aggregation.unwrap();
    assert_eq!(aggregation.lists.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(
        (aggregation.bucket_timestamp, aggregation.empty),
        (BucketTimestamp::End, true)
    );
    assert_eq!(numbered("1 a 5 9 COUNT 3").unwrap().range.count, Some(3));
    let arity = "ERR wrong number of arguments for 'ts.nrange' command";
    for (line, text) in [
        ("0 a - +", "ERR TSDB: numkeys must be a positive integer"),
        ("-1 a - +", "ERR TSDB: numkeys must be a positive integer"),
        ("x a - +", "ERR TSDB: numkeys must be a positive integer"),
        ("3 a - +", arity),
        ("18446744073709551615 a - +", arity),
        ("1 a b - +", "ERR TSDB: wrong fromTimestamp"),
        (
            "2 a b - + AGGREGATION avg 10",
            "ERR TSDB: the number of AGGREGATION arguments must be equal to numkeys",
        ),
        (
            "2 a b - + AGGREGATION avg avg avg 10",
            "ERR TSDB: the number of AGGREGATION arguments must be equal to numkeys",
        ),
    ] {
        assert_eq!(numbered(line).unwrap_err().to_string(), text, "{line}");
    }
}

#[test]
fn commands_know_their_names_and_directions() {
    use RangeCommand::{MRange, MRevRange, NRange, NRevRange, Range, RevRange};
    let reverse: Vec<&str> = [Range, RevRange, MRange, MRevRange, NRange, NRevRange]
        .into_iter()
        .filter(|command| command.is_reverse())
        .map(RangeCommand::lower_name)
        .collect();
    assert_eq!(reverse, ["ts.revrange", "ts.mrevrange", "ts.nrevrange"]);
}
