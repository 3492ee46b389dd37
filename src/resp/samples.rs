//! Encoding the samples of a series into a reply: timestamps that follow each other share their leading digits, and
//! most values are decimals of two places.

use crate::resp::number::F64Buffer;
use crate::resp::{Proto, Reply};

/// Digits of a timestamp that are written anew for each sample.
const LOW_DIGITS: usize = 4;
const LOW_RANGE: i64 = 10_000;
/// `*3`, `:` and the leading digits.
const PREFIX_BYTES: usize = 32;
/// Longest text of a value, with its length and line ends.
const VALUE_BYTES: usize = 40;
const QUALITY_BYTES: usize = 8;
const LINE_BYTES: usize = PREFIX_BYTES + LOW_DIGITS + VALUE_BYTES + QUALITY_BYTES;
/// Text that is put together before it is handed on.
const BLOCK_BYTES: usize = 1024;
/// Decimals of up to 15 digits are the shortest text of the double that they read as.
const EXACT_HUNDREDTHS_MAX: f64 = 1e15;

const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Writes samples one after the other as arrays of a timestamp, a value and, if asked for, a quality.
pub struct SampleWriter {
    with_quality: bool,
    /// Leading digits that `prefix` ends with; negative = none yet.
    high: i64,
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    block: Block,
}

/// Text being put together.
struct Block {
    bytes: [u8; BLOCK_BYTES],
    end: usize,
}

impl Block {
    #[inline(always)]
    fn push<const N: usize>(&mut self, bytes: [u8; N]) {
        self.bytes[self.end..self.end + N].copy_from_slice(&bytes);
        self.end += N;
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    #[inline(always)]
    fn value(&mut self, value: f64, proto: Proto) {
        match Hundredths::of(value) {
            Some(decimal) => {
                self.value_head(decimal.text_bytes(), proto);
                let end = self.end + decimal.text_bytes();
                decimal.write_before(&mut self.bytes, end);
                self.end = end;
            }
            None => {
                let mut buffer = F64Buffer::new();
                let text = buffer.format(value);
                self.value_head(text.len(), proto);
                self.extend(text.as_bytes());
            }
        }
        self.push(*b"\r\n");
    }

    /// A byte string, or a double of RESP3.
    #[inline(always)]
    fn value_head(&mut self, text_bytes: usize, proto: Proto) {
        match proto {
            Proto::Resp3 => self.push(*b","),
            Proto::Resp2 if text_bytes < 10 => self.push([b'$', b'0' + text_bytes as u8, b'\r', b'\n']),
            Proto::Resp2 => {
                let [tens, ones] = DIGIT_PAIRS[text_bytes];
                self.push([b'$', tens, ones, b'\r', b'\n']);
            }
        }
    }
}

impl SampleWriter {
    /// A writer for one reply, or a part of one.
    pub fn new(with_quality: bool) -> SampleWriter {
        SampleWriter {
            with_quality,
            high: -1,
            prefix: [0; PREFIX_BYTES],
            prefix_bytes: 0,
            block: Block {
                bytes: [0; BLOCK_BYTES],
                end: 0,
            },
        }
    }

    /// Appends one sample; it is in the reply after [`SampleWriter::finish`].
    #[inline]
    pub fn write(&mut self, reply: &mut Reply, timestamp: i64, value: f64, quality: u8) {
        if timestamp < LOW_RANGE {
            return self.write_early(reply, timestamp, value, quality);
        }
        let (high, low) = (timestamp / LOW_RANGE, (timestamp % LOW_RANGE) as usize);
        if high != self.high {
            self.set_high(high);
        }
        if self.block.end + LINE_BYTES > BLOCK_BYTES {
            self.finish(reply);
        }
        let block = &mut self.block;
        let digits = block.end + self.prefix_bytes;
        // All of it, as that costs less than just what is needed; the rest is written over.
        block.push(self.prefix);
        block.end = digits;
        block.push(DIGIT_PAIRS[low / 100]);
        block.push(DIGIT_PAIRS[low % 100]);
        block.push(*b"\r\n");
        block.value(value, reply.proto());
        if self.with_quality {
            if quality == 0 {
                block.push(*b":0\r\n");
            } else {
                block.push(*b":");
                block.extend(itoa::Buffer::new().format(quality).as_bytes());
                block.push(*b"\r\n");
            }
        }
    }

    /// Hands on what was written so far.
    pub fn finish(&mut self, reply: &mut Reply) {
        reply.raw(&self.block.bytes[..self.block.end]);
        self.block.end = 0;
    }

    #[cold]
    fn write_early(&mut self, reply: &mut Reply, timestamp: i64, value: f64, quality: u8) {
        self.finish(reply);
        reply.array(if self.with_quality { 3 } else { 2 });
        reply.integer(timestamp);
        reply.sample_value(value);
        if self.with_quality {
            reply.integer(i64::from(quality));
        }
    }

