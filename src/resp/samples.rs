//! Encoding the samples of a series into a reply: timestamps that follow each other share their leading digits, and
//! most values are decimals of at most two places.

use crate::resp::number::F64Buffer;
use crate::resp::{Proto, Reply};

/// Digits of a timestamp that are written anew for each sample.
const LOW_RANGE: i64 = 100_000_000;
/// `*3`, `:` and the leading digits.
const PREFIX_BYTES: usize = 16;
/// Longest text of a value.
pub const VALUE_TEXT_BYTES: usize = 40;
/// Longest text of a sample: an array's head, a timestamp, a value and a quality, and room for writing whole words.
const LINE_BYTES: usize = 96;
/// Text of most samples: making room costs its zeros.
const USUAL_LINE_BYTES: usize = 40;
/// Samples for which room is made at once.
const LINES: usize = 64;
/// Values below are written here if they have at most two decimals; their whole part has eight digits.
const SHORT_MAX: f64 = 1e8;
/// See [`Short::is_small`].
const SMALL_WHOLE_END: u32 = 10_000;
const LINE_END_BYTES: usize = 2;
/// From here on neighbouring doubles are one apart, up to twice as much.
const ROUNDING: f64 = ROUNDING_BITS as f64;
const ROUNDING_BITS: u64 = 1 << 52;
/// Eight times the digit 0.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Of each number of hundredths the decimals and the line end, with their length in the top byte.
const TAILS: [u64; 100] = {
    let mut tails = [0; 100];
    let mut hundredths = 0;
    while hundredths < 100 {
        let (tenths, last) = (b'0' + (hundredths / 10) as u8, b'0' + (hundredths % 10) as u8);
        tails[hundredths] = u64::from_le_bytes(match (tenths, last) {
            (b'0', b'0') => [b'\r', b'\n', 0, 0, 0, 0, 0, 2],
            (_, b'0') => [b'.', tenths, b'\r', b'\n', 0, 0, 0, 4],
            _ => [b'.', tenths, last, b'\r', b'\n', 0, 0, 5],
        });
        hundredths += 1;
    }
    tails
};

/// The same with the default quality behind it, for one write; their length is the lower one and [`NO_QUALITY`]'s.
const LAST_TAILS: [u128; 100] = {
    let mut tails = [0; 100];
    let mut hundredths = 0;
    while hundredths < 100 {
        let tail_bytes = TAILS[hundredths] >> 56;
        let tail = TAILS[hundredths] as u128 & ((1 << (8 * tail_bytes)) - 1);
        tails[hundredths] = tail | (u32::from_le_bytes(NO_QUALITY) as u128) << (8 * tail_bytes);
        hundredths += 1;
    }
    tails
};

/// The default quality.
const NO_QUALITY: [u8; 4] = *b":0\r\n";

/// Of each length of a text the head of its byte string, with its own length in the top byte.
const HEADS: [u64; VALUE_TEXT_BYTES + 1] = {
    let mut heads = [0; VALUE_TEXT_BYTES + 1];
    let mut text_bytes = 0;
    while text_bytes <= VALUE_TEXT_BYTES {
        let (tens, ones) = (b'0' + (text_bytes / 10) as u8, b'0' + (text_bytes % 10) as u8);
        heads[text_bytes] = u64::from_le_bytes(match tens {
            b'0' => [b'$', ones, b'\r', b'\n', 0, 0, 0, 4],
            _ => [b'$', tens, ones, b'\r', b'\n', 0, 0, 5],
        });
        text_bytes += 1;
    }
    heads
};

/// Bytes of a part of a reply that are being written.
type Line = [u8; LINE_BYTES];

#[inline(always)]
fn put<const N: usize>(line: &mut Line, at: usize, bytes: [u8; N]) -> usize {
    line[at..at + N].copy_from_slice(&bytes);
    at + N
}

fn put_text(line: &mut Line, at: usize, text: &[u8]) -> usize {
    line[at..at + text.len()].copy_from_slice(text);
    at + text.len()
}

