//! Noise: the random low bits of a double stay as they are, what stands left of them gets a prefix code.
//!
//! The idea is ALP's for real doubles (ALP-RD): cut every value where randomness begins. The left parts of a
//! noisy series are few neighbouring numbers with unequal frequencies; the few outside their window are
//! written out. Layout: cut, signs and whether there are escapes; start of the window; code lengths, the
//! escape's first; low bits with signs; codes; escaped left parts.

use crate::series::codec::bits::{BLOCK_SAMPLES, Reader, pack_block, put_signed, put_varint, unpack_block};
use crate::series::codec::prefix::{self, Lengths, SYMBOLS_MAX};
use crate::series::error::ChunkError;

const SIGN: u64 = 1 << 63;
const SIGN_PLUS: u8 = 0;
const SIGN_MINUS: u8 = 1;
const SIGN_MIXED: u8 = 2;
const SIGN_KINDS: u8 = 3;
/// The symbol that says that the left part is written out.
const ESCAPE: u8 = SYMBOLS_MAX as u8 - 1;
/// Cuts that are tried: from the whole exponent down to where a mantissa keeps 32 random bits.
const CUT_BITS_MAX: u32 = 56;
const CUT_BITS_MIN: u32 = 32;
/// Values looked at to choose the cut.
const PROBES: usize = 128;
/// What an escape costs beside its code, about.
const ESCAPE_BITS: f64 = 18.0;
/// What one symbol of the window costs in the table of lengths, which holds each length minus one.
const LENGTH_BITS: u32 = 3;
const LENGTH_MAX: u32 = 1 << LENGTH_BITS;

/// Buffers that live from chunk to chunk.
#[derive(Debug, Default)]
pub struct SplitScratch {
    symbols: Vec<u8>,
    probes: Vec<u64>,
}

/// Where the values are cut and which left parts have symbols.
#[derive(Clone, Copy)]
struct Cut {
    bits: u32,
    /// The lowest left part with a symbol of its own.
    low: u64,
}

impl Cut {
    #[inline]
    fn symbol(self, magnitude: u64) -> u8 {
        (magnitude >> self.bits)
            .wrapping_sub(self.low)
            .min(u64::from(ESCAPE)) as u8
    }
}

/// Appends the column if that takes fewer than `limit_bytes`; says whether it did.
pub fn encode(values: &[f64], limit_bytes: usize, scratch: &mut SplitScratch, out: &mut Vec<u8>) -> bool {
    let (mut every, mut any) = (u64::MAX, 0);
    for value in values {
        every &= value.to_bits();
        any |= value.to_bits();
    }
    let sign_kind = match (every & SIGN, any & SIGN) {
        (0, 0) => SIGN_PLUS,
        (0, _) => SIGN_MIXED,
        _ => SIGN_MINUS,
    };
    let sign_bits = u32::from(sign_kind == SIGN_MIXED);
    let cut = choose_cut(values, &mut scratch.probes);
    let low_bytes = values.len() / 8 * (cut.bits + sign_bits) as usize;
    if low_bytes >= limit_bytes {
        return false;
    }
    let symbols = &mut scratch.symbols;
    symbols.clear();
    symbols.extend(values.iter().map(|value| cut.symbol(value.to_bits() & !SIGN)));
    let mut counts = [0u32; SYMBOLS_MAX];
    for &symbol in symbols.iter() {
        counts[usize::from(symbol)] += 1;
    }
    // Within the window every symbol has a code, and a code has at least two symbols: that makes the table
    // short.
    let used = counts[..usize::from(ESCAPE)]
        .iter()
        .rposition(|&count| count > 0)
        .map_or(0, |last| last + 1);
    counts[..used]
        .iter_mut()
        .for_each(|count| *count = (*count).max(1));
    if used < 2 {
        counts[usize::from(ESCAPE)] = counts[usize::from(ESCAPE)].max(1);
        counts[0] = counts[0].max(1);
    }
    let lengths = prefix::lengths(&counts);
    let start = out.len();
    write_head(cut, sign_kind, &lengths, out);
    for block in values.chunks(BLOCK_SAMPLES) {
        let mut low = [0u64; BLOCK_SAMPLES];
        for (low, value) in low.iter_mut().zip(block) {
            let bits = value.to_bits();
            *low = bits & ((1 << cut.bits) - 1) | (bits >> 63) << cut.bits;
        }
        pack_block(&low, block.len(), cut.bits + sign_bits, out);
    }
    prefix::encode(symbols, &lengths, out);
    for (value, _) in values
        .iter()
        .zip(symbols.iter())
        .filter(|(_, symbol)| **symbol == ESCAPE)
    {
        put_varint(out, (value.to_bits() & !SIGN) >> cut.bits);
    }
    if out.len() - start >= limit_bytes {
        out.truncate(start);
        return false;
    }
    true
}

