//! Strict decimal text to numbers and numbers to text, in the dialects that Redis clients rely on.

/// Most decimals that Redis prints of a floating point number in `INCRBYFLOAT`.
const DECIMALS_MAX: usize = 17;
/// Up to this power, 10^n is exact in an `f64`.
const EXACT_POWER_MAX: usize = 22;
/// Whole numbers up to 2^53 are exact in an `f64`.
const EXACT_INTEGER_MAX: u64 = 1 << 53;
/// So many digits always fit into a `u64`.
const U64_SAFE_DIGITS: usize = 19;
/// From here on shortest text uses an exponent; below, whole numbers are written out.
const FIXED_INTEGER_MAX: u64 = 100_000_000_000_000_000;

const POWERS_OF_TEN: [f64; EXACT_POWER_MAX + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Reads a whole number exactly as Redis' `string2ll`: no blanks, no `+`, no leading zero, no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => Some(0),
        [b'-', digits @ ..] => 0_i64.checked_sub_unsigned(parse_positive(digits)?),
        _ => i64::try_from(parse_positive(text)?).ok(),
    }
}

/// Reads a whole number that is not negative, with the strictness of [`parse_i64`].
#[inline]
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        _ => parse_positive(text),
    }
}

/// Digits of a number above zero, without leading zeros.
#[inline]
fn parse_positive(digits: &[u8]) -> Option<u64> {
    if !matches!(digits.first(), Some(b'1'..=b'9')) || digits.len() > U64_SAFE_DIGITS + 1 {
        return None;
    }
    let mut value = 0_u64;
    if digits.len() <= U64_SAFE_DIGITS {
        let (eights, rest) = digits.as_chunks::<8>();
        for eight in eights {
            value = value * 100_000_000 + eight_digits(*eight)?;
        }
        for byte in rest {
            value = value * 10 + digit(*byte)?;
        }
    } else {
        for byte in digits {
            value = value.checked_mul(10)?.checked_add(digit(*byte)?)?;
        }
    }
    Some(value)
}

/// Eight decimal digits at once: neighbours are joined to pairs, the pairs to fours, the fours to eight,
/// each step for all of them in one multiplication.
///
/// Source: Lemire, "Quickly parsing eight digits", 2018.
#[inline(always)]
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    // The first digit is the lowest byte.
    let bytes = u64::from_le_bytes(text);
    let values = bytes.wrapping_sub(0x3030_3030_3030_3030);
    // A byte below '0' borrows and sets its top bit; one above '9' reaches it when 0x46 is added.
    if (values | bytes.wrapping_add(0x4646_4646_4646_4646)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[inline(always)]
fn digit(byte: u8) -> Option<u64> {
    let value = byte.wrapping_sub(b'0');
    (value <= 9).then_some(u64::from(value))
}

/// Reads a floating point number as `INCRBYFLOAT` and its kin accept it.
///
/// Decimal, with or without fraction and exponent, `+` or `-` in front, and `inf` or `infinity` in any
/// case. Refused: blanks, NaN, hexadecimal, and finite text whose value is beyond the range or vanishes
/// to zero, as Redis refuses what `strtod` reports as `ERANGE`.
#[inline]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if let Some(value) = parse_short_decimal(text) {
        return Some(value);
    }
    match Decimal::scan(text) {
        Some(decimal) => decimal
            .exact()
            .or_else(|| parse_f64_slowly(text, decimal.is_zero)),
        None => parse_infinity(text),
    }
}

/// Reads the value of a sample: the number grammar of JSON plus `nan`, `+nan`, `-nan` in any case.
///
/// Infinity is refused, and so is text whose value is beyond the range; text too small to represent is
/// zero.
///
/// Source: RedisTimeSeries, which uses `fast_double_parser`.
#[inline]
pub fn parse_sample_value(text: &[u8]) -> Option<f64> {
    if let Some(value) = parse_short_decimal(text) {
        return Some(value);
    }
    match Decimal::scan(text) {
        Some(decimal) if decimal.is_json => decimal.exact().or_else(|| {
            let value = parse_std(text)?;
            value.is_finite().then_some(value)
        }),
        Some(_) => None,
        None => parse_nan(text),
    }
}

