//! Samples of a partition: adding them, sealing heads into chunks, and the series slab.

use std::ops::Range;

use crate::limits::DELETED_RANGES_MAX;
use crate::refusal::Refusal;
use crate::series::columns::{NEXT_SAMPLES, SMALL_SAMPLES};
use crate::series::{self, CHUNK_SAMPLES_MAX, EncodeScratch, Sample};
use crate::store::{Batch, StoredKey, Tier};

use super::deletions;
use super::keys::Value;
use super::late;
use super::members::Members;
use super::partition::{LATE_SAMPLES_MAX, Partition};
use super::properties::PLAIN_DATA_TYPE;
use super::series_state::{SealedState, Series};
use super::stop::Stop;

/// Place in the slab of a series, and what it is about to be given.
pub type FoundSample = (u32, Sample);

/// Samples for which a partition keeps room from command to command.
const FOUND_SAMPLES_MAX: usize = 4_096;
/// So many full series are sealed with one record, unless there are fewer that cannot wait.
const SEALS_TOGETHER: usize = 64;
/// While memory is short, series that were sealed with no more samples than this give the memory of their heads back:
/// others will soon have as many again.
const SMALL_SEAL_SAMPLES: usize = 64;
/// A full head that has grown by one in so many samples since waits no longer.
const FULL_HEAD_GROWTH: usize = 8;

impl Partition {
    /// An empty list, with room from last time, to be given back to [`Partition::return_found_samples`].
    pub fn lend_found_samples(&mut self) -> Vec<FoundSample> {
        std::mem::take(&mut self.found_samples)
    }

    /// Takes back what [`Partition::lend_found_samples`] has lent.
    pub fn return_found_samples(&mut self, mut found: Vec<FoundSample>) {
        found.clear();
        found.shrink_to(FOUND_SAMPLES_MAX);
        self.found_samples = found;
    }

    /// Adds a sample to the series of `key` and `data_type`, creating both if needed. An equal timestamp is replaced.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`, a key that is too long, or, if it has rules, as [`Partition::certain_newest`].
    #[inline]
    pub fn add_sample(&mut self, key: &[u8], data_type: u8, sample: Sample, now_ms: i64) -> Result<(), Stop> {
        let found = self.find(key, now_ms)?;
        let member = match found {
            Some(place) => match &self.keys.at(place).value {
                Value::Series(members) => members.of(data_type),
                _ => return Err(Refusal::WrongType.into()),
            },
            None => None,
        };
        let member = match member {
            Some(member) => member,
            None => self.create_series_of_found(key, data_type)?,
        };
        match found.filter(|place| data_type == PLAIN_DATA_TYPE && self.has_rules(*place)) {
            Some(place) => {
                self.certain_newest(member)?;
                self.put_sample_at(place, member, sample, now_ms);
            }
            None => self.put_sample(member, sample, now_ms),
        }
        Ok(())
    }

    /// Puts the samples of a series that had another key into that of `key` and `data_type`, created if needed. Rules are
    /// not followed: they have been, where the samples come from.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`, or a key that is too long.
    pub fn put_moved_samples(
        &mut self,
        key: &[u8],
        data_type: u8,
        samples: &[Sample],
        now_ms: i64,
    ) -> Result<(), Stop> {
        let member = match self.find_series(key, data_type, now_ms)? {
            Some(member) => member,
            None => self.create_series(key, data_type, now_ms)?,
        };
        for sample in samples {
            self.put_sample(member, *sample, now_ms);
        }
        Ok(())
    }

    /// As [`Partition::put_sample`] for the series of data type 0 of the key at `place`, whose rules are followed. If it
    /// has any, its newest sample is known, see [`Partition::certain_newest`].
    #[inline]
    pub fn put_sample_at(&mut self, place: usize, member: u32, sample: Sample, now_ms: i64) {
        if !self.has_rules(place) {
            self.put_sample(member, sample, now_ms);
            return;
        }
        let newest = self.series_at(member).newest_timestamp();
        self.put_sample(member, sample, now_ms);
        self.roll_up_after(place, newest, sample.timestamp, now_ms);
    }

    /// Adds a sample to the series at `member`. An equal timestamp is replaced.
    #[inline]
    pub fn put_sample(&mut self, member: u32, sample: Sample, now_ms: i64) {
        let series = self.series.get_mut(member);
        let series = series.expect("invariant: entries name living series");
        self.journal
            .sample(series.id, sample.timestamp, sample.value, sample.quality);
        series.touched_ms = now_ms;
        let added = Added::to(series, sample, self.sequence, self.settings.head_samples_max);
        self.sample_added(member, added);
    }

