//! Finding series keys by their labels, in the key table and in `kv`.
//!
//! Of the values that a filter names, the rarest decides the work: the postings are walked side by side, and the first
//! list that ends has all candidates. Each candidate is then judged by its own labels. The table is right about every
//! key that it has; `kv` is right about all others, as long as no checkpoint completes between the look at the one and
//! at the other: then the query is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::series::{Label, SeriesProperties};
use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, StoreError};

use super::loading::split_series_payload;
use super::partition::Partition;
use super::stop::{Stop, Wait};

/// A label and the values of it that are wanted.
pub type NamedValues = (Box<[u8]>, Vec<Box<[u8]>>);

/// Judges a key by its labels.
pub type LabelTest = Arc<dyn Fn(&[Label]) -> bool + Send + Sync>;

/// Results for queries that are about to be run again, per partition.
const WARMED_QUERIES_MAX: usize = 64;
/// Keys looked at before a label that only `kv` knows is taken to be in use.
const SAMPLE_KEYS_PER_LABEL: usize = 64;

/// Which keys are wanted.
#[derive(Clone)]
pub struct LabelQuery {
    /// Names the query: two of the same words are the same.
    pub words: Vec<u8>,
    /// Labels for which the filter names values: one of these values has to be there. Not empty.
    pub equalities: Vec<NamedValues>,
    /// The whole filter.
    pub test: LabelTest,
}

/// A key that was found.
pub enum LabelMatch {
    /// In the key table, at this place.
    Listed(Box<[u8]>, usize),
    /// Only in `kv`.
    Stored(StoredMatch),
}

impl LabelMatch {
    /// The key.
    pub fn key(&self) -> &[u8] {
        match self {
            LabelMatch::Listed(key, _) => key,
            LabelMatch::Stored(found) => &found.key,
        }
    }
}

/// A key as its row in `kv` has it.
#[derive(Clone, Debug)]
pub struct StoredMatch {
    /// The key.
    pub key: Box<[u8]>,
    /// Its properties.
    pub properties: SeriesProperties,
    /// Data types and ids of its series.
    pub members: Vec<(u8, u64)>,
}

/// Work for the blocking pool: what `kv` knows.
pub struct LabelJob {
    store: Database,
    query: LabelQuery,
    now_ms: i64,
    epoch: u32,
}

/// What a [`LabelJob`] has found.
pub struct WarmedLabels {
    words: Vec<u8>,
    epoch: u32,
    found: Vec<StoredMatch>,
}

impl std::fmt::Debug for LabelJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LabelJob({:?})", self.query.equalities)
    }
}

impl LabelJob {
    /// Asks the disk. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or is damaged.
    pub fn run(self) -> Result<WarmedLabels, StoreError> {
        let found = match stored_matches(&self.store, &self.query, self.now_ms, Reach::Disk)? {
            Read::Known(found) => found,
            Read::Cold => Vec::new(),
        };
        Ok(WarmedLabels {
            words: self.query.words,
            epoch: self.epoch,
            found,
        })
    }
}

fn stored_matches(
    store: &Database,
    query: &LabelQuery,
    now_ms: i64,
    reach: Reach,
) -> Result<Read<Vec<StoredMatch>>, StoreError> {
    let Read::Known(candidates) = candidates(store, query, reach)? else {
        return Ok(Read::Cold);
    };
    let mut found = Vec::new();
    for key in candidates {
        let row = store.kv(&key, reach, |row| {
            let KvRow {
                type_byte,
                expire_at_ms,
                payload,
            } = row?;
            let lives = expire_at_ms == 0 || expire_at_ms > now_ms;
            let (members, properties) = split_series_payload(type_byte, payload).filter(|_| lives)?;
            Some((members, properties?))
        })?;
        match row {
            Read::Cold => return Ok(Read::Cold),
            Read::Known(Some((members, properties))) if (query.test)(&properties.labels) => {
                found.push(StoredMatch {
                    key,
                    properties,
                    members,
                });
            }
            Read::Known(_) => {}
        }
    }
    Ok(Read::Known(found))
}

/// Keys of the shortest of the lists that the filter names.
fn candidates(
    store: &Database,
    query: &LabelQuery,
    reach: Reach,
) -> Result<Read<Vec<Box<[u8]>>>, StoreError> {
    struct List<'a> {
        cursors: Vec<(usize, crate::store::RowCursor<'a>)>,
        keys: Vec<Box<[u8]>>,
    }
    let mut lists: Vec<List<'_>> = query
        .equalities
        .iter()
        .map(|(name, values)| List {
            cursors: values
                .iter()
                .map(|value| {
                    let prefix_len = layout::label_prefix(name, Some(value)).len();
                    (prefix_len, store.label_rows(name, Some(value), reach))
                })
                .collect(),
            keys: Vec::new(),
        })
        .collect();
    loop {
        for list in &mut lists {
            let Some((prefix_len, cursor)) = list.cursors.last_mut() else {
                return Ok(Read::Known(std::mem::take(&mut list.keys)));
            };
            match cursor.current()? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(Some((row, _))) => {
                    list.keys.push(row.get(*prefix_len..).unwrap_or(b"").into());
                    cursor.advance();
                }
                Read::Known(None) => {
                    list.cursors.pop();
                }
            }
        }
        if lists.is_empty() {
            return Ok(Read::Known(Vec::new()));
        }
    }
}

