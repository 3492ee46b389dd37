//! Rows that a replay is going to ask for one by one, read in the order in which they lie on the disk.

use std::collections::HashMap;

use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, RowCursor, StoreError, StoreOperation};

use super::loading::StoredValue;

/// Rows passed one by one to reach the next wanted one, before it is looked for.
const STEPS_MAX: usize = 16;

/// State rows of series, of which some have none.
pub type SeriesRows = HashMap<u64, Option<Vec<u8>>>;

/// Reads the state rows of these series, whose ids ascend. Blocks.
///
/// # Errors
/// If a row cannot be read.
pub fn series_rows(store: &Database, ids: &[u64]) -> Result<SeriesRows, StoreError> {
    let mut found = HashMap::with_capacity(ids.len());
    let Some(first) = ids.first() else {
        return Ok(found);
    };
    let mut rows = store.series_from(*first, Reach::Disk);
    for id in ids {
        let row = find(&mut rows, &id.to_be_bytes())?;
        found.insert(*id, row.map(<[u8]>::to_vec));
    }
    Ok(found)
}

/// Reads the rows of keys that ascend. Blocks.
pub struct KeyRows<'a> {
    store: &'a Database,
    rows: Option<RowCursor<'a>>,
}

impl<'a> KeyRows<'a> {
    /// None read yet.
    pub fn new(store: &'a Database) -> KeyRows<'a> {
        KeyRows { store, rows: None }
    }

    /// What `kv` holds of the key.
    ///
    /// # Errors
    /// If the row cannot be read or is damaged.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<StoredValue>, StoreError> {
        let rows = self
            .rows
            .get_or_insert_with(|| self.store.kv_rows(key, Reach::Disk));
        let Some(row) = find(rows, &layout::kv_key(key))? else {
            return Ok(None);
        };
        let row = KvRow::decode(row).ok_or_else(|| {
            let what = format!("damaged kv row of key {:?}", String::from_utf8_lossy(key));
            StoreError::new(StoreOperation::Decode, self.store.name(), what)
        })?;
        Ok(Some(StoredValue::of(row)))
    }
}

/// Moves forward to the row with this key; `None` if there is none.
fn find<'a>(rows: &'a mut RowCursor<'_>, wanted: &[u8]) -> Result<Option<&'a [u8]>, StoreError> {
    let mut steps = 0;
    while let Read::Known(Some((key, _))) = rows.current()?
        && key < wanted
    {
        if steps < STEPS_MAX {
            rows.advance();
        } else {
            rows.seek(wanted);
        }
        steps += 1;
    }
    match rows.current()? {
        Read::Known(Some((key, row))) if key == wanted => Ok(Some(row)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Committed;
    use crate::lane::test_support::test_partition;
    use crate::series::{EncodeScratch, Sample};

    #[test]
    fn rows_near_and_far_are_found_and_missing_ones_are_not() {
        let mut partition = test_partition();
        for number in 0..200 {
            let key = format!("key{number:03}");
            assert!(
                partition
                    .add_sample(key.as_bytes(), 0, Sample::new(1, 1.0), 0)
                    .is_ok()
            );
            let member = partition
                .find_series(key.as_bytes(), 0, 0)
                .ok()
                .flatten()
                .unwrap();
            if number % 7 != 0 {
                partition.request_seal(member);
            }
        }
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
        let ids = [2, 3, 8, 9, 90, 91, 150, 200, 1_000];
        let rows = series_rows(partition.database(), &ids).unwrap();
        for id in ids {
            let exists = (id - 1) % 7 != 0 && id <= 200;
            assert_eq!(rows[&id].is_some(), exists, "{id}");
            if let Some(row) = &rows[&id] {
                let (_, _, key) = crate::lane::SealedState::decode(row).unwrap();
                assert_eq!(key, format!("key{:03}", id - 1).as_bytes());
            }
        }
        assert!(series_rows(partition.database(), &[]).unwrap().is_empty());
    }
}
