//! Rollup rules in the model test: sources and destinations are keys of their own, all in one partition.
//!
//! A destination's samples are not in the model: they have to be what the source's samples in the model make of them.

use std::collections::BTreeMap;

use ticklane::aggregate::Aggregator;
use ticklane::lane::outbox::OutboxEntry;
use ticklane::lane::{Partition, RangeQuery, RollupFound, Stop};
use ticklane::series::{Rule, Sample, SeriesProperties};

use super::model::{Change, RuleOfModel};
use super::run::{Outcome, Run};
use crate::support::{is_near, is_same, looks_beside, rolled_up};

const SOURCES: u8 = 2;
const DESTINATIONS: u8 = 3;
/// Samples that one delivery rolls up: few, so that backfills take several.
const ROLLUP_SAMPLES_MAX: usize = 50;
const AGGREGATORS: [&str; 8] = ["sum", "min", "max", "last", "count", "increase", "rate", "twa"];

/// Key of a source.
pub fn source(number: u8) -> Vec<u8> {
    format!("source{}", number % SOURCES).into_bytes()
}

/// Key of a destination.
pub fn destination(number: u8) -> Vec<u8> {
    format!("destination{}", number % DESTINATIONS).into_bytes()
}

/// Keys of all sources and destinations.
pub fn ends() -> impl Iterator<Item = Vec<u8>> {
    (0..SOURCES).map(source).chain((0..DESTINATIONS).map(destination))
}

const ALL: RangeQuery = RangeQuery {
    from: i64::MIN,
    to: i64::MAX,
    limit: usize::MAX,
    reverse: false,
};

impl Run {
    fn create_empty(&mut self, key: &[u8]) -> Outcome {
        if self.model.keys.contains_key(key) {
            return Ok(());
        }
        self.until_done(|partition, now_ms| {
            partition.create_plain_series(key, SeriesProperties::default(), now_ms)
        })?;
        self.done(Change::Create { key: key.into() });
        Ok(())
    }

    /// TS.CREATERULE to a destination that is new, one in three with BACKFILL.
    pub fn create_rule(&mut self, source: &[u8], destination: &[u8], number: u8) -> Outcome {
        self.create_empty(source)?;
        self.deliver()?;
        if self.model.keys.contains_key(destination) {
            self.delete(destination)?;
            self.deliver()?;
        }
        self.create_empty(destination)?;
        let bucket = 7 + i64::from(number % 90);
        let samples = self.model.samples(source, 0, self.now_ms);
        let newest = samples.and_then(|samples| samples.keys().next_back().copied());
        let backfill = number.is_multiple_of(3);
        let from = newest.filter(|_| !backfill).map_or(i64::MIN, |newest| newest + 1);
        let aggregator = AGGREGATORS[usize::from(number) % AGGREGATORS.len()];
        let rule = Rule {
            destination: destination.into(),
            aggregator: Aggregator::parse(aggregator.as_bytes()).expect("a known name"),
            bucket,
            align: 0,
            calendar: Default::default(),
            from,
        };
        self.change_properties(destination, |properties| properties.source = Some(source.into()))?;
        self.change_properties(source, |properties| properties.rules.push(rule.clone()))?;
        if let Some(newest) = newest.filter(|_| backfill) {
            self.until_done(|partition, now_ms| {
                let found = partition.find_plain_series(source, now_ms)?;
                let (place, _) = found.expect("it has just got a rule");
                partition.owe_closed_buckets(place, destination, newest);
                Ok(())
            })?;
        }
        self.done(Change::Rule {
            destination: destination.into(),
            rule: RuleOfModel {
                source: source.into(),
                aggregator: aggregator.to_owned(),
                bucket,
                from,
                changed: Default::default(),
            },
        });
        Ok(())
    }

