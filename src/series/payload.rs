//! Everything a key holds as one string of bytes: what DUMP returns and RESTORE takes.
//!
//! A type byte and its body, then a mark with the version and a CRC32C of everything before it. A string is its bytes.
//! A series key is its properties, without the rules that it is part of, and for each data type its samples as chunks.
//! Payloads of other servers have another mark and are refused as such.

use crate::series::chunk::{CHUNK_SAMPLES_MAX, EncodeScratch, decode, encode};
use crate::series::codec::bits::{Reader, put_bytes, put_varint};
use crate::series::{Columns, SeriesProperties};

/// Samples of one payload: 256 MiB when decoded.
pub const PAYLOAD_SAMPLES_MAX: usize = 1 << 24;

/// Ends every payload, before the checksum: the last byte is the version.
const MARK: [u8; 4] = *b"TKL\x01";
const CHECKSUM_BYTES: usize = 4;

const TYPE_STRING: u8 = 1;
const TYPE_SERIES: u8 = 2;

/// What a key holds, taken out of its payload.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// A plain value.
    String(Box<[u8]>),
    /// Series.
    Series {
        /// Options and labels, if the key was given any.
        properties: Option<Box<SeriesProperties>>,
        /// Samples by data type, ascending.
        series: Vec<(u8, Columns)>,
    },
}

/// Why bytes are no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// Another server's or version's, or its checksum is wrong.
    Foreign,
    /// Checksum and version are right, the contents are not.
    Malformed,
}

/// Appends the payload of a string to `out`.
pub fn encode_string(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(TYPE_STRING);
    out.extend_from_slice(value);
    seal(start, out);
}

/// Appends the payload of a series key to `out`; false, and nothing appended, if it has more than
/// [`PAYLOAD_SAMPLES_MAX`] samples.
pub fn encode_series(
    properties: Option<&SeriesProperties>,
    series: &[(u8, Columns)],
    out: &mut Vec<u8>,
) -> bool {
    let samples: usize = series.iter().map(|(_, columns)| columns.len()).sum();
    if samples > PAYLOAD_SAMPLES_MAX {
        return false;
    }
    let start = out.len();
    out.push(TYPE_SERIES);
    let mut bytes = Vec::new();
    if let Some(properties) = properties {
        let alone = SeriesProperties {
            rules: Vec::new(),
            source: None,
            ..properties.clone()
        };
        alone.encode(&mut bytes);
    }
    put_bytes(&bytes, out);
    put_varint(out, series.len() as u64);
    let mut scratch = EncodeScratch::default();
    for (data_type, columns) in series {
        out.push(*data_type);
        put_varint(out, columns.len().div_ceil(CHUNK_SAMPLES_MAX) as u64);
        for from in (0..columns.len()).step_by(CHUNK_SAMPLES_MAX) {
            bytes.clear();
            let to = columns.len().min(from + CHUNK_SAMPLES_MAX);
            encode(columns, from..to, &mut scratch, &mut bytes);
            put_bytes(&bytes, out);
        }
    }
    seal(start, out);
    true
}

