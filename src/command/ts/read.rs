//! TS.GET, TS.RANGE, TS.REVRANGE and TS.GETAT: reading one series.

use std::sync::Arc;

use crate::command::{Call, Command, Run};
use crate::lane::{DecodedRange, Handled, Partition, RangeQuery, RangeRead, Stop};
use crate::resp::Reply;
use crate::series::{Columns, Sample};

use super::query::{RowsFound, RowsQuery, series_rows, write_decoded};
use super::range_options::{RangeCommand, parse_range};
use super::read_options::{Nearness, ValueAt, parse_get, parse_get_at};
use super::rows_reply::{write_rows, write_sample};
use super::rules::latest;
use super::timestamp::Now;
use super::{facts, texts};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    facts::GET.command(Run::Owner { key: 1, handler: get }),
    facts::RANGE.command(Run::Owner {
        key: 1,
        handler: range,
    }),
    facts::REVRANGE.command(Run::Owner {
        key: 1,
        handler: reverse_range,
    }),
    facts::GETAT.command(Run::Owner {
        key: 1,
        handler: get_at,
    }),
];

/// Place of the key and of its series.
///
/// # Errors
/// [`texts::KEY_MISSING`], `WRONGTYPE`, `Wait::Load`.
pub fn existing_series(partition: &mut Partition, key: &[u8], now_ms: i64) -> Result<(usize, u32), Stop> {
    let found = partition.find_plain_series(key, now_ms)?;
    found.ok_or_else(|| texts::KEY_MISSING.into())
}

fn get(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (place, member) = existing_series(partition, call.args.get(1), call.now_ms)?;
    if parse_get(call.args)?
        && let Some(open_bucket) = latest(partition, place, call.now_ms)?
    {
        write_sample(reply, Some(open_bucket));
        return Ok(());
    }
    partition.settle_retention(member)?;
    let write = |range: &DecodedRange<'_>| write_sample(reply, range.newest());
    if partition
        .with_decoded_range(member, &RangeQuery::NEWEST, write)?
        .is_some()
    {
        return Ok(());
    }
    match partition.read_range(member, RangeQuery::NEWEST)? {
        RangeRead::Ready(samples) => write_sample(reply, samples.last()),
        RangeRead::Offload(job) => {
            return Err(Stop::offload(move |reply| {
                let samples = job.run()?;
                write_sample(reply, samples.last());
                Ok(())
            }));
        }
    }
    Ok(())
}

fn range(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    read_range(partition, call, RangeCommand::Range, reply)
}

fn reverse_range(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    read_range(partition, call, RangeCommand::RevRange, reply)
}

fn read_range(
    partition: &mut Partition,
    call: &Call<'_>,
    command: RangeCommand,
    reply: &mut Reply,
) -> Handled {
    let (place, member) = existing_series(partition, call.args.get(1), call.now_ms)?;
    let now = Now::of(partition, call);
    let options = parse_range(call.args, command, now)?;
    let query = RowsQuery::new(options, 0, command.is_reverse(), now.unit)?;
    if !query.is_latest() && write_decoded(partition, member, &query, reply)?.is_some() {
        return Ok(());
    }
    let mut query = Arc::new(query);
    if query.is_latest() {
        query = query.with_open_bucket(latest(partition, place, call.now_ms)?);
    }
    match series_rows(partition, member, &query)? {
        RowsFound::Ready(rows) => write_rows(reply, &rows),
        RowsFound::Offload(job) => {
            return Err(Stop::offload(move |reply| {
                let rows = job()?;
                write_rows(reply, &rows);
                Ok(())
            }));
        }
    }
    Ok(())
}

/// What has to be read for the value at a point in time: the newest sample up to it, the oldest one from it on.
pub fn reads_at(wanted: &ValueAt) -> [Option<RangeQuery>; 2] {
    let at = wanted.timestamp;
    let tolerance = wanted.tolerance.unwrap_or(i64::MAX);
    let before = RangeQuery {
        from: match wanted.tolerance {
            Some(_) => at.saturating_sub(tolerance),
            None => i64::MIN,
        },
        to: at,
        limit: 1,
        reverse: true,
    };
    let after = RangeQuery {
        from: at,
        to: at.saturating_add(tolerance),
        limit: 1,
        reverse: false,
    };
    match wanted.nearness {
        Nearness::Previous => [Some(before), None],
        Nearness::Next => [None, Some(after)],
        Nearness::Nearest => [Some(before), Some(after)],
    }
}

/// The closer one of both, the earlier one if they are equally close.
pub fn closer(at: i64, before: Option<Sample>, after: Option<Sample>) -> Option<Sample> {
    match (before, after) {
        (Some(before), Some(after)) => {
            let is_closer = after.timestamp.abs_diff(at) < before.timestamp.abs_diff(at);
            Some(if is_closer { after } else { before })
        }
        (before, after) => before.or(after),
    }
}

fn get_at(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (_, member) = existing_series(partition, call.args.get(1), call.now_ms)?;
    let wanted = parse_get_at(call.args, Now::of(partition, call))?;
    partition.settle_retention(member)?;
    let mut parts = [
        RangeRead::Ready(Columns::default()),
        RangeRead::Ready(Columns::default()),
    ];
    for (read, part) in reads_at(&wanted).into_iter().zip(&mut parts) {
        if let Some(read) = read {
            *part = partition.read_range(member, read)?;
        }
    }
    let at = wanted.timestamp;
    match parts {
        [RangeRead::Ready(before), RangeRead::Ready(after)] => {
            write_sample(reply, closer(at, before.last(), after.last()));
            Ok(())
        }
        [before, after] => Err(Stop::offload(move |reply| {
            let (before, after) = (before.into_columns()?, after.into_columns()?);
            write_sample(reply, closer(at, before.last(), after.last()));
            Ok(())
        })),
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
