//! Samples of a partition: adding and deleting them, and the series slab.

use crate::limits::DELETED_RANGES_MAX;
use crate::refusal::Refusal;
use crate::series::Sample;
use crate::store::StoredKey;

use super::keys::{Entry, Value};
use super::members::Members;
use super::partition::{LATE_SAMPLES_MAX, Partition};
use super::properties::PLAIN_DATA_TYPE;
use super::series_state::{Destination, SealedState, Series};
use super::stop::Stop;

/// What a series that was found is about to be given. Flat and small: many are listed before the first is added.
#[derive(Clone, Copy, Debug)]
pub struct FoundSample {
    timestamp: i64,
    value: f64,
    /// Place of the series in the slab.
    pub member: u32,
    quality: u8,
}

impl FoundSample {
    /// `sample` for the series at `member`.
    #[inline(always)]
    pub fn new(member: u32, sample: Sample) -> FoundSample {
        let Sample {
            timestamp,
            value,
            quality,
        } = sample;
        FoundSample {
            timestamp,
            value,
            member,
            quality,
        }
    }

    /// The sample.
    #[inline(always)]
    pub fn sample(self) -> Sample {
        Sample {
            timestamp: self.timestamp,
            value: self.value,
            quality: self.quality,
        }
    }
}

/// Samples for which a partition keeps room from command to command.
const FOUND_SAMPLES_MAX: usize = 4_096;

/// So many samples before a sample is put, the end of its head is fetched, and its series as many before that: finding
/// the others has pushed both out of the first cache.
const PUT_AHEAD_SAMPLES: usize = 4;

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

    /// Starts fetching what putting the samples soon behind `index` of `found` will touch.
    #[inline]
    pub fn fetch_found(&self, found: &[FoundSample], index: usize) {
        if let Some(later) = found.get(index + 2 * PUT_AHEAD_SAMPLES) {
            self.fetch_member(later.member);
        }
        if let Some(next) = found.get(index + PUT_AHEAD_SAMPLES) {
            self.fetch_end(next.member);
        }
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
            let key: Box<[u8]> = self.key_of(self.series_at(member)).into();
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
        if series.unsealed_deletions().len() + series.sealed.rest().deleted.len() >= DELETED_RANGES_MAX {
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
        if series.unsealed_deletions().len() >= LATE_SAMPLES_MAX {
            self.request_seal(member);
        }
        let id = self.series_at(member).id;
        self.warmed.forget(id);
        self.counters.changes += 1;
        if !self.watches.is_empty() {
            let key: Box<[u8]> = self.key_of(self.series_at(member)).into();
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
        let member = self.add_series(Series::new(id, data_type, SealedState::default()));
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
        self.note_entry(member, place);
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
            self.seal_queue.forget(series.id);
        }
        Some(series)
    }

    /// The series at `member` belongs to the entry at `place` of the key table from now on.
    pub(super) fn note_entry(&mut self, member: u32, place: usize) {
        if let Some(series) = self.series.get_mut(member) {
            series.entry = u32::try_from(place).expect("invariant: memory holds fewer than 2^32 keys");
        }
    }

    /// The key of a series; empty before replay has met it.
    pub(super) fn key_of(&self, series: &Series) -> &[u8] {
        self.keys.get(series.entry as usize).map_or(&[], Entry::key)
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
        let room = series.head.timestamps.capacity();
        match series.add(sample, sequence) {
            Destination::Head => {
                let len = series.head.len();
                Added {
                    is_full: len >= head_samples_max && len >= series.head_samples_max(head_samples_max),
                    has_grown: series.head.timestamps.capacity() != room,
                }
            }
            // Their number is not in the series itself: samples in order need not fetch it.
            Destination::Late { has_grown } => Added {
                is_full: series.late.len() >= LATE_SAMPLES_MAX,
                has_grown,
            },
        }
    }
}