    fn set_high(&mut self, high: i64) {
        let head: &[u8; 5] = if self.with_quality { b"*3\r\n:" } else { b"*2\r\n:" };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(high).as_bytes();
        self.prefix_bytes = head.len() + digits.len();
        self.prefix[..head.len()].copy_from_slice(head);
        self.prefix[head.len()..self.prefix_bytes].copy_from_slice(digits);
        self.high = high;
    }
}

/// A value with one or two decimals.
struct Hundredths {
    is_negative: bool,
    whole: u64,
    whole_digits: usize,
    hundredths: usize,
}

impl Hundredths {
    /// `None` for all other values.
    #[inline(always)]
    fn of(value: f64) -> Option<Hundredths> {
        let scaled = (value * 100.0).abs();
        if scaled.is_nan() || scaled >= EXACT_HUNDREDTHS_MAX {
            return None;
        }
        let number = (scaled + 0.5) as u64;
        let hundredths = (number % 100) as usize;
        if number as f64 / 100.0 != value.abs() || hundredths == 0 {
            return None;
        }
        let whole = number / 100;
        Some(Hundredths {
            is_negative: value < 0.0,
            whole,
            whole_digits: whole.checked_ilog10().unwrap_or(0) as usize + 1,
            hundredths,
        })
    }

    #[inline(always)]
    fn text_bytes(&self) -> usize {
        let decimals = if self.hundredths.is_multiple_of(10) { 1 } else { 2 };
        usize::from(self.is_negative) + self.whole_digits + 1 + decimals
    }

    /// Writes the text so that it ends before `end`.
    #[inline(always)]
    fn write_before(&self, bytes: &mut [u8; BLOCK_BYTES], end: usize) {
        let [tenths, last] = DIGIT_PAIRS[self.hundredths];
        let mut start = if last == b'0' { end - 2 } else { end - 3 };
        bytes[start] = b'.';
        bytes[start + 1] = tenths;
        if last != b'0' {
            bytes[start + 2] = last;
        }
        let mut whole = self.whole;
        while whole >= 100 {
            start -= 2;
            bytes[start..start + 2].copy_from_slice(&DIGIT_PAIRS[(whole % 100) as usize]);
            whole /= 100;
        }
        let [tens, ones] = DIGIT_PAIRS[whole as usize];
        start -= 1;
        bytes[start] = ones;
        if whole >= 10 {
            start -= 1;
            bytes[start] = tens;
        }
        if self.is_negative {
            bytes[start - 1] = b'-';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(with_quality: bool, proto: Proto, samples: &[(i64, f64, u8)]) -> Vec<u8> {
        let mut reply = Reply::new(proto);
        for (timestamp, value, quality) in samples {
            reply.array(if with_quality { 3 } else { 2 });
            reply.integer(*timestamp);
            reply.sample_value(*value);
            if with_quality {
                reply.integer(i64::from(*quality));
            }
        }
        reply.take()
    }

    fn written(with_quality: bool, proto: Proto, samples: &[(i64, f64, u8)]) -> Vec<u8> {
        let mut reply = Reply::new(proto);
        let mut writer = SampleWriter::new(with_quality);
        for (timestamp, value, quality) in samples {
            writer.write(&mut reply, *timestamp, *value, *quality);
        }
        writer.finish(&mut reply);
        reply.take()
    }

    #[test]
    fn extremes_are_written_like_any_other_number() {
        let values = [
            0.0,
            -0.0,
            0.01,
            -0.05,
            0.1,
            1.5,
            99.99,
            100.05,
            -1234.5,
            1e15,
            9_999_999_999_999.99,
            1e-7,
            1e300,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            123_456_789_012.35,
        ];
        let times = [i64::MIN, -1, 0, 9_999, 10_000, 1_728_462_600_000, i64::MAX];
        for proto in [Proto::Resp2, Proto::Resp3] {
            for timestamp in times {
                let samples: Vec<_> = values.iter().map(|value| (timestamp, *value, 7)).collect();
                assert_eq!(written(true, proto, &samples), plain(true, proto, &samples));
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_encoder(
            samples in prop::collection::vec(
                (any::<i64>(), prop_oneof![any::<f64>(), (-1e6..1e6).prop_map(|v: f64| (v * 100.0).round() / 100.0)],
                 any::<u8>()), 0..20),
            start in 0i64..2_000_000_000_000, with_quality in any::<bool>(), resp3 in any::<bool>(),
        ) {
            let proto = if resp3 { Proto::Resp3 } else { Proto::Resp2 };
            prop_assert_eq!(written(with_quality, proto, &samples), plain(with_quality, proto, &samples));
            let close: Vec<_> = samples.iter().enumerate()
                .map(|(index, sample)| (start + index as i64 * 997, sample.1, sample.2)).collect();
            prop_assert_eq!(written(with_quality, proto, &close), plain(with_quality, proto, &close));
        }
    }
}
