//! Values that are decimals with few digits, stored as integers (the idea of ALP, SIGMOD 2024).
//!
//! `value = integer / 10^exponent`, which is how a decimal literal is parsed, so any decimal of up to 15
//! digits comes back bit for bit. Values that do not, -0.0, infinities and NaN among them, are stored raw
//! beside.

use crate::series::codec::bits::{Reader, put_signed, put_varint};
use crate::series::codec::integers::{self, IntegerScratch};
use crate::series::error::ChunkError;
use crate::series::summary::ValueSummary;

/// 10^18 < 2^63; larger exponents have no exact integer to multiply with.
const EXPONENT_MAX: usize = 18;
const POWERS: [f64; EXPONENT_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
];
/// 1.5 · 2^52: adding it rounds to an integer and leaves that integer in the low mantissa bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// Up to 2^51 the trick above is exact.
const MAGNITUDE_MAX: f64 = 2_251_799_813_685_248.0;
/// Values looked at to find the exponent.
const PROBES: usize = 32;
/// What one exception costs: its raw bits and its position.
const EXCEPTION_BITS: f64 = 72.0;
/// Bits that one more decimal digit adds to every value: log2(10).
const DIGIT_BITS: f64 = 3.32;
/// With more exceptions than one value in this many, decimals are given up.
const EXCEPTION_SHARE: usize = 8;

const EXPONENT_MASK: u8 = 0x1F;
const FLAG_EXCEPTIONS: u8 = 0x20;
const FLAG_EXTENT: u8 = 0x40;

/// Buffers that live from chunk to chunk.
#[derive(Debug, Default)]
pub struct DecimalScratch {
    /// The scaled values; an exception repeats the one before it.
    pub integers: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
}

/// What [`scale`] found.
#[derive(Clone, Copy, Debug)]
pub struct Scaled {
    exponent: usize,
}

#[inline]
fn to_integer(value: f64, power: f64) -> (i64, bool) {
    let product = value * power;
    let rounded = product + ROUNDER;
    let integer = rounded.to_bits().wrapping_sub(ROUNDER.to_bits()) as i64;
    let back = (rounded - ROUNDER) / power;
    (
        integer,
        (product.abs() <= MAGNITUDE_MAX) & (back.to_bits() == value.to_bits()),
    )
}

/// Scales all values to integers in `scratch`; None if they are not decimals.
pub fn scale(values: &[f64], scratch: &mut DecimalScratch) -> Option<Scaled> {
    let exponent = probe_exponent(values)?;
    let power = POWERS[exponent];
    let DecimalScratch { integers, exceptions } = scratch;
    exceptions.clear();
    integers.clear();
    let mut misfits = 0u64;
    integers.extend(values.iter().map(|&value| {
        let (integer, fits) = to_integer(value, power);
        misfits += u64::from(!fits);
        integer
    }));
    if misfits == 0 {
        return Some(Scaled { exponent });
    }
    if misfits as usize > values.len() / EXCEPTION_SHARE {
        return None;
    }
    let fits = |value: &f64| to_integer(*value, power).1;
    let mut previous = values
        .iter()
        .find(|value| fits(value))
        .map_or(0, |value| to_integer(*value, power).0);
    for (position, value) in values.iter().enumerate() {
        if fits(value) {
            previous = integers[position];
        } else {
            integers[position] = previous;
            exceptions.push((position, value.to_bits()));
        }
    }
    Some(Scaled { exponent })
}

/// The exponent that is cheapest for a few values spread over the run.
fn probe_exponent(values: &[f64]) -> Option<usize> {
    let stride = values.len().div_ceil(PROBES);
    let probes = values.len().div_ceil(stride);
    let mut fitting = [0usize; EXPONENT_MAX + 1];
    let mut lowest = 0;
    for &value in values.iter().step_by(stride) {
        // Most values of a series have as many digits as the one before.
        if to_integer(value, POWERS[lowest]).1 && (lowest == 0 || !to_integer(value, POWERS[lowest - 1]).1) {
            fitting[lowest] += 1;
            continue;
        }
        let found = (0..=EXPONENT_MAX).find(|&exponent| to_integer(value, POWERS[exponent]).1);
        if let Some(exponent) = found {
            fitting[exponent] += 1;
            lowest = exponent;
        }
    }
    let (mut best, mut best_bits, mut covered) = (0, f64::INFINITY, 0);
    for (exponent, &count) in fitting.iter().enumerate() {
        covered += count;
        let missed = (probes - covered) as f64 / probes as f64;
        let bits = missed * EXCEPTION_BITS + exponent as f64 * DIGIT_BITS;
        if count > 0 && bits < best_bits {
            (best, best_bits) = (exponent, bits);
        }
    }
    (best_bits < 64.0).then_some(best)
}

