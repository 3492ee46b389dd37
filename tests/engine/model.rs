//! What the engine should hold: keys, and a sorted map per series.

use std::collections::BTreeMap;

/// Timestamp to value and quality.
pub type Samples = BTreeMap<i64, (u64, u8)>;

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
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub keys: BTreeMap<Vec<u8>, Key>,
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
                let empty = || Key {
                    held: Held::Series(BTreeMap::new()),
                    expire_at_ms: 0,
                };
                let entry = self.keys.entry(key.clone()).or_insert_with(empty);
                let Held::Series(series) = &mut entry.held else {
                    panic!("a sample was added to a string")
                };
                series
                    .entry(*data_type)
                    .or_default()
                    .insert(*timestamp, (*bits, *quality));
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
                samples.retain(|timestamp, _| !(*from..=*to).contains(timestamp));
            }
            Change::Text { key, value } => {
                self.keys.insert(
                    key.clone(),
                    Key {
                        held: Held::Text(value.clone()),
                        expire_at_ms: 0,
                    },
                );
            }
            Change::Patch { key, offset, bytes } => {
                let empty = || Key {
                    held: Held::Text(Vec::new()),
                    expire_at_ms: 0,
                };
                let entry = self.keys.entry(key.clone()).or_insert_with(empty);
                let Held::Text(value) = &mut entry.held else {
                    panic!("a series was patched")
                };
                value.resize(value.len().max(offset + bytes.len()), 0);
                value[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Delete { key } => {
                self.keys.remove(key);
            }
            Change::Rename { from, to } => {
                let key = self.keys.remove(from).expect("the engine renamed it");
                self.keys.insert(to.clone(), key);
            }
            Change::Expire { key, expire_at_ms } => {
                self.keys.get_mut(key).expect("the engine found it").expire_at_ms = *expire_at_ms;
            }
            Change::Flush => self.keys.clear(),
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
                        held,
                        expire_at_ms: expire_at_ms.parse().unwrap(),
                    };
                    model.keys.insert(name.as_bytes().to_vec(), key);
                }
                ["series", name, expire_at_ms, data_type] => {
                    let expire_at_ms = expire_at_ms.parse().unwrap();
                    let empty = Key {
                        held: Held::Series(BTreeMap::new()),
                        expire_at_ms,
                    };
                    model.keys.entry(name.as_bytes().to_vec()).or_insert(empty);
                    current = Some((name.as_bytes().to_vec(), data_type.parse().unwrap()));
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
