//! TS.READ: the samples of a series from a point on, waiting for them if asked to.
//!
//! What the cursor means is found out once, before any waiting; the server asks again when the series has changed.

use crate::aggregate::Rows;
use crate::command::plan::{FollowPlan, Plan};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{Handled, Partition, RangeQuery, RangeRead, Stop};
use crate::resp::number::{parse_i64, parse_u64};
use crate::resp::{Args, Reply};
use crate::series::Columns;

use super::facts;
use super::parts;
use super::query::SeriesRows;
use super::read_options::{ReadCursor, parse_read};
use super::rows_reply::write_rows;

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::READ.command(Run::Session(read)),
    facts::share("TS.PART.CURSOR", Flags::READONLY, cursor_part),
    facts::share("TS.PART.READ", Flags::READONLY, read_part),
];

fn read(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let options = parse_read(args)?;
    let cursor = match options.cursor {
        ReadCursor::At(timestamp) => timestamp.to_string(),
        ReadCursor::First => "-".into(),
        ReadCursor::Last => "+".into(),
        ReadCursor::BehindLast => "$".into(),
    };
    Err(Plan::Follow(FollowPlan {
        key: args.get(1).into(),
        cursor: cursor.into_bytes().into(),
        resolve: context.shared.commands.internal("TS.PART.CURSOR")?,
        read: context.shared.commands.internal("TS.PART.READ")?,
        count_max: options.max_count.unwrap_or(usize::MAX),
        wait: options.block.map(|block| (block.timeout_ms, block.min_count)),
    })
    .into())
}

/// `key cursor`: what the cursor means, and whether the series is there.
fn cursor_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = partition.find_plain_series(call.args.get(1), call.now_ms)?;
    let newest = match found {
        Some((_, member)) => partition.last_sample(member)?.map(|sample| sample.timestamp),
        None => None,
    };
    let from = match call.args.get(2) {
        b"-" => 0,
        b"+" => newest.unwrap_or(0),
        b"$" => newest.map_or(0, |newest| newest.saturating_add(1)),
        text => parse_i64(text).unwrap_or(0),
    };
    parts::begin(reply);
    parts::push(reply, &from.to_le_bytes(), &[u8::from(found.is_some())]);
    Ok(())
}

/// What TS.PART.CURSOR has answered: the first timestamp, and whether the series is there.
pub fn decode_cursor(answer: &[u8]) -> Option<(i64, bool)> {
    let (from, is_there) = parts::entries(answer).next()?;
    Some((i64::from_le_bytes(from.try_into().ok()?), is_there == [1]))
}

/// `key from count`: the samples, as the client sees them, and their number. Of a series that is gone: none, and no
/// number.
fn read_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let proto = reply.proto();
    let answer = move |samples: Columns, reply: &mut Reply| {
        let mut part = Reply::new(proto);
        let count = samples.len() as u64;
        let rows = Rows::of_samples(samples.timestamps, samples.values);
        write_rows(
            &mut part,
            &SeriesRows {
                rows,
                qualities: None,
            },
        );
        parts::begin(reply);
        parts::push(reply, &count.to_le_bytes(), part.as_bytes());
    };
    let Some((_, member)) = partition.find_plain_series(args.get(1), call.now_ms)? else {
        parts::begin(reply);
        parts::push(reply, b"", b"*0\r\n");
        return Ok(());
    };
    let wanted = RangeQuery {
        from: parse_i64(args.get(2)).unwrap_or(0),
        to: i64::MAX,
        limit: parse_u64(args.get(3)).map_or(usize::MAX, |count| count as usize),
        reverse: false,
    };
    match partition.read_range(member, wanted)? {
        RangeRead::Ready(samples) => answer(samples, reply),
        RangeRead::Offload(job) => {
            return Err(Stop::offload(move |reply| {
                let samples = job.run()?;
                answer(samples, reply);
                Ok(())
            }));
        }
    }
    Ok(())
}

/// What TS.PART.READ has answered: the number of samples (`None` if the series is gone) and the reply.
pub fn decode_read(answer: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (count, reply) = parts::entries(answer).next()?;
    let count = count.try_into().ok().map(u64::from_le_bytes);
    Some((count.map(|count| count as usize), reply))
}
