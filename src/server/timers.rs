//! Periodic work of a lane, in bounded pieces.

use std::rc::Rc;

use crate::lane::{MemoryBudget, SeriesSweep};
use crate::store::{FAMILY_WRITE_BUFFER_BYTES, JOURNAL_BUFFER_MULTIPLE};

use super::lane_shell::LaneShell;
use super::{blocking, checkpoints, commit, dumps, lifecycle};

/// Housekeeping passes per second.
const HOUSEKEEPING_MS: i64 = 100;
const SECOND_MS: i64 = 1_000;

/// Runs until the server is asked to stop.
pub async fn heartbeat_loop(shell: Rc<LaneShell>) {
    let beat = shell.shared.config.lane.heartbeat;
    let (mut housekeeping_at, mut second_at, mut expiry_at) = (0, 0, 0);
    let places = shell.lane.borrow().partitions.len();
    let mut sweeps: Vec<SeriesSweep> = (0..places).map(|_| SeriesSweep::every(beat)).collect();
    let expiry_ms = shell
        .shared
        .config
        .storage
        .active_expiry_interval
        .as_millis()
        .max(1) as i64;
    while !lifecycle::stop_requested() {
        glommio::timer::sleep(beat).await;
        let now_ms = shell.lane.borrow().clock.now_ms();
        evict_and_sweep(&shell, now_ms, &mut sweeps);
        if now_ms >= expiry_at {
            expiry_at = now_ms + expiry_ms;
            expire(&shell, now_ms);
        }
        if now_ms >= housekeeping_at {
            housekeeping_at = now_ms + HOUSEKEEPING_MS;
            keep_house(&shell, now_ms);
        }
        if now_ms >= second_at {
            second_at = now_ms + SECOND_MS;
            every_second(&shell, now_ms);
        }
        if shell.id() == 0 && lifecycle::take_dump_request() {
            let shell = shell.clone();
            glommio::spawn_local(async move {
                match dumps::dump(&shell).await {
                    Ok(files) => log::info!("latency histograms written: {}", files.replace('\n', ", ")),
                    Err(error) => log::error!("latency dump failed: {error}"),
                }
            })
            .detach();
        }
    }
}

