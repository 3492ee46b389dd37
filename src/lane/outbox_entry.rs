//! What may be owed to a key of another partition, and its bytes in the journal.

use crate::series::codec::bits::{Reader, put_bytes, put_signed, put_varint};
use crate::series::{Label, SeriesProperties};

/// One of the two sides of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before it.
    Earlier,
    /// Behind it.
    Later,
}

/// Something to be done at another key.
#[derive(Clone, Debug, PartialEq)]
pub enum OutboxEntry {
    /// The buckets of the source that hold samples from `from` to `to` go to the destination of its rule.
    Rollup {
        /// Key of the series with the rule; in this partition.
        source: Box<[u8]>,
        /// Key of the series that is written.
        destination: Box<[u8]>,
        /// First timestamp.
        from: i64,
        /// Last timestamp.
        to: i64,
    },
    /// The buckets beside that of a change that are computed from its samples too go to the destination of the rule.
    Beside {
        /// Key of the series with the rule; in this partition.
        source: Box<[u8]>,
        /// Key of the series that is written.
        destination: Box<[u8]>,
        /// Timestamp of the change, or its end on that side.
        changed: i64,
        /// Where they are.
        side: Side,
    },
    /// The other end of a rule has another name, or is gone.
    Relink {
        /// Key whose properties name the other end.
        key: Box<[u8]>,
        /// The name that they know.
        from: Box<[u8]>,
        /// The name that it has now; `None` = it is gone.
        to: Option<Box<[u8]>>,
    },
    /// A series that a new rule writes to is created unless it is there.
    Create {
        /// Its key.
        key: Box<[u8]>,
        /// The key of the series with the rule.
        source: Box<[u8]>,
        /// Retention in the business's unit.
        retention: i64,
        /// Labels.
        labels: Vec<Label>,
    },
}

const ROLLUP: u8 = 1;
const RELINK: u8 = 2;
const CREATE: u8 = 3;
const BESIDE_LATER: u8 = 4;
const BESIDE_EARLIER: u8 = 5;

impl OutboxEntry {
    /// The key at which it is to be done.
    pub fn target(&self) -> &[u8] {
        match self {
            OutboxEntry::Rollup { destination, .. } | OutboxEntry::Beside { destination, .. } => destination,
            OutboxEntry::Relink { key, .. } | OutboxEntry::Create { key, .. } => key,
        }
    }

    /// The key that is written, if it is a rollup.
    pub(super) fn destination(&self) -> Option<&[u8]> {
        match self {
            OutboxEntry::Rollup { destination, .. } | OutboxEntry::Beside { destination, .. } => {
                Some(destination)
            }
            OutboxEntry::Relink { .. } | OutboxEntry::Create { .. } => None,
        }
    }

    /// True if `key` is one of its keys.
    pub(super) fn names(&self, key: &[u8]) -> bool {
        match self {
            OutboxEntry::Rollup {
                source, destination, ..
            }
            | OutboxEntry::Beside {
                source, destination, ..
            } => **source == *key || **destination == *key,
            OutboxEntry::Relink { key: at, from, to } => {
                **at == *key || **from == *key || to.as_deref() == Some(key)
            }
            OutboxEntry::Create { key: at, source, .. } => **at == *key || **source == *key,
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            OutboxEntry::Rollup {
                source,
                destination,
                from,
                to,
            } => {
                out.push(ROLLUP);
                put_bytes(source, out);
                put_bytes(destination, out);
                put_signed(out, *from);
                put_signed(out, *to);
            }
            OutboxEntry::Beside {
                source,
                destination,
                changed,
                side,
            } => {
                out.push(match side {
                    Side::Later => BESIDE_LATER,
                    Side::Earlier => BESIDE_EARLIER,
                });
                put_bytes(source, out);
                put_bytes(destination, out);
                put_signed(out, *changed);
            }
            OutboxEntry::Relink { key, from, to } => {
                out.push(RELINK);
                put_bytes(key, out);
                put_bytes(from, out);
                out.push(u8::from(to.is_some()));
                put_bytes(to.as_deref().unwrap_or(b""), out);
            }
            OutboxEntry::Create {
                key,
                source,
                retention,
                labels,
            } => {
                out.push(CREATE);
                put_bytes(key, out);
                put_bytes(source, out);
                put_signed(out, *retention);
                put_varint(out, labels.len() as u64);
                for (name, value) in labels {
                    put_bytes(name, out);
                    put_bytes(value, out);
                }
            }
        }
    }

