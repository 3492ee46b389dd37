//! What a series key holds beside samples: its options, its labels and its rollup rules.

use crate::aggregate::Aggregator;
use crate::series::codec::bits::{Reader, put_bytes, put_varint};

/// One label: its name and its value, neither empty.
pub type Label = (Box<[u8]>, Box<[u8]>);

/// Chunk size that a series is said to have unless it was given one, in bytes.
pub const CHUNK_SIZE_DEFAULT_BYTES: u32 = 4096;

/// Smallest chunk, in bytes.
pub const CHUNK_SIZE_MIN_BYTES: u32 = 48;
/// Largest chunk, in bytes.
pub const CHUNK_SIZE_MAX_BYTES: u32 = 1_048_576;
/// Chunk sizes are multiples of so many bytes.
pub const CHUNK_SIZE_STEP_BYTES: u32 = 8;

/// `size` if it is allowed.
pub fn chunk_size_bytes(size: i64) -> Option<u32> {
    let size = u32::try_from(size).ok()?;
    let fits = (CHUNK_SIZE_MIN_BYTES..=CHUNK_SIZE_MAX_BYTES).contains(&size);
    (fits && size.is_multiple_of(CHUNK_SIZE_STEP_BYTES)).then_some(size)
}

/// What a client asked for; kept and shown, whatever the store makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Compressed,
    Uncompressed,
}

impl Encoding {
    /// In any case.
    pub fn parse(text: &[u8]) -> Option<Encoding> {
        [Encoding::Compressed, Encoding::Uncompressed]
            .into_iter()
            .find(|encoding| text.eq_ignore_ascii_case(encoding.name().as_bytes()))
    }

    /// As TS.INFO shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Compressed => "compressed",
            Encoding::Uncompressed => "uncompressed",
        }
    }
}

/// What becomes of a sample whose timestamp is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DuplicatePolicy {
    /// It is refused.
    Block,
    /// The old one stays.
    First,
    /// The new one wins.
    Last,
    /// The smaller value.
    Min,
    /// The greater value.
    Max,
    /// Both values together.
    Sum,
}

impl DuplicatePolicy {
    /// All of them. Their places here are part of the format on disk.
    pub const ALL: [DuplicatePolicy; 6] = [
        DuplicatePolicy::Block,
        DuplicatePolicy::First,
        DuplicatePolicy::Last,
        DuplicatePolicy::Min,
        DuplicatePolicy::Max,
        DuplicatePolicy::Sum,
    ];

    /// In any case.
    pub fn parse(text: &[u8]) -> Option<DuplicatePolicy> {
        Self::ALL
            .into_iter()
            .find(|policy| text.eq_ignore_ascii_case(policy.name().as_bytes()))
    }

    /// As TS.INFO and the configuration show it.
    pub const fn name(self) -> &'static str {
        match self {
            DuplicatePolicy::Block => "block",
            DuplicatePolicy::First => "first",
            DuplicatePolicy::Last => "last",
            DuplicatePolicy::Min => "min",
            DuplicatePolicy::Max => "max",
            DuplicatePolicy::Sum => "sum",
        }
    }
}

/// Samples so close to the last one that they are not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ignore {
    /// In steps of the business's unit; not negative.
    pub max_time_difference: i64,
    /// Not negative, not NaN.
    pub max_value_difference: f64,
}

/// A rollup: closed buckets of this series are written to another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Key of the series that the buckets go to.
    pub destination: Box<[u8]>,
    pub aggregator: Aggregator,
    /// Width of the buckets, in steps of the business's unit; 0 if `calendar` says it.
    pub bucket: i64,
    /// One bucket starts here.
    pub align: i64,
    /// Width as written and time zone (may be empty) of buckets that follow the calendar; both empty otherwise.
    pub calendar: (Box<[u8]>, Box<[u8]>),
    /// Older samples were there before the rule: they are left out of the bucket that ends or is interrupted here, and
    /// older buckets are written only when something changes in them. `i64::MIN` leaves nothing out.
    pub from: i64,
}

/// See the head of the file. Options that are `None` are those of the business or of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesProperties {
    /// In steps of the business's unit; 0 keeps samples for ever.
    pub retention: Option<i64>,
    pub encoding: Encoding,
    pub chunk_size_bytes: u32,
    pub duplicate_policy: Option<DuplicatePolicy>,
    pub ignore: Ignore,
    /// In the order in which they were given; names are unique.
    pub labels: Vec<Label>,
    /// Key of the series that has a rule which writes to this one.
    pub source: Option<Box<[u8]>>,
    pub rules: Vec<Rule>,
}

impl Default for SeriesProperties {
    fn default() -> Self {
        SeriesProperties {
            retention: None,
            encoding: Encoding::Compressed,
            chunk_size_bytes: CHUNK_SIZE_DEFAULT_BYTES,
            duplicate_policy: None,
            ignore: Ignore::default(),
            labels: Vec::new(),
            source: None,
            rules: Vec::new(),
        }
    }
}

/// Version of the encoding below.
const VERSION: u8 = 1;
/// Number that stands for "not given".
const ABSENT: u64 = 0;

impl SeriesProperties {
    /// Value of the label of this name.
    pub fn label(&self, name: &[u8]) -> Option<&[u8]> {
        self.labels
            .iter()
            .find(|label| *label.0 == *name)
            .map(|label| &*label.1)
    }

    /// Keys of the other ends of its rules: its destinations, then its source.
    pub fn rule_ends(&self) -> Vec<Box<[u8]>> {
        let destinations = self.rules.iter().map(|rule| &rule.destination);
        destinations.chain(&self.source).cloned().collect()
    }

