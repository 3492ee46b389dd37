//! The column of values: which codec writes it is found by trial.

use crate::series::codec::bits::Reader;
use crate::series::codec::decimal::{self, DecimalScratch};
use crate::series::codec::integers::{self, IntegerScratch};
use crate::series::codec::split::{self, SplitScratch};
use crate::series::codec::{cold, constant, xor};
use crate::series::error::ChunkError;
use crate::series::summary::ValueSummary;

const RAW: u8 = 0;
const CONSTANT: u8 = 1;
const DECIMAL: u8 = 2;
const XOR: u8 = 3;
const SPLIT: u8 = 4;
/// The bits of the doubles as integers: smooth curves, and doubles whose low bits are zero.
const BITS: u8 = 5;
const COLD_DECIMAL: u8 = 6;
const COLD: u8 = 7;
const VALUE_BYTES: usize = 8;
/// Fewer samples are summarised faster than their summary is worth storing.
const SUMMARY_SAMPLES_MIN: usize = 16;
/// A decimal column at most this large per sample is not worth a trial of anything else.
const DECIMAL_BYTES_GOOD: usize = 4;

/// Buffers that live from chunk to chunk.
#[derive(Debug, Default)]
pub struct ValueScratch {
    decimal: DecimalScratch,
    split: SplitScratch,
    trial: Vec<u8>,
}

/// Appends the column and says with which codec.
pub fn encode(
    values: &[f64],
    cold: bool,
    scratch: &mut ValueScratch,
    integer_scratch: &mut IntegerScratch,
    out: &mut Vec<u8>,
) -> u8 {
    if let Some(value) = constant::constant_of(values) {
        constant::encode(value, out);
        return CONSTANT;
    }
    let start = out.len();
    let with_extent = values.len() >= SUMMARY_SAMPLES_MIN;
    let scaled = decimal::scale(values, &mut scratch.decimal);
    let mut codec = RAW;
    if let Some(scaled) = scaled {
        decimal::encode(scaled, &scratch.decimal, integer_scratch, with_extent, out);
        codec = DECIMAL;
    } else {
        out.extend(values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
    }
    let trial = &mut scratch.trial;
    if out.len() - start > values.len() * DECIMAL_BYTES_GOOD {
        codec = encode_doubles(
            values,
            codec,
            start,
            &mut scratch.split,
            integer_scratch,
            trial,
            out,
        );
    }
    if !cold {
        return codec;
    }
    if let (Some(scaled), Some(packed)) = (scaled, cold::encode(&scratch.decimal.integers)) {
        trial.clear();
        decimal::encode_head(scaled, &scratch.decimal, with_extent, trial);
        trial.extend_from_slice(&packed);
        codec = keep_smaller(trial, COLD_DECIMAL, start, codec, out);
    }
    if codec != COLD_DECIMAL
        && let Some(packed) = cold::encode(values)
    {
        codec = keep_smaller(&packed, COLD, start, codec, out);
    }
    codec
}

/// Replaces what stands in `out` from `start`, written by `codec`, if doubles as such take less.
fn encode_doubles(
    values: &[f64],
    mut codec: u8,
    start: usize,
    split_scratch: &mut SplitScratch,
    integer_scratch: &mut IntegerScratch,
    trial: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> u8 {
    trial.clear();
    constant::encode(values[0], trial);
    xor::encode(values, trial);
    codec = keep_smaller(trial, XOR, start, codec, out);

    trial.clear();
    constant::encode(values[0], trial);
    let bits: Vec<i64> = values.iter().map(|value| value.to_bits() as i64).collect();
    integers::encode(&bits, integer_scratch, trial);
    codec = keep_smaller(trial, BITS, start, codec, out);

    trial.clear();
    if split::encode(values, out.len() - start, split_scratch, trial) {
        codec = keep_smaller(trial, SPLIT, start, codec, out);
    }
    codec
}

fn keep_smaller(trial: &[u8], trial_codec: u8, start: usize, codec: u8, out: &mut Vec<u8>) -> u8 {
    if trial.len() >= out.len() - start {
        return codec;
    }
    out.truncate(start);
    out.extend_from_slice(trial);
    trial_codec
}

/// Whether the container stores a raw summary beside a column of `bytes` that `codec` wrote.
///
/// Constants and decimals know their own. Incompressible doubles go without: there the summary's 41 bytes are
/// most of what compression gains, and it is computed by decoding.
pub fn wants_raw_summary(codec: u8, bytes: &[u8], count: usize) -> bool {
    const INCOMPRESSIBLE_BYTES: usize = 6;
    const SHARE_MIN: usize = 10;
    match codec {
        CONSTANT => false,
        COLD => true,
        DECIMAL | COLD_DECIMAL if decimal::has_extent(bytes) => false,
        _ => {
            count >= SUMMARY_SAMPLES_MIN
                && bytes.len() <= count * INCOMPRESSIBLE_BYTES
                && bytes.len() >= 5 * VALUE_BYTES * SHARE_MIN
        }
    }
}

/// The summary that the column itself holds, if it holds one.
pub fn stored_summary(codec: u8, bytes: &[u8], count: usize) -> Result<Option<ValueSummary>, ChunkError> {
    let mut reader = Reader::new(bytes);
    match codec {
        CONSTANT => Ok(Some(ValueSummary::of_constant(
            constant::decode(&mut reader)?,
            count,
        ))),
        DECIMAL | COLD_DECIMAL => Ok(decimal::Head::read(&mut reader, count)?.summary(count)),
        _ => Ok(None),
    }
}

/// Appends `count` values to `out`.
pub fn decode(codec: u8, bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    out.reserve(count);
    let mut reader = Reader::new(bytes);
    match codec {
        RAW => {
            let raw = reader.take(count * VALUE_BYTES)?.as_chunks::<VALUE_BYTES>().0;
            out.extend(raw.iter().map(|bytes| f64::from_bits(u64::from_le_bytes(*bytes))));
        }
        CONSTANT => out.resize(out.len() + count, constant::decode(&mut reader)?),
        DECIMAL => decimal::decode(&mut reader, count, out)?,
        XOR => {
            let first = constant::decode(&mut reader)?;
            xor::decode(&mut reader, first, count, out)?;
        }
        BITS => {
            let first = reader.word()? as i64;
            integers::decode(&mut reader, first, count, |run| {
                out.extend(run.iter().map(|&bits| f64::from_bits(bits as u64)));
            })?;
        }
        SPLIT => split::decode(&mut reader, count, out)?,
        COLD_DECIMAL => return decode_cold_decimal(reader, count, out),
        COLD => return cold::decode(bytes, count, out),
        _ => return Err(ChunkError::Corrupt("unknown value codec")),
    }
    if reader.rest().is_empty() {
        Ok(())
    } else {
        Err(ChunkError::Corrupt("bytes behind the values"))
    }
}

fn decode_cold_decimal(mut reader: Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    let start = out.len();
    let head = decimal::Head::read(&mut reader, count)?;
    let mut integers = Vec::new();
    cold::decode::<i64>(reader.rest(), count, &mut integers)?;
    head.extend(&integers, out);
    head.patch(&mut out[start..])
}