    #[inline]
    pub(super) fn apply_sample(&mut self, member: u32, sample: Sample, sequence: u64) {
        let series = self.series.get_mut(member);
        let series = series.expect("invariant: entries name living series");
        let added = Added::to(series, sample, sequence, self.settings.head_samples_max);
        self.sample_added(member, added);
    }

    #[inline]
    fn sample_added(&mut self, member: u32, added: Added) {
        if added.is_full {
            self.note_full(member);
        }
        if added.has_grown {
            self.recount(member);
        }
        self.counters.samples_added += 1;
        self.counters.changes += 1;
        if !self.watches.is_empty() {
            let key = self.series_at(member).key.clone();
            self.watches.touch(&key);
        }
    }

    /// Brings the count of memory up to date with that of a series.
    #[cold]
    pub(super) fn recount(&mut self, member: u32) {
        if let Some(series) = self.series.get_mut(member) {
            let (before, after) = series.recount();
            self.series_memory_bytes = self.series_memory_bytes + after - before;
        }
    }

    /// Puts a series that is full on the list to be sealed. One that goes on growing does not wait for others.
    #[cold]
    fn note_full(&mut self, member: u32) {
        let head_samples_max = self.settings.head_samples_max;
        let Some(series) = self.series.get_mut(member) else {
            return;
        };
        let usual = series.head_samples_max(head_samples_max);
        self.seals_are_urgent |= series.head.len() >= usual + usual / FULL_HEAD_GROWTH
            || series.late.len() >= LATE_SAMPLES_MAX + LATE_SAMPLES_MAX / FULL_HEAD_GROWTH;
        if !series.seal_due {
            series.seal_due = true;
            self.seal_due.push(member);
        }
    }

    /// True if series are to be sealed with the open record.
    pub(super) fn seals_are_due(&self) -> bool {
        self.seal_due.len() >= SEALS_TOGETHER || (self.seals_are_urgent && !self.seal_due.is_empty())
    }

    /// Deletes the samples of the series at `member` from `from` to `to`, both included, in the time unit of the business.
    /// Space on disk comes back in the background.
    ///
    /// # Errors
    /// If too many deleted ranges wait for the background already.
    pub fn delete_range(&mut self, member: u32, from: i64, to: i64) -> Result<(), Stop> {
        let series = self.series_at(member);
        if from > to || !series.may_hold(from, to) {
            return Ok(());
        }
        if series.unsealed_deletions.len() + series.sealed.deleted.len() >= DELETED_RANGES_MAX {
            let text = "ERR too many deleted ranges of this key wait for background work, try again later";
            return Err(Refusal::text(text).into());
        }
        self.journal.delete_range(series.id, from, to);
        let sequence = self.sequence;
        self.apply_delete_range(member, from, to, sequence);
        Ok(())
    }

    pub(super) fn apply_delete_range(&mut self, member: u32, from: i64, to: i64, sequence: u64) {
        let series = self.series.get_mut(member);
        let series = series.expect("invariant: entries name living series");
        series.delete_range(from, to, sequence);
        if series.unsealed_deletions.len() >= LATE_SAMPLES_MAX {
            self.request_seal(member);
        }
        let id = self.series_at(member).id;
        self.warmed.forget(id);
        self.counters.changes += 1;
        if !self.watches.is_empty() {
            let key = self.series_at(member).key.clone();
            self.watches.touch(&key);
        }
    }

    pub(super) fn create_series(&mut self, key: &[u8], data_type: u8, now_ms: i64) -> Result<u32, Stop> {
        let place = self.place_to_write(key, now_ms)?;
        Ok(self.create_series_at(place, data_type))
    }

    /// As [`Partition::create_series`] for a key that has just been looked up: what the table does not hold now is
    /// nowhere.
    fn create_series_of_found(&mut self, key: &[u8], data_type: u8) -> Result<u32, Stop> {
        let place = match self.keys.find(key) {
            Some(place) => place,
            None => {
                self.check_key(key)?;
                self.keys.insert(key, Value::Absent, 0, StoredKey::default())
            }
        };
        Ok(self.create_series_at(place, data_type))
    }

    fn create_series_at(&mut self, place: usize, data_type: u8) -> u32 {
        let id = self.next_series_id;
        self.journal
            .create_series(self.keys.at(place).key(), data_type, id);
        self.apply_create_series(place, data_type, id)
    }

