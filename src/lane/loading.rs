//! Keys and the rows of their series as `kv` and `series` hold them.

use crate::series::SeriesProperties;
use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, StoreError};

use super::partition::Partition;
use super::series_state::SealedState;

/// A key as read from the database.
#[derive(Debug)]
pub struct LoadedKey {
    pub(super) value: LoadedValue,
    pub(super) expire_at_ms: i64,
    pub(super) properties: Option<SeriesProperties>,
}

#[derive(Debug)]
pub(super) enum LoadedValue {
    String(Box<[u8]>),
    /// (series id, data type, what is sealed).
    Series(Vec<(u64, u8, SealedState)>),
}

/// Reads a key and, for a series key, the rows of its series.
///
/// # Errors
/// If a row cannot be read or is damaged.
pub fn load_key(store: &Database, key: &[u8], reach: Reach) -> Result<Read<Option<LoadedKey>>, StoreError> {
    load_key_but(store, key, reach, |_| false)
}

/// As [`load_key`], without reading the rows of series that `is_loaded`.
///
/// # Errors
/// If a row cannot be read or is damaged.
pub(super) fn load_key_but(
    store: &Database,
    key: &[u8],
    reach: Reach,
    is_loaded: impl Fn(u64) -> bool,
) -> Result<Read<Option<LoadedKey>>, StoreError> {
    match store.kv(key, reach, |row| row.map(StoredValue::of))? {
        Read::Cold => Ok(Read::Cold),
        Read::Known(None) => Ok(Read::Known(None)),
        Read::Known(Some(stored)) => load_stored(store, key, stored, reach, is_loaded),
    }
}

/// What the row of a key holds.
pub(super) struct StoredValue {
    type_byte: u8,
    expire_at_ms: i64,
    payload: Box<[u8]>,
}

impl StoredValue {
    /// A copy of what the row holds.
    pub(super) fn of(row: KvRow<'_>) -> StoredValue {
        StoredValue {
            type_byte: row.type_byte,
            expire_at_ms: row.expire_at_ms,
            payload: row.payload.into(),
        }
    }
}

/// As [`load_key_but`], of a key whose row has been read.
///
/// # Errors
/// If a row cannot be read or is damaged.
pub(super) fn load_stored(
    store: &Database,
    key: &[u8],
    stored: StoredValue,
    reach: Reach,
    is_loaded: impl Fn(u64) -> bool,
) -> Result<Read<Option<LoadedKey>>, StoreError> {
    let StoredValue {
        type_byte,
        expire_at_ms,
        payload,
    } = stored;
    if type_byte == layout::TYPE_STRING {
        return Ok(Read::Known(Some(LoadedKey {
            value: LoadedValue::String(payload),
            expire_at_ms,
            properties: None,
        })));
    }
    let (members, properties) = split_series_payload(type_byte, &payload).ok_or_else(|| {
        let what = format!("damaged kv row of key {:?}", String::from_utf8_lossy(key));
        StoreError::new(crate::store::StoreOperation::Decode, store.name(), what)
    })?;
    let mut rows = Vec::new();
    for (data_type, id) in members {
        if is_loaded(id) {
            rows.push((id, data_type, SealedState::default()));
            continue;
        }
        match store.series(id, reach)? {
            Read::Cold => return Ok(Read::Cold),
            Read::Known(row) => {
                let sealed = match row.as_deref() {
                    None => SealedState::default(),
                    Some(row) => {
                        SealedState::decode(row)
                            .ok_or_else(|| damaged_series(store, id))?
                            .0
                    }
                };
                rows.push((id, data_type, sealed));
            }
        }
    }
    Ok(Read::Known(Some(LoadedKey {
        value: LoadedValue::Series(rows),
        expire_at_ms,
        properties,
    })))
}

/// The series (data type, id) and the properties in the `kv` row of a series key; `None` if it is damaged.
#[expect(clippy::type_complexity, reason = "callers take it apart at once")]
pub(super) fn split_series_payload(
    type_byte: u8,
    payload: &[u8],
) -> Option<(Vec<(u8, u64)>, Option<SeriesProperties>)> {
    let (members, properties) = if type_byte == layout::TYPE_SERIES_WITH_PROPERTIES {
        let (count, rest) = payload.split_first_chunk::<2>()?;
        let len = usize::from(u16::from_le_bytes(*count)) * SERIES_MEMBER_BYTES;
        let (members, properties) = rest.split_at_checked(len)?;
        (members, Some(SeriesProperties::decode(properties)?))
    } else {
        (payload, None)
    };
    let members = members
        .chunks_exact(SERIES_MEMBER_BYTES)
        .filter_map(decode_series_member);
    Some((members.collect(), properties))
}

pub(super) fn damaged_series(store: &Database, id: u64) -> StoreError {
    StoreError::new(
        crate::store::StoreOperation::Decode,
        store.name(),
        format!("the row of series {id} is damaged"),
    )
}

/// Bytes of one (data type, series id) in the payload of a series key's `kv` row.
pub(super) const SERIES_MEMBER_BYTES: usize = 9;

pub(super) fn encode_series_member(data_type: u8, id: u64, out: &mut Vec<u8>) {
    out.push(data_type);
    out.extend_from_slice(&id.to_le_bytes());
}

fn decode_series_member(member: &[u8]) -> Option<(u8, u64)> {
    let (data_type, id) = member.split_first()?;
    Some((*data_type, u64::from_le_bytes(id.try_into().ok()?)))
}

impl Partition {
    /// Reads `key` from the disk, for the blocking pool.
    ///
    /// # Errors
    /// If a row cannot be read or is damaged.
    pub fn load_from_disk(store: &Database, key: &[u8]) -> Result<Option<LoadedKey>, StoreError> {
        match load_key(store, key, Reach::Disk)? {
            Read::Known(loaded) => Ok(loaded),
            Read::Cold => Ok(None),
        }
    }
}
