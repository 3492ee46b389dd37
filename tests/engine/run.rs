//! A run: steps done to an engine and to the model side by side.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ticklane::config::TimeUnit;
use ticklane::lane::journal::PartitionName;
use ticklane::lane::{
    CheckpointStep, Committed, MemoryBudget, OpenedPartition, Partition, PartitionSettings, RangeQuery,
    RangeRead, Rewritten, SealedState, SeriesSweep, Stop, TierTotals, Wait,
};
use ticklane::series::{EncodeScratch, Sample};
use ticklane::store::{
    CheckpointRows, Compression, Database, DatabaseOptions, Reach, Read, SharedResources, Tier,
};

use super::model::{Change, Held, Model};
use super::rules;
use super::steps::Step;

const KEYS: usize = 7;
const DATA_TYPES: u8 = 2;
/// Enough to end a checkpoint that is under way, and for another one.
const CHECKPOINT_STEPS: usize = 24;
/// Of buckets: narrower than chunks, and some that hold many.
const WIDTHS: [i64; 4] = [7, 100, 900, 10_000];
const EVERYTHING: RangeQuery = RangeQuery {
    from: i64::MIN,
    to: i64::MAX,
    limit: usize::MAX,
    reverse: false,
};
/// When runs begin.
pub const START_MS: i64 = 1_000_000;

/// How the engine is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// 0 = none.
    pub retention: i64,
    pub head_samples_max: usize,
    /// Chunks older than this go to the cold tier, counted from a now that is far from every timestamp.
    pub hot_age: Option<i64>,
    /// For decoded chunks and summaries from the start; 0 = until the first eviction, nothing.
    pub decoded_bytes: usize,
}

/// See the head of the file.
pub struct Run {
    path: PathBuf,
    setup: Setup,
    shared: SharedResources,
    partition: Option<Partition>,
    scratch: EncodeScratch,
    sweep: SeriesSweep,
    rows: Option<CheckpointRows>,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// With everything that was done, and with everything that is durable.
    pub model: Model,
    pub durable: Model,
    open: Vec<Change>,
    pub(super) values: u64,
    rewritten: Vec<(u64, Rewritten)>,
    /// Newest timestamps that were deleted, by series: up to there, retention may hide more or less than it should until
    /// background work has removed them.
    pub newest_deleted: HashMap<(Vec<u8>, u8), i64>,
    batches: u128,
    /// Background jobs that found something to do.
    pub rewrites: u64,
    /// Most samples seen in the cold tier.
    pub cold_samples: u64,
    /// Series found by labels that only the disk knew.
    pub stored_matches: u64,
    /// Buckets of rules compared.
    pub buckets: u64,
    /// Entries of the outbox delivered.
    pub delivered: u64,
    /// Summaries of chunks that aggregations were content with.
    pub summaries: u64,
    /// Most bytes of summaries kept.
    pub summary_bytes: usize,
}

/// What is wrong, if anything is.
pub type Outcome = Result<(), String>;

impl Run {
    /// Opens the engine in `path`, which holds `model`.
    pub fn open(path: &Path, setup: Setup, model: Model, now_ms: i64) -> Run {
        let shared = SharedResources::new(8 << 20, 8 << 20, 2).unwrap();
        let mut run = Run {
            path: path.to_path_buf(),
            setup,
            shared,
            partition: None,
            scratch: EncodeScratch::default(),
            sweep: SeriesSweep::default(),
            rows: None,
            now_ms,
            model: model.clone(),
            durable: model,
            open: Vec::new(),
            values: 0,
            rewritten: Vec::new(),
            newest_deleted: HashMap::new(),
            batches: 0,
            rewrites: 0,
            cold_samples: 0,
            stored_matches: 0,
            buckets: 0,
            delivered: 0,
            summaries: 0,
            summary_bytes: 0,
        };
        run.reopen();
        run
    }

