//! What a lane does for one step of a batch of several partitions, as its coordinator asks for it.

use std::rc::Rc;

use crate::lane::journal::{BatchId, PartitionName};
use crate::lane::{ClientId, Lane, Partition, Stop, Wait};

use super::commit::Change;
use super::hop::{resolve, unknown_outcome};
use super::lane_shell::LaneShell;
use super::message::{Answer, BatchStep, Hop};
use super::requests::{note_changes, with_partition};

/// A client waits at most so long for the next piece of what its batch owes: a partition may not answer.
const DELIVERY_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Does the step.
pub async fn batch_step(shell: &Rc<LaneShell>, id: BatchId, step: BatchStep) -> Answer {
    match step {
        BatchStep::Hold {
            keys,
            places,
            all_keys,
            watcher,
        } => hold(shell, id, &keys, &places, all_keys, watcher).await,
        BatchStep::Check(hop) => check(shell, hop).await,
        BatchStep::Rename {
            place,
            from,
            to,
            ends_are_told,
        } => rename(shell, id, place, (&from, &to), ends_are_told).await,
        BatchStep::Commit { places, participants } => commit(shell, id, &places, &participants).await,
        BatchStep::TakeOwed { places, held } => {
            super::exec_rules::take_owed(shell, id, &places, held.as_deref()).await
        }
        BatchStep::NoteOwed(outcomes) => {
            super::exec_rules::note_owed(shell, id, outcomes);
            Answer::Flag(true)
        }
        BatchStep::Free { places } => {
            let_go(shell, id, &places);
            Answer::Flag(true)
        }
        BatchStep::Deliver { places } => deliver(shell, id, &places).await,
        BatchStep::LetGo { places } => {
            let_go(shell, id, &places);
            let last_written = |place: &usize| shell.commits.last_written(*place);
            let parts: Vec<Change> = places.iter().map(last_written).collect();
            shell.commits.wait_durable(&parts).await;
            Answer::Flag(true)
        }
        BatchStep::Outcome { places } => {
            each_partition(shell, &places, |partition| partition.settle_batch(id));
            shell.released.wake_all();
            let changes = note_changes(shell, &places);
            shell.commits.wait_durable(&changes).await;
            Answer::Flag(true)
        }
        BatchStep::Void { places } => {
            each_partition(shell, &places, |partition| partition.void_batch(id));
            let changes = note_changes(shell, &places);
            shell.commits.wait_durable(&changes).await;
            for place in places {
                super::supervisor::close_for_void_batch(shell, place);
            }
            shell.released.wake_all();
            Answer::Flag(true)
        }
        BatchStep::Forget { places } => {
            each_partition(shell, &places, |partition| partition.batches.forget(id));
            Answer::Flag(true)
        }
        BatchStep::Release { places } => {
            each_partition(shell, &places, |partition| partition.batches.release(id));
            shell.released.wake_all();
            Answer::Flag(true)
        }
    }
}

/// Waits until everything that the batch owes is delivered, as long as something of it is delivered now and then.
async fn wait_for_deliveries(shell: &Rc<LaneShell>, id: BatchId, places: &[usize]) {
    let owed = || {
        let mut first = Vec::with_capacity(places.len());
        each_partition(shell, places, |partition| {
            first.extend(partition.first_owed_by(id))
        });
        first
    };
    let mut left = owed();
    while !left.is_empty() {
        let timer = async {
            glommio::timer::sleep(DELIVERY_WAIT_MAX).await;
            false
        };
        let progress = async {
            shell.commits.wait_until(|| owed() != left).await;
            true
        };
        if !futures_lite::future::or(timer, progress).await {
            return;
        }
        left = owed();
    }
}

async fn rename(
    shell: &Rc<LaneShell>,
    id: BatchId,
    place: usize,
    (from, to): (&[u8], &[u8]),
    ends_are_told: bool,
) -> Answer {
    let renamed = with_partition(shell, place, |partition, now_ms| {
        partition.warm(from)?;
        partition.warm(to)?;
        partition.enter_batch(id);
        partition.ends_are_told = ends_are_told;
        let renamed = partition.rename(from, to, now_ms);
        partition.ends_are_told = false;
        partition.leave_batch();
        renamed
    });
    match renamed.await {
        Ok(()) => Answer::Flag(true),
        Err(refusal) => Answer::Refused(refusal.to_string()),
    }
}

