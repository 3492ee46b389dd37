//! TS.MGETAT, TS.MRANGE and TS.MREVRANGE: commands about samples of all series with some labels.
//!
//! Each runs as an internal command in every partition, whose answers the connection's lane merges by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aggregate::{Rows, reduce};
use crate::command::plan::Collect;
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::{Args, Proto, Reply};
use crate::series::{Label, Sample, SeriesProperties};

use super::facts;
use super::label_choice::LabelChoice;
use super::matching::{Matched, matches_of, rows_of_matches, write_listed};
use super::parts::{self, OWN_ARGS};
use super::query::{RowsFound, RowsQuery, SeriesRows, series_rows, write_decoded};
use super::range_options::{Group, MultiRange, RangeCommand, RangeOptions, parse_multi_range};
use super::read::{closer, reads_at};
use super::read_options::parse_mget_at;
use super::rows_reply::{write_rows, write_sample};
use super::timestamp::{Bound, Bounds, Now};

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::MRANGE.command(Run::Session(ask_range)),
    facts::MREVRANGE.command(Run::Session(ask_range)),
    facts::MGETAT.command(Run::Session(mget_at)),
    facts::share("TS.PART.MGETAT", Flags::READONLY, mget_at_part),
    facts::share("TS.PART.MRANGE", Flags::READONLY, mrange_part),
];

/// Makes one reply of the series of all partitions, by key.
pub fn collect_series(
    _: &mut SessionContext<'_>,
    _: Args<'_>,
    answers: &[&[u8]],
    reply: &mut Reply,
) -> Result<(), Refusal> {
    write_series(&parts::sorted(answers), reply);
    Ok(())
}

/// The head of a map of series, and the series.
fn write_series(series: &[(&[u8], &[u8])], reply: &mut Reply) {
    match reply.proto() {
        Proto::Resp2 => reply.array(series.len()),
        Proto::Resp3 => reply.map(series.len()),
    }
    reply.reserve(series.iter().map(|(_, bytes)| bytes.len()).sum());
    series.iter().for_each(|(_, bytes)| reply.raw(bytes));
}

fn mget_at(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    parse_mget_at(args, Now::of_form(context))?;
    Err(parts::ask_every_partition(
        context,
        "TS.PART.MGETAT",
        args,
        collect_series,
    ))
}

fn mget_at_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let now = Now::of(partition, call);
    let options = parse_mget_at(args, now)?;
    let mut queries = Vec::new();
    for read in reads_at(&options.value_at).into_iter().flatten() {
        let bound = |timestamp: i64| Bound {
            timestamp,
            is_open: timestamp == i64::MIN,
        };
        let range = RangeOptions {
            count: Some(1),
            ..RangeOptions::between(Bounds {
                from: bound(read.from),
                to: bound(read.to),
            })
        };
        queries.push(Arc::new(RowsQuery::new(range, 0, read.reverse, now.unit)?));
    }
    let at = options.value_at.timestamp;
    let filter = options.filter.clone();
    let write = move |matched: Vec<Matched>, reply: &mut Reply| {
        parts::begin(reply);
        for series in matched {
            let labels = &series.properties.labels;
            let opened = open_series(&series.key, labels, &options.labels, 1, reply);
            let first = |found: &SeriesRows| {
                let (timestamp, row) = found.rows.iter().next()?;
                Some(Sample::new(timestamp, row.first().copied()?))
            };
            let mut samples = series.found.iter().map(first);
            let (one, other) = (samples.next().flatten(), samples.next().flatten());
            write_sample(reply, closer(at, one, other));
            opened.close(reply);
        }
        Ok(())
    };
    let matches = matches_of(partition, &filter, args, call.now_ms)?;
    rows_of_matches(partition, matches, &queries, call.now_ms, reply, Box::new(write))
}

/// Begins one series of an answer: its key and the labels that were asked for. `others` elements follow until it is
/// closed.
pub fn open_series(
    key: &[u8],
    labels: &[Label],
    choice: &LabelChoice,
    others: usize,
    reply: &mut Reply,
) -> parts::Opened {
    let opened = parts::open(reply, key);
    begin_series(key, others, reply);
    write_labels(choice, labels, reply);
    opened
}

