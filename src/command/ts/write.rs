//! TS.ADD, TS.MADD, TS.INCRBY and TS.DECRBY: adding samples, and what becomes of duplicates.

use crate::command::{Call, Command, Merge, Run, each_group};
use crate::lane::{FoundSample, Handled, Partition, RangeQuery, Stop};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::series::{DuplicatePolicy, Ignore, Sample};

use super::create::create_series_by_sample;
use super::options::{SeriesCommand, SeriesOptions};
use super::timestamp::{Now, parse_timestamp};
use super::value::{parse_addend, parse_value};
use super::{facts, texts};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    facts::ADD.command(Run::Owner { key: 1, handler: add }),
    facts::MADD.command(Run::Split {
        step: MADD_STEP,
        handler: add_group,
        merge: Merge::Each,
        atomic: None,
        prepare: Some(prepare_group),
        together: Some(add_groups),
    }),
    facts::INCRBY.command(Run::Owner {
        key: 1,
        handler: increment,
    }),
    facts::DECRBY.command(Run::Owner {
        key: 1,
        handler: decrement,
    }),
];

/// Arguments per sample: key, timestamp, value.
const MADD_STEP: usize = 3;
/// Shortest TS.ADD with options.
const ADD_ARGS_WITH_OPTIONS_MIN: usize = 5;

/// Place of the key and of its series; [`texts::NOT_A_SERIES`] for another type.
#[inline]
fn find(partition: &mut Partition, key: &[u8], now_ms: i64) -> Result<Option<(usize, u32)>, Stop> {
    match partition.find_plain_series(key, now_ms) {
        Err(Stop::Refused(Refusal::WrongType)) => Err(texts::NOT_A_SERIES.into()),
        found => found,
    }
}

/// Timestamp and value of a sample.
#[inline]
fn parse_sample(
    partition: &Partition,
    call: &Call<'_>,
    timestamp: &[u8],
    value: &[u8],
) -> Result<Sample, Refusal> {
    let value = parse_value(value)?;
    Ok(Sample::new(
        parse_timestamp(timestamp, Now::of(partition, call))?,
        value,
    ))
}

fn add(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let (args, now_ms) = (call.args, call.now_ms);
    let sample = parse_sample(partition, call, args.get(2), args.get(3))?;
    let options =
        |partition: &Partition| SeriesOptions::parse(args, 4, SeriesCommand::Add, Now::of(partition, call));
    let (found, on_duplicate) = match find(partition, args.get(1), now_ms)? {
        Some(found) => {
            let on_duplicate = match names_on_duplicate(args) {
                true => options(partition)?.on_duplicate,
                false => None,
            };
            (found, on_duplicate)
        }
        None => {
            let options = match args.len() {
                ..ADD_ARGS_WITH_OPTIONS_MIN => SeriesOptions::default(),
                _ => options(partition)?,
            };
            (
                create_series_by_sample(partition, args.get(1), options, now_ms)?,
                None,
            )
        }
    };
    let stored = store(partition, found, sample, on_duplicate, now_ms)?;
    reply.integer(stored);
    Ok(())
}

/// Whether ON_DUPLICATE may be among the options: all others mean nothing to a series that is there.
#[inline]
fn names_on_duplicate(args: Args<'_>) -> bool {
    args.len() >= ADD_ARGS_WITH_OPTIONS_MIN
        && args
            .cursor(4)
            .any(|word| word.eq_ignore_ascii_case(b"ON_DUPLICATE"))
}

/// One (key, timestamp, value) of TS.MADD; what is wrong with it is its own reply.
fn add_group(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    match add_one(partition, call) {
        Ok(stored) => reply.integer(stored),
        Err(Stop::Refused(refusal)) => reply.error(refusal),
        Err(stop) => return Err(stop),
    }
    Ok(())
}

fn add_one(partition: &mut Partition, call: &Call<'_>) -> Result<i64, Stop> {
    let (args, now_ms) = (call.args, call.now_ms);
    let sample = parse_sample(partition, call, args.get(1), args.get(2))?;
    let found = match find(partition, args.get(0), now_ms)? {
        Some(found) => found,
        None if partition.settings.series_defaults.load().madd_creates => {
            create_series_by_sample(partition, args.get(0), SeriesOptions::default(), now_ms)?
        }
        None => return Err(texts::KEY_MISSING.into()),
    };
    store(partition, found, sample, None, now_ms)
}

