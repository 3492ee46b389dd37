//! TS.DEL and TS.MDEL: deleting the samples of a stretch of time.

use crate::command::plan::KeysOfRound;
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::lane::{EventClasses, Handled, Partition, RangeCount, RangeQuery, Stop, bucketing_of};
use crate::resp::{Args, Reply};

use super::matching::label_query;
use super::parts::{self, OWN_ARGS};
use super::read::existing_series;
use super::read_options::parse_multi_delete;
use super::timestamp::{Bounds, Now, parse_bounds};
use super::{facts, texts};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    facts::DEL.command(Run::Owner {
        key: 1,
        handler: delete,
    }),
    facts::MDEL.command(Run::Session(delete_matching)),
    facts::share("TS.PART.MDEL", Flags::WRITE, delete_part),
    facts::share("TS.PART.DEL", Flags::WRITE, delete_one),
];

/// A series that has rules, and one that is the destination of one, as partitions say it.
const HAS_RULES: u8 = 1;
const HAS_SOURCE: u8 = 2;

/// Deletes as TS.DEL for one key after another, in their order, would: what is deleted from a source changes its
/// destination, which may be the next. From series without rules every partition deletes at once. There is no all or
/// nothing over partitions.
fn delete_matching(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    _: &mut Reply,
) -> Result<(), SessionStop> {
    parse_multi_delete(args, Now::of_form(context))?;
    let stop = parts::ask_every_partition(context, "TS.PART.MDEL", args, |_, _, answers, reply| {
        let counts = answers.iter().flat_map(|answer| parts::entries(answer));
        let count = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        reply.integer(counts.map(|(_, bytes)| count(bytes)).sum::<u64>() as i64);
        Ok(())
    });
    Err(parts::followed_by(context, stop, "TS.PART.DEL", args, rounds))
}

/// Keys with rules, or of destinations, in rounds. Those of a round know nothing of each other: sources are not changed
/// by other sources, and destinations change no others.
fn rounds(answers: &[&[u8]]) -> Vec<KeysOfRound> {
    let mut rounds: Vec<(u8, KeysOfRound)> = Vec::new();
    for (key, bytes) in parts::sorted(answers) {
        let [ends] = bytes else { continue };
        match rounds
            .last_mut()
            .filter(|(of_last, _)| of_last == ends && *ends != HAS_RULES | HAS_SOURCE)
        {
            Some((_, keys)) => keys.push(key.into()),
            None => rounds.push((*ends, vec![key.into()])),
        }
    }
    rounds.into_iter().map(|(_, keys)| keys).collect()
}

/// Answers the number of samples that are gone, and the keys whose rules say when theirs may go.
fn delete_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args.from(OWN_ARGS);
    let (bounds, filter) = parse_multi_delete(args, Now::of(partition, call))?;
    let matches = partition.find_labelled(&label_query(&filter, args), call.now_ms)?;
    // Everything that has to be read from the disk is read before the first sample goes.
    for matched in &matches {
        if let Some(series) = partition.find_plain_series(matched.key(), call.now_ms)? {
            count_samples(partition, series, bounds)?;
        }
    }
    let mut count = 0;
    parts::begin(reply);
    for matched in &matches {
        let Some((place, member)) = partition.find_plain_series(matched.key(), call.now_ms)? else {
            continue;
        };
        let ends = partition.properties(place).map_or(0, |properties| {
            let has_rules = if properties.rules.is_empty() { 0 } else { HAS_RULES };
            let has_source = properties.source.as_ref().map_or(0, |_| HAS_SOURCE);
            has_rules | has_source
        });
        if ends == 0 {
            count += delete_and_tell(partition, (place, member), matched.key(), (bounds, call.now_ms))?;
        } else {
            parts::push(reply, matched.key(), &[ends]);
        }
    }
    parts::push(reply, b"", &count.to_le_bytes());
    Ok(())
}

/// `key`, then what the client has sent: answers the number of samples that are gone.
fn delete_one(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let key = call.args.get(1);
    let (bounds, _) = parse_multi_delete(call.args.from(OWN_ARGS), Now::of(partition, call))?;
    let count = match partition.find_plain_series(key, call.now_ms)? {
        Some(series) => delete_and_tell(partition, series, key, (bounds, call.now_ms))?,
        None => 0,
    };
    parts::begin(reply);
    parts::push(reply, b"", &count.to_le_bytes());
    Ok(())
}

/// As [`delete_samples`] of a key that no command names.
fn delete_and_tell(
    partition: &mut Partition,
    series: (usize, u32),
    key: &[u8],
    (bounds, now_ms): (Bounds, i64),
) -> Result<u64, Stop> {
    let count = delete_samples(partition, series, bounds, now_ms)?;
    if count > 0 {
        partition.note_event(EventClasses::MODULE, "ts.del", key);
    }
    Ok(count)
}