    pub(super) fn apply_create_series(&mut self, place: usize, data_type: u8, id: u64) -> u32 {
        self.next_series_id = self.next_series_id.max(id.saturating_add(1));
        let key: Box<[u8]> = self.keys.at(place).key().into();
        let member = self.add_series(Series::new(id, data_type, &key, SealedState::default()));
        self.attach_series(place, data_type, member);
        member
    }

    /// The key at `place` has the series at `member` from now on.
    pub(super) fn attach_series(&mut self, place: usize, data_type: u8, member: u32) {
        self.before_change(place);
        let was_present = self.keys.at(place).is_present();
        let old = was_present.then(|| self.keys.set_value(place, Value::Absent));
        let members = match old {
            Some(Value::Series(members)) => members.with(data_type, member),
            _ => Members::default().with(data_type, member),
        };
        self.keys.set_value(place, Value::Series(members));
        self.key_count += u64::from(!was_present);
        self.adopt_retention(place, member);
        self.touch(place);
    }

    /// The series at `member` has the retention of its key at `place`, as all series of a key have.
    pub(super) fn adopt_retention(&mut self, place: usize, member: u32) {
        let retention = self.properties(place).and_then(|properties| properties.retention);
        if let Some(series) = self.series.get_mut(member)
            && series.sealed.retention() != retention
        {
            series.sealed.set_retention(retention);
            self.changed_series.push(member);
        }
    }

    pub(super) fn add_series(&mut self, mut series: Series) -> u32 {
        self.series_memory_bytes += series.recount().1;
        self.excess.newcomers += 1;
        self.series.insert(series)
    }

    pub(super) fn remove_series(&mut self, member: u32) -> Option<Series> {
        let series = self.series.remove(member)?;
        self.series_memory_bytes -= series.counted_bytes as usize;
        if series.seal_due {
            // The place may be given to another series, which then would be sealed twice.
            self.seal_due.retain(|due| *due != member);
        }
        Some(series)
    }

    /// The living series at `member`.
    pub fn series_at(&self, member: u32) -> &Series {
        let series = self.series.get(member);
        series.expect("invariant: entries name living series")
    }

    /// Place in the slab of the series of `key` and `data_type`, `None` if there is none.
    ///
    /// # Errors
    /// `WRONGTYPE`, `Wait::Load`.
    pub fn find_series(&mut self, key: &[u8], data_type: u8, now_ms: i64) -> Result<Option<u32>, Stop> {
        let Some(place) = self.find(key, now_ms)? else {
            return Ok(None);
        };
        match &self.keys.at(place).value {
            Value::Series(members) => Ok(members.of(data_type)),
            _ => Err(Refusal::WrongType.into()),
        }
    }

    /// Puts the series at `member` on the list to be sealed with the open record.
    pub(crate) fn request_seal(&mut self, member: u32) {
        if let Some(series) = self.series.get_mut(member)
            && !series.is_sealed()
        {
            self.seals_are_urgent = true;
            if !series.seal_due {
                series.seal_due = true;
                self.seal_due.push(member);
            }
        }
    }

    /// Adds the chunks, late rows and state rows of every series that is due to `batch`. Memory is left as it is:
    /// [`Partition::finish_seals`] lets it go once the batch is committed. A series held by a batch, or whose chunks are being
    /// rewritten, waits. Nothing is sealed until there is enough to do: the code and tables of the encoder, and the places
    /// in RocksDB's tables, then are in the processor's caches for all but the first.
    pub(super) fn write_seals(&mut self, batch: &mut Batch, scratch: &mut EncodeScratch) -> Vec<Seal> {
        if !self.seals_are_due() {
            return Vec::new();
        }
        let rest = if std::mem::take(&mut self.seals_are_urgent) {
            0
        } else {
            self.seal_due.len() - SEALS_TOGETHER
        };
        // Those that are full for the longest time come first.
        let mut due: Vec<u32> = self.seal_due.drain(..self.seal_due.len() - rest).collect();
        due.sort_unstable();
        let mut seals = Vec::with_capacity(due.len());
        // Without operations there is no record of this number yet: the next one will have it.
        let sequence = if self.journal.is_empty() {
            self.sequence - 1
        } else {
            self.sequence
        };
        let mut waiting = Vec::new();
        let mut chunk = Vec::new();
        for member in due {
            let Some(series) = self.series.get(member) else {
                continue;
            };
            if self.batches.is_held(&series.key, None) || self.rewrites.is_running(series.id) {
                waiting.push(member);
                continue;
            }
            let mut sealed = series.sealed.clone();
            sealed.sequence = sequence;
            seal_deletions(series, &mut sealed, batch);
            for range in chunk_ranges(series, self.settings.head_samples_max) {
                chunk.clear();
                series::encode(&series.head, range.clone(), scratch, &mut chunk);
                let first = series.head.get(range.start).timestamp;
                batch.put_chunk(Tier::Hot, series.id, first, &chunk);
                sealed.first_timestamp = sealed.first_timestamp.min(first);
                sealed.last_timestamp = series.head.get(range.end - 1).timestamp;
                sealed.chunk_samples += range.len() as u64;
                sealed.chunk_bytes += chunk.len() as u64;
            }
            if !series.late.is_empty() {
                late::write_samples(series, &mut sealed, batch, scratch);
            }
            batch.put_series(series.id, &sealed.encode(series.data_type, &series.key));
            seals.push(Seal {
                member,
                id: series.id,
                sealed,
            });
        }
        self.seals_are_urgent = !waiting.is_empty();
        self.seal_due.extend(waiting);
        seals
    }

