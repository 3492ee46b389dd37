//! Blocks of up to 128 integers: a base, one bit width, and patches for the outliers.
//!
//! Layout: header byte (width, high bit: patched), base as zigzag varint, with patches their count - 1,
//! positions and high bits, then the packed low bits of `value - base`. All arithmetic wraps, so every `i64`
//! fits.

use crate::series::codec::bits::{
    BLOCK_SAMPLES, GROUP_SAMPLES, Reader, bit_len, pack_block, packed_bytes, put_signed, unpack_block,
    varint_bytes, zigzag,
};
use crate::series::error::ChunkError;

const PATCHED: u8 = 0x80;
/// A patch costs its position and at least one byte of high bits.
const PATCH_BYTES_MIN: usize = 2;
/// Below this width patches cannot pay.
const PATCH_WIDTH_MIN: u32 = 3;

/// How one block will be written.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlan {
    base: i64,
    width: u32,
    patches: usize,
    /// Size of the encoded block.
    pub bytes: usize,
}

/// Chooses base, width and patches of a block of 1..=128 values.
pub fn plan(values: &[i64]) -> BlockPlan {
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for &value in values {
        low = low.min(value);
        high = high.max(value);
    }
    let width = bit_len(high.wrapping_sub(low) as u64);
    let bytes = 1 + varint_bytes(zigzag(low)) + packed_bytes(values.len(), width);
    let whole = BlockPlan {
        base: low,
        width,
        patches: 0,
        bytes,
    };
    if width < PATCH_WIDTH_MIN {
        return whole;
    }
    let pivot = median_of_five(values);
    let near = 1u64 << (width - PATCH_WIDTH_MIN);
    let far: usize = values
        .iter()
        .map(|&value| usize::from(distance(value, pivot) >= near))
        .sum();
    if far * PATCH_BYTES_MIN >= packed_bytes(values.len(), 2) {
        return whole;
    }
    let patched = plan_patched(values, pivot, width);
    if patched.bytes < whole.bytes {
        patched
    } else {
        whole
    }
}

fn distance(value: i64, pivot: i64) -> u64 {
    value.wrapping_sub(pivot).unsigned_abs()
}

fn median_of_five(values: &[i64]) -> i64 {
    let last = values.len() - 1;
    let mut picks = [
        values[0],
        values[last / 4],
        values[last / 2],
        values[last / 4 * 3],
        values[last],
    ];
    picks.sort_unstable();
    picks[2]
}

/// Trims the range around `pivot` so that the packed bytes and the patches together are smallest.
fn plan_patched(values: &[i64], pivot: i64, width_whole: u32) -> BlockPlan {
    let mut counts = [0usize; 65];
    for &value in values {
        counts[bit_len(distance(value, pivot)) as usize] += 1;
    }
    let (mut best_bits, mut best_bytes, mut outside) = (width_whole, usize::MAX, 0);
    for bits in (0..width_whole).rev() {
        outside += counts[bits as usize + 1];
        // Where no value has just this length, one bit less costs nothing more.
        if counts[bits as usize] == 0 && bits > 0 {
            continue;
        }
        let patch_bytes = 1
            + ((width_whole.saturating_sub(bits + 1) + 7) as usize)
                .div_ceil(7)
                .max(1);
        let bytes = packed_bytes(values.len(), (bits + 1).min(64)) + outside * patch_bytes;
        if bytes < best_bytes {
            (best_bits, best_bytes) = (bits, bytes);
        }
    }
    let (mut low, mut high) = (i64::MAX, i64::MIN);
    for &value in values {
        if bit_len(distance(value, pivot)) <= best_bits {
            low = low.min(value);
            high = high.max(value);
        }
    }
    let width = bit_len(high.wrapping_sub(low) as u64);
    let mut plan = BlockPlan {
        base: low,
        width,
        patches: 0,
        bytes: 0,
    };
    let mut patch_bytes = 1;
    for &value in values {
        let high_bits = plan.high_bits(value);
        if high_bits != 0 {
            plan.patches += 1;
            patch_bytes += 1 + varint_bytes(zigzag(high_bits));
        }
    }
    plan.bytes = 1 + varint_bytes(zigzag(low)) + patch_bytes + packed_bytes(values.len(), width);
    plan
}

impl BlockPlan {
    /// What does not fit in the packed bits; 0 for all but outliers.
    fn high_bits(&self, value: i64) -> i64 {
        let offset = value.wrapping_sub(self.base);
        if self.width == 0 {
            offset
        } else if self.width == 64 || (offset as u64) >> self.width == 0 {
            0
        } else {
            offset >> self.width
        }
    }
}

