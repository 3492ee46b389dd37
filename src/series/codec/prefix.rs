//! Prefix codes of at most eight bits for at most 32 symbols, read by table (Huffman 1952, length-limited).

use crate::series::codec::bits::Reader;
use crate::series::error::ChunkError;

/// Symbols that one code distinguishes.
pub const SYMBOLS_MAX: usize = 32;
const CODE_BITS_MAX: u32 = 8;
const TABLE_LEN: usize = 1 << CODE_BITS_MAX;
/// A word that is refilled from a byte address holds at least 57 bits.
const CODES_PER_WORD: usize = 7;

/// Bits of each symbol's code; 0 for symbols that never occur.
pub type Lengths = [u8; SYMBOLS_MAX];

/// The cheapest code lengths for symbols that occur `counts` times.
pub fn lengths(counts: &[u32; SYMBOLS_MAX]) -> Lengths {
    let (mut weights, mut floor) = (*counts, 1);
    loop {
        let lengths = huffman(&weights);
        if lengths.iter().all(|&length| u32::from(length) <= CODE_BITS_MAX) {
            return lengths;
        }
        // Raising the rarest shortens the longest codes; with equal weights five bits are enough.
        floor *= 2;
        for weight in weights.iter_mut().filter(|weight| **weight > 0) {
            *weight = floor.max(*weight);
        }
    }
}

fn huffman(weights: &[u32; SYMBOLS_MAX]) -> Lengths {
    let mut lengths = [0u8; SYMBOLS_MAX];
    // A tree is its weight and the set of its leaves.
    let mut trees = [(0u32, 0u32); SYMBOLS_MAX];
    let mut len = 0;
    for (symbol, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
        trees[len] = (weight, 1 << symbol);
        len += 1;
    }
    if len == 1 {
        lengths[trees[0].1.trailing_zeros() as usize] = 1;
    }
    while len > 1 {
        trees[..len].sort_unstable_by(|left, right| right.cmp(left));
        let (left, right) = (trees[len - 2], trees[len - 1]);
        let leaves = left.1 | right.1;
        trees[len - 2] = (left.0 + right.0, leaves);
        len -= 1;
        for (symbol, length) in lengths.iter_mut().enumerate() {
            *length += (leaves >> symbol & 1) as u8;
        }
    }
    lengths
}

/// The codes, lowest bit first, that `lengths` stand for; None if they are no complete prefix code.
fn codes(lengths: &Lengths) -> Option<[u8; SYMBOLS_MAX]> {
    let mut codes = [0u8; SYMBOLS_MAX];
    let (mut next, mut used) = (0u32, 0);
    for bits in 1..=CODE_BITS_MAX {
        for (code, _) in codes
            .iter_mut()
            .zip(lengths)
            .filter(|(_, length)| u32::from(**length) == bits)
        {
            if next >= TABLE_LEN as u32 {
                return None;
            }
            *code = (next as u8).reverse_bits();
            next += TABLE_LEN as u32 >> bits;
            used += 1;
        }
    }
    let complete = next == TABLE_LEN as u32 || (used == 1 && next > 0);
    complete.then_some(codes)
}

/// Appends the codes of `symbols`.
pub fn encode(symbols: &[u8], lengths: &Lengths, out: &mut Vec<u8>) {
    let codes = codes(lengths).expect("invariant: Huffman's lengths are a prefix code");
    let (mut word, mut filled) = (0u64, 0u32);
    for &symbol in symbols {
        let symbol = usize::from(symbol);
        word |= u64::from(codes[symbol]) << filled;
        filled += u32::from(lengths[symbol]);
        if filled >= 32 {
            out.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            filled -= 32;
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled.div_ceil(8) as usize]);
}

/// Reads `count` symbols and hands each with its index to `sink`.
#[inline]
pub fn decode(
    reader: &mut Reader<'_>,
    lengths: &Lengths,
    count: usize,
    mut sink: impl FnMut(usize, u8),
) -> Result<(), ChunkError> {
    let codes = codes(lengths).ok_or(ChunkError::Corrupt("lengths are no prefix code"))?;
    let mut table = [(0u8, 1u8); TABLE_LEN];
    for (symbol, (&length, &code)) in lengths
        .iter()
        .zip(&codes)
        .enumerate()
        .filter(|(_, (length, _))| **length > 0)
    {
        for slot in (usize::from(code)..TABLE_LEN).step_by(1 << length) {
            table[slot] = (symbol as u8, length);
        }
    }
    let bytes = reader.rest();
    let mut position_bits = 0usize;
    for start in (0..count).step_by(CODES_PER_WORD) {
        let mut word = load(bytes, position_bits / 8) >> (position_bits % 8);
        for index in start..(start + CODES_PER_WORD).min(count) {
            let (symbol, length) = table[word as usize % TABLE_LEN];
            sink(index, symbol);
            word >>= length;
            position_bits += usize::from(length);
        }
    }
    reader.take(position_bits.div_ceil(8)).map(|_| ())
}

/// Eight bytes at `position`; zeros behind the end.
#[inline]
fn load(bytes: &[u8], position: usize) -> u64 {
    let tail = bytes.get(position..).unwrap_or(&[]);
    if let Some(word) = tail.first_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0u8; 8];
    word[..tail.len()].copy_from_slice(tail);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(symbols: &[u8]) -> usize {
        let mut counts = [0; SYMBOLS_MAX];
        for &symbol in symbols {
            counts[usize::from(symbol)] += 1;
        }
        let lengths = lengths(&counts);
        let mut out = Vec::new();
        encode(symbols, &lengths, &mut out);
        let mut decoded = vec![0; symbols.len()];
        let mut reader = Reader::new(&out);
        decode(&mut reader, &lengths, symbols.len(), |index, symbol| {
            decoded[index] = symbol
        })
        .unwrap();
        assert_eq!(decoded, symbols);
        assert!(reader.rest().is_empty());
        out.len()
    }

    #[test]
    fn skew_is_rewarded_and_one_symbol_costs_one_bit() {
        assert_eq!(round_trip(&[3; 800]), 100);
        let skewed: Vec<u8> = (0..1_024u32)
            .map(|index| index.trailing_zeros().min(20) as u8)
            .collect();
        assert!(round_trip(&skewed) <= 1_024 * 2 / 8 + 2);
    }

    #[test]
    fn steep_weights_are_flattened_to_eight_bits() {
        let mut counts = [0; SYMBOLS_MAX];
        for (symbol, count) in counts.iter_mut().enumerate() {
            *count = 1 << symbol.min(20);
        }
        let lengths = lengths(&counts);
        assert!(lengths.iter().all(|&length| (1..=8).contains(&length)));
        assert!(codes(&lengths).is_some());
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for bad in [&[][..], &[1, 1, 1], &[2, 2], &[1, 2], &[9, 9]] {
            let mut lengths = [0; SYMBOLS_MAX];
            lengths[..bad.len()].copy_from_slice(bad);
            let refused = decode(&mut Reader::new(&[0; 9]), &lengths, 9, |_, _| ());
            assert!(matches!(refused, Err(ChunkError::Corrupt(_))), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_symbols_round_trip(symbols in prop::collection::vec(0u8..32, 1..500), fold in 1u8..32) {
            round_trip(&symbols.iter().map(|symbol| symbol % fold).collect::<Vec<_>>());
        }
    }
}
