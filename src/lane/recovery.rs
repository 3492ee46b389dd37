//! Opening a partition: reading the low-water mark, settling batches with the other partitions, replaying the journal.
//!
//! Two passes over the journal. The first only collects evidence about batches of several partitions; when every
//! partition has been heard, [`super::void_batches`] decides which of them never happened; the second replays all others.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::store::{Database, JournalRecord, Reach, Read, StoreError, StoreOperation, layout};

use super::batches::Batches;
use super::checkpoint::Checkpoint;
use super::eviction::Excess;
use super::evidence::Evidence;
use super::journal::{BatchId, JournalBuffer, JournalReader, Operation, PartitionName};
use super::keys::KeyTable;
use super::labels::LabelTable;
use super::outbox::Outbox;
use super::partition::{Partition, PartitionCounters, PartitionSettings};
use super::replay_places::{RememberedPlaces, SeriesIds};
use super::replay_rows;
use super::rewrites::{Rewrites, TierTotals};
use super::sealing::SealQueue;
use super::series_table::SeriesTable;
use super::warmed::WarmedReads;
use super::watches::Watches;

/// A database that has been opened and not replayed yet.
pub struct OpenedPartition {
    store: Database,
    name: PartitionName,
    low_water: u64,
    /// Series whose samples are on record.
    sampled: RefCell<SeriesIds>,
}