fn put_integer(line: &mut Line, at: usize, value: impl itoa::Integer) -> usize {
    let at = put_text(line, at, itoa::Buffer::new().format(value).as_bytes());
    put(line, at, *b"\r\n")
}

/// Of each number below 10^4 its four digits, leading zeros included, the first one in the lowest byte.
static FOUR_DIGITS: [u32; 10_000] = {
    let mut digits = [0; 10_000];
    let mut number = 0;
    while number < 10_000 {
        let (thousands, hundreds) = (number / 1_000, number / 100 % 10);
        digits[number] = u32::from_le_bytes([
            thousands as u8,
            hundreds as u8,
            (number / 10 % 10) as u8,
            (number % 10) as u8,
        ]);
        number += 1;
    }
    digits
};

/// The digits of a number below 10^8, leading zeros included, the first one in the lowest byte. Samples that follow each
/// other have few different quarters: what is looked up is in the first cache.
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    let (upper, lower) = ((number / 10_000) as usize, (number % 10_000) as usize);
    let upper = FOUR_DIGITS.get(upper).copied().unwrap_or(0);
    u64::from(upper) | u64::from(FOUR_DIGITS[lower]) << 32
}

/// How values look in RESP2; in RESP3 they are doubles.
#[derive(Clone, Copy)]
pub enum ValueText {
    /// A byte string of the shortest digits that read back the same.
    Bulk,
    /// A simple string. The function writes those that are not zero and below 1, and all that are not short; it returns
    /// the length of the text. Others have to be as in a byte string.
    Simple(fn(f64, &mut [u8; VALUE_TEXT_BYTES]) -> usize),
}

const BULK: u8 = b'$';
const SIMPLE: u8 = b'+';
const DOUBLE: u8 = b',';

/// Writes samples one after the other as arrays of a timestamp, a value and, if asked for, a quality.
pub struct SampleWriter {
    text: ValueText,
    with_quality: bool,
    /// The first timestamp with the leading digits that `prefix` ends with; negative = none yet.
    base: i64,
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
}

impl SampleWriter {
    /// A writer for one reply, or a part of one.
    pub fn new(text: ValueText, with_quality: bool) -> SampleWriter {
        SampleWriter {
            text,
            with_quality,
            base: -LOW_RANGE,
            prefix: [0; PREFIX_BYTES],
            prefix_bytes: 0,
        }
    }

    /// Appends samples given as columns of the same length, the last one first if `reverse`; without `qualities` all of
    /// them are 0.
    pub fn write(
        &mut self,
        reply: &mut Reply,
        timestamps: &[i64],
        values: &[f64],
        qualities: Option<&[u8]>,
        reverse: bool,
    ) {
        match (reply.proto(), self.text) {
            (Proto::Resp3, _) => self.run::<DOUBLE>(reply, timestamps, values, qualities, reverse),
            (_, ValueText::Bulk) => self.run::<BULK>(reply, timestamps, values, qualities, reverse),
            (_, ValueText::Simple(_)) => self.run::<SIMPLE>(reply, timestamps, values, qualities, reverse),
        }
    }

    fn run<const KIND: u8>(
        &mut self,
        reply: &mut Reply,
        timestamps: &[i64],
        values: &[f64],
        qualities: Option<&[u8]>,
        reverse: bool,
    ) {
        let count = timestamps.len().min(values.len());
        let (timestamps, values) = (&timestamps[..count], &values[..count]);
        let mut written = 0;
        while written < count {
            let room_bytes = LINE_BYTES + USUAL_LINE_BYTES * LINES.min(count - written - 1);
            reply.fill(room_bytes, |room| {
                let mut at = 0;
                while written < count
                    && let Some(line) = room.get_mut(at..).and_then(<[u8]>::first_chunk_mut)
                {
                    let index = if reverse { count - 1 - written } else { written };
                    let quality = qualities.and_then(|qualities| qualities.get(index));
                    at += self.line::<KIND>(
                        line,
                        timestamps[index],
                        values[index],
                        quality.copied().unwrap_or(0),
                    );
                    written += 1;
                }
                at
            });
        }
    }

