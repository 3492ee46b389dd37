//! BUSINESS, CLUSTER_INFO and CACHE.

use std::sync::Arc;

use crate::config::units::{format_bytes, format_duration};
use crate::config::{Compression, Fsync, TimeUnit};
use crate::refusal::Refusal;
use crate::resp::{Args, Proto, Reply};

use super::entry::entry;
use super::plan::{Order, OrderAnswer, Plan};
use super::report::{PartitionReport, ReportKinds, Reports};
use super::session::SessionContext;
use super::shared::Shared;
use super::subcommand::{Subcommand, dispatch, subcommand};
use super::{Command, Flags};

/// Group of the commands that Redis does not have.
const GROUP: &str = "ticklane";

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("BUSINESS", -2, Flags::NONE, |context, args, reply| {
        dispatch(BUSINESS, context, args, reply)
    })
    .of_group(GROUP)
    .says("0.1.0", "", "A container for commands about businesses."),
    entry("CACHE", -2, Flags::ADMIN, |context, args, reply| {
        dispatch(CACHE, context, args, reply)
    })
    .of_group(GROUP)
    .says("0.1.0", "", "A container for commands about the read cache."),
    entry("CLUSTER_INFO", 1, Flags::NONE, |_, _, _| {
        Err(Plan::report(ReportKinds::STORAGE, render_all).into())
    })
    .of_group(GROUP)
    .says(
        "0.1.0",
        "",
        "Returns state, place and size of every business and its partitions.",
    ),
];

/// Subcommands of BUSINESS.
pub const BUSINESS: &[Subcommand] = &[
    subcommand("business|info", 3, Flags::NONE, |context, args, _| {
        find(context.shared, args.get(2))?;
        Err(Plan::report(ReportKinds::STORAGE, render_one).into())
    })
    .says("0.1.0", "name", "Returns settings, state and size of a business."),
    subcommand("business|list", 2, Flags::NONE, |context, _, reply| {
        let businesses = context.shared.directory.businesses();
        reply.array(businesses.len());
        for business in businesses {
            reply.bulk(business.config.name.as_bytes());
        }
        Ok(())
    })
    .says("0.1.0", "", "Returns the names of all businesses."),
];

/// Subcommands of CACHE.
pub const CACHE: &[Subcommand] = &[
    subcommand("cache|clear", 2, Flags::NONE, |_, _, _| {
        Err(Plan::order(Order::ClearCache, OrderAnswer::Ok).into())
    })
    .says("0.1.0", "", "Drops what the read cache holds."),
    subcommand("cache|off", 2, Flags::NONE, |_, _, _| {
        Err(Plan::order(Order::EnableCache(false), OrderAnswer::Ok).into())
    })
    .says("0.1.0", "", "Empties the read cache and stops filling it."),
    subcommand("cache|on", 2, Flags::NONE, |_, _, _| {
        Err(Plan::order(Order::EnableCache(true), OrderAnswer::Ok).into())
    })
    .says("0.1.0", "", "Fills the read cache from now on."),
    subcommand("cache|stats", 2, Flags::NONE, |_, _, _| {
        Err(Plan::report(ReportKinds::BASIC, render_cache).into())
    })
    .says("0.1.0", "", "Returns size and use of the read cache."),
];

fn find(shared: &Shared, name: &[u8]) -> Result<usize, Refusal> {
    let businesses = shared.directory.businesses();
    businesses
        .iter()
        .position(|business| business.config.name.as_bytes() == name)
        .ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            Refusal::text(format!("ERR unknown business '{name}', see BUSINESS LIST"))
        })
}

/// One business, added up over its partitions.
pub struct BusinessFacts<'a> {
    /// `online`, `degraded` (some partitions do not serve) or `offline`.
    pub state: &'static str,
    /// Connections to its own port.
    pub connections: usize,
    /// Keys, series included.
    pub keys: u64,
    /// Series in memory.
    pub series: u64,
    /// Samples of those.
    pub samples: u64,
    /// Bytes in RocksDB, if they were asked for.
    pub stored_bytes: u64,
    /// Why a partition does not serve.
    pub last_error: Option<Arc<str>>,
    /// Lane and report of each partition, in order.
    pub partitions: Vec<(usize, &'a PartitionReport)>,
}

