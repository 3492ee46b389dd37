//! What all lanes know alike: configuration, directory, command table. Never changes, or is replaced whole.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::business::Directory;
use crate::config::Config;
use crate::lane::EventClasses;
use crate::series::SeriesDefaults;

use super::CommandTable;
use super::background::BackgroundThreads;

/// Settings that CONFIG SET may change while the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Empty = no password.
    pub password: String,
    /// Connections of the whole process.
    pub max_connections: usize,
    /// Seconds after which an idle connection is closed; 0 = never.
    pub idle_timeout_s: u64,
    /// Refuse clients from other machines while there is no password.
    pub protected_mode: bool,
    /// Bytes of one argument.
    pub bulk_len_max_bytes: usize,
    /// Calls slower than this are kept, in microseconds; negative = none.
    pub slowlog_slower_than_us: i64,
    /// Calls kept.
    pub slowlog_entries_max: usize,
    /// What series are like unless they were told otherwise.
    pub series: SeriesDefaults,
    /// Which keyspace events are told.
    pub event_classes: EventClasses,
    /// Settings that tools read and set but that have one meaning here: name to value.
    pub accepted: BTreeMap<String, String>,
}

impl Settings {
    /// What the configuration says, before any CONFIG SET.
    pub fn from_config(config: &Config) -> Settings {
        let server = &config.server;
        let slower_than_us = config.slowlog.log_slower_than.as_micros();
        Settings {
            password: server.password.0.clone(),
            max_connections: server.max_connections,
            idle_timeout_s: server.idle_timeout.as_secs(),
            protected_mode: server.protected_mode,
            bulk_len_max_bytes: config.wire.bulk_len_max_bytes,
            slowlog_slower_than_us: i64::try_from(slower_than_us).unwrap_or(i64::MAX),
            slowlog_entries_max: config.slowlog.entries_max,
            series: config.timeseries.clone(),
            event_classes: EventClasses::default(),
            accepted: BTreeMap::new(),
        }
    }
}

/// Counts that the lanes have in common. The one exception to "lanes share nothing that changes": a limit on
/// connections of the whole process has to count them, and it is touched once per connection, or when a
/// client waits, begins to monitor or was slow.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    total: AtomicUsize,
    per_business: Vec<AtomicUsize>,
    next_client: AtomicU64,
    /// Clients that wait in a command such as TS.READ BLOCK.
    blocked: AtomicUsize,
    /// Clients under MONITOR.
    monitors: Arc<AtomicUsize>,
    /// Number of the next slow call.
    next_slow_call: AtomicU64,
}

/// A client under MONITOR, counted until this is dropped.
#[derive(Debug)]
pub struct Monitor(Arc<AtomicUsize>);

impl Drop for Monitor {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client that waits, counted until this is dropped.
pub struct BlockedClient<'a>(&'a AtomicUsize);

impl Drop for BlockedClient<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionCounts {
    /// Counts a client as one that waits.
    pub fn block(&self) -> BlockedClient<'_> {
        self.blocked.fetch_add(1, Ordering::Relaxed);
        BlockedClient(&self.blocked)
    }

    /// Counts a client as one under MONITOR.
    pub fn monitor(&self) -> Monitor {
        self.monitors.fetch_add(1, Ordering::Relaxed);
        Monitor(Arc::clone(&self.monitors))
    }

    /// Clients under MONITOR.
    #[inline]
    pub fn monitors(&self) -> usize {
        self.monitors.load(Ordering::Relaxed)
    }

    /// A number for a slow call: they ascend over all lanes.
    pub fn next_slow_call(&self) -> u64 {
        self.next_slow_call.fetch_add(1, Ordering::Relaxed)
    }

    /// Clients that wait.
    pub fn blocked(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// Counters for so many businesses.
    pub fn new(businesses: usize) -> ConnectionCounts {
        ConnectionCounts {
            per_business: (0..businesses).map(|_| AtomicUsize::new(0)).collect(),
            ..ConnectionCounts::default()
        }
    }

    /// Counts a connection if the limits allow it.
    pub fn try_add(&self, total_max: usize, business: Option<(usize, usize)>) -> bool {
        if self.total.fetch_add(1, Ordering::Relaxed) >= total_max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let Some((business, business_max)) = business else {
            return true;
        };
        let Some(count) = self.per_business.get(business) else {
            return true;
        };
        if count.fetch_add(1, Ordering::Relaxed) >= business_max {
            count.fetch_sub(1, Ordering::Relaxed);
            self.total.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// A connection has ended.
    pub fn remove(&self, business: Option<usize>) {
        self.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = business.and_then(|business| self.per_business.get(business)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Connections to a business's own port.
    pub fn of_business(&self, business: usize) -> usize {
        self.per_business
            .get(business)
            .map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// A number that no other client of this process has.
    pub fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// See the head of the file.
pub struct Shared {
    /// As started.
    pub config: Config,
    /// Configuration file as given, for INFO.
    pub config_file: Option<PathBuf>,
    /// As changed since.
    pub settings: ArcSwap<Settings>,
    /// `settings.series`, where partitions find it.
    pub series_defaults: Arc<ArcSwap<SeriesDefaults>>,
    /// `settings.event_classes`, where partitions find them.
    pub event_classes: Arc<AtomicU32>,
    /// Set for good when the first rollup rule is seen.
    pub rules_seen: Arc<AtomicBool>,
    /// Milliseconds for which writing a checkpoint is held up, as a slow disk would: DEBUG CHECKPOINT-DELAY.
    pub checkpoint_delay_ms: AtomicU64,
    /// RocksDB's threads.
    pub background: BackgroundThreads,
    /// Where keys live.
    pub directory: Arc<Directory>,
    /// All commands.
    pub commands: CommandTable,
    /// 40 hexadecimal digits, new at every start.
    pub run_id: String,
    /// Unix milliseconds of the start.
    pub started_ms: i64,
    /// Port that serves all businesses, as bound.
    pub port: u16,
    /// First lane port as configured; 0 = none.
    pub lane_port_base: u16,
    /// Address that clients are told in CLUSTER replies.
    pub announced_address: IpAddr,
    /// Connections of the process.
    pub connections: ConnectionCounts,
}

impl Shared {
    /// The settings in force.
    #[inline]
    pub fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }
}
