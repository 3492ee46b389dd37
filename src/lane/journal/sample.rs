//! A sample in the journal: a tag that says how long each part is, then the parts without their leading zero bytes.
//!
//! The lengths of numbers and distances differ from sample to sample, in no order that the processor could guess: so
//! nothing here branches on them. Each is stored as a whole word, and the next part begins inside it.
//!
//! Source of the idea: Lemire, Kurz, Rupp, "Stream VByte", 2017.

/// Longest sample: the tag, a series' number, a distance in time, a value, the quality.
pub const SAMPLE_MAX_BYTES: usize = 1 + 3 * WORD_BYTES + 1;
const WORD_BYTES: usize = 8;

/// Tags of samples have this bit, numbers of other operations do not.
pub const SAMPLE_TAG: u8 = 0x80;
/// The quality is not 0 and comes last.
const HAS_QUALITY: u8 = 0x40;
/// The value is a double, not a decimal.
const IS_DOUBLE: u8 = 0x20;
/// Bytes of the distance, less one.
const DISTANCE_SHIFT: u32 = 2;
const DISTANCE_MASK: u8 = 7;
/// Binary logarithm of the bytes of the series' number.
const SERIES_MASK: u8 = 3;

const DECIMAL_BYTES: usize = 4;
/// Decimal values are stored as that many parts of one: up to four decimals, up to 214,748.3647.
const DECIMAL_PARTS: f64 = 10_000.0;

/// A sample as it is in a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleRecord {
    pub series_id: u64,
    /// Time units since the sample before it in the record, wrapping.
    pub distance: i64,
    pub value: f64,
    pub quality: u8,
}

impl SampleRecord {
    /// Writes it and returns its length. What is behind it is of no meaning.
    #[inline(always)]
    pub fn write(&self, out: &mut [u8; SAMPLE_MAX_BYTES]) -> usize {
        let id = self.series_id;
        let id_class =
            u8::from(id > 0xff) + u8::from(id > u64::from(u16::MAX)) + u8::from(id > u64::from(u32::MAX));
        let distance = zigzag(self.distance);
        let distance_more = ((63 - (distance | 1).leading_zeros()) / 8) as u8;
        let has_quality = self.quality != 0;
        let quality_flag = u8::from(has_quality) * HAS_QUALITY;
        out[0] = SAMPLE_TAG | quality_flag | (distance_more << DISTANCE_SHIFT) | id_class;
        let mut at = 1;
        put_word(out, at, id);
        at += 1 << id_class;
        put_word(out, at, distance);
        at += 1 + usize::from(distance_more);
        at += match decimal_of(self.value) {
            Some(decimal) => put_decimal(out, at, decimal),
            None => put_double(out, at, self.value),
        };
        out[at] = self.quality;
        at + usize::from(has_quality)
    }

    /// Reads one that begins with its tag, and tells its length. It may be longer than what was written of it.
    #[inline(always)]
    pub fn read(bytes: &[u8; SAMPLE_MAX_BYTES]) -> (SampleRecord, usize) {
        let tag = bytes[0];
        let mut at = 1;
        let mut take = |len: usize| {
            let word = word_at(bytes, at) & (u64::MAX >> (64 - 8 * len));
            at += len;
            word
        };
        let series_id = take(1 << (tag & SERIES_MASK));
        let distance = unzigzag(take(1 + usize::from((tag >> DISTANCE_SHIFT) & DISTANCE_MASK)));
        let value = match tag & IS_DOUBLE {
            0 => decimal_value(take(DECIMAL_BYTES) as u32 as i32),
            _ => f64::from_bits(take(WORD_BYTES)),
        };
        let has_quality = tag & HAS_QUALITY != 0;
        let quality = if has_quality { bytes[at] } else { 0 };
        let sample = SampleRecord {
            series_id,
            distance,
            value,
            quality,
        };
        (sample, at + usize::from(has_quality))
    }
}

#[inline(always)]
fn put_word(out: &mut [u8; SAMPLE_MAX_BYTES], at: usize, word: u64) {
    out[at..at + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
}

#[inline(always)]
fn put_decimal(out: &mut [u8; SAMPLE_MAX_BYTES], at: usize, decimal: i32) -> usize {
    out[at..at + DECIMAL_BYTES].copy_from_slice(&decimal.to_le_bytes());
    DECIMAL_BYTES
}

/// Apart, so that there is a branch here: which values are decimals takes long to compute and is easy to guess, and where
/// the next sample begins must not wait for it.
#[inline(never)]
fn put_double(out: &mut [u8; SAMPLE_MAX_BYTES], at: usize, value: f64) -> usize {
    out[0] |= IS_DOUBLE;
    put_word(out, at, value.to_bits());
    WORD_BYTES
}

#[inline(always)]
fn word_at(bytes: &[u8; SAMPLE_MAX_BYTES], at: usize) -> u64 {
    let word = bytes[at..].first_chunk();
    u64::from_le_bytes(*word.expect("invariant: no part begins later than a word before the end"))
}

/// The value as a number of [`DECIMAL_PARTS`], if that gives back every bit of it. Most values that people measure are
/// such, and half as long: what a sample costs is, for the most part, how often its bytes are copied.
#[inline(always)]
fn decimal_of(value: f64) -> Option<i32> {
    let decimal = (value * DECIMAL_PARTS).round_ties_even() as i32;
    (decimal_value(decimal).to_bits() == value.to_bits()).then_some(decimal)
}

#[inline(always)]
pub fn decimal_value(decimal: i32) -> f64 {
    f64::from(decimal) / DECIMAL_PARTS
}

/// Small numbers of either sign as small numbers.
#[inline(always)]
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The number that [`zigzag`] was given.
#[inline(always)]
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
