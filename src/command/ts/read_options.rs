//! What the other reading commands, and those about rules, are asked for.

use crate::aggregate::Aggregator;
use crate::config::TimeUnit;
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::resp::number::parse_i64;

use super::aggregation::{BucketSize, Head};
use super::duration::parse_duration;
use super::label_choice::LabelChoice;
use super::labels::LabelFilter;
use super::texts;
use super::timestamp::{Bounds, Now, parse_bounds, parse_point};

fn arity<T>(lower_name: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Arity(lower_name.into()))
}

/// Where TS.READ begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadCursor {
    /// `-`: the oldest sample.
    First,
    /// `+`: the newest sample, included.
    Last,
    /// `$`: behind the newest sample; a series that is empty or missing begins at 0.
    BehindLast,
    /// This timestamp, included.
    At(i64),
}

/// How long TS.READ waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBlock {
    /// 0 waits for ever.
    pub timeout_ms: u64,
    /// It waits until there are so many samples; at least 1.
    pub min_count: usize,
}

/// What TS.READ is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The oldest sample that it may return.
    pub cursor: ReadCursor,
    /// `None` returns at once.
    pub block: Option<ReadBlock>,
    /// At most so many samples; at least 1.
    pub max_count: Option<usize>,
}

/// Reads `TS.READ key cursor [BLOCK ms min_count] [MAX_COUNT n]`; both options in any order.
///
/// # Errors
/// The texts of RedisTimeSeries, without `ERR`.
pub fn parse_read(args: Args<'_>) -> Result<ReadOptions, Refusal> {
    if !matches!(args.len(), 3 | 5 | 6 | 8) {
        return arity("ts.read");
    }
    // Options are refused before a wrong cursor is.
    let mut options = ReadOptions {
        cursor: ReadCursor::First,
        block: None,
        max_count: None,
    };
    let mut words = args.cursor(3);
    while !words.is_done() {
        if options.block.is_none() && words.take_flag(b"BLOCK") {
            let (Some(timeout), Some(count)) = (words.next(), words.next()) else {
                return arity("ts.read");
            };
            let timeout = parse_duration(timeout, TimeUnit::Milliseconds);
            let timeout = timeout.and_then(|timeout| u64::try_from(timeout).ok());
            // RedisTimeSeries reads both numbers at once and has one refusal for either that is none.
            let count = parse_i64(count).ok_or(texts::READ_BLOCK)?;
            options.block = Some(ReadBlock {
                timeout_ms: timeout.ok_or(texts::READ_BLOCK)?,
                min_count: positive(count).ok_or(texts::READ_MIN_COUNT)?,
            });
        } else if options.max_count.is_none() && words.take_flag(b"MAX_COUNT") {
            let count = words.next().and_then(parse_i64);
            options.max_count = Some(count.and_then(positive).ok_or(texts::READ_MAX_COUNT)?);
        } else {
            return arity("ts.read");
        }
    }
    let is_too_many = |(block, max): (ReadBlock, usize)| block.min_count > max;
    if options.block.zip(options.max_count).is_some_and(is_too_many) {
        return Err(texts::READ_COUNTS);
    }
    let at = |text| parse_i64(text).filter(|at| *at >= 0);
    options.cursor = match args.get(2) {
        b"-" => ReadCursor::First,
        b"+" => ReadCursor::Last,
        b"$" => ReadCursor::BehindLast,
        text => ReadCursor::At(at(text).ok_or(texts::READ_TIMESTAMP)?),
    };
    Ok(options)
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|number| *number > 0)
}

/// What TS.QUERYLABELS lists.
#[derive(Clone, Debug)]
pub struct LabelQuery {
    /// The values of this label; `None` lists the names of labels.
    pub values_of: Option<Box<[u8]>>,
    /// Of which series; `None` of all.
    pub filter: Option<LabelFilter>,
}

/// Reads `TS.QUERYLABELS LABELS | VALUES label [FILTER expression ...]`.
///
/// # Errors
/// The texts of RedisTimeSeries.
pub fn parse_query_labels(args: Args<'_>) -> Result<LabelQuery, Refusal> {
    let mut words = args.cursor(1);
    let values_of = if words.take_flag(b"LABELS") {
        None
    } else if words.take_flag(b"VALUES") {
        match words.next() {
            Some(label) => Some(label.into()),
            None => return arity("ts.querylabels"),
        }
    } else {
        return Err(texts::QUERYLABELS_SUBTYPE);
    };
    let filter = if words.is_done() {
        None
    } else if words.take_flag(b"FILTER") {
        let expressions = words.rest();
        if expressions.is_empty() {
            return Err(texts::QUERYLABELS_FILTER_EMPTY);
        }
        Some(LabelFilter::parse(expressions)?)
    } else {
        return Err(texts::QUERYLABELS_ARGUMENT);
    };
    Ok(LabelQuery { values_of, filter })
}

/// What TS.CREATERULE is asked for; its keys are arguments 1 and 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOptions {
    /// Makes one value of every bucket.
    pub aggregator: Aggregator,
    /// How long a bucket is.
    pub bucket: BucketSize,
    /// One bucket begins here; not negative.
    pub align: i64,
    /// Aggregate the samples that are there already.
    pub backfill: bool,
}

