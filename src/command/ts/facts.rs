//! What the command table and COMMAND DOCS say about the TS.* commands.

use crate::command::entry::internal;
use crate::command::{Command, Flags, KeyHandler, KeySpec, Run};

/// All of a table entry but where and how the command runs.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// As in [`Command`].
    pub name: &'static str,
    /// As in [`Command`].
    pub arity: i16,
    /// As in [`Command`].
    pub flags: Flags,
    /// As in [`Command`].
    pub keys: KeySpec,
    /// As in [`Command`].
    pub since: &'static str,
    /// As in [`Command`].
    pub syntax: &'static str,
    /// As in [`Command`].
    pub summary: &'static str,
    /// How its cost grows.
    pub complexity: &'static str,
}

impl Facts {
    /// The table entry of the command, which runs like this.
    pub const fn command(&self, run: Run) -> Command {
        Command {
            name: self.name,
            arity: self.arity,
            flags: self.flags,
            keys: self.keys,
            group: GROUP,
            since: self.since,
            syntax: self.syntax,
            summary: self.summary,
            run,
        }
    }
}

/// The entry of an internal command of this family.
pub const fn share(name: &'static str, flags: Flags, handler: KeyHandler) -> Command {
    internal(name, GROUP, flags, handler)
}

/// How the cost of the command of this name, in capitals, grows; `None` for commands of other families.
pub fn complexity_of(name: &str) -> Option<&'static str> {
    ALL.iter()
        .find(|facts| facts.name == name)
        .map(|facts| facts.complexity)
}

const WRITE: Flags = Flags::WRITE.and(Flags::DENY_ON_FULL);
const GROUP: &str = "timeseries";
const SINCE: &str = "1.0.0";

macro_rules! options {
    ($before:literal, $after:literal) => {
        concat!(
            "[RETENTION retentionPeriod] [ENCODING <COMPRESSED | UNCOMPRESSED>] [CHUNK_SIZE size] ",
            "[DUPLICATE_POLICY <BLOCK | FIRST | LAST | MIN | MAX | SUM>] ",
            $before,
            "[IGNORE maxTimeDiff maxValDiff] [LABELS label value [label value ...]]",
            $after
        )
    };
}

macro_rules! samples {
    () => {
        "[LATEST] [FILTER_BY_TS timestamp [timestamp ...]] [FILTER_BY_VALUE min max] [FILTER_BY_QUALITY min \
            max]"
    };
}

macro_rules! buckets {
    ($aggregators:literal) => {
        concat!(
            "[[ALIGN align] AGGREGATION ",
            $aggregators,
            " bucketDuration [TZ zone] [BUCKETTIMESTAMP bt] [EMPTY]]"
        )
    };
}

macro_rules! range {
    () => {
        concat!(
            "key fromTimestamp toTimestamp ",
            samples!(),
            " [WITHQUALITY] [COUNT count] ",
            buckets!("aggregators")
        )
    };
}

macro_rules! multi_range {
    () => {
        concat!(
            "fromTimestamp toTimestamp ",
            samples!(),
            " [WITHQUALITY] [WITHLABELS | SELECTED_LABELS label [label ...]] [COUNT count] ",
            buckets!("aggregators"),
            " [EXCLUDEEMPTY] FILTER filterExpr [filterExpr ...] [GROUPBY label REDUCE reducer]"
        )
    };
}

macro_rules! numbered_range {
    () => {
        concat!(
            "numkeys key [key ...] fromTimestamp toTimestamp ",
            samples!(),
            " [COUNT count] ",
            buckets!("aggregators [aggregators ...]")
        )
    };
}

const RANGE_COMPLEXITY: &str = "O(log(n)+m+b), n being the chunks of the series, m the samples of the range \
    that no chunk summary answers, b the buckets";
const MULTI_RANGE_COMPLEXITY: &str = "O(f+s*(log(n)+m+b)), f being the postings of the filter, s the series \
    that match, n their chunks, m the samples of the range that no chunk summary answers, b the buckets";

