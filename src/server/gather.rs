//! Running internal commands on several owners at once and making one reply of their answers.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::command::plan::{Gather, Rounds};
use crate::command::{GatherRequest, GatherTarget, PortKind, QueuedCommand, Session};
use crate::lane::journal::BatchId;
use crate::resp::Reply;

use super::client::ClientHandle;
use super::exec_rules::deliver_everywhere;
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest, Parts, UNEXPECTED_ANSWER};
use super::plans::{with_args, with_context};
use super::requests::ask;
use super::transaction::no_business;

/// Hops by lane, and of every answer the lane and its index in the hop, in the order of the requests.
type Routed = (BTreeMap<usize, Box<Hop>>, Vec<(usize, usize)>);

/// What owners have answered.
struct Answers {
    by_lane: BTreeMap<usize, Parts>,
    /// Of every answer the lane and its index, in the order of the requests.
    order: Vec<(usize, usize)>,
}

impl Answers {
    fn in_order(&self) -> impl Iterator<Item = &[u8]> {
        let part = |(lane, index): &(usize, usize)| self.by_lane.get(lane).map(|parts| parts.get(*index));
        self.order
            .iter()
            .map(move |place| part(place).unwrap_or_default())
    }
}

/// Runs the requests of `gather`, one hop per lane, then what follows them, and writes the reply. The first refusal is
/// the reply.
///
/// # Errors
/// The reply, when the storage failed midway and the connection has to be closed after it.
pub async fn gather(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    gather: Gather,
    args: &[Box<[u8]>],
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Result<(), String> {
    let Some(first) = ask_owners(shell, client, &gather.requests, batch, reply).await? else {
        return Ok(());
    };
    let mut answers = vec![first];
    for requests in gather
        .then
        .map_or_else(Vec::new, |then| requests_of(&then, &answers))
    {
        if let Some(batch) = batch {
            deliver_everywhere(shell, batch).await?;
        }
        match ask_owners(shell, client, &requests, batch, reply).await? {
            Some(answered) => answers.push(answered),
            None => return Ok(()),
        }
    }
    let parts: Vec<&[u8]> = answers.iter().flat_map(Answers::in_order).collect();
    let start = reply.len();
    let mut session = client.session.borrow_mut();
    let collected = with_context(shell, &mut session, |context| {
        with_args(args, |args| (gather.collect)(context, args, &parts, reply))
    });
    if let Err(refusal) = collected {
        reply.truncate(start);
        reply.error(&refusal);
    }
    Ok(())
}

/// The requests of each round.
fn requests_of(then: &Rounds, answers: &[Answers]) -> Vec<Vec<GatherRequest>> {
    let parts: Vec<&[u8]> = answers.iter().flat_map(Answers::in_order).collect();
    let request = |key: Box<[u8]>| {
        let mut args = then.command.args.clone();
        args.insert(1, key.clone());
        GatherRequest {
            target: GatherTarget::Key(key),
            command: QueuedCommand {
                id: then.command.id,
                args,
            },
        }
    };
    let rounds = (then.keys)(&parts).into_iter();
    rounds
        .map(|keys| keys.into_iter().map(request).collect())
        .collect()
}

/// Runs the requests, one hop per lane, and waits for the rollups that they cause; `None` if one of them is refused,
/// which is the reply then.
async fn ask_owners(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    requests: &[GatherRequest],
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Result<Option<Answers>, String> {
    let routed = route(shell, &client.session.borrow(), requests, batch, reply);
    let Some((hops, order)) = routed else {
        reply.error(no_business());
        return Ok(None);
    };
    let asked: Vec<_> = hops
        .into_iter()
        .map(|(lane, hop)| {
            let shell = shell.clone();
            let asked =
                glommio::spawn_local(async move { ask(&shell, lane, LaneRequest::Execute(hop)).await });
            (lane, asked)
        })
        .collect();
    let mut by_lane = BTreeMap::new();
    for (lane, answer) in asked {
        match answer.await {
            Answer::Parts(parts) => {
                super::chains::follow(shell, parts.0.chained.clone()).await;
                by_lane.insert(lane, parts);
            }
            Answer::Unknown(text) => return Err(text),
            Answer::Refused(text) => {
                reply.error(&text);
                return Ok(None);
            }
            _ => {
                reply.error(UNEXPECTED_ANSWER);
                return Ok(None);
            }
        }
    }
    let answers = Answers { by_lane, order };
    if let Some(error) = answers.in_order().find(|part| part.first() == Some(&b'-')) {
        reply.raw(error);
        return Ok(None);
    }
    Ok(Some(answers))
}

/// Sorts the requests into hops; `None` if a key belongs to no business.
fn route(
    shell: &LaneShell,
    session: &Session,
    requests: &[GatherRequest],
    batch: Option<BatchId>,
    reply: &Reply,
) -> Option<Routed> {
    let directory = &shell.shared.directory;
    let (mut hops, mut order) = (BTreeMap::new(), Vec::new());
    let mut push = |lane: usize, place: usize, request: &GatherRequest| {
        let new_hop = || Hop::new(session.id, reply.proto(), batch);
        let hop: &mut Hop = hops.entry(lane).or_insert_with(new_hop);
        order.push((lane, hop.len()));
        let args = request.command.args.iter().map(|arg| &**arg);
        hop.push(request.command.id, place, false, args);
    };
    for request in requests {
        match &request.target {
            GatherTarget::Key(key) => {
                let home = directory.place(key)?.home;
                push(home.lane, home.place, request);
            }
            GatherTarget::EveryPartition => {
                for lane in 0..directory.lanes() {
                    for (place, plan) in directory.plan(lane).iter().enumerate() {
                        let serves = match session.port {
                            PortKind::Business(business) => plan.business == business,
                            _ => true,
                        };
                        if serves {
                            push(lane, place, request);
                        }
                    }
                }
            }
        }
    }
    Some((hops, order))
}
