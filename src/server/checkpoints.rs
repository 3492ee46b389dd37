//! Driving checkpoints: gathering between turns, writing on the blocking pool.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::lane::CheckpointStep;

use super::lane_shell::LaneShell;
use super::waking::Awake;
use super::{blocking, commit, lifecycle, supervisor};

/// Wait before asking again whether a checkpoint can go on.
const REST: Duration = Duration::from_millis(2);

/// Wait between looks whether a delay of checkpoints is over.
const DELAY_STEP: Duration = Duration::from_millis(10);

/// Runs the checkpoint of one partition that is due (or `forced`) to its end.
pub async fn checkpoint(shell: &Rc<LaneShell>, place: usize, forced: bool) {
    let mut forced = forced;
    let _awake = Awake::begin();
    loop {
        let step = {
            let mut lane = shell.lane.borrow_mut();
            let now_ms = lane.clock.now_ms();
            let Ok(partition) = lane.partition(place) else {
                return;
            };
            let step = partition.checkpoint_step(now_ms, std::mem::take(&mut forced));
            if matches!(step, CheckpointStep::Rest) && !partition.checkpoint().is_running() {
                return;
            }
            if partition.has_changes() {
                shell.commits.note(place, false);
            }
            step
        };
        match step {
            CheckpointStep::Rest => {
                // What it waits for may be a batch, which waits for the disk; the timer that syncs has ended.
                if lifecycle::stop_requested() {
                    commit::sync_partitions(shell, false).await;
                }
                glommio::timer::sleep(REST).await;
            }
            CheckpointStep::More => glommio::executor().yield_now().await,
            CheckpointStep::Write(rows) => {
                if !write(shell, place, rows).await {
                    return;
                }
                shell.released.wake_all();
            }
        }
    }
}

/// Writes the rows and moves the mark; false if the partition had to be closed.
async fn write(shell: &Rc<LaneShell>, place: usize, rows: crate::store::CheckpointRows) -> bool {
    let database = {
        let mut lane = shell.lane.borrow_mut();
        let Ok(partition) = lane.partition(place) else {
            return false;
        };
        partition.database().clone()
    };
    let shared = Arc::clone(&shell.shared);
    let writer = database.clone();
    let written = blocking::run(move || {
        wait_as_told(&shared.checkpoint_delay_ms);
        if rows.is_empty() {
            writer.kv_key_count()
        } else {
            rows.write(&writer)
        }
    })
    .await;
    match written {
        Ok(stored_keys) => {
            let change = {
                let mut lane = shell.lane.borrow_mut();
                let now_ms = lane.clock.now_ms();
                let Ok(partition) = lane.partition(place) else {
                    return false;
                };
                partition.checkpoint_written(stored_keys, now_ms);
                shell.commits.note(place, false)
            };
            shell.commits.wait(&[change]).await;
            // The journal's memtable now holds little but what is deleted: flushing it lets RocksDB drop its log.
            if let Err(error) = blocking::run(move || database.flush_journal()).await {
                log::error!("{error}");
            }
            true
        }
        Err(error) => {
            shell.commits.fail(place);
            supervisor::close_partition(shell, &mut shell.lane.borrow_mut().partitions, place, error);
            false
        }
    }
}

/// Waits for so many milliseconds, unless they become fewer or the process is to end.
fn wait_as_told(delay_ms: &AtomicU64) {
    let start = Instant::now();
    let is_over = || start.elapsed() >= Duration::from_millis(delay_ms.load(Ordering::Relaxed));
    while !is_over() && !lifecycle::stop_requested() {
        std::thread::sleep(DELAY_STEP);
    }
}

/// A last checkpoint of each partition that has a journal, so that none is left on the disk or to be replayed at the
/// next start; what `deadline` leaves no time for stays in the log, where it is as safe.
pub async fn checkpoint_before_stop(shell: &Rc<LaneShell>, deadline: Instant) {
    let places = shell.lane.borrow().partitions.len();
    for place in 0..places {
        let is_needed = {
            let mut lane = shell.lane.borrow_mut();
            let partition = lane.partition(place);
            partition.is_ok_and(|partition| partition.checkpoint().journal_bytes() > 0)
        };
        let time_left = deadline.saturating_duration_since(Instant::now());
        if is_needed && !time_left.is_zero() {
            let last = async {
                checkpoint(shell, place, true).await;
                Ok::<(), glommio::GlommioError<()>>(())
            };
            if glommio::timer::timeout(time_left, last).await.is_err() {
                log::warn!("no time for the last checkpoint: the next start replays the journal");
            }
        }
    }
}

/// A checkpoint of every partition: SAVE.
pub async fn checkpoint_all(shell: &Rc<LaneShell>) {
    let places = shell.lane.borrow().partitions.len();
    for place in 0..places {
        // One that is running already may have begun too early: wait for it, then make another.
        checkpoint(shell, place, true).await;
        checkpoint(shell, place, true).await;
    }
}