impl OpenedPartition {
    /// Reads the marks of an opened database. Blocks.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(store: Database, name: PartitionName) -> Result<OpenedPartition, StoreError> {
        let low_water = store.meta_u64(layout::META_LOW_WATER)?;
        Ok(OpenedPartition {
            store,
            name,
            low_water,
            sampled: RefCell::default(),
        })
    }

    /// First pass: what the journal says about batches. Blocks.
    ///
    /// # Errors
    /// If a record cannot be read or is damaged.
    pub fn evidence(&self) -> Result<Evidence, StoreError> {
        let mut evidence = Evidence {
            name: self.name,
            parts: HashMap::new(),
            outcomes: HashMap::new(),
        };
        let mut sampled = self.sampled.borrow_mut();
        self.store.replay(self.low_water, |record| {
            each_operation(&self.store, &record, |operation| {
                match operation {
                    Operation::BatchBegin { id, participants } => {
                        evidence.parts.insert(id, participants);
                    }
                    Operation::BatchOutcome { id, committed } => {
                        evidence.outcomes.insert(id, committed);
                    }
                    Operation::Sample { series_id, .. } => {
                        sampled.insert(series_id);
                    }
                    _ => {}
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(evidence)
    }

    /// Second pass: replays everything but the parts of `void` batches. Blocks.
    ///
    /// # Errors
    /// If a record or a row cannot be read or is damaged.
    pub fn replay(
        self,
        settings: Arc<PartitionSettings>,
        evidence: &Evidence,
        void: &HashSet<BatchId>,
    ) -> Result<Partition, StoreError> {
        let (store, low_water) = (self.store.clone(), self.low_water);
        let sampled = self.sampled.take().ascending();
        let mut partition = self.empty_partition(settings)?;
        for row in replay_rows::series_rows(&store, &sampled) {
            let (series_id, sealed, data_type, key) = row?;
            partition.add_loose_series(series_id, data_type, key, sealed);
        }
        let mut replayed_bytes = 0;
        store.replay(low_water, |record| {
            partition.sequence = record.sequence;
            replayed_bytes += record.operations.len();
            let mut skipping = false;
            each_operation(&store, &record, |operation| {
                match &operation {
                    Operation::BatchBegin { id, .. } => skipping = void.contains(id),
                    Operation::BatchEnd => skipping = false,
                    Operation::CreateSeries { series_id, .. } if skipping => {
                        partition.next_series_id = partition.next_series_id.max(series_id.saturating_add(1));
                    }
                    _ if skipping => {}
                    _ => partition.replay(&operation)?,
                }
                Ok(())
            })?;
            Ok(ControlFlow::Continue(()))
        })?;
        partition.replay_places = RememberedPlaces::default();
        partition.finish_replay()?;
        partition.sequence = partition.sequence.max(low_water) + 1;
        partition.counters = PartitionCounters::default();
        partition.checkpoint.recovered(replayed_bytes);
        if partition.store.is_read_only() {
            return Ok(partition);
        }
        // On record from the first commit on, so that a later recovery decides the same.
        for id in evidence
            .parts
            .keys()
            .filter(|id| !evidence.outcomes.contains_key(id))
        {
            partition.journal.batch_outcome(*id, !void.contains(id));
        }
        Ok(partition)
    }

    fn empty_partition(self, settings: Arc<PartitionSettings>) -> Result<Partition, StoreError> {
        let stored_keys = self.store.kv_key_count()?;
        let [hot_samples, hot_bytes, cold_samples, cold_bytes] = self.store.meta_words(layout::META_TIERS)?;
        let tier_totals = TierTotals {
            hot_samples,
            hot_bytes,
            cold_samples,
            cold_bytes,
        };
        let stored_has_rules = self.store.meta_u64(layout::META_HAS_RULES)? != 0;
        settings.rules_seen.fetch_or(stored_has_rules, Ordering::Relaxed);
        let next_stored_deadline_ms = match self.store.expired_rows(i64::MAX - 1, Reach::Disk).current()? {
            Read::Known(Some((row, _))) => {
                layout::decode_deadline_key(row).map_or(i64::MAX, |(deadline, _)| deadline)
            }
            _ => i64::MAX,
        };
        Ok(Partition {
            settings,
            counters: PartitionCounters::default(),
            batches: Batches::default(),
            watches: Watches::default(),
            keys: KeyTable::default(),
            series: SeriesTable::default(),
            journal: JournalBuffer::default(),
            sequence: 0,
            epoch: 1,
            completed_epoch: 0,
            key_count: stored_keys,
            stored_keys,
            unlisted_stored_keys: stored_keys,
            next_series_id: self.store.meta_u64(layout::META_NEXT_SERIES_ID)?.max(1),
            changed_series: Vec::new(),
            rewrites: Rewrites::default(),
            events: Vec::new(),
            warmed: WarmedReads::default(),
            decoded: RefCell::default(),
            summaries: RefCell::default(),
            tier_totals,
            stored_tier_totals: tier_totals,
            found_samples: Vec::new(),
            has_rules: stored_has_rules,
            stored_has_rules,
            seal_queue: SealQueue::default(),
            dropped_series: Vec::new(),
            flushed: false,
            deadlines: BTreeSet::new(),
            labels: LabelTable::default(),
            stale_labels: hashbrown::HashMap::new(),
            warmed_labels: Vec::new(),
            outbox: Outbox::default(),
            ends_are_told: false,
            roll_up_depth: 0,
            fetched_buckets: hashbrown::HashMap::new(),
            next_stored_deadline_ms,
            checkpoint: Checkpoint::default(),
            series_memory_bytes: 0,
            excess: Excess::default(),
            dirty_keys: 0,
            cache_enabled: true,
            has_grown: false,
            opening: 0,
            replaying: true,
            replay_places: RememberedPlaces::default(),
            loose_keys: Vec::new(),
            store: self.store,
        })
    }
}

fn each_operation(
    store: &Database,
    record: &JournalRecord<'_>,
    mut visit: impl FnMut(Operation<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut reader = JournalReader::new(record.operations);
    loop {
        match reader.next_operation() {
            Ok(Some(operation)) => visit(operation)?,
            Ok(None) => return Ok(()),
            Err(damage) => {
                let what = format!("journal record {} is damaged: {damage}", record.sequence);
                return Err(StoreError::new(StoreOperation::Decode, store.name(), what));
            }
        }
    }
}
