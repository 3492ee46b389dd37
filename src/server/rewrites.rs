//! Driving background work on sealed series: one job at a time per lane, on the blocking pool, within a rate.

use std::rc::Rc;
use std::time::Duration;

use super::blocking;
use super::lane_shell::LaneShell;

/// Wait when no partition has work.
const REST: Duration = Duration::from_millis(200);
/// Longest wait for the sake of the rate, so that a stop is noticed.
const PACE_MAX: Duration = Duration::from_secs(1);

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
                let pace = Duration::from_secs_f64(work_bytes as f64 / bytes_per_second as f64);
                glommio::timer::sleep(pace.min(PACE_MAX)).await;
            }
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
