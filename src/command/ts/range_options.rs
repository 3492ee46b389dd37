//! What TS.RANGE, TS.MRANGE, TS.NRANGE and their reverses are asked for.

use std::ops::Range;

use crate::aggregate::{Aggregator, BucketTimestamp};
use crate::refusal::Refusal;
use crate::resp::Args;
use crate::resp::number::{parse_f64, parse_i64, parse_u64};

use super::aggregation::{Aggregation, Align, Head};
use super::label_choice::LabelChoice;
use super::labels::LabelFilter;
use super::texts;
use super::timestamp::{Bounds, Now, parse_bounds};

/// A command that reads a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeCommand {
    Range,
    RevRange,
    MRange,
    MRevRange,
    NRange,
    NRevRange,
}

impl RangeCommand {
    /// Its name in lower case, as error texts have it.
    pub const fn lower_name(self) -> &'static str {
        match self {
            RangeCommand::Range => "ts.range",
            RangeCommand::RevRange => "ts.revrange",
            RangeCommand::MRange => "ts.mrange",
            RangeCommand::MRevRange => "ts.mrevrange",
            RangeCommand::NRange => "ts.nrange",
            RangeCommand::NRevRange => "ts.nrevrange",
        }
    }

    /// Newest samples first.
    pub const fn is_reverse(self) -> bool {
        matches!(
            self,
            RangeCommand::RevRange | RangeCommand::MRevRange | RangeCommand::NRevRange
        )
    }

    const fn has_filter(self) -> bool {
        matches!(self, RangeCommand::MRange | RangeCommand::MRevRange)
    }

    fn arity(self) -> Refusal {
        Refusal::Arity(self.lower_name().into())
    }
}

/// What is read of every series.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeOptions {
    /// Both ends included.
    pub bounds: Bounds,
    /// Report the open bucket of a rule's destination.
    pub latest: bool,
    /// Only samples at these timestamps, ascending without duplicates.
    pub timestamps: Option<Vec<i64>>,
    /// Only samples whose value lies between these, both included.
    pub values: Option<(f64, f64)>,
    /// Only samples whose quality lies between these, both included.
    pub qualities: Option<(u8, u8)>,
    /// Report the quality of every sample.
    pub with_quality: bool,
    /// At most so many samples, or buckets if aggregated; at least 1.
    pub count: Option<usize>,
    /// Buckets instead of samples.
    pub aggregation: Option<Aggregation>,
}

impl RangeOptions {
    /// All samples between two points in time.
    pub fn between(bounds: Bounds) -> RangeOptions {
        RangeOptions {
            bounds,
            latest: false,
            timestamps: None,
            values: None,
            qualities: None,
            with_quality: false,
            count: None,
            aggregation: None,
        }
    }
}

/// GROUPBY label REDUCE reducer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Series are joined by the value of this label; those without it drop out.
    pub label: Box<[u8]>,
    /// Makes one value out of those with the same timestamp.
    pub reducer: Aggregator,
}

/// What TS.MRANGE and TS.MREVRANGE are asked for.
#[derive(Clone, Debug)]
pub struct MultiRange {
    /// Of every series.
    pub range: RangeOptions,
    /// Which labels the reply carries.
    pub labels: LabelChoice,
    /// Leave out series without a sample.
    pub exclude_empty: bool,
    /// Which series.
    pub filter: LabelFilter,
    /// Joins them.
    pub group: Option<Group>,
}

/// What TS.NRANGE and TS.NREVRANGE are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedRange {
    /// Indexes of the keys among the arguments; at least one.
    pub keys: Range<usize>,
    /// Of every series; with as many lists of aggregators as keys.
    pub range: RangeOptions,
}

/// Reads the arguments of TS.RANGE and TS.REVRANGE.
///
/// # Errors
/// The texts of RedisTimeSeries for the first option that is malformed.
pub fn parse_range(args: Args<'_>, command: RangeCommand, now: Now) -> Result<RangeOptions, Refusal> {
    let walk = Walk::new(args, command, now, 1, parse_bounds(args, 2, now)?);
    Ok(walk.read(4)?.range)
}

/// Reads the arguments of TS.NRANGE and TS.NREVRANGE.
///
/// # Errors
/// As [`parse_range`], and about the number of keys.
pub fn parse_numbered_range(
    args: Args<'_>,
    command: RangeCommand,
    now: Now,
) -> Result<NumberedRange, Refusal> {
    let count = args.try_get(1).and_then(parse_u64).filter(|count| *count > 0);
    let count = usize::try_from(count.ok_or(texts::NUMKEYS)?).unwrap_or(usize::MAX);
    let end = count.saturating_add(2);
    if end.saturating_add(2) > args.len() {
        return Err(command.arity());
    }
    let walk = Walk::new(args, command, now, count, parse_bounds(args, end, now)?);
    Ok(NumberedRange {
        keys: 2..end,
        range: walk.read(end + 2)?.range,
    })
}