/// Appends the column that [`scale`] prepared. With `extent` and no exceptions the summary goes in as
/// integers.
pub fn encode(
    scaled: Scaled,
    scratch: &DecimalScratch,
    integer_scratch: &mut IntegerScratch,
    with_extent: bool,
    out: &mut Vec<u8>,
) {
    encode_head(scaled, scratch, with_extent, out);
    integers::encode(&scratch.integers, integer_scratch, out);
}

/// Appends everything but the integer column.
pub fn encode_head(scaled: Scaled, scratch: &DecimalScratch, with_extent: bool, out: &mut Vec<u8>) {
    let DecimalScratch { integers, exceptions } = scratch;
    let extent = if with_extent && exceptions.is_empty() {
        IntegerExtent::of(integers)
    } else {
        None
    };
    let exceptions_flag = if exceptions.is_empty() { 0 } else { FLAG_EXCEPTIONS };
    out.push(scaled.exponent as u8 | exceptions_flag | if extent.is_some() { FLAG_EXTENT } else { 0 });
    put_signed(out, integers[0]);
    if let Some(extent) = extent {
        extent.write(out);
    }
    if !exceptions.is_empty() {
        put_varint(out, exceptions.len() as u64);
        let mut next = 0;
        for &(position, bits) in exceptions {
            put_varint(out, (position - next) as u64);
            out.extend_from_slice(&bits.to_le_bytes());
            next = position + 1;
        }
    }
}

/// Whether the column that [`encode`] wrote holds its summary.
pub fn has_extent(column: &[u8]) -> bool {
    column.first().is_some_and(|flags| flags & FLAG_EXTENT != 0)
}

/// The summary of a column without exceptions, relative to its first integer.
struct IntegerExtent {
    last: i64,
    below: u64,
    above: u64,
    sum: i64,
}

