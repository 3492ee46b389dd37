//! Values of samples: how they are read and how each protocol shows them.

use crate::refusal::Refusal;
use crate::resp::number::{F64Buffer, parse_f64, parse_sample_value};
use crate::resp::{Proto, Reply, VALUE_TEXT_BYTES, ValueText};

use super::texts;

/// From this decimal exponent on, numbers are written with it.
const FIXED_MAX: f64 = 1e17;

/// Room for `+`, a sign, 17 digits, a point, `E-324` and the line end.
const LINE_LEN_MAX_BYTES: usize = VALUE_TEXT_BYTES;

/// The values of samples as [`write_value`] writes them.
pub const SAMPLE_TEXT: ValueText = ValueText::Simple(|value, text| {
    let mut line = Line::new();
    line.value(value);
    *text = line.bytes;
    line.len
});

/// Reads the value of a sample: a JSON number, or `nan` with or without a sign in any case.
///
/// # Errors
/// [`texts::INVALID_VALUE`].
#[inline]
pub fn parse_value(text: &[u8]) -> Result<f64, Refusal> {
    parse_sample_value(text).ok_or(texts::INVALID_VALUE)
}

/// Reads what TS.INCRBY and TS.DECRBY add or take away: decimal text or an infinity.
///
/// # Errors
/// [`texts::ADDEND`].
pub fn parse_addend(text: &[u8]) -> Result<f64, Refusal> {
    parse_f64(text).ok_or(texts::ADDEND)
}

/// Writes the value of a sample: a simple string in RESP2, a double in RESP3.
#[inline]
pub fn write_value(reply: &mut Reply, value: f64) {
    match reply.proto() {
        Proto::Resp3 => reply.double(value),
        Proto::Resp2 => {
            let mut line = Line::new();
            line.push(b"+");
            line.value(value);
            line.push(b"\r\n");
            reply.raw(line.bytes());
        }
    }
}

/// Text of one value on the stack.
struct Line {
    bytes: [u8; LINE_LEN_MAX_BYTES],
    len: usize,
}

impl Line {
    #[inline]
    fn new() -> Line {
        Line {
            bytes: [0; LINE_LEN_MAX_BYTES],
            len: 0,
        }
    }

    #[inline]
    fn push(&mut self, text: &[u8]) {
        let end = self.len + text.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(text);
            self.len = end;
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Shortest digits that read back as the same number; fixed notation from 1 up to 17 digits, otherwise
    /// `5E-1`, `1E20`; `NaN`, `Infinity`, `-Infinity`.
    #[inline]
    fn value(&mut self, value: f64) {
        if value.is_nan() {
            self.push(b"NaN");
        } else if value.is_infinite() {
            self.push(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
        } else {
            let mut buffer = F64Buffer::new();
            let text = buffer.format(value).as_bytes();
            let magnitude = value.abs();
            if magnitude == 0.0 || (1.0..FIXED_MAX).contains(&magnitude) {
                self.push(text);
            } else {
                self.scientific(text);
            }
        }
    }

    /// Rewrites shortest text, such as `-0.0012`, `1.5e-7` or `1e20`, as one digit, a fraction and an
    /// exponent.
    fn scientific(&mut self, text: &[u8]) {
        let (mantissa, written_exponent) = match text.iter().position(|byte| *byte == b'e') {
            Some(at) => {
                let (mantissa, exponent) = text.split_at(at);
                let digits = exponent
                    .get(1..)
                    .and_then(|digits| std::str::from_utf8(digits).ok());
                (
                    mantissa,
                    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0),
                )
            }
            None => (text, 0_i32),
        };
        let unsigned = mantissa.strip_prefix(b"-").unwrap_or(mantissa);
        if unsigned.len() < mantissa.len() {
            self.push(b"-");
        }
        let whole = unsigned
            .iter()
            .position(|byte| *byte == b'.')
            .unwrap_or(unsigned.len());
        let mut first = None;
        let mut places = 0_i32;
        for (index, digit) in unsigned.iter().filter(|byte| byte.is_ascii_digit()).enumerate() {
            if first.is_none() && *digit == b'0' {
                continue;
            }
            if first.is_none() {
                first = Some(index);
            } else if places == 1 {
                self.push(b".");
            }
            self.push(&[*digit]);
            places += 1;
        }
        let leading = whole as i32 - 1 - first.unwrap_or(0) as i32;
        self.push(b"E");
        self.push(itoa::Buffer::new().format(leading + written_exponent).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: f64) -> String {
        let mut line = Line::new();
        line.value(value);
        String::from_utf8(line.bytes().to_vec()).unwrap()
    }

    #[test]
    fn values_are_shown_as_by_redis_time_series() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (116.0, "116"),
            (-42.0, "-42"),
            (123.456, "123.456"),
            (12.5, "12.5"),
            (-1.1, "-1.1"),
            (0.5, "5E-1"),
            (-0.5, "-5E-1"),
            (0.1, "1E-1"),
            (0.25, "2.5E-1"),
            (0.001_234, "1.234E-3"),
            (-0.000_02, "-2E-5"),
            (1.5e-7, "1.5E-7"),
            (5e-324, "5E-324"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (12_345_678_901_234_568.0, "12345678901234568"),
            (1e17, "1E17"),
            (1e20, "1E20"),
            (-1.25e20, "-1.25E20"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::MIN, "-1.7976931348623157E308"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (0.999_999_999_999_999_9, "9.999999999999999E-1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn every_text_reads_back_as_the_same_number() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = f64::from_bits(state);
            if value.is_finite() {
                let text = shown(value);
                assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            }
        }
    }

    #[test]
    fn protocols_have_their_own_shape() {
        let mut old = Reply::new(Proto::Resp2);
        write_value(&mut old, 0.5);
        write_value(&mut old, f64::NAN);
        assert_eq!(old.as_bytes(), b"+5E-1\r\n+NaN\r\n");
        let mut new = Reply::new(Proto::Resp3);
        write_value(&mut new, 0.5);
        write_value(&mut new, f64::NAN);
        write_value(&mut new, f64::NEG_INFINITY);
        assert_eq!(new.as_bytes(), b",0.5\r\n,nan\r\n,-inf\r\n");
    }

    #[test]
    fn values_are_json_numbers_or_nan() {
        for text in ["1", "-1.5", "1e3", "0.5", "-0"] {
            assert_eq!(parse_value(text.as_bytes()), Ok(text.parse().unwrap()), "{text}");
        }
        for text in ["nan", "NaN", "+nan", "-NAN"] {
            assert!(parse_value(text.as_bytes()).unwrap().is_nan(), "{text}");
        }
        for text in [
            "", "inf", "-inf", "Infinity", "+1", ".5", "1.", "01", "0x1", "1e999", "1 ",
        ] {
            assert_eq!(parse_value(text.as_bytes()), Err(texts::INVALID_VALUE), "{text}");
        }
    }

    #[test]
    fn addends_may_be_infinite_but_are_numbers() {
        assert_eq!(parse_addend(b"-2.5"), Ok(-2.5));
        assert_eq!(parse_addend(b"inf"), Ok(f64::INFINITY));
        assert_eq!(parse_addend(b"-Infinity"), Ok(f64::NEG_INFINITY));
        for text in ["", "nan", "x", "1x"] {
            assert_eq!(parse_addend(text.as_bytes()), Err(texts::ADDEND), "{text}");
        }
    }
}