fn seal(start: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&MARK);
    let checksum = crc32c::crc32c(out.get(start..).unwrap_or(&[]));
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Takes a payload apart.
///
/// # Errors
/// As [`PayloadError`] says.
pub fn decode_payload(bytes: &[u8]) -> Result<Payload, PayloadError> {
    let (contents, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(PayloadError::Foreign)?;
    if crc32c::crc32c(contents) != u32::from_le_bytes(*checksum) {
        return Err(PayloadError::Foreign);
    }
    let body = contents.strip_suffix(&MARK).ok_or(PayloadError::Foreign)?;
    match body.split_first() {
        Some((&TYPE_STRING, value)) => Ok(Payload::String(value.into())),
        Some((&TYPE_SERIES, body)) => decode_series(body).ok_or(PayloadError::Malformed),
        _ => Err(PayloadError::Malformed),
    }
}

fn decode_series(body: &[u8]) -> Option<Payload> {
    let mut reader = Reader::new(body);
    let properties = match reader.bytes().ok()? {
        [] => None,
        bytes => Some(Box::new(SeriesProperties::decode(bytes)?)),
    };
    let is_alone = |properties: &SeriesProperties| properties.rules.is_empty() && properties.source.is_none();
    if !properties.as_deref().is_none_or(is_alone) {
        return None;
    }
    let mut series: Vec<(u8, Columns)> = Vec::new();
    let mut samples = 0;
    for _ in 0..reader.varint().ok()? {
        let data_type = reader.byte().ok()?;
        if series.last().is_some_and(|(last, _)| *last >= data_type) {
            return None;
        }
        let mut columns = Columns::default();
        for _ in 0..reader.varint().ok()? {
            decode(reader.bytes().ok()?, &mut columns).ok()?;
            if samples + columns.len() > PAYLOAD_SAMPLES_MAX {
                return None;
            }
        }
        samples += columns.len();
        if !columns.timestamps.is_sorted_by(|left, right| left < right) {
            return None;
        }
        series.push((data_type, columns));
    }
    (reader.rest().is_empty() && !series.is_empty()).then_some(Payload::Series { properties, series })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Sample;

    fn columns(timestamps: std::ops::Range<i64>) -> Columns {
        let mut columns = Columns::default();
        for timestamp in timestamps {
            let quality = if timestamp % 7 == 0 { 3 } else { 100 };
            columns.push(Sample {
                quality,
                ..Sample::new(timestamp, timestamp as f64 / 3.0)
            });
        }
        columns
    }

    fn payload_of_series() -> (Vec<u8>, Payload) {
        let properties = SeriesProperties {
            labels: vec![(b"a"[..].into(), b"b"[..].into())],
            retention: Some(5),
            source: Some(b"other"[..].into()),
            ..SeriesProperties::default()
        };
        let series = vec![(0, columns(-5..200_000)), (2, columns(0..0))];
        let mut bytes = Vec::new();
        assert!(encode_series(Some(&properties), &series, &mut bytes));
        let alone = SeriesProperties {
            source: None,
            ..properties
        };
        let properties = Some(Box::new(alone));
        (bytes, Payload::Series { properties, series })
    }

    #[test]
    fn payloads_come_back() {
        for value in [&b""[..], b"x", b"TKL\x01"] {
            let mut bytes = Vec::new();
            encode_string(value, &mut bytes);
            assert_eq!(decode_payload(&bytes), Ok(Payload::String(value.into())));
        }
        let (bytes, payload) = payload_of_series();
        assert_eq!(decode_payload(&bytes), Ok(payload));
    }

    #[test]
    fn foreign_and_damaged_bytes_are_refused() {
        let (bytes, _) = payload_of_series();
        for len in 0..bytes.len().min(2_000) {
            assert_eq!(decode_payload(&bytes[..len]), Err(PayloadError::Foreign), "{len}");
        }
        for at in (0..bytes.len()).step_by(101) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode_payload(&damaged), Err(PayloadError::Foreign), "{at}");
        }
        // A string as Redis 7.2 dumps it.
        let redis = b"\x00\x03bar\x0b\x00\x1a\x2b\x3c\x4d\x5e\x6f\x70\x81";
        assert_eq!(decode_payload(redis), Err(PayloadError::Foreign));
    }

    #[test]
    fn contents_that_are_none_are_refused_with_any_checksum() {
        let (bytes, _) = payload_of_series();
        let body = &bytes[..bytes.len() - MARK.len() - CHECKSUM_BYTES];
        let resealed = |body: &[u8]| {
            let mut bytes = body.to_vec();
            seal(0, &mut bytes);
            decode_payload(&bytes)
        };
        assert!(resealed(body).is_ok());
        for len in (0..body.len()).step_by(997) {
            assert_eq!(resealed(&body[..len]), Err(PayloadError::Malformed), "{len}");
        }
        for (at, byte) in [(0, 9), (0, 0)] {
            let mut changed = body.to_vec();
            changed[at] = byte;
            assert_eq!(resealed(&changed), Err(PayloadError::Malformed));
        }
        assert_eq!(resealed(&[body, &[0]].concat()), Err(PayloadError::Malformed));
        assert_eq!(resealed(&[TYPE_SERIES, 0, 0]), Err(PayloadError::Malformed));
    }
}
