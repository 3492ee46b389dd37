//! Driving background work on sealed series: one job at a time per lane, on the blocking pool, within a rate.

use std::rc::Rc;
use std::time::Duration;

use crate::lane::Wait;

use super::blocking;
use super::lane_shell::LaneShell;

/// Wait when no partition has work; also how soon a stop is noticed.
const REST: Duration = Duration::from_millis(100);
/// Rests between two slices of the walk over series that are not in memory, and between two walks.
const SLICE_RESTS: u32 = 10;
const WALK_RESTS: u32 = 6_000;

/// Runs until the server is asked to stop.
pub async fn rewrite_loop(shell: Rc<LaneShell>) {
    let lanes = shell.shared.directory.lanes() as u64;
    let bytes_per_second = (shell.shared.config.storage.cold_rate_bytes / lanes).max(1);
    let mut next_place = 0;
    while !super::lifecycle::stop_requested() {
        match next_job(&shell, &mut next_place) {
            None => glommio::timer::sleep(REST).await,
            Some((place, job)) => {
                let work_bytes = run(&shell, place, job).await;
                let mut pace = Duration::from_secs_f64(work_bytes as f64 / bytes_per_second as f64);
                while !pace.is_zero() && !super::lifecycle::stop_requested() {
                    let rest = pace.min(REST);
                    glommio::timer::sleep(rest).await;
                    pace -= rest;
                }
            }
        }
    }
}

/// Looks for work among the series that are not in memory, until the server is asked to stop: those that are, are
/// considered by housekeeping.
pub async fn walk_loop(shell: Rc<LaneShell>) {
    loop {
        let places = shell.lane.borrow().partitions.len();
        for place in 0..places {
            if !walk_partition(&shell, place).await {
                return;
            }
        }
        if !rest(WALK_RESTS).await {
            return;
        }
    }
}

/// False when the server is asked to stop.
async fn rest(rests: u32) -> bool {
    for _ in 0..rests {
        if super::lifecycle::stop_requested() {
            return false;
        }
        glommio::timer::sleep(REST).await;
    }
    true
}

/// False when the server is asked to stop.
async fn walk_partition(shell: &Rc<LaneShell>, place: usize) -> bool {
    let mut next_id = 0;
    loop {
        // The database is not held between slices: a partition that failed could not be opened again meanwhile.
        let slice = {
            let mut lane = shell.lane.borrow_mut();
            let now_ms = lane.clock.now_ms();
            let walk = lane
                .partition(place)
                .map(|partition| partition.walk_series(next_id));
            walk.ok().map(|walk| (walk, now_ms))
        };
        let Some((walk, now_ms)) = slice else {
            return true;
        };
        let (keys, next) = match blocking::run(move || walk.slice(now_ms)).await {
            Ok(found) => found,
            Err(error) => {
                log::error!("{error}");
                return true;
            }
        };
        for key in keys {
            // One at a time, so that the series read here are not evicted before their turn.
            while matches!(shell.lane.borrow_mut().partition(place), Ok(p) if p.has_rewrites_waiting()) {
                if !rest(1).await {
                    return false;
                }
            }
            if super::hop::resolve(shell, place, Wait::Load(key.clone()))
                .await
                .is_err()
            {
                return true;
            }
            let mut lane = shell.lane.borrow_mut();
            let now_ms = lane.clock.now_ms();
            if let Ok(partition) = lane.partition(place) {
                partition.consider_key(&key, now_ms);
            }
        }
        let Some(next) = next else {
            return rest(1).await;
        };
        next_id = next;
        if !rest(SLICE_RESTS).await {
            return false;
        }
    }
}

/// A job of the next partition in turn that has one.
fn next_job(shell: &LaneShell, next_place: &mut usize) -> Option<(usize, crate::lane::RewriteJob)> {
    let mut lane = shell.lane.borrow_mut();
    let now_ms = lane.clock.now_ms();
    let places = lane.partitions.len();
    for _ in 0..places {
        let place = *next_place % places;
        *next_place = place + 1;
        if let Ok(partition) = lane.partition(place)
            && let Some(job) = partition.start_rewrite(now_ms)
        {
            return Some((place, job));
        }
    }
    None
}

/// Runs a job and hands its result to the partition; returns the bytes it has read and written.
async fn run(shell: &Rc<LaneShell>, place: usize, job: crate::lane::RewriteJob) -> u64 {
    let series_id = job.series_id();
    let result = blocking::run(move || job.run()).await;
    let rewritten = match result {
        Ok(rewritten) => Some(rewritten),
        // Reported by name; the series stays as it is, readers of the damaged rows are told the same.
        Err(error) => {
            log::error!("{error}");
            None
        }
    };
    let work_bytes = rewritten.as_ref().map_or(0, |rewritten| rewritten.work_bytes);
    let change = {
        let mut lane = shell.lane.borrow_mut();
        let now_ms = lane.clock.now_ms();
        let Ok(partition) = lane.partition(place) else {
            return work_bytes;
        };
        partition
            .finish_rewrite(series_id, rewritten, now_ms)
            .then(|| shell.commits.note(place, false))
    };
    if let Some(change) = change {
        shell.commits.wait(&[change]).await;
    }
    work_bytes
}
