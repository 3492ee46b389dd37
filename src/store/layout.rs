//! The layout on disk: families, keys and row headers. Numbers here are part of the format and are never reused.
//!
//! | family | key | value |
//! |---|---|---|
//! | `meta` | a name of this file | little-endian integers |
//! | `journal` | sequence, 8 bytes big-endian | the turn's operations, see `lane::journal` |
//! | `kv` | 0x00, then a name | little-endian integer: [`KV_ROWS`] |
//! | `kv` | 0x01, then the key | [`KvRow`] |
//! | `kv` | 0x02, then the deadline in ms (8 bytes, sortable), then the key | nothing |
//! | `kv` | 0x03, then label, value (see [`label_row`]), then the key | nothing |
//! | `series` | series id, 8 bytes big-endian | series state, see `lane::series_row` |
//! | `chunks` | series id, then first timestamp with its sign bit flipped, both 8 bytes big-endian | encoded chunk |
//! | `cold` | as in `chunks` | encoded chunk of the cold tier, all older than the hot ones of its series |
//! | `late` | series id, then a number as above | late samples of one seal as an encoded chunk, or deletions, see `lane::late` |
//!
//! Key count, keys and deadlines share one family because it is written without the log: a crash keeps a prefix of
//! that family's writes, so rows that are written together stay consistent only inside one family.

/// Version of this layout; a data directory of another version is refused. 1: late samples a row each. 2: late samples
/// as runs, a retention in every series row.
pub const FORMAT_VERSION: u32 = 2;

/// Family names, in the order in which they are opened.
pub const META: &str = "meta";
/// Append-only operations that are not yet in their family.
pub const JOURNAL: &str = "journal";
/// Keys and plain values.
pub const KV: &str = "kv";
/// Series state by id.
pub const SERIES: &str = "series";
/// Sealed chunks.
pub const CHUNKS: &str = "chunks";
/// Runs of samples older than their series' newest chunk.
pub const LATE: &str = "late";
/// Sealed chunks of the cold tier.
pub const COLD: &str = "cold";
/// All of them.
pub const FAMILIES: [&str; 7] = [META, JOURNAL, KV, SERIES, CHUNKS, LATE, COLD];

/// `meta` key: every journal record up to and including this sequence is reflected in the families.
pub const META_LOW_WATER: &[u8] = b"low_water";
/// `meta` key: samples and bytes of hot chunks, then of cold ones, in one row.
pub const META_TIERS: &[u8] = b"tiers";
/// `meta` key: 1 once the partition has had rollup rules.
pub const META_HAS_RULES: &[u8] = b"has_rules";
/// `meta` key: the next series id to hand out.
pub const META_NEXT_SERIES_ID: &[u8] = b"next_series_id";

/// `kv` row: how many keys the family holds.
pub const KV_ROWS: &[u8] = b"\x00rows";
/// First byte of a key's row in `kv`.
pub const KV_KEY_TAG: u8 = 1;
/// First byte of a deadline's row in `kv`.
pub const KV_DEADLINE_TAG: u8 = 2;
/// First byte of a label's row in `kv`.
pub const KV_LABEL_TAG: u8 = 3;

/// Type byte of a plain string value in a [`KvRow`].
pub const TYPE_STRING: u8 = 1;
/// Type byte of a time series key in a [`KvRow`]: its payload lists (data type, series id).
pub const TYPE_SERIES: u8 = 2;
/// As [`TYPE_SERIES`], with properties: its payload begins with the number of series (2 bytes little-endian), then lists
/// them, then has the properties (`series::SeriesProperties`).
pub const TYPE_SERIES_WITH_PROPERTIES: u8 = 3;

const KV_HEADER_BYTES: usize = 9;

/// A row of `kv`: type byte, expiry (8 bytes little-endian, unix milliseconds, 0 = never), payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvRow<'a> {
    /// One of the `TYPE_*` numbers.
    pub type_byte: u8,
    /// Unix milliseconds; 0 = never.
    pub expire_at_ms: i64,
    /// The value itself, by type.
    pub payload: &'a [u8],
}

impl<'a> KvRow<'a> {
    /// Splits a stored row; `None` if it is too short or of an unknown type.
    pub fn decode(row: &'a [u8]) -> Option<KvRow<'a>> {
        let (head, payload) = row.split_at_checked(KV_HEADER_BYTES)?;
        let type_byte = *head.first()?;
        let expire_at_ms = i64::from_le_bytes(head.get(1..9)?.try_into().ok()?);
        matches!(type_byte, TYPE_STRING | TYPE_SERIES | TYPE_SERIES_WITH_PROPERTIES).then_some(KvRow {
            type_byte,
            expire_at_ms,
            payload,
        })
    }

    /// Appends the row's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.type_byte);
        out.extend_from_slice(&self.expire_at_ms.to_le_bytes());
        out.extend_from_slice(self.payload);
    }
}

/// Big-endian bytes that sort as the signed integer does.
pub fn sortable_i64(value: i64) -> [u8; 8] {
    ((value as u64) ^ (1 << 63)).to_be_bytes()
}

/// Inverse of [`sortable_i64`].
pub fn from_sortable_i64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

