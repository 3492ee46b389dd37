//! The TOML tree to `Config`, section by section: the type and range of every single setting.

use std::net::IpAddr;
use std::time::Duration;

use log::LevelFilter;
use toml::{Table, Value};

use super::business;
use super::error::ConfigError;
use super::section::Section;
use super::units::parse_cores;
use super::{
    Config, LaneConfig, LatencyConfig, RoutingConfig, Secret, ServerConfig, SlowlogConfig, StorageConfig,
    UnknownKeys, WireConfig,
};
use crate::limits::{
    ARGS_CAP, BIND_ADDRESSES_MAX, BULK_LEN_CAP_BYTES, DISABLED_COMMANDS_MAX, DURATION_MAX, GIB, KIB,
    LANES_MAX, MIB, PASSWORD_LEN_MAX_BYTES, TIB,
};
use crate::series::properties::{CHUNK_SIZE_MAX_BYTES, CHUNK_SIZE_MIN_BYTES, CHUNK_SIZE_STEP_BYTES};
use crate::series::{CompactionPolicy, DuplicatePolicy, Encoding, Ignore, SeriesDefaults};

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const CONNECTIONS_MAX: u64 = 1_000_000;

/// Reads a complete tree: the defaults with a file and a command line laid over them.
///
/// # Errors
/// The first value that is not allowed.
pub fn config(mut tree: Table) -> Result<Config, ConfigError> {
    let mut section = |name: &str| match tree.remove(name) {
        Some(Value::Table(table)) => Section::new(name, table),
        _ => unreachable!("invariant: the tree has every section of the defaults"),
    };
    let server = server(section("server"))?;
    let wire = wire(section("wire"))?;
    let lane = lane(section("lane"))?;
    let storage = storage(section("storage"))?;
    let latency = latency(section("latency"))?;
    let slowlog = slowlog(section("slowlog"))?;
    let timeseries = timeseries(section("timeseries"))?;
    let routing = routing(section("routing"))?;
    let businesses = match tree.remove("business") {
        Some(Value::Array(tables)) => business::businesses(tables, &server.data_dir)?,
        _ => unreachable!("invariant: the tree has the businesses"),
    };
    assert!(tree.is_empty(), "invariant: sections that nothing reads: {tree}");
    Ok(Config {
        server,
        wire,
        lane,
        storage,
        latency,
        slowlog,
        timeseries,
        routing,
        businesses,
    })
}

fn server(mut section: Section) -> Result<ServerConfig, ConfigError> {
    let config = ServerConfig {
        bind: bind(&mut section)?,
        port: section.integer("port", 0..=65_535)?,
        lane_port_base: section.integer("lane_port_base", 0..=65_535)?,
        lanes: section.integer("lanes", 0..=LANES_MAX as u64)?,
        cores: cores(&mut section)?,
        data_dir: match section.path("data_dir")? {
            Some(path) => path,
            None => return Err(section.refuse("data_dir", "\"\"", "a path")),
        },
        max_connections: section.integer("max_connections", 1..=CONNECTIONS_MAX)?,
        tcp_keepalive: keepalive(&mut section)?,
        idle_timeout: section.duration_or_zero("idle_timeout", SECOND..=365 * DAY)?,
        password: password(&mut section)?,
        protected_mode: section.flag("protected_mode")?,
        log_level: section.choice("log_level", &LOG_LEVELS)?,
        disabled_commands: disabled_commands(&mut section)?,
        shutdown_grace: section.duration("shutdown_grace", Duration::ZERO..=HOUR)?,
    };
    section.finish();
    Ok(config)
}

const LOG_LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::Off),
    ("error", LevelFilter::Error),
    ("warn", LevelFilter::Warn),
    ("info", LevelFilter::Info),
    ("debug", LevelFilter::Debug),
    ("trace", LevelFilter::Trace),
];

fn bind(section: &mut Section) -> Result<Vec<IpAddr>, ConfigError> {
    let expected = "a list of IP addresses such as [\"127.0.0.1\", \"::1\"]";
    let addresses = section.list("bind", BIND_ADDRESSES_MAX, expected, |item| item.parse().ok())?;
    if addresses.is_empty() {
        return Err(section.refuse("bind", "no address", expected));
    }
    Ok(addresses)
}

fn cores(section: &mut Section) -> Result<Vec<usize>, ConfigError> {
    let expected = "core numbers such as \"0-3,6\", none twice, or \"\" for all";
    let text = section.text("cores", expected)?;
    parse_cores(&text).ok_or_else(|| section.refuse("cores", format!("{text:?}"), expected))
}

fn keepalive(section: &mut Section) -> Result<Duration, ConfigError> {
    let keepalive = section.duration_or_zero("tcp_keepalive", SECOND..=HOUR)?;
    if keepalive.subsec_nanos() != 0 {
        let got = super::units::format_duration(keepalive);
        return Err(section.refuse("tcp_keepalive", format!("\"{got}\""), "whole seconds"));
    }
    Ok(keepalive)
}

