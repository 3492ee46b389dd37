//! Finding series keys by their labels, in the key table and in `kv`.
//!
//! Of the values that a filter names, the rarest decides the work, see `label_rows`. What stands in all lists is then
//! judged by its own labels. The table is right about every key that it has, and `kv` is not asked at all while the table
//! has all; `kv` is right about all others, as long as no checkpoint completes between the look at the one and at the
//! other: then the query is repeated.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::series::{Label, SeriesProperties};
use crate::store::layout::{self, KvRow};
use crate::store::{Database, Reach, Read, StoreError};

use super::label_rows::{StepsLeft, candidates};
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

/// Steps along lists of `kv`, and rows of keys, on the lane itself: some hundred microseconds.
const IN_PLACE_STEPS_MAX: usize = 1_024;
const IN_PLACE_KEYS_MAX: usize = 64;

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
    /// Those to look at, if memory had the lists.
    keys: Option<Vec<Box<[u8]>>>,
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
        let keys = match self.keys {
            Some(keys) => keys,
            None => match candidates(
                &self.store,
                &self.query.equalities,
                Reach::Disk,
                &mut StepsLeft(usize::MAX),
            )? {
                Read::Known(keys) => keys,
                Read::Cold => return Err(self.store.unreached()),
            },
        };
        let found = match stored_matches(&self.store, &self.query, self.now_ms, Reach::Disk, keys)? {
            Read::Known(found) => found,
            Read::Cold => return Err(self.store.unreached()),
        };
        Ok(WarmedLabels {
            words: self.query.words,
            epoch: self.epoch,
            found,
        })
    }
}

/// What `kv` knows: keys that pass, ascending, of those that [`candidates`] has found.
fn stored_matches(
    store: &Database,
    query: &LabelQuery,
    now_ms: i64,
    reach: Reach,
    mut keys: Vec<Box<[u8]>>,
) -> Result<Read<Vec<StoredMatch>>, StoreError> {
    let mut passing = Vec::with_capacity(keys.len());
    let read = store.kv_many(&keys, reach, |number, row| {
        let found = row.and_then(|row| passing_row(row, query, now_ms));
        passing.extend(found.map(|(members, properties)| (number, members, properties)));
    })?;
    let Read::Known(()) = read else {
        return Ok(Read::Cold);
    };
    let matches = passing.into_iter().filter_map(|(number, members, properties)| {
        let key = std::mem::take(keys.get_mut(number)?);
        Some(StoredMatch {
            key,
            properties,
            members,
        })
    });
    Ok(Read::Known(matches.collect()))
}

/// What the row of a key holds if it lives and its labels pass.
fn passing_row(
    row: KvRow<'_>,
    query: &LabelQuery,
    now_ms: i64,
) -> Option<(Vec<(u8, u64)>, SeriesProperties)> {
    let lives = row.expire_at_ms == 0 || row.expire_at_ms > now_ms;
    let (members, properties) = split_series_payload(row.type_byte, row.payload).filter(|_| lives)?;
    let properties = properties.filter(|properties| (query.test)(&properties.labels))?;
    Some((members, properties))
}

impl Partition {
    /// Keys whose labels pass the query, ascending.
    ///
    /// # Errors
    /// `Wait::Labels` if the disk has to be asked, `Wait::Held` if a batch holds one of the keys.
    pub fn find_labelled(&mut self, query: &LabelQuery, now_ms: i64) -> Result<Vec<LabelMatch>, Stop> {
        let mut found: Vec<LabelMatch> = Vec::new();
        for row in self.find_stored(query, now_ms)? {
            if self.keys.find(&row.key).is_none() {
                found.push(LabelMatch::Stored(row));
            }
        }
        for key in self.labels.find(&query.equalities) {
            let Some(place) = self.keys.find(key) else {
                continue;
            };
            let entry = self.keys.at(place);
            let matches =
                |listed: &super::properties::ListedProperties| (query.test)(&listed.properties.labels);
            if !entry.is_expired(now_ms) && entry.properties().is_some_and(matches) {
                found.push(LabelMatch::Listed(key.into(), place));
            }
        }
        found.sort_unstable_by(|left, right| left.key().cmp(right.key()));
        if !self.batches.holds_nothing() {
            let running = self.batches.running();
            if found
                .iter()
                .any(|found| self.batches.is_held(found.key(), running))
            {
                return Err(Stop::Wait(Wait::Held));
            }
        }
        Ok(found)
    }

    fn find_stored(&mut self, query: &LabelQuery, now_ms: i64) -> Result<Vec<StoredMatch>, Stop> {
        if self.unlisted_stored_keys == 0 {
            return Ok(Vec::new());
        }
        let is_this = |warmed: &WarmedLabels| warmed.words == query.words;
        if let Some(at) = self.warmed_labels.iter().position(is_this) {
            let warmed = self.warmed_labels.swap_remove(at);
            if warmed.epoch == self.completed_epoch {
                return Ok(warmed.found);
            }
        }
        let mut steps_left = StepsLeft(IN_PLACE_STEPS_MAX);
        let keys = match candidates(&self.store, &query.equalities, Reach::Memory, &mut steps_left)? {
            Read::Cold => None,
            Read::Known(mut keys) => {
                keys.retain(|key| self.keys.find(key).is_none());
                Some(keys)
            }
        };
        if let Some(keys) = keys.as_ref().filter(|keys| keys.len() <= IN_PLACE_KEYS_MAX)
            && let Read::Known(found) =
                stored_matches(&self.store, query, now_ms, Reach::Memory, keys.clone())?
        {
            return Ok(found);
        }
        Err(Stop::Wait(Wait::Labels(Box::new(LabelJob {
            store: self.store.clone(),
            query: query.clone(),
            keys,
            now_ms,
            epoch: self.completed_epoch,
        }))))
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
            store: (self.unlisted_stored_keys > 0).then(|| self.store.clone()),
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
