//! A column of integers without its common divisor: deltas, their deltas or distances from a line, in blocks.
//!
//! The first value belongs to the caller. All arithmetic wraps, so every sequence of `i64` comes back
//! exactly.

use crate::series::codec::bits::{BLOCK_SAMPLES, Reader, bit_len, put_signed, put_varint};
use crate::series::codec::blocks::{self, BlockPlan};
use crate::series::error::ChunkError;

/// Every step is the same: no blocks at all.
const MODE_REGULAR: u8 = 0;
/// Blocks of the differences to the value before.
const MODE_DELTA: u8 = 1;
/// Blocks of the differences of the differences.
const MODE_CURVE: u8 = 2;
/// Blocks of the distances from a straight line through the first value.
const MODE_LINE: u8 = 3;
const MODE_MASK: u8 = 0x03;
const FLAG_DIVISOR: u8 = 0x04;
/// Fractional bits of a line's slope.
const SLOPE_SHIFT: u32 = 16;
/// Beyond this magnitude sums of 65,536 values could wrap; lines are not tried.
const LINE_MAGNITUDE_BITS_MAX: u32 = 46;
/// Deltas in so few bytes are not worth a trial of anything else.
const DELTA_SAMPLES_PER_BYTE_GOOD: usize = 8;
/// Neither are so few values: runs of late samples, nearly all of which will be folded into chunks.
const TRIAL_VALUES_MIN: usize = 16;

/// Buffers that live from chunk to chunk.
#[derive(Debug, Default)]
pub struct IntegerScratch {
    deltas: Vec<i64>,
    curves: Vec<i64>,
    offsets: Vec<i64>,
    plans: [Vec<BlockPlan>; 3],
}

/// The one step between all of `values`, if there is one; 0 for a single value.
pub fn regular_step(values: &[i64]) -> Option<i64> {
    let [first, second, ..] = values else {
        return Some(0);
    };
    let step = second.wrapping_sub(*first);
    for pairs in values.chunks(BLOCK_SAMPLES) {
        let mut differs = false;
        for (left, right) in pairs.iter().zip(&pairs[1..]) {
            differs |= right.wrapping_sub(*left) != step;
        }
        if differs {
            return None;
        }
    }
    let seams = values[BLOCK_SAMPLES.min(values.len())..]
        .iter()
        .step_by(BLOCK_SAMPLES);
    let before = values[BLOCK_SAMPLES.min(values.len()) - 1..]
        .iter()
        .step_by(BLOCK_SAMPLES);
    seams
        .zip(before)
        .all(|(right, left)| right.wrapping_sub(*left) == step)
        .then_some(step)
}

/// Appends all of `values` but the first.
pub fn encode(values: &[i64], scratch: &mut IntegerScratch, out: &mut Vec<u8>) {
    if let Some(step) = regular_step(values) {
        out.push(MODE_REGULAR);
        put_signed(out, step);
        return;
    }
    let divisor = fill_deltas(values, scratch);
    let IntegerScratch {
        deltas,
        curves,
        offsets,
        plans,
    } = scratch;
    let [delta_plans, curve_plans, line_plans] = plans;
    let delta_bytes = plan_all(deltas, delta_plans);
    let (mut curve_bytes, mut line_bytes, mut slope) = (usize::MAX, usize::MAX, 0);
    if values.len() >= TRIAL_VALUES_MIN && delta_bytes > values.len() / DELTA_SAMPLES_PER_BYTE_GOOD {
        curves.clear();
        curves.extend(
            deltas
                .iter()
                .zip(&deltas[1..])
                .map(|(left, right)| right.wrapping_sub(*left)),
        );
        curve_bytes = plan_all(curves, curve_plans);
        slope = fill_offsets(deltas, offsets);
        line_bytes = plan_all(offsets, line_plans);
    }

    let flag = if divisor > 1 { FLAG_DIVISOR } else { 0 };
    let mode = if delta_bytes <= curve_bytes.min(line_bytes) {
        MODE_DELTA
    } else if line_bytes <= curve_bytes {
        MODE_LINE
    } else {
        MODE_CURVE
    };
    out.push(mode | flag);
    if divisor > 1 {
        put_varint(out, divisor);
    }
    match mode {
        MODE_DELTA => write_all(deltas, delta_plans, out),
        MODE_LINE => {
            put_signed(out, slope);
            write_all(offsets, line_plans, out);
        }
        _ => {
            put_signed(out, deltas[0]);
            write_all(curves, curve_plans, out);
        }
    }
}

