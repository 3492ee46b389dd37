//! What a client of the crash test of series has done, and what that has to leave.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Point, looks_beside, rolled_up};

/// Names and values.
pub type Labels = Vec<(String, String)>;
/// Timestamp to value.
pub type Samples = BTreeMap<i64, f64>;

/// A rule of a source, listed by its destination.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    pub aggregator: &'static str,
    pub bucket: i64,
    /// What was there before the rule counts too.
    pub backfill: bool,
    /// Older samples were there before the rule.
    pub from: i64,
    /// Starts of buckets older than the rule in which something has changed since; they count whole.
    pub changed: BTreeSet<i64>,
}

/// A series.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub labels: Labels,
    /// Of a destination: not known, the rule says what they are.
    pub samples: Samples,
    /// Of a source, by destination.
    pub rules: BTreeMap<String, Rule>,
    /// Of a destination.
    pub source: Option<String>,
    /// It has been a destination before: its samples are of no rule.
    pub is_used: bool,
}

/// One command.
#[derive(Clone, Debug)]
pub enum Operation {
    Create {
        key: String,
        labels: Labels,
    },
    Alter {
        key: String,
        labels: Labels,
    },
    Add {
        key: String,
        samples: Vec<(i64, f64)>,
    },
    DeleteRange {
        key: String,
        from: i64,
        to: i64,
    },
    Delete {
        key: String,
    },
    /// EXPIRE of the past.
    Expire {
        key: String,
    },
    /// COPY REPLACE.
    Copy {
        from: String,
        to: String,
    },
    /// MULTI and EXEC: all of them or none.
    Together(Vec<Operation>),
    Rename {
        from: String,
        to: String,
    },
    CreateRule {
        source: String,
        destination: String,
        rule: Rule,
    },
    DeleteRule {
        source: String,
        destination: String,
    },
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Operation {
    /// As sent.
    pub fn command(&self) -> Vec<String> {
        let with_labels = |name: &str, key: &str, labels: &Labels| {
            let mut command = words(&[name, key, "LABELS"]);
            command.extend(labels.iter().flat_map(|(n, v)| [n.clone(), v.clone()]));
            command
        };
        match self {
            Operation::Create { key, labels } => {
                let mut command = words(&["TS.CREATE", key, "DUPLICATE_POLICY", "LAST"]);
                command.extend(with_labels("", "", labels).into_iter().skip(2));
                command
            }
            Operation::Alter { key, labels } => with_labels("TS.ALTER", key, labels),
            Operation::Add { key, samples } => match samples[..] {
                [(timestamp, value)] => words(&["TS.ADD", key, &timestamp.to_string(), &value.to_string()]),
                _ => {
                    let triples = samples
                        .iter()
                        .flat_map(|(time, value)| [key.clone(), time.to_string(), value.to_string()]);
                    words(&["TS.MADD"]).into_iter().chain(triples).collect()
                }
            },
            Operation::DeleteRange { key, from, to } => {
                words(&["TS.DEL", key, &from.to_string(), &to.to_string()])
            }
            Operation::Delete { key } => words(&["DEL", key]),
            Operation::Expire { key } => words(&["EXPIRE", key, "-1"]),
            Operation::Copy { from, to } => words(&["COPY", from, to, "REPLACE"]),
            Operation::Together(_) => words(&["EXEC"]),
            Operation::Rename { from, to } => words(&["RENAME", from, to]),
            Operation::CreateRule {
                source,
                destination,
                rule,
            } => {
                let mut command = words(&[
                    "TS.CREATERULE",
                    source,
                    destination,
                    "AGGREGATION",
                    rule.aggregator,
                    &rule.bucket.to_string(),
                ]);
                command.extend(rule.backfill.then(|| "BACKFILL".to_owned()));
                command
            }
            Operation::DeleteRule { source, destination } => words(&["TS.DELETERULE", source, destination]),
        }
    }
}

/// All series of one client.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub series: BTreeMap<String, Series>,
}

impl Model {
    /// The key goes away, or has another name: so its links.
    fn unlink(&mut self, key: &str, to: Option<&str>) {
        for series in self.series.values_mut() {
            if let Some(rule) = series.rules.remove(key)
                && let Some(to) = to
            {
                series.rules.insert(to.to_owned(), rule);
            }
            if series.source.as_deref() == Some(key) {
                series.source = to.map(str::to_owned);
            }
        }
    }