    fn reopen(&mut self) {
        self.rows = None;
        // The database must be closed before it can be opened again.
        self.partition = None;
        let options = DatabaseOptions {
            compression: Compression::None,
            checkpoint_journal_bytes: 1 << 20,
            cold_path: None,
            max_open_files: 64,
            wal_bytes_per_sync: 0,
            background_jobs: 2,
            compaction: true,
        };
        let store = Database::open(&self.path, "model/0", &options, &self.shared).unwrap();
        let settings = PartitionSettings {
            time_unit: TimeUnit::Milliseconds,
            retention: self.setup.retention,
            hot_age: self.setup.hot_age,
            cold_chunk_samples: 128,
            head_samples_max: self.setup.head_samples_max,
            head_idle_ms: 20_000,
            checkpoint_journal_bytes: 2_000,
            checkpoint_interval_ms: 30_000,
            value_len_max_bytes: 4096,
            series_defaults: Arc::default(),
            event_classes: Arc::default(),
            rules_seen: Arc::default(),
        };
        let opened = OpenedPartition::new(store, PartitionName::new("model", 0)).unwrap();
        let evidence = opened.evidence().unwrap();
        self.partition = Some(
            opened
                .replay(Arc::new(settings), &evidence, &HashSet::new())
                .unwrap(),
        );
        let decoded_bytes = self.setup.decoded_bytes;
        self.partition().set_decoded_limit(decoded_bytes);
        self.sweep = SeriesSweep::default();
        self.open.clear();
        self.model = self.durable.clone();
    }

    pub(super) fn partition(&mut self) -> &mut Partition {
        self.partition.as_mut().expect("open between steps")
    }

