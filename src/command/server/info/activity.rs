//! INFO clients, persistence, stats, replication, modules, per-command figures and keyspace.

use std::collections::BTreeMap;

use crate::command::connection::{TIME_SERIES_MODULE_VERSION, has_time_series};
use crate::command::pubsub;
use crate::command::report::PartitionReport;
use crate::command::server::life::last_save_s;
use crate::command::session::PortKind;
use crate::metrics::redis_view::{DEFAULT_INFO_PERCENTILES, write_command_stats, write_latency_stats};

use super::{Facts, Lines};

/// Section Clients.
pub fn clients(facts: &Facts<'_>, lines: &mut Lines) {
    let connected: u64 = facts.reports.lanes.iter().map(|lane| lane.client_count).sum();
    lines.add("connected_clients", connected);
    lines.add("cluster_connections", 0);
    lines.add("maxclients", facts.shared.settings().max_connections);
    lines.add("client_recent_max_input_buffer", 0);
    lines.add("client_recent_max_output_buffer", 0);
    lines.add("blocked_clients", facts.shared.connections.blocked());
    lines.add("tracking_clients", 0);
    let listeners: u64 = facts.reports.lanes.iter().map(|lane| lane.listeners.count).sum();
    lines.add("pubsub_clients", listeners);
    lines.add("watching_clients", 0);
    lines.add("clients_in_timeout_table", 0);
    lines.add("total_watched_keys", 0);
    lines.add("total_blocking_keys", 0);
}

/// Section Persistence: checkpoints stand for the RDB, the journal for the AOF.
pub fn persistence(facts: &Facts<'_>, lines: &mut Lines) {
    let partitions = || facts.reports.partitions().map(|(_, partition)| partition);
    let sum = |count: fn(&PartitionReport) -> u64| -> u64 { partitions().map(count).sum() };
    let status = if partitions().all(|partition| partition.closed.is_none()) {
        "ok"
    } else {
        "err"
    };
    lines.add("loading", 0);
    lines.add("async_loading", 0);
    lines.add("current_save_keys_processed", 0);
    lines.add("current_save_keys_total", 0);
    lines.add(
        "rdb_changes_since_last_save",
        sum(|partition| partition.counters.changes),
    );
    lines.add(
        "rdb_bgsave_in_progress",
        i32::from(partitions().any(|partition| partition.checkpoint_running)),
    );
    lines.add(
        "rdb_last_save_time",
        last_save_s(facts.reports, facts.shared.started_ms),
    );
    lines.add("rdb_last_bgsave_status", status);
    lines.add("rdb_last_bgsave_time_sec", -1);
    lines.add("rdb_current_bgsave_time_sec", -1);
    lines.add("rdb_saves", sum(|partition| partition.checkpoints));
    lines.add("rdb_last_cow_size", 0);
    lines.add("rdb_last_load_keys_expired", 0);
    lines.add("rdb_last_load_keys_loaded", 0);
    lines.add("aof_enabled", 1);
    lines.add("aof_rewrite_in_progress", 0);
    lines.add("aof_rewrite_scheduled", 0);
    lines.add("aof_last_rewrite_time_sec", -1);
    lines.add("aof_current_rewrite_time_sec", -1);
    lines.add("aof_last_bgrewrite_status", "ok");
    lines.add("aof_rewrites", 0);
    lines.add("aof_last_write_status", status);
    lines.add("aof_last_cow_size", 0);
    lines.add("module_fork_in_progress", 0);
    lines.add("module_fork_last_cow_size", 0);
    lines.add("aof_current_size", sum(|partition| partition.journal_bytes));
    lines.add("aof_base_size", 0);
    lines.add("aof_pending_rewrite", 0);
    lines.add("aof_buffer_length", 0);
}