/// Writes the key of a series and the head of what follows it: its labels and `others`.
fn begin_series(key: &[u8], others: usize, part: &mut Reply) {
    match part.proto() {
        Proto::Resp2 => {
            part.array(2 + others);
            part.bulk(key);
        }
        Proto::Resp3 => {
            part.bulk(key);
            part.array(1 + others);
        }
    }
}

/// Writes the labels that were asked for.
fn write_labels(choice: &LabelChoice, labels: &[Label], part: &mut Reply) {
    fn selected<'a>(labels: &'a [Label], wanted: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let label = labels.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        label.map_or((wanted, None), |(name, value)| (&**name, Some(&**value)))
    }
    let shown: Vec<(&[u8], Option<&[u8]>)> = match choice {
        LabelChoice::None => Vec::new(),
        LabelChoice::All => labels
            .iter()
            .map(|(name, value)| (&**name, Some(&**value)))
            .collect(),
        LabelChoice::Selected(names) => names.iter().map(|name| selected(labels, name)).collect(),
    };
    match part.proto() {
        Proto::Resp2 => part.array(shown.len()),
        Proto::Resp3 => part.map(shown.len()),
    }
    for (name, value) in shown {
        if part.proto() == Proto::Resp2 {
            part.array(2);
        }
        part.bulk(name);
        match value {
            Some(value) => part.bulk(value),
            None => part.null(),
        }
    }
}

fn command_of(args: Args<'_>) -> RangeCommand {
    if args.name().eq_ignore_ascii_case(b"TS.MREVRANGE") {
        RangeCommand::MRevRange
    } else {
        RangeCommand::MRange
    }
}

fn ask_range(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let options = parse_multi_range(args, command_of(args), Now::of_form(context))?;
    let collect: Collect = if options.group.is_some() {
        |context, args, answers, reply| {
            let options = parse_multi_range(args, command_of(args), Now::of_form(context))?;
            write_groups(&options, command_of(args).is_reverse(), answers, reply);
            Ok(())
        }
    } else {
        collect_series
    };
    Err(parts::ask_every_partition(
        context,
        "TS.PART.MRANGE",
        args,
        collect,
    ))
}

fn mrange_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let command = command_of(args);
    let start = reply.len();
    let MultiRange {
        range,
        labels,
        exclude_empty,
        filter,
        group,
    } = parse_multi_range(args, command, Now::of(partition, call))?;
    // Groups are reduced oldest first, and cut when they are whole.
    let is_reverse = command.is_reverse() && group.is_none();
    let range = RangeOptions {
        count: range.count.filter(|_| group.is_none()),
        ..range
    };
    let query = Arc::new(RowsQuery::new(
        range,
        0,
        is_reverse,
        partition.settings.time_unit,
    )?);
    let matches = matches_of(partition, &filter, args, call.now_ms)?;
    if group.is_none() && !query.is_latest() {
        parts::begin(reply);
        let write = |partition: &mut Partition, key: &[u8], at: (usize, u32), reply: &mut Reply| {
            write_in_place(partition, key, at, (&query, &labels, exclude_empty), reply)
        };
        if write_listed(partition, &matches, reply, write)? {
            return Ok(());
        }
        reply.truncate(start);
    }
    let asked = query.clone();
    let write = move |matched: Vec<Matched>, reply: &mut Reply| {
        parts::begin(reply);
        for series in matched {
            let (key, properties, found) = (&series.key, &series.properties, series.rows());
            if exclude_empty && found.rows.is_empty() {
                continue;
            }
            match &group {
                Some(group) => push_for_group(group, key, properties, &found.rows, reply),
                None => {
                    let opened = open_range(key, properties, &labels, &asked, reply);
                    write_rows(reply, found);
                    opened.close(reply);
                }
            }
        }
        Ok(())
    };
    rows_of_matches(
        partition,
        matches,
        std::slice::from_ref(&query),
        call.now_ms,
        reply,
        Box::new(write),
    )
}

