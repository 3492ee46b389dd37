//! TS.CREATERULE and TS.DELETERULE, and the internal commands that write to the destinations of rules.
//!
//! Both ends of a rule know each other; they are changed by one batch that holds both keys.

use crate::aggregate::Aggregator;
use crate::command::plan::{NewRule, Plan};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Call, Command, Flags, Run};
use crate::config::TimeUnit;
use crate::lane::outbox::OutboxEntry;
use crate::lane::{Handled, Partition, RolledUp, Stop};
use crate::resp::number::{parse_i64, parse_u64};
use crate::resp::{Args, Reply};
use crate::series::{Label, Rule, Sample};

use super::aggregation::Width;
use super::facts;
use super::parts;
use super::read_options::parse_create_rule;
use super::texts;
use super::timestamp::Now;

/// The table of these commands.
pub const COMMANDS: &[Command] = &[
    facts::CREATERULE.command(Run::Session(create_rule)),
    facts::DELETERULE.command(Run::Session(delete_rule)),
    facts::share("TS.RULE.CHECK", Flags::WRITE, check),
    facts::share("TS.RULE.ADD", Flags::WRITE, add),
    facts::share("TS.RULE.HAS", Flags::WRITE, has),
    facts::share("TS.RULE.SOURCE", Flags::WRITE, set_source),
    facts::share("TS.RULE.RELINK", Flags::WRITE, relink),
    facts::share("TS.RULE.WRITE", Flags::WRITE, write),
    facts::share("TS.RULE.DEST", Flags::WRITE, create_destination),
    facts::share("TS.RULE.OPEN", Flags::WRITE, open_bucket),
];

/// Time as the business of the key counts it.
fn now_at(context: &SessionContext<'_>, key: &[u8]) -> Now {
    let directory = &context.shared.directory;
    let business = directory
        .business_of(key)
        .and_then(|index| directory.businesses().get(index));
    Now {
        timestamp: context.clock.now_ms(),
        unit: business.map_or(TimeUnit::Milliseconds, |business| business.config.time_unit),
    }
}

fn create_rule(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let (source, destination) = (args.get(1), args.get(2));
    let options = parse_create_rule(args, now_at(context, source))?;
    // Checked now, so that nothing fails once the rule is half there.
    super::query::bucketing_of(&options.bucket, options.align, now_at(context, source).unit)?;
    let (bucket, text) = match options.bucket.width {
        Width::Fixed(width) if options.bucket.zone.is_none() => (width, &b""[..]),
        _ => (0, &*options.bucket.text),
    };
    Err(Plan::CreateRule(Box::new(NewRule {
        source: source.into(),
        rule: Rule {
            destination: destination.into(),
            aggregator: options.aggregator,
            bucket,
            align: options.align,
            calendar: (text.into(), options.bucket.zone.unwrap_or_default()),
            from: i64::MIN,
        },
        backfill: options.backfill,
    }))
    .into())
}

fn delete_rule(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::DeleteRule {
        source: args.get(1).into(),
        destination: args.get(2).into(),
    }
    .into())
}

/// `key source|destination|part`: whether the series can be that end of another rule; a part need not be there.
fn check(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    if call.args.get(2) == b"part" && partition.find(call.args.get(1), call.now_ms)?.is_none() {
        reply.ok();
        return Ok(());
    }
    let found = partition.find_plain_series(call.args.get(1), call.now_ms)?;
    let (place, _) = found.ok_or(texts::KEY_MISSING)?;
    let (has_source, has_rules) = partition.properties(place).map_or((false, false), |properties| {
        (properties.source.is_some(), !properties.rules.is_empty())
    });
    let chained = partition.settings.series_defaults.load().chained_rules;
    if call.args.get(2) == b"source" {
        if has_source && !chained {
            return Err(texts::RULE_SOURCE_IS_DESTINATION.into());
        }
    } else if has_source {
        return Err(texts::RULE_DESTINATION_TAKEN.into());
    } else if has_rules && !chained {
        return Err(texts::RULE_DESTINATION_IS_SOURCE.into());
    }
    reply.ok();
    Ok(())
}

/// `key destination`: whether the series has the rule.
fn has(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = partition.find_plain_series(call.args.get(1), call.now_ms)?;
    let (place, _) = found.ok_or(texts::KEY_MISSING)?;
    let destination = call.args.get(2);
    let has = partition.properties(place).is_some_and(|properties| {
        properties
            .rules
            .iter()
            .any(|rule| *rule.destination == *destination)
    });
    if !has {
        return Err(texts::RULE_MISSING.into());
    }
    reply.ok();
    Ok(())
}

/// `key source`: the series is the destination of a rule of `source`.
fn set_source(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = partition.find_plain_series(call.args.get(1), call.now_ms)?;
    let (place, _) = found.ok_or(texts::KEY_MISSING)?;
    let mut properties = partition.properties(place).cloned().unwrap_or_default();
    properties.source = Some(call.args.get(2).into());
    partition.set_properties(place, properties);
    reply.ok();
    Ok(())
}

