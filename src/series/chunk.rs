//! A chunk: a sorted run of samples of one series as one versioned, checksummed record.
//!
//! Layout, all integers varints unless said: byte of version (low four bits) and flags; byte of codecs
//! (timestamps low, values high); count; first timestamp (zigzag); step (zigzag) if the timestamps are
//! regular, else last minus first; with the flag, the raw summary; length of values and, with the flag, of
//! qualities, each only if something follows; values, qualities, timestamps; CRC-32C of all that (four bytes,
//! little-endian).

use std::ops::Range;

use crate::series::codec::bits::{Reader, put_signed, put_varint};
use crate::series::codec::integers::IntegerScratch;
use crate::series::codec::values::ValueScratch;
use crate::series::codec::{quality, timestamps, values};
use crate::series::columns::Columns;
use crate::series::error::ChunkError;
use crate::series::summary::{ChunkSummary, ValueSummary};

/// Samples that one chunk holds at most; decoding never allocates for more.
pub const CHUNK_SAMPLES_MAX: usize = 65_536;
pub(super) const VERSION: u8 = 1;
const VERSION_MASK: u8 = 0x0F;
const FLAG_QUALITIES: u8 = 0x10;
const FLAG_SUMMARY: u8 = 0x20;
const FLAGS_KNOWN: u8 = FLAG_QUALITIES | FLAG_SUMMARY;
const CODEC_BITS: u32 = 4;
const CODEC_MASK: u8 = 0x0F;
pub(super) const CHECKSUM_BYTES: usize = 4;
/// No column is longer: eight bytes a value and the tables of the codecs.
const COLUMN_BYTES_MAX: usize = CHUNK_SAMPLES_MAX * 16;

/// Buffers of the encoder that live from chunk to chunk.
#[derive(Debug, Default)]
pub struct EncodeScratch {
    integers: IntegerScratch,
    values: ValueScratch,
    value_bytes: Vec<u8>,
    quality_bytes: Vec<u8>,
}

/// Appends the samples of `range`, 1 to [`CHUNK_SAMPLES_MAX`] of them, as one chunk to `out`. Each column is
/// written by the codec that makes it smallest.
///
/// # Panics
/// If `range` is empty, too long, or outside `columns`: an error of the caller.
pub fn encode(columns: &Columns, range: Range<usize>, scratch: &mut EncodeScratch, out: &mut Vec<u8>) {
    encode_with(columns, range, false, scratch, out);
}

/// Like [`encode`], and also tries codecs that take ten times longer. Meant for chunks of 4,096 samples and
/// more.
///
/// # Panics
/// As [`encode`].
pub fn encode_cold(columns: &Columns, range: Range<usize>, out: &mut Vec<u8>) {
    encode_with(columns, range, true, &mut EncodeScratch::default(), out);
}

fn encode_with(
    columns: &Columns,
    range: Range<usize>,
    cold: bool,
    scratch: &mut EncodeScratch,
    out: &mut Vec<u8>,
) {
    let run = &columns.timestamps[range.clone()];
    let count = run.len();
    assert!(
        (1..=CHUNK_SAMPLES_MAX).contains(&count),
        "a chunk of {count} samples"
    );
    debug_assert!(run.is_sorted_by(|left, right| left < right), "timestamps ascend");
    let EncodeScratch {
        integers,
        values: value_scratch,
        value_bytes,
        quality_bytes,
    } = scratch;
    value_bytes.clear();
    quality_bytes.clear();
    let value_run = &columns.values[range.clone()];
    let value_codec = values::encode(value_run, cold, value_scratch, integers, value_bytes);
    let with_summary = values::wants_raw_summary(value_codec, value_bytes, count);
    if let Some(run) = columns.qualities.stored(range) {
        quality::encode(run, quality_bytes);
    }
    let with_qualities = !quality_bytes.is_empty();
    let step = timestamps::regular_step(run);

    let start = out.len();
    out.push(
        VERSION
            | if with_qualities { FLAG_QUALITIES } else { 0 }
            | if with_summary { FLAG_SUMMARY } else { 0 },
    );
    // The codec of the timestamps is filled in below.
    out.push(value_codec << CODEC_BITS);
    put_varint(out, count as u64);
    put_signed(out, run[0]);
    match step {
        Some(step) => put_signed(out, step),
        None => put_varint(out, run[count - 1].wrapping_sub(run[0]) as u64),
    }
    if with_summary {
        ValueSummary::of(value_run).write(count, out);
    }
    if with_qualities || step.is_none() {
        put_varint(out, value_bytes.len() as u64);
    }
    if with_qualities {
        put_varint(out, quality_bytes.len() as u64);
    }
    out.extend_from_slice(value_bytes);
    out.extend_from_slice(quality_bytes);
    if step.is_none() {
        out[start + 1] |= timestamps::encode(run, cold, integers, out);
    }
    let checksum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A chunk taken apart, its checksum verified.
struct Parts<'a> {
    count: usize,
    first_timestamp: i64,
    last_timestamp: i64,
    /// Between regular timestamps.
    step: i64,
    summary: Option<ValueSummary>,
    value_codec: u8,
    values: &'a [u8],
    qualities: Option<&'a [u8]>,
    timestamp_codec: u8,
    timestamps: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ChunkError> {
        let (&version, _) = bytes.split_first().ok_or(ChunkError::Truncated)?;
        if version & VERSION_MASK != VERSION {
            return Err(ChunkError::Version {
                got: version & VERSION_MASK,
            });
        }
        let (contents, checksum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(ChunkError::Truncated)?;
        let (expected, got) = (u32::from_le_bytes(*checksum), crc32c::crc32c(contents));
        if expected != got {
            return Err(ChunkError::Checksum { expected, got });
        }
        Self::read_verified(Reader::new(contents))
    }

    fn read_verified(mut reader: Reader<'a>) -> Result<Self, ChunkError> {
        let flags = reader.byte()? & !VERSION_MASK;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(ChunkError::Corrupt("unknown flags"));
        }
        let codecs = reader.byte()?;
        let (timestamp_codec, value_codec) = (codecs & CODEC_MASK, codecs >> CODEC_BITS);
        let count = reader.count(CHUNK_SAMPLES_MAX)?;
        if count == 0 {
            return Err(ChunkError::Corrupt("no samples"));
        }
        let regular = timestamp_codec == timestamps::REGULAR;
        let first_timestamp = reader.signed()?;
        let step = if regular { reader.signed()? } else { 0 };
        let span = if regular {
            step.wrapping_mul(count as i64 - 1)
        } else {
            reader.varint()? as i64
        };
        let last_timestamp = first_timestamp.wrapping_add(span);
        if last_timestamp < first_timestamp {
            return Err(ChunkError::Corrupt("last timestamp before the first"));
        }
        let with_summary = flags & FLAG_SUMMARY != 0;
        let summary = if with_summary {
            Some(ValueSummary::read(&mut reader, count)?)
        } else {
            None
        };
        let with_qualities = flags & FLAG_QUALITIES != 0;
        let mut value_len = None;
        if with_qualities || !regular {
            value_len = Some(reader.count(COLUMN_BYTES_MAX)?);
        }
        let quality_len = if with_qualities {
            reader.count(COLUMN_BYTES_MAX)?
        } else {
            0
        };
        let values = reader.take(value_len.unwrap_or(reader.rest().len()))?;
        let qualities = if with_qualities {
            Some(reader.take(quality_len)?)
        } else {
            None
        };
        let timestamps = reader.rest();
        Ok(Parts {
            count,
            first_timestamp,
            last_timestamp,
            step,
            summary,
            value_codec,
            values,
            qualities,
            timestamp_codec,
            timestamps,
        })
    }

    fn decode_timestamps(&self, out: &mut Vec<i64>) -> Result<(), ChunkError> {
        let start = out.len();
        timestamps::decode(
            self.timestamp_codec,
            self.timestamps,
            self.first_timestamp,
            self.step,
            self.count,
            out,
        )?;
        let decoded = &out[start..];
        if decoded.first() != Some(&self.first_timestamp) || decoded.last() != Some(&self.last_timestamp) {
            return Err(ChunkError::Corrupt("timestamps contradict the header"));
        }
        if !ascends(decoded) {
            return Err(ChunkError::Corrupt("timestamps do not ascend"));
        }
        Ok(())
    }

    fn decode_values(&self, out: &mut Vec<f64>) -> Result<(), ChunkError> {
        values::decode(self.value_codec, self.values, self.count, out)
    }
}

