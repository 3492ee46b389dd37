//! Which keys a connection may use: all of them, those of its cluster node, or a share of its own.

use std::sync::Arc;

/// Digits of the number that ends every key.
pub const KEY_DIGITS: usize = 12;
/// Slots of a Redis Cluster.
const SLOTS: u16 = 16384;

/// Numbers of keys, addressed by position.
#[derive(Clone, Debug)]
pub struct KeySet {
    /// The node's keys in ascending order; `None` if every key will do.
    listed: Option<Arc<Vec<u32>>>,
    first: u64,
    stride: u64,
    len: u64,
}

/// A connection's share of the series, and who else writes to them.
#[derive(Clone, Debug)]
pub struct SeriesShare {
    /// The series.
    pub keys: KeySet,
    /// Connections that write to each of these series; 1 unless there are fewer series than connections.
    pub sharers: u64,
    /// Which of them this one is.
    pub turn: u64,
}

impl KeySet {
    /// All of 0..`total`, or all that are `listed`.
    pub fn all(total: u64, listed: Option<Arc<Vec<u32>>>) -> KeySet {
        let len = listed.as_ref().map_or(total, |list| list.len() as u64);
        KeySet {
            listed,
            first: 0,
            stride: 1,
            len,
        }
    }

    /// Every `parts`-th key from the `part`-th on.
    pub fn part(&self, part: u64, parts: u64) -> KeySet {
        KeySet {
            listed: self.listed.clone(),
            first: self.first + part * self.stride,
            stride: self.stride * parts,
            len: self.len.saturating_sub(part).div_ceil(parts),
        }
    }

    /// The share of connection `index` out of `connections`, so that no series is written by two if avoidable.
    pub fn share(&self, index: u64, connections: u64) -> SeriesShare {
        if self.len >= connections || self.len == 0 {
            return SeriesShare {
                keys: self.part(index, connections),
                sharers: 1,
                turn: 0,
            };
        }
        let own = index % self.len;
        SeriesShare {
            keys: self.part(own, self.len),
            sharers: (connections - own).div_ceil(self.len),
            turn: index / self.len,
        }
    }

    /// Number of keys.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The number of the key at `position`, below [`KeySet::len`].
    #[inline]
    pub fn at(&self, position: u64) -> u64 {
        let position = self.first + position * self.stride;
        match &self.listed {
            None => position,
            Some(list) => u64::from(list[position as usize]),
        }
    }
}

/// The cluster slot of a key, by its hash tag if it has one.
pub fn slot(key: &[u8]) -> u16 {
    let tagged = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest)
            .filter(|close| *close > 0)
            .map(|close| &rest[..close])
    });
    crc16(tagged.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, bit by bit: used once per key before the run.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

/// Writes `number` in decimal with leading zeros over all of `digits`; what does not fit is cut at the left.
#[inline]
pub fn write_digits(digits: &mut [u8], number: u64) {
    const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
        2021222324252627282930313233343536373839\
        4041424344454647484950515253545556575859\
        6061626364656667686970717273747576777879\
        8081828384858687888990919293949596979899";
    let mut number = number;
    let mut pairs = digits.rchunks_exact_mut(2);
    for pair in &mut pairs {
        let at = (number % 100) as usize * 2;
        pair.copy_from_slice(&PAIRS[at..at + 2]);
        number /= 100;
    }
    if let [first] = pairs.into_remainder() {
        *first = b'0' + (number % 10) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }

    #[test]
    fn digits_fill_their_field() {
        for (width, number, expected) in [
            (12, 1234, "000000001234"),
            (7, 9_876_543, "9876543"),
            (3, 5, "005"),
            (1, 7, "7"),
        ] {
            let mut field = vec![b'x'; width];
            write_digits(&mut field, number);
            assert_eq!(field, expected.as_bytes());
        }
    }

    #[test]
    fn shares_cover_all_series_once() {
        for listed in [
            None,
            Some(Arc::new((0..23).map(|number| number * 3).collect::<Vec<u32>>())),
        ] {
            let all = KeySet::all(23, listed);
            let mut found: Vec<u64> = (0..5)
                .flat_map(|index| {
                    let share = all.share(index, 5);
                    assert_eq!((share.sharers, share.turn), (1, 0));
                    (0..share.keys.len())
                        .map(move |position| share.keys.at(position))
                        .collect::<Vec<_>>()
                })
                .collect();
            found.sort_unstable();
            assert_eq!(
                found,
                (0..23).map(|position| all.at(position)).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn few_series_are_shared_with_a_turn_each() {
        let all = KeySet::all(3, None);
        let turns: Vec<_> = (0..7)
            .map(|index| all.share(index, 7))
            .map(|share| (share.keys.len(), share.keys.at(0), share.turn, share.sharers))
            .collect();
        assert_eq!(
            turns,
            [
                (1, 0, 0, 3),
                (1, 1, 0, 2),
                (1, 2, 0, 2),
                (1, 0, 1, 3),
                (1, 1, 1, 2),
                (1, 2, 1, 2),
                (1, 0, 2, 3)
            ]
        );
    }
}
