//! Whole numbers of any size, as far as reading and writing floating point needs them.

use std::cmp::Ordering;

const WORD_BITS: u32 = u32::BITS;
/// The largest power of ten in a word, and its exponent.
const TENS: u32 = 1_000_000_000;
const TENS_DIGITS: u32 = 9;

/// Words, the least significant one first; the last one is not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Natural(Vec<u32>);

impl From<u64> for Natural {
    fn from(value: u64) -> Natural {
        let mut number = Natural(vec![value as u32, (value >> WORD_BITS) as u32]);
        number.trim();
        number
    }
}

impl Natural {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Bits without leading zeros.
    pub fn bits(&self) -> u32 {
        let last = self.0.last().map_or(0, |word| WORD_BITS - word.leading_zeros());
        (self.0.len().saturating_sub(1) as u32) * WORD_BITS + last
    }

    /// Multiplies it, and adds to it.
    pub fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.0 {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= WORD_BITS;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Multiplies it by 10^power.
    pub fn multiply_power_of_ten(&mut self, power: u32) {
        for _ in 0..power / TENS_DIGITS {
            self.multiply_add(TENS, 0);
        }
        self.multiply_add(10_u32.pow(power % TENS_DIGITS), 0);
    }

    /// Multiplies it by 2^bits.
    pub fn shift_left(&mut self, bits: u32) {
        let few = bits % WORD_BITS;
        if few > 0 {
            let mut carry = 0;
            for word in &mut self.0 {
                let shifted = u64::from(*word) << few | carry;
                *word = shifted as u32;
                carry = shifted >> WORD_BITS;
            }
            if carry > 0 {
                self.0.push(carry as u32);
            }
        }
        if !self.0.is_empty() {
            let words = (bits / WORD_BITS) as usize;
            self.0.splice(..0, std::iter::repeat_n(0, words));
        }
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let by_length = self.0.len().cmp(&other.0.len());
        by_length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Subtracts what is not larger.
    fn subtract(&mut self, other: &Natural) {
        let mut is_borrowed = false;
        let others = other.0.iter().chain(std::iter::repeat(&0));
        for (word, other) in self.0.iter_mut().zip(others) {
            let (once, first) = word.overflowing_sub(*other);
            let (twice, second) = once.overflowing_sub(u32::from(is_borrowed));
            (*word, is_borrowed) = (twice, first || second);
        }
        self.trim();
    }

    /// The quotient, which must have at most `bits`, and those at most 128; and whether there is a remainder.
    pub fn divide(mut self, mut divisor: Natural, bits: u32) -> (u128, bool) {
        divisor.shift_left(bits.saturating_sub(1));
        let mut quotient = 0;
        for _ in 0..bits {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.shift_left(1);
        }
        (quotient, !self.0.is_empty())
    }

    /// Its first 128 bits, how many come behind them, and whether any of those is set.
    pub fn first_bits(&self) -> (u128, u32, bool) {
        let behind = self.bits().saturating_sub(u128::BITS);
        let (words, few) = ((behind / WORD_BITS) as usize, behind % WORD_BITS);
        let word = |place: usize| u128::from(self.0.get(words + place).copied().unwrap_or(0));
        let whole = (0..4).fold(0, |bits, place| bits | word(place) << (place as u32 * WORD_BITS));
        let bits = match few {
            0 => whole,
            _ => whole >> few | word(4) << (u128::BITS - few),
        };
        let is_cut = word(0) & ((1 << few) - 1) != 0;
        let is_inexact = is_cut || self.0.iter().take(words).any(|word| *word != 0);
        (bits, behind, is_inexact)
    }

    /// Appends its decimal digits.
    pub fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut groups = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0_u64;
            for word in self.0.iter_mut().rev() {
                rest = rest << WORD_BITS | u64::from(*word);
                *word = (rest / u64::from(TENS)) as u32;
                rest %= u64::from(TENS);
            }
            self.trim();
            groups.push(rest);
        }
        let first = groups.pop().unwrap_or(0);
        out.extend_from_slice(first.to_string().as_bytes());
        for group in groups.iter().rev() {
            out.extend_from_slice(format!("{group:09}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(number: Natural) -> String {
        let mut out = Vec::new();
        number.write_decimal(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn powers_come_out_right() {
        let mut number = Natural::from(7);
        number.multiply_power_of_ten(40);
        assert_eq!(decimal(number), format!("7{}", "0".repeat(40)));
        let mut number = Natural::from(1);
        number.shift_left(127);
        assert_eq!(
            (number.bits(), decimal(number)),
            (128, (1_u128 << 127).to_string())
        );
        assert_eq!(
            (Natural::default().bits(), decimal(Natural::default())),
            (0, "0".to_owned())
        );
    }

    #[test]
    fn quotients_and_first_bits_agree_with_wide_integers() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..1_000 {
            let (high, low, divisor) = (random.u64(1..), random.u64(..), random.u64(1 << 60..));
            let mut number = Natural::from(high);
            number.shift_left(64);
            number.0[0] = low as u32;
            number.0[1] = (low >> 32) as u32;
            let wide = u128::from(high) << 64 | u128::from(low);
            let (quotient, has_rest) = number.clone().divide(Natural::from(divisor), 72);
            let expected = wide / u128::from(divisor);
            assert_eq!((quotient, has_rest), (expected, wide % u128::from(divisor) != 0));
            let shift = random.u32(..100);
            number.shift_left(shift);
            let (bits, behind, is_inexact) = number.first_bits();
            assert_eq!(behind + 128, (wide.ilog2() + 1 + shift).max(128));
            let same = if behind >= shift {
                wide >> (behind - shift)
            } else {
                wide << (shift - behind)
            };
            assert_eq!(bits, same);
            assert_eq!(
                is_inexact,
                behind > shift && wide.trailing_zeros() < behind - shift
            );
        }
    }
}
