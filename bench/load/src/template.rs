//! Requests built once as bytes; per command only digits inside a copy of them change.

use crate::keys::KEY_DIGITS;
use crate::workload::Kind;

/// Digits of a timestamp in milliseconds, from 2001 to 2286.
pub const TIMESTAMP_DIGITS: usize = 13;

/// How sample values look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Values {
    /// A price with two decimals that moves by up to three cents a sample.
    Walk,
    /// Random digits: nothing compresses them.
    Noise,
    /// Always the same.
    Constant,
}

impl Values {
    /// Bytes of a value on the wire.
    pub fn bytes(self) -> usize {
        match self {
            Values::Walk | Values::Constant => "1000.00".len(),
            Values::Noise => "0.1234567890123456".len(),
        }
    }
}

/// What the fields of an item hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// There are none.
    Nothing,
    /// A key and maybe a value of arbitrary bytes.
    Value,
    /// A key of a counter.
    Counter,
    /// A series and maybe a timestamp and a value.
    Sample,
    /// A series (or a group of them) and the first and last timestamp of a range.
    Range {
        /// Preloaded samples in it.
        samples: u64,
        /// True if the number is that of a group of series.
        group: bool,
    },
}

/// A whole command with fields to fill in.
#[derive(Clone, Debug)]
pub struct Template {
    /// The command.
    pub bytes: Vec<u8>,
    /// Where the first item begins.
    pub head_len: usize,
    /// Bytes of an item.
    pub item_len: usize,
    /// What to fill in.
    pub fill: Fill,
    /// Where the digits of the key stand in an item.
    pub key_at: usize,
    /// Where the timestamp or the first one of a range stands.
    pub timestamp_at: Option<usize>,
    /// Where the last timestamp of a range stands.
    pub timestamp_end_at: Option<usize>,
    /// Where the value stands, and its length.
    pub value: Option<(usize, usize)>,
}

/// What templates are made from.
#[derive(Clone, Debug)]
pub struct Names {
    /// Before the digits of a key with a value.
    pub key_prefix: String,
    /// Before the digits of a series.
    pub series_prefix: String,
    /// Bytes of a value of SET and MSET.
    pub value_bytes: usize,
    /// How sample values look.
    pub values: Values,
    /// Bucket of an aggregated range in milliseconds.
    pub bucket_millis: u64,
}

impl Names {
    /// Before the digits of a counter.
    pub fn counter_prefix(&self) -> String {
        format!("{}counter:", self.key_prefix)
    }
}