    /// Writes one sample; returns its length.
    #[inline(always)]
    fn line<const KIND: u8>(&mut self, line: &mut Line, timestamp: i64, value: f64, quality: u8) -> usize {
        let mut at = self.timestamp(line, timestamp);
        at = match Short::of(value) {
            Some(short) if KIND != SIMPLE || short.whole > 0 || value == 0.0 => {
                if self.with_quality && quality == 0 && short.is_small() {
                    let at = short.write_small::<KIND>(line, at);
                    put(line, at, LAST_TAILS[short.hundredths].to_le_bytes());
                    return at + short.tail_bytes() + NO_QUALITY.len();
                }
                short.write::<KIND>(line, at)
            }
            _ => self.value::<KIND>(line, at, value),
        };
        if self.with_quality {
            at = if quality == 0 {
                put(line, at, NO_QUALITY)
            } else {
                quality_text(line, at, quality)
            };
        }
        at
    }

    #[inline(always)]
    fn timestamp(&mut self, line: &mut Line, timestamp: i64) -> usize {
        if timestamp < LOW_RANGE {
            return self.early_timestamp(line, timestamp);
        }
        if timestamp.wrapping_sub(self.base) as u64 >= LOW_RANGE as u64 {
            self.set_high(timestamp / LOW_RANGE);
        }
        let low = (timestamp - self.base) as u32;
        // All of it, as that costs less than just what is needed; the rest is written over.
        put(line, 0, self.prefix);
        let at = self.prefix_bytes.min(PREFIX_BYTES);
        let at = put(line, at, (eight_digits(low) | ZEROS).to_le_bytes());
        put(line, at, *b"\r\n")
    }

    fn head(&self) -> [u8; 5] {
        if self.with_quality {
            *b"*3\r\n:"
        } else {
            *b"*2\r\n:"
        }
    }

    #[cold]
    fn early_timestamp(&self, line: &mut Line, timestamp: i64) -> usize {
        let at = put(line, 0, self.head());
        put_integer(line, at, timestamp)
    }

    fn set_high(&mut self, high: i64) {
        let head = self.head();
        self.base = high * LOW_RANGE;
        if high < LOW_RANGE {
            // As one number: bytes written one by one would have to be gathered again by whoever reads all of them.
            let skipped = (7 - high.ilog10()) * 8;
            let digits = u128::from((eight_digits(high as u32) | ZEROS) >> skipped);
            let [a, b, c, d, e] = head;
            let head_number = u128::from(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]));
            self.prefix = (head_number | digits << (8 * head.len())).to_le_bytes();
            self.prefix_bytes = head.len() + 8 - skipped as usize / 8;
            return;
        }
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(high).as_bytes();
        self.prefix_bytes = head.len() + digits.len();
        self.prefix[..head.len()].copy_from_slice(&head);
        self.prefix[head.len()..self.prefix_bytes].copy_from_slice(digits);
    }

    /// Writes any value.
    fn value<const KIND: u8>(&self, line: &mut Line, at: usize, value: f64) -> usize {
        let at = match self.text {
            ValueText::Simple(write) if KIND == SIMPLE => {
                let mut text = [0; VALUE_TEXT_BYTES];
                let text_bytes = write(value, &mut text).min(VALUE_TEXT_BYTES);
                let at = put(line, at, [SIMPLE]);
                put_text(line, at, &text[..text_bytes])
            }
            _ => {
                let mut buffer = F64Buffer::new();
                let text = buffer.format(value).as_bytes();
                let at = value_head::<KIND>(line, at, text.len());
                put_text(line, at, text)
            }
        };
        put(line, at, *b"\r\n")
    }
}