/// Reads the arguments of TS.MRANGE and TS.MREVRANGE.
///
/// # Errors
/// As [`parse_range`], and about labels, filters and groups.
pub fn parse_multi_range(args: Args<'_>, command: RangeCommand, now: Now) -> Result<MultiRange, Refusal> {
    let walk = Walk::new(args, command, now, 1, parse_bounds(args, 1, now)?).read(3)?;
    let filter_index = walk.filter_index.ok_or(texts::FILTER_MISSING)?;
    if walk.groups_early {
        return Err(texts::GROUPBY_EARLY);
    }
    let words = args.from(filter_index);
    let is_group = |word: &[u8]| word.eq_ignore_ascii_case(b"GROUPBY");
    let count = words.iter().position(is_group).unwrap_or(words.len());
    if count == 0 {
        return Err(texts::FILTER_EMPTY);
    }
    let filter = LabelFilter::parse(words.range(0..count))?;
    let group = match words.from(count) {
        clause if clause.is_empty() => None,
        clause => Some(parse_group(clause, command)?),
    };
    if group.is_some() {
        let aggregation = walk.range.aggregation.as_ref();
        if aggregation.is_some_and(|aggregation| aggregation.aggregators().len() > 1) {
            return Err(texts::GROUPBY_SEVERAL);
        }
        if walk.exclude_empty {
            return Err(texts::EXCLUDE_EMPTY_GROUPBY);
        }
        if walk.range.with_quality {
            return Err(texts::WITH_QUALITY_AGGREGATED);
        }
    }
    Ok(MultiRange {
        range: walk.range,
        labels: walk.labels,
        exclude_empty: walk.exclude_empty,
        filter,
        group,
    })
}

/// `GROUPBY label REDUCE reducer`, which nothing follows.
fn parse_group(clause: Args<'_>, command: RangeCommand) -> Result<Group, Refusal> {
    if clause.len() != 4 || !clause.get(2).eq_ignore_ascii_case(b"REDUCE") {
        return Err(command.arity());
    }
    let reducer = Aggregator::parse(clause.get(3)).filter(|reducer| reducer.can_reduce());
    Ok(Group {
        label: clause.get(1).into(),
        reducer: reducer.ok_or(texts::REDUCER_INVALID)?,
    })
}

