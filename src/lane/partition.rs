//! One partition of one business: its key table, its series, its open journal record and its database.
//!
//! Lives on the lane that owns it; nothing else touches it. Handlers change memory and append to the open record;
//! the commit that follows makes the record durable before any reply leaves (DESIGN: the life of a command).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use crate::config::TimeUnit;
use crate::series::{Label, Sample, SeriesDefaults};
use crate::store::Database;

use super::batches::Batches;
use super::checkpoint::Checkpoint;
use super::decoded::DecodedChunks;
use super::eviction::Excess;
use super::journal::JournalBuffer;
use super::key_bytes::KeyBytes;
use super::keys::{KeyTable, Value};
use super::label_query::WarmedLabels;
use super::labels::LabelTable;
use super::outbox::Outbox;
use super::replay_places::RememberedPlaces;
use super::rewrites::{Rewrites, TierTotals};
use super::samples::FoundSample;
use super::sealing::SealQueue;
use super::series_table::SeriesTable;
use super::summaries::SummaryTables;
use super::warmed::WarmedReads;
use super::watches::Watches;

/// Settings of a partition, from its business and from `[storage]`.
#[derive(Clone, Debug)]
pub struct PartitionSettings {
    /// Unit of `*` and of retention.
    pub time_unit: TimeUnit,
    /// Samples older than the newest by more than this are not shown; 0 = kept for ever. In `time_unit`.
    pub retention: i64,
    /// Chunks older than this go to the cold tier; `None` = there is none. In `time_unit`.
    pub hot_age: Option<i64>,
    /// Samples of one cold chunk; with fewer than half as many old ones, a series keeps them hot.
    pub cold_chunk_samples: usize,
    /// Samples at which a head is sealed.
    pub head_samples_max: usize,
    /// A head without writes for this long is sealed.
    pub head_idle_ms: i64,
    /// Journal bytes after which a checkpoint starts.
    pub checkpoint_journal_bytes: usize,
    /// Time after which a checkpoint starts if there is anything to write.
    pub checkpoint_interval_ms: i64,
    /// Bytes of a value.
    pub value_len_max_bytes: usize,
    /// What series are like unless they were told otherwise; replaced whole while the server runs.
    pub series_defaults: Arc<ArcSwap<SeriesDefaults>>,
    /// Which events are listened to: an [`EventClasses`](super::EventClasses), set while the server runs.
    pub event_classes: Arc<AtomicU32>,
    /// Set for good when the first rule is seen, in any partition.
    pub rules_seen: Arc<AtomicBool>,
}

/// Late samples held in memory per series before they are written to `late`.
pub(super) const LATE_SAMPLES_MAX: usize = 512;

/// Counts since start.
#[derive(Clone, Copy, Debug, Default)]
pub struct PartitionCounters {
    /// Look-ups that found a key.
    pub keyspace_hits: u64,
    /// Look-ups that found none.
    pub keyspace_misses: u64,
    /// Look-ups answered by the key table.
    pub cache_hits: u64,
    /// Look-ups that had to ask the database.
    pub cache_misses: u64,
    /// Keys deleted because their time had come.
    pub expired_keys: u64,
    /// Entries dropped by the read cache.
    pub evicted_entries: u64,
    /// Samples added.
    pub samples_added: u64,
    /// Changes of the data since the last checkpoint.
    pub changes: u64,
}

impl PartitionCounters {
    /// Adds the counts of another partition.
    pub fn add(&mut self, other: &PartitionCounters) {
        self.keyspace_hits += other.keyspace_hits;
        self.keyspace_misses += other.keyspace_misses;
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.expired_keys += other.expired_keys;
        self.evicted_entries += other.evicted_entries;
        self.samples_added += other.samples_added;
        self.changes += other.changes;
    }
}