fn delete(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = existing_series(partition, call.args.get(1), call.now_ms)?;
    let bounds = parse_bounds(call.args, 2, Now::of(partition, call))?;
    reply.integer(delete_samples(partition, found, bounds, call.now_ms)? as i64);
    Ok(())
}

/// Deletes the samples within the bounds from the series at `(place, member)` and says how many there were.
///
/// # Errors
/// As [`count_samples`].
pub fn delete_samples(
    partition: &mut Partition,
    (place, member): (usize, u32),
    bounds: Bounds,
    now_ms: i64,
) -> Result<u64, Stop> {
    let count = count_samples(partition, (place, member), bounds)?;
    if count > 0 {
        let newest = partition.series_at(member).newest_timestamp();
        let RangeQuery { from, to, .. } = range_of(bounds);
        partition.delete_range(member, from, to)?;
        partition.roll_up_deleted(place, (from, to), newest, now_ms);
    }
    Ok(count)
}

/// How many samples there are to be deleted.
///
/// # Errors
/// [`texts::DELETE_BEYOND_RETENTION`] for a series with rules; `Wait::Warm` if the disk has to be read to count; if a
/// chunk is damaged.
fn count_samples(partition: &Partition, (place, member): (usize, u32), bounds: Bounds) -> Result<u64, Stop> {
    let series = partition.series_at(member);
    let retention = series.sealed.retention().unwrap_or(partition.settings.retention);
    let newest = if retention > 0 || partition.has_rules(place) {
        partition.certain_newest(member)?
    } else {
        series.newest_timestamp()
    };
    let oldest = newest.map_or(0, |newest| newest.saturating_sub(retention));
    let properties = partition.properties(place).filter(|_| retention > 0);
    let rules = properties.map_or(&[][..], |properties| &properties.rules);
    let unit_ns = partition.settings.time_unit.nanoseconds();
    // A bucket that the deletion begins in has to be computed again, from all its samples.
    let begins = |rule| bucketing_of(rule, unit_ns).map(|each| each.start_of(bounds.from.timestamp));
    if oldest > 0 && rules.iter().filter_map(begins).any(|start| start < oldest) {
        return Err(texts::DELETE_BEYOND_RETENTION.into());
    }
    let mut count = RangeCount::default();
    match partition.visit_range(member, range_of(bounds), &mut count)? {
        None => Ok(count.samples),
        Some(_) => Ok(partition.read_samples(member, range_of(bounds))?.len() as u64),
    }
}

fn range_of(bounds: Bounds) -> RangeQuery {
    RangeQuery {
        // TSDB_SET stores samples from before the epoch, which an open range means too.
        from: if bounds.from.is_open {
            i64::MIN
        } else {
            bounds.from.timestamp
        },
        to: bounds.to.timestamp,
        limit: usize::MAX,
        reverse: false,
    }
}

#[cfg(test)]
mod tests {
    use crate::command::test_run::{check, run};
    use crate::lane::test_support::test_partition;

    #[test]
    fn both_ends_are_deleted_and_counted() {
        let mut partition = test_partition();
        for timestamp in 1..=10 {
            run(&mut partition, &format!("TS.ADD k {timestamp} {timestamp}"));
        }
        run(&mut partition, "SET s 1");
        check(
            &mut partition,
            &[
                ("TS.DEL k 3 5", ":3"),
                ("TS.DEL k 3 5", ":0"),
                ("TS.DEL k 5 3", ":0"),
                ("TS.RANGE k 2 6", "*2 *2 :2 +2 *2 :6 +6"),
                ("TS.ADD k 4 9", ":4"),
                ("TS.RANGE k 2 6", "*3 *2 :2 +2 *2 :4 +9 *2 :6 +6"),
                ("TS.DEL k 9 10", ":2"),
                ("TS.GET k", "*2 :8 +8"),
                ("TS.INCRBY k 1 TIMESTAMP 9", ":9"),
                ("TS.GET k", "*2 :9 +9"),
                ("TS.DEL k - +", ":7"),
                ("TS.GET k", "*0"),
                ("EXISTS k", ":1"),
                ("TS.DEL nope - +", "-ERR TSDB: the key does not exist"),
                ("TS.DEL k x +", "-ERR TSDB: wrong fromTimestamp"),
                ("TS.DEL k 1 y", "-ERR TSDB: wrong toTimestamp"),
                (
                    "TS.DEL s 1 2",
                    "-WRONGTYPE Operation against a key holding the wrong kind of value",
                ),
            ],
        );
    }
}