/// Fills `scratch.deltas`, divided by the returned common divisor.
fn fill_deltas(values: &[i64], scratch: &mut IntegerScratch) -> u64 {
    let deltas = &mut scratch.deltas;
    deltas.clear();
    deltas.extend(
        values
            .iter()
            .zip(&values[1..])
            .map(|(left, right)| right.wrapping_sub(*left)),
    );
    let mut divisor = 0u64;
    for delta in deltas.iter() {
        let magnitude = delta.unsigned_abs();
        if divisor == 0 || !magnitude.is_multiple_of(divisor) {
            divisor = greatest_common_divisor(magnitude, divisor);
        }
        if divisor == 1 {
            return 1;
        }
    }
    // 2^63 divides only i64::MIN and 0; the quotient's sign would need a case of its own.
    if divisor <= 1 || divisor > i64::MAX as u64 {
        return 1;
    }
    for delta in deltas.iter_mut() {
        *delta /= divisor as i64;
    }
    divisor
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// Fills the distances from the line whose slope is returned, in units of 2^-16 per position.
fn fill_offsets(deltas: &[i64], offsets: &mut Vec<i64>) -> i64 {
    offsets.clear();
    let mut sum = 0i64;
    offsets.extend(deltas.iter().map(|delta| {
        sum = sum.wrapping_add(*delta);
        sum
    }));
    let magnitude = offsets
        .iter()
        .fold(0, |bits, offset| bits | (offset ^ (offset >> 63)) as u64);
    if bit_len(magnitude) > LINE_MAGNITUDE_BITS_MAX {
        return 0;
    }
    // The means of the two halves lie as far apart as the halves are: nearly as exact as least squares, two
    // sums.
    let half = offsets.len() / 2;
    let before: i64 = offsets[..half].iter().sum();
    let after: i64 = offsets[offsets.len() - half..].iter().sum();
    let distance = half as i128 * (offsets.len() - half) as i128;
    let slope = (i128::from(after - before) << SLOPE_SHIFT) / distance.max(1);
    let slope = i64::try_from(slope).unwrap_or(0);
    let mut line = 0i64;
    for offset in offsets.iter_mut() {
        line = line.wrapping_add(slope);
        *offset = offset.wrapping_sub(line >> SLOPE_SHIFT);
    }
    slope
}

fn plan_all(values: &[i64], plans: &mut Vec<BlockPlan>) -> usize {
    plans.clear();
    plans.extend(values.chunks(BLOCK_SAMPLES).map(blocks::plan));
    plans.iter().map(|plan| plan.bytes).sum()
}

fn write_all(values: &[i64], plans: &[BlockPlan], out: &mut Vec<u8>) {
    for (block, plan) in values.chunks(BLOCK_SAMPLES).zip(plans) {
        blocks::write(plan, block, out);
    }
}

/// Reads a column of `count` values that begins with `first`, handing it to `sink` in runs of at most 128.
#[inline]
pub fn decode(
    reader: &mut Reader<'_>,
    first: i64,
    count: usize,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let header = reader.byte()?;
    if header & !(MODE_MASK | FLAG_DIVISOR) != 0 {
        return Err(ChunkError::Corrupt("unknown integer mode"));
    }
    let divisor = if header & FLAG_DIVISOR == 0 {
        1
    } else {
        reader.varint()? as i64
    };
    sink(&[first]);
    match header & MODE_MASK {
        MODE_REGULAR => decode_regular(reader, first, count, sink),
        MODE_DELTA => decode_delta(reader, first, divisor, count - 1, sink),
        MODE_LINE => decode_line(reader, first, divisor, count - 1, sink),
        _ => decode_curve(reader, first, divisor, count - 1, sink),
    }
}

fn decode_regular(
    reader: &mut Reader<'_>,
    first: i64,
    count: usize,
    sink: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let step = reader.signed()?;
    fill_regular(first.wrapping_add(step), step, count - 1, sink);
    Ok(())
}

/// Hands `count` values beginning with `first`, `step` apart, to `sink`.
#[inline]
pub fn fill_regular(first: i64, step: i64, count: usize, mut sink: impl FnMut(&[i64])) {
    let mut block = [0; BLOCK_SAMPLES];
    for (start, samples) in block_runs(count) {
        let base = first.wrapping_add(step.wrapping_mul(start as i64));
        for (index, value) in block.iter_mut().enumerate() {
            *value = base.wrapping_add(step.wrapping_mul(index as i64));
        }
        sink(&block[..samples]);
    }
}

/// Start and length of each block of a column of `count` values.
fn block_runs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count)
        .step_by(BLOCK_SAMPLES)
        .map(move |start| (start, (count - start).min(BLOCK_SAMPLES)))
}

fn scale(values: &mut [i64], divisor: i64) {
    if divisor != 1 {
        for value in values {
            *value = value.wrapping_mul(divisor);
        }
    }
}

#[inline]
fn decode_delta(
    reader: &mut Reader<'_>,
    first: i64,
    divisor: i64,
    count: usize,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let mut block = [0; BLOCK_SAMPLES];
    let mut value = first;
    for (_, samples) in block_runs(count) {
        blocks::read(reader, samples, &mut block)?;
        let run = &mut block[..samples];
        scale(run, divisor);
        for slot in run.iter_mut() {
            value = value.wrapping_add(*slot);
            *slot = value;
        }
        sink(run);
    }
    Ok(())
}

