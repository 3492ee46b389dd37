//! True doubles that resemble their predecessor: XOR with it (the idea of Gorilla, VLDB 2015), in blocks.
//!
//! Gorilla writes a window of significant bits per value; here a block of 128 shares one, so that decoding is
//! unpacking at a fixed width. Where many values repeat, a bitmap keeps the repetitions out of the packed
//! bits.

use crate::series::codec::bits::{
    BLOCK_SAMPLES, GROUP_SAMPLES, Reader, bit_len, pack_block, packed_bytes, unpack_block,
};
use crate::series::error::ChunkError;

const FLAG_BITMAP: u8 = 0x80;

/// Appends all of `values` but the first, which belongs to the caller.
pub fn encode(values: &[f64], out: &mut Vec<u8>) {
    let mut previous = values[0].to_bits();
    for block in values[1..].chunks(BLOCK_SAMPLES) {
        let mut differences = [0u64; BLOCK_SAMPLES];
        let (mut union, mut changed) = (0, 0);
        for (difference, value) in differences.iter_mut().zip(block) {
            *difference = value.to_bits() ^ previous;
            previous = value.to_bits();
            union |= *difference;
            changed += usize::from(*difference != 0);
        }
        let shift = if union == 0 { 0 } else { union.trailing_zeros() };
        let width = bit_len(union >> shift);
        let bitmap_bytes = block.len().div_ceil(8);
        let sparse = bitmap_bytes + packed_bytes(changed, width) < packed_bytes(block.len(), width);
        out.push(width as u8 | if sparse { FLAG_BITMAP } else { 0 });
        if width > 0 {
            out.push(shift as u8);
        }
        if sparse {
            let start = out.len();
            out.resize(start + bitmap_bytes, 0);
            for (position, difference) in differences[..block.len()].iter().enumerate() {
                out[start + position / 8] |= u8::from(*difference != 0) << (position % 8);
            }
            let mut kept = 0;
            for position in 0..block.len() {
                if differences[position] != 0 {
                    differences[kept] = differences[position];
                    kept += 1;
                }
            }
        }
        for difference in &mut differences {
            *difference >>= shift;
        }
        pack_block(
            &differences,
            if sparse { changed } else { block.len() },
            width,
            out,
        );
    }
}

/// Appends `count` values, the first of them given, to `out`.
pub fn decode(
    reader: &mut Reader<'_>,
    first: f64,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), ChunkError> {
    out.push(first);
    let mut previous = first.to_bits();
    let mut block = [0i64; BLOCK_SAMPLES];
    let mut missing = count - 1;
    while missing > 0 {
        let samples = missing.min(BLOCK_SAMPLES);
        missing -= samples;
        let header = reader.byte()?;
        let width = u32::from(header & !FLAG_BITMAP);
        let shift = if width > 0 { u32::from(reader.byte()?) } else { 0 };
        if width + shift > 64 || shift == 64 {
            return Err(ChunkError::Corrupt("XOR window outside 64 bits"));
        }
        if header & FLAG_BITMAP == 0 {
            unpack_block(reader, samples, width, 0, &mut block)?;
            out.extend(block[..samples].iter().map(|&difference| {
                previous ^= (difference as u64) << shift;
                f64::from_bits(previous)
            }));
            continue;
        }
        let bitmap = reader.take(samples.div_ceil(GROUP_SAMPLES))?;
        let changed = bitmap
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum::<usize>();
        if changed > samples {
            return Err(ChunkError::Corrupt("XOR bitmap longer than its block"));
        }
        unpack_block(reader, changed, width, 0, &mut block)?;
        let mut kept = block.iter();
        for position in 0..samples {
            if bitmap[position / 8] >> (position % 8) & 1 != 0 {
                previous ^= kept.next().map_or(0, |&difference| (difference as u64) << shift);
            }
            out.push(f64::from_bits(previous));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[f64]) -> usize {
        let mut out = Vec::new();
        encode(values, &mut out);
        let mut reader = Reader::new(&out);
        let mut decoded = Vec::new();
        decode(&mut reader, values[0], values.len(), &mut decoded).unwrap();
        assert!(reader.rest().is_empty());
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decoded), bits(values));
        out.len()
    }

    #[test]
    fn repetitions_cost_one_bit() {
        let values: Vec<f64> = (0..513).map(|index| f64::from(index / 16).sqrt()).collect();
        assert!(round_trip(&values) < 512 / 8 + 33 * 8 + 16);
        assert_eq!(round_trip(&[0.1; 129]), 1);
    }

    #[test]
    fn hostile_windows_are_refused() {
        for bytes in [&[60, 5][..], &[65, 0], &[1, 64], &[0xFF, 0xFF]] {
            assert!(matches!(
                decode(&mut Reader::new(bytes), 0.0, 9, &mut Vec::new()),
                Err(ChunkError::Corrupt(_))
            ));
        }
    }

    proptest! {
        #[test]
        fn any_bits_round_trip(
            values in prop::collection::vec(any::<u64>(), 1..300), repeats in 1usize..9, shift in 0u32..64,
        ) {
            let values: Vec<f64> = values
                .iter()
                .flat_map(|bits| std::iter::repeat_n(f64::from_bits(bits >> shift << shift), repeats))
                .collect();
            round_trip(&values);
        }

        #[test]
        fn hostile_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), count in 1usize..600,
        ) {
            let mut out = Vec::new();
            let _ = decode(&mut Reader::new(&bytes), 1.0, count, &mut out);
            prop_assert!(out.len() <= count);
        }
    }
}
