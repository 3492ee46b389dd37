//! Which keys of the key table have which labels: the part of the label index that is in memory.
//!
//! The rest is in `kv`, written by checkpoints together with the rows of the keys. Where both speak of a key, the key
//! table is right: an entry is never older than its row.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use crate::series::Label;

use super::label_query::NamedValues;

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
}

impl LabelTable {
    /// Lists a key.
    pub fn insert(&mut self, key: &[u8], labels: &[Label]) -> LabelledId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.keys.push(None);
            u32::try_from(self.keys.len() - 1).expect("invariant: memory holds fewer than 2^32 keys")
        });
        if let Some(slot) = self.keys.get_mut(id as usize) {
            *slot = Some(key.into());
        }
        for (name, value) in labels {
            let values = match self.postings.get_mut(name) {
                Some(values) => values,
                None => self.postings.entry(name.clone()).or_default(),
            };
            match values.get_mut(value) {
                Some(ids) => ids.insert(id),
                None => values.entry(value.clone()).or_default().insert(id),
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
            ids.remove(id);
            if ids.is_empty() {
                values.remove(value);
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
        if let Some(slot) = self.keys.get_mut(id as usize)
            && slot.take().is_some()
        {
            self.free.push(id);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = LabelTable::default();
    }

    /// Keys that have one of the values of each of the labels.
    pub fn find<'a>(&'a self, equalities: &[NamedValues]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut found: Option<RoaringBitmap> = None;
        for (name, values) in equalities {
            let mut any = RoaringBitmap::new();
            if let Some(known) = self.postings.get(name) {
                values
                    .iter()
                    .filter_map(|value| known.get(value))
                    .for_each(|ids| any |= ids);
            }
            found = Some(match found {
                Some(found) => found & any,
                None => any,
            });
        }
        let keys = &self.keys;
        let ids = found.unwrap_or_default().into_iter();
        ids.filter_map(move |id| keys.get(id as usize)?.as_deref())
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
        table.remove(a, &first);
        assert_eq!(found(&table, &[("metric", &["cpu"])]), ["b"]);
        assert_eq!(table.insert(b"d", &first), a, "numbers are reused");
        assert_eq!(table.names().count(), 2);
    }
}
