//! TSDB_SET, TSDB_GET, TSDB_MSET and the BATCH commands: samples in the words of the original requirement.

use std::ops::Range;

use crate::config::TimeUnit;
use crate::lane::{DecodedRange, FoundSample, Handled, Partition, RangeQuery, RangeRead, Stop};
use crate::refusal::Refusal;
use crate::resp::number::{parse_f64, parse_i64, parse_u64};
use crate::resp::{Args, Reply, SampleWriter, ValueText};
use crate::series::{Columns, DEFAULT_QUALITY, Sample};

use super::plan::Plan;
use super::session::{SessionContext, SessionStop};
use super::{Call, Command, Flags, KeySpec, Merge, Run, each_group};

/// Arguments per sample: key, timestamp, value.
const TSDB_MSET_STEP: usize = 3;

/// The family's table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "TSDB_SET",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENY_ON_FULL).and(Flags::FAST),
        keys: KeySpec::FIRST,
        group: "timeseries",
        since: "1.0.0",
        syntax: "key timestamp|* value [data_type] [quality]",
        summary: "Stores one sample; an equal timestamp is overwritten.",
        run: Run::Owner { key: 1, handler: set },
    },
    Command {
        name: "TSDB_GET",
        arity: -4,
        flags: Flags::READONLY.and(Flags::READS_FROM),
        keys: KeySpec::FIRST,
        group: "timeseries",
        since: "1.0.0",
        syntax: "key start|- end|+ [limit] [TYPE data_type] [REV]",
        summary: "Returns the samples between two timestamps, both included, oldest first.",
        run: Run::Owner { key: 1, handler: get },
    },
    Command {
        name: "TSDB_TYPES",
        arity: 2,
        flags: Flags::READONLY.and(Flags::FAST),
        keys: KeySpec::FIRST,
        group: "timeseries",
        since: "1.0.0",
        syntax: "key",
        summary: "Returns the data types of the key's series, ascending.",
        run: Run::Owner {
            key: 1,
            handler: types,
        },
    },
    Command {
        name: "TSDB_MSET",
        arity: -4,
        flags: Flags::WRITE.and(Flags::DENY_ON_FULL),
        keys: KeySpec::every(3),
        group: "timeseries",
        since: "1.0.0",
        syntax: "key timestamp|* value [key timestamp|* value ...]",
        summary: "Stores samples of any keys, all or nothing.",
        run: Run::Split {
            step: TSDB_MSET_STEP,
            handler: set_group,
            merge: Merge::Ok,
            atomic: Some(check_group),
            prepare: None,
            together: Some(set_groups),
        },
    },
    Command {
        name: "BATCH_SET",
        arity: 4,
        flags: Flags::WRITE.and(Flags::FAST),
        keys: KeySpec::FIRST,
        group: "timeseries",
        since: "1.0.0",
        syntax: "key value timestamp|*",
        summary: "Collects a sample on this connection until BATCH_FLUSH.",
        run: Run::Session(batch_set),
    },
    Command {
        name: "BATCH_FLUSH",
        arity: 1,
        flags: Flags::WRITE.and(Flags::DENY_ON_FULL).and(Flags::NO_MULTI),
        keys: KeySpec::NONE,
        group: "timeseries",
        since: "1.0.0",
        syntax: "",
        summary: "Stores the collected samples, all or nothing, and returns their number.",
        run: Run::Session(batch_flush),
    },
    Command {
        name: "BATCH_DISCARD",
        arity: 1,
        flags: Flags::FAST,
        keys: KeySpec::NONE,
        group: "timeseries",
        since: "1.0.0",
        syntax: "",
        summary: "Drops the collected samples.",
        run: Run::Session(batch_discard),
    },
];