/// Without an exit in the middle, so that it runs at vector speed.
fn ascends(timestamps: &[i64]) -> bool {
    let pairs = timestamps.iter().zip(timestamps.get(1..).unwrap_or(&[]));
    pairs.fold(true, |ascending, (left, right)| ascending & (left < right))
}

/// Appends all samples of the chunk to `columns`, which stays as it was on error. That they come after those
/// already there is the caller's business.
pub fn decode(bytes: &[u8], columns: &mut Columns) -> Result<(), ChunkError> {
    let parts = Parts::read(bytes)?;
    let start = columns.len();
    let result = decode_parts(&parts, columns);
    if result.is_err() {
        columns.truncate(start);
    }
    result
}

fn decode_parts(parts: &Parts<'_>, columns: &mut Columns) -> Result<(), ChunkError> {
    let start = columns.len();
    parts.decode_timestamps(&mut columns.timestamps)?;
    parts.decode_values(&mut columns.values)?;
    match parts.qualities {
        None => columns.qualities.extend_default(start, parts.count),
        Some(bytes) => {
            let mut reader = Reader::new(bytes);
            quality::decode(&mut reader, parts.count, columns.qualities.make_stored(start))?;
            if !reader.rest().is_empty() {
                return Err(ChunkError::Corrupt("bytes behind the qualities"));
            }
        }
    }
    Ok(())
}

/// Appends the timestamps of the chunk to `out`, which stays as it was on error.
pub fn decode_timestamps(bytes: &[u8], out: &mut Vec<i64>) -> Result<(), ChunkError> {
    let parts = Parts::read(bytes)?;
    let start = out.len();
    parts.decode_timestamps(out).inspect_err(|_| out.truncate(start))
}

/// First and last timestamp; nothing is decoded.
pub fn time_range(bytes: &[u8]) -> Result<(i64, i64), ChunkError> {
    let parts = Parts::read(bytes)?;
    Ok((parts.first_timestamp, parts.last_timestamp))
}

/// Count, time range and aggregates. Nothing is decoded, but for chunks that store no aggregates: those of
/// fewer than 16 samples, a few of outliers among few samples, and those of incompressible doubles.
pub fn summary(bytes: &[u8]) -> Result<ChunkSummary, ChunkError> {
    let parts = Parts::read(bytes)?;
    let count = parts.count;
    let mut stored = parts.summary;
    if stored.is_none() {
        stored = values::stored_summary(parts.value_codec, parts.values, count)?;
    }
    let values = match stored {
        Some(values) => values,
        None => {
            let mut values = Vec::new();
            parts.decode_values(&mut values)?;
            ValueSummary::of(&values)
        }
    };
    let (first_timestamp, last_timestamp) = (parts.first_timestamp, parts.last_timestamp);
    Ok(ChunkSummary {
        count,
        first_timestamp,
        last_timestamp,
        values,
    })
}