/// One argument of an item.
enum Part<'a> {
    Fixed(&'a str),
    Key(&'a str),
    Timestamp,
    TimestampEnd,
    Value(usize),
}

impl Template {
    /// The command of `kind`.
    pub fn new(kind: Kind, names: &Names) -> Template {
        use Part::{Fixed, Key, Timestamp, TimestampEnd, Value};
        let (series, sample_bytes) = (names.series_prefix.as_str(), names.values.bytes());
        let sample = [Key(series), Timestamp, Value(sample_bytes)];
        let key_value = [Key(&names.key_prefix), Value(names.value_bytes)];
        let bucket = names.bucket_millis.to_string();
        let range = |samples: u32, group| Fill::Range {
            samples: u64::from(samples),
            group,
        };
        match kind {
            Kind::Ping => build("PING", &[], 0, Fill::Nothing),
            Kind::Set => build("SET", &key_value, 1, Fill::Value),
            Kind::Mset(count) => build("MSET", &key_value, count, Fill::Value),
            Kind::Get => build("GET", &key_value[..1], 1, Fill::Value),
            Kind::Incr => build("INCR", &[Key(&names.counter_prefix())], 1, Fill::Counter),
            Kind::TsdbSet => build("TSDB_SET", &sample, 1, Fill::Sample),
            Kind::TsdbMset(count) => build("TSDB_MSET", &sample, count, Fill::Sample),
            Kind::TsAdd => build("TS.ADD", &sample, 1, Fill::Sample),
            Kind::TsMadd(count) => build("TS.MADD", &sample, count, Fill::Sample),
            Kind::TsGet => build("TS.GET", &sample[..1], 1, Fill::Sample),
            Kind::TsdbGet(count) => build(
                "TSDB_GET",
                &[Key(series), Timestamp, TimestampEnd],
                1,
                range(count, false),
            ),
            Kind::TsRange(count) => build(
                "TS.RANGE",
                &[Key(series), Timestamp, TimestampEnd],
                1,
                range(count, false),
            ),
            Kind::TsRangeAggregated(count) => {
                let tail = [Fixed("AGGREGATION"), Fixed("avg"), Fixed(&bucket)];
                let [first, second, third] = tail;
                let parts = [Key(series), Timestamp, TimestampEnd, first, second, third];
                build("TS.RANGE", &parts, 1, range(count, false))
            }
            Kind::TsMrange(count) => {
                let group = format!("group={series}g");
                let parts = [Timestamp, TimestampEnd, Fixed("FILTER"), Key(&group)];
                build("TS.MRANGE", &parts, 1, range(count, true))
            }
        }
    }

    /// `TS.CREATE series LABELS group <prefix>g<number>`: other prefixes, those of other runs, have other groups.
    pub fn create_series(names: &Names, series: u64, group: u64) -> Vec<u8> {
        let key = format!("{}{series:0KEY_DIGITS$}", names.series_prefix);
        let group = format!("{}g{group:0KEY_DIGITS$}", names.series_prefix);
        let mut bytes = b"*5\r\n".to_vec();
        for argument in ["TS.CREATE", &key, "LABELS", "group", &group] {
            push_argument(&mut bytes, argument.as_bytes());
        }
        bytes
    }
}

fn build(name: &str, parts: &[Part], items: u32, fill: Fill) -> Template {
    let items = items as usize;
    let mut bytes = format!("*{}\r\n", 1 + parts.len() * items).into_bytes();
    push_argument(&mut bytes, name.as_bytes());
    let head_len = bytes.len();
    let mut template = Template {
        bytes: Vec::new(),
        head_len,
        item_len: 0,
        fill,
        key_at: 0,
        timestamp_at: None,
        timestamp_end_at: None,
        value: None,
    };
    let mut item = Vec::new();
    for part in parts {
        // Two bytes of line end follow the argument.
        match part {
            Part::Fixed(text) => push_argument(&mut item, text.as_bytes()),
            Part::Key(prefix) => {
                push_argument(&mut item, format!("{prefix}{:0KEY_DIGITS$}", 0).as_bytes());
                template.key_at = item.len() - 2 - KEY_DIGITS;
            }
            Part::Timestamp | Part::TimestampEnd => {
                push_argument(&mut item, &[b'0'; TIMESTAMP_DIGITS]);
                let at = Some(item.len() - 2 - TIMESTAMP_DIGITS);
                match part {
                    Part::Timestamp => template.timestamp_at = at,
                    _ => template.timestamp_end_at = at,
                }
            }
            Part::Value(len) => {
                push_argument(&mut item, &vec![b'x'; *len]);
                template.value = Some((item.len() - 2 - len, *len));
            }
        }
    }
    template.item_len = item.len();
    bytes.extend(item.repeat(items));
    template.bytes = bytes;
    template
}

/// Appends one argument in the protocol's form.
pub fn push_argument(bytes: &mut Vec<u8>, argument: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
    bytes.extend_from_slice(argument);
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            key_prefix: "key:".into(),
            series_prefix: "stock_".into(),
            value_bytes: 3,
            values: Values::Walk,
            bucket_millis: 60_000,
        }
    }

    #[test]
    fn fields_stand_where_the_template_says() {
        let template = Template::new(Kind::TsdbMset(2), &names());
        let item = &template.bytes[template.head_len..][..template.item_len];
        assert_eq!(template.bytes.len(), template.head_len + 2 * template.item_len);
        assert!(
            template
                .bytes
                .starts_with(b"*7\r\n$9\r\nTSDB_MSET\r\n$18\r\nstock_")
        );
        assert_eq!(&item[template.key_at..][..KEY_DIGITS], b"000000000000");
        assert_eq!(
            &item[template.timestamp_at.unwrap()..][..TIMESTAMP_DIGITS + 2],
            b"0000000000000\r\n"
        );
        let (value_at, len) = template.value.unwrap();
        assert_eq!(&item[value_at..], b"xxxxxxx\r\n");
        assert_eq!(len, 7);
    }

    #[test]
    fn an_aggregated_range_is_one_command() {
        let template = Template::new(Kind::TsRangeAggregated(1000), &names());
        let text = String::from_utf8(template.bytes).unwrap();
        assert!(text.starts_with("*7\r\n$8\r\nTS.RANGE\r\n"));
        assert!(text.ends_with("$11\r\nAGGREGATION\r\n$3\r\navg\r\n$5\r\n60000\r\n"));
    }

    #[test]
    fn a_series_is_created_with_its_group() {
        let bytes = Template::create_series(&names(), 7, 1);
        let expected = "*5\r\n$9\r\nTS.CREATE\r\n$18\r\nstock_000000000007\r\n$6\r\nLABELS\r\n$5\r\ngroup\r\n\
            $19\r\nstock_g000000000001\r\n";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