/// Reads `TS.CREATERULE source destination AGGREGATION aggregator bucket [TZ zone] [alignTimestamp]
/// [BACKFILL]`.
///
/// # Errors
/// The texts of RedisTimeSeries.
pub fn parse_create_rule(args: Args<'_>, now: Now) -> Result<RuleOptions, Refusal> {
    let is_aggregation = args
        .try_get(3)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"AGGREGATION"));
    if !is_aggregation || args.len() < 6 {
        return arity("ts.createrule");
    }
    let head = Head::parse(args, 4, 1, now.unit)?;
    let aggregator = match head.lists.first().map(Vec::as_slice) {
        Some([only]) => *only,
        _ => return Err(texts::RULE_SEVERAL),
    };
    let mut words = args.cursor(head.end);
    let mut backfill = words.take_flag(b"BACKFILL");
    let mut align = 0;
    if let Some(text) = words.next() {
        align = parse_i64(text).ok_or(texts::ALIGN_TIMESTAMP)?;
        if align < 0 {
            return Err(texts::ALIGN_TIMESTAMP_NEGATIVE);
        }
    }
    backfill = words.take_flag(b"BACKFILL") || backfill;
    if !words.is_done() {
        return arity("ts.createrule");
    }
    if args.get(1) == args.get(2) {
        return Err(texts::RULE_SAME_KEY);
    }
    Ok(RuleOptions {
        aggregator,
        bucket: head.bucket,
        align,
        backfill,
    })
}

/// Reads `TS.GET key [LATEST]`: whether LATEST is given.
///
/// # Errors
/// [`texts::GET_THIRD`].
pub fn parse_get(args: Args<'_>) -> Result<bool, Refusal> {
    let mut words = args.cursor(2);
    let latest = words.take_flag(b"LATEST");
    match words.remaining() {
        0 => Ok(latest),
        1 if !latest => Err(texts::GET_THIRD),
        _ => arity("ts.get"),
    }
}

/// Reads `TS.INFO key [DEBUG]`: whether DEBUG is given; another word means nothing.
///
/// # Errors
/// Wrong number of arguments.
pub fn parse_info(args: Args<'_>) -> Result<bool, Refusal> {
    if args.len() > 3 {
        return arity("ts.info");
    }
    Ok(args.cursor(2).take_flag(b"DEBUG"))
}

/// What TS.MGET is asked for.
#[derive(Clone, Debug)]
pub struct MultiGet {
    /// Report the open bucket of a rule's destination.
    pub latest: bool,
    /// Which labels the reply carries.
    pub labels: LabelChoice,
    /// Which series.
    pub filter: LabelFilter,
}

/// Reads `TS.MGET [LATEST] [WITHLABELS | SELECTED_LABELS label ...] FILTER expression ...`.
///
/// # Errors
/// The texts of RedisTimeSeries.
pub fn parse_mget(args: Args<'_>) -> Result<MultiGet, Refusal> {
    let mut latest = false;
    let (labels, filter) = parse_filtered(args, 1, "ts.mget", |word, _| {
        latest = latest || word.eq_ignore_ascii_case(b"LATEST");
        Ok(0)
    })?;
    Ok(MultiGet {
        latest,
        labels,
        filter,
    })
}

/// Reads options up to FILTER and the filter behind it. `option` sees every other word with the index behind
/// it and says how many operands it takes.
fn parse_filtered(
    args: Args<'_>,
    from: usize,
    lower_name: &'static str,
    mut option: impl FnMut(&[u8], usize) -> Result<usize, Refusal>,
) -> Result<(LabelChoice, LabelFilter), Refusal> {
    let mut labels = LabelChoice::default();
    let mut index = from;
    while let Some(word) = args.try_get(index) {
        index += 1;
        if word.eq_ignore_ascii_case(b"FILTER") {
            return Ok((labels, LabelFilter::parse(args.from(index))?));
        }
        index = match labels.read(word, args, index)? {
            Some(end) => end,
            None => index + option(word, index)?,
        };
    }
    arity(lower_name)
}

/// Which sample stands for a timestamp that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// The newest one at or before it.
    Previous,
    /// The oldest one at or after it.
    Next,
    /// The closer one of both, the earlier one if they are equally close.
    Nearest,
}

impl Nearness {
    /// Reads `PREV`, `NEXT` or `NEAREST` in any case; `PREVIOUS` too.
    pub fn parse(text: &[u8]) -> Option<Nearness> {
        match text.to_ascii_uppercase().as_slice() {
            b"PREV" | b"PREVIOUS" => Some(Nearness::Previous),
            b"NEXT" => Some(Nearness::Next),
            b"NEAREST" => Some(Nearness::Nearest),
            _ => None,
        }
    }
}

/// The value of a series at a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueAt {
    /// In steps of the business's unit; not negative.
    pub timestamp: i64,
    /// Which sample stands for it.
    pub nearness: Nearness,
    /// Samples further away do not count, in steps of the business's unit; not negative.
    pub tolerance: Option<i64>,
}