impl<'a> BusinessFacts<'a> {
    /// Samples and bytes of sealed chunks: of hot ones, of cold ones.
    pub fn tiers(&self) -> ((u64, u64), (u64, u64)) {
        let sum = |count: fn(&PartitionReport) -> u64| {
            self.partitions
                .iter()
                .map(|(_, partition)| count(partition))
                .sum()
        };
        let hot_samples = sum(|report| report.tiers.hot_samples);
        let hot_bytes = sum(|report| report.tiers.hot_bytes);
        let cold_samples = sum(|report| report.tiers.cold_samples);
        let cold_bytes = sum(|report| report.tiers.cold_bytes);
        ((hot_samples, hot_bytes), (cold_samples, cold_bytes))
    }

    /// Adds up the reports about business `index`.
    pub fn new(shared: &Shared, reports: &'a Reports, index: usize) -> BusinessFacts<'a> {
        let mut partitions: Vec<_> = reports
            .partitions()
            .filter(|(_, partition)| partition.business == index)
            .collect();
        partitions.sort_by_key(|(_, partition)| partition.partition);
        let sum = |count: fn(&PartitionReport) -> u64| {
            partitions.iter().map(|(_, partition)| count(partition)).sum()
        };
        let closed = partitions
            .iter()
            .filter(|(_, partition)| partition.closed.is_some())
            .count();
        BusinessFacts {
            state: match closed {
                0 if !partitions.is_empty() => "online",
                closed if closed < partitions.len() => "degraded",
                _ => "offline",
            },
            connections: shared.connections.of_business(index),
            keys: sum(|partition| partition.keys),
            series: sum(|partition| partition.loaded_series),
            samples: sum(|partition| partition.samples),
            stored_bytes: sum(|partition| partition.stored_bytes),
            last_error: partitions
                .iter()
                .find_map(|(_, partition)| partition.closed.clone()),
            partitions,
        }
    }
}

fn render_one(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let index = find(context.shared, args.get(2))?;
    write_business(context.shared, reports, index, reply);
    Ok(())
}

fn text(reply: &mut Reply, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

fn number(reply: &mut Reply, name: &str, value: impl TryInto<i64>) {
    reply.bulk(name.as_bytes());
    reply.integer(value.try_into().unwrap_or(i64::MAX));
}

fn write_business(shared: &Shared, reports: &Reports, index: usize, reply: &mut Reply) {
    let Some(entry) = shared.directory.businesses().get(index) else {
        return;
    };
    let config = &entry.config;
    let facts = BusinessFacts::new(shared, reports, index);
    let (hot, cold) = facts.tiers();
    reply.map(21);
    text(reply, "name", &config.name);
    text(reply, "state", facts.state);
    number(reply, "port", config.port);
    reply.bulk(b"prefixes");
    reply.array(config.prefixes.len());
    for prefix in &config.prefixes {
        reply.bulk(prefix.as_bytes());
    }
    text(reply, "fsync", fsync_name(config.fsync));
    text(reply, "time_unit", time_unit_name(config.time_unit));
    text(reply, "retention", &format_duration(config.retention));
    text(reply, "compression", compression_name(config.compression));
    number(reply, "max_connections", config.max_connections);
    number(reply, "connections", facts.connections);
    text(reply, "data_dir", &config.data_dir.display().to_string());
    reply.bulk(b"partitions");
    reply.array(facts.partitions.len());
    for (lane, partition) in &facts.partitions {
        write_partition(*lane, partition, reply);
    }
    number(reply, "keys", facts.keys);
    number(reply, "series", facts.series);
    number(reply, "samples", facts.samples);
    number(reply, "bytes", facts.stored_bytes);
    number(reply, "hot_samples", hot.0);
    number(reply, "hot_bytes", hot.1);
    number(reply, "cold_samples", cold.0);
    number(reply, "cold_bytes", cold.1);
    text(reply, "last_error", facts.last_error.as_deref().unwrap_or(""));
}

fn partition_state(partition: &PartitionReport) -> &'static str {
    if partition.closed.is_none() {
        "online"
    } else {
        "offline"
    }
}

fn write_partition(lane: usize, partition: &PartitionReport, reply: &mut Reply) {
    reply.map(10);
    number(reply, "index", partition.partition);
    number(reply, "lane", lane);
    text(reply, "state", partition_state(partition));
    number(reply, "keys", partition.keys);
    number(reply, "series", partition.loaded_series);
    number(reply, "samples", partition.samples);
    number(reply, "journal_bytes", partition.journal_bytes);
    number(reply, "table_bytes", partition.table_bytes);
    number(reply, "stored_bytes", partition.stored_bytes);
    text(reply, "last_error", partition.closed.as_deref().unwrap_or(""));
}

/// CLUSTER_INFO: a map of businesses for programs that speak RESP3, lines for people in RESP2.
fn render_all(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let shared = context.shared;
    let businesses = shared.directory.businesses();
    if reply.proto() == Proto::Resp3 {
        reply.map(businesses.len());
        for (index, business) in businesses.iter().enumerate() {
            reply.bulk(business.config.name.as_bytes());
            write_business(shared, reports, index, reply);
        }
        return Ok(());
    }
    let lines: Vec<String> = (0..businesses.len())
        .flat_map(|index| lines_of(shared, reports, index))
        .collect();
    reply.array(lines.len());
    for line in lines {
        reply.bulk(line.as_bytes());
    }
    Ok(())
}

/// One line about a business and one about each of its partitions.
fn lines_of(shared: &Shared, reports: &Reports, index: usize) -> Vec<String> {
    let Some(entry) = shared.directory.businesses().get(index) else {
        return Vec::new();
    };
    let facts = BusinessFacts::new(shared, reports, index);
    let error =
        |cause: Option<&str>| cause.map_or_else(String::new, |cause| format!(", last error: {cause}"));
    let mut lines = vec![format!(
        "{}: {}, port {}, {} connections, {} keys, {} series, {} samples, {}{}",
        entry.config.name,
        facts.state,
        entry.config.port,
        facts.connections,
        facts.keys,
        facts.series,
        facts.samples,
        format_bytes(facts.stored_bytes),
        error(facts.last_error.as_deref()),
    )];
    for (lane, partition) in &facts.partitions {
        lines.push(format!(
            "  partition {} on lane {lane}: {}, {} keys, {} series, {} samples, {}{}",
            partition.partition,
            partition_state(partition),
            partition.keys,
            partition.loaded_series,
            partition.samples,
            format_bytes(partition.stored_bytes),
            error(partition.closed.as_deref()),
        ));
    }
    lines
}

fn render_cache(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let partitions = || reports.partitions().map(|(_, partition)| partition);
    let counters = reports.partition_counters();
    reply.map(7);
    reply.bulk(b"enabled");
    reply.boolean(partitions().any(|partition| partition.cache_enabled));
    number(
        reply,
        "entries",
        partitions().map(|partition| partition.table_entries).sum::<u64>(),
    );
    number(
        reply,
        "bytes",
        partitions().map(|partition| partition.table_bytes).sum::<u64>(),
    );
    number(
        reply,
        "budget_bytes",
        context.shared.config.storage.read_cache_bytes * reports.lanes.len(),
    );
    number(reply, "hits", counters.cache_hits);
    number(reply, "misses", counters.cache_misses);
    number(reply, "evictions", counters.evicted_entries);
    Ok(())
}

fn fsync_name(fsync: Fsync) -> &'static str {
    match fsync {
        Fsync::Always => "always",
        Fsync::EverySecond => "everysec",
        Fsync::No => "no",
    }
}

fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

fn time_unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Seconds => "s",
        TimeUnit::Milliseconds => "ms",
        TimeUnit::Microseconds => "us",
        TimeUnit::Nanoseconds => "ns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::{TestClient, reports};

    #[test]
    fn businesses_are_listed_and_described() {
        let mut client = TestClient::new();
        let mut reports = reports(&client.shared);
        let place = reports.lanes[1]
            .partitions
            .iter_mut()
            .find(|partition| partition.business == 0)
            .unwrap();
        place.keys = 5;
        place.closed = Some("disk on fire".into());
        assert!(
            client
                .run(&["BUSINESS", "LIST"])
                .starts_with("*8\r\n$12\r\nstock_quotes\r\n")
        );
        let info = client.render(&["BUSINESS", "INFO", "stock_quotes"], &reports);
        let head = "*42\r\n$4\r\nname\r\n$12\r\nstock_quotes\r\n$5\r\nstate\r\n$8\r\ndegraded\r\n$4\r\n\
            port\r\n:5555\r\n\
                    $8\r\nprefixes\r\n*1\r\n$6\r\nstock_\r\n$5\r\nfsync\r\n$8\r\neverysec\r\n";
        assert!(info.starts_with(head), "{info}");
        assert!(
            info.ends_with("$10\r\nlast_error\r\n$12\r\ndisk on fire\r\n"),
            "{info}"
        );
        let unknown = "-ERR unknown business 'nosuch', see BUSINESS LIST\r\n";
        assert_eq!(client.run(&["BUSINESS", "INFO", "nosuch"]), unknown);
    }

    #[test]
    fn the_overview_is_lines_or_a_map() {
        let mut client = TestClient::new();
        let mut reports = reports(&client.shared);
        for partition in reports.lanes.iter_mut().flat_map(|lane| &mut lane.partitions) {
            partition.closed = (partition.business == 1).then(|| "gone".into());
        }
        let lines = client.render(&["CLUSTER_INFO"], &reports);
        assert!(lines.starts_with("*24\r\n"), "{lines}");
        let line = "iot_data: offline, port 5556, 0 connections, 0 keys, 0 series, 0 samples, 0 B, last \
            error: gone\r\n";
        assert!(lines.contains(line), "{lines}");
        assert!(
            lines.contains("\r\n  partition 1 on lane 1: online, 0 keys,"),
            "{lines}"
        );
        let mut client = client.resp3();
        let map = client.render(&["CLUSTER_INFO"], &reports);
        assert!(
            map.starts_with("%8\r\n$12\r\nstock_quotes\r\n%21\r\n$4\r\nname\r\n"),
            "{map}"
        );
        assert_eq!(map.matches("$5\r\nindex\r\n").count(), 16);
    }

    #[test]
    fn the_cache_is_switched_and_counted() {
        let mut client = TestClient::new();
        let order = |client: &mut TestClient, name: &str| match client.plan(&["CACHE", name]) {
            Plan::Order {
                order,
                answer: OrderAnswer::Ok,
            } => format!("{order:?}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(order(&mut client, "on"), "EnableCache(true)");
        assert_eq!(order(&mut client, "off"), "EnableCache(false)");
        assert_eq!(order(&mut client, "clear"), "ClearCache");
        let mut reports = reports(&client.shared);
        reports.lanes[0].partitions[0].counters.cache_hits = 3;
        reports.lanes[1].partitions[0].table_entries = 4;
        let stats = client.render(&["CACHE", "STATS"], &reports);
        assert!(
            stats.starts_with("*14\r\n$7\r\nenabled\r\n:1\r\n$7\r\nentries\r\n:4\r\n"),
            "{stats}"
        );
        assert!(
            stats.contains("$12\r\nbudget_bytes\r\n:134217728\r\n$4\r\nhits\r\n:3\r\n"),
            "{stats}"
        );
    }
}
