//! One sample as a line of text, in the two notations of the original requirement.
//!
//! v1 is `stock_SH600519_1728462600`, a separator, `100.5|1`: key and timestamp, value and quality. v2 is
//! `SH600519:00000000670c5a28:00`, a separator, 18 hexadecimal digits: key, timestamp (8 bytes, big-endian) and data
//! type; value (8 bytes, big-endian double) and quality. The separator is a tab, a space or `=`; the last one counts.

use crate::resp::number::{parse_f64, parse_i64, parse_u64};
use crate::series::{DEFAULT_QUALITY, Sample};

/// A line taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As the server knows it.
    pub key: Vec<u8>,
    /// 0 unless said.
    pub data_type: u8,
    /// The sample.
    pub sample: Sample,
}

impl Row {
    /// True if timestamp and value say everything.
    pub fn is_plain(&self) -> bool {
        self.data_type == 0 && self.sample.quality == DEFAULT_QUALITY
    }
}

const TIMESTAMP_DIGITS: usize = 16;
const TYPE_DIGITS: usize = 2;
const VALUE_DIGITS: usize = 18;

/// Splits a line into name and value at the last separator.
fn split(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let is_separator = |byte: &u8| matches!(byte, b'\t' | b' ' | b'=');
    let place = line
        .iter()
        .rposition(is_separator)
        .ok_or("no separator (tab, space or =) between key and value")?;
    let (name, rest) = line.split_at(place);
    let end = name
        .iter()
        .rposition(|byte| !is_separator(byte))
        .map_or(0, |last| last + 1);
    match (name.get(..end), rest.get(1..)) {
        (Some(name), Some(value)) if !name.is_empty() => Ok((name, value)),
        _ => Err("no key"),
    }
}

fn with_prefix(prefix: &[u8], key: &[u8]) -> Result<Vec<u8>, &'static str> {
    if key.is_empty() {
        Err("no key")
    } else {
        Ok([prefix, key].concat())
    }
}

/// Reads a v1 line, without its line break.
///
/// # Errors
/// What is wrong with it.
pub fn parse_v1(line: &[u8], key_prefix: &[u8]) -> Result<Row, &'static str> {
    let (name, value) = split(line)?;
    let place = name
        .iter()
        .rposition(|byte| *byte == b'_')
        .ok_or("no _ between key and timestamp")?;
    let (key, timestamp) = name.split_at(place);
    let timestamp = timestamp
        .get(1..)
        .and_then(parse_i64)
        .ok_or("the timestamp is not a 64-bit integer")?;
    let mut parts = value.splitn(2, |byte| *byte == b'|');
    let value = parts
        .next()
        .and_then(parse_f64)
        .ok_or("the value is not a floating-point number")?;
    let quality = match parts.next() {
        None => DEFAULT_QUALITY,
        Some(text) => byte(text).ok_or("the quality is not a number from 0 to 255")?,
    };
    Ok(Row {
        key: with_prefix(key_prefix, key)?,
        data_type: 0,
        sample: Sample {
            timestamp,
            value,
            quality,
        },
    })
}

fn byte(text: &[u8]) -> Option<u8> {
    parse_u64(text).and_then(|number| u8::try_from(number).ok())
}

/// Reads a v2 line, without its line break.
///
/// # Errors
/// What is wrong with it.
pub fn parse_v2(line: &[u8], key_prefix: &[u8]) -> Result<Row, &'static str> {
    let (name, value) = split(line)?;
    let mut parts = name.rsplitn(3, |byte| *byte == b':');
    let data_type = parts.next().and_then(|text| hex(text, TYPE_DIGITS));
    let data_type = data_type
        .and_then(|number| u8::try_from(number).ok())
        .ok_or("the data type is not 2 hex digits")?;
    let timestamp = parts.next().and_then(|text| hex(text, TIMESTAMP_DIGITS));
    let timestamp = timestamp.ok_or("the timestamp is not 16 hex digits")? as u64 as i64;
    let bits = hex(value, VALUE_DIGITS).ok_or("the value is not 18 hex digits")?;
    let value = f64::from_bits((bits >> 8) as u64);
    if value.is_nan() {
        return Err("the value is not a number (NaN)");
    }
    let sample = Sample {
        timestamp,
        value,
        quality: bits as u8,
    };
    Ok(Row {
        key: with_prefix(key_prefix, parts.next().ok_or("no key")?)?,
        data_type,
        sample,
    })
}

fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let all_hex = text.len() == digits && text.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(text).ok().filter(|_| all_hex)?;
    u128::from_str_radix(text, 16).ok()
}

