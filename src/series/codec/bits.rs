//! Varints, zigzag integers and bit packing in groups of eight values.

use crate::series::error::ChunkError;

/// Values packed together: eight values of `width` bits fill exactly `width` bytes.
pub const GROUP_SAMPLES: usize = 8;
/// Values that share one base and one width.
pub const BLOCK_SAMPLES: usize = 128;
/// Packed bytes of the widest block.
const BLOCK_PACKED_BYTES_MAX: usize = BLOCK_SAMPLES * 8;
/// Bytes that unpacking may read, and packing may write, behind the last packed byte.
const SLACK_BYTES: usize = 8;
const VARINT_BYTES_MAX: usize = 10;

/// Maps small magnitudes of either sign to small unsigned integers.
#[inline]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Bits needed to write `value`; 0 for 0.
#[inline]
pub fn bit_len(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Bytes that [`put_varint`] writes for `value`.
#[inline]
pub fn varint_bytes(value: u64) -> usize {
    (bit_len(value | 1) as usize).div_ceil(7)
}

/// Appends `value` in LEB128.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the length of `bytes`, then themselves.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a signed `value` in zigzag LEB128.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// A cursor over encoded bytes; every read past the end is [`ChunkError::Truncated`].
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// The bytes not yet read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn byte(&mut self) -> Result<u8, ChunkError> {
        let (&first, rest) = self.bytes.split_first().ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], ChunkError> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    /// The next eight bytes as a little-endian integer.
    #[inline]
    pub fn word(&mut self) -> Result<u64, ChunkError> {
        let (head, rest) = self.bytes.split_first_chunk::<8>().ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*head))
    }

    #[inline]
    pub fn varint(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                if index + 1 == VARINT_BYTES_MAX && byte > 1 {
                    return Err(ChunkError::Corrupt("varint exceeds 64 bits"));
                }
                return Ok(value);
            }
        }
        Err(ChunkError::Corrupt("varint longer than 10 bytes"))
    }

    /// Bytes that [`put_bytes`] has written.
    pub fn bytes(&mut self) -> Result<&'a [u8], ChunkError> {
        let len = usize::try_from(self.varint()?).map_err(|_| ChunkError::Truncated)?;
        self.take(len)
    }

    #[inline]
    pub fn signed(&mut self) -> Result<i64, ChunkError> {
        self.varint().map(unzigzag)
    }

    /// A varint that is a count or length of at most `max`.
    #[inline]
    pub fn count(&mut self, max: usize) -> Result<usize, ChunkError> {
        let value = self.varint()?;
        if value > max as u64 {
            return Err(ChunkError::Corrupt("count exceeds its limit"));
        }
        Ok(value as usize)
    }
}

/// Bytes of `samples` packed values of `width` bits.
#[inline]
pub fn packed_bytes(samples: usize, width: u32) -> usize {
    samples.div_ceil(GROUP_SAMPLES) * width as usize
}

const fn mask(width: usize) -> u64 {
    if width == 64 { u64::MAX } else { (1 << width) - 1 }
}

