//! INFO ticklane, business and rocksdb: what Redis has no field for.

use crate::command::business::BusinessFacts;

use super::{Facts, Lines};

/// Section Ticklane: lanes and the sum of their counters.
pub fn ticklane(facts: &Facts<'_>, lines: &mut Lines) {
    let lanes = &facts.reports.lanes;
    let mut counters = facts.reports.counters();
    // Look-ups are counted where the keys are, by the partitions.
    let partitions = facts.reports.partition_counters();
    counters.keyspace_hits = partitions.keyspace_hits;
    counters.keyspace_misses = partitions.keyspace_misses;
    counters.expired_keys = partitions.expired_keys;
    counters.evicted_keys = partitions.evicted_entries;
    counters.cache_hits = partitions.cache_hits;
    counters.cache_misses = partitions.cache_misses;
    lines.add("lanes", lanes.len());
    for (name, value) in counters.entries() {
        lines.add(name, value);
    }
    lines.add("samples_added", partitions.samples_added);
    for lane in lanes {
        let counters = &lane.counters;
        let text = format!(
            "core={},clients={},commands={},local_commands={},hop_commands={},hops_sent={},hops_received={},\
             commits={},fsyncs={},paused_until_ms={}",
            lane.core,
            lane.client_count,
            counters.commands_processed,
            counters.local_commands,
            counters.hop_commands,
            counters.hops_sent,
            counters.hops_received,
            counters.commits,
            counters.fsyncs,
            lane.paused_until_ms,
        );
        lines.add(&format!("lane{}", lane.lane), text);
    }
}

/// Section Business: one line each.
pub fn business(facts: &Facts<'_>, lines: &mut Lines) {
    for (index, entry) in facts.shared.directory.businesses().iter().enumerate() {
        let business = BusinessFacts::new(facts.shared, facts.reports, index);
        let text = format!(
            "state={},port={},partitions={},connections={},keys={},series={},samples={}",
            business.state,
            entry.config.port,
            entry.partitions,
            business.connections,
            business.keys,
            business.series,
            business.samples,
        );
        lines.add(&format!("business_{}", entry.config.name), text);
    }
}

/// Section Rocksdb.
pub fn rocksdb(facts: &Facts<'_>, lines: &mut Lines) {
    let storage = &facts.shared.config.storage;
    let partitions = || facts.reports.partitions().map(|(_, partition)| partition);
    lines.add("databases", partitions().count());
    lines.add(
        "databases_closed",
        partitions()
            .filter(|partition| partition.closed.is_some())
            .count(),
    );
    lines.add("block_cache_used_bytes", facts.reports.block_cache_used_bytes);
    lines.add("block_cache_max_bytes", storage.block_cache_bytes);
    lines.add("write_buffers_used_bytes", facts.reports.write_buffers_used_bytes);
    lines.add("write_buffers_max_bytes", storage.write_buffers_bytes);
    lines.add(
        "decoded_cache_used_bytes",
        partitions().map(|partition| partition.decoded_bytes).sum::<u64>(),
    );
    lines.add(
        "chunk_summaries_used_bytes",
        partitions().map(|partition| partition.summary_bytes).sum::<u64>(),
    );
    lines.add(
        "journal_bytes",
        partitions().map(|partition| partition.journal_bytes).sum::<u64>(),
    );
    lines.add(
        "checkpoints",
        partitions().map(|partition| partition.checkpoints).sum::<u64>(),
    );
    lines.add(
        "checkpoints_running",
        partitions()
            .filter(|partition| partition.checkpoint_running)
            .count(),
    );
    let background = &facts.shared.background;
    lines.add("background_nice", background.nice());
    lines.add("background_hurries", background.hurries());
}
