//! TS.NRANGE, TS.NREVRANGE and TS.JOIN: rows of named series side by side.
//!
//! Each key's rows are found by its owner; the connection's lane joins them by time.

use std::sync::Arc;

use crate::aggregate::{AsofDirection, Rows, join_asof, join_inner, join_rows};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{Handled, Partition, Stop};
use crate::resp::number::parse_u64;
use crate::resp::{Args, Reply};

use super::facts;
use super::parts::{self, OWN_ARGS};
use super::query::{RowsFound, RowsQuery, SeriesRows, series_rows};
use super::range_options::{NumberedRange, RangeCommand, RangeOptions, parse_numbered_range};
use super::read_options::{JoinOptions, Nearness, parse_join};
use super::rows_reply::write_rows;
use super::rules::latest;
use super::texts;
use super::timestamp::{Bound, Bounds, Now};
use super::value::write_value;

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::NRANGE.command(Run::Session(ask_numbered)),
    facts::NREVRANGE.command(Run::Session(ask_numbered)),
    facts::JOIN.command(Run::Session(join)),
    facts::share("TS.PART.NRANGE", Flags::READONLY, numbered_part),
    facts::share("TS.PART.JOIN", Flags::READONLY, join_part),
];

fn command_of(args: Args<'_>) -> RangeCommand {
    if args.name().eq_ignore_ascii_case(b"TS.NREVRANGE") {
        RangeCommand::NRevRange
    } else {
        RangeCommand::NRange
    }
}

fn ask_numbered(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let options = parse_numbered_range(args, command_of(args), Now::of_form(context))?;
    let keys: Vec<&[u8]> = options.keys.clone().map(|index| args.get(index)).collect();
    let collect = |context: &mut SessionContext<'_>, args: Args<'_>, answers: &[&[u8]], reply: &mut Reply| {
        let options = parse_numbered_range(args, command_of(args), Now::of_form(context))?;
        write_numbered(&options, command_of(args).is_reverse(), answers, reply);
        Ok(())
    };
    // Every owner has to know which of the keys is meant: two may be the same.
    let stop = parts::ask_keys(context, "TS.PART.NRANGE", keys.into_iter(), args, collect);
    Err(parts::numbered(stop))
}

fn numbered_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    // The number of the key stands last.
    let len = call.args.len();
    let number = parse_u64(call.args.get(len - 1)).map_or(0, |number| number as usize);
    let args = call.args.range(OWN_ARGS..len - 1);
    let command = command_of(args);
    let NumberedRange { range, .. } = parse_numbered_range(args, command, Now::of(partition, call))?;
    let unit = partition.settings.time_unit;
    let query = RowsQuery::new(range, number, command.is_reverse(), unit)?;
    rows_part(partition, call, query, command.is_reverse(), reply)
}

/// Answers with the rows of the series at argument 1, the oldest first.
fn rows_part(
    partition: &mut Partition,
    call: &Call<'_>,
    query: RowsQuery,
    is_reverse: bool,
    reply: &mut Reply,
) -> Handled {
    let key = call.args.get(1);
    let found = partition.find_plain_series(key, call.now_ms)?;
    let (place, member) = found.ok_or(texts::KEY_MISSING)?;
    let mut query = Arc::new(query);
    if query.is_latest() {
        query = query.with_open_bucket(latest(partition, place, call.now_ms)?);
    }
    let write = move |mut found: SeriesRows, reply: &mut Reply| {
        if is_reverse {
            found.rows.reverse();
        }
        let mut bytes = Vec::new();
        parts::put_rows(&found.rows, &mut bytes);
        parts::begin(reply);
        parts::push(reply, b"", &bytes);
    };
    match series_rows(partition, member, &query)? {
        RowsFound::Ready(found) => write(found, reply),
        RowsFound::Offload(job) => {
            return Err(Stop::offload(move |reply| {
                let found = job()?;
                write(found, reply);
                Ok(())
            }));
        }
    }
    Ok(())
}

/// Rows of each key, in the order of the keys.
fn rows_of(answers: &[&[u8]]) -> Vec<Rows> {
    let rows = |answer: &&[u8]| {
        parts::entries(answer)
            .next()
            .map(|(_, bytes)| parts::get_rows(bytes))
    };
    answers
        .iter()
        .map(|answer| rows(answer).unwrap_or_default())
        .collect()
}

fn write_numbered(options: &NumberedRange, is_reverse: bool, answers: &[&[u8]], reply: &mut Reply) {
    let mut rows = join_rows(&rows_of(answers));
    if is_reverse {
        rows.reverse();
    }
    rows.truncate(options.range.count.unwrap_or(usize::MAX));
    reply.array(rows.len());
    for (timestamp, row) in rows.iter() {
        reply.array(2);
        reply.integer(timestamp);
        reply.array(row.len());
        row.iter().for_each(|value| write_value(reply, *value));
    }
}

fn join(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    parse_join(args, Now::of_form(context))?;
    let keys = [args.get(1), args.get(2)].into_iter();
    let collect = |context: &mut SessionContext<'_>, args: Args<'_>, answers: &[&[u8]], reply: &mut Reply| {
        let options = parse_join(args, Now::of_form(context))?;
        let rows = rows_of(answers);
        if let [left, right] = rows.as_slice() {
            let rows = joined(&options, left, right);
            let qualities = None;
            write_rows(reply, &SeriesRows { rows, qualities });
        }
        Ok(())
    };
    let stop = parts::ask_keys(context, "TS.PART.JOIN", keys, args, collect);
    Err(parts::numbered(stop))
}

fn joined(options: &JoinOptions, left: &Rows, right: &Rows) -> Rows {
    let direction = match options.as_of {
        None => return join_inner(left, right),
        Some(Nearness::Previous) => AsofDirection::Previous,
        Some(Nearness::Next) => AsofDirection::Next,
        Some(Nearness::Nearest) => AsofDirection::Nearest,
    };
    join_asof(left, right, direction, options.tolerance.map(i64::unsigned_abs))
}

fn join_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let len = call.args.len();
    let is_right = call.args.get(len - 1) != b"0";
    let options = parse_join(call.args.range(OWN_ARGS..len - 1), Now::of(partition, call))?;
    let Bounds { mut from, mut to } = options.bounds;
    let open = |timestamp| Bound {
        timestamp,
        is_open: true,
    };
    // What stands for the first and the last sample on the left may lie outside of the range.
    if is_right && let Some(direction) = options.as_of {
        if direction != Nearness::Next {
            from = options.tolerance.map_or(open(0), |tolerance| Bound {
                timestamp: from.timestamp.saturating_sub(tolerance),
                ..from
            });
        }
        if direction != Nearness::Previous {
            to = options.tolerance.map_or(open(i64::MAX), |tolerance| Bound {
                timestamp: to.timestamp.saturating_add(tolerance),
                ..to
            });
        }
    }
    let range = RangeOptions::between(Bounds { from, to });
    let query = RowsQuery::new(range, 0, false, partition.settings.time_unit)?;
    rows_part(partition, call, query, false, reply)
}