/// Appends the block as planned.
pub fn write(plan: &BlockPlan, values: &[i64], out: &mut Vec<u8>) {
    let flag = if plan.patches > 0 { PATCHED } else { 0 };
    out.push(plan.width as u8 | flag);
    put_signed(out, plan.base);
    if plan.patches > 0 {
        out.push((plan.patches - 1) as u8);
        let outliers = || {
            values
                .iter()
                .enumerate()
                .filter(|&(_, &value)| plan.high_bits(value) != 0)
        };
        out.extend(outliers().map(|(position, _)| position as u8));
        for (_, &value) in outliers() {
            put_signed(out, plan.high_bits(value));
        }
    }
    if plan.width > 0 {
        let mut offsets = [0u64; BLOCK_SAMPLES];
        for (offset, &value) in offsets.iter_mut().zip(values) {
            *offset = value.wrapping_sub(plan.base) as u64;
        }
        pack_block(&offsets, values.len(), plan.width, out);
    }
}

/// Reads a block of `samples` values into the front of `out`; up to seven values behind them are overwritten.
#[inline]
pub fn read(
    reader: &mut Reader<'_>,
    samples: usize,
    out: &mut [i64; BLOCK_SAMPLES],
) -> Result<(), ChunkError> {
    debug_assert!(samples <= BLOCK_SAMPLES && BLOCK_SAMPLES.is_multiple_of(GROUP_SAMPLES));
    let header = reader.byte()?;
    let width = u32::from(header & !PATCHED);
    let base = reader.signed()?;
    if header & PATCHED == 0 {
        return unpack_block(reader, samples, width, base, out);
    }
    read_patched(reader, samples, width, base, out)
}

fn read_patched(
    reader: &mut Reader<'_>,
    samples: usize,
    width: u32,
    base: i64,
    out: &mut [i64; BLOCK_SAMPLES],
) -> Result<(), ChunkError> {
    if width >= 64 {
        return Err(ChunkError::Corrupt("patched block of full width"));
    }
    let count = usize::from(reader.byte()?) + 1;
    let positions = reader.take(count)?;
    let mut high = Reader::new(reader.rest());
    for _ in 0..count {
        reader.varint()?;
    }
    unpack_block(reader, samples, width, base, out)?;
    for &position in positions {
        let patch = high.signed()? << width;
        let value = out[..samples].get_mut(usize::from(position));
        let value = value.ok_or(ChunkError::Corrupt("patch outside its block"))?;
        *value = value.wrapping_add(patch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> BlockPlan {
        let plan = plan(values);
        let mut out = Vec::new();
        write(&plan, values, &mut out);
        assert_eq!(out.len(), plan.bytes, "planned size is the written size");
        let mut reader = Reader::new(&out);
        let mut block = [0; BLOCK_SAMPLES];
        read(&mut reader, values.len(), &mut block).unwrap();
        assert_eq!(&block[..values.len()], values);
        assert!(reader.rest().is_empty());
        plan
    }

    #[test]
    fn one_outlier_does_not_widen_the_block() {
        let mut values: Vec<i64> = (0..128).map(|index| 1_000 + index % 7).collect();
        values[77] = 3_600_000;
        values[78] = -3_600_000;
        let plan = round_trip(&values);
        assert_eq!((plan.width, plan.patches), (3, 2));
        assert!(plan.bytes < 64, "{plan:?}");
    }

    #[test]
    fn equal_values_with_a_gap_take_no_packed_bytes() {
        let mut values = [1_000; 128];
        values[0] = i64::MAX;
        values[1] = i64::MIN;
        assert_eq!(round_trip(&values).width, 0);
    }

    proptest! {
        #[test]
        fn any_values_round_trip(values in prop::collection::vec(any::<i64>(), 1..=BLOCK_SAMPLES)) {
            round_trip(&values);
        }

        #[test]
        fn clustered_values_with_outliers_round_trip(
            center in any::<i64>(),
            values in prop::collection::vec(
                (0i64..100, prop::option::weighted(0.03, any::<i64>())), 1..=BLOCK_SAMPLES,
            ),
        ) {
            let values: Vec<i64> =
                values.iter().map(|(near, far)| far.unwrap_or(center.wrapping_add(*near))).collect();
            round_trip(&values);
        }

        #[test]
        fn hostile_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), samples in 1usize..=128,
        ) {
            let _ = read(&mut Reader::new(&bytes), samples, &mut [0; BLOCK_SAMPLES]);
        }
    }
}