impl IntegerExtent {
    /// None if the sum does not fit.
    fn of(integers: &[i64]) -> Option<Self> {
        /// Differences stay below 2^53, so this many of them cannot overflow an `i64`.
        const EXACT_RUN: usize = 1_024;
        let first = integers[0];
        let (mut low, mut high, mut total) = (i64::MAX, i64::MIN, 0i128);
        for run in integers.chunks(EXACT_RUN) {
            let mut sum = 0i64;
            for &integer in run {
                low = low.min(integer);
                high = high.max(integer);
                sum += integer - first;
            }
            total += i128::from(sum);
        }
        let sum = i64::try_from(total).ok()?;
        let last = integers[integers.len() - 1] - first;
        Some(IntegerExtent {
            last,
            below: (first - low) as u64,
            above: (high - first) as u64,
            sum,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_signed(out, self.last);
        put_varint(out, self.below);
        put_varint(out, self.above);
        put_signed(out, self.sum);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, ChunkError> {
        let last = reader.signed()?;
        Ok(IntegerExtent {
            last,
            below: reader.varint()?,
            above: reader.varint()?,
            sum: reader.signed()?,
        })
    }

    fn summary(&self, first: i64, count: usize, power: f64) -> ValueSummary {
        let value = |integer: i64| integer as f64 / power;
        let sum = i128::from(first) * count as i128 + i128::from(self.sum);
        ValueSummary {
            counted: count,
            first: value(first),
            last: value(first.wrapping_add(self.last)),
            min: value(first.wrapping_sub(self.below as i64)),
            max: value(first.wrapping_add(self.above as i64)),
            sum: sum as f64 / power,
        }
    }
}

/// What stands before the integer column.
pub struct Head<'a> {
    power: f64,
    /// The first integer of the column.
    pub first: i64,
    extent: Option<IntegerExtent>,
    exceptions: Reader<'a>,
    exceptions_count: usize,
}

impl<'a> Head<'a> {
    pub fn read(reader: &mut Reader<'a>, count: usize) -> Result<Self, ChunkError> {
        let flags = reader.byte()?;
        let power = POWERS.get(usize::from(flags & EXPONENT_MASK));
        let power = *power.ok_or(ChunkError::Corrupt("decimal exponent above 18"))?;
        let first = reader.signed()?;
        let extent = if flags & FLAG_EXTENT == 0 {
            None
        } else {
            Some(IntegerExtent::read(reader)?)
        };
        let mut head = Head {
            power,
            first,
            extent,
            exceptions: Reader::new(&[]),
            exceptions_count: 0,
        };
        if flags & FLAG_EXCEPTIONS != 0 {
            head.exceptions_count = reader.count(count)?;
            head.exceptions = Reader::new(reader.rest());
            for _ in 0..head.exceptions_count {
                reader.varint()?;
                reader.word()?;
            }
        }
        Ok(head)
    }

    /// The summary, if it was stored.
    pub fn summary(&self, count: usize) -> Option<ValueSummary> {
        self.extent
            .as_ref()
            .map(|extent| extent.summary(self.first, count, self.power))
    }

    /// Appends the values of `integers`.
    #[inline]
    pub fn extend(&self, integers: &[i64], out: &mut Vec<f64>) {
        let power = self.power;
        let value =
            |&integer: &i64| f64::from_bits((integer as u64).wrapping_add(ROUNDER.to_bits())) - ROUNDER;
        if power == 1.0 {
            out.extend(integers.iter().map(value));
        } else {
            out.extend(integers.iter().map(|integer| value(integer) / power));
        }
    }

    /// Puts the exceptions in their places in the decoded column.
    pub fn patch(mut self, values: &mut [f64]) -> Result<(), ChunkError> {
        let mut next = 0;
        for _ in 0..self.exceptions_count {
            let position = next + self.exceptions.count(values.len())?;
            let bits = self.exceptions.word()?;
            let value = values
                .get_mut(position)
                .ok_or(ChunkError::Corrupt("exception outside the column"))?;
            *value = f64::from_bits(bits);
            next = position + 1;
        }
        Ok(())
    }
}

/// Appends `count` values to `out`.
pub fn decode(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), ChunkError> {
    let start = out.len();
    let head = Head::read(reader, count)?;
    integers::decode(reader, head.first, count, |integers| head.extend(integers, out))?;
    head.patch(&mut out[start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of the column, or None if the values are not decimals.
    fn round_trip(values: &[f64]) -> Option<Vec<u8>> {
        let mut scratch = DecimalScratch::default();
        let scaled = scale(values, &mut scratch)?;
        let mut out = Vec::new();
        encode(scaled, &scratch, &mut IntegerScratch::default(), true, &mut out);
        let mut decoded = Vec::new();
        let mut reader = Reader::new(&out);
        decode(&mut reader, values.len(), &mut decoded).unwrap();
        assert!(reader.rest().is_empty());
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&decoded), bits(values));
        Some(out)
    }

    #[test]
    fn prices_take_few_bytes() {
        let values: Vec<f64> = (0..512)
            .map(|index| f64::from(10_050 + index * 7 % 5) / 100.0)
            .collect();
        assert!(round_trip(&values).unwrap().len() < 512 * 3 / 8 + 40);
    }

    #[test]
    fn what_is_no_decimal_is_an_exception() {
        let mut values: Vec<f64> = (0..512).map(|index| f64::from(index) / 10.0).collect();
        values[0] = -0.0;
        values[100] = f64::from_bits(0x7FF8_0000_DEAD_BEEF);
        values[101] = f64::INFINITY;
        values[511] = 5e-324;
        assert!(round_trip(&values).unwrap().len() < 150);
    }

    #[test]
    fn true_doubles_are_refused() {
        let values: Vec<f64> = (1..512).map(|index| f64::from(index).sqrt()).collect();
        assert!(round_trip(&values).is_none());
        assert!(round_trip(&[f64::NAN]).is_none());
    }

    #[test]
    fn limits_of_exactness() {
        for value in [
            MAGNITUDE_MAX,
            -MAGNITUDE_MAX,
            MAGNITUDE_MAX - 1.0,
            0.5,
            1e-18,
            123_456_789_012_345.6,
        ] {
            assert!(round_trip(&[value, value]).is_some(), "{value}");
        }
        assert!(round_trip(&[MAGNITUDE_MAX * 4.0]).is_none());
    }

    #[test]
    fn one_long_decimal_does_not_stretch_the_rest() {
        let mut values: Vec<f64> = (0..512).map(|index| f64::from(index % 9) / 100.0).collect();
        values[16] = 0.123_456_789;
        assert!(round_trip(&values).unwrap().len() < 512 * 4 / 8 + 60);
    }

    proptest! {
        #[test]
        fn decimals_round_trip(
            integers in prop::collection::vec(-1_000_000_000_000i64..1_000_000_000_000, 1..300),
            digits in 0usize..4,
        ) {
            let values: Vec<f64> = integers.iter().map(|&integer| integer as f64 / POWERS[digits]).collect();
            prop_assert!(round_trip(&values).is_some());
        }

        #[test]
        fn mixtures_round_trip(
            values in prop::collection::vec(prop_oneof![
                9 => (-5_000i32..5_000).prop_map(|cents| f64::from(cents) / 100.0),
                1 => any::<u64>().prop_map(f64::from_bits),
            ], 1..300),
        ) {
            round_trip(&values);
        }
    }
}