#[inline(always)]
fn value_head<const KIND: u8>(line: &mut Line, at: usize, text_bytes: usize) -> usize {
    if KIND != BULK {
        return put(line, at, [KIND]);
    }
    let head = HEADS[text_bytes];
    put(line, at, head.to_le_bytes());
    at + (head >> 56) as usize
}

fn quality_text(line: &mut Line, at: usize, quality: u8) -> usize {
    let at = put(line, at, *b":");
    put_integer(line, at, quality)
}

/// A value with at most two decimals. With up to 15 digits a decimal is the shortest text of the double that it is read
/// as: no other one as short is read as the same.
struct Short {
    is_negative: bool,
    whole: u32,
    hundredths: usize,
}

impl Short {
    /// `None` for all other values.
    #[inline(always)]
    fn of(value: f64) -> Option<Short> {
        let magnitude = value.abs();
        // Of the sum, the lowest bits are the nearest whole number.
        let shifted = magnitude * 100.0 + ROUNDING;
        // The division is rounded correctly, as reading is: what agrees is what the text is read as. NaN never does.
        if (shifted - ROUNDING) / 100.0 != magnitude || magnitude >= SHORT_MAX {
            return None;
        }
        let number = shifted.to_bits() & (ROUNDING_BITS - 1);
        Some(Short {
            is_negative: value.is_sign_negative(),
            whole: (number / 100) as u32,
            hundredths: (number % 100) as usize,
        })
    }

    /// Whether there is a shorter way to write it: most values have four digits at most before the point, and no sign.
    #[inline(always)]
    fn is_small(&self) -> bool {
        self.whole < SMALL_WHOLE_END && !self.is_negative
    }

    /// Bytes from the decimal point on, with the line end.
    #[inline(always)]
    fn tail_bytes(&self) -> usize {
        (TAILS[self.hundredths] >> 56) as usize
    }

    /// Writes a small value up to its decimal point; at most eight bytes.
    #[inline(always)]
    fn write_small<const KIND: u8>(&self, line: &mut Line, at: usize) -> usize {
        let digits = FOUR_DIGITS.get(self.whole as usize).copied().unwrap_or(0);
        let leading_zeros = (digits.trailing_zeros() / 8).min(3);
        let whole_bytes = 4 - leading_zeros as usize;
        let digits = u64::from((digits | ZEROS as u32) >> (8 * leading_zeros));
        if KIND != BULK {
            put(line, at, (u64::from(KIND) | digits << 8).to_le_bytes());
            return at + 1 + whole_bytes;
        }
        let text_bytes = (whole_bytes + self.tail_bytes() - LINE_END_BYTES) as u32;
        let head = u32::from_le_bytes(*b"$0\r\n") + (text_bytes << 8);
        put(line, at, (u64::from(head) | digits << 32).to_le_bytes());
        at + 4 + whole_bytes
    }

    /// Writes the value with what is around it.
    #[inline(always)]
    fn write<const KIND: u8>(&self, line: &mut Line, at: usize) -> usize {
        if self.is_small() {
            let at = self.write_small::<KIND>(line, at);
            put(line, at, TAILS[self.hundredths].to_le_bytes());
            return at + self.tail_bytes();
        }
        let digits = eight_digits(self.whole);
        // At least one digit stays.
        let leading_zeros = (digits.trailing_zeros() / 8).min(7) as usize;
        let tail = TAILS[self.hundredths];
        let tail_bytes = self.tail_bytes();
        let whole_bytes = usize::from(self.is_negative) + 8 - leading_zeros;
        let at = value_head::<KIND>(line, at, whole_bytes + tail_bytes - LINE_END_BYTES);
        put(line, at, *b"-");
        put(
            line,
            at + usize::from(self.is_negative),
            ((digits | ZEROS) >> (8 * leading_zeros)).to_le_bytes(),
        );
        put(line, at + whole_bytes, tail.to_le_bytes());
        at + whole_bytes + tail_bytes
    }
}

#[cfg(test)]
#[path = "samples_tests.rs"]
mod tests;