/// Answers how much the parts owe to keys elsewhere.
async fn commit(
    shell: &Rc<LaneShell>,
    id: BatchId,
    places: &[usize],
    participants: &[PartitionName],
) -> Answer {
    {
        let mut lane = shell.lane.borrow_mut();
        for place in places {
            if !lane
                .partition(*place)
                .is_ok_and(|partition| partition.commit_batch(id, participants))
            {
                return unknown_outcome();
            }
        }
    }
    let changes = note_changes(shell, places);
    if shell.commits.wait(&changes).await {
        Answer::Count(owed_by(shell, id, places) as u64)
    } else {
        unknown_outcome()
    }
}

async fn deliver(shell: &Rc<LaneShell>, id: BatchId, places: &[usize]) -> Answer {
    let owing = |place: &usize| Change {
        owes: true,
        ..shell.commits.last_written(*place)
    };
    let delivering: Vec<Change> = places.iter().map(owing).collect();
    each_partition(shell, places, |partition| partition.complete_deliveries(id));
    shell.commits.raise_delivery();
    wait_for_deliveries(shell, id, places).await;
    Answer::Chained(shell.commits.chained_after(&delivering))
}

fn owed_by(shell: &LaneShell, id: BatchId, places: &[usize]) -> usize {
    let mut owed = 0;
    each_partition(shell, places, |partition| owed += partition.owed_by(id));
    owed
}

fn let_go(shell: &LaneShell, id: BatchId, places: &[usize]) {
    each_partition(shell, places, |partition| partition.batches.let_go(id));
    shell.released.wake_all();
}

fn each_partition(shell: &LaneShell, places: &[usize], mut act: impl FnMut(&mut Partition)) {
    let mut lane = shell.lane.borrow_mut();
    for place in places {
        if let Ok(partition) = lane.partition(*place) {
            act(partition);
        }
    }
}

/// Holds all keys on all places of this lane, or none, waiting until that is possible.
async fn hold(
    shell: &Rc<LaneShell>,
    id: BatchId,
    keys: &[(usize, Box<[u8]>)],
    places: &[usize],
    all_keys: bool,
    watcher: Option<ClientId>,
) -> Answer {
    loop {
        let mut held = true;
        {
            let mut lane = shell.lane.borrow_mut();
            let now_ms = lane.clock.now_ms();
            for place in places {
                let partition = match lane.partition(*place) {
                    Ok(partition) => partition,
                    Err(refusal) => return Answer::Refused(refusal.to_string()),
                };
                let own: Vec<&[u8]> = keys
                    .iter()
                    .filter(|key| key.0 == *place)
                    .map(|key| &*key.1)
                    .collect();
                let has_caught_up = match partition.admit_write(now_ms) {
                    Err(Stop::Refused(refusal)) => {
                        release_places(&mut lane, places, id);
                        return Answer::Refused(refusal.to_string());
                    }
                    waits => waits.is_ok(),
                };
                held = held && has_caught_up && partition.batches.try_hold(id, &own, all_keys);
            }
            if held {
                let overtaken = watcher.is_some_and(|client| {
                    places.iter().any(|place| {
                        lane.partition(*place)
                            .is_ok_and(|partition| partition.is_overtaken(client, now_ms))
                    })
                });
                return Answer::Flag(!overtaken);
            }
            release_places(&mut lane, places, id);
        }
        if let Err(refusal) = resolve(shell, 0, Wait::Held).await {
            return Answer::Refused(refusal.to_string());
        }
    }
}

fn release_places(lane: &mut Lane, places: &[usize], id: BatchId) {
    for place in places {
        if let Ok(partition) = lane.partition(*place) {
            partition.batches.release(id);
        }
    }
}

/// Runs the check of an atomic split command on every group of the hop.
async fn check(shell: &Rc<LaneShell>, hop: Box<Hop>) -> Answer {
    for index in 0..hop.len() {
        let Some((command, args)) = hop.get(index) else {
            break;
        };
        let crate::command::Run::Split {
            atomic: Some(check), ..
        } = shell.shared.commands.get(command.id).run
        else {
            continue;
        };
        let now_us = shell.lane.borrow().clock.now_us();
        let checked = with_partition(shell, command.place, |partition, now_ms| {
            check(partition, &crate::command::Call { args, now_ms, now_us })
        });
        match checked.await {
            Ok(true) => {}
            Ok(false) => return Answer::Flag(false),
            Err(refusal) => return Answer::Refused(refusal.to_string()),
        }
    }
    Answer::Flag(true)
}