/// Appends a v2 line. False, and nothing, if the key has a line break, which the format cannot hold.
pub fn write_v2(key: &[u8], data_type: u8, sample: Sample, out: &mut Vec<u8>) -> bool {
    if key.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return false;
    }
    out.extend_from_slice(key);
    let Sample {
        timestamp,
        value,
        quality,
    } = sample;
    let rest = format!(
        ":{timestamp:016x}:{data_type:02x}\t{:016x}{quality:02x}\n",
        value.to_bits()
    );
    out.extend_from_slice(rest.as_bytes());
    true
}

/// First line of a csv file.
pub const CSV_HEADER: &[u8] = b"key,timestamp,value,quality,data_type\n";

/// Appends a csv line; `value` is the decimal text of the sample's value. Keys are quoted as RFC 4180 says.
pub fn write_csv(key: &[u8], data_type: u8, sample: Sample, value: &[u8], out: &mut Vec<u8>) {
    if key.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.push(b'"');
        for byte in key {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(key);
    }
    out.extend_from_slice(format!(",{},", sample.timestamp).as_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(format!(",{},{data_type}\n", sample.quality).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_requirement_are_read() {
        let row = parse_v1(b"stock_SH600519_1728462600 100.5|1", b"").unwrap();
        assert_eq!((&row.key[..], row.data_type), (&b"stock_SH600519"[..], 0));
        assert_eq!(
            row.sample,
            Sample {
                timestamp: 1_728_462_600,
                value: 100.5,
                quality: 1
            }
        );
        let row = parse_v2(b"SH600519:00000000670c5a28:0A=405920000000000007", b"stock_").unwrap();
        assert_eq!((&row.key[..], row.data_type), (&b"stock_SH600519"[..], 10));
        assert_eq!(
            row.sample,
            Sample {
                timestamp: 0x670c_5a28,
                value: 100.5,
                quality: 7
            }
        );
    }

    #[test]
    fn keys_may_hold_separators() {
        let row = parse_v1(b"a b=c_d_-5\t  1", b"p_").unwrap();
        assert_eq!(
            (&row.key[..], row.sample),
            (&b"p_a b=c_d"[..], Sample::new(-5, 1.0))
        );
        assert!(row.is_plain());
        let row = parse_v2(b"a:b:c:ffffffffffffffff:00 3ff000000000000000", b"").unwrap();
        assert_eq!((&row.key[..], row.sample), (&b"a:b:c"[..], Sample::new(-1, 1.0)));
    }

    #[test]
    fn bad_lines_say_why() {
        for (line, reason) in [
            (&b"stock_1"[..], "separator"),
            (b"stock 5", "no _"),
            (b"stock_x 5", "timestamp"),
            (b"_5 5", "no key"),
            (b"a_5 x", "value"),
            (b"a_5 nan", "value"),
            (b"a_5 1|256", "quality"),
            (b"a_5 1|", "quality"),
        ] {
            let error = parse_v1(line, b"p").unwrap_err();
            assert!(error.contains(reason), "{error}: {}", line.escape_ascii());
        }
        for (line, reason) in [
            (&b"a:00:00 00"[..], "timestamp"),
            (b"a:00000000670c5a28 405920000000000007", "data type"),
            (b"00000000670c5a28:00 405920000000000007", "no key"),
            (b":00000000670c5a28:00 405920000000000007", "no key"),
            (b"a:00000000670c5a28:00 40592000000000000", "18 hex"),
            (b"a:+0000000670c5a28:00 405920000000000007", "timestamp"),
            (b"a:00000000670c5a28:00 7ff800000000000000", "NaN"),
        ] {
            let error = parse_v2(line, b"").unwrap_err();
            assert!(error.contains(reason), "{error}: {}", line.escape_ascii());
        }
    }

    #[test]
    fn written_lines_come_back() {
        for value in [0.0, -0.0, 1.5, f64::MIN_POSITIVE / 3.0, f64::INFINITY, f64::MAX] {
            let sample = Sample {
                timestamp: i64::MIN + 1,
                value,
                quality: 255,
            };
            let mut line = Vec::new();
            assert!(write_v2(b"x_y z:", 254, sample, &mut line));
            let line = line.strip_suffix(b"\n").unwrap();
            assert_eq!(
                parse_v2(line, b"").unwrap(),
                Row {
                    key: b"x_y z:".to_vec(),
                    data_type: 254,
                    sample
                }
            );
        }
        assert!(!write_v2(b"x\ny", 0, Sample::new(1, 1.0), &mut Vec::new()));
    }

    #[test]
    fn csv_keys_are_quoted_where_they_must_be() {
        let mut out = Vec::new();
        write_csv(
            b"a,\"b",
            2,
            Sample {
                timestamp: -1,
                value: 1.5,
                quality: 3,
            },
            b"1.5",
            &mut out,
        );
        write_csv(b"plain", 0, Sample::new(7, 2.0), b"2", &mut out);
        assert_eq!(out, b"\"a,\"\"b\",-1,1.5,3,2\nplain,7,2,0,0\n");
    }
}