    /// Does all steps; the error says which one failed and how.
    pub fn steps(&mut self, steps: &[Step]) -> Outcome {
        for (index, step) in steps.iter().enumerate() {
            self.step(*step)
                .map_err(|error| format!("step {index}, {step:?}: {error}"))?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Outcome {
        match step {
            Step::Append {
                key,
                data_type,
                count,
                gap,
            } => self.append(&name(key), data_type % DATA_TYPES, count, gap),
            Step::Late {
                key,
                data_type,
                count,
                seed,
            } => self.late(&name(key), data_type % DATA_TYPES, count, seed),
            Step::DeleteRange {
                key,
                data_type,
                from,
                len,
            } => self.delete_range(&name(key), data_type % DATA_TYPES, from, len),
            Step::Batch {
                key,
                data_type,
                from,
                len,
                pieces,
                crash,
            } => self.batch(&name(key), data_type % DATA_TYPES, (from, len), pieces, crash),
            Step::Label { key, number } => self.label(&name(key), number),
            Step::Deliver => self.deliver(),
            // Retention would hide samples of buckets that stay.
            Step::Rule { .. } | Step::Feed { .. } if self.setup.retention > 0 => Ok(()),
            Step::Rule {
                source,
                destination,
                number,
            } => self.create_rule(&rules::source(source), &rules::destination(destination), number),
            Step::Feed {
                source,
                count,
                gap,
                seed,
            } => self.feed(&rules::source(source), count, gap, seed),
            Step::DeleteFromSource { source, from, len } => {
                self.delete_from_source(&rules::source(source), from, len)
            }
            Step::DeleteEnd { number, is_source } => self.delete(&end(number, is_source)),
            Step::RenameEnd { from, to, is_source } => {
                // The server does not rename what something is on its way to.
                self.deliver()?;
                self.rename(&end(from, is_source), &end(to, is_source))?;
                self.deliver()
            }
            Step::Text { key, value } => self.text(&name(key), value),
            Step::Patch { key, offset, value } => self.patch(&name(key), usize::from(offset % 50), value),
            Step::Delete { key } => self.delete(&name(key)),
            Step::Rename { from, to } => self.rename(&name(from), &name(to)),
            Step::Expire { key, after_s } => self.expire(&name(key), after_s),
            Step::Flush => self.flush(),
            Step::Commit => self.commit(),
            Step::Sweep { seconds, over_budget } => {
                // Sometimes long enough for work that is put off.
                self.now_ms += i64::from(seconds) * if seconds % 8 == 0 { 4_000 } else { 100 };
                let now_ms = self.now_ms;
                let mut sweep = std::mem::take(&mut self.sweep);
                self.partition().sweep_series(&mut sweep, now_ms, over_budget);
                self.sweep = sweep;
                let to_load = self.partition().expire_keys(now_ms);
                to_load.iter().try_for_each(|key| self.load(key))
            }
            Step::Checkpoint { pieces } => (0..1 + pieces % 12).try_for_each(|_| self.checkpoint()),
            Step::Evict => {
                // Room for some decoded chunks, so that reads find some of them kept and others not.
                self.partition().set_decoded_limit(64 << 10);
                self.partition().evict(&MemoryBudget {
                    read_cache_bytes: 0,
                    series_bytes: 0,
                });
                Ok(())
            }
            Step::Maintain { apply_later } => self.maintain(apply_later),
            Step::FinishMaintenance => {
                self.finish_maintenance();
                Ok(())
            }
            Step::Read {
                key,
                data_type,
                from,
                len,
                limit,
                reverse,
            } => {
                let newest = i64::from(from) % 4_000 - 100;
                let limit = if limit < 100 {
                    usize::from(limit) + 1
                } else {
                    usize::MAX
                };
                let query = RangeQuery {
                    from: newest,
                    to: newest + i64::from(len) % 3_000,
                    limit,
                    reverse,
                };
                self.compare(&name(key), data_type % DATA_TYPES, query)
            }
            Step::Aggregate {
                key,
                data_type,
                from,
                len,
                width,
            } => {
                let oldest = i64::from(from) % 4_000 - 100;
                let query = RangeQuery {
                    from: oldest,
                    to: oldest + i64::from(len) % 5_000,
                    ..EVERYTHING
                };
                let width = WIDTHS[usize::from(width) % WIDTHS.len()];
                self.compare_aggregated(&name(key), data_type % DATA_TYPES, query, width)
            }
            Step::ReadAll => self.compare_all(),
            Step::Crash => {
                self.reopen();
                self.compare_all()
            }
        }
    }

    fn load(&mut self, key: &[u8]) -> Outcome {
        let epoch = self.partition().completed_epoch();
        let loaded =
            Partition::load_from_disk(self.partition().database(), key).map_err(|e| e.to_string())?;
        self.partition().finish_load(key, loaded, epoch);
        Ok(())
    }

    /// Repeats `action` until it need not wait; false if it was refused.
    pub(super) fn until_done<T>(
        &mut self,
        mut action: impl FnMut(&mut Partition, i64) -> Result<T, Stop>,
    ) -> Result<Option<T>, String> {
        for _ in 0..100 {
            let now_ms = self.now_ms;
            match action(self.partition(), now_ms) {
                Ok(done) => return Ok(Some(done)),
                Err(Stop::Refused(_)) => return Ok(None),
                Err(Stop::Wait(Wait::Load(key))) => self.load(&key)?,
                Err(Stop::Wait(Wait::Held)) => self.commit()?,
                Err(Stop::Wait(Wait::Warm(job))) => {
                    let warmed = job.warm().map_err(|e| e.to_string())?;
                    self.partition().keep_warmed(warmed, now_ms);
                }
                Err(Stop::Wait(Wait::Labels(job))) => {
                    let warmed = job.run().map_err(|e| e.to_string())?;
                    self.partition().finish_labels(warmed);
                }
                Err(Stop::Wait(Wait::OpenBuckets(_))) => return Err("no rule leads elsewhere".into()),
                Err(Stop::Wait(Wait::Checkpoint)) => {
                    // A checkpoint waits for the seals that wait for it.
                    self.finish_maintenance();
                    self.checkpoint()?;
                    self.commit()?;
                }
                Err(Stop::Offload(_)) => return Err("work for the pool where none was expected".into()),
            }
        }
        Err("waited a hundred times".into())
    }

    pub(super) fn done(&mut self, change: Change) {
        self.expire_model();
        self.model.apply(&change);
        self.open.push(change);
    }

    /// Keys whose time has come are gone for the model too, whether the engine has deleted them or will.
    fn expire_model(&mut self) {
        for key in self.model.expired(self.now_ms) {
            let change = Change::Delete { key };
            self.model.apply(&change);
            self.open.push(change);
        }
    }

    fn add(&mut self, key: &[u8], data_type: u8, timestamp: i64) -> Outcome {
        self.values += 1;
        let value = if self.values.is_multiple_of(50) {
            f64::INFINITY
        } else {
            self.values as f64 / 4.0
        };
        let quality = if self.values.is_multiple_of(9) {
            (self.values / 9) as u8
        } else {
            0
        };
        let sample = Sample {
            timestamp,
            value,
            quality,
        };
        if self
            .until_done(|partition, now_ms| partition.add_sample(key, data_type, sample, now_ms))?
            .is_some()
        {
            self.done(Change::Sample {
                key: key.into(),
                data_type,
                timestamp,
                bits: value.to_bits(),
                quality,
            });
        } else if !matches!(
            self.model.get(key, self.now_ms).map(|key| &key.held),
            Some(Held::Text(_))
        ) {
            return Err("a sample was refused".into());
        }
        Ok(())
    }

    pub(super) fn newest(&self, key: &[u8], data_type: u8) -> i64 {
        let samples = self.model.samples(key, data_type, self.now_ms);
        samples
            .and_then(|samples| samples.keys().next_back().copied())
            .unwrap_or(0)
    }

    fn append(&mut self, key: &[u8], data_type: u8, count: u8, gap: u8) -> Outcome {
        let newest = self.newest(key, data_type);
        let gap = 1 + i64::from(gap % 8);
        (1..=i64::from(count % 48)).try_for_each(|index| self.add(key, data_type, newest + index * gap))
    }

    fn late(&mut self, key: &[u8], data_type: u8, count: u16, seed: u16) -> Outcome {
        let newest = self.newest(key, data_type);
        let mut random = fastrand::Rng::with_seed(u64::from(seed));
        (0..count).try_for_each(|_| self.add(key, data_type, random.i64(-50..=newest.max(0))))
    }

    fn delete_range(&mut self, key: &[u8], data_type: u8, from: u16, len: u16) -> Outcome {
        let newest = self.newest(key, data_type);
        let (from, to) = match len % 16 {
            0 => (i64::MIN, i64::MAX),
            1..4 => (newest - i64::from(from % 300), i64::MAX),
            4..8 => (newest - i64::from(from % 300), newest - i64::from(from % 7)),
            8 => (i64::from(from) % 4_000, i64::from(from) % 4_000),
            _ => {
                let first = i64::from(from) % 4_000 - 100;
                (first, first + i64::from(len) % 1_500)
            }
        };
        let deleted =
            self.until_done(
                |partition, now_ms| match partition.find_series(key, data_type, now_ms)? {
                    Some(member) => partition.delete_range(member, from, to).map(|()| true),
                    None => Ok(false),
                },
            )?;
        let expected = self.model.samples(key, data_type, self.now_ms).is_some();
        if deleted.unwrap_or(false) != expected {
            return Err(format!("deleted a range: {deleted:?}, expected {expected}"));
        }
        if expected {
            if (from..=to).contains(&newest) {
                let series = (key.to_vec(), data_type);
                let deleted = self.newest_deleted.entry(series).or_insert(newest);
                *deleted = newest.max(*deleted);
            }
            self.done(Change::DeleteRange {
                key: key.into(),
                data_type,
                from,
                to,
            });
        }
        Ok(())
    }

    fn batch(
        &mut self,
        key: &[u8],
        data_type: u8,
        (from, len): (u16, u16),
        pieces: u8,
        crash: bool,
    ) -> Outcome {
        self.batches += 1;
        let id = self.batches;
        self.until_done(|partition, _| partition.warm(key))?;
        if !self.partition().batches.try_hold(id, &[key], false) {
            return Ok(());
        }
        let before = std::mem::take(&mut self.open);
        self.partition().enter_batch(id);
        match pieces % 4 {
            0 => self.text(key, pieces)?,
            1 => self.delete(key)?,
            2 => self.label(key, from)?,
            _ => self.late(key, data_type, 1 + len % 5, from)?,
        }
        self.delete_range(key, data_type, from, len)?;
        self.append(key, data_type, (len % 7) as u8, pieces)?;
        self.partition().leave_batch();
        let part = std::mem::replace(&mut self.open, before);
        (0..pieces % 12).try_for_each(|_| self.checkpoint())?;
        if crash {
            self.reopen();
            return self.compare_all();
        }
        self.partition()
            .commit_batch(id, &[PartitionName::new("model", 0)]);
        self.open.extend(part);
        self.partition().batches.let_go(id);
        self.commit()?;
        self.partition().settle_batch(id);
        self.commit()?;
        self.partition().batches.forget(id);
        Ok(())
    }

    fn text(&mut self, key: &[u8], value: u8) -> Outcome {
        let value = vec![b'a' + value % 26; usize::from(value % 40) + 1];
        if self
            .until_done(|partition, now_ms| partition.set_string(key, &value, 0, now_ms))?
            .is_some()
        {
            self.done(Change::Text {
                key: key.into(),
                value,
            });
        }
        Ok(())
    }

    fn patch(&mut self, key: &[u8], offset: usize, value: u8) -> Outcome {
        let bytes = vec![b'A' + value % 26; usize::from(value % 9) + 1];
        let patched = self.until_done(|partition, now_ms| {
            partition.find(key, now_ms)?;
            partition.patch_string(key, offset, &bytes, now_ms)
        })?;
        if patched.is_some() {
            self.done(Change::Patch {
                key: key.into(),
                offset,
                bytes,
            });
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Outcome {
        let deleted = self.until_done(|partition, now_ms| {
            let place = partition.find(key, now_ms)?;
            if let Some(place) = place {
                partition.delete(place);
            }
            Ok(place.is_some())
        })?;
        let expected = self.model.get(key, self.now_ms).is_some();
        if deleted != Some(expected) {
            return Err(format!("deleted {deleted:?}, expected {expected}"));
        }
        if expected {
            self.done(Change::Delete { key: key.into() });
        }
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> Outcome {
        for key in [from, to] {
            self.until_done(|partition, _| partition.warm(key))?;
        }
        let renamed = self.until_done(|partition, now_ms| partition.rename(from, to, now_ms))?;
        let expected = self.model.get(from, self.now_ms).is_some();
        if renamed.is_some() != expected {
            return Err(format!("renamed {renamed:?}, expected {expected}"));
        }
        if expected && from != to {
            for data_type in 0..DATA_TYPES {
                if let Some(newest) = self.newest_deleted.get(&(from.to_vec(), data_type)).copied() {
                    let deleted = self
                        .newest_deleted
                        .entry((to.to_vec(), data_type))
                        .or_insert(newest);
                    *deleted = newest.max(*deleted);
                }
            }
            self.done(Change::Rename {
                from: from.into(),
                to: to.into(),
            });
        }
        Ok(())
    }

    fn expire(&mut self, key: &[u8], after_s: u8) -> Outcome {
        let expire_at_ms = if after_s < 60 {
            0
        } else {
            self.now_ms + i64::from(after_s) * 1_000
        };
        let found = self.until_done(|partition, now_ms| {
            let place = partition.find(key, now_ms)?;
            if let Some(place) = place {
                partition.set_expiry(place, expire_at_ms);
            }
            Ok(place.is_some())
        })?;
        if found == Some(true) {
            self.done(Change::Expire {
                key: key.into(),
                expire_at_ms,
            });
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        // Begins a record of its own.
        self.commit()?;
        self.until_done(|partition, _| partition.flush_everything(None))?;
        self.done(Change::Flush);
        Ok(())
    }

    /// Makes what was done durable.
    pub fn commit(&mut self) -> Outcome {
        for _ in 0..10_000 {
            let partition = self.partition.as_mut().expect("open between steps");
            match partition.commit(&mut self.scratch) {
                Committed::Written { .. } => {
                    for change in std::mem::take(&mut self.open) {
                        self.durable.apply(&change);
                    }
                    return Ok(());
                }
                Committed::Stalled => std::thread::sleep(std::time::Duration::from_millis(1)),
                Committed::Failed(error) => return Err(error.to_string()),
            }
        }
        Err("stalled for seconds".into())
    }

    fn checkpoint(&mut self) -> Outcome {
        let now_ms = self.now_ms;
        if let Some(rows) = self.rows.take() {
            let database = self.partition().database().clone();
            let stored = if rows.is_empty() {
                database.kv_key_count()
            } else {
                rows.write(&database)
            };
            self.partition()
                .checkpoint_written(stored.map_err(|e| e.to_string())?, now_ms);
            return Ok(());
        }
        match self.partition().checkpoint_step(now_ms, true) {
            CheckpointStep::Rest => self.commit(),
            CheckpointStep::More => Ok(()),
            CheckpointStep::Write(rows) => {
                self.rows = Some(rows);
                Ok(())
            }
        }
    }

    /// Everything is written back and forgotten, so that only the disk knows it.
    pub fn rest_on_disk(&mut self) -> Outcome {
        self.finish_maintenance();
        self.commit()?;
        for _ in 0..CHECKPOINT_STEPS {
            self.checkpoint()?;
        }
        for _ in 0..3 {
            self.step(Step::Evict)?;
        }
        Ok(())
    }

    fn maintain(&mut self, apply_later: bool) -> Outcome {
        self.finish_maintenance();
        let now_ms = self.now_ms;
        if let Some(job) = self.partition().start_rewrite(now_ms) {
            let id = job.series_id();
            self.rewritten.push((id, job.run().map_err(|e| e.to_string())?));
        }
        if !apply_later {
            self.finish_maintenance();
        }
        Ok(())
    }

    fn finish_maintenance(&mut self) {
        let now_ms = self.now_ms;
        for (id, rewritten) in std::mem::take(&mut self.rewritten) {
            self.rewrites += u64::from(self.partition().finish_rewrite(id, Some(rewritten), now_ms));
        }
    }

    fn compare(&mut self, key: &[u8], data_type: u8, query: RangeQuery) -> Outcome {
        let found =
            self.until_done(
                |partition, now_ms| match partition.find_series(key, data_type, now_ms)? {
                    Some(member) => Ok(Some(partition.read_range(member, query)?)),
                    None => Ok(None),
                },
            )?;
        let read = match found.flatten() {
            None => Vec::new(),
            Some(RangeRead::Ready(columns)) => columns.iter().collect(),
            Some(RangeRead::Offload(job)) => job.run().map_err(|e| e.to_string())?.iter().collect::<Vec<_>>(),
        };
        let read: Vec<(i64, u64, u8)> = read
            .iter()
            .map(|s| (s.timestamp, s.value.to_bits(), s.quality))
            .collect();
        let expected = self.expected(key, data_type, query);
        if self.is_uncertain(key, data_type) {
            return self.compare_uncertain(key, data_type, query, &read);
        }
        if read != expected {
            let place = read
                .iter()
                .zip(&expected)
                .position(|(a, b)| a != b)
                .unwrap_or(read.len().min(expected.len()));
            return Err(format!(
                "{} type {data_type} {query:?}: {} samples for {}; at {place} {:?} for {:?}",
                String::from_utf8_lossy(key),
                read.len(),
                expected.len(),
                read.get(place),
                expected.get(place)
            ));
        }
        Ok(())
    }

    /// Retention of the series of a key; 0 = for ever.
    fn retention(&self, key: &[u8]) -> i64 {
        let own = self.model.get(key, self.now_ms).and_then(|key| key.retention);
        own.unwrap_or(self.setup.retention)
    }

    /// True if retention counts from a sample that has been deleted.
    pub(super) fn is_uncertain(&self, key: &[u8], data_type: u8) -> bool {
        let deleted = self.newest_deleted.get(&(key.to_vec(), data_type));
        self.retention(key) > 0 && deleted.is_some_and(|deleted| self.newest(key, data_type) <= *deleted)
    }

    /// What is not older than the retention, counted from the newest sample that ever was, has to be there.
    fn compare_uncertain(
        &self,
        key: &[u8],
        data_type: u8,
        query: RangeQuery,
        read: &[(i64, u64, u8)],
    ) -> Outcome {
        let none = BTreeMap::new();
        let samples = self.model.samples(key, data_type, self.now_ms).unwrap_or(&none);
        let wrong = read
            .iter()
            .find(|(time, bits, quality)| samples.get(time) != Some(&(*bits, *quality)));
        if let Some(wrong) = wrong {
            return Err(format!("{query:?}: {wrong:?} was read and is not there"));
        }
        let from = self.newest_deleted[&(key.to_vec(), data_type)] - self.retention(key);
        let from = query.from.max(from);
        let certain = if query.limit == usize::MAX && from <= query.to {
            samples.range(from..=query.to).count()
        } else {
            0
        };
        let found = read.iter().filter(|(time, _, _)| *time >= from).count();
        if found < certain {
            return Err(format!("{query:?}: {found} of {certain} samples from {from} on"));
        }
        Ok(())
    }

    pub(super) fn expected(&self, key: &[u8], data_type: u8, query: RangeQuery) -> Vec<(i64, u64, u8)> {
        let Some(samples) = self.model.samples(key, data_type, self.now_ms) else {
            return Vec::new();
        };
        let newest = samples.keys().next_back().copied().unwrap_or(0);
        let retention = self.retention(key);
        let oldest = if retention > 0 {
            newest - retention
        } else {
            i64::MIN
        };
        let from = query.from.max(oldest);
        if from > query.to {
            return Vec::new();
        }
        let all = samples
            .range(from..=query.to)
            .map(|(time, (bits, quality))| (*time, *bits, *quality));
        if query.reverse {
            let mut newest_first: Vec<_> = all.rev().take(query.limit).collect();
            newest_first.reverse();
            newest_first
        } else {
            all.take(query.limit).collect()
        }
    }

    /// The counts of a series are those of its rows; adds them to `totals`.
    fn count(&mut self, key: &[u8], data_type: u8, totals: &mut TierTotals) -> Outcome {
        let found = self.until_done(|partition, now_ms| partition.find_series(key, data_type, now_ms))?;
        let Some(member) = found.flatten() else {
            return Ok(());
        };
        let series = self.partition().series_at(member);
        let (id, sealed) = (series.id, series.sealed.clone());
        totals.change(&SealedState::default(), &sealed);
        let database = self.partition().database().clone();
        let view = database.view(Reach::Disk);
        let mut counted = [(0, 0), (0, 0)];
        for (tier, count) in [Tier::Hot, Tier::Cold].into_iter().zip(&mut counted) {
            let mut rows = view.chunks(tier, id, i64::MIN, i64::MAX, false);
            while let Read::Known(Some((_, bytes))) = rows.current().map_err(|e| e.to_string())? {
                let summary = ticklane::series::summary(bytes).map_err(|e| e.to_string())?;
                *count = (count.0 + summary.count as u64, count.1 + bytes.len() as u64);
                rows.advance();
            }
        }
        let expected = [
            (sealed.chunk_samples, sealed.chunk_bytes),
            (sealed.rest().cold_samples, sealed.rest().cold_bytes),
        ];
        if counted != expected {
            return Err(format!(
                "series {id} has {counted:?} in its rows, expected {expected:?}"
            ));
        }
        Ok(())
    }

    /// Compares every series and string, and the number of keys.
    pub fn compare_all(&mut self) -> Outcome {
        let now_ms = self.now_ms;
        let mut totals = TierTotals::default();
        self.compare_labels()?;
        self.compare_rules()?;
        for key in rules::ends() {
            self.count(&key, 0, &mut totals)?;
        }
        for index in 0..KEYS {
            let key = name(index as u8);
            for data_type in 0..DATA_TYPES {
                let query = RangeQuery {
                    reverse: index % 2 == 0,
                    ..EVERYTHING
                };
                self.compare(&key, data_type, query)?;
                self.compare_aggregated(&key, data_type, EVERYTHING, WIDTHS[index % WIDTHS.len()])?;
                self.count(&key, data_type, &mut totals)?;
            }
            let text =
                self.until_done(|partition, now_ms| Ok(partition.string(&key, now_ms)?.map(<[u8]>::to_vec)))?;
            let expected = match self.model.get(&key, now_ms).map(|key| &key.held) {
                Some(Held::Text(text)) => Some(Some(text.clone())),
                Some(Held::Series(_)) => None,
                None => Some(None),
            };
            if text != expected {
                let key = String::from_utf8_lossy(&key);
                return Err(format!("{key} holds {text:?}, expected {expected:?}"));
            }
        }
        self.expire_model();
        self.summary_bytes = self.summary_bytes.max(self.partition().summary_bytes());
        let counted = self.partition().tier_totals();
        self.cold_samples = self.cold_samples.max(counted.cold_samples);
        if counted != totals {
            return Err(format!("the partition counts {counted:?}, its series {totals:?}"));
        }
        let (count, expected) = (self.partition().key_count(), self.model.keys.len() as u64);
        if count != expected {
            Err(format!("{count} keys, expected {expected}"))
        } else {
            Ok(())
        }
    }
}

fn name(key: u8) -> Vec<u8> {
    format!("key{}", usize::from(key) % KEYS).into_bytes()
}

/// Key of a source or of a destination of rules.
fn end(number: u8, is_source: bool) -> Vec<u8> {
    if is_source {
        rules::source(number)
    } else {
        rules::destination(number)
    }
}