/// Up to eight digits with a point between two of them, the first no 0 unless it is the only one in front of the point:
/// what most samples look like. `None` for all other text, right or wrong.
#[inline]
fn parse_short_decimal(text: &[u8]) -> Option<f64> {
    const WORD: usize = 8;
    const POINTS: u64 = u64::from_le_bytes([b'.'; WORD]);
    const ZEROS: u64 = u64::from_le_bytes([b'0'; WORD]);
    const LOW_BITS: u64 = u64::from_le_bytes([0x01; WORD]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; WORD]);
    let len = text.len();
    if !(3..=WORD).contains(&len) {
        return None;
    }
    let word = match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        // The two halves overlap in what is alike.
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
        }
        _ => text
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let differing = word ^ POINTS;
    let point = (differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS).trailing_zeros() / 8;
    let whole = point as usize;
    // Without a point this is the length of the word.
    if whole == 0 || whole + 1 >= len || (whole > 1 && text.first() == Some(&b'0')) {
        return None;
    }
    let before = word & ((1 << (8 * point)) - 1);
    let behind = (word >> (8 * point)) >> 8;
    let digits = before | behind << (8 * point);
    // The digits move to the end of the word, zeros in front of them.
    let missing = 8 * (WORD + 1 - len);
    let padded = digits << missing | ZEROS & ((1 << missing) - 1);
    let mantissa = eight_digits(padded.to_le_bytes())?;
    Some(mantissa as f64 / POWERS_OF_TEN.get(len - 1 - whole)?)
}

/// What a look over decimal text tells.
struct Decimal {
    is_negative: bool,
    /// The digits without the point; meaningless unless `fits`.
    mantissa: u64,
    /// The value is `mantissa * 10^exponent`.
    exponent: i32,
    /// Whether `mantissa` and `exponent` hold all of the text.
    fits: bool,
    /// Whether all digits in front of the exponent are 0.
    is_zero: bool,
    /// Whether the text is also a JSON number.
    is_json: bool,
}

impl Decimal {
    /// `[+-] digits [. digits] [e [+-] digits]`, with a digit before or behind the point.
    #[inline]
    fn scan(text: &[u8]) -> Option<Self> {
        let (is_negative, is_signed_plus, unsigned) = match text {
            [b'-', rest @ ..] => (true, false, rest),
            [b'+', rest @ ..] => (false, true, rest),
            _ => (false, false, text),
        };
        let mut mantissa = 0_u64;
        let mut nonzero_bits = 0_u64;
        let mut rest = unsigned;
        let mut take_digits = |rest: &mut &[u8]| {
            let before = rest.len();
            while let [byte, tail @ ..] = *rest
                && let Some(value) = digit(*byte)
            {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(value);
                nonzero_bits |= value;
                *rest = tail;
            }
            before - rest.len()
        };
        let whole_digits = take_digits(&mut rest);
        let mut fraction_digits = 0;
        let mut has_point = false;
        if let [b'.', tail @ ..] = rest {
            rest = tail;
            has_point = true;
            fraction_digits = take_digits(&mut rest);
        }
        if whole_digits + fraction_digits == 0 {
            return None;
        }
        let exponent = scan_exponent(rest)?;
        let leading_zero = whole_digits > 1 && unsigned.first() == Some(&b'0');
        // The sum only overflows with gigabytes of digits, where `fits` is false anyway.
        let fraction_power = i32::try_from(fraction_digits).unwrap_or(i32::MAX);
        Some(Self {
            is_negative,
            mantissa,
            exponent: exponent.saturating_sub(fraction_power),
            fits: whole_digits + fraction_digits <= U64_SAFE_DIGITS,
            is_zero: nonzero_bits == 0,
            is_json: !is_signed_plus
                && whole_digits > 0
                && !leading_zero
                && (!has_point || fraction_digits > 0),
        })
    }

    /// The value, if one multiplication or division of two exact numbers yields it, correctly rounded.
    ///
    /// Source: Clinger, "How to Read Floating Point Numbers Accurately", PLDI 1990, the fast path.
    #[inline]
    fn exact(&self) -> Option<f64> {
        if !self.fits || self.mantissa > EXACT_INTEGER_MAX {
            return None;
        }
        let power = *POWERS_OF_TEN.get(self.exponent.unsigned_abs() as usize)?;
        let mantissa = self.mantissa as f64;
        let magnitude = if self.exponent < 0 {
            mantissa / power
        } else {
            mantissa * power
        };
        Some(if self.is_negative { -magnitude } else { magnitude })
    }
}

