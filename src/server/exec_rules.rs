//! Rollup rules within EXEC: the transaction holds the other ends of the rules of its keys too, and what one of its
//! commands owes to them is done before the next one runs.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::command::QueuedCommand;
use crate::lane::ClientId;
use crate::lane::journal::BatchId;
use crate::resp::Proto;

use super::deliveries::{Delivery, is_for_later, prepare};
use super::hop::DELIVERING;
use super::lane_shell::LaneShell;
use super::message::{Answer, BatchStep, Hop, LaneRequest, OwedOutcome, UNEXPECTED_ANSWER};
use super::requests::ask;
use super::rule_ends::{HOLD_RETRY, HOLD_TRIES_MAX};
use super::transaction::{BatchRun, Ended};

/// Rounds of rollups that one command of a transaction may cause, one rule after another.
const ROUNDS_MAX: usize = 64;

/// Commands that give a key another name, which must not meet news about its rules on their way.
const RENAMING: [&str; 3] = ["RENAME", "RENAMENX", "COPY"];

/// True if rules may lead away from a partition and, behind another rule, back to it: then commands that touch one
/// partition only may still have to wait for rollups in between.
pub fn may_chain(shell: &LaneShell) -> bool {
    shell.shared.rules_seen.load(Ordering::Relaxed) && shell.shared.series_defaults.load().chained_rules
}

/// Holds the keys of `batch`, which is one of `commands`, and, where there are rules, the other ends of theirs.
///
/// # Errors
/// How it ended otherwise.
pub async fn hold_with_ends(
    shell: &Rc<LaneShell>,
    mut batch: BatchRun,
    (commands, watched): (&[QueuedCommand], &[Box<[u8]>]),
    watcher: Option<ClientId>,
) -> Result<BatchRun, Ended<()>> {
    let names = |command: &QueuedCommand| shell.shared.commands.get(command.id).name;
    let renames = commands.iter().any(|command| RENAMING.contains(&names(command)));
    let mut ends: BTreeSet<Box<[u8]>> = BTreeSet::new();
    for _ in 0..HOLD_TRIES_MAX {
        batch.remember_keys();
        match batch.hold(shell, watcher).await {
            Ended::Done(()) => {}
            other => return Err(other),
        }
        if batch.holds_all_keys() || !shell.shared.rules_seen.load(Ordering::Relaxed) {
            return Ok(batch);
        }
        let (found, is_quiet) = match rule_ends(shell, &batch).await {
            Ok(found) => found,
            Err(text) => {
                batch.release(shell).await;
                return Err(Ended::Refused(text));
            }
        };
        let held = batch.held_keys();
        let missing: Vec<Box<[u8]>> = found.into_iter().filter(|end| !held.contains(end)).collect();
        if missing.is_empty() && (is_quiet || !renames) {
            return Ok(batch);
        }
        batch.release(shell).await;
        if missing.is_empty() {
            glommio::timer::sleep(HOLD_RETRY).await;
        }
        ends.extend(missing);
        let refused = |refusal: crate::refusal::Refusal| Ended::Refused(refusal.to_string());
        batch = BatchRun::new(shell, commands, watched).map_err(refused)?;
        for end in &ends {
            batch.add_key(shell, end, true).map_err(refused)?;
        }
    }
    let text = "ERR the rules of these keys keep changing, try again later";
    Err(Ended::Refused(text.into()))
}

/// The other ends of the rules of all keys that the batch holds, and whether nothing is on its way from any of them.
async fn rule_ends(shell: &Rc<LaneShell>, batch: &BatchRun) -> Result<(Vec<Box<[u8]>>, bool), String> {
    let (mut all, mut all_quiet) = (Vec::new(), true);
    for (lane, keys) in batch.keys_by_lane(shell) {
        match ask(shell, lane, LaneRequest::RuleEnds(keys)).await {
            Answer::RuleEnds { ends, is_quiet } => {
                // An end whose business is not configured any more cannot be held.
                let placed = ends
                    .into_iter()
                    .filter(|end| shell.shared.directory.place(end).is_some());
                all.extend(placed);
                all_quiet = all_quiet && is_quiet;
            }
            Answer::Refused(text) => return Err(text),
            _ => return Err(UNEXPECTED_ANSWER.into()),
        }
    }
    Ok((all, all_quiet))
}