/// The error never shows what was given.
fn password(section: &mut Section) -> Result<Secret, ConfigError> {
    let expected = format!("a string of at most {PASSWORD_LEN_MAX_BYTES} bytes without control characters");
    let hide = |mut error: ConfigError| {
        error.got = "a hidden value".to_owned();
        error
    };
    let text = section.text("password", &expected).map_err(hide)?;
    if text.len() > PASSWORD_LEN_MAX_BYTES || text.contains(char::is_control) {
        return Err(hide(section.refuse("password", "", expected)));
    }
    Ok(Secret(text))
}

fn disabled_commands(section: &mut Section) -> Result<Vec<String>, ConfigError> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-|".contains(&byte);
    let expected = "a list of command names such as [\"FLUSHALL\"]";
    section.list("disabled_commands", DISABLED_COMMANDS_MAX, expected, |item| {
        (!item.is_empty() && item.bytes().all(is_name_byte)).then(|| item.to_ascii_uppercase())
    })
}

fn wire(mut section: Section) -> Result<WireConfig, ConfigError> {
    let config = WireConfig {
        bulk_len_max_bytes: section.bytes("bulk_len_max", KIB..=BULK_LEN_CAP_BYTES)?,
        args_max: section.integer("args_max", 16..=ARGS_CAP)?,
        inline_len_max_bytes: section.bytes("inline_len_max", 64..=MIB)?,
        query_buffer_max_bytes: section.bytes("query_buffer_max", 4 * KIB..=4 * GIB)?,
        output_buffer_max_bytes: section.bytes("output_buffer_max", 4 * KIB..=4 * GIB)?,
        read_buffer_bytes: section.bytes("read_buffer", KIB..=MIB)?,
        batch_set_max: section.integer("batch_set_max", 1..=10_000_000)?,
        transaction_max: section.integer("transaction_max", 1..=10_000_000)?,
    };
    section.finish();
    Ok(config)
}

fn lane(mut section: Section) -> Result<LaneConfig, ConfigError> {
    let config = LaneConfig {
        spin_before_park: section.duration("spin_before_park", Duration::ZERO..=MILLISECOND)?,
        preempt_timer: section.duration("preempt_timer", 50 * MICROSECOND..=100 * MILLISECOND)?,
        heartbeat: section.duration("heartbeat", MILLISECOND..=SECOND)?,
        hops_in_flight_max: section.integer("hops_in_flight_max", 1..=65_536)?,
        blocking_threads: section.integer("blocking_threads", 1..=64)?,
        io_memory_bytes: section.bytes("io_memory", 64 * KIB..=GIB)?,
        turn_commands_max: section.integer("turn_commands_max", 1..=1_048_576)?,
    };
    section.finish();
    Ok(config)
}

fn storage(mut section: Section) -> Result<StorageConfig, ConfigError> {
    let config = StorageConfig {
        block_cache_bytes: section.bytes("block_cache", MIB..=TIB)?,
        write_buffers_bytes: section.bytes("write_buffers", MIB..=TIB)?,
        read_cache_bytes: section.bytes("read_cache", 0..=TIB)?,
        decoded_cache_bytes: section.bytes("decoded_cache", 0..=TIB)?,
        background_threads: section.integer("background_threads", 1..=256)?,
        background_nice: section.integer("background_nice", 0..=19)?,
        max_open_files: section.integer("max_open_files", 16..=1_000_000)?,
        checkpoint_journal_bytes: section.bytes("checkpoint_journal", 64 * KIB..=64 * GIB)?,
        checkpoint_interval: section.duration("checkpoint_interval", 10 * MILLISECOND..=DAY)?,
        wal_bytes_per_sync: section.bytes("wal_bytes_per_sync", 0..=GIB)?,
        cut_damaged_log: section.flag("cut_damaged_log")?,
        head_samples_max: section.integer("head_samples_max", 2..=65_536)?,
        head_idle: section.duration("head_idle", 10 * MILLISECOND..=DAY)?,
        series_memory_bytes: section.bytes("series_memory", MIB..=TIB)?,
        active_expiry_interval: section.duration("active_expiry_interval", MILLISECOND..=MINUTE)?,
        disk_free_min_bytes: section.bytes("disk_free_min", 0..=TIB)?,
        cold_rate_bytes: section.bytes("cold_rate", KIB..=TIB)?,
    };
    section.finish();
    Ok(config)
}

fn latency(mut section: Section) -> Result<LatencyConfig, ConfigError> {
    let config = LatencyConfig {
        significant_digits: section.integer("significant_digits", 2..=3)?,
        max: section.duration("max", SECOND..=HOUR)?,
        dump_on_exit: section.flag("dump_on_exit")?,
    };
    section.finish();
    Ok(config)
}