/// Key in `chunks`, `cold` and, with the row's number for the timestamp, in `late`.
pub fn chunk_key(series_id: u64, first_timestamp: i64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&series_id.to_be_bytes());
    key[8..].copy_from_slice(&sortable_i64(first_timestamp));
    key
}

/// The smallest key above every row of the series with a timestamp up to `to`.
pub fn end_of_rows(series_id: u64, to: i64) -> Vec<u8> {
    match to.checked_add(1) {
        Some(next) => chunk_key(series_id, next).to_vec(),
        None => series_id.saturating_add(1).to_be_bytes().to_vec(),
    }
}

/// The timestamp (or number) inside a [`chunk_key`]; `None` if the key is too short.
pub fn key_timestamp(key: &[u8]) -> Option<i64> {
    Some(from_sortable_i64(key.get(8..16)?.try_into().ok()?))
}

/// Row key of `key` in `kv`.
pub fn kv_key(key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(1 + key.len());
    row.push(KV_KEY_TAG);
    row.extend_from_slice(key);
    row
}

/// Row key of a deadline in `kv`.
pub fn deadline_key(deadline_ms: i64, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(9 + key.len());
    row.push(KV_DEADLINE_TAG);
    row.extend_from_slice(&sortable_i64(deadline_ms));
    row.extend_from_slice(key);
    row
}

/// Splits a deadline's row key into deadline and key; `None` if it is something else.
pub fn decode_deadline_key(row: &[u8]) -> Option<(i64, &[u8])> {
    let (deadline, key) = row.strip_prefix(&[KV_DEADLINE_TAG])?.split_at_checked(8)?;
    Some((from_sortable_i64(deadline.try_into().ok()?), key))
}

/// Row key that lists `key` under a label.
pub fn label_row(name: &[u8], value: &[u8], key: &[u8]) -> Vec<u8> {
    let mut row = label_prefix(name, Some(value));
    row.extend_from_slice(key);
    row
}

/// What the row keys of a label begin with; of one of its values, if given.
pub fn label_prefix(name: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut row = Vec::with_capacity(5 + name.len() + value.map_or(0, <[u8]>::len));
    row.push(KV_LABEL_TAG);
    push_terminated(name, &mut row);
    if let Some(value) = value {
        push_terminated(value, &mut row);
    }
    row
}

/// Splits the row key of a label into name, value and key; `None` if it is something else.
pub fn decode_label_row(row: &[u8]) -> Option<(Vec<u8>, Vec<u8>, &[u8])> {
    let (name, rest) = take_terminated(row.strip_prefix(&[KV_LABEL_TAG])?)?;
    let (value, key) = take_terminated(rest)?;
    Some((name, value, key))
}

/// Zero bytes inside become 0x00 0xff, the end is 0x00 0x00: sorts as the bytes themselves do.
fn push_terminated(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(u8::MAX);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn take_terminated(mut bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut taken = Vec::new();
    loop {
        match bytes {
            [0, 0, rest @ ..] => return Some((taken, rest)),
            [0, u8::MAX, rest @ ..] => {
                taken.push(0);
                bytes = rest;
            }
            [0, ..] | [] => return None,
            [byte, rest @ ..] => {
                taken.push(*byte);
                bytes = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_timestamps_sort_as_bytes() {
        let values = [i64::MIN, -5, -1, 0, 1, 7, i64::MAX];
        for pair in values.windows(2) {
            assert!(sortable_i64(pair[0]) < sortable_i64(pair[1]));
        }
        assert!(values.iter().all(|v| from_sortable_i64(sortable_i64(*v)) == *v));
    }

    #[test]
    fn label_rows_come_back_and_sort_by_label() {
        for (name, value, key) in [
            (&b"a"[..], &b"x"[..], &b"k"[..]),
            (b"\0", b"", b"\0\0"),
            (b"a\0b", b"\0", b""),
        ] {
            let row = label_row(name, value, key);
            assert_eq!(decode_label_row(&row), Some((name.to_vec(), value.to_vec(), key)));
            assert!(
                row.starts_with(&label_prefix(name, Some(value)))
                    && row.starts_with(&label_prefix(name, None))
            );
        }
        assert!(!label_row(b"ab", b"x", b"").starts_with(&label_prefix(b"a", None)));
        assert!(!label_row(b"a\0", b"x", b"").starts_with(&label_prefix(b"a", None)));
        assert_eq!(decode_label_row(b"\x03a\0"), None);
    }

    #[test]
    fn rows_come_back() {
        let mut out = Vec::new();
        let row = KvRow {
            type_byte: TYPE_STRING,
            expire_at_ms: 5,
            payload: b"abc",
        };
        row.encode(&mut out);
        assert_eq!(KvRow::decode(&out), Some(row));
        assert_eq!(KvRow::decode(&out[..5]), None);
        assert_eq!(key_timestamp(&chunk_key(3, -9)), Some(-9));
        assert_eq!(decode_deadline_key(&deadline_key(9, b"k")), Some((9, &b"k"[..])));
        assert_eq!(decode_deadline_key(&kv_key(b"12345678k")), None);
    }
}