/// `key destination aggregator bucket align calendar zone backfill`: adds the rule, and owes what was there before it
/// if it is to be rolled up too.
fn add(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let found = partition.find_plain_series(args.get(1), call.now_ms)?;
    let (place, member) = found.ok_or(texts::KEY_MISSING)?;
    let backfill = args.get(8) == b"1";
    let newest = partition.certain_newest(member)?;
    let mut properties = partition.properties(place).cloned().unwrap_or_default();
    // The destination has no rule, so this would be one to a key that is gone, on its way out.
    properties.rules.retain(|rule| *rule.destination != *args.get(2));
    properties.rules.push(Rule {
        destination: args.get(2).into(),
        aggregator: Aggregator::parse(args.get(3)).ok_or(texts::AGGREGATOR_UNKNOWN)?,
        bucket: parse_i64(args.get(4)).unwrap_or(0),
        align: parse_i64(args.get(5)).unwrap_or(0),
        calendar: (args.get(6).into(), args.get(7).into()),
        from: match newest {
            Some(newest) if !backfill => newest.saturating_add(1),
            _ => i64::MIN,
        },
    });
    partition.set_properties(place, properties);
    if let Some(newest) = newest.filter(|_| backfill) {
        partition.owe_closed_buckets(place, args.get(2), newest);
    }
    reply.ok();
    Ok(())
}

/// `key other [name]`: the other end of a rule has another name, or is gone.
fn relink(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let to = call.args.try_get(3);
    partition.relink(call.args.get(1), call.args.get(2), to, call.now_ms)?;
    reply.ok();
    Ok(())
}

/// `key source from to [timestamp value ...]`, numbers as 8 bytes little-endian.
fn write(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    let word = |index: usize| {
        let bytes = args.try_get(index).and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let samples = (5..args.len().saturating_sub(1))
        .step_by(2)
        .map(|index| (word(index) as i64, f64::from_bits(word(index + 1))))
        .collect();
    let rolled_up = RolledUp {
        replaced: (word(3) as i64, word(4) as i64),
        samples,
    };
    partition.warm(args.get(1))?;
    partition.write_rollup(args.get(2), args.get(1), &rolled_up, call.now_ms)?;
    reply.ok();
    Ok(())
}

/// `key source retention [label value ...]`: the series that a new rule writes to. One that is there stays as it is, and
/// the rule goes away unless it is its own.
fn create_destination(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let args = call.args;
    if partition.find(args.get(1), call.now_ms)?.is_none() {
        let labels: Vec<Label> = (4..args.len().saturating_sub(1))
            .step_by(2)
            .map(|index| (args.get(index).into(), args.get(index + 1).into()))
            .collect();
        // An empty text means that of the business.
        let retention = parse_u64(args.get(3)).map(|retention| retention as i64);
        let properties = OutboxEntry::created_properties(args.get(2), retention, labels);
        partition.create_plain_series(args.get(1), properties, call.now_ms)?;
    } else if args.get(3) != b"" && !is_destination_of(partition, args.get(1), args.get(2), call.now_ms)? {
        partition.owe(OutboxEntry::Relink {
            key: args.get(2).into(),
            from: args.get(1).into(),
            to: None,
        });
    }
    reply.ok();
    Ok(())
}

fn is_destination_of(
    partition: &mut Partition,
    key: &[u8],
    source: &[u8],
    now_ms: i64,
) -> Result<bool, Stop> {
    let place = partition.find(key, now_ms)?;
    let properties = place.and_then(|place| partition.properties(place));
    Ok(properties.is_some_and(|properties| properties.source.as_deref() == Some(source)))
}

/// `key destination`: the open bucket of the rule, as a sample.
fn open_bucket(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let found = partition.read_open_bucket(call.args.get(1), call.args.get(2), call.now_ms)?;
    parts::begin(reply);
    if let Some(sample) = found {
        let value = sample.value.to_bits().to_le_bytes();
        parts::push(reply, &sample.timestamp.to_le_bytes(), &value);
    }
    Ok(())
}

/// What the internal command TS.RULE.OPEN has answered.
pub fn decode_open_bucket(answer: &[u8]) -> Option<Sample> {
    let (timestamp, value) = parts::entries(answer).next()?;
    let timestamp = i64::from_le_bytes(timestamp.try_into().ok()?);
    let value = u64::from_le_bytes(value.try_into().ok()?);
    Some(Sample::new(timestamp, f64::from_bits(value)))
}

/// The open bucket of the rule that writes to the series at `place`, if there is one.
///
/// # Errors
/// As [`Partition::open_buckets`].
pub fn latest(partition: &mut Partition, place: usize, now_ms: i64) -> Result<Option<Sample>, Stop> {
    let source = partition
        .properties(place)
        .and_then(|properties| properties.source.clone());
    let Some(source) = source else { return Ok(None) };
    let destination = partition.entry(place).key().into();
    let found = partition.open_buckets(&[(source, destination)], now_ms)?;
    Ok(found.into_iter().next().flatten())
}
