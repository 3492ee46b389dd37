//! Configuration: what the file and the command line say, checked and typed. The only module that names toml.
//!
//! `conf/ticklane.toml` is built into the program and is the only place where defaults are written. A file
//! is laid over it (`raw`), then the command line (`set`); the result is read key by key into plain data
//! (`section`, `check`, `business`), and what must hold between keys is checked last (`relations`).

mod business;
mod check;
mod error;
mod raw;
mod relations;
mod section;
mod set;
pub mod units;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::series::SeriesDefaults;

pub use error::ConfigError;

/// All settings. Times are `Duration`s; other quantities carry their unit in the name.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub server: ServerConfig,
    pub wire: WireConfig,
    pub lane: LaneConfig,
    pub storage: StorageConfig,
    pub latency: LatencyConfig,
    pub slowlog: SlowlogConfig,
    /// What series are like that were not told otherwise.
    pub timeseries: SeriesDefaults,
    pub routing: RoutingConfig,
    /// In the order of the file; at least one, at most `BUSINESSES_MAX`.
    pub businesses: Vec<BusinessConfig>,
}

/// `[server]`: sockets, cores, clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// At least one, no address twice.
    pub bind: Vec<IpAddr>,
    /// Serves all businesses; 0 picks a free port.
    pub port: u16,
    /// Lane `i` also listens on this port plus `i`; 0 = not listening.
    pub lane_port_base: u16,
    /// 0 = one per core.
    pub lanes: usize,
    /// Cores to pin lanes to, in this order; empty = all that the process may use.
    pub cores: Vec<usize>,
    pub data_dir: PathBuf,
    /// On all ports together.
    pub max_connections: usize,
    /// Whole seconds; zero = no probes.
    pub tcp_keepalive: Duration,
    /// Zero = never closed for being silent.
    pub idle_timeout: Duration,
    /// Empty = no AUTH.
    pub password: Secret,
    pub protected_mode: bool,
    pub log_level: log::LevelFilter,
    /// Upper case, no name twice.
    pub disabled_commands: Vec<String>,
    pub shutdown_grace: Duration,
}

impl ServerConfig {
    /// The first address to listen on, for messages and for looking for a free port.
    pub fn first_address(&self) -> IpAddr {
        self.bind
            .first()
            .copied()
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// `[wire]`: what one connection may ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct WireConfig {
    pub bulk_len_max_bytes: usize,
    pub args_max: usize,
    pub inline_len_max_bytes: usize,
    pub query_buffer_max_bytes: usize,
    pub output_buffer_max_bytes: usize,
    pub read_buffer_bytes: usize,
    /// Items per connection.
    pub batch_set_max: usize,
    /// Commands queued per connection.
    pub transaction_max: usize,
}

/// `[lane]`: how one executor runs.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneConfig {
    pub spin_before_park: Duration,
    pub preempt_timer: Duration,
    /// Never shorter than `preempt_timer`.
    pub heartbeat: Duration,
    /// Per ordered pair of lanes.
    pub hops_in_flight_max: usize,
    /// Per lane.
    pub blocking_threads: usize,
    pub io_memory_bytes: usize,
    pub turn_commands_max: usize,
}

/// `[storage]`: memory, files and periodic work of the databases.
#[derive(Clone, Debug, PartialEq)]
pub struct StorageConfig {
    /// All databases together.
    pub block_cache_bytes: usize,
    /// All databases together.
    pub write_buffers_bytes: usize,
    /// Per lane; 0 = off.
    pub read_cache_bytes: usize,
    /// Chunks decoded for reads, and summaries of chunks, per lane; 0 = off.
    pub decoded_cache_bytes: usize,
    pub background_threads: usize,
    /// Niceness of those threads while they keep up, 0 to 19.
    pub background_nice: i32,
    /// Per database.
    pub max_open_files: usize,
    /// Per partition.
    pub checkpoint_journal_bytes: u64,
    pub checkpoint_interval: Duration,
    /// 0 = left to the kernel.
    pub wal_bytes_per_sync: u64,
    /// A log that is damaged before its end is cut there instead of refused.
    pub cut_damaged_log: bool,
    /// Samples per head.
    pub head_samples_max: usize,
    pub head_idle: Duration,
    /// Whole process.
    pub series_memory_bytes: usize,
    pub active_expiry_interval: Duration,
    pub disk_free_min_bytes: u64,
    /// Bytes per second, whole process.
    pub cold_rate_bytes: u64,
}

/// `[latency]`: the histograms.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyConfig {
    /// Decimal digits, 1 to 3.
    pub significant_digits: u8,
    /// Longer times are recorded as this.
    pub max: Duration,
    pub dump_on_exit: bool,
}

/// `[slowlog]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowlogConfig {
    pub log_slower_than: Duration,
    /// Per lane; 0 = off.
    pub entries_max: usize,
}

/// `[routing]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutingConfig {
    pub unknown_keys: UnknownKeys,
}