    /// Lets go of what a committed batch has sealed.
    pub(super) fn finish_seals(&mut self, seals: Vec<Seal>) {
        let is_short = self.is_short_of_memory();
        for Seal { member, id, sealed } in seals {
            let Some(series) = self.series.get_mut(member) else {
                continue;
            };
            if series.id != id {
                continue;
            }
            series.set_sealed(sealed);
            if !series.unsealed_deletions.is_empty() {
                // There may be something to remove now.
                series.rewrite_after_ms = 0;
            }
            let sealed_samples = series.head.len() + series.late.len();
            series.head.clear();
            series.late.clear();
            series.unsealed_deletions.clear();
            series.first_unsealed_sequence = 0;
            series.seal_due = false;
            if is_short && sealed_samples <= SMALL_SEAL_SAMPLES {
                series.release_buffers();
                let (before, after) = series.recount();
                self.series_memory_bytes = self.series_memory_bytes + after - before;
            }
            self.warmed.forget(id);
        }
    }

    /// Puts series whose seal was not committed back on the list.
    pub(super) fn retry_seals(&mut self, seals: Vec<Seal>) {
        self.seals_are_urgent |= !seals.is_empty();
        self.seal_due.extend(seals.into_iter().map(|seal| seal.member));
    }
}

/// What adding a sample has led to.
#[derive(Clone, Copy)]
struct Added {
    /// The head or the late samples are so many that they should be sealed.
    is_full: bool,
    /// The series takes more memory than before.
    has_grown: bool,
}

impl Added {
    #[inline]
    fn to(series: &mut Series, sample: Sample, sequence: u64, head_samples_max: usize) -> Added {
        let is_late = series.add(sample, sequence);
        let len = series.head.len();
        // Their number is not in the series itself: samples in order need not fetch it.
        let late_len = if is_late { series.late.len() } else { 0 };
        Added {
            is_full: (len >= head_samples_max && len >= series.head_samples_max(head_samples_max))
                || late_len >= LATE_SAMPLES_MAX,
            has_grown: has_just_grown(len) || (late_len > 0 && has_just_grown(late_len)),
        }
    }
}

/// True if columns have just grown for the last of `len` samples.
#[inline]
fn has_just_grown(len: usize) -> bool {
    (len > NEXT_SAMPLES && (len - 1).is_power_of_two()) || len == 1 || len == SMALL_SAMPLES + 1
}

/// The head cut into chunks of the usual size or, as it may have grown while it waited, up to twice that.
fn chunk_ranges(series: &Series, head_samples_max: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let len = series.head.len();
    let usual = series
        .head_samples_max(head_samples_max)
        .min(CHUNK_SAMPLES_MAX / 2);
    let pieces = (len / usual.max(1)).max(usize::from(len > 0));
    (0..pieces).map(move |piece| len * piece / pieces..len * (piece + 1) / pieces)
}

/// Puts the deletions of a series on disk: among its late samples, of which they hide those written before, and in its
/// state for what chunks hold.
fn seal_deletions(series: &Series, sealed: &mut SealedState, batch: &mut Batch) {
    if sealed.late_rows > 0 && !series.unsealed_deletions.is_empty() {
        late::write_deletions(series, sealed.sequence, batch);
    }
    if sealed.chunk_samples + sealed.cold_samples > 0 {
        for (from, to) in series.unsealed_deletions.iter() {
            deletions::insert(sealed.deleted.list(), *from, *to);
        }
    }
}

/// A series whose samples are in a batch that is not committed yet.
pub(super) struct Seal {
    pub(super) member: u32,
    id: u64,
    pub(super) sealed: SealedState,
}