/// `out` must reach at least `SLACK_BYTES` behind the packed bytes; `values` are whole groups.
fn pack_groups<const WIDTH: usize>(values: &[u64], out: &mut [u8]) {
    let words_used = WIDTH.div_ceil(8);
    for (index, group) in values.chunks_exact(GROUP_SAMPLES).enumerate() {
        let mut words = [0u64; 9];
        for (position, value) in group.iter().enumerate() {
            let value = value & mask(WIDTH);
            let bit = position * WIDTH;
            words[bit / 64] |= value << (bit % 64);
            if bit % 64 + WIDTH > 64 {
                words[bit / 64 + 1] |= value >> (64 - bit % 64);
            }
        }
        let target = &mut out[index * WIDTH..][..words_used * 8];
        for (bytes, word) in target.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Adds `base` to every value. `input` must reach `SLACK_BYTES` behind the packed bytes.
fn unpack_groups<const WIDTH: usize>(input: &[u8], base: i64, out: &mut [i64]) {
    for (index, group) in out.chunks_exact_mut(GROUP_SAMPLES).enumerate() {
        let source = &input[index * WIDTH..][..WIDTH + SLACK_BYTES];
        for (position, value) in group.iter_mut().enumerate() {
            let (byte, shift) = (position * WIDTH / 8, position * WIDTH % 8);
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(&source[byte..byte + 8]);
            let mut bits = u64::from_le_bytes(bytes) >> shift;
            if shift + WIDTH > 64 {
                bits |= u64::from(source[byte + 8]) << (64 - shift);
            }
            *value = base.wrapping_add((bits & mask(WIDTH)) as i64);
        }
    }
}

macro_rules! for_each_width {
    ($kernel:ident) => {
        for_each_width!($kernel, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26
            27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57
            58 59 60 61 62 63 64)
    };
    ($kernel:ident, $($width:literal)+) => { [$($kernel::<$width>),+] };
}

type Pack = fn(&[u64], &mut [u8]);
type Unpack = fn(&[u8], i64, &mut [i64]);
static PACK: [Pack; 65] = for_each_width!(pack_groups);
static UNPACK: [Unpack; 65] = for_each_width!(unpack_groups);

/// Appends the low `width` bits of the first `samples` values; what pads the last group is arbitrary.
pub fn pack_block(values: &[u64; BLOCK_SAMPLES], samples: usize, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let start = out.len();
    let packed = packed_bytes(samples, width);
    out.resize(start + packed + SLACK_BYTES, 0);
    let padded = samples.next_multiple_of(GROUP_SAMPLES);
    PACK[width as usize](&values[..padded], &mut out[start..]);
    out.truncate(start + packed);
}

/// Reads `samples` values of `width` bits, each plus `base`; writes whole groups into `out`.
#[inline]
pub fn unpack_block(
    reader: &mut Reader<'_>,
    samples: usize,
    width: u32,
    base: i64,
    out: &mut [i64; BLOCK_SAMPLES],
) -> Result<(), ChunkError> {
    let kernel = UNPACK
        .get(width as usize)
        .ok_or(ChunkError::Corrupt("bit width above 64"))?;
    let padded = samples.next_multiple_of(GROUP_SAMPLES);
    let target = out
        .get_mut(..padded)
        .ok_or(ChunkError::Corrupt("block too long"))?;
    if width == 0 {
        target.fill(base);
        return Ok(());
    }
    let ahead = reader.rest();
    let packed = reader.take(packed_bytes(samples, width))?;
    if ahead.len() >= packed.len() + SLACK_BYTES {
        kernel(ahead, base, target);
    } else {
        let mut padded_input = [0u8; BLOCK_PACKED_BYTES_MAX + SLACK_BYTES];
        padded_input[..packed.len()].copy_from_slice(packed);
        kernel(&padded_input, base, target);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varint_extremes() {
        for value in [0, 1, 127, 128, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_bytes(value));
            assert_eq!(Reader::new(&out).varint().unwrap(), value);
            assert_eq!(
                Reader::new(&out[..out.len() - 1]).varint(),
                Err(ChunkError::Truncated)
            );
        }
        assert!(matches!(
            Reader::new(&[0xFF; 11]).varint(),
            Err(ChunkError::Corrupt(_))
        ));
        let overflow = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2];
        assert!(matches!(
            Reader::new(&overflow).varint(),
            Err(ChunkError::Corrupt(_))
        ));
    }

    #[test]
    fn zigzag_extremes() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!((zigzag(-1), zigzag(1)), (1, 2));
    }

    #[test]
    fn eight_values_fill_width_bytes() {
        let mut out = Vec::new();
        pack_block(&[5; BLOCK_SAMPLES], 9, 3, &mut out);
        assert_eq!(out.len(), 6);
    }

    #[test]
    fn too_short_input_is_truncated() {
        let mut block = [0; BLOCK_SAMPLES];
        let result = unpack_block(&mut Reader::new(&[0; 9]), 128, 7, 0, &mut block);
        assert_eq!(result, Err(ChunkError::Truncated));
    }

    proptest! {
        #[test]
        fn every_width_round_trips(
            values in prop::collection::vec(any::<u64>(), 1..=BLOCK_SAMPLES),
            width in 0u32..=64,
            base in any::<i64>(),
            tail in 0usize..12,
        ) {
            let mut block = [0u64; BLOCK_SAMPLES];
            block[..values.len()].copy_from_slice(&values);
            let mut out = vec![0xAA];
            pack_block(&block, values.len(), width, &mut out);
            prop_assert_eq!(out.len(), 1 + packed_bytes(values.len(), width));
            out.extend(std::iter::repeat_n(0xFF, tail));
            let mut reader = Reader::new(&out[1..]);
            let mut unpacked = [0i64; BLOCK_SAMPLES];
            unpack_block(&mut reader, values.len(), width, base, &mut unpacked).unwrap();
            prop_assert_eq!(reader.rest().len(), tail);
            for (value, got) in values.iter().zip(unpacked) {
                prop_assert_eq!(base.wrapping_add((value & mask(width as usize)) as i64), got);
            }
        }
    }
}