/// Deletes keys whose time has come.
fn expire(shell: &Rc<LaneShell>, now_ms: i64) {
    let mut to_load = Vec::new();
    {
        let mut lane = shell.lane.borrow_mut();
        for (place, partition) in lane.open_partitions() {
            to_load.extend(partition.expire_keys(now_ms).into_iter().map(|key| (place, key)));
            if partition.has_changes() {
                shell.commits.note(place, false);
            }
        }
    }
    if to_load.is_empty() {
        return;
    }
    let shell = shell.clone();
    glommio::spawn_local(async move {
        for (place, key) in to_load {
            // Once loaded, the next pass finds it expired in memory; a key that cannot be read stays where it is.
            if super::hop::resolve(&shell, place, crate::lane::Wait::Load(key))
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .detach();
}

/// One in so many bytes of decoded chunks is given up each time, so that partitions that are read get the memory of
/// those that no longer are.
const DECODED_FADING: usize = 64;

/// Memory that all partitions of a lane have in use.
fn used(lane: &mut crate::lane::Lane) -> MemoryBudget {
    let mut used = MemoryBudget {
        read_cache_bytes: 0,
        series_bytes: 0,
    };
    for (_, partition) in lane.open_partitions() {
        used.read_cache_bytes += partition.plain_memory_bytes();
        used.series_bytes += partition.series_memory_bytes();
    }
    used
}

/// What a partition may keep in memory while its lane has `used`.
fn budget(shell: &LaneShell, partition: &crate::lane::Partition, used: &MemoryBudget) -> MemoryBudget {
    let storage = &shell.shared.config.storage;
    let series_bytes = storage.series_memory_bytes / shell.shared.directory.lanes();
    MemoryBudget {
        read_cache_bytes: share(
            storage.read_cache_bytes,
            partition.plain_memory_bytes(),
            used.read_cache_bytes,
        ),
        series_bytes: share(series_bytes, partition.series_memory_bytes(), used.series_bytes),
    }
}

/// Lets go of keys that are over budget, and looks after a few of the series. At every beat: new keys come by the
/// hundred thousand a second, and what is done seldom takes long.
fn evict_and_sweep(shell: &LaneShell, now_ms: i64, sweeps: &mut [SeriesSweep]) {
    let mut lane = shell.lane.borrow_mut();
    let used = used(&mut lane);
    for (place, partition) in lane.open_partitions() {
        let budget = budget(shell, partition, &used);
        partition.evict(&budget);
        let is_short = partition.is_short_of_memory();
        if let Some(sweep) = sweeps.get_mut(place) {
            partition.sweep_series(sweep, now_ms, is_short);
        }
        if partition.has_changes() {
            shell.commits.note(place, false);
        }
    }
}

fn keep_house(shell: &Rc<LaneShell>, now_ms: i64) {
    let storage = &shell.shared.config.storage;
    let mut checkpoints_due = Vec::new();
    {
        let mut lane = shell.lane.borrow_mut();
        let partitions = lane.partitions.len().max(1);
        let decoded_bytes: usize = lane
            .open_partitions()
            .map(|(_, partition)| partition.decoded_bytes())
            .sum();
        let decoded_free_bytes = storage.decoded_cache_bytes.saturating_sub(decoded_bytes) / partitions;
        for (place, partition) in lane.open_partitions() {
            let decoded_bytes = partition.decoded_bytes();
            partition.set_decoded_limit(decoded_bytes - decoded_bytes / DECODED_FADING + decoded_free_bytes);
            if partition.wants_checkpoint(now_ms) {
                checkpoints_due.push(place);
            }
        }
    }
    let own = shell.clone();
    glommio::spawn_local(async move { grow_buffers(&own).await }).detach();
    for place in checkpoints_due {
        let shell = shell.clone();
        glommio::spawn_local(async move { checkpoints::checkpoint(&shell, place, false).await }).detach();
    }
}

/// Part of the lane's budget that a partition with `own_bytes` of the `all_bytes` in use may have: whatever it needs
/// while there is enough for all, else as much of the budget as it has of what is in use.
fn share(budget_bytes: usize, own_bytes: usize, all_bytes: usize) -> usize {
    if all_bytes <= budget_bytes {
        return budget_bytes;
    }
    (budget_bytes as u128 * own_bytes as u128 / all_bytes as u128) as usize
}

fn every_second(shell: &Rc<LaneShell>, now_ms: i64) {
    shell.rates.borrow_mut().tick(&shell.lane.borrow().counters);
    close_idle(shell, now_ms);
    let own = shell.clone();
    glommio::spawn_local(async move {
        if own.syncing.replace(true) {
            log::warn!("fsync takes longer than a second: the disk is slow or overloaded");
            return;
        }
        commit::sync_partitions(&own, false).await;
        own.syncing.set(false);
    })
    .detach();
}

fn close_idle(shell: &LaneShell, now_ms: i64) {
    let timeout_s = shell.shared.settings().idle_timeout_s;
    if timeout_s == 0 {
        return;
    }
    let mut closed = 0;
    for client in shell.clients.borrow().values() {
        let idle_ms = now_ms - client.last_active_ms.get();
        if !client.busy.get() && idle_ms > 0 && idle_ms as u64 / 1_000 >= timeout_s {
            client.kill();
            closed += 1;
        }
    }
    shell.lane.borrow_mut().counters.idle_disconnections += closed;
}

/// Raises the buffers of databases that have seen real load.
async fn grow_buffers(shell: &Rc<LaneShell>) {
    let due = {
        let mut lane = shell.lane.borrow_mut();
        let loaded = lane.open_partitions().filter_map(|(_, partition)| {
            let grows = partition.take_growth();
            grows.then(|| partition.database().clone())
        });
        loaded.collect::<Vec<_>>()
    };
    if due.is_empty() {
        return;
    }
    let checkpoint_bytes = shell.shared.config.storage.checkpoint_journal_bytes as usize;
    let journal_bytes = checkpoint_bytes.saturating_mul(JOURNAL_BUFFER_MULTIPLE);
    blocking::run(move || {
        for database in due {
            if let Err(error) = database.grow_buffers(journal_bytes, FAMILY_WRITE_BUFFER_BYTES) {
                log::error!("{error}");
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_by_need() {
        assert_eq!(share(100, 60, 90), 100);
        assert_eq!(share(100, 150, 200), 75);
        assert_eq!(share(100, 50, 200) + share(100, 150, 200), 100);
        assert_eq!(share(0, 0, 0), 0);
        assert_eq!(share(0, 5, 10), 0);
    }
}
