//! The refusals of the TS.* commands, byte for byte those of RedisTimeSeries 8.10.

use std::borrow::Cow;

use crate::refusal::Refusal;

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $(
            $(#[$doc])*
            #[doc = ""]
            #[doc = concat!("`", $text, "`")]
            pub const $name: Refusal = Refusal::Text(Cow::Borrowed($text));
        )*
    };
}

texts! {
    /// A command on a series that is not there.
    KEY_MISSING = "ERR TSDB: the key does not exist";
    /// TS.CREATE of a key that is there.
    KEY_EXISTS = "ERR TSDB: key already exists";
    /// TS.ADD and TS.MADD on another type.
    NOT_A_SERIES = "ERR TSDB: the key is not a TSDB key";
    /// A value that is no number.
    INVALID_VALUE = "ERR TSDB: invalid value";
    /// A timestamp that is no number.
    INVALID_TIMESTAMP = "ERR TSDB: invalid timestamp";
    /// A timestamp below zero.
    NEGATIVE_TIMESTAMP = "ERR TSDB: invalid timestamp, must be a nonnegative integer";
    /// A sample that retention would drop at once.
    OLDER_THAN_RETENTION = "ERR TSDB: Timestamp is older than retention";
    /// A sample that the duplicate policy refuses.
    DUPLICATE_BLOCKED = "ERR TSDB: Error at upsert, update is not supported when DUPLICATE_POLICY is set to \
        BLOCK mode, or either current or new value is NaN and DUPLICATE_POLICY is MAX/MIN/SUM";
    /// Labels that are empty or hold one of `(),`.
    LABELS = "ERR TSDB: Couldn't parse LABELS";
    /// A retention that is no duration.
    RETENTION = "ERR TSDB: Couldn't parse RETENTION";
    /// A retention below zero; without `ERR`, as the module has it.
    RETENTION_NEGATIVE = "TSDB: Couldn't parse RETENTION";
    /// A chunk size that is no whole number.
    CHUNK_SIZE = "ERR TSDB: Couldn't parse CHUNK_SIZE";
    /// A chunk size that is not allowed.
    CHUNK_SIZE_RANGE = "ERR TSDB: CHUNK_SIZE value must be a multiple of 8 in the range [48 .. 1048576]";
    /// An encoding of an unknown name.
    ENCODING = "ERR TSDB: unknown ENCODING parameter";
    /// A duplicate policy without a name.
    DUPLICATE_POLICY = "ERR TSDB: Couldn't parse DUPLICATE_POLICY";
    /// A duplicate policy of an unknown name.
    DUPLICATE_POLICY_UNKNOWN = "ERR TSDB: Unknown DUPLICATE_POLICY";
    /// IGNORE without its two numbers.
    IGNORE = "ERR TSDB: Couldn't parse IGNORE";
    /// IGNORE with a number below zero.
    IGNORE_NEGATIVE = "ERR TSDB: IGNORE arguments cannot be negative";
    /// A start of a range that is no timestamp.
    FROM = "ERR TSDB: wrong fromTimestamp";
    /// An end of a range that is no timestamp.
    TO = "ERR TSDB: wrong toTimestamp";
    /// AGGREGATION without a bucket, or with one that is no duration.
    AGGREGATION = "ERR TSDB: Couldn't parse AGGREGATION";
    /// An aggregator of an unknown name.
    AGGREGATOR_UNKNOWN = "ERR TSDB: Unknown aggregation type";
    /// A list of aggregators with an empty place.
    AGGREGATOR_EMPTY = "ERR TSDB: Empty aggregation type in list";
    /// More than 15 aggregators.
    AGGREGATORS_TOO_MANY = "ERR TSDB: Too many aggregation types";
    /// A bucket of no length.
    BUCKET_NOT_POSITIVE = "ERR TSDB: bucketDuration must be greater than zero";
    /// COUNT as the last word.
    COUNT_MISSING = "ERR TSDB: COUNT argument is missing";
    /// A count that is no whole number.
    COUNT = "ERR TSDB: Couldn't parse COUNT";
    /// A count below one.
    COUNT_INVALID = "ERR TSDB: Invalid COUNT value";
    /// An alignment that is no timestamp.
    ALIGN_UNKNOWN = "ERR TSDB: unknown ALIGN parameter";
    /// ALIGN without AGGREGATION.
    ALIGN_ALONE = "ERR TSDB: ALIGN parameter can only be used with AGGREGATION";
    /// ALIGN start in a range that begins at `-`.
    ALIGN_OPEN_START = "ERR TSDB: start alignment can only be used with explicit start timestamp";
    /// ALIGN end in a range that ends at `+`.
    ALIGN_OPEN_END = "ERR TSDB: end alignment can only be used with explicit end timestamp";
    /// A BUCKETTIMESTAMP of an unknown name.
    BUCKET_TIMESTAMP_UNKNOWN = "ERR TSDB: unknown BUCKETTIMESTAMP parameter";
    /// BUCKETTIMESTAMP somewhere else.
    BUCKET_TIMESTAMP_PLACE = "ERR TSDB: BUCKETTIMESTAMP flag \
        should be the 3rd or 4th flag after AGGREGATION flag";
    /// EMPTY somewhere else.
    EMPTY_PLACE = "ERR TSDB: EMPTY flag should be the 3rd or 5th flag after AGGREGATION flag";
    /// FILTER_BY_VALUE without both bounds.
    FILTER_BY_VALUE_MISSING = "ERR TSDB: FILTER_BY_VALUE one or more arguments are missing";
    /// A lower bound of values that is no number.
    MIN = "ERR TSDB: Couldn't parse MIN";
    /// An upper bound of values that is no number.
    MAX = "ERR TSDB: Couldn't parse MAX";
    /// FILTER_BY_TS without a timestamp.
    FILTER_BY_TS_MISSING = "ERR TSDB: FILTER_BY_TS one or more arguments are missing";
    /// FILTER_BY_QUALITY without both bounds; ticklane's own.
    FILTER_BY_QUALITY_MISSING = "ERR TSDB: FILTER_BY_QUALITY one or more arguments are missing";
    /// A bound of qualities that is not 0 to 255; ticklane's own.
    FILTER_BY_QUALITY = "ERR TSDB: Couldn't parse FILTER_BY_QUALITY, must be 0 to 255";
    /// WITHQUALITY where no single sample is left; ticklane's own.
    WITH_QUALITY_AGGREGATED = "ERR TSDB: WITHQUALITY is not allowed with AGGREGATION or GROUPBY";
    /// A query without FILTER.
    FILTER_MISSING = "ERR TSDB: missing FILTER argument";
    /// FILTER without an expression.
    FILTER_EMPTY = "ERR TSDB: missing labels for filter argument";
    /// A filter expression that is none.
    FILTER_INVALID = "ERR TSDB: failed parsing labels";
    /// A filter that names no value of any label.
    MATCHER_MISSING = "ERR TSDB: please provide at least one matcher";
    /// Both ways to ask for labels.
    LABELS_TWICE = "ERR TSDB: cannot accept WITHLABELS and SELECT_LABELS together";
    /// SELECTED_LABELS without a label.
    SELECTED_LABELS_EMPTY = "ERR TSDB: SELECT_LABELS should have at least 1 parameter";
    /// More than 50 selected labels.
    SELECTED_LABELS_TOO_MANY = "ERR TSDB: reached max size for SELECT_LABELS";
    /// GROUPBY in front of FILTER.
    GROUPBY_EARLY = "ERR TSDB: GROUPBY should always come after filter";
    /// A reducer of an unknown name, or one that needs the order of samples.
    REDUCER_INVALID = "ERR TSDB: Invalid reducer type";
    /// GROUPBY of samples with several values.
    GROUPBY_SEVERAL = "ERR TSDB: GROUPBY is not allowed when multiple aggregators are specified";
    /// EXCLUDEEMPTY of groups.
    EXCLUDE_EMPTY_GROUPBY = "ERR TSDB: EXCLUDEEMPTY is not allowed with GROUPBY";
    /// A number of keys below one, or beyond the arguments.
    NUMKEYS = "ERR TSDB: numkeys must be a positive integer";
    /// Not one list of aggregators per key.
    NUMKEYS_AGGREGATORS = "ERR TSDB: the number of AGGREGATION arguments must be equal to numkeys";
    /// A rule with several aggregators.
    RULE_SEVERAL = "ERR TSDB: CREATERULE requires exactly one aggregation type";
    /// A rule of a series with itself.
    RULE_SAME_KEY = "ERR TSDB: the source key and destination key should be different";
    /// A rule out of a series that is itself a destination.
    RULE_SOURCE_IS_DESTINATION = "ERR TSDB: the source key already has a source rule";
    /// A rule into a series that is itself a source.
    RULE_DESTINATION_IS_SOURCE = "ERR TSDB: the destination key already has a dst rule";
    /// A rule into a series that has a source.
    RULE_DESTINATION_TAKEN = "ERR TSDB: the destination key already has a src rule";
    /// TS.DELETERULE of a rule that is not there.
    RULE_MISSING = "ERR TSDB: compaction rule does not exist";
    /// An alignment of a rule that is no timestamp.
    ALIGN_TIMESTAMP = "ERR TSDB: Couldn't parse alignTimestamp";
    /// An alignment of a rule below zero.
    ALIGN_TIMESTAMP_NEGATIVE = "ERR TSDB: alignTimestamp should be greater or equal to 0";
    /// TS.GET with a word other than LATEST.
    GET_THIRD = "ERR TSDB: wrong 3rd argument";
    /// TS.INCRBY by something that is no number.
    ADDEND = "ERR TSDB: invalid increase/decrease value";
    /// TS.INCRBY of NaN.
    INCREMENT_NAN = "ERR TSDB: cannot increment/decrement NaN value";
    /// TS.INCRBY behind the last sample; without `ERR`, as the module has it.
    INCREMENT_EARLY = "TSDB: timestamp must be equal to or higher than the maximum existing timestamp";
    /// TS.DEL beyond the retention of a series with rules.
    DELETE_BEYOND_RETENTION = "ERR TSDB: When a series has compactions, deleting samples or compaction \
        buckets beyond the series retention period is not possible";
    /// TS.QUERYLABELS of something else.
    QUERYLABELS_SUBTYPE = "ERR TSDB: unknown subtype, must be one of LABELS|VALUES";
    /// TS.QUERYLABELS with a word other than FILTER.
    QUERYLABELS_ARGUMENT = "ERR TSDB: unknown argument, expected FILTER";
    /// TS.QUERYLABELS with FILTER as the last word.
    QUERYLABELS_FILTER_EMPTY = "ERR TSDB: FILTER given with no filter expressions";
    /// A cursor of TS.READ that is none; without `ERR`, as the module has it.
    READ_TIMESTAMP = "TSDB: invalid timestamp";
    /// A time to wait that is none; without `ERR`, as the module has it.
    READ_BLOCK = "TSDB: BLOCK milliseconds must be a non-negative integer";
    /// A number of samples to wait for below one; without `ERR`, as the module has it.
    READ_MIN_COUNT = "TSDB: BLOCK min_count must be a positive integer";
    /// A most of samples below one; without `ERR`, as the module has it.
    READ_MAX_COUNT = "TSDB: MAX_COUNT must be a positive integer";
    /// Waiting for more samples than are asked for; without `ERR`, as the module has it.
    READ_COUNTS = "TSDB: BLOCK min_count must be <= MAX_COUNT";
    /// Waiting where no command may wait; without `ERR`, as the module has it.
    READ_DENIED = "TSDB: blocking TS.READ (with BLOCK) is not allowed inside MULTI, EVAL, or a \
        deny-blocking context";
    /// A tolerance that is no duration; ticklane's own.
    TOLERANCE = "ERR TSDB: Couldn't parse TOLERANCE";
    /// A direction of an unknown name; ticklane's own.
    NEARNESS = "ERR TSDB: unknown direction, must be one of PREV|NEXT|NEAREST";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_several_lines_are_one_line_on_the_wire() {
        for (refusal, len) in [
            (DUPLICATE_BLOCKED, 168),
            (DELETE_BEYOND_RETENTION, 130),
            (READ_DENIED, 97),
            (BUCKET_TIMESTAMP_PLACE, 83),
        ] {
            let text = refusal.to_string();
            assert!(!text.contains("  ") && !text.contains('\n'), "{text}");
            assert_eq!(text.len(), len, "{text}");
        }
    }
}