/// The power of ten that `text` (`e5`, `E-5` or nothing) stands for; beyond ±10^8 the last digits are lost,
/// which only the careful path sees and it reads the text itself.
#[inline]
fn scan_exponent(text: &[u8]) -> Option<i32> {
    let (is_negative, digits) = match text {
        [] => return Some(0),
        [b'e' | b'E', b'-', digits @ ..] => (true, digits),
        [b'e' | b'E', b'+', digits @ ..] | [b'e' | b'E', digits @ ..] => (false, digits),
        _ => return None,
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0_i32;
    for byte in digits {
        let value = byte.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        if exponent < 100_000_000 {
            exponent = exponent * 10 + i32::from(value);
        }
    }
    Some(if is_negative { -exponent } else { exponent })
}

#[cold]
fn parse_f64_slowly(text: &[u8], is_zero: bool) -> Option<f64> {
    let value = parse_std(text)?;
    let in_range = value.is_finite() && (value != 0.0 || is_zero);
    in_range.then_some(value)
}

fn parse_std(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cold]
fn parse_infinity(text: &[u8]) -> Option<f64> {
    let (magnitude, unsigned) = match text {
        [b'-', rest @ ..] => (f64::NEG_INFINITY, rest),
        [b'+', rest @ ..] => (f64::INFINITY, rest),
        _ => (f64::INFINITY, text),
    };
    let is_infinity = unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity");
    is_infinity.then_some(magnitude)
}

#[cold]
fn parse_nan(text: &[u8]) -> Option<f64> {
    let unsigned = match text {
        [b'-' | b'+', rest @ ..] => rest,
        _ => text,
    };
    unsigned.eq_ignore_ascii_case(b"nan").then_some(f64::NAN)
}

/// Appends `value` as Redis shows numbers of its settings: fixed notation, the shortest digits that
/// read back as the same number, at most 17 decimals, no trailing zeros, `0` for both zeros.
pub fn format_f64_redis(value: f64, out: &mut Vec<u8>) {
    let mut buffer = F64Buffer::new();
    if let Some(integer) = as_integer(value) {
        out.extend_from_slice(buffer.integer.format(integer).as_bytes());
        return;
    }
    if value == 0.0 {
        out.push(b'0');
        return;
    }
    let shortest = buffer.format(value);
    if !shortest.contains('e') && decimals(shortest) <= DECIMALS_MAX {
        out.extend_from_slice(shortest.as_bytes());
        return;
    }
    // The standard library's fixed notation has shortest digits too.
    let mut fixed = value.to_string();
    if decimals(&fixed) > DECIMALS_MAX {
        fixed = format!("{value:.DECIMALS_MAX$}");
        fixed.truncate(fixed.trim_end_matches('0').trim_end_matches('.').len());
    }
    let rounded_to_zero = fixed == "-0";
    out.extend_from_slice(if rounded_to_zero { b"0" } else { fixed.as_bytes() });
}

fn decimals(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

/// Appends `value` with the shortest digits that read back as the same number.
///
/// Whole numbers have no point; an exponent is used from 1e17 on and below 1e-5; the specials are `inf`,
/// `-inf`, `nan`, and the negative zero is `-0`.
#[inline]
pub fn format_f64_shortest(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(F64Buffer::new().format(value).as_bytes());
}

/// Room on the stack for the text of one number.
pub struct F64Buffer {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl F64Buffer {
    /// An empty buffer.
    #[inline]
    pub fn new() -> Self {
        Self {
            integer: itoa::Buffer::new(),
            float: zmij::Buffer::new(),
        }
    }

    /// The text that [`format_f64_shortest`] appends.
    #[inline]
    pub fn format(&mut self, value: f64) -> &str {
        if let Some(integer) = as_integer(value) {
            return self.integer.format(integer);
        }
        if value.is_nan() {
            return "nan";
        }
        // Only the negative zero still ends with ".0"; infinities come as "inf".
        let text = self.float.format(value);
        text.strip_suffix(".0").unwrap_or(text)
    }
}

impl Default for F64Buffer {
    fn default() -> Self {
        Self::new()
    }
}

/// `value` as a whole number, if it is one that is written without an exponent.
#[inline]
fn as_integer(value: f64) -> Option<i64> {
    // A cast saturates, and NaN becomes 0, so the comparison catches everything else.
    let integer = value as i64;
    let is_written_out = integer as f64 == value && integer.unsigned_abs() < FIXED_INTEGER_MAX;
    let is_negative_zero = integer == 0 && value.is_sign_negative();
    (is_written_out && !is_negative_zero).then_some(integer)
}

#[cfg(test)]
#[path = "number_tests.rs"]
mod tests;