/// Does what the commands of the batch owe so far to keys that it holds.
///
/// # Errors
/// The reply, if the storage failed.
pub async fn deliver_within(shell: &Rc<LaneShell>, batch: &BatchRun) -> Result<(), String> {
    if batch.writes_everywhere() {
        return deliver_everywhere(shell, batch.id).await;
    }
    deliver_to(shell, batch.id, batch.written_places(), Some(batch.held_keys())).await
}

/// As [`deliver_within`] for a batch that holds every key and may write to all of them.
///
/// # Errors
/// As there.
pub async fn deliver_everywhere(shell: &Rc<LaneShell>, batch: BatchId) -> Result<(), String> {
    let directory = &shell.shared.directory;
    let places = |lane| (0..directory.plan(lane).len()).collect();
    let places = (0..directory.lanes()).map(|lane| (lane, places(lane)));
    deliver_to(shell, batch, places.collect(), None).await
}

/// Does what is owed by these places to the keys that are held; `None` = all are.
async fn deliver_to(
    shell: &Rc<LaneShell>,
    batch: BatchId,
    owing: Vec<(usize, Vec<usize>)>,
    held: Option<Arc<BTreeSet<Box<[u8]>>>>,
) -> Result<(), String> {
    if !shell.shared.rules_seen.load(Ordering::Relaxed) {
        return Ok(());
    }
    for _ in 0..ROUNDS_MAX {
        let mut any = false;
        for (lane, places) in &owing {
            let (lane, places, held) = (*lane, places.clone(), held.clone());
            let step = BatchStep::TakeOwed { places, held };
            let Answer::Deliveries(deliveries) = ask(shell, lane, LaneRequest::Batch(batch, step)).await
            else {
                continue;
            };
            if deliveries.is_empty() {
                continue;
            }
            any = true;
            let mut outcomes = Vec::with_capacity(deliveries.len());
            for delivery in deliveries {
                outcomes.push(OwedOutcome {
                    place: delivery.from,
                    id: delivery.id,
                    is_done: deliver_one(shell, batch, &delivery).await?,
                    rest: delivery.rest,
                });
            }
            let step = BatchStep::NoteOwed(outcomes);
            ask(shell, lane, LaneRequest::Batch(batch, step)).await;
        }
        if !any {
            break;
        }
    }
    Ok(())
}

async fn deliver_one(shell: &Rc<LaneShell>, batch: BatchId, delivery: &Delivery) -> Result<bool, String> {
    let mut hop = Hop::new(DELIVERING, Proto::Resp2, Some(batch));
    let args = delivery.args.iter().map(Vec::as_slice);
    hop.push(delivery.command, delivery.place, false, args);
    match ask(shell, delivery.lane, LaneRequest::Execute(hop)).await {
        Answer::Parts(parts) => Ok(!is_for_later(parts.get(0))),
        Answer::Unknown(text) => Err(text),
        _ => Ok(false),
    }
}

/// What a lane does for [`BatchStep::TakeOwed`].
pub async fn take_owed(
    shell: &Rc<LaneShell>,
    batch: BatchId,
    places: &[usize],
    held: Option<&BTreeSet<Box<[u8]>>>,
) -> Answer {
    let mut deliveries = Vec::new();
    for place in places {
        let entries = match shell.lane.borrow_mut().partition(*place) {
            Ok(partition) => partition.take_owed_by(batch, held),
            Err(_) => Vec::new(),
        };
        for (id, entry) in entries {
            match prepare(shell, *place, id, entry, Some(batch)).await {
                Ok(Some(delivery)) => deliveries.push(delivery),
                nothing => {
                    let place = *place;
                    let is_done = nothing.is_ok();
                    let rest = None;
                    note_owed(
                        shell,
                        batch,
                        vec![OwedOutcome {
                            place,
                            id,
                            rest,
                            is_done,
                        }],
                    );
                }
            }
        }
    }
    Answer::Deliveries(deliveries)
}

/// What a lane does for [`BatchStep::NoteOwed`]: what was not done is done once the batch is committed.
pub fn note_owed(shell: &LaneShell, batch: BatchId, outcomes: Vec<OwedOutcome>) {
    let mut lane = shell.lane.borrow_mut();
    for outcome in outcomes {
        let Ok(partition) = lane.partition(outcome.place) else {
            continue;
        };
        if outcome.is_done {
            partition.enter_batch(batch);
            partition.delivered(outcome.id, outcome.rest);
            partition.leave_batch();
        } else {
            partition.defer_delivery(outcome.id);
        }
    }
}