/// Writes one series of a range; false if its samples are not in memory.
fn write_in_place(
    partition: &mut Partition,
    key: &[u8],
    (place, member): (usize, u32),
    (query, labels, exclude_empty): (&Arc<RowsQuery>, &LabelChoice, bool),
    reply: &mut Reply,
) -> Result<bool, Stop> {
    let Some(properties) = partition.properties(place) else {
        return Ok(true);
    };
    let opened = open_range(key, properties, labels, query, reply);
    let rows = match write_decoded(partition, member, query, reply)? {
        Some(rows) => rows,
        None => match series_rows(partition, member, query)? {
            RowsFound::Offload(_) => return Ok(false),
            RowsFound::Ready(found) => {
                write_rows(reply, &found);
                found.rows.len()
            }
        },
    };
    if exclude_empty && rows == 0 {
        opened.discard(reply);
    } else {
        opened.close(reply);
    }
    Ok(true)
}

/// Begins one series of an answer, whose rows follow. RESP3 names the aggregators before them.
fn open_range(
    key: &[u8],
    properties: &SeriesProperties,
    choice: &LabelChoice,
    query: &RowsQuery,
    reply: &mut Reply,
) -> parts::Opened {
    let is_resp3 = reply.proto() == Proto::Resp3;
    let opened = open_series(key, &properties.labels, choice, 1 + usize::from(is_resp3), reply);
    if is_resp3 {
        reply.map(1);
        reply.bulk(b"aggregators");
        reply.array(query.aggregators().len());
        query
            .aggregators()
            .iter()
            .for_each(|aggregator| reply.bulk(aggregator.name().as_bytes()));
    }
    opened
}

/// A series without the label is left out.
fn push_for_group(group: &Group, key: &[u8], properties: &SeriesProperties, rows: &Rows, reply: &mut Reply) {
    if let Some(value) = properties.label(&group.label) {
        let mut bytes = (value.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(value);
        parts::put_rows(rows, &mut bytes);
        parts::push(reply, key, &bytes);
    }
}

/// Keys and rows of the series of a group, by the value of the label.
type Groups<'a> = BTreeMap<&'a [u8], (Vec<&'a [u8]>, Vec<Rows>)>;

fn write_groups(options: &MultiRange, is_reverse: bool, answers: &[&[u8]], reply: &mut Reply) {
    let Some(group) = &options.group else { return };
    let mut groups: Groups<'_> = BTreeMap::new();
    for (key, bytes) in parts::sorted(answers) {
        let Some((len, rest)) = bytes.split_first_chunk::<4>() else {
            continue;
        };
        let Some((value, rows)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else {
            continue;
        };
        let (keys, series) = groups.entry(value).or_default();
        keys.push(key);
        series.push(parts::get_rows(rows));
    }
    match reply.proto() {
        Proto::Resp2 => reply.array(groups.len()),
        Proto::Resp3 => reply.map(groups.len()),
    }
    for (value, (keys, series)) in groups {
        let mut rows = reduce(&series, group.reducer);
        if is_reverse {
            rows.reverse();
        }
        rows.truncate(options.range.count.unwrap_or(usize::MAX));
        write_group(options, group, value, &keys, rows, reply);
    }
}

fn write_group(
    options: &MultiRange,
    group: &Group,
    value: &[u8],
    keys: &[&[u8]],
    rows: Rows,
    reply: &mut Reply,
) {
    let name = [&group.label, &b"="[..], value].concat();
    let reducer = group.reducer.name();
    let mut labels: Vec<Label> = vec![(group.label.clone(), value.into())];
    let is_resp3 = reply.proto() == Proto::Resp3;
    if !is_resp3 {
        labels.push((b"__reducer__"[..].into(), reducer.as_bytes().into()));
        labels.push((b"__source__"[..].into(), keys.join(&b","[..]).into()));
    }
    begin_series(&name, 1 + 2 * usize::from(is_resp3), reply);
    write_labels(&options.labels, &labels, reply);
    if is_resp3 {
        reply.map(1);
        reply.bulk(b"reducers");
        reply.array(1);
        reply.bulk(reducer.as_bytes());
        reply.map(1);
        reply.bulk(b"sources");
        reply.array(keys.len());
        keys.iter().for_each(|key| reply.bulk(key));
    }
    write_rows(
        reply,
        &SeriesRows {
            rows,
            qualities: None,
        },
    );
}
