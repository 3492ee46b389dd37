//! Closing a partition after a failure and opening it again, with backoff; the others go on.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::lane::journal::{BatchId, PartitionName};
use crate::lane::{OpenedPartition, Partition, PartitionSlot};
use crate::store::{Database, SharedResources, StoreError, StoreOperation, logs_bytes};

use super::blocking;
use super::lane_shell::{LaneShell, PartitionOpening};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// Space that a partition which found none needs before it is opened for writing, beside what its logs and its journal's
/// buffer take when they become table files: a few of those, to be merged.
const WRITING_BYTES_MIN: u64 = 16 << 20;
/// While the disk is full: writes go on this soon after there is space again.
const LAST_RETRY_DISK_FULL: Duration = Duration::from_secs(1);

/// Forgets what the partition holds in memory and begins opening it again.
pub fn close_partition(
    shell: &Rc<LaneShell>,
    partitions: &mut [PartitionSlot],
    place: usize,
    error: StoreError,
) {
    let Some(slot) = partitions.get_mut(place) else {
        return;
    };
    let PartitionSlot::Open(partition) = slot else {
        return;
    };
    log::error!("{error}; the partition is closed and recovered");
    if error.out_of_space {
        shell.disk_full.set(true);
    }
    shell.closings.set(shell.closings.get() + 1);
    // Batches whose part was in the record that failed: their coordinators are told that the outcome is unknown and
    // make them void everywhere else.
    let void = partition.open_batch_parts();
    let database = partition.database().clone();
    *slot = PartitionSlot::Closed {
        cause: error.to_string().into(),
        out_of_space: error.out_of_space,
    };
    shell.released.wake_all();
    let closing = Closing {
        number: shell.closings.get(),
        void,
        disk_full: error.out_of_space,
        damaged: error.damaged,
    };
    let shell = shell.clone();
    glommio::spawn_local(async move {
        // RocksDB waits a second after a flush that failed before it lets itself be closed.
        blocking::run(move || drop(database)).await;
        reopen(shell, place, closing).await;
    })
    .detach();
}

/// Closes a partition to forget a batch that became void after its part was committed here.
pub fn close_for_void_batch(shell: &Rc<LaneShell>, place: usize) {
    let mut lane = shell.lane.borrow_mut();
    let Ok(partition) = lane.partition(place) else {
        return;
    };
    let what = "a batch became void because another partition failed";
    let error = StoreError::new(StoreOperation::Commit, partition.label(), what);
    shell.commits.fail(place);
    close_partition(shell, &mut lane.partitions, place, error);
}

/// Why and as which one a partition was closed.
struct Closing {
    /// Of the lane's closings.
    number: u64,
    /// Batches that never happened.
    void: HashSet<BatchId>,
    disk_full: bool,
    /// Data was found damaged: reads of it are refused, everything else goes on.
    damaged: bool,
}

/// Opens the partition for writing again. While the disk is full, it serves reads meanwhile.
async fn reopen(shell: Rc<LaneShell>, place: usize, mut closing: Closing) {
    let mut wait = FIRST_RETRY;
    let mut reading = false;
    while !shell.stopping.get() {
        if closing.disk_full && !reading {
            reading = open_for_reading(&shell, place, &closing).await;
        }
        glommio::timer::sleep(wait).await;
        if reading && !is_read_only(&shell, place, closing.number) {
            // It failed again meanwhile, and another task opens it.
            return;
        }
        let Some(opening) = shell.openings.get(place) else {
            return;
        };
        if reading && super::free_space::free_bytes_min(&shell).await < writing_bytes(opening).await {
            continue;
        }
        let plan = shell
            .shared
            .directory
            .plan(shell.id())
            .get(place)
            .map(|plan| plan.name);
        let Some(name) = plan else { return };
        let mut opening = opening.clone();
        opening.options.compaction = !closing.damaged;
        let (resources, void) = (shell.resources.clone(), closing.void.clone());
        match blocking::run(move || open_alone(&opening, name, &resources, void, false)).await {
            Ok(partition) => {
                if reading {
                    if !is_read_only(&shell, place, closing.number) {
                        return;
                    }
                    // What was tried to be written in this very moment goes away with the old one.
                    shell.commits.fail(place);
                }
                log::info!("{}: recovered, serving again", partition.label());
                if closing.damaged {
                    log::error!(
                        "{}: a table file is damaged; until the next start its tables are not merged any more: \
                         restore it from a backup soon",
                        partition.label()
                    );
                }
                put(&shell, place, partition, closing.number);
                shell.commits.note(place, false);
                return;
            }
            Err(error) => {
                log::error!("{error}; trying again in {} ms", wait.as_millis());
                closing.disk_full = closing.disk_full || error.out_of_space;
                closing.damaged = closing.damaged || error.damaged;
                let longest = if closing.disk_full {
                    LAST_RETRY_DISK_FULL
                } else {
                    LAST_RETRY
                };
                wait = longest.min(wait * 2);
            }
        }
    }
}

/// Space without which the partition would soon fail again: the opening writes what the logs hold to table files before
/// it lets them go, and a log of up to twice the journal between two checkpoints is written after that.
async fn writing_bytes(opening: &PartitionOpening) -> u64 {
    let path = opening.path.clone();
    let logs_bytes = blocking::run(move || logs_bytes(&path)).await;
    WRITING_BYTES_MIN + 2 * opening.options.checkpoint_journal_bytes as u64 + logs_bytes
}

fn put(shell: &LaneShell, place: usize, mut partition: Partition, closing: u64) {
    partition.opening = closing;
    if let Some(slot) = shell.lane.borrow_mut().partitions.get_mut(place) {
        *slot = PartitionSlot::Open(Box::new(partition));
    }
}

/// The partition serves reads only, since the failure number `closing`.
fn is_read_only(shell: &LaneShell, place: usize, closing: u64) -> bool {
    let mut lane = shell.lane.borrow_mut();
    lane.partition(place)
        .is_ok_and(|partition| partition.database().is_read_only() && partition.opening == closing)
}

/// Opens the partition for reading only; false if even that fails.
async fn open_for_reading(shell: &Rc<LaneShell>, place: usize, closing: &Closing) -> bool {
    let plan = shell.shared.directory.plan(shell.id());
    let (Some(opening), Some(plan)) = (shell.openings.get(place), plan.get(place)) else {
        return false;
    };
    let (opening, name, resources, void) = (
        opening.clone(),
        plan.name,
        shell.resources.clone(),
        closing.void.clone(),
    );
    match blocking::run(move || open_alone(&opening, name, &resources, void, true)).await {
        Ok(partition) => {
            log::warn!("{}: serving reads only, the disk is full", partition.label());
            put(shell, place, partition, closing.number);
            true
        }
        Err(error) => {
            log::error!("{error}");
            false
        }
    }
}

/// Opens one partition while the others serve. Batches that have their part here and no outcome are complete, but for
/// those in `void` and those whose outcome says so.
fn open_alone(
    opening: &PartitionOpening,
    name: PartitionName,
    resources: &SharedResources,
    mut void: HashSet<BatchId>,
    read_only: bool,
) -> Result<Partition, StoreError> {
    let open = if read_only {
        Database::open_read_only
    } else {
        Database::open
    };
    let database = open(&opening.path, &opening.label, &opening.options, resources)?;
    let opened = OpenedPartition::new(database, name)?;
    let evidence = opened.evidence()?;
    void.extend(
        evidence
            .outcomes
            .iter()
            .filter(|(_, committed)| !**committed)
            .map(|(id, _)| *id),
    );
    opened.replay(opening.settings.clone(), &evidence, &void)
}
