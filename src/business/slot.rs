//! Hash slots as Redis Cluster computes them: CRC16 (XMODEM) of the key or its hash tag, modulo 16,384.
//!
//! Source: Redis Cluster specification, "Hash tags" and appendix A.

use crate::limits::SLOTS;

const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[n][byte]` is the checksum of `byte` and `n` zero bytes behind it: four bytes at a time are looked up apart
/// from each other instead of one after the other.
const TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                (crc << 1) ^ POLYNOMIAL
            } else {
                crc << 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < tables.len() {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

/// The slot of `key`. If it contains `{...}` with something between, only that is hashed.
pub fn slot_of(key: &[u8]) -> u16 {
    let (crc, has_brace) = crc16(key);
    let crc = match has_brace {
        true => hash_tag(key).map_or(crc, |tag| crc16(tag).0),
        false => crc,
    };
    crc % SLOTS as u16
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let rest = key.get(open + 1..)?;
    let close = memchr::memchr(b'}', rest)?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// The checksum, and whether there is a `{`: looked for on the way, since keys are short and few have one.
fn crc16(bytes: &[u8]) -> (u16, bool) {
    const BRACES: u32 = u32::from_ne_bytes([b'{'; 4]);
    const LOW_BITS: u32 = u32::from_ne_bytes([0x01; 4]);
    const HIGH_BITS: u32 = u32::from_ne_bytes([0x80; 4]);
    let [by_one, by_two, by_three, by_four] = &TABLES;
    let (fours, rest) = bytes.as_chunks::<4>();
    let (mut crc, mut zeros) = (0_u16, 0);
    for four in fours {
        let differing = u32::from_ne_bytes(*four) ^ BRACES;
        zeros |= differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS;
        let [first, second, third, fourth] = *four;
        let [high, low] = crc.to_be_bytes();
        crc = entry(by_four, first ^ high)
            ^ entry(by_three, second ^ low)
            ^ entry(by_two, third)
            ^ entry(by_one, fourth);
    }
    let mut has_brace = zeros != 0;
    for byte in rest {
        has_brace |= *byte == b'{';
        crc = (crc << 8) ^ entry(by_one, (crc >> 8) as u8 ^ byte);
    }
    (crc, has_brace)
}

fn entry(table: &[u16; 256], byte: u8) -> u16 {
    table.get(usize::from(byte)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), (0x31c3, false));
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}").0 % 16384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn four_bytes_at_a_time_are_the_same_as_bit_by_bit() {
        let bytes: Vec<u8> = (0..100_u32).map(|index| (index * 151 + 7) as u8).collect();
        for len in 0..bytes.len() {
            let by_bit = bytes[..len].iter().fold(0_u16, |crc, byte| {
                (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| match crc & 0x8000 {
                    0 => crc << 1,
                    _ => (crc << 1) ^ POLYNOMIAL,
                })
            });
            assert_eq!(crc16(&bytes[..len]).0, by_bit, "{len} bytes");
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_is_and_nothing_else_is_taken_for_one() {
        for len in 0..40 {
            for other in [b'z', b'|', 0x7a, 0xfb, 0x00, 0xff] {
                let mut key = vec![other; len];
                assert!(!crc16(&key).1, "{len} of {other}");
                for place in 0..len {
                    key[place] = b'{';
                    assert!(crc16(&key).1, "{len} of {other}, {place}");
                    key[place] = other;
                }
            }
        }
    }
}
