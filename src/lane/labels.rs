//! Which keys of the key table have which labels: the part of the label index that is in memory.
//!
//! The rest is in `kv`, written by checkpoints together with the rows of the keys. Where both speak of a key, the key
//! table is right: an entry is never older than its row.

use std::borrow::Cow;
use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::series::Label;

use super::label_query::NamedValues;
use super::memory::{allocated, hashed};

/// Number of a labelled key, reused after it is gone.
pub type LabelledId = u32;

/// Keys by value of one label.
type Values = HashMap<Box<[u8]>, RoaringBitmap>;

/// See the head of the file.
#[derive(Default)]
pub struct LabelTable {
    keys: Vec<Option<Box<[u8]>>>,
    free: Vec<LabelledId>,
    postings: HashMap<Box<[u8]>, Values>,
    memory_bytes: usize,
}

/// Of a listed key, beside the key: its slot.
const SLOT_BYTES: usize = size_of::<Option<Box<[u8]>>>();
/// Of a key under one label: bitmaps take two bytes in blocks that grow by doubling.
const POSTING_BYTES: usize = 4;
/// Of a value that a label has, beside the value: its entry, and a bitmap of one block.
const VALUE_BYTES: usize = hashed(size_of::<(Box<[u8]>, RoaringBitmap)>()) + allocated(48) + allocated(8);

impl LabelTable {
    /// Lists a key.
    pub fn insert(&mut self, key: &[u8], labels: &[Label]) -> LabelledId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            u32::try_from(self.keys.len() - 1).expect("invariant: memory holds fewer than 2^32 keys")
        });
        if let Some(slot) = self.keys.get_mut(id as usize) {
            *slot = Some(key.into());
            self.memory_bytes += SLOT_BYTES + allocated(key.len());
        }
        self.memory_bytes += labels.len() * POSTING_BYTES;
        for (name, value) in labels {
            let values = match self.postings.get_mut(name) {
                Some(values) => values,
                None => self.postings.entry(name.clone()).or_default(),
            };
            match values.get_mut(value) {
                Some(ids) => ids.insert(id),
                None => {
                    self.memory_bytes += VALUE_BYTES + allocated(value.len());
                    values.entry(value.clone()).or_default().insert(id)
                }
            };
        }
        id
    }

    /// Takes a key off the list; `labels` are those it was listed with.
    pub fn remove(&mut self, id: LabelledId, labels: &[Label]) {
        for (name, value) in labels {
            let Some(values) = self.postings.get_mut(name) else {
                continue;
            };
            let Some(ids) = values.get_mut(value) else {
                continue;
            };
            self.memory_bytes = self.memory_bytes.saturating_sub(POSTING_BYTES);
            ids.remove(id);
            if ids.is_empty() {
                self.memory_bytes = self
                    .memory_bytes
                    .saturating_sub(VALUE_BYTES + allocated(value.len()));
                values.remove(value);
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
        if let Some(slot) = self.keys.get_mut(id as usize)
            && let Some(key) = slot.take()
        {
            self.memory_bytes = self
                .memory_bytes
                .saturating_sub(SLOT_BYTES + allocated(key.len()));
            self.free.push(id);
        }
    }

    /// Memory of the keys listed and their labels' values.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = LabelTable::default();
    }

    /// Keys that have one of the values of each of the labels.
    pub fn find<'a>(&'a self, equalities: &[NamedValues]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut lists: Vec<Cow<'_, RoaringBitmap>> = equalities
            .iter()
            .map(|(name, values)| self.with_any(name, values))
            .collect();
        lists.sort_unstable_by_key(|ids| ids.len());
        let found = lists.into_iter().reduce(|found, ids| Cow::Owned(&*found & &*ids));
        let keys = &self.keys;
        let ids = found.unwrap_or_default().into_owned().into_iter();
        ids.filter_map(move |id| keys.get(id as usize)?.as_deref())
    }

    /// Keys that have one of the values of a label.
    fn with_any(&self, name: &[u8], values: &[Box<[u8]>]) -> Cow<'_, RoaringBitmap> {
        let known = self.postings.get(name);
        let lists = values.iter().filter_map(|value| known?.get(value));
        let union = lists
            .map(Cow::Borrowed)
            .reduce(|any, ids| Cow::Owned(&*any | &*ids));
        union.unwrap_or_default()
    }

    /// Names of labels and their values.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], impl Iterator<Item = &[u8]>)> {
        self.postings
            .iter()
            .map(|(name, values)| (&**name, values.keys().map(|value| &**value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect()
    }

    fn found(table: &LabelTable, equalities: &[(&str, &[&str])]) -> Vec<String> {
        let boxed = |text: &str| Box::<[u8]>::from(text.as_bytes());
        let equalities: Vec<NamedValues> = equalities
            .iter()
            .map(|(name, values)| (boxed(name), values.iter().map(|value| boxed(value)).collect()))
            .collect();
        let mut keys: Vec<String> = table
            .find(&equalities)
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn keys_are_found_by_all_their_labels_and_forgotten() {
        let mut table = LabelTable::default();
        let first = labels(&[("host", "a"), ("metric", "cpu")]);
        let a = table.insert(b"a", &first);
        table.insert(b"b", &labels(&[("host", "b"), ("metric", "cpu")]));
        table.insert(b"c", &labels(&[("host", "c"), ("metric", "memory")]));
        assert_eq!(found(&table, &[("metric", &["cpu"])]), ["a", "b"]);
        assert_eq!(
            found(&table, &[("metric", &["cpu"]), ("host", &["b", "c"])]),
            ["b"]
        );
        assert!(found(&table, &[("metric", &[])]).is_empty());
        assert!(found(&table, &[("nope", &["cpu"])]).is_empty());
        let bytes = table.memory_bytes();
        table.remove(a, &first);
        let gone = SLOT_BYTES + allocated(1) + 2 * POSTING_BYTES + VALUE_BYTES + allocated(1);
        assert_eq!(table.memory_bytes(), bytes - gone);
        assert_eq!(found(&table, &[("metric", &["cpu"])]), ["b"]);
        assert_eq!(table.insert(b"d", &first), a, "numbers are reused");
        assert_eq!(table.names().count(), 2);
    }
}
