//! What the engine should hold: keys, and a sorted map per series.

use std::collections::{BTreeMap, BTreeSet};

/// Timestamp to value and quality.
pub type Samples = BTreeMap<i64, (u64, u8)>;

/// Names and values.
pub type Labels = Vec<(String, String)>;

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// A string.
    Text(Vec<u8>),
    /// A series per data type.
    Series(BTreeMap<u8, Samples>),
}

/// One key.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub held: Held,
    /// Unix milliseconds; 0 = never.
    pub expire_at_ms: i64,
    pub labels: Labels,
    /// Its own, which is never longer than that of the business: what that one has hidden may be gone from the disk.
    pub retention: Option<i64>,
}

/// A rollup rule, listed by its destination.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleOfModel {
    pub source: Vec<u8>,
    pub aggregator: String,
    pub bucket: i64,
    /// Older samples were there before the rule.
    pub from: i64,
    /// Starts of buckets older than the rule in which something has changed since; they count whole.
    pub changed: BTreeSet<i64>,
}

impl RuleOfModel {
    /// Start of the bucket of a timestamp.
    pub fn start_of(&self, timestamp: i64) -> i64 {
        timestamp - timestamp.rem_euclid(self.bucket)
    }

    /// True if the destination is to know of a sample.
    pub fn counts(&self, timestamp: i64) -> bool {
        timestamp >= self.from || self.changed.contains(&self.start_of(timestamp))
    }

    /// A sample was added late at, or samples were deleted from, one of these timestamps.
    fn note_change<'a>(&mut self, timestamps: impl Iterator<Item = &'a i64>, (from, to): (i64, i64)) {
        if self.from == i64::MIN {
            return;
        }
        let touched: BTreeSet<i64> = timestamps
            .copied()
            .chain([from, to.min(self.from)])
            .map(|timestamp| self.start_of(timestamp))
            .collect();
        let starts = self.start_of(from)..=to;
        self.changed.extend(
            touched
                .into_iter()
                .filter(|start| starts.contains(start) && *start < self.from),
        );
    }
}

impl Key {
    fn new(held: Held) -> Key {
        Key {
            held,
            expire_at_ms: 0,
            labels: Vec::new(),
            retention: None,
        }
    }
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub keys: BTreeMap<Vec<u8>, Key>,
    /// By destination, whose samples are not in the model.
    pub rules: BTreeMap<Vec<u8>, RuleOfModel>,
}