/// Goes through the options once. Of one that is given twice the first counts; unknown words are passed over,
/// since Grafana sends a bucket without AGGREGATION.
struct Walk<'a> {
    args: Args<'a>,
    command: RangeCommand,
    now: Now,
    list_count: usize,
    range: RangeOptions,
    labels: LabelChoice,
    exclude_empty: bool,
    /// Of the first expression.
    filter_index: Option<usize>,
    /// GROUPBY stands in front of FILTER.
    groups_early: bool,
    align: Option<Align>,
    head: Option<Head>,
    /// Where the words EMPTY and BUCKETTIMESTAMP stand.
    empty_index: Option<usize>,
    bucket_timestamp_index: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(args: Args<'a>, command: RangeCommand, now: Now, list_count: usize, bounds: Bounds) -> Walk<'a> {
        Walk {
            args,
            command,
            now,
            list_count,
            range: RangeOptions::between(bounds),
            labels: LabelChoice::None,
            exclude_empty: false,
            filter_index: None,
            groups_early: false,
            align: None,
            head: None,
            empty_index: None,
            bucket_timestamp_index: None,
        }
    }

    /// Reads all options from argument `index` on.
    fn read(mut self, mut index: usize) -> Result<Walk<'a>, Refusal> {
        while let Some(word) = self.args.try_get(index) {
            if self.command.has_filter() {
                if word.eq_ignore_ascii_case(b"FILTER") {
                    self.filter_index = Some(index + 1);
                    break;
                }
                if let Some(end) = self.labels.read(word, self.args, index + 1)? {
                    index = end;
                    continue;
                }
            }
            index = self.option(word, index)?;
        }
        self.finish()?;
        Ok(self)
    }

    /// Reads the option whose word stands at `index`; returns where it ends.
    fn option(&mut self, word: &[u8], index: usize) -> Result<usize, Refusal> {
        let operands = index + 1;
        let operand = self.args.try_get(operands);
        match word.to_ascii_uppercase().as_slice() {
            b"LATEST" => self.range.latest = true,
            b"WITHQUALITY" => self.range.with_quality = true,
            b"EXCLUDEEMPTY" if self.command.has_filter() => self.exclude_empty = true,
            b"GROUPBY" if self.command.has_filter() => self.groups_early = true,
            b"EMPTY" => {
                self.empty_index.get_or_insert(index);
            }
            b"COUNT" => {
                let count = parse_count(operand)?;
                self.range.count.get_or_insert(count);
                return Ok(operands + 1);
            }
            b"ALIGN" => {
                let text = operand.ok_or_else(|| self.command.arity())?;
                let align = Align::parse(text, self.now).ok_or(texts::ALIGN_UNKNOWN)?;
                self.align.get_or_insert(align);
                return Ok(operands + 1);
            }
            b"BUCKETTIMESTAMP" => {
                self.bucket_timestamp_index.get_or_insert(index);
                return Ok(operands + 1);
            }
            b"AGGREGATION" => {
                let head = Head::parse(self.args, operands, self.list_count, self.now.unit)?;
                let end = head.end;
                self.head.get_or_insert(head);
                return Ok(end);
            }
            b"FILTER_BY_VALUE" => {
                let values = parse_values(operand, self.args.try_get(operands + 1))?;
                self.range.values.get_or_insert(values);
                return Ok(operands + 2);
            }
            b"FILTER_BY_QUALITY" => {
                let qualities = parse_qualities(operand, self.args.try_get(operands + 1))?;
                self.range.qualities.get_or_insert(qualities);
                return Ok(operands + 2);
            }
            b"FILTER_BY_TS" => {
                let (timestamps, end) = parse_timestamps(self.args, operands)?;
                self.range.timestamps.get_or_insert(timestamps);
                return Ok(end);
            }
            _ => {}
        }
        Ok(operands)
    }

    /// Puts the aggregation together; without AGGREGATION, EMPTY and BUCKETTIMESTAMP mean nothing.
    fn finish(&mut self) -> Result<(), Refusal> {
        let Some(head) = self.head.take() else {
            return self.align.map_or(Ok(()), |_| Err(texts::ALIGN_ALONE));
        };
        let align = self.align.unwrap_or_default();
        match align {
            Align::Start if self.range.bounds.from.is_open => return Err(texts::ALIGN_OPEN_START),
            Align::End if self.range.bounds.to.is_open => return Err(texts::ALIGN_OPEN_END),
            _ => {}
        }
        if self.range.with_quality {
            return Err(texts::WITH_QUALITY_AGGREGATED);
        }
        // The 3rd word behind AGGREGATION, the word itself not counted, stands where the bucket ends.
        let third = head.end;
        if self
            .empty_index
            .is_some_and(|index| index != third && index != third + 2)
        {
            return Err(texts::EMPTY_PLACE);
        }
        let mut bucket_timestamp = BucketTimestamp::default();
        if let Some(index) = self.bucket_timestamp_index {
            if index != third && index != third + 1 {
                return Err(texts::BUCKET_TIMESTAMP_PLACE);
            }
            let text = self.args.try_get(index + 1).ok_or_else(|| self.command.arity())?;
            bucket_timestamp = BucketTimestamp::parse(text).ok_or(texts::BUCKET_TIMESTAMP_UNKNOWN)?;
        }
        self.range.aggregation = Some(Aggregation {
            lists: head.lists,
            bucket: head.bucket,
            align,
            bucket_timestamp,
            empty: self.empty_index.is_some(),
        });
        Ok(())
    }
}

fn parse_count(operand: Option<&[u8]>) -> Result<usize, Refusal> {
    let count = parse_i64(operand.ok_or(texts::COUNT_MISSING)?).ok_or(texts::COUNT)?;
    if count < 1 {
        return Err(texts::COUNT_INVALID);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn parse_values(minimum: Option<&[u8]>, maximum: Option<&[u8]>) -> Result<(f64, f64), Refusal> {
    let (minimum, maximum) = minimum.zip(maximum).ok_or(texts::FILTER_BY_VALUE_MISSING)?;
    Ok((
        parse_f64(minimum).ok_or(texts::MIN)?,
        parse_f64(maximum).ok_or(texts::MAX)?,
    ))
}

fn parse_qualities(minimum: Option<&[u8]>, maximum: Option<&[u8]>) -> Result<(u8, u8), Refusal> {
    let (minimum, maximum) = minimum.zip(maximum).ok_or(texts::FILTER_BY_QUALITY_MISSING)?;
    let quality = |text| parse_u64(text).and_then(|quality| u8::try_from(quality).ok());
    quality(minimum)
        .zip(quality(maximum))
        .ok_or(texts::FILTER_BY_QUALITY)
}

/// Timestamps up to the first word that is none. RedisTimeSeries silently drops all but the first 128; here
/// all count.
fn parse_timestamps(args: Args<'_>, index: usize) -> Result<(Vec<i64>, usize), Refusal> {
    let mut timestamps: Vec<i64> = args
        .cursor(index)
        .map_while(|text| parse_i64(text).filter(|timestamp| *timestamp >= 0))
        .collect();
    if timestamps.is_empty() {
        return Err(texts::FILTER_BY_TS_MISSING);
    }
    let end = index + timestamps.len();
    timestamps.sort_unstable();
    timestamps.dedup();
    Ok((timestamps, end))
}

#[cfg(test)]
#[path = "range_tests.rs"]
mod tests;
