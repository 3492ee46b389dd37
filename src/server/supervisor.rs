//! Closing a partition after a failure and opening it again, with backoff; the others go on.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::lane::journal::{BatchId, PartitionName};
use crate::lane::{OpenedPartition, Partition, PartitionSlot};
use crate::store::{Database, SharedResources, StoreError, StoreOperation};

use super::blocking;
use super::lane_shell::{LaneShell, PartitionOpening};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

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
    // Batches whose part was in the record that failed: their coordinators are told that the outcome is unknown and
    // make them void everywhere else.
    let void = partition.open_batch_parts();
    let since_ms = crate::clock::Clock::system().now_ms();
    *slot = PartitionSlot::Closed {
        cause: error.to_string().into(),
        since_ms,
    };
    shell.released.wake_all();
    glommio::spawn_local(reopen(shell.clone(), place, void)).detach();
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

async fn reopen(shell: Rc<LaneShell>, place: usize, void: HashSet<BatchId>) {
    let mut wait = FIRST_RETRY;
    while !shell.stopping.get() {
        glommio::timer::sleep(wait).await;
        let Some(opening) = shell.openings.get(place) else {
            return;
        };
        let plan = shell
            .shared
            .directory
            .plan(shell.id())
            .get(place)
            .map(|plan| plan.name);
        let Some(name) = plan else { return };
        let (opening, resources, void) = (opening.clone(), shell.resources.clone(), void.clone());
        match blocking::run(move || open_alone(&opening, name, &resources, void)).await {
            Ok(partition) => {
                log::info!("{}: recovered, serving again", partition.label());
                if let Some(slot) = shell.lane.borrow_mut().partitions.get_mut(place) {
                    *slot = PartitionSlot::Open(Box::new(partition));
                }
                shell.commits.note(place, false);
                return;
            }
            Err(error) => {
                log::error!("{error}; trying again in {} ms", wait.as_millis());
                wait = LAST_RETRY.min(wait * 2);
            }
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
) -> Result<Partition, StoreError> {
    let database = Database::open(&opening.path, &opening.label, &opening.options, resources)?;
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