/// All samples of a TS.MADD, each newer than all before it in a series that is there and has no rules.
fn add_groups(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Result<bool, Stop> {
    let mut found = partition.lend_found_samples();
    let are_found = find_groups(partition, call, &mut found);
    if are_found {
        reply.array(found.len());
        for (index, of_group) in found.iter().enumerate() {
            partition.fetch_found(&found, index);
            let (member, sample) = (of_group.member, of_group.sample());
            let newest = partition.series_at(member).newest();
            if newest.is_none_or(|newest| sample.timestamp > newest) {
                partition.put_sample(member, sample, call.now_ms);
                reply.integer(sample.timestamp);
            } else {
                // An earlier group was about the same series.
                let args = call.args.range(index * MADD_STEP..(index + 1) * MADD_STEP);
                let added = add_group(partition, &Call { args, ..*call }, reply);
                assert!(
                    added.is_ok(),
                    "invariant: what is newer than all on disk is not looked for there"
                );
            }
        }
    }
    partition.return_found_samples(found);
    Ok(are_found)
}

fn find_groups(partition: &mut Partition, call: &Call<'_>, found: &mut Vec<FoundSample>) -> bool {
    let are_found = each_group(partition, call.args, MADD_STEP, |partition, args| {
        let sample = parse_sample(partition, call, args.get(1), args.get(2))?;
        let Some((place, member)) = partition.find_plain_series(args.get(0), call.now_ms)? else {
            return Ok(false);
        };
        if partition.has_rules(place) || !is_newest(partition, place, member, sample) {
            return Ok(false);
        }
        found.push(FoundSample::new(member, sample));
        Ok(true)
    });
    // What is wrong with a group, or has to wait, is found again when it runs by itself.
    matches!(are_found, Ok(true))
}

/// Makes sure that [`add_group`] will not have to wait once the first group has run.
fn prepare_group(partition: &mut Partition, call: &Call<'_>) -> Result<bool, Stop> {
    let args = call.args;
    let Ok(sample) = parse_sample(partition, call, args.get(1), args.get(2)) else {
        return Ok(true);
    };
    if let Ok(Some((place, member))) = find(partition, args.get(0), call.now_ms) {
        match decide(partition, place, member, sample, None) {
            Err(Stop::Refused(_)) | Ok(_) => {}
            Err(stop) => return Err(stop),
        }
    }
    Ok(true)
}

fn increment(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    change_last(partition, call, SeriesCommand::IncrBy, reply)
}

fn decrement(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    change_last(partition, call, SeriesCommand::DecrBy, reply)
}

fn change_last(
    partition: &mut Partition,
    call: &Call<'_>,
    command: SeriesCommand,
    reply: &mut Reply,
) -> Handled {
    let (args, now_ms) = (call.args, call.now_ms);
    let now = Now::of(partition, call);
    let found = partition.find_plain_series(args.get(1), now_ms)?;
    let options = SeriesOptions::parse(args, 3, command, now)?;
    let addend = parse_addend(args.get(2))?;
    let addend = if command == SeriesCommand::DecrBy {
        -addend
    } else {
        addend
    };
    let timestamp = options.timestamp.unwrap_or(now.timestamp);
    let last = match found {
        Some((_, member)) => last_sample(partition, member)?,
        None => None,
    };
    if last.is_some_and(|last| timestamp < last.timestamp) {
        return Err(texts::INCREMENT_EARLY.into());
    }
    if last.is_some_and(|last| last.value.is_nan()) {
        return Err(texts::INCREMENT_NAN.into());
    }
    let value = last.map_or(0.0, |last| last.value) + addend;
    let found = match found {
        Some(found) => found,
        None => create_series_by_sample(partition, args.get(1), options, now_ms)?,
    };
    let sample = Sample::new(timestamp, value);
    let stored = store(partition, found, sample, Some(DuplicatePolicy::Last), now_ms)?;
    reply.integer(stored);
    Ok(())
}

/// What becomes of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    /// It is stored, with this value.
    Put(f64),
    /// What is there stays; the reply is this timestamp.
    Keep(i64),
}

/// Stores a sample in the series at `(place, member)` as the policies say, and returns the timestamp of the reply.
///
/// # Errors
/// A sample beyond retention, or a duplicate that the policy refuses; `Wait::Warm`.
#[inline]
fn store(
    partition: &mut Partition,
    (place, member): (usize, u32),
    sample: Sample,
    on_duplicate: Option<DuplicatePolicy>,
    now_ms: i64,
) -> Result<i64, Stop> {
    match decide(partition, place, member, sample, on_duplicate)? {
        Decision::Keep(timestamp) => Ok(timestamp),
        Decision::Put(value) => {
            partition.put_sample_at(place, member, Sample { value, ..sample }, now_ms);
            Ok(sample.timestamp)
        }
    }
}

/// Whether a sample is newer than all of its series, which ignores none, and whose rules need not look for the newest.
#[inline]
fn is_newest(partition: &Partition, place: usize, member: u32, sample: Sample) -> bool {
    let series = partition.series_at(member);
    let newest = series.newest();
    newest.is_none_or(|newest| sample.timestamp > newest)
        && partition.properties(place).is_none_or(|properties| {
            properties.ignore == Ignore::default()
                && (properties.rules.is_empty() || series.known_newest().is_some())
        })
}

