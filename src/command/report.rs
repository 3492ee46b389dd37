//! What lanes report to the lane that makes a reply about the whole server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lane::{PartitionCounters, TierTotals};
use crate::metrics::{CommandCounters, LaneCounters, LatencyTable};

/// What a report has to contain; a bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportKinds(pub u8);

impl ReportKinds {
    /// Lane counters and partitions: always there, cheap.
    pub const BASIC: ReportKinds = ReportKinds(0);
    /// Connected clients.
    pub const CLIENTS: ReportKinds = ReportKinds(1);
    /// Calls and time per command.
    pub const COMMANDS: ReportKinds = ReportKinds(1 << 1);
    /// Whole histograms.
    pub const LATENCY: ReportKinds = ReportKinds(1 << 2);
    /// Bytes on disk and other figures that RocksDB has to compute.
    pub const STORAGE: ReportKinds = ReportKinds(1 << 3);
    /// Slow calls.
    pub const SLOWLOG: ReportKinds = ReportKinds(1 << 4);
    /// Channels that are listened to.
    pub const CHANNELS: ReportKinds = ReportKinds(1 << 5);

    /// Both.
    pub const fn and(self, other: ReportKinds) -> ReportKinds {
        ReportKinds(self.0 | other.0)
    }

    /// True if all of `other` are asked for.
    pub const fn has(self, other: ReportKinds) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionReport {
    /// Index of its business.
    pub business: usize,
    /// Index in the business.
    pub partition: usize,
    /// Why it does not serve; `None` = it serves.
    pub closed: Option<Arc<str>>,
    /// Keys, series included.
    pub keys: u64,
    /// Keys with a deadline that are in memory.
    pub keys_with_deadline: u64,
    /// Series in memory.
    pub loaded_series: u64,
    /// Samples of loaded series, in memory and sealed.
    pub samples: u64,
    /// Samples and bytes of all chunks, by tier.
    pub tiers: TierTotals,
    /// Entries in the key table.
    pub table_entries: u64,
    /// Bytes of the key table.
    pub table_bytes: u64,
    /// Bytes of series and heads.
    pub series_bytes: u64,
    /// Bytes of decoded chunks and of summaries of chunks.
    pub decoded_bytes: u64,
    /// Bytes of summaries of chunks.
    pub summary_bytes: u64,
    /// Bytes of journal above the low-water mark.
    pub journal_bytes: u64,
    /// Checkpoints completed since start.
    pub checkpoints: u64,
    /// A checkpoint is running.
    pub checkpoint_running: bool,
    /// Unix milliseconds of the last completed checkpoint; 0 = none yet.
    pub last_checkpoint_ms: i64,
    /// Clean entries are kept.
    pub cache_enabled: bool,
    /// Bytes in RocksDB (with `STORAGE`).
    pub stored_bytes: u64,
    /// Counts since start.
    pub counters: PartitionCounters,
}

impl PartitionReport {
    /// Of a partition of which nothing is known but its place.
    pub fn empty(business: usize, partition: usize) -> PartitionReport {
        PartitionReport {
            business,
            partition,
            cache_enabled: true,
            ..PartitionReport::default()
        }
    }
}

/// One connected client.
#[derive(Clone, Debug)]
pub struct ClientReport {
    /// Process-wide number.
    pub id: u64,
    /// The line of CLIENT LIST, without the line end.
    pub line: String,
}

/// One slow call.
#[derive(Clone, Debug)]
pub struct SlowCall {
    /// Number, ascending over all lanes.
    pub id: u64,
    /// Unix seconds.
    pub at_s: i64,
    /// Service time.
    pub duration_us: u64,
    /// Arguments, cut to at most 32 of at most 128 bytes.
    pub args: Vec<Box<[u8]>>,
    /// Peer address.
    pub address: String,
    /// Client name.
    pub name: String,
}

/// Clients that listen to messages.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// How many there are.
    pub count: u64,
    /// Channels and how many listen to them, with `CHANNELS`.
    pub channels: BTreeMap<Box<[u8]>, u64>,
    /// Sharded channels and how many listen to them, with `CHANNELS`.
    pub sharded: BTreeMap<Box<[u8]>, u64>,
    /// Patterns that are listened to, with `CHANNELS`.
    pub patterns: BTreeSet<Box<[u8]>>,
}

/// One lane.
#[derive(Clone, Debug)]
pub struct LaneReport {
    /// Which lane.
    pub lane: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Counts since start.
    pub counters: LaneCounters,
    /// Clients connected to this lane.
    pub client_count: u64,
    /// Those of them that listen to messages.
    pub listeners: Listeners,
    /// Its partitions.
    pub partitions: Vec<PartitionReport>,
    /// Clients, with `CLIENTS`.
    pub clients: Vec<ClientReport>,
    /// Per command id, with `COMMANDS` or `LATENCY`.
    pub commands: Vec<CommandCounters>,
    /// With `LATENCY`.
    pub latency: Option<Box<LatencyTable>>,
    /// With `SLOWLOG`.
    pub slow_calls: Vec<SlowCall>,
    /// Error replies by their first word, with `COMMANDS`.
    pub errors: Vec<(String, u64)>,
    /// Clients paused until, unix milliseconds; 0 = not.
    pub paused_until_ms: i64,
    /// Commands in the last whole second.
    pub commands_per_second: u64,
    /// Bytes read and written in the last whole second.
    pub input_bytes_per_second: u64,
    /// Bytes written in the last whole second.
    pub output_bytes_per_second: u64,
}

/// All lanes, in order, and what only the reporting lane knows.
pub struct Reports {
    /// One per lane.
    pub lanes: Vec<LaneReport>,
    /// Block cache of all databases in use, bytes.
    pub block_cache_used_bytes: usize,
    /// Memtables of all databases, bytes.
    pub write_buffers_used_bytes: usize,
}

impl Reports {
    /// Counters of all lanes together.
    pub fn counters(&self) -> LaneCounters {
        let mut sum = LaneCounters::default();
        for lane in &self.lanes {
            sum.merge_from(&lane.counters);
        }
        sum
    }

    /// All partitions of all lanes.
    pub fn partitions(&self) -> impl Iterator<Item = (usize, &PartitionReport)> {
        self.lanes.iter().flat_map(|lane| {
            lane.partitions
                .iter()
                .map(move |partition| (lane.lane, partition))
        })
    }

    /// Counters of all partitions together.
    pub fn partition_counters(&self) -> PartitionCounters {
        let mut sum = PartitionCounters::default();
        for (_, partition) in self.partitions() {
            sum.add(&partition.counters);
        }
        sum
    }

    /// Histograms of all lanes together, if they were asked for.
    pub fn latency(&self) -> Option<LatencyTable> {
        let mut tables = self.lanes.iter().filter_map(|lane| lane.latency.as_deref());
        let mut sum = tables.next()?.clone();
        for table in tables {
            sum.merge_from(table);
        }
        Some(sum)
    }

    /// Calls and times per command id, of all lanes together.
    pub fn commands(&self) -> Vec<CommandCounters> {
        let mut sums: Vec<CommandCounters> = Vec::new();
        for lane in &self.lanes {
            sums.resize(sums.len().max(lane.commands.len()), CommandCounters::default());
            for (sum, counters) in sums.iter_mut().zip(&lane.commands) {
                sum.merge_from(counters);
            }
        }
        sums
    }
}