/// One `[[business]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BusinessConfig {
    /// `[a-z0-9_]`, 1 to `BUSINESS_NAME_LEN_MAX_BYTES` bytes, unique.
    pub name: String,
    /// No prefix twice in all businesses; empty = the catch-all.
    pub prefixes: Vec<String>,
    /// 0 = not listening.
    pub port: u16,
    pub data_dir: PathBuf,
    /// 0 = the lane count when the business is created.
    pub partitions: usize,
    pub compression: Compression,
    /// On the business's own port.
    pub max_connections: usize,
    pub fsync: Fsync,
    pub time_unit: TimeUnit,
    /// Zero = kept for ever.
    pub retention: Duration,
    pub cold_hot_separation: bool,
    pub hot_age: Duration,
    /// `None` = inside `data_dir`.
    pub cold_dir: Option<PathBuf>,
}

impl BusinessConfig {
    /// Whether keys that match no prefix belong to this business.
    #[must_use]
    pub fn is_catch_all(&self) -> bool {
        self.prefixes.is_empty()
    }
}

/// A text that must not appear in logs and error messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Secret(none)"
        } else {
            "Secret(hidden)"
        })
    }
}

/// When a commit is followed by a sync to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before the reply.
    Always,
    /// Once a second.
    EverySecond,
    /// When the kernel decides.
    No,
}

/// Compression of sealed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

/// What becomes of a key that matches no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKeys {
    /// It belongs to the business `default`.
    Default,
    /// It is answered with an error.
    Refuse,
}

/// What one step of a business's timestamps means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl TimeUnit {
    /// Nanoseconds in one unit.
    #[must_use]
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::Seconds => 1_000_000_000,
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }

    /// `duration` in this unit, rounded down; at most `i64::MAX`.
    #[must_use]
    pub fn count(self, duration: Duration) -> i64 {
        let units = duration.as_nanos() / u128::from(self.nanoseconds().unsigned_abs());
        i64::try_from(units).unwrap_or(i64::MAX)
    }
}

impl Config {
    /// Reads `file`, or the built-in defaults when there is none, and lays `overrides` over it.
    ///
    /// An override is a key such as `server.port` or `business.iot_data.fsync` and its value as typed on
    /// a command line: text needs no quotes, lists are separated by commas.
    ///
    /// # Errors
    /// The first setting that is unknown, malformed, out of range or at odds with another.
    pub fn load(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let file_name = file.map_or_else(
            || "built-in defaults".to_owned(),
            |path| path.display().to_string(),
        );
        Self::load_unnamed(file, overrides).map_err(|mut error| {
            let is_overridden = overrides.iter().any(|(key, _)| key.trim() == error.key);
            error.file = if is_overridden {
                "command line".to_owned()
            } else {
                file_name
            };
            error
        })
    }

    /// As [`Config::load`] with the text of a file.
    ///
    /// # Errors
    /// As there; no file is named.
    pub fn from_text(text: &str, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        Self::from_tree(raw::over_defaults(raw::parse(text)?)?, overrides)
    }

    fn load_unnamed(file: Option<&Path>, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        let tree = match file {
            Some(path) => raw::over_defaults(raw::read(path)?)?,
            None => raw::defaults(),
        };
        Self::from_tree(tree, overrides)
    }

    fn from_tree(mut tree: toml::Table, overrides: &[(String, String)]) -> Result<Self, ConfigError> {
        for (key, value) in overrides {
            set::set(&mut tree, key, value)?;
        }
        let config = check::config(tree)?;
        relations::check(&config)?;
        Ok(config)
    }

    /// Checks the lane ports against the other ports once the number of lanes is known.
    ///
    /// `load` has checked them for the number of lanes that the configuration names; with `lanes = 0` that
    /// number depends on the machine.
    ///
    /// # Errors
    /// The port that is used twice, or that would be above 65535.
    pub fn check_lane_ports(&self, lanes: usize) -> Result<(), ConfigError> {
        relations::check_lane_ports(self, lanes).map_err(|mut error| {
            error.file = format!("with {lanes} lanes");
            error
        })
    }
}

impl Default for Config {
    /// What `conf/ticklane.toml` said when the program was built.
    fn default() -> Self {
        Self::load(None, &[]).expect("invariant: the built-in defaults are valid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        let config = Config::default();
        assert_eq!(config.businesses.len(), 8);
        assert_eq!(config.businesses[0].data_dir, Path::new("./data/stock_quotes"));
        assert!(config.businesses[7].is_catch_all());
    }

    #[test]
    fn passwords_are_not_printed() {
        let overrides = [("server.password".to_owned(), "open sesame".to_owned())];
        let config = Config::load(None, &overrides).unwrap();
        assert_eq!(config.server.password.0, "open sesame");
        assert!(!format!("{config:?}").contains("sesame"));
    }

    #[test]
    fn durations_in_units() {
        let duration = Duration::from_micros(1_999_999);
        assert_eq!(TimeUnit::Seconds.count(duration), 1);
        assert_eq!(TimeUnit::Milliseconds.count(duration), 1_999);
        assert_eq!(TimeUnit::Nanoseconds.count(duration), 1_999_999_000);
        assert_eq!(TimeUnit::Nanoseconds.count(Duration::MAX), i64::MAX);
    }

    #[test]
    fn lane_ports_are_checked_for_the_real_lane_count() {
        let overrides = [("server.lane_port_base".to_owned(), "5553".to_owned())];
        let config = Config::load(None, &overrides).unwrap();
        assert!(config.check_lane_ports(2).is_ok());
        let error = config.check_lane_ports(3).unwrap_err();
        assert_eq!(error.key, "business.stock_quotes.port");
        assert_eq!(error.file, "with 3 lanes");
    }
}