/// Time now in a business's unit.
pub fn now_in(unit: TimeUnit, call: &Call<'_>) -> i64 {
    let nanoseconds = i128::from(call.now_us) * 1_000 / i128::from(unit.nanoseconds());
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

#[inline]
fn parse_timestamp(text: &[u8], unit: TimeUnit, call: &Call<'_>) -> Result<i64, Refusal> {
    if text == b"*" {
        return Ok(now_in(unit, call));
    }
    parse_i64(text).ok_or_else(|| Refusal::text("ERR invalid timestamp, must be a 64-bit integer or *"))
}

#[inline]
fn parse_value(text: &[u8]) -> Result<f64, Refusal> {
    parse_f64(text).ok_or_else(|| Refusal::text("ERR invalid value, must be a floating-point number"))
}

/// 0 to 255, or two hexadecimal digits after 0x.
fn parse_data_type(text: &[u8]) -> Result<u8, Refusal> {
    let number = match text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")) {
        Some(digits) if digits.len() == 2 => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
        Some(_) => None,
        None => parse_u64(text).and_then(|number| u8::try_from(number).ok()),
    };
    number.ok_or_else(|| Refusal::text("ERR invalid data type, must be 0 to 255 or 0x00 to 0xff"))
}

fn parse_quality(text: &[u8]) -> Result<u8, Refusal> {
    let quality = parse_u64(text).and_then(|number| u8::try_from(number).ok());
    quality.ok_or_else(|| Refusal::text("ERR invalid quality, must be 0 to 255"))
}

fn set(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    if args.len() > 6 {
        return Err(Refusal::Arity("tsdb_set".into()).into());
    }
    let timestamp = parse_timestamp(args.get(2), partition.settings.time_unit, call)?;
    let value = parse_value(args.get(3))?;
    let data_type = args.try_get(4).map_or(Ok(0), parse_data_type)?;
    let quality = args.try_get(5).map_or(Ok(DEFAULT_QUALITY), parse_quality)?;
    partition.add_sample(
        args.get(1),
        data_type,
        Sample {
            timestamp,
            value,
            quality,
        },
        call.now_ms,
    )?;
    reply.ok();
    Ok(())
}

/// One (key, timestamp, value) of TSDB_MSET.
#[inline(always)]
fn parse_group(partition: &Partition, call: &Call<'_>) -> Result<Sample, Refusal> {
    let timestamp = parse_timestamp(call.args.get(1), partition.settings.time_unit, call)?;
    Ok(Sample {
        timestamp,
        value: parse_value(call.args.get(2))?,
        quality: DEFAULT_QUALITY,
    })
}