/// See the head of the file.
pub struct Partition {
    /// Configuration.
    pub settings: Arc<PartitionSettings>,
    /// Counts since start.
    pub counters: PartitionCounters,
    /// Batches of several partitions that are under way here.
    pub batches: Batches,
    /// Keys that clients WATCH.
    pub watches: Watches,
    pub(super) store: Database,
    pub(super) keys: KeyTable,
    pub(super) series: SeriesTable,
    pub(super) journal: JournalBuffer,
    /// Sequence of the open record.
    pub(super) sequence: u64,
    /// Epoch that changes belong to, and the last one that is written back.
    pub(super) epoch: u32,
    pub(super) completed_epoch: u32,
    /// Keys that exist, expired ones included.
    pub(super) key_count: u64,
    /// Keys in the `kv` family.
    pub(super) stored_keys: u64,
    /// Those that are not in the key table.
    pub(super) unlisted_stored_keys: u64,
    pub(super) next_series_id: u64,
    /// Series whose row is to be written with the open record. A new one gets its row with its first seal, at the
    /// latest when a checkpoint takes its record away.
    pub(super) changed_series: Vec<u32>,
    /// Background work on what is sealed.
    pub(super) rewrites: Rewrites,
    /// Ranges read from the disk for commands that run again.
    pub(super) warmed: WarmedReads,
    /// Events to be told when the open record is written.
    pub(super) events: Vec<super::KeyEvent>,
    /// Chunks decoded for reads that come again.
    pub(super) decoded: RefCell<DecodedChunks>,
    /// Summaries of chunks, kept for aggregations that come again.
    pub(super) summaries: RefCell<SummaryTables>,
    /// Sums over all series, and the same as last written.
    pub(super) tier_totals: TierTotals,
    pub(super) stored_tier_totals: TierTotals,
    /// Lent to commands on many series.
    pub(super) found_samples: Vec<FoundSample>,
    /// There are rules, or have been, and whether the disk says so.
    pub(super) has_rules: bool,
    pub(super) stored_has_rules: bool,
    /// Series to seal with one of the next records.
    pub(super) seal_queue: SealQueue,
    /// Ids whose rows are to be deleted with the open record.
    pub(super) dropped_series: Vec<u64>,
    /// Everything is to be deleted before the open record.
    pub(super) flushed: bool,
    /// Labels of keys in the table.
    pub(super) labels: LabelTable,
    /// Labels that `kv` lists a key with, of keys in the table that have others now.
    pub(super) stale_labels: HashMap<Box<[u8]>, Vec<Label>>,
    /// What is owed to keys elsewhere.
    pub(super) outbox: Outbox,
    /// Open buckets by destination, for commands that are about to be run again.
    pub(super) fetched_buckets: HashMap<Box<[u8]>, Option<Sample>>,
    /// The other ends of the rules of keys that are renamed or replaced now hear of it from whoever does that.
    pub ends_are_told: bool,
    /// Rules that are being followed, one within the other.
    pub(super) roll_up_depth: usize,
    /// What the disk has answered to label queries that are about to be run again.
    pub(super) warmed_labels: Vec<WarmedLabels>,
    /// Deadlines of keys in the table.
    pub(super) deadlines: BTreeSet<(i64, Box<[u8]>)>,
    /// Earliest deadline among the rows of `kv`; `i64::MAX` = none.
    pub(super) next_stored_deadline_ms: i64,
    pub(super) checkpoint: Checkpoint,
    /// Memory of loaded series. Follows growth by doubling at once, the rest with the next sweep.
    pub(super) series_memory_bytes: usize,
    /// How far series are over budget: a checkpoint, which lets more of them be evicted, comes sooner.
    pub(super) excess: Excess,
    /// Entries that have become dirty in this epoch.
    pub(super) dirty_keys: usize,
    /// The journal is being replayed: series without a key stay until its end.
    pub(super) replaying: bool,
    /// Where the replay has met series.
    pub(super) replay_places: RememberedPlaces,
    /// Keys and ids of series that replay has met before their keys.
    pub(super) loose_keys: Vec<(KeyBytes, u64)>,
    /// The read cache keeps clean entries.
    pub cache_enabled: bool,
    /// The database's write buffers have been raised from their idle size.
    pub(super) has_grown: bool,
    /// Tells this opening of the partition from others; the supervisor's own.
    pub opening: u64,
}

/// Journal bytes after which a database counts as loaded.
const LOADED_JOURNAL_BYTES: usize = 64 << 10;

impl Partition {
    /// `business/partition`.
    pub fn label(&self) -> &str {
        self.store.name()
    }

    /// The database, for the blocking pool.
    pub fn database(&self) -> &Database {
        &self.store
    }

    /// Keys that exist; a key whose time has come counts until it is deleted, as in Redis.
    pub fn key_count(&self) -> u64 {
        self.key_count
    }

    /// Keys with a deadline that are in memory.
    pub fn deadline_count(&self) -> u64 {
        self.deadlines.len() as u64
    }

    /// Series in memory.
    pub fn loaded_series(&self) -> usize {
        self.series.len()
    }

    /// True once, when the partition has seen real load: its database's buffers should grow.
    pub fn take_growth(&mut self) -> bool {
        let grows = !self.has_grown
            && !self.store.is_read_only()
            && self.checkpoint.journal_bytes() >= LOADED_JOURNAL_BYTES;
        self.has_grown = self.has_grown || grows;
        grows
    }

    /// Samples of the series in memory, their sealed ones included.
    pub fn loaded_samples(&self) -> u64 {
        self.series.iter().map(|series| series.sample_count()).sum()
    }

    /// Memory of keys and series.
    pub fn memory_bytes(&self) -> usize {
        self.plain_memory_bytes() + self.series_memory_bytes()
    }

    /// Entries of the key table, and the bytes of those without series.
    pub fn table_size(&self) -> (usize, usize) {
        (self.keys.len(), self.plain_memory_bytes())
    }

    /// Memory of the key at `place`, that of its loaded series included.
    pub fn key_memory_bytes(&self, place: usize) -> usize {
        let entry = self.keys.at(place);
        let series = match &entry.value {
            Value::Series(members) => members
                .iter()
                .map(|member| self.series_at(member.1).memory_bytes())
                .sum(),
            _ => 0,
        };
        entry.memory_bytes() + series
    }

    /// Samples and bytes of the sealed series, loaded or not, by tier.
    pub fn tier_totals(&self) -> TierTotals {
        self.tier_totals
    }

    /// True if the open record has something to write.
    pub fn has_changes(&self) -> bool {
        !self.journal.is_empty()
            || self.rewrites.has_finished()
            || self.flushed
            || self.seals_are_due()
            || !self.dropped_series.is_empty()
            || !self.changed_series.is_empty()
            || self.checkpoint.low_water_due().is_some()
    }
}