/// All of them, RedisTimeSeries's own first.
pub const ALL: [&Facts; 25] = [
    &CREATE,
    &ALTER,
    &ADD,
    &MADD,
    &INCRBY,
    &DECRBY,
    &DEL,
    &GET,
    &MGET,
    &RANGE,
    &REVRANGE,
    &MRANGE,
    &MREVRANGE,
    &NRANGE,
    &NREVRANGE,
    &READ,
    &CREATERULE,
    &DELETERULE,
    &INFO,
    &QUERYINDEX,
    &QUERYLABELS,
    &GETAT,
    &MGETAT,
    &JOIN,
    &MDEL,
];

macro_rules! facts {
    ($($(#[$doc:meta])* $constant:ident: $name:literal, $arity:expr, $flags:expr, $keys:expr, $syntax:expr,
        $summary:literal, $complexity:expr;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Facts = Facts {
                name: $name,
                arity: $arity,
                flags: $flags,
                keys: $keys,
                since: SINCE,
                syntax: $syntax,
                summary: $summary,
                complexity: $complexity,
            };
        )*
    };
}

facts! {
    /// TS.CREATE
    CREATE: "TS.CREATE", -2, WRITE, KeySpec::FIRST, concat!("key ", options!("", "")),
        "Creates a time series.", "O(l), l being the labels";
    /// TS.ALTER
    ALTER: "TS.ALTER", -2, WRITE, KeySpec::FIRST,
        "key [RETENTION retentionPeriod] [CHUNK_SIZE size] \
         [DUPLICATE_POLICY <BLOCK | FIRST | LAST | MIN | MAX | SUM>] [IGNORE maxTimeDiff maxValDiff] \
         [LABELS label value [label value ...]]",
        "Changes the options of a time series; LABELS replaces all of its labels.",
        "O(l), l being the labels";
    /// TS.ADD
    ADD: "TS.ADD", -4, WRITE, KeySpec::FIRST,
        concat!("key timestamp|* value ",
            options!("[ON_DUPLICATE <BLOCK | FIRST | LAST | MIN | MAX | SUM>] ", "")),
        "Adds a sample to a time series, which is created if it is not there.",
        "O(r), r being the rules of the series";
    /// TS.MADD
    MADD: "TS.MADD", -4, WRITE, KeySpec::every(3), "key timestamp|* value [key timestamp|* value ...]",
        "Adds samples to time series and returns one timestamp or error for each.",
        "O(n*r), n being the samples, r the rules of their series";
    /// TS.INCRBY
    INCRBY: "TS.INCRBY", -3, WRITE, KeySpec::FIRST,
        concat!("key addend [TIMESTAMP timestamp|*] ", options!("", "")),
        "Adds to the last value of a time series, which is created if it is not there.",
        "O(r), r being the rules of the series";
    /// TS.DECRBY
    DECRBY: "TS.DECRBY", -3, WRITE, KeySpec::FIRST,
        concat!("key subtrahend [TIMESTAMP timestamp|*] ", options!("", "")),
        "Subtracts from the last value of a time series, which is created if it is not there.",
        "O(r), r being the rules of the series";
    /// TS.DEL
    DEL: "TS.DEL", 4, Flags::WRITE, KeySpec::FIRST, "key fromTimestamp toTimestamp",
        "Deletes the samples between two timestamps, both included.",
        "O(n), n being the samples of the range";
    /// TS.GET
    GET: "TS.GET", -2, Flags::READONLY, KeySpec::FIRST, "key [LATEST]",
        "Returns the sample with the highest timestamp.", "O(1)";
    /// TS.MGET
    MGET: "TS.MGET", -3, Flags::READONLY, KeySpec::NONE,
        "[LATEST] [WITHLABELS | SELECTED_LABELS label [label ...]] FILTER filterExpr [filterExpr ...]",
        "Returns the sample with the highest timestamp of every time series that matches a filter.",
        "O(f+s), f being the postings of the filter, s the series that match";
    /// TS.RANGE
    RANGE: "TS.RANGE", -4, Flags::READONLY.and(Flags::READS_FROM), KeySpec::FIRST, range!(),
        "Returns the samples or buckets between two timestamps, oldest first.", RANGE_COMPLEXITY;
    /// TS.REVRANGE
    REVRANGE: "TS.REVRANGE", -4, Flags::READONLY, KeySpec::FIRST, range!(),
        "Returns the samples or buckets between two timestamps, newest first.", RANGE_COMPLEXITY;
    /// TS.MRANGE
    MRANGE: "TS.MRANGE", -4, Flags::READONLY, KeySpec::NONE, multi_range!(),
        "Returns a range of every time series that matches a filter, oldest first.", MULTI_RANGE_COMPLEXITY;
    /// TS.MREVRANGE
    MREVRANGE: "TS.MREVRANGE", -4, Flags::READONLY, KeySpec::NONE, multi_range!(),
        "Returns a range of every time series that matches a filter, newest first.", MULTI_RANGE_COMPLEXITY;
    /// TS.NRANGE
    NRANGE: "TS.NRANGE", -5, Flags::READONLY, KeySpec::COUNTED, numbered_range!(),
        "Returns a range of several time series, joined by timestamp, oldest first.", MULTI_RANGE_COMPLEXITY;
    /// TS.NREVRANGE
    NREVRANGE: "TS.NREVRANGE", -5, Flags::READONLY, KeySpec::COUNTED, numbered_range!(),
        "Returns a range of several time series, joined by timestamp, newest first.", MULTI_RANGE_COMPLEXITY;
    /// TS.READ
    READ: "TS.READ", -3, Flags::READONLY, KeySpec::FIRST,
        "key timestamp [BLOCK milliseconds minCount] [MAX_COUNT count]",
        "Returns the samples from a timestamp on and may wait for them.",
        "O(log(n)+m), n being the chunks of the series, m the samples returned";
    /// TS.CREATERULE
    CREATERULE: "TS.CREATERULE", -6, Flags::WRITE.and(Flags::FAST), KeySpec::TWO,
        "sourceKey destKey AGGREGATION aggregator bucketDuration [TZ zone] [alignTimestamp] [BACKFILL]",
        "Creates a rule that aggregates one time series into another.",
        "O(1); with BACKFILL O(n), n being the samples of the source";
    /// TS.DELETERULE
    DELETERULE: "TS.DELETERULE", 3, Flags::WRITE, KeySpec::TWO, "sourceKey destKey",
        "Deletes the rule between two time series.", "O(1)";
    /// TS.INFO
    INFO: "TS.INFO", -2, Flags::READONLY, KeySpec::FIRST, "key [DEBUG]",
        "Returns facts and figures about a time series.",
        "O(1); with DEBUG O(n), n being the chunks of the series";
    /// TS.QUERYINDEX
    QUERYINDEX: "TS.QUERYINDEX", -2, Flags::READONLY, KeySpec::NONE, "filterExpr [filterExpr ...]",
        "Returns the keys of all time series that match a filter.",
        "O(f), f being the postings of the filter";
    /// TS.QUERYLABELS
    QUERYLABELS: "TS.QUERYLABELS", -2, Flags::READONLY, KeySpec::NONE,
        "<LABELS | VALUES label> [FILTER filterExpr [filterExpr ...]]",
        "Returns the names of labels, or the values of one label, of all time series or of those that match \
            a filter.",
        "O(l+f), l being the labels or values of the index, f the postings of the filter";
    /// TS.GETAT
    GETAT: "TS.GETAT", -4, Flags::READONLY.and(Flags::READS_FROM), KeySpec::FIRST,
        "key timestamp <PREV | NEXT | NEAREST> [TOLERANCE duration]",
        "Returns the sample that stands for a point in time.", "O(log(n)), n being the chunks of the series";
    /// TS.MGETAT
    MGETAT: "TS.MGETAT", -5, Flags::READONLY, KeySpec::NONE,
        "timestamp <PREV | NEXT | NEAREST> [TOLERANCE duration] [WITHLABELS | SELECTED_LABELS label [label \
         ...]] FILTER filterExpr [filterExpr ...]",
        "Returns the sample that stands for a point in time of every time series that matches a filter.",
        "O(f+s*log(n)), f being the postings of the filter, s the series that match, n their chunks";
    /// TS.JOIN
    JOIN: "TS.JOIN", -5, Flags::READONLY, KeySpec::TWO,
        "leftKey rightKey fromTimestamp toTimestamp [ASOF <PREV | NEXT | NEAREST>] [TOLERANCE duration]",
        "Returns the samples of one time series, each with the one of another that belongs to its time.",
        "O(n+m), n and m being the samples of both ranges";
    /// TS.MDEL
    MDEL: "TS.MDEL", -5, Flags::WRITE, KeySpec::NONE,
        "fromTimestamp toTimestamp FILTER filterExpr [filterExpr ...]",
        "Deletes the samples between two timestamps of every time series that matches a filter.",
        "O(f+n), f being the postings of the filter, n the samples of the ranges";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_described() {
        for facts in ALL {
            assert!(
                facts.name.starts_with("TS.") && facts.summary.ends_with('.'),
                "{}",
                facts.name
            );
            assert!(facts.complexity.starts_with("O("), "{}", facts.name);
            let opening = facts.syntax.matches(['[', '<']).count();
            assert_eq!(
                opening,
                facts.syntax.matches([']', '>']).count(),
                "{}",
                facts.name
            );
            assert!(!facts.syntax.contains("  "), "{}", facts.name);
            let twins = ALL.iter().filter(|other| other.name == facts.name).count();
            assert_eq!(twins, 1, "{}", facts.name);
        }
        assert_eq!(complexity_of("TS.GET"), Some("O(1)"));
        assert_eq!(complexity_of("GET"), None);
    }

    #[test]
    fn arities_flags_and_keys_are_those_of_the_module() {
        let arities: Vec<(&str, i16)> = ALL[..21].iter().map(|facts| (facts.name, facts.arity)).collect();
        let expected = [
            ("TS.CREATE", -2),
            ("TS.ALTER", -2),
            ("TS.ADD", -4),
            ("TS.MADD", -4),
            ("TS.INCRBY", -3),
            ("TS.DECRBY", -3),
            ("TS.DEL", 4),
            ("TS.GET", -2),
            ("TS.MGET", -3),
            ("TS.RANGE", -4),
            ("TS.REVRANGE", -4),
            ("TS.MRANGE", -4),
            ("TS.MREVRANGE", -4),
            ("TS.NRANGE", -5),
            ("TS.NREVRANGE", -5),
            ("TS.READ", -3),
            ("TS.CREATERULE", -6),
            ("TS.DELETERULE", 3),
            ("TS.INFO", -2),
            ("TS.QUERYINDEX", -2),
            ("TS.QUERYLABELS", -2),
        ];
        assert_eq!(arities, expected);
        let named = |keep: fn(&Facts) -> bool| -> Vec<&str> {
            ALL[..21]
                .iter()
                .filter(|facts| keep(facts))
                .map(|facts| facts.name)
                .collect()
        };
        assert_eq!(
            named(|facts| facts.flags.has(Flags::DENY_ON_FULL)),
            [
                "TS.CREATE",
                "TS.ALTER",
                "TS.ADD",
                "TS.MADD",
                "TS.INCRBY",
                "TS.DECRBY"
            ]
        );
        assert_eq!(named(|facts| facts.flags.has(Flags::FAST)), ["TS.CREATERULE"]);
        assert_eq!(
            named(|facts| facts.keys == KeySpec::NONE),
            [
                "TS.MGET",
                "TS.MRANGE",
                "TS.MREVRANGE",
                "TS.QUERYINDEX",
                "TS.QUERYLABELS"
            ]
        );
        assert_eq!(
            named(|facts| facts.keys.is_counted()),
            ["TS.NRANGE", "TS.NREVRANGE"]
        );
        assert!(
            ALL.iter()
                .all(|facts| facts.flags.has(Flags::WRITE) != facts.flags.has(Flags::READONLY))
        );
    }
}