/// All samples of a TSDB_MSET into series that are there and have no rules.
fn set_groups(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Result<bool, Stop> {
    let mut found = partition.lend_found_samples();
    let outcome = find_groups(partition, call, &mut found);
    if let Ok(true) = outcome {
        for (index, sample) in found.iter().enumerate() {
            partition.fetch_found(&found, index);
            partition.put_sample(sample.member, sample.sample(), call.now_ms);
        }
        reply.ok();
    }
    partition.return_found_samples(found);
    outcome
}

fn find_groups(
    partition: &mut Partition,
    call: &Call<'_>,
    found: &mut Vec<FoundSample>,
) -> Result<bool, Stop> {
    each_group(partition, call.args, TSDB_MSET_STEP, |partition, args| {
        let sample = parse_group(partition, &Call { args, ..*call })?;
        match partition.find_plain_series(args.get(0), call.now_ms)? {
            Some((place, member)) if !partition.has_rules(place) => {
                found.push(FoundSample::new(member, sample));
                Ok(true)
            }
            _ => Ok(false),
        }
    })
}

fn check_group(partition: &mut Partition, call: &Call<'_>) -> Result<bool, Stop> {
    parse_group(partition, call)?;
    partition.check_key(call.args.get(0))?;
    if let Some((place, member)) = partition.find_plain_series(call.args.get(0), call.now_ms)?
        && partition.has_rules(place)
    {
        partition.certain_newest(member)?;
    }
    Ok(true)
}

fn set_group(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let sample = parse_group(partition, call)?;
    partition.add_sample(call.args.get(0), 0, sample, call.now_ms)?;
    reply.integer(1);
    Ok(())
}

fn get(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let bound = |text: &[u8], open: &[u8], at_open: i64| {
        if text == open {
            return Ok(at_open);
        }
        parse_i64(text)
            .ok_or_else(|| Refusal::text("ERR invalid timestamp, must be a 64-bit integer, - or +"))
    };
    let from = bound(args.get(2), b"-", i64::MIN)?;
    let to = bound(args.get(3), b"+", i64::MAX)?;
    let (mut limit, mut data_type, mut reverse) = (usize::MAX, 0, false);
    let mut options = args.cursor(4);
    if let Some(count) = options.peek().and_then(parse_i64) {
        options.next();
        let refusal = || Refusal::text("ERR invalid limit, must be a positive integer");
        limit = usize::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .ok_or_else(refusal)?;
    }
    while !options.is_done() {
        if options.take_flag(b"REV") {
            reverse = true;
        } else if options.take_flag(b"TYPE") {
            data_type = parse_data_type(options.next().ok_or(Refusal::Syntax)?)?;
        } else {
            return Err(Refusal::Syntax.into());
        }
    }
    let Some(member) = partition.find_series(args.get(1), data_type, call.now_ms)? else {
        reply.array(0);
        return Ok(());
    };
    let query = RangeQuery {
        from,
        to,
        limit,
        reverse,
    };
    let answer = |range: &DecodedRange<'_>| write_decoded(range, reverse, reply);
    if partition.with_decoded_range(member, &query, answer)?.is_some() {
        return Ok(());
    }
    match partition.read_range(member, query)? {
        RangeRead::Ready(columns) => write_samples(&columns, reverse, reply),
        RangeRead::Offload(job) => {
            return Err(Stop::offload(move |reply| {
                let columns = job.run()?;
                write_samples(&columns, reverse, reply);
                Ok(())
            }));
        }
    }
    Ok(())
}

fn types(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let mut types = match partition.image_parts(call.args.get(1), call.now_ms)? {
        None => Vec::new(),
        Some((Some(_), _, _)) => return Err(Refusal::WrongType.into()),
        Some((None, members, _)) => members.into_iter().map(|(data_type, _)| data_type).collect(),
    };
    types.sort_unstable();
    reply.array(types.len());
    types
        .into_iter()
        .for_each(|data_type| reply.integer(i64::from(data_type)));
    Ok(())
}

/// Writes an array of `[timestamp, value, quality]`.
fn write_samples(columns: &Columns, reverse: bool, reply: &mut Reply) {
    reply.array(columns.len());
    let mut writer = SampleWriter::new(ValueText::Bulk, true);
    write_run(columns, 0..columns.len(), reverse, &mut writer, reply);
}

/// The same of samples that lie in several runs.
fn write_decoded(range: &DecodedRange<'_>, reverse: bool, reply: &mut Reply) {
    reply.array(range.samples());
    let mut writer = SampleWriter::new(ValueText::Bulk, true);
    range.for_each_run(|columns, within| write_run(columns, within, reverse, &mut writer, reply));
}

/// Writes the samples at `within`, the last one first if `reverse`.
pub fn write_run(
    columns: &Columns,
    within: Range<usize>,
    reverse: bool,
    writer: &mut SampleWriter,
    reply: &mut Reply,
) {
    let qualities = columns.qualities.stored(within.clone());
    let timestamps = columns.timestamps.get(within.clone()).unwrap_or(&[]);
    let values = columns.values.get(within).unwrap_or(&[]);
    writer.write(reply, timestamps, values, qualities, reverse);
}

fn batch_set(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let max = context.shared.config.wire.batch_set_max;
    if context.session.batch.len() / 3 >= max {
        let text =
            format!("ERR the batch holds {max} samples already, the configured maximum: BATCH_FLUSH first");
        return Err(Refusal::text(text).into());
    }
    let (key, value, timestamp) = (args.get(1), args.get(2), args.get(3));
    parse_value(value)?;
    if timestamp != b"*" && parse_i64(timestamp).is_none() {
        return Err(Refusal::text("ERR invalid timestamp, must be a 64-bit integer or *").into());
    }
    context
        .session
        .batch
        .extend([key.into(), timestamp.into(), value.into()]);
    reply.simple("QUEUED");
    Ok(())
}

fn batch_flush(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let triples = std::mem::take(&mut context.session.batch);
    if triples.is_empty() {
        reply.integer(0);
        return Ok(());
    }
    Err(Plan::BatchFlush { triples }.into())
}

fn batch_discard(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    context.session.batch = Vec::new();
    reply.ok();
    Ok(())
}