/// A change that the engine has accepted.
#[derive(Clone, Debug)]
pub enum Change {
    Sample {
        key: Vec<u8>,
        data_type: u8,
        timestamp: i64,
        bits: u64,
        quality: u8,
    },
    DeleteRange {
        key: Vec<u8>,
        data_type: u8,
        from: i64,
        to: i64,
    },
    Text {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Patch {
        key: Vec<u8>,
        offset: usize,
        bytes: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    Expire {
        key: Vec<u8>,
        expire_at_ms: i64,
    },
    /// An empty series.
    Create {
        key: Vec<u8>,
    },
    /// A series has these labels, and this retention if it had none, and is created if need be.
    Label {
        key: Vec<u8>,
        labels: Labels,
        retention: Option<i64>,
    },
    Rule {
        destination: Vec<u8>,
        rule: RuleOfModel,
    },
    Flush,
}

impl Model {
    /// The key, unless it has expired.
    pub fn get(&self, key: &[u8], now_ms: i64) -> Option<&Key> {
        self.keys
            .get(key)
            .filter(|key| key.expire_at_ms == 0 || key.expire_at_ms > now_ms)
    }

    /// The samples of a series.
    pub fn samples(&self, key: &[u8], data_type: u8, now_ms: i64) -> Option<&Samples> {
        match &self.get(key, now_ms)?.held {
            Held::Series(series) => series.get(&data_type),
            Held::Text(_) => None,
        }
    }

    /// Does what the engine has done.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Sample {
                key,
                data_type,
                timestamp,
                bits,
                quality,
            } => {
                let empty = || Key::new(Held::Series(BTreeMap::new()));
                let entry = self.keys.entry(key.clone()).or_insert_with(empty);
                let Held::Series(series) = &mut entry.held else {
                    panic!("a sample was added to a string")
                };
                let samples = series.entry(*data_type).or_default();
                let newest = samples.keys().next_back();
                let is_late = newest.is_some_and(|newest| timestamp <= newest);
                for rule in self.rules.values_mut().filter(|rule| rule.source == *key) {
                    // After deletions the series may go on before the rule.
                    if is_late || *timestamp < rule.from {
                        rule.note_change(std::iter::empty(), (*timestamp, *timestamp));
                    }
                }
                samples.insert(*timestamp, (*bits, *quality));
            }
            Change::DeleteRange {
                key,
                data_type,
                from,
                to,
            } => {
                let Held::Series(series) = &mut self.keys.get_mut(key).expect("the engine found it").held
                else {
                    panic!("a range of a string was deleted")
                };
                let samples = series.get_mut(data_type).expect("the engine found it");
                for rule in self.rules.values_mut().filter(|rule| rule.source == *key) {
                    rule.note_change(samples.keys(), (*from, *to));
                }
                samples.retain(|timestamp, _| !(*from..=*to).contains(timestamp));
            }
            Change::Text { key, value } => {
                self.keys.insert(key.clone(), Key::new(Held::Text(value.clone())));
            }
            Change::Patch { key, offset, bytes } => {
                let empty = || Key::new(Held::Text(Vec::new()));
                let entry = self.keys.entry(key.clone()).or_insert_with(empty);
                let Held::Text(value) = &mut entry.held else {
                    panic!("a series was patched")
                };
                value.resize(value.len().max(offset + bytes.len()), 0);
                value[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Delete { key } => {
                self.keys.remove(key);
                self.rules
                    .retain(|destination, rule| destination != key && rule.source != *key);
            }
            Change::Rename { from, to } => {
                let key = self.keys.remove(from).expect("the engine renamed it");
                self.keys.insert(to.clone(), key);
                self.rules
                    .retain(|destination, rule| destination != to && rule.source != *to);
                if let Some(rule) = self.rules.remove(from) {
                    self.rules.insert(to.clone(), rule);
                }
                for rule in self.rules.values_mut().filter(|rule| rule.source == *from) {
                    rule.source.clone_from(to);
                }
            }
            Change::Create { key } => {
                let series = BTreeMap::from([(0, Samples::new())]);
                self.keys.insert(key.clone(), Key::new(Held::Series(series)));
            }
            Change::Label {
                key,
                labels,
                retention,
            } => {
                let empty = || Key::new(Held::Series(BTreeMap::new()));
                let entry = self.keys.entry(key.clone()).or_insert_with(empty);
                let Held::Series(series) = &mut entry.held else {
                    panic!("a string was given labels")
                };
                series.entry(0).or_default();
                entry.labels.clone_from(labels);
                entry.retention = entry.retention.or(*retention);
            }
            Change::Rule { destination, rule } => {
                self.rules.insert(destination.clone(), rule.clone());
            }
            Change::Expire { key, expire_at_ms } => {
                self.keys.get_mut(key).expect("the engine found it").expire_at_ms = *expire_at_ms;
            }
            Change::Flush => *self = Model::default(),
        }
    }

    /// Keys whose time has come.
    pub fn expired(&self, now_ms: i64) -> Vec<Vec<u8>> {
        let expired = |key: &Key| key.expire_at_ms != 0 && key.expire_at_ms <= now_ms;
        self.keys
            .iter()
            .filter(|(_, key)| expired(key))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The model as lines of text, for another process.
    pub fn render(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        for (name, key) in &self.keys {
            let name = String::from_utf8_lossy(name);
            match &key.held {
                Held::Text(value) => {
                    writeln!(
                        text,
                        "text {name} {} {}",
                        key.expire_at_ms,
                        String::from_utf8_lossy(value)
                    )
                }
                Held::Series(series) => series.iter().try_for_each(|(data_type, samples)| {
                    writeln!(text, "series {name} {} {data_type}", key.expire_at_ms)?;
                    samples
                        .iter()
                        .try_for_each(|(time, (bits, quality))| writeln!(text, "{time} {bits} {quality}"))
                }),
            }
            .expect("a string takes everything");
            if let Some(retention) = key.retention {
                writeln!(text, "retention {name} {retention}").expect("a string takes everything");
            }
            for (label, value) in &key.labels {
                writeln!(text, "label {name} {label} {value}").expect("a string takes everything");
            }
        }
        for (destination, rule) in &self.rules {
            let (destination, source) = (
                String::from_utf8_lossy(destination),
                String::from_utf8_lossy(&rule.source),
            );
            let RuleOfModel {
                aggregator,
                bucket,
                from,
                changed,
                ..
            } = rule;
            let changed: Vec<String> = changed.iter().map(i64::to_string).collect();
            let changed = changed.join(",");
            writeln!(
                text,
                "rule {destination} {source} {aggregator} {bucket} {from} {changed}"
            )
            .expect("a string takes everything");
        }
        text
    }

    /// Inverse of [`Model::render`].
    pub fn parse(text: &str) -> Model {
        let mut model = Model::default();
        let mut current = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["text", name, expire_at_ms, value] => {
                    let held = Held::Text(value.replace('~', "\0").into_bytes());
                    let key = Key {
                        expire_at_ms: expire_at_ms.parse().unwrap(),
                        ..Key::new(held)
                    };
                    model.keys.insert(name.as_bytes().to_vec(), key);
                }
                ["series", name, expire_at_ms, data_type] => {
                    let empty = Key {
                        expire_at_ms: expire_at_ms.parse().unwrap(),
                        ..Key::new(Held::Series(BTreeMap::new()))
                    };
                    let data_type = data_type.parse().unwrap();
                    let entry = model.keys.entry(name.as_bytes().to_vec()).or_insert(empty);
                    if let Held::Series(series) = &mut entry.held {
                        series.insert(data_type, Samples::new());
                    }
                    current = Some((name.as_bytes().to_vec(), data_type));
                }
                ["retention", name, retention] => {
                    let key = model.keys.get_mut(name.as_bytes()).unwrap();
                    key.retention = Some(retention.parse().unwrap());
                }
                ["label", name, label, value] => {
                    let key = model.keys.get_mut(name.as_bytes()).unwrap();
                    key.labels.push((label.to_owned(), value.to_owned()));
                }
                ["rule", destination, source, aggregator, bucket, from, changed] => {
                    let rule = RuleOfModel {
                        source: source.as_bytes().to_vec(),
                        aggregator: aggregator.to_owned(),
                        bucket: bucket.parse().unwrap(),
                        from: from.parse().unwrap(),
                        changed: changed
                            .split(',')
                            .filter_map(|start| start.parse().ok())
                            .collect(),
                    };
                    model.rules.insert(destination.as_bytes().to_vec(), rule);
                }
                [timestamp, bits, quality] => {
                    let (key, data_type) = current.clone().unwrap();
                    let (timestamp, bits) = (timestamp.parse().unwrap(), bits.parse().unwrap());
                    let quality = quality.parse().unwrap();
                    model.apply(&Change::Sample {
                        key,
                        data_type,
                        timestamp,
                        bits,
                        quality,
                    });
                }
                _ => panic!("{line:?}"),
            }
        }
        model
    }
}