#[inline]
fn decide(
    partition: &Partition,
    place: usize,
    member: u32,
    sample: Sample,
    on_duplicate: Option<DuplicatePolicy>,
) -> Result<Decision, Stop> {
    if is_newest(partition, place, member, sample) {
        return Ok(Decision::Put(sample.value));
    }
    let series = partition.series_at(member);
    let properties = partition.properties(place);
    let ignore = properties.map(|properties| properties.ignore);
    let retention = series.sealed.retention().unwrap_or(partition.settings.retention);
    // Without these it is enough that no sample is newer than that.
    let needs_newest =
        retention > 0 || partition.has_rules(place) || ignore.is_some_and(|it| it != Ignore::default());
    let newest = if needs_newest {
        partition.certain_newest(member)?
    } else {
        series.newest()
    };
    let is_in_order = newest.is_none_or(|newest| sample.timestamp > newest);
    let age = newest.map_or(0, |newest| newest.saturating_sub(sample.timestamp));
    if retention > 0 && age > retention {
        return Err(texts::OLDER_THAN_RETENTION.into());
    }
    let policy = on_duplicate.or(properties.and_then(|properties| properties.duplicate_policy));
    let policy = policy.unwrap_or_else(|| partition.settings.series_defaults.load().duplicate_policy);
    if let Some(ignore) = ignore.filter(|ignore| *ignore != Ignore::default())
        && policy == DuplicatePolicy::Last
        && age <= 0
        && let Some(last) = last_sample(partition, member)?
        && is_ignored(ignore, last, sample)
    {
        return Ok(Decision::Keep(last.timestamp));
    }
    let overwrites = policy == DuplicatePolicy::Last && !sample.value.is_nan();
    if is_in_order || overwrites {
        return Ok(Decision::Put(sample.value));
    }
    match sample_at(partition, member, sample.timestamp)? {
        None => Ok(Decision::Put(sample.value)),
        Some(old) => Ok(resolve(policy, old, sample)?),
    }
}

/// Whether a sample is so close to the last one that it is not stored.
fn is_ignored(ignore: Ignore, last: Sample, sample: Sample) -> bool {
    let distance = sample.timestamp.checked_sub(last.timestamp);
    distance.is_some_and(|distance| (0..=ignore.max_time_difference).contains(&distance))
        && (sample.value - last.value).abs() <= ignore.max_value_difference
}

/// What becomes of a sample whose timestamp is there already.
fn resolve(policy: DuplicatePolicy, old: Sample, new: Sample) -> Result<Decision, Refusal> {
    let put = |value: f64| match value.to_bits() == old.value.to_bits() {
        true => Decision::Keep(new.timestamp),
        false => Decision::Put(value),
    };
    let (old_is_nan, new_is_nan) = (old.value.is_nan(), new.value.is_nan());
    let combines = matches!(
        policy,
        DuplicatePolicy::Min | DuplicatePolicy::Max | DuplicatePolicy::Sum
    );
    if policy == DuplicatePolicy::Block || (combines && old_is_nan != new_is_nan) {
        return Err(texts::DUPLICATE_BLOCKED);
    }
    if old_is_nan || new_is_nan {
        // The number wins, whatever the policy.
        return Ok(put(if new_is_nan { old.value } else { new.value }));
    }
    Ok(match policy {
        DuplicatePolicy::Block | DuplicatePolicy::First => Decision::Keep(new.timestamp),
        DuplicatePolicy::Last => Decision::Put(new.value),
        DuplicatePolicy::Min => put(old.value.min(new.value)),
        DuplicatePolicy::Max => put(old.value.max(new.value)),
        DuplicatePolicy::Sum => Decision::Put(old.value + new.value),
    })
}

/// The newest sample.
///
/// # Errors
/// `Wait::Warm` if the disk has to be read.
pub fn last_sample(partition: &Partition, member: u32) -> Result<Option<Sample>, Stop> {
    match partition.series_at(member).head.last() {
        Some(last) => Ok(Some(last)),
        None if partition.series_at(member).newest().is_none() => Ok(None),
        None => partition.last_sample(member),
    }
}

/// The sample with this timestamp.
fn sample_at(partition: &Partition, member: u32, timestamp: i64) -> Result<Option<Sample>, Stop> {
    let series = partition.series_at(member);
    if timestamp > series.sealed.last_timestamp {
        let head = &series.head;
        return Ok(head.find(timestamp).map(|index| head.get(index)));
    }
    if let Some(late) = series.late.iter().rev().find(|late| late.timestamp == timestamp) {
        return Ok(Some(*late));
    }
    let there = RangeQuery {
        from: timestamp,
        to: timestamp,
        limit: 1,
        reverse: false,
    };
    Ok(partition.read_samples(member, there)?.last())
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
