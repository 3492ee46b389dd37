//! One client of the crash test of series: draws commands, remembers what was acknowledged, and checks what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::model::{Labels, Model, Operation, Rule};
use crate::support::{Client, Value, is_near, is_same};

const SOURCES: usize = 5;
const DESTINATIONS: usize = 6;
/// Destinations of rules of destinations.
const SECONDS: usize = 3;
/// Commands of a transaction at most.
const TOGETHER_MAX: usize = 5;
const AGGREGATORS: [&str; 7] = ["sum", "max", "last", "count", "increase", "rate", "twa"];
/// Values of the label `kind`.
const KINDS: usize = 3;
/// Deliveries that a crash has interrupted are done within this time after the start.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Wait between looks.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// A source with more samples than this is deleted soon.
const SAMPLES_MAX: usize = 3_000;

/// See the head of the file.
pub struct Writer {
    name: String,
    random: Rng,
    model: Model,
    /// Sent, and neither acknowledged nor found yet.
    pending: Option<Operation>,
    values: u64,
    /// Commands acknowledged.
    pub acknowledged: u64,
    /// Closed buckets compared.
    pub buckets: u64,
}

impl Writer {
    /// A writer with keys of its own.
    pub fn new(number: usize, seed: u64) -> Writer {
        Writer {
            name: format!("writer{number}"),
            random: Rng::with_seed(seed),
            model: Model::default(),
            pending: None,
            values: 0,
            acknowledged: 0,
            buckets: 0,
        }
    }

    /// A key of one of four businesses, hence most likely of another lane than its neighbours.
    fn key(&self, role: char, number: usize) -> String {
        let prefix = ["stock_", "iot_", "", "order_"][number % 4];
        format!("{prefix}{}:{role}{number}", self.name)
    }

    fn any(&mut self, role: char) -> String {
        let count = match role {
            's' => SOURCES,
            'd' => DESTINATIONS,
            _ => SECONDS,
        };
        let number = self.random.usize(..count);
        self.key(role, number)
    }

    fn labels(&mut self) -> Labels {
        let label = |name: &str, value: String| (name.to_owned(), value);
        let kind = self.random.usize(..=KINDS);
        let mut labels = vec![label("writer", self.name.clone())];
        if kind < KINDS {
            labels.push(label("kind", format!("k{kind}")));
        }
        labels
    }

    /// A command, or several that are to be done together.
    fn draw(&mut self) -> Operation {
        if self.random.u32(..100) >= 6 {
            return self.draw_one();
        }
        let before = self.model.clone();
        let mut operations = Vec::new();
        for _ in 0..self.random.usize(2..=TOGETHER_MAX) {
            let operation = self.draw_one();
            self.model.apply(&operation);
            operations.push(operation);
        }
        self.model = before;
        Operation::Together(operations)
    }

    fn draw_one(&mut self) -> Operation {
        let role = match self.random.u32(..100) {
            0..78 => 's',
            78..95 => 'd',
            _ => 'e',
        };
        let key = self.any(role);
        let Some(series) = self.model.series.get(&key).cloned() else {
            let labels = self.labels();
            return Operation::Create { key, labels };
        };
        match self.random.u32(..1_000) {
            0..30 => {
                let labels = self.labels();
                return Operation::Alter { key, labels };
            }
            30..33 => return Operation::Delete { key },
            33..35 => return Operation::Expire { key },
            draw @ 35..57 => {
                let to = self.any(role);
                if to != key && draw < 52 {
                    return Operation::Rename { from: key, to };
                } else if to != key {
                    return Operation::Copy { from: key, to };
                }
            }
            _ => {}
        }
        if role != 's' {
            return self.draw_for_destination(role, key);
        }
        let newest = series.samples.keys().next_back().copied().unwrap_or(0);
        match self.random.u32(..100) {
            0..3 if newest > 0 => {
                // One in three takes the newest samples, and what remains is then found on disk.
                let oldest = if self.random.u8(..3) == 0 { newest - 200 } else { 0 };
                let from = self.random.i64(oldest.max(0)..=newest);
                let to = from + self.random.i64(0..500);
                Operation::DeleteRange { key, from, to }
            }
            _ if series.samples.len() > SAMPLES_MAX => Operation::Delete { key },
            draw => {
                let count = if draw < 40 { 1 } else { self.random.i64(2..8) };
                let is_late = draw.is_multiple_of(4);
                let mut time = newest;
                let samples = (0..count).map(|_| {
                    time = match is_late {
                        true => self.random.i64(0..=newest),
                        false => time + self.random.i64(1..25),
                    };
                    self.values += 1;
                    (time, (self.values % 10_000) as f64)
                });
                let samples: BTreeMap<i64, f64> = samples.collect();
                let samples = samples.into_iter().collect();
                Operation::Add { key, samples }
            }
        }
    }