impl Partition {
    /// Keys whose labels pass the query, ascending.
    ///
    /// # Errors
    /// `Wait::Labels` if the disk has to be asked, `Wait::Held` if a batch holds one of the keys.
    pub fn find_labelled(&mut self, query: &LabelQuery, now_ms: i64) -> Result<Vec<LabelMatch>, Stop> {
        let stored = self.find_stored(query, now_ms)?;
        let mut found = BTreeMap::new();
        for key in self.labels.find(&query.equalities) {
            let Some(place) = self.keys.find(key) else {
                continue;
            };
            let entry = self.keys.at(place);
            let matches =
                |listed: &super::properties::ListedProperties| (query.test)(&listed.properties.labels);
            if !entry.is_expired(now_ms) && entry.properties().is_some_and(matches) {
                found.insert(Box::from(key), LabelMatch::Listed(key.into(), place));
            }
        }
        for row in stored {
            if self.keys.find(&row.key).is_none() {
                found.insert(row.key.clone(), LabelMatch::Stored(row));
            }
        }
        if !self.batches.holds_nothing() {
            let running = self.batches.running();
            if found.keys().any(|key| self.batches.is_held(key, running)) {
                return Err(Stop::Wait(Wait::Held));
            }
        }
        Ok(found.into_values().collect())
    }

    fn find_stored(&mut self, query: &LabelQuery, now_ms: i64) -> Result<Vec<StoredMatch>, Stop> {
        if self.stored_keys == 0 {
            return Ok(Vec::new());
        }
        let is_this = |warmed: &WarmedLabels| warmed.words == query.words;
        if let Some(at) = self.warmed_labels.iter().position(is_this) {
            let warmed = self.warmed_labels.swap_remove(at);
            if warmed.epoch == self.completed_epoch {
                return Ok(warmed.found);
            }
        }
        match stored_matches(&self.store, query, now_ms, Reach::Memory)? {
            Read::Known(found) => Ok(found),
            Read::Cold => Err(Stop::Wait(Wait::Labels(Box::new(LabelJob {
                store: self.store.clone(),
                query: query.clone(),
                now_ms,
                epoch: self.completed_epoch,
            })))),
        }
    }

    /// Takes in what a job has found, for the query that is run again now.
    pub fn finish_labels(&mut self, warmed: WarmedLabels) {
        if self.warmed_labels.len() >= WARMED_QUERIES_MAX {
            self.warmed_labels.remove(0);
        }
        self.warmed_labels.push(warmed);
    }

    /// Names of labels in use, or values of the label `of`.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn label_words(&self, of: Option<&[u8]>) -> LabelWords {
        let mut known = BTreeSet::new();
        for (name, values) in self.labels.names() {
            match of {
                None => {
                    known.insert(Box::from(name));
                }
                Some(of) if of == name => known.extend(values.map(Box::from)),
                Some(_) => {}
            }
        }
        LabelWords {
            store: (self.stored_keys > 0).then(|| self.store.clone()),
            of: of.map(Box::from),
            listed: self
                .keys
                .iter()
                .filter(|entry| entry.stored.labelled)
                .map(|entry| Box::from(entry.key()))
                .collect(),
            known,
        }
    }
}

/// Names or values of labels; what `kv` adds is for the blocking pool to find.
pub struct LabelWords {
    store: Option<Database>,
    of: Option<Box<[u8]>>,
    /// Keys of the table that `kv` lists too: it may be wrong about them.
    listed: BTreeSet<Box<[u8]>>,
    known: BTreeSet<Box<[u8]>>,
}

impl LabelWords {
    /// True if the disk need not be asked.
    pub fn is_complete(&self) -> bool {
        self.store.is_none()
    }

    /// All words, ascending. Blocks unless complete.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn run(mut self) -> Result<BTreeSet<Box<[u8]>>, StoreError> {
        let Some(store) = self.store.take() else {
            return Ok(self.known);
        };
        let mut rows = match &self.of {
            Some(name) => store.label_rows(name, None, Reach::Disk),
            None => store.all_label_rows(Reach::Disk),
        };
        let mut looked_at = 0;
        while let Read::Known(Some((row, _))) = rows.current()? {
            let Some((name, value, key)) = layout::decode_label_row(row) else {
                break;
            };
            let word = if self.of.is_some() { &value } else { &name };
            looked_at += 1;
            let is_used = looked_at > SAMPLE_KEYS_PER_LABEL || !self.listed.contains(key);
            if !is_used && !self.known.contains(word.as_slice()) {
                rows.advance();
                continue;
            }
            looked_at = 0;
            let behind = layout::label_prefix(&name, self.of.is_some().then_some(value.as_slice()));
            self.known.insert(word.as_slice().into());
            rows.seek_behind(&behind);
        }
        Ok(self.known)
    }
}