/// Section Stats. No key is ever evicted: what the read cache drops is in storage.
pub fn stats(facts: &Facts<'_>, lines: &mut Lines) {
    let counters = facts.reports.counters();
    let partitions = facts.reports.partition_counters();
    let lanes = &facts.reports.lanes;
    let commands_per_second: u64 = lanes.iter().map(|lane| lane.commands_per_second).sum();
    let input_bytes: u64 = lanes.iter().map(|lane| lane.input_bytes_per_second).sum();
    let output_bytes: u64 = lanes.iter().map(|lane| lane.output_bytes_per_second).sum();
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1_024.0);
    lines.add("total_connections_received", counters.connections_received);
    lines.add("total_commands_processed", counters.commands_processed);
    lines.add("instantaneous_ops_per_sec", commands_per_second);
    lines.add("total_net_input_bytes", counters.net_input_bytes);
    lines.add("total_net_output_bytes", counters.net_output_bytes);
    lines.add("total_net_repl_input_bytes", 0);
    lines.add("total_net_repl_output_bytes", 0);
    lines.add("instantaneous_input_kbps", kib(input_bytes));
    lines.add("instantaneous_output_kbps", kib(output_bytes));
    lines.add("instantaneous_input_repl_kbps", "0.00");
    lines.add("instantaneous_output_repl_kbps", "0.00");
    lines.add("rejected_connections", counters.connections_rejected);
    lines.add("sync_full", 0);
    lines.add("sync_partial_ok", 0);
    lines.add("sync_partial_err", 0);
    lines.add("expired_keys", partitions.expired_keys);
    lines.add("expired_stale_perc", "0.00");
    lines.add("expired_time_cap_reached_count", 0);
    lines.add("evicted_keys", 0);
    lines.add("evicted_clients", counters.output_buffer_limit_disconnections);
    lines.add("keyspace_hits", partitions.keyspace_hits);
    lines.add("keyspace_misses", partitions.keyspace_misses);
    lines.add("pubsub_channels", pubsub::channels(facts.reports).len());
    lines.add("pubsub_patterns", pubsub::pattern_count(facts.reports));
    lines.add(
        "pubsubshard_channels",
        pubsub::sharded_channels(facts.reports).len(),
    );
    lines.add("latest_fork_usec", 0);
    lines.add("total_forks", 0);
    lines.add("migrate_cached_sockets", 0);
    lines.add("slave_expires_tracked_keys", 0);
    lines.add("tracking_total_keys", 0);
    lines.add("tracking_total_items", 0);
    lines.add("tracking_total_prefixes", 0);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", counters.error_replies);
    lines.add("total_reads_processed", counters.turns);
    lines.add("total_writes_processed", counters.turns);
    lines.add(
        "client_query_buffer_limit_disconnections",
        counters.query_buffer_limit_disconnections,
    );
    lines.add(
        "client_output_buffer_limit_disconnections",
        counters.output_buffer_limit_disconnections,
    );
}

/// Section Replication: a master without replicas.
pub fn replication(facts: &Facts<'_>, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add("connected_slaves", 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &facts.shared.run_id);
    lines.add("master_replid2", "0".repeat(40));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
    lines.add("repl_backlog_size", 0);
    lines.add("repl_backlog_first_byte_offset", 0);
    lines.add("repl_backlog_histlen", 0);
}

/// Section Modules.
pub fn modules(facts: &Facts<'_>, lines: &mut Lines) {
    if has_time_series(facts.shared) {
        let ver = TIME_SERIES_MODULE_VERSION;
        lines.add(
            "module",
            format_args!("name=timeseries,ver={ver},api=1,filters=0,usedby=[],using=[],options=[]"),
        );
    }
}

/// Section Commandstats.
pub fn command_stats(facts: &Facts<'_>, lines: &mut Lines) {
    write_command_stats(
        lines.text_mut(),
        &facts.shared.commands.names(),
        &facts.reports.commands(),
    );
}

/// Section Errorstats.
pub fn error_stats(facts: &Facts<'_>, lines: &mut Lines) {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in facts.reports.lanes.iter().flat_map(|lane| &lane.errors) {
        *sums.entry(code).or_default() += count;
    }
    for (code, count) in sums {
        lines.add(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// Section Latencystats.
pub fn latency_stats(facts: &Facts<'_>, lines: &mut Lines) {
    if let Some(table) = facts.reports.latency() {
        let names = facts.shared.commands.names();
        write_latency_stats(lines.text_mut(), &names, &table, &DEFAULT_INFO_PERCENTILES);
    }
}

/// Section Keyspace: on a business's own port, its keys only.
pub fn keyspace(facts: &Facts<'_>, lines: &mut Lines) {
    let is_seen = |partition: &PartitionReport| match facts.session.port {
        PortKind::Business(business) => partition.business == business,
        PortKind::Main | PortKind::Lane(_) => true,
    };
    let seen = || {
        facts
            .reports
            .partitions()
            .map(|(_, partition)| partition)
            .filter(|partition| is_seen(partition))
    };
    let keys: u64 = seen().map(|partition| partition.keys).sum();
    let expires: u64 = seen().map(|partition| partition.keys_with_deadline).sum();
    if keys > 0 {
        lines.add("db0", format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}