    /// Inverse of [`OutboxEntry::encode`]; `None` if the bytes are damaged.
    pub fn decode(bytes: &[u8]) -> Option<OutboxEntry> {
        let mut reader = Reader::new(bytes);
        match reader.byte().ok()? {
            ROLLUP => Some(OutboxEntry::Rollup {
                source: get_bytes(&mut reader)?,
                destination: get_bytes(&mut reader)?,
                from: reader.signed().ok()?,
                to: reader.signed().ok()?,
            }),
            tag @ (BESIDE_LATER | BESIDE_EARLIER) => Some(OutboxEntry::Beside {
                source: get_bytes(&mut reader)?,
                destination: get_bytes(&mut reader)?,
                changed: reader.signed().ok()?,
                side: if tag == BESIDE_LATER {
                    Side::Later
                } else {
                    Side::Earlier
                },
            }),
            RELINK => {
                let (key, from) = (get_bytes(&mut reader)?, get_bytes(&mut reader)?);
                let is_renamed = reader.byte().ok()? != 0;
                let to = Some(get_bytes(&mut reader)?).filter(|_| is_renamed);
                Some(OutboxEntry::Relink { key, from, to })
            }
            CREATE => {
                let (key, source) = (get_bytes(&mut reader)?, get_bytes(&mut reader)?);
                let retention = reader.signed().ok()?;
                let mut labels = Vec::new();
                for _ in 0..reader.varint().ok()? {
                    labels.push((get_bytes(&mut reader)?, get_bytes(&mut reader)?));
                }
                Some(OutboxEntry::Create {
                    key,
                    source,
                    retention,
                    labels,
                })
            }
            _ => None,
        }
    }

    /// Properties of a series made by a `Create` entry.
    pub fn created_properties(source: &[u8], retention: Option<i64>, labels: Vec<Label>) -> SeriesProperties {
        SeriesProperties {
            retention,
            labels,
            source: Some(source.into()),
            ..SeriesProperties::default()
        }
    }
}

fn get_bytes(reader: &mut Reader<'_>) -> Option<Box<[u8]>> {
    reader.bytes().ok().map(Box::from)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::lane) fn entries() -> Vec<OutboxEntry> {
        let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
        vec![
            OutboxEntry::Rollup {
                source: bytes("s"),
                destination: bytes("d"),
                from: -5,
                to: i64::MAX,
            },
            OutboxEntry::Relink {
                key: bytes("k"),
                from: bytes("a"),
                to: None,
            },
            OutboxEntry::Relink {
                key: bytes("k"),
                from: bytes("a"),
                to: Some(bytes("")),
            },
            OutboxEntry::Create {
                key: bytes("k"),
                source: bytes("s"),
                retention: 7,
                labels: vec![(bytes("l"), bytes("v"))],
            },
        ]
    }

    #[test]
    fn entries_come_back() {
        let beside = [Side::Earlier, Side::Later].map(|side| OutboxEntry::Beside {
            source: b"s"[..].into(),
            destination: b"d"[..].into(),
            changed: i64::MIN,
            side,
        });
        for entry in entries().into_iter().chain(beside) {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(OutboxEntry::decode(&bytes), Some(entry));
            assert_eq!(OutboxEntry::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(OutboxEntry::decode(&[9]), None);
    }
}
