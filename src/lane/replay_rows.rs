//! Rows that a replay is going to ask for one by one, read in the order in which they lie on the disk.

use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, RowCursor, StoreError, StoreOperation};

use super::key_bytes::KeyBytes;
use super::loading::{StoredValue, damaged_series};
use super::series_state::SealedState;

/// Rows passed one by one to reach the next wanted one, before it is looked for.
const STEPS_MAX: usize = 16;

/// Id of a series, what is sealed of it, its data type and its key.
pub type SeriesRow = (u64, SealedState, u8, KeyBytes);

/// Reads the state rows of these series, whose ids ascend; those that have none are left out. Blocks.
///
/// # Errors
/// In the place of a row that cannot be read or is damaged.
pub fn series_rows(store: &Database, ids: &[u64]) -> impl Iterator<Item = Result<SeriesRow, StoreError>> {
    let mut rows = ids.first().map(|first| store.series_from(*first, Reach::Disk));
    ids.iter().filter_map(move |id| {
        let row = match find(rows.as_mut()?, &id.to_be_bytes()) {
            Ok(row) => SealedState::decode(row?),
            Err(error) => return Some(Err(error)),
        };
        Some(match row {
            Some((sealed, data_type, key)) => Ok((*id, sealed, data_type, key.into())),
            None => Err(damaged_series(store, *id)),
        })
    })
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
        let mut has_more = true;
        while has_more {
            let committed = partition.commit(&mut EncodeScratch::default());
            assert!(matches!(committed, Committed::Written { .. }));
            has_more = partition.has_more_to_seal();
        }
        let ids = [2, 3, 8, 9, 90, 91, 150, 200, 1_000];
        let rows: Vec<SeriesRow> = series_rows(partition.database(), &ids)
            .map(Result::unwrap)
            .collect();
        let exists = |id: &u64| !(id - 1).is_multiple_of(7) && *id <= 200;
        let expected: Vec<u64> = ids.into_iter().filter(exists).collect();
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<u64>>(), expected);
        for (id, sealed, _, key) in rows {
            assert_eq!(*key, *format!("key{:03}", id - 1).as_bytes());
            assert_eq!(sealed.chunk_samples, 1);
        }
        assert_eq!(series_rows(partition.database(), &[]).count(), 0);
    }
}