fn write_head(cut: Cut, sign_kind: u8, lengths: &Lengths, out: &mut Vec<u8>) {
    let (window, escape) = (&lengths[..usize::from(ESCAPE)], lengths[usize::from(ESCAPE)]);
    let kind = (cut.bits - CUT_BITS_MIN) as u8 * SIGN_KINDS + sign_kind;
    out.push(kind << 1 | u8::from(escape > 0));
    put_signed(out, cut.low.wrapping_sub(left_of_one(cut.bits)) as i64);
    let (mut packed, mut filled) = (0u128, 0u32);
    for &length in [escape].iter().chain(window).filter(|length| **length > 0) {
        packed |= u128::from(length - 1) << filled;
        filled += LENGTH_BITS;
    }
    out.extend_from_slice(&packed.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// The left part of 1.0, near which those of most series lie.
fn left_of_one(cut_bits: u32) -> u64 {
    1.0f64.to_bits() >> cut_bits
}

/// Tries cuts on some of the values, from the exponent into the mantissa, while that makes the column
/// smaller.
fn choose_cut(values: &[f64], probes: &mut Vec<u64>) -> Cut {
    let stride = values.len().div_ceil(PROBES);
    probes.clear();
    probes.extend(values.iter().step_by(stride).map(|value| value.to_bits() & !SIGN));
    probes.sort_unstable();
    let high = probes[(probes.len() - 1) - probes.len() / 32];
    let mut best = (
        f64::INFINITY,
        Cut {
            bits: CUT_BITS_MAX,
            low: 0,
        },
    );
    let mut worse = 0;
    for bits in (CUT_BITS_MIN..=CUT_BITS_MAX).rev() {
        // One place above the highest probe, so that a somewhat larger value elsewhere has a symbol too.
        let top = (high >> bits) + 1;
        let cut = Cut {
            bits,
            low: top.saturating_sub(u64::from(ESCAPE) - 1),
        };
        let mut counts = [0u32; SYMBOLS_MAX];
        for &probe in probes.iter() {
            counts[usize::from(cut.symbol(probe))] += 1;
        }
        let cost = cost_bits(&counts, probes.len(), values.len()) + f64::from(bits) * values.len() as f64;
        if cost < best.0 {
            best = (cost, cut);
            worse = 0;
        } else {
            worse += 1;
            if worse == 3 {
                break;
            }
        }
    }
    // The window begins at the lowest left part inside it, which shortens the table and leaves room above.
    let Cut { bits, low } = best.1;
    let left_parts = values.iter().map(|value| (value.to_bits() & !SIGN) >> bits);
    let lowest = left_parts
        .map(|left| if left < low { u64::MAX } else { left })
        .min();
    Cut {
        bits,
        low: lowest.filter(|&lowest| lowest < u64::MAX).unwrap_or(low),
    }
}

/// Estimated bits of the codes, their table and the escapes of `samples` values, of which some were counted.
fn cost_bits(counts: &[u32; SYMBOLS_MAX], probes: usize, samples: usize) -> f64 {
    let (mut bits, mut used) = (0.0, 0.0);
    for &count in counts.iter().filter(|count| **count > 0) {
        bits += f64::from(count) * (probes as f64 / f64::from(count)).log2();
        used += 1.0;
    }
    bits += f64::from(counts[usize::from(ESCAPE)]) * ESCAPE_BITS;
    bits * samples as f64 / probes as f64 + used * f64::from(LENGTH_BITS)
}

/// Appends `count` values to `out`.
pub fn decode(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    let head = reader.byte()?;
    let (kind, with_escape) = (head >> 1, head & 1 != 0);
    let (cut_bits, sign_kind) = (u32::from(kind / SIGN_KINDS) + CUT_BITS_MIN, kind % SIGN_KINDS);
    if cut_bits > CUT_BITS_MAX {
        return Err(ChunkError::Corrupt("unknown cut"));
    }
    let low = left_of_one(cut_bits).wrapping_add(reader.signed()? as u64);
    let lengths = read_lengths(reader, with_escape)?;
    let sign_bits = u32::from(sign_kind == SIGN_MIXED);
    let constant_sign = if sign_kind == SIGN_MINUS { SIGN } else { 0 };
    let start = out.len();
    let mut block = [0i64; BLOCK_SAMPLES];
    for begin in (0..count).step_by(BLOCK_SAMPLES) {
        let samples = (count - begin).min(BLOCK_SAMPLES);
        unpack_block(reader, samples, cut_bits + sign_bits, 0, &mut block)?;
        out.extend(block[..samples].iter().map(|&bits| {
            let bits = bits as u64;
            let sign = (bits >> cut_bits) << 63;
            f64::from_bits(bits & ((1 << cut_bits) - 1) | sign | constant_sign)
        }));
    }
    let values = &mut out[start..];
    let mut escaped = Vec::new();
    prefix::decode(reader, &lengths, count, |index, symbol| {
        if symbol == ESCAPE {
            escaped.push(index);
            return;
        }
        let left = low.wrapping_add(u64::from(symbol)) << cut_bits & !SIGN;
        values[index] = f64::from_bits(values[index].to_bits() | left);
    })?;
    for index in escaped {
        let left = reader.varint()? << cut_bits & !SIGN;
        values[index] = f64::from_bits(values[index].to_bits() | left);
    }
    Ok(())
}

/// The lengths end where they make a complete code.
fn read_lengths(reader: &mut Reader<'_>, with_escape: bool) -> Result<Lengths, ChunkError> {
    const COMPLETE: u32 = 1 << LENGTH_MAX;
    let bytes = reader.rest();
    let mut lengths = [0u8; SYMBOLS_MAX];
    let (mut filled, mut sum) = (0usize, 0);
    let escape = with_escape.then_some(usize::from(ESCAPE));
    for symbol in escape.into_iter().chain(0..usize::from(ESCAPE)) {
        let low = bytes.get(filled / 8).ok_or(ChunkError::Truncated)?;
        let high = bytes.get(filled / 8 + 1).unwrap_or(&0);
        let length = (u16::from_le_bytes([*low, *high]) >> (filled % 8) & 7) as u8 + 1;
        filled += LENGTH_BITS as usize;
        lengths[symbol] = length;
        sum += COMPLETE >> length;
        if sum >= COMPLETE {
            break;
        }
    }
    reader.take(filled.div_ceil(8))?;
    Ok(lengths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[f64]) -> usize {
        let mut out = vec![0xAA];
        assert!(encode(values, usize::MAX, &mut SplitScratch::default(), &mut out));
        let mut reader = Reader::new(&out[1..]);
        let mut decoded = Vec::new();
        decode(&mut reader, values.len(), &mut decoded).unwrap();
        assert!(reader.rest().is_empty());
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decoded), bits(values));
        out.len() - 1
    }

    fn uniform(seed: u64, count: usize) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count).map(|_| random.f64() + 0.5).collect()
    }

    #[test]
    fn signs_are_kept() {
        let plus = uniform(1, 500);
        let minus: Vec<f64> = plus.iter().map(|value| -value).collect();
        let mixed: Vec<f64> = uniform(2, 500).iter().map(|value| value - 1.0).collect();
        assert_eq!(round_trip(&plus), round_trip(&minus));
        assert!(round_trip(&mixed) < 500 * 56 / 8);
    }

    #[test]
    fn what_leaves_the_window_is_written_out() {
        let mut values = uniform(3, 600);
        for (index, odd) in [0.0, -0.0, f64::NAN, f64::INFINITY, 5e-324, 1e300]
            .into_iter()
            .enumerate()
        {
            values[index * 90 + 1] = odd;
        }
        assert!(round_trip(&values) < 600 * 7);
    }

    #[test]
    fn nothing_is_written_where_it_does_not_pay() {
        let mut out = vec![1, 2, 3];
        assert!(!encode(
            &uniform(4, 512),
            512 * 6,
            &mut SplitScratch::default(),
            &mut out
        ));
        assert_eq!(out, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn any_bits_round_trip(values in prop::collection::vec(any::<u64>(), 1..400)) {
            round_trip(&values.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn hostile_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..900), count in 1usize..200,
        ) {
            let mut out = Vec::new();
            let _ = decode(&mut Reader::new(&bytes), count, &mut out);
            prop_assert!(out.len() <= count);
        }
    }
}