#[inline]
fn decode_line(
    reader: &mut Reader<'_>,
    first: i64,
    divisor: i64,
    count: usize,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let slope = reader.signed()?;
    let mut block = [0; BLOCK_SAMPLES];
    let mut line = 0i64;
    for (_, samples) in block_runs(count) {
        blocks::read(reader, samples, &mut block)?;
        let run = &mut block[..samples];
        for slot in run.iter_mut() {
            line = line.wrapping_add(slope);
            *slot = slot.wrapping_add(line >> SLOPE_SHIFT);
        }
        scale(run, divisor);
        for slot in run.iter_mut() {
            *slot = slot.wrapping_add(first);
        }
        sink(run);
    }
    Ok(())
}

#[inline]
fn decode_curve(
    reader: &mut Reader<'_>,
    first: i64,
    divisor: i64,
    count: usize,
    mut sink: impl FnMut(&[i64]),
) -> Result<(), ChunkError> {
    let mut step = reader.signed()?.wrapping_mul(divisor);
    let mut value = first.wrapping_add(step);
    if count > 0 {
        sink(&[value]);
    }
    let mut block = [0; BLOCK_SAMPLES];
    for (_, samples) in block_runs(count.saturating_sub(1)) {
        blocks::read(reader, samples, &mut block)?;
        let run = &mut block[..samples];
        scale(run, divisor);
        for slot in run.iter_mut() {
            step = step.wrapping_add(*slot);
            value = value.wrapping_add(step);
            *slot = value;
        }
        sink(run);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(values: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(values, &mut IntegerScratch::default(), &mut out);
        let mut reader = Reader::new(&out);
        let mut decoded = Vec::new();
        decode(&mut reader, values[0], values.len(), |run| {
            decoded.extend_from_slice(run)
        })
        .unwrap();
        assert_eq!(decoded, values);
        assert!(reader.rest().is_empty());
        out
    }

    #[test]
    fn regular_columns_take_a_few_bytes_whatever_their_length() {
        for count in [1, 2, 3, 127, 128, 129, 130, 1_000] {
            let values: Vec<i64> = (0..count).map(|index| 7 + index * 1_000).collect();
            assert_eq!(regular_step(&values), Some(if count == 1 { 0 } else { 1_000 }));
            assert!(round_trip(&values).len() <= 3);
        }
    }

    #[test]
    fn a_step_that_changes_anywhere_is_not_regular() {
        for changed in 2..300 {
            let values: Vec<i64> = (0..300)
                .map(|index| index * 5 + i64::from(index >= changed))
                .collect();
            assert_eq!(regular_step(&values), None, "changed at {changed}");
            round_trip(&values);
        }
    }

    #[test]
    fn common_divisors_are_taken_out() {
        let fine: Vec<i64> = (0..512).map(|index| index * index % 77).collect();
        let coarse: Vec<i64> = fine.iter().map(|value| value * 1_000_000).collect();
        assert!(round_trip(&coarse).len() <= round_trip(&fine).len() + 8);
    }

    #[test]
    fn jitter_around_a_grid_costs_its_own_range_only() {
        let values: Vec<i64> = (0..512)
            .map(|index| index * 1_000 + index * 7_919 % 101 - 50)
            .collect();
        assert!(round_trip(&values).len() <= 511 * 7 / 8 + 40);
    }

    #[test]
    fn extremes_wrap() {
        round_trip(&[i64::MIN, i64::MAX]);
        round_trip(&[i64::MIN, 0, i64::MAX]);
        round_trip(&[0, i64::MIN, 0, i64::MIN, i64::MIN]);
        round_trip(&[i64::MAX, i64::MIN, -1, 0, 1]);
    }

    proptest! {
        #[test]
        fn any_column_round_trips(values in prop::collection::vec(any::<i64>(), 1..400)) {
            round_trip(&values);
        }

        #[test]
        fn smooth_columns_round_trip(
            start in any::<i64>(), step in any::<i64>(), unit in 1i64..1_000_000,
            noise in prop::collection::vec(-100i64..100, 1..400),
        ) {
            let values: Vec<i64> = noise.iter().enumerate().map(|(index, noise)| {
                start.wrapping_add(step.wrapping_mul(index as i64)).wrapping_add(noise * unit)
            }).collect();
            round_trip(&values);
        }

        #[test]
        fn hostile_bytes_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300), mode in 0u8..8, count in 1usize..1_000,
        ) {
            let mut hostile = vec![mode];
            hostile.extend(bytes);
            let mut decoded = 0;
            let _ = decode(&mut Reader::new(&hostile), i64::MAX, count, |run| decoded += run.len());
            prop_assert!(decoded <= count);
        }
    }
}