impl ValueAt {
    /// Reads the words `timestamp PREV|NEXT|NEAREST` at `index`.
    fn parse(args: Args<'_>, index: usize, lower_name: &'static str, now: Now) -> Result<ValueAt, Refusal> {
        let (Some(timestamp), Some(nearness)) = (args.try_get(index), args.try_get(index + 1)) else {
            return arity(lower_name);
        };
        Ok(ValueAt {
            timestamp: parse_point(timestamp, now).ok_or(texts::INVALID_TIMESTAMP)?,
            nearness: Nearness::parse(nearness).ok_or(texts::NEARNESS)?,
            tolerance: None,
        })
    }
}

fn parse_tolerance(text: Option<&[u8]>, now: Now) -> Result<i64, Refusal> {
    let tolerance = text.and_then(|text| parse_duration(text, now.unit));
    tolerance
        .filter(|tolerance| *tolerance >= 0)
        .ok_or(texts::TOLERANCE)
}

/// Reads `TS.GETAT key timestamp PREV|NEXT|NEAREST [TOLERANCE duration]`.
///
/// # Errors
/// A point in time, a direction or a tolerance that is none.
pub fn parse_get_at(args: Args<'_>, now: Now) -> Result<ValueAt, Refusal> {
    let mut value_at = ValueAt::parse(args, 2, "ts.getat", now)?;
    let mut words = args.cursor(4);
    if words.take_flag(b"TOLERANCE") {
        value_at.tolerance = Some(parse_tolerance(words.next(), now)?);
    }
    if words.is_done() {
        Ok(value_at)
    } else {
        Err(Refusal::Syntax)
    }
}

/// What TS.MGETAT is asked for.
#[derive(Clone, Debug)]
pub struct MultiGetAt {
    /// Of every series.
    pub value_at: ValueAt,
    /// Which labels the reply carries.
    pub labels: LabelChoice,
    /// Which series.
    pub filter: LabelFilter,
}

/// Reads `TS.MGETAT timestamp PREV|NEXT|NEAREST [TOLERANCE duration] [WITHLABELS | SELECTED_LABELS label ...]
/// FILTER expression ...`.
///
/// # Errors
/// As [`parse_get_at`] and [`parse_mget`].
pub fn parse_mget_at(args: Args<'_>, now: Now) -> Result<MultiGetAt, Refusal> {
    let mut value_at = ValueAt::parse(args, 1, "ts.mgetat", now)?;
    let (labels, filter) = parse_filtered(args, 3, "ts.mgetat", |word, index| {
        if !word.eq_ignore_ascii_case(b"TOLERANCE") {
            return Err(Refusal::Syntax);
        }
        value_at.tolerance = Some(parse_tolerance(args.try_get(index), now)?);
        Ok(1)
    })?;
    Ok(MultiGetAt {
        value_at,
        labels,
        filter,
    })
}

/// What TS.JOIN is asked for; its keys are arguments 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinOptions {
    /// Of the samples on the left.
    pub bounds: Bounds,
    /// Which sample on the right belongs to one on the left; `None` only one with the same timestamp.
    pub as_of: Option<Nearness>,
    /// Samples further away do not count, in steps of the business's unit; not negative.
    pub tolerance: Option<i64>,
}

/// Reads `TS.JOIN left right from to [ASOF PREV|NEXT|NEAREST] [TOLERANCE duration]`.
///
/// # Errors
/// A bound, a direction or a tolerance that is none; a tolerance without ASOF.
pub fn parse_join(args: Args<'_>, now: Now) -> Result<JoinOptions, Refusal> {
    let mut options = JoinOptions {
        bounds: parse_bounds(args, 3, now)?,
        as_of: None,
        tolerance: None,
    };
    let mut words = args.cursor(5);
    while !words.is_done() {
        if options.as_of.is_none() && words.take_flag(b"ASOF") {
            let nearness = words.next().and_then(Nearness::parse);
            options.as_of = Some(nearness.ok_or(texts::NEARNESS)?);
        } else if options.tolerance.is_none() && words.take_flag(b"TOLERANCE") {
            options.tolerance = Some(parse_tolerance(words.next(), now)?);
        } else {
            return Err(Refusal::Syntax);
        }
    }
    if options.tolerance.is_some() && options.as_of.is_none() {
        return Err(Refusal::Syntax);
    }
    Ok(options)
}

/// Reads `TS.MDEL from to FILTER expression ...`.
///
/// # Errors
/// A bound that is none, and those of filters.
pub fn parse_multi_delete(args: Args<'_>, now: Now) -> Result<(Bounds, LabelFilter), Refusal> {
    let bounds = parse_bounds(args, 1, now)?;
    let mut words = args.cursor(3);
    if !words.take_flag(b"FILTER") {
        return Err(texts::FILTER_MISSING);
    }
    if words.is_done() {
        return Err(texts::FILTER_EMPTY);
    }
    Ok((bounds, LabelFilter::parse(words.rest())?))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
