//! Closing a partition after a failure and opening it again, with backoff; the others go on.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::lane::{OpenedPartition, Partition, PartitionSlot};
use crate::store::{Database, SharedResources, StoreError};

use super::blocking;
use super::lane_shell::{LaneShell, PartitionOpening};

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// Forgets what the partition holds in memory and begins opening it again.
pub fn close_partition(shell: &Rc<LaneShell>, partitions: &mut [PartitionSlot], place: usize, error: StoreError) {
    log::error!("{error}; the partition is closed and recovered");
    let since_ms = shell.shared.started_ms;
    let Some(slot) = partitions.get_mut(place) else { return };
    if matches!(slot, PartitionSlot::Closed { .. }) {
        return;
    }
    *slot = PartitionSlot::Closed { cause: error.to_string().into(), since_ms };
    shell.released.wake_all();
    glommio::spawn_local(reopen(shell.clone(), place)).detach();
}

async fn reopen(shell: Rc<LaneShell>, place: usize) {
    let mut wait = FIRST_RETRY;
    while !shell.stopping.get() {
        glommio::timer::sleep(wait).await;
        let Some(opening) = shell.openings.get(place) else { return };
        let plan = shell.shared.directory.plan(shell.id()).get(place).map(|plan| plan.name);
        let Some(name) = plan else { return };
        let (opening, resources) = (opening.clone(), shell.resources.clone());
        match blocking::run(move || open_alone(&opening, name, &resources)).await {
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

/// Opens one partition while the others serve.
///
/// Batches of several partitions that have their part here and no outcome are taken as complete: a batch that failed
/// on this partition has no part in its journal, and the coordinator of one that failed elsewhere has closed this
/// partition's connection with an unknown outcome.
fn open_alone(
    opening: &PartitionOpening,
    name: crate::lane::journal::PartitionName,
    resources: &SharedResources,
) -> Result<Partition, StoreError> {
    let database = Database::open(&opening.path, &opening.label, &opening.options, resources)?;
    let opened = OpenedPartition::new(database, name)?;
    let evidence = opened.evidence()?;
    opened.replay(opening.settings.clone(), &evidence, &HashSet::new())
}