    /// Does what the server has done.
    pub fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Create { key, labels } => {
                let labels = labels.clone();
                let series = Series {
                    labels,
                    ..Series::default()
                };
                self.series.insert(key.clone(), series);
            }
            Operation::Alter { key, labels } => self.at(key).labels.clone_from(labels),
            Operation::Add { key, samples } => {
                samples.iter().for_each(|sample| self.at(key).add(*sample));
            }
            Operation::DeleteRange { key, from, to } => self.at(key).delete(*from, *to),
            Operation::Delete { key } | Operation::Expire { key } => {
                self.series.remove(key);
                self.unlink(key, None);
            }
            Operation::Copy { from, to } => {
                self.series.remove(to);
                self.unlink(to, None);
                let mut copy = self.at(from).clone();
                // The copy of a destination is no destination, and its samples are of no rule.
                copy.rules.clear();
                copy.source = None;
                self.series.insert(to.clone(), copy);
            }
            Operation::Together(operations) => operations.iter().for_each(|each| self.apply(each)),
            Operation::Rename { from, to } => {
                if self.series.remove(to).is_some() {
                    self.unlink(to, None);
                }
                let series = self.series.remove(from).expect("only what is there is renamed");
                self.series.insert(to.clone(), series);
                self.unlink(from, Some(to));
            }
            Operation::CreateRule {
                source,
                destination,
                rule,
            } => {
                self.at(source).rules.insert(destination.clone(), rule.clone());
                let destination = self.at(destination);
                destination.source = Some(source.clone());
                destination.is_used = true;
            }
            Operation::DeleteRule { source, destination } => {
                self.at(source).rules.remove(destination);
                self.at(destination).source = None;
            }
        }
    }

    fn at(&mut self, key: &str) -> &mut Series {
        self.series
            .get_mut(key)
            .expect("operations are drawn from what is there")
    }
}

impl Series {
    fn add(&mut self, (time, value): (i64, f64)) {
        let is_late = self
            .samples
            .keys()
            .next_back()
            .is_some_and(|newest| time <= *newest);
        for rule in self.rules.values_mut() {
            // After deletions the series may go on before the rule.
            if is_late || time < rule.from {
                rule.note_change([time].into_iter());
            }
        }
        self.samples.insert(time, value);
    }

    fn delete(&mut self, from: i64, to: i64) {
        let deleted: Vec<i64> = self.samples.range(from..=to).map(|(time, _)| *time).collect();
        if deleted.is_empty() {
            return;
        }
        for rule in self.rules.values_mut() {
            let ends = [from, to.min(rule.from.saturating_sub(1)).max(from)];
            rule.note_change(deleted.iter().copied().chain(ends));
        }
        self.samples.retain(|time, _| !(from..=to).contains(time));
    }
}

impl Rule {
    fn start_of(&self, time: i64) -> i64 {
        time - time.rem_euclid(self.bucket)
    }

    /// Something was added late, or deleted, at these times.
    fn note_change(&mut self, times: impl Iterator<Item = i64>) {
        for start in times.map(|time| time - time.rem_euclid(self.bucket)) {
            if start < self.from {
                self.changed.insert(start);
            }
        }
    }

    /// Starts and values of the closed buckets of these samples that `is_compared` by their starts.
    pub fn buckets(&self, samples: &Samples) -> Vec<Point> {
        let counts = |time| time >= self.from || self.changed.contains(&self.start_of(time));
        let mut buckets = rolled_up(self.aggregator, samples, self.bucket, counts);
        buckets.retain(|(start, _)| self.is_compared(*start, samples));
        buckets
    }

    /// True if the bucket is closed and known. Buckets beside a change may be written that are older than the rule.
    pub fn is_compared(&self, start: i64, samples: &Samples) -> bool {
        let newest = samples.keys().next_back();
        let is_closed = newest.is_some_and(|newest| start < self.start_of(*newest));
        is_closed && (start >= self.from || !looks_beside(self.aggregator))
    }
}
