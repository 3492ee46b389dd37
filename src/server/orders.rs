//! What every lane does on request.

use std::rc::Rc;

use crate::command::Order;
use crate::command::plan::ClientFilter;

use super::client::ClientHandle;
use super::lane_shell::LaneShell;

/// Does it; returns how many things were done.
pub fn obey(shell: &Rc<LaneShell>, order: Order) -> u64 {
    match order {
        Order::ResetStats => {
            let mut lane = shell.lane.borrow_mut();
            lane.counters.reset();
            lane.latency.reset();
            for (_, partition) in lane.open_partitions() {
                partition.counters = Default::default();
            }
            shell.error_counts.borrow_mut().clear();
            1
        }
        Order::ResetLatency(commands) => {
            let mut lane = shell.lane.borrow_mut();
            if commands.is_empty() {
                let measured = lane
                    .latency
                    .all_counters()
                    .iter()
                    .filter(|counters| counters.calls > 0)
                    .count();
                lane.latency.reset();
                return measured as u64;
            }
            let reset = commands
                .iter()
                .filter(|id| lane.latency.reset_command(usize::from(**id)))
                .count();
            reset as u64
        }
        Order::EnableCache(on) => {
            let mut lane = shell.lane.borrow_mut();
            for (_, partition) in lane.open_partitions() {
                partition.cache_enabled = on;
                if !on {
                    partition.clear_cache();
                }
            }
            1
        }
        Order::ClearCache => {
            let mut lane = shell.lane.borrow_mut();
            lane.open_partitions()
                .map(|(_, partition)| partition.clear_cache())
                .sum()
        }
        Order::Publish(messages) => super::notices::publish(shell, &messages),
        Order::Show(shown) => super::monitors::hand_out(shell, &shown),
        Order::KillClients(filter) => kill(shell, &filter),
        Order::Unblock { id, with_error } => unblock(shell, id, with_error),
        Order::Pause {
            until_ms,
            writes_only,
        } => {
            shell.paused.set((until_ms, writes_only));
            1
        }
        Order::ResetSlowlog => {
            shell.slow_calls.borrow_mut().clear();
            1
        }
    }
}

fn kill(shell: &LaneShell, filter: &ClientFilter) -> u64 {
    let now_ms = shell.lane.borrow().clock.now_ms();
    let clients = shell.clients.borrow();
    let meant = clients.values().filter(|client| is_meant(client, filter, now_ms));
    meant.map(|client| client.kill()).count() as u64
}

fn unblock(shell: &LaneShell, id: u64, with_error: bool) -> u64 {
    let clients = shell.clients.borrow();
    let waits = |client: &&std::rc::Rc<ClientHandle>| {
        let session = client.session.borrow();
        session.id == id && session.blocked
    };
    let Some(client) = clients.values().find(waits) else {
        return 0;
    };
    client.unblocked.set(Some(with_error));
    client.wake();
    1
}

fn is_meant(client: &ClientHandle, filter: &ClientFilter, now_ms: i64) -> bool {
    let session = client.session.borrow();
    !filter.none
        && filter.id.is_none_or(|id| id == session.id)
        && filter.except != Some(session.id)
        && filter
            .address
            .as_ref()
            .is_none_or(|address| *address == session.address)
        && filter
            .local_address
            .as_ref()
            .is_none_or(|address| *address == session.local_address)
        && filter
            .age_min_s
            .is_none_or(|age| (now_ms - session.connected_ms) / 1000 >= age)
}