    /// Memory held beside the struct itself.
    pub fn heap_bytes(&self) -> usize {
        let labels: usize = self
            .labels
            .iter()
            .map(|label| label.0.len() + label.1.len())
            .sum();
        let rules: usize = self.rules.iter().map(|rule| rule.destination.len()).sum();
        let source = self.source.as_ref().map_or(0, |source| source.len());
        labels
            + rules
            + source
            + self.labels.capacity() * size_of::<Label>()
            + self.rules.capacity() * size_of::<Rule>()
    }

    /// Appends the bytes of the properties.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_optional(self.retention.map(|retention| retention as u64), out);
        out.push(u8::from(self.encoding == Encoding::Uncompressed));
        put_varint(out, u64::from(self.chunk_size_bytes));
        let policy = |policy| DuplicatePolicy::ALL.iter().position(|each| *each == policy);
        put_optional(self.duplicate_policy.and_then(policy).map(|at| at as u64), out);
        put_varint(out, self.ignore.max_time_difference as u64);
        out.extend_from_slice(&self.ignore.max_value_difference.to_bits().to_le_bytes());
        put_varint(out, self.labels.len() as u64);
        for (name, value) in &self.labels {
            put_bytes(name, out);
            put_bytes(value, out);
        }
        out.push(u8::from(self.source.is_some()));
        put_bytes(self.source.as_deref().unwrap_or(b""), out);
        put_varint(out, self.rules.len() as u64);
        for rule in &self.rules {
            put_bytes(&rule.destination, out);
            put_bytes(rule.aggregator.name().as_bytes(), out);
            put_varint(out, rule.bucket as u64);
            put_varint(out, rule.align as u64);
            put_bytes(&rule.calendar.0, out);
            put_bytes(&rule.calendar.1, out);
            out.extend_from_slice(&rule.from.to_le_bytes());
        }
    }

    /// Inverse of [`SeriesProperties::encode`]; `None` if the bytes are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<SeriesProperties> {
        let (version, bytes) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let retention = get_optional(&mut reader)?.map(|retention| retention as i64);
        let encoding = match reader.byte().ok()? {
            0 => Encoding::Compressed,
            _ => Encoding::Uncompressed,
        };
        let chunk_size_bytes = u32::try_from(reader.varint().ok()?).ok()?;
        let duplicate_policy = match get_optional(&mut reader)? {
            None => None,
            Some(at) => Some(*DuplicatePolicy::ALL.get(usize::try_from(at).ok()?)?),
        };
        let ignore = Ignore {
            max_time_difference: reader.varint().ok()? as i64,
            max_value_difference: f64::from_bits(reader.word().ok()?),
        };
        let mut labels = Vec::new();
        for _ in 0..reader.varint().ok()? {
            labels.push((get_bytes(&mut reader)?, get_bytes(&mut reader)?));
        }
        let has_source = reader.byte().ok()? != 0;
        let source = Some(get_bytes(&mut reader)?).filter(|_| has_source);
        let mut rules = Vec::new();
        for _ in 0..reader.varint().ok()? {
            rules.push(Rule {
                destination: get_bytes(&mut reader)?,
                aggregator: Aggregator::parse(&get_bytes(&mut reader)?)?,
                bucket: reader.varint().ok()? as i64,
                align: reader.varint().ok()? as i64,
                calendar: (get_bytes(&mut reader)?, get_bytes(&mut reader)?),
                from: reader.word().ok()? as i64,
            });
        }
        Some(SeriesProperties {
            retention,
            encoding,
            chunk_size_bytes,
            duplicate_policy,
            ignore,
            labels,
            source,
            rules,
        })
    }
}

fn put_optional(value: Option<u64>, out: &mut Vec<u8>) {
    put_varint(out, value.map_or(ABSENT, |value| value + 1));
}

fn get_optional(reader: &mut Reader<'_>) -> Option<Option<u64>> {
    Some(reader.varint().ok()?.checked_sub(1))
}

fn get_bytes(reader: &mut Reader<'_>) -> Option<Box<[u8]>> {
    reader.bytes().ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> SeriesProperties {
        SeriesProperties {
            retention: Some(0),
            encoding: Encoding::Uncompressed,
            chunk_size_bytes: 128,
            duplicate_policy: Some(DuplicatePolicy::Sum),
            ignore: Ignore {
                max_time_difference: 5,
                max_value_difference: 0.5,
            },
            labels: vec![
                (b"a"[..].into(), b"1"[..].into()),
                (b"b"[..].into(), b"\0"[..].into()),
            ],
            source: Some(b"raw"[..].into()),
            rules: vec![Rule {
                destination: b"dst"[..].into(),
                aggregator: Aggregator::parse(b"std.p").expect("a known name"),
                bucket: 60_000,
                align: 7,
                calendar: (Box::default(), Box::default()),
                from: i64::MIN,
            }],
        }
    }

    #[test]
    fn properties_come_back() {
        for properties in [SeriesProperties::default(), example()] {
            let mut bytes = Vec::new();
            properties.encode(&mut bytes);
            assert_eq!(SeriesProperties::decode(&bytes), Some(properties));
            for len in 0..bytes.len() {
                assert_eq!(SeriesProperties::decode(&bytes[..len]), None, "cut at {len}");
            }
        }
        assert_eq!(SeriesProperties::decode(&[9]), None);
    }

    #[test]
    fn labels_are_found_by_name() {
        assert_eq!(example().label(b"a"), Some(&b"1"[..]));
        assert_eq!(example().label(b"c"), None);
    }
}
