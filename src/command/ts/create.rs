//! TS.CREATE and TS.ALTER, and what a series is like that another command creates.

use crate::aggregate::Aggregator;
use crate::command::{Call, Command, Run};
use crate::lane::outbox::OutboxEntry;
use crate::lane::{Handled, Partition, Stop};
use crate::resp::Reply;
use crate::series::{CANDLE_PARTS, Label, Rule, SeriesDefaults, SeriesProperties};

use super::options::{SeriesCommand, SeriesOptions};
use super::read::existing_series;
use super::timestamp::Now;
use super::{facts, texts};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    facts::CREATE.command(Run::Owner {
        key: 1,
        handler: create,
    }),
    facts::ALTER.command(Run::Owner {
        key: 1,
        handler: alter,
    }),
];

fn create(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let options = SeriesOptions::parse(args, 2, SeriesCommand::Create, Now::of(partition, call))?;
    if partition.find(args.get(1), call.now_ms)?.is_some() {
        return Err(texts::KEY_EXISTS.into());
    }
    create_series(partition, args.get(1), options, call.now_ms)?;
    reply.ok();
    Ok(())
}

/// Creates the series of a key that has none. Returns the places of the key and of the series.
///
/// # Errors
/// `Wait::Load`, or a key that is too long.
pub fn create_series(
    partition: &mut Partition,
    key: &[u8],
    options: SeriesOptions,
    now_ms: i64,
) -> Result<(usize, u32), Stop> {
    let properties = properties_of(options, &partition.settings.series_defaults.load());
    partition.create_plain_series(key, properties, now_ms)
}

/// As [`create_series`] for a series that a sample creates: it gets the rollups that the server is configured with.
///
/// # Errors
/// As [`create_series`].
pub fn create_series_by_sample(
    partition: &mut Partition,
    key: &[u8],
    options: SeriesOptions,
    now_ms: i64,
) -> Result<(usize, u32), Stop> {
    let defaults = partition.settings.series_defaults.load_full();
    let created = create_series(partition, key, options, now_ms)?;
    if defaults.compaction.is_empty() {
        return Ok(created);
    }
    let (place, _) = created;
    let unit_ns = i128::from(partition.settings.time_unit.nanoseconds());
    let steps = |ms: i64| i64::try_from(i128::from(ms) * 1_000_000 / unit_ns).unwrap_or(i64::MAX);
    let mut properties = partition.properties(place).cloned().unwrap_or_default();
    let source_labels = properties.labels.clone();
    for policy in &defaults.compaction {
        let destination: Box<[u8]> = policy.destination(key).into();
        let mut labels = source_labels.clone();
        let aggregation = policy.aggregator.upper_name();
        labels.push((b"aggregation"[..].into(), aggregation.as_bytes().into()));
        labels.push((
            b"time_bucket"[..].into(),
            policy.bucket_ms.to_string().into_bytes().into(),
        ));
        let is_candle = policy.aggregator == Aggregator::Candle;
        let parts = if is_candle { CANDLE_PARTS.len() } else { 1 };
        for part in CANDLE_PARTS.iter().take(parts) {
            properties.rules.push(Rule {
                destination: part.key(&destination),
                aggregator: if is_candle {
                    part.aggregator(false)
                } else {
                    policy.aggregator
                },
                bucket: steps(policy.bucket_ms).max(1),
                align: steps(policy.align_ms),
                calendar: Default::default(),
                from: i64::MIN,
            });
            let label = part.label().filter(|_| is_candle);
            partition.owe(OutboxEntry::Create {
                key: part.key(&destination),
                source: key.into(),
                retention: steps(policy.retention_ms),
                labels: unique(labels.iter().cloned().chain(label).collect()),
            });
        }
    }
    partition.set_properties(place, properties);
    Ok(created)
}

/// The properties of a new series.
fn properties_of(options: SeriesOptions, defaults: &SeriesDefaults) -> SeriesProperties {
    let properties = defaults.properties();
    SeriesProperties {
        retention: options.retention.or(properties.retention),
        encoding: options.encoding.unwrap_or(properties.encoding),
        chunk_size_bytes: options.chunk_size_bytes.unwrap_or(properties.chunk_size_bytes),
        duplicate_policy: options.duplicate_policy,
        ignore: options.ignore.unwrap_or(properties.ignore),
        labels: unique(options.labels.unwrap_or_default()),
        ..properties
    }
}

/// The labels without those that a later one of the same name replaces.
fn unique(labels: Vec<Label>) -> Vec<Label> {
    let mut kept: Vec<Label> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        match kept.iter_mut().find(|label| label.0 == name) {
            Some(label) => label.1 = value,
            None => kept.push((name, value)),
        }
    }
    kept
}

fn alter(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let options = SeriesOptions::parse(args, 2, SeriesCommand::Alter, Now::of(partition, call))?;
    let (place, _) = existing_series(partition, args.get(1), call.now_ms)?;
    let mut properties = partition.properties(place).cloned().unwrap_or_default();
    if options.retention.is_some() {
        properties.retention = options.retention;
    }
    if let Some(chunk_size_bytes) = options.chunk_size_bytes {
        properties.chunk_size_bytes = chunk_size_bytes;
    }
    if options.duplicate_policy.is_some() {
        properties.duplicate_policy = options.duplicate_policy;
    }
    if let Some(ignore) = options.ignore {
        properties.ignore = ignore;
    }
    if let Some(labels) = options.labels {
        properties.labels = unique(labels);
    }
    if partition.properties(place) != Some(&properties) {
        partition.set_properties(place, properties);
    }
    reply.ok();
    Ok(())
}