    fn change_properties(&mut self, key: &[u8], change: impl Fn(&mut SeriesProperties)) -> Outcome {
        let changed = self.until_done(|partition, now_ms| {
            let Some((place, _)) = partition.find_plain_series(key, now_ms)? else {
                return Ok(false);
            };
            let mut properties = partition.properties(place).cloned().unwrap_or_default();
            change(&mut properties);
            partition.set_properties(place, properties);
            Ok(true)
        })?;
        if changed == Some(true) {
            return Ok(());
        }
        Err(format!(
            "{} has no properties to change",
            String::from_utf8_lossy(key)
        ))
    }

    /// Samples of a source: after its newest one, or anywhere.
    pub fn feed(&mut self, source: &[u8], count: u8, gap: u8, seed: Option<u16>) -> Outcome {
        if !self.model.keys.contains_key(source) {
            return Ok(());
        }
        let newest = self.newest(source, 0);
        let mut random = fastrand::Rng::with_seed(u64::from(seed.unwrap_or(0)));
        for index in 1..=i64::from(count % 40) {
            let timestamp = match seed {
                None => newest + index * (1 + i64::from(gap % 30)),
                Some(_) => random.i64(0..=newest.max(0)),
            };
            self.values += 1;
            let sample = Sample::new(timestamp, (self.values % 1_000) as f64);
            self.until_done(|partition, now_ms| partition.add_sample(source, 0, sample, now_ms))?;
            self.done(Change::Sample {
                key: source.into(),
                data_type: 0,
                timestamp,
                bits: sample.value.to_bits(),
                quality: 0,
            });
        }
        Ok(())
    }

    /// TS.DEL of a source.
    pub fn delete_from_source(&mut self, source: &[u8], from: u16, len: u16) -> Outcome {
        let newest = self.newest(source, 0).max(1);
        let from = i64::from(from) % newest;
        let to = if len.is_multiple_of(5) {
            i64::MAX
        } else {
            from + i64::from(len % 400)
        };
        let deleted = self.until_done(|partition, now_ms| {
            let Some((place, member)) = partition.find_plain_series(source, now_ms)? else {
                return Ok(false);
            };
            let newest = partition.certain_newest(member)?;
            partition.delete_range(member, from, to)?;
            partition.roll_up_deleted(place, (from, to), newest, now_ms);
            Ok(true)
        })?;
        if deleted == Some(true) {
            self.done(Change::DeleteRange {
                key: source.into(),
                data_type: 0,
                from,
                to,
            });
        }
        Ok(())
    }

    /// Everything that is owed is delivered.
    pub fn deliver(&mut self) -> Outcome {
        for _ in 0..1_000 {
            if self.partition().undelivered() == 0 {
                return Ok(());
            }
            self.commit()?;
            for (id, entry) in self.partition().take_deliveries(7) {
                let done = self.until_done(|partition, now_ms| deliver_one(partition, &entry, now_ms))?;
                let Some(rest) = done else {
                    return Err(format!("{entry:?} was refused"));
                };
                self.partition().delivered(id, rest);
                self.delivered += 1;
            }
        }
        Err("there is always something to deliver".into())
    }

    /// Both ends of every rule know each other, and every closed bucket is right.
    pub fn compare_rules(&mut self) -> Outcome {
        self.deliver()?;
        for key in ends() {
            let found = self.until_done(|partition, now_ms| {
                let found = partition.find_plain_series(&key, now_ms)?;
                let properties = found.and_then(|(place, _)| partition.properties(place));
                Ok(properties.cloned().unwrap_or_default())
            })?;
            let found = found.ok_or("refused")?;
            let mut rules: Vec<Vec<u8>> = found.rules.iter().map(|r| r.destination.to_vec()).collect();
            rules.sort();
            let expected: Vec<Vec<u8>> = self
                .model
                .rules
                .iter()
                .filter(|(_, rule)| rule.source == key)
                .map(|(destination, _)| destination.clone())
                .collect();
            let source = self.model.rules.get(&key).map(|rule| rule.source.clone());
            if rules != expected || found.source.map(Vec::from) != source {
                let key = String::from_utf8_lossy(&key);
                return Err(format!(
                    "{key} has rules {rules:?} and a source, expected {expected:?} and {source:?}"
                ));
            }
        }
        for (destination, rule) in self.model.rules.clone() {
            self.compare_buckets(&destination, &rule)?;
        }
        Ok(())
    }

