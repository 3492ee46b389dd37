//! Finding series keys by their labels, in the key table and in `kv`.
//!
//! Of the values that a filter names, the rarest decides the work: postings are sorted by key, and where one list stands
//! the others jump to. What stands in all of them is then judged by its own labels. The table is right about every
//! key that it has; `kv` is right about all others, as long as no checkpoint completes between the look at the one and
//! at the other: then the query is repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::series::{Label, SeriesProperties};
use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, RowCursor, StoreError};

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

/// Steps to the next row of a list before it is searched: a search costs about as much as so many steps.
const STEPS_BEFORE_SEEK: usize = 8;

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

/// The keys that `kv` lists under one value of a label, ascending.
struct ValueRows<'a> {
    prefix: Vec<u8>,
    rows: RowCursor<'a>,
}

impl ValueRows<'_> {
    /// The first key that is not below `target`, which never goes back; `None` if there is none.
    fn at_least(&mut self, target: &[u8]) -> Result<Read<Option<&[u8]>>, StoreError> {
        let mut steps = 0;
        while let Read::Known(Some((row, _))) = self.rows.current()?
            && row.get(self.prefix.len()..).unwrap_or(b"") < target
        {
            if steps == STEPS_BEFORE_SEEK {
                self.rows.seek(&[&self.prefix, target].concat());
                break;
            }
            self.rows.advance();
            steps += 1;
        }
        Ok(match self.rows.current()? {
            Read::Cold => Read::Cold,
            Read::Known(row) => Read::Known(row.map(|(row, _)| row.get(self.prefix.len()..).unwrap_or(b""))),
        })
    }
}

/// The least key of any of the values that is not below `target`.
fn least(values: &mut [ValueRows<'_>], target: &[u8]) -> Result<Read<Option<Vec<u8>>>, StoreError> {
    let mut least: Option<&[u8]> = None;
    for value in values {
        match value.at_least(target)? {
            Read::Cold => return Ok(Read::Cold),
            Read::Known(Some(key)) if least.is_none_or(|least| key < least) => least = Some(key),
            Read::Known(_) => {}
        }
    }
    Ok(Read::Known(least.map(<[u8]>::to_vec)))
}

/// Keys that stand in all of the lists that the filter names: each list in turn jumps to where the one before stands.
fn candidates(
    store: &Database,
    query: &LabelQuery,
    reach: Reach,
) -> Result<Read<Vec<Box<[u8]>>>, StoreError> {
    let rows = |(name, values): &NamedValues| -> Vec<ValueRows<'_>> {
        let of_value = |value: &[u8]| ValueRows {
            prefix: layout::label_prefix(name, Some(value)),
            rows: store.label_rows(name, Some(value), reach),
        };
        values.iter().map(|value| of_value(value)).collect()
    };
    let mut lists: Vec<Vec<ValueRows<'_>>> = query.equalities.iter().map(rows).collect();
    let (mut found, mut target) = (Vec::new(), Vec::new());
    'target: while !lists.is_empty() {
        for list in &mut lists {
            match least(list, &target)? {
                Read::Cold => return Ok(Read::Cold),
                Read::Known(None) => break 'target,
                Read::Known(Some(key)) if key > target => {
                    target = key;
                    continue 'target;
                }
                Read::Known(Some(_)) => {}
            }
        }
        found.push(Box::from(target.as_slice()));
        // The least key above this one.
        target.push(0);
    }
    Ok(Read::Known(found))
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