fn slowlog(mut section: Section) -> Result<SlowlogConfig, ConfigError> {
    let config = SlowlogConfig {
        log_slower_than: section.duration("log_slower_than", Duration::ZERO..=HOUR)?,
        entries_max: section.integer("entries_max", 0..=100_000)?,
    };
    section.finish();
    Ok(config)
}

fn timeseries(mut section: Section) -> Result<SeriesDefaults, ConfigError> {
    let policies = DuplicatePolicy::ALL.map(|policy| (policy.name(), policy));
    let encodings =
        [Encoding::Compressed, Encoding::Uncompressed].map(|encoding| (encoding.name(), encoding));
    let chunk_size_bytes = section.bytes(
        "chunk_size",
        CHUNK_SIZE_MIN_BYTES.into()..=CHUNK_SIZE_MAX_BYTES.into(),
    )?;
    if !u32::is_multiple_of(chunk_size_bytes, CHUNK_SIZE_STEP_BYTES) {
        let expected = format!("a multiple of {CHUNK_SIZE_STEP_BYTES} bytes");
        return Err(section.refuse("chunk_size", format!("{chunk_size_bytes} bytes"), expected));
    }
    let expected = "aggregator:bucket:retention[:align], separated by semicolons, such as avg:1h:30d";
    let compaction = section.text("compaction_policy", expected)?;
    let compaction = CompactionPolicy::parse_all(&compaction)
        .ok_or_else(|| section.refuse("compaction_policy", compaction, expected))?;
    let config = SeriesDefaults {
        duplicate_policy: section.choice("duplicate_policy", &policies)?,
        encoding: section.choice("encoding", &encodings)?,
        chunk_size_bytes,
        retention: section.integer("retention", 0..=i64::MAX as u64)?,
        ignore: Ignore::default(),
        madd_creates: section.flag("madd_creates")?,
        chained_rules: section.flag("chained_rules")?,
        compaction,
    };
    section.finish();
    Ok(config)
}

fn routing(mut section: Section) -> Result<RoutingConfig, ConfigError> {
    let choices = [("default", UnknownKeys::Default), ("refuse", UnknownKeys::Refuse)];
    let config = RoutingConfig {
        unknown_keys: section.choice("unknown_keys", &choices)?,
    };
    section.finish();
    Ok(config)
}

// The longest time of each range above must be one that every time unit can count.
const _: () = assert!(365 * 86_400 <= DURATION_MAX.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, value: &str) -> String {
        let error = Config::load(None, &[(key.to_owned(), value.to_owned())]).unwrap_err();
        assert_eq!(error.key, key);
        assert_eq!(error.file, "command line");
        error.to_string()
    }

    #[test]
    fn every_server_setting_refuses_nonsense() {
        for (key, value) in [
            ("server.bind", "localhost"),
            ("server.bind", ""),
            ("server.bind", "::1,::1"),
            ("server.port", "65536"),
            ("server.lane_port_base", "-1"),
            ("server.lanes", "257"),
            ("server.cores", "3-1"),
            ("server.data_dir", ""),
            ("server.max_connections", "0"),
            ("server.tcp_keepalive", "500 ms"),
            ("server.tcp_keepalive", "1500 ms"),
            ("server.idle_timeout", "30"),
            ("server.protected_mode", "yes"),
            ("server.log_level", "loud"),
            ("server.disabled_commands", "FLUSH ALL"),
            ("server.disabled_commands", "get,GET"),
            ("server.shutdown_grace", "2 h"),
        ] {
            refused(key, value);
        }
    }

    #[test]
    fn bad_passwords_are_not_repeated() {
        let text = refused("server.password", "open\nsesame");
        assert!(
            !text.contains("sesame") && text.contains("a hidden value"),
            "{text}"
        );
        refused("server.password", &"x".repeat(PASSWORD_LEN_MAX_BYTES + 1));
    }

    #[test]
    fn hard_caps_hold() {
        assert_eq!(
            refused("wire.bulk_len_max", "513 MiB"),
            "command line: wire.bulk_len_max: got \"513 MiB\"; \
             expected a size with its unit, from \"1 KiB\" to \"512 MiB\""
        );
        refused("wire.args_max", "1048577");
        refused("lane.spin_before_park", "1001 us");
        refused("latency.significant_digits", "4");
    }

    #[test]
    fn values_arrive_in_their_units() {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let config = Config::load(
            None,
            &[
                set("server.bind", "0.0.0.0,::"),
                set("server.cores", "1,0"),
                set("server.tcp_keepalive", "0"),
                set("server.disabled_commands", "flushall"),
                set("wire.read_buffer", "4 kB"),
                set("lane.spin_before_park", "20 us"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.bind.len(), 2);
        assert_eq!(config.server.cores, [1, 0]);
        assert_eq!(config.server.tcp_keepalive, Duration::ZERO);
        assert_eq!(config.server.disabled_commands, ["FLUSHALL"]);
        assert_eq!(config.wire.read_buffer_bytes, 4_000);
        assert_eq!(config.lane.spin_before_park, Duration::from_micros(20));
    }
}