    fn draw_for_destination(&mut self, role: char, destination: String) -> Operation {
        let series = &self.model.series[&destination];
        match (&series.source, series.is_used) {
            (Some(source), _) if self.random.u32(..100) < 4 => Operation::DeleteRule {
                source: source.clone(),
                destination,
            },
            (None, true) => Operation::Delete { key: destination },
            (None, false) => {
                let source = self.any(if role == 'd' { 's' } else { 'd' });
                let Some(of) = self.model.series.get(&source) else {
                    let labels = self.labels();
                    return Operation::Create { key: source, labels };
                };
                if of.is_used {
                    // Where a rule of it would begin is not known.
                    return Operation::Delete { key: source };
                }
                let newest = of.samples.keys().next_back();
                let backfill = self.random.bool();
                let rule = Rule {
                    aggregator: AGGREGATORS[self.random.usize(..AGGREGATORS.len())],
                    bucket: self.random.i64(10..200),
                    backfill,
                    from: newest.filter(|_| !backfill).map_or(i64::MIN, |newest| newest + 1),
                    ..Rule::default()
                };
                Operation::CreateRule {
                    source,
                    destination,
                    rule,
                }
            }
            _ => {
                let labels = self.labels();
                Operation::Alter {
                    key: destination,
                    labels,
                }
            }
        }
    }

    /// Sends commands, one after another, until the connection breaks.
    pub fn write_until_killed(&mut self, port: u16) {
        let Ok(mut client) = Client::try_connect(port) else {
            return;
        };
        loop {
            let operation = self.draw();
            let queued = match &operation {
                Operation::Together(operations) => queue(&mut client, operations),
                _ => Ok(()),
            };
            let reply = queued.and_then(|()| client.try_command(&operation.command()));
            let Ok(reply) = reply else {
                self.pending = Some(operation);
                return;
            };
            let has_error = reply.is_error() || reply.elements().iter().any(Value::is_error);
            assert!(!has_error, "{operation:?} was answered by {reply}");
            self.model.apply(&operation);
            self.acknowledged += 1;
        }
    }

    /// Every key was deleted.
    pub fn forget(&mut self) {
        self.model = Model::default();
    }

