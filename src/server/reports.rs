//! What a lane reports about itself.

use std::rc::Rc;

use crate::command::report::Listeners;
use crate::command::{ClientReport, LaneReport, PartitionReport, ReportKinds, connection};
use crate::lane::{Lane, PartitionSlot};

use super::blocking;
use super::lane_shell::LaneShell;

/// The report of this lane, without what RocksDB has to compute.
pub fn lane_report(shell: &Rc<LaneShell>, kinds: ReportKinds) -> LaneReport {
    let lane = shell.lane.borrow();
    let rates = shell.rates.borrow();
    let with_commands = kinds.has(ReportKinds::COMMANDS) || kinds.has(ReportKinds::LATENCY);
    LaneReport {
        listeners: listeners(shell, kinds.has(ReportKinds::CHANNELS)),
        lane: shell.id(),
        core: shell.core,
        counters: lane.counters.clone(),
        client_count: shell.clients.borrow().len() as u64,
        partitions: partitions(shell, &lane),
        clients: if kinds.has(ReportKinds::CLIENTS) {
            clients(shell, &lane)
        } else {
            Vec::new()
        },
        commands: if with_commands {
            lane.latency.all_counters()
        } else {
            Vec::new()
        },
        latency: kinds
            .has(ReportKinds::LATENCY)
            .then(|| Box::new(lane.latency.clone())),
        slow_calls: if kinds.has(ReportKinds::SLOWLOG) {
            shell.slow_calls.borrow().iter().cloned().collect()
        } else {
            Vec::new()
        },
        errors: shell
            .error_counts
            .borrow()
            .iter()
            .map(|(word, count)| (word.clone(), *count))
            .collect(),
        paused_until_ms: shell.paused.get().0,
        commands_per_second: rates.commands_per_second,
        input_bytes_per_second: rates.input_bytes_per_second,
        output_bytes_per_second: rates.output_bytes_per_second,
    }
}

/// The clients that listen to messages; to which ones if `with_names`.
fn listeners(shell: &LaneShell, with_names: bool) -> Listeners {
    let mut listeners = Listeners::default();
    for client in shell.clients.borrow().values() {
        let session = client.session.borrow();
        let Some(subscriptions) = &session.subscriptions else {
            continue;
        };
        listeners.count += 1;
        if with_names {
            for channel in &subscriptions.channels {
                *listeners.channels.entry(channel.clone()).or_default() += 1;
            }
            for channel in &subscriptions.sharded {
                *listeners.sharded.entry(channel.clone()).or_default() += 1;
            }
            listeners.patterns.extend(subscriptions.patterns.iter().cloned());
        }
    }
    listeners
}

fn partitions(shell: &LaneShell, lane: &Lane) -> Vec<PartitionReport> {
    let plan = shell.shared.directory.plan(shell.id());
    plan.iter()
        .zip(&lane.partitions)
        .map(|(plan, slot)| match slot {
            PartitionSlot::Closed { cause, .. } => PartitionReport {
                closed: Some(cause.clone()),
                ..PartitionReport::empty(plan.business, plan.partition)
            },
            PartitionSlot::Open(partition) => {
                let (entries, bytes) = partition.table_size();
                PartitionReport {
                    keys: partition.key_count(),
                    keys_with_deadline: partition.deadline_count(),
                    loaded_series: partition.loaded_series() as u64,
                    samples: partition.loaded_samples(),
                    tiers: partition.tier_totals(),
                    table_entries: entries as u64,
                    table_bytes: bytes as u64,
                    series_bytes: partition.series_memory_bytes() as u64,
                    decoded_bytes: partition.decoded_bytes() as u64,
                    summary_bytes: partition.summary_bytes() as u64,
                    journal_bytes: partition.checkpoint().journal_bytes() as u64,
                    checkpoints: partition.checkpoint().completed,
                    checkpoint_running: partition.checkpoint().is_running(),
                    last_checkpoint_ms: partition.checkpoint().finished_at_ms,
                    cache_enabled: partition.cache_enabled,
                    counters: partition.counters,
                    ..PartitionReport::empty(plan.business, plan.partition)
                }
            }
        })
        .collect()
}

fn clients(shell: &LaneShell, lane: &Lane) -> Vec<ClientReport> {
    let now_ms = lane.clock.now_ms();
    let clients = shell.clients.borrow();
    let mut reports: Vec<ClientReport> = clients
        .values()
        .map(|client| {
            let session = client.session.borrow();
            let idle_s = (now_ms - client.last_active_ms.get()).max(0) / 1000;
            let line = connection::client_line(
                &session,
                client.file_descriptor,
                now_ms,
                client.last_command.get(),
                idle_s,
                client.query_buffer_bytes.get(),
                client.output_bytes.get(),
            );
            ClientReport { id: session.id, line }
        })
        .collect();
    reports.sort_by_key(|client| client.id);
    reports
}

/// Adds the bytes on disk of every partition, found out on the blocking pool.
pub async fn with_storage(shell: &Rc<LaneShell>, mut report: LaneReport) -> LaneReport {
    let databases: Vec<_> = {
        let mut lane = shell.lane.borrow_mut();
        lane.open_partitions()
            .map(|(place, partition)| (place, partition.database().clone()))
            .collect()
    };
    let sizes = blocking::run(move || {
        databases
            .into_iter()
            .map(|(place, database)| (place, database.live_bytes()))
            .collect::<Vec<_>>()
    })
    .await;
    for (place, bytes) in sizes {
        if let Some(partition) = report.partitions.get_mut(place) {
            partition.stored_bytes = bytes;
        }
    }
    report
}
