//! Options of a series: every option, every refusal, and labels between them.

use super::*;
use crate::command::ts::test_args::{NOW, with_args};

fn parse(command: SeriesCommand, line: &str) -> Result<SeriesOptions, Refusal> {
    with_args(line, |args| SeriesOptions::parse(args, 0, command, NOW))
}

fn add(line: &str) -> SeriesOptions {
    parse(SeriesCommand::Add, line).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Option<Vec<Label>> {
    let boxed = |text: &str| Box::from(text.as_bytes());
    Some(
        pairs
            .iter()
            .map(|(name, value)| (boxed(name), boxed(value)))
            .collect(),
    )
}

#[test]
fn every_option_is_read_in_any_order_and_case() {
    let all = SeriesOptions {
        retention: Some(3_600_000),
        encoding: Some(Encoding::Uncompressed),
        chunk_size_bytes: Some(128),
        duplicate_policy: Some(DuplicatePolicy::Max),
        on_duplicate: Some(DuplicatePolicy::Last),
        ignore: Some(Ignore {
            max_time_difference: 5_000,
            max_value_difference: 0.5,
        }),
        labels: labels(&[("a", "b"), ("c", "d")]),
        timestamp: None,
    };
    for line in [
        "RETENTION 3600000 ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY MAX ON_DUPLICATE LAST \
            IGNORE 5000 \
         0.5 LABELS a b c d",
        "ignore 5s 0.5 on_duplicate last duplicate_policy max chunk_size 128 encoding uncompressed \
            retention 1h \
         labels a b c d",
        "LABELS a b c d RETENTION 1h ENCODING UNCOMPRESSED CHUNK_SIZE 128 DUPLICATE_POLICY MAX IGNORE 5s 0.5 \
         ON_DUPLICATE LAST",
    ] {
        assert_eq!(add(line), all, "{line}");
    }
    assert_eq!(with_args("x", |args| args.len()), 1);
}

#[test]
fn clients_put_options_behind_the_labels() {
    let options = add("RETENTION 5 LABELS a b IGNORE 1 1 ON_DUPLICATE last");
    assert_eq!(options.labels, labels(&[("a", "b")]));
    assert_eq!(options.on_duplicate, Some(DuplicatePolicy::Last));
    assert_eq!(options.ignore.unwrap().max_time_difference, 1);
    let options = add("LABELS a b ON_DUPLICATE last IGNORE 1 1");
    assert_eq!(options.labels, labels(&[("a", "b")]));
    assert!(options.on_duplicate.is_some() && options.ignore.is_some());
    let lower = add("labels a b on_duplicate last");
    assert_eq!(lower.labels, labels(&[("a", "b")]));
    assert_eq!(lower.on_duplicate, Some(DuplicatePolicy::Last));
    let odd = add("LABELS a b c ON_DUPLICATE last");
    assert_eq!(
        odd.labels,
        labels(&[("a", "b"), ("c", "ON_DUPLICATE")]),
        "c takes it as its value"
    );
    let legacy = add("LABELS a b UNCOMPRESSED");
    assert_eq!(legacy.encoding, Some(Encoding::Uncompressed));
    assert_eq!(
        parse(SeriesCommand::Add, "LABELS a b ON_DUPLICATE bogus"),
        Err(texts::DUPLICATE_POLICY_UNKNOWN)
    );
}

#[test]
fn labels_may_be_called_like_options() {
    for (line, expected) in [
        ("LABELS retention 5", labels(&[("retention", "5")])),
        ("LABELS a retention", labels(&[("a", "retention")])),
        (
            "LABELS a RETENTION b IGNORE",
            labels(&[("a", "RETENTION"), ("b", "IGNORE")]),
        ),
        ("LABELS RETENTION long", labels(&[("RETENTION", "long")])),
        ("LABELS IGNORE 1", labels(&[("IGNORE", "1")])),
        ("LABELS ENCODING utf8", labels(&[("ENCODING", "utf8")])),
        ("LABELS TIMESTAMP 5", labels(&[("TIMESTAMP", "5")])),
        ("LABELS LABELS x", labels(&[("LABELS", "x")])),
        ("LABELS COMPRESSED yes", labels(&[("COMPRESSED", "yes")])),
    ] {
        let options = add(line);
        assert_eq!(options.labels, expected, "{line}");
        assert_eq!((options.retention, options.ignore), (None, None), "{line}");
    }
}

#[test]
fn labels_have_names_and_values() {
    assert_eq!(add("LABELS").labels, labels(&[]));
    assert_eq!(add("LABELS a").labels, labels(&[]));
    assert_eq!(add("LABELS a b c").labels, labels(&[("a", "b")]));
    let twice = add("LABELS a b c d a e");
    assert_eq!(twice.labels, labels(&[("a", "b"), ("c", "d")]));
    assert_eq!(add("RETENTION 5").labels, None);
    assert_eq!(add("LABELS a(b c=d").labels, labels(&[("a(b", "c=d")]));
    for line in [
        "LABELS a ''",
        "LABELS '' b",
        "LABELS a x(",
        "LABELS a x)",
        "LABELS a x,y",
        "LABELS a b c ''",
    ] {
        assert_eq!(parse(SeriesCommand::Create, line), Err(texts::LABELS), "{line}");
    }
}

#[test]
fn first_occurrence_wins_and_unknown_words_are_passed_over() {
    let options = add("foo RETENTION 5 bar RETENTION 7 DUPLICATE_POLICY min DUPLICATE_POLICY max");
    assert_eq!(options.retention, Some(5));
    assert_eq!(options.duplicate_policy, Some(DuplicatePolicy::Min));
    assert_eq!(
        parse(SeriesCommand::Create, "ON_DUPLICATE bogus"),
        Ok(SeriesOptions::default())
    );
    assert_eq!(
        parse(SeriesCommand::Create, "TIMESTAMP bogus"),
        Ok(SeriesOptions::default())
    );
}

#[test]
fn increments_carry_a_timestamp() {
    for (line, expected) in [
        ("TIMESTAMP 7", 7),
        ("TIMESTAMP *", 10_000_000),
        ("timestamp 7 LABELS a b", 7),
    ] {
        let options = parse(SeriesCommand::IncrBy, line).unwrap();
        assert_eq!(options.timestamp, Some(expected), "{line}");
    }
    let options = parse(SeriesCommand::DecrBy, "UNCOMPRESSED TIMESTAMP 9").unwrap();
    assert_eq!(
        (options.timestamp, options.encoding),
        (Some(9), Some(Encoding::Uncompressed))
    );
    for (line, refusal) in [
        ("TIMESTAMP", texts::INVALID_TIMESTAMP),
        ("TIMESTAMP x", texts::INVALID_TIMESTAMP),
        ("TIMESTAMP -1", texts::NEGATIVE_TIMESTAMP),
    ] {
        assert_eq!(parse(SeriesCommand::IncrBy, line), Err(refusal), "{line}");
    }
}

#[test]
fn every_refusal_has_its_text() {
    for (line, text) in [
        ("RETENTION", "ERR TSDB: Couldn't parse RETENTION"),
        ("RETENTION x", "ERR TSDB: Couldn't parse RETENTION"),
        ("RETENTION 1.5", "ERR TSDB: Couldn't parse RETENTION"),
        ("RETENTION -1", "TSDB: Couldn't parse RETENTION"),
        (
            "ENCODING",
            "ERR wrong number of arguments for 'ts.create' command",
        ),
        ("ENCODING zip", "ERR TSDB: unknown ENCODING parameter"),
        ("CHUNK_SIZE", "ERR TSDB: Couldn't parse CHUNK_SIZE"),
        ("CHUNK_SIZE x", "ERR TSDB: Couldn't parse CHUNK_SIZE"),
        ("DUPLICATE_POLICY", "ERR TSDB: Couldn't parse DUPLICATE_POLICY"),
        ("DUPLICATE_POLICY x", "ERR TSDB: Unknown DUPLICATE_POLICY"),
        ("IGNORE", "ERR TSDB: Couldn't parse IGNORE"),
        ("IGNORE 5", "ERR TSDB: Couldn't parse IGNORE"),
        ("IGNORE x 1", "ERR TSDB: Couldn't parse IGNORE"),
        ("IGNORE 1 x", "ERR TSDB: Couldn't parse IGNORE"),
        ("IGNORE 1 nan", "ERR TSDB: Couldn't parse IGNORE"),
        ("IGNORE -1 1", "ERR TSDB: IGNORE arguments cannot be negative"),
        ("IGNORE 1 -0.5", "ERR TSDB: IGNORE arguments cannot be negative"),
    ] {
        assert_eq!(
            parse(SeriesCommand::Create, line).unwrap_err().to_string(),
            text,
            "{line}"
        );
    }
    for size in ["0", "-8", "40", "47", "50", "1048584", "4294967344"] {
        assert_eq!(
            parse(SeriesCommand::Create, &format!("CHUNK_SIZE {size}"))
                .unwrap_err()
                .to_string(),
            "ERR TSDB: CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]",
            "{size}"
        );
    }
    for size in [48, 4096, 1_048_576] {
        assert_eq!(add(&format!("CHUNK_SIZE {size}")).chunk_size_bytes, Some(size));
    }
}

#[test]
fn policies_and_encodings_are_named() {
    for policy in DuplicatePolicy::ALL {
        assert_eq!(DuplicatePolicy::parse(policy.name().as_bytes()), Some(policy));
        assert_eq!(
            DuplicatePolicy::parse(policy.name().to_uppercase().as_bytes()),
            Some(policy)
        );
    }
    assert_eq!(DuplicatePolicy::parse(b"lasts"), None);
    assert_eq!(Encoding::parse(b"Compressed"), Some(Encoding::Compressed));
    assert_eq!(Encoding::parse(b"gorilla"), None);
}