    /// Checks what the restarted server holds, and goes on from there.
    ///
    /// # Panics
    /// If it is neither what was acknowledged nor that and the command that was under way.
    pub fn check(&mut self, client: &mut Client, context: &str) {
        let mut possible = vec![self.model.clone()];
        if let Some(pending) = self.pending.take() {
            let mut model = self.model.clone();
            model.apply(&pending);
            possible.push(model);
        }
        let start = Instant::now();
        loop {
            let wrong: Vec<String> = possible
                .iter()
                .map_while(|model| match self.compare(client, model) {
                    Ok(buckets) => {
                        self.model = model.clone();
                        self.buckets += buckets;
                        None
                    }
                    Err(wrong) => Some(wrong),
                })
                .collect();
            if wrong.len() < possible.len() {
                return;
            }
            assert!(
                start.elapsed() < SETTLED_AFTER,
                "{}, {context}: {wrong:#?}",
                self.name
            );
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    /// Returns the number of closed buckets.
    fn compare(&self, client: &mut Client, model: &Model) -> Result<u64, String> {
        self.compare_index(client, model)?;
        let mut buckets = 0;
        for (role, count) in [('s', SOURCES), ('d', DESTINATIONS), ('e', SECONDS)] {
            for key in (0..count).map(|number| self.key(role, number)) {
                self.compare_info(client, model, &key)?;
                buckets += self.compare_samples(client, model, &key)?;
            }
        }
        Ok(buckets)
    }

    fn compare_index(&self, client: &mut Client, model: &Model) -> Result<(), String> {
        let own = format!("writer={}", self.name);
        let kind = |series: &super::model::Series| {
            let label = series.labels.iter().find(|label| label.0 == "kind");
            label.map(|label| label.1.clone())
        };
        let mut filters: Vec<(Vec<String>, Vec<Option<String>>)> = Vec::new();
        let kinds: Vec<Option<String>> = (0..KINDS).map(|kind| Some(format!("k{kind}"))).collect();
        let any = [vec![None], kinds.clone()].concat();
        filters.push((vec![own.clone()], any));
        filters.push((vec![own.clone(), "kind=".into()], vec![None]));
        for one in kinds {
            let filter = format!("kind={}", one.clone().unwrap_or_default());
            filters.push((vec![filter, own.clone()], vec![one]));
        }
        for (filter, kinds) in filters {
            let mut command = vec!["TS.QUERYINDEX".to_owned()];
            command.extend(filter);
            let reply = client.command(&command);
            let found: BTreeSet<String> = reply.elements().iter().filter_map(Value::text).collect();
            let matching = model
                .series
                .iter()
                .filter(|(_, series)| kinds.contains(&kind(series)));
            let expected: BTreeSet<String> = matching.map(|(key, _)| key.clone()).collect();
            if found != expected || reply.elements().len() != found.len() {
                return Err(format!("{command:?} finds {reply}, expected {expected:?}"));
            }
        }
        Ok(())
    }

    fn compare_info(&self, client: &mut Client, model: &Model, key: &str) -> Result<(), String> {
        let info = client.command(&["TS.INFO", key]);
        let Some(series) = model.series.get(key) else {
            return match info.is_error() {
                true => Ok(()),
                false => Err(format!("{key} is there: {info}")),
            };
        };
        let field = |name: &str| {
            let at = info
                .elements()
                .iter()
                .position(|field| field.text().as_deref() == Some(name));
            at.and_then(|at| info.elements().get(at + 1))
                .cloned()
                .unwrap_or(Value::Nil)
        };
        let texts = |value: &Value| {
            value
                .elements()
                .iter()
                .filter_map(Value::text)
                .collect::<Vec<_>>()
        };
        let labels: Labels = field("labels")
            .elements()
            .iter()
            .map(texts)
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect();
        let mut rules: Vec<Vec<String>> = field("rules").elements().iter().map(texts).collect();
        rules.sort();
        let expected_rules: Vec<Vec<String>> = series
            .rules
            .iter()
            .map(|(destination, rule)| {
                let aggregator = rule.aggregator.to_uppercase();
                vec![
                    destination.clone(),
                    rule.bucket.to_string(),
                    aggregator,
                    "0".into(),
                ]
            })
            .collect();
        let source = field("sourceKey").text();
        if labels != series.labels || rules != expected_rules || source != series.source {
            return Err(format!("TS.INFO {key} says {info}, expected {series:?}"));
        }
        let is_known = series.source.is_none() && !series.is_used;
        let total = field("totalSamples").integer();
        // Late samples may be counted twice until they are folded.
        if is_known && total.is_none_or(|total| total < series.samples.len() as i64) {
            return Err(format!(
                "TS.INFO {key} counts {total:?} of {} samples",
                series.samples.len()
            ));
        }
        Ok(())
    }

    fn compare_samples(&self, client: &mut Client, model: &Model, key: &str) -> Result<u64, String> {
        let Some(series) = model.series.get(key) else {
            return Ok(0);
        };
        let mut found = samples_of(client, key);
        let expected = match &series.source {
            Some(of) => {
                let source = &model.series[of];
                let rule = &source.rules[key];
                // What is there of a destination is what its own destinations go by.
                let read = source
                    .is_used
                    .then(|| samples_of(client, of).into_iter().collect());
                let samples = read.unwrap_or_else(|| source.samples.clone());
                // What was closed before samples were deleted may be open again.
                found.retain(|(start, _)| rule.is_compared(*start, &samples));
                rule.buckets(&samples)
            }
            None if series.is_used => return Ok(0),
            None => series.samples.clone().into_iter().collect(),
        };
        if is_same(&found, &expected) {
            return Ok(if series.source.is_some() {
                expected.len() as u64
            } else {
                0
            });
        }
        let at = found
            .iter()
            .zip(&expected)
            .position(|(found, expected)| !is_near(*found, *expected));
        let at = at.unwrap_or(found.len().min(expected.len()));
        Err(format!(
            "{key}: {} samples for {}; at {at} {:?} for {:?}; source {:?}",
            found.len(),
            expected.len(),
            found.get(at),
            expected.get(at),
            series.source
        ))
    }
}

/// MULTI and the commands behind it.
fn queue(client: &mut Client, operations: &[Operation]) -> std::io::Result<()> {
    client.try_command(&["MULTI"])?;
    for operation in operations {
        let reply = client.try_command(&operation.command())?;
        assert!(!reply.is_error(), "{operation:?} was answered by {reply}");
    }
    Ok(())
}

/// Everything that is there of a series.
pub fn samples_of(client: &mut Client, key: &str) -> Vec<(i64, f64)> {
    let reply = client.command(&["TS.RANGE", key, "-", "+"]);
    let samples = reply.elements().iter();
    samples
        .filter_map(|sample| match sample.elements() {
            [time, value] => Some((time.integer()?, value.float()?)),
            _ => None,
        })
        .collect()
}