    fn compare_buckets(&mut self, destination: &[u8], rule: &RuleOfModel) -> Outcome {
        let found = self.until_done(|partition, now_ms| {
            let (_, member) = partition
                .find_plain_series(destination, now_ms)?
                .expect("it has a rule");
            partition.read_samples(member, ALL)
        })?;
        let found = found.ok_or("refused")?;
        let samples = self
            .model
            .samples(&rule.source, 0, self.now_ms)
            .cloned()
            .unwrap_or_default();
        let open = samples
            .keys()
            .next_back()
            .map_or(0, |newest| rule.start_of(*newest));
        let samples: BTreeMap<i64, f64> = samples
            .iter()
            .map(|(timestamp, (bits, _))| (*timestamp, f64::from_bits(*bits)))
            .collect();
        // Buckets beside a change may be written that are older than the rule.
        let oldest = match looks_beside(&rule.aggregator) {
            true => rule.from,
            false => i64::MIN,
        };
        let is_compared = |start: i64| oldest <= start && start < open;
        let counts = |timestamp| rule.counts(timestamp);
        let mut expected = rolled_up(&rule.aggregator, &samples, rule.bucket, counts);
        expected.retain(|(start, _)| is_compared(*start));
        // What was closed before samples were deleted may be open again.
        let found: Vec<(i64, f64)> = found
            .iter()
            .map(|sample| (sample.timestamp, sample.value))
            .filter(|(start, _)| is_compared(*start))
            .collect();
        self.buckets += expected.len() as u64;
        if !is_same(&found, &expected) {
            let at = found.iter().zip(&expected).position(|(a, b)| !is_near(*a, *b));
            let at = at.unwrap_or(found.len().min(expected.len()));
            return Err(format!(
                "{} has {} buckets of {rule:?} for {}; at {at} {:?} for {:?}",
                String::from_utf8_lossy(destination),
                found.len(),
                expected.len(),
                found.get(at),
                expected.get(at)
            ));
        }
        Ok(())
    }
}

/// Returns what is left of it.
fn deliver_one(
    partition: &mut Partition,
    entry: &OutboxEntry,
    now_ms: i64,
) -> Result<Option<OutboxEntry>, Stop> {
    match entry {
        OutboxEntry::Rollup {
            source,
            destination,
            from,
            to,
        } => {
            let (mut up_to, mut samples_max) = (*to, ROLLUP_SAMPLES_MAX);
            let rolled_up = loop {
                let stretch = (*from, up_to);
                let Some(read) =
                    partition.read_rollup(source, destination, (stretch, samples_max), now_ms)?
                else {
                    return Ok(None);
                };
                match read.run()? {
                    RollupFound::Whole(rolled_up) => break rolled_up,
                    RollupFound::UpTo(last) => (up_to, samples_max) = (last, usize::MAX),
                }
            };
            partition.warm(destination)?;
            partition.write_rollup(source, destination, &rolled_up, now_ms)?;
            Ok((up_to < *to).then(|| OutboxEntry::Rollup {
                source: source.clone(),
                destination: destination.clone(),
                from: up_to + 1,
                to: *to,
            }))
        }
        OutboxEntry::Beside {
            source,
            destination,
            changed,
            side,
        } => {
            let beside = partition.stretch_beside((source, destination), (*changed, *side), now_ms)?;
            let Some((from, to)) = beside else {
                return Ok(None);
            };
            let entry = OutboxEntry::Rollup {
                source: source.clone(),
                destination: destination.clone(),
                from,
                to,
            };
            deliver_one(partition, &entry, now_ms)
        }
        OutboxEntry::Relink { key, from, to } => {
            partition.relink(key, from, to.as_deref(), now_ms)?;
            Ok(None)
        }
        OutboxEntry::Create { .. } => Ok(None),
    }
}
