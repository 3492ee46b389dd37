//! Running internal commands on several owners at once and making one reply of their answers.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::command::plan::Gather;
use crate::command::{GatherTarget, PortKind, Session};
use crate::lane::journal::BatchId;
use crate::resp::Reply;

use super::client::ClientHandle;
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest};
use super::plans::{with_args, with_context};
use super::requests::ask;
use super::transaction::no_business;

/// Hops by lane, and of every answer the lane and its index in the hop, in the order of the requests.
type Routed = (BTreeMap<usize, Box<Hop>>, Vec<(usize, usize)>);

/// Runs the requests of `gather`, one hop per lane, and writes the reply. The first refusal is the reply.
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
    let routed = route(shell, &client.session.borrow(), &gather, batch, reply);
    let Some((hops, order)) = routed else {
        reply.error(no_business());
        return Ok(());
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
    let mut answers = BTreeMap::new();
    for (lane, answer) in asked {
        match answer.await {
            Answer::Parts(parts) => {
                super::chains::follow(shell, parts.0.chained.clone()).await;
                answers.insert(lane, parts);
            }
            Answer::Unknown(text) => return Err(text),
            Answer::Refused(text) => {
                reply.error(&text);
                return Ok(());
            }
            _ => {
                reply.error("ERR internal: unexpected answer");
                return Ok(());
            }
        }
    }
    let part = |(lane, index): &(usize, usize)| answers.get(lane).map_or(&[][..], |parts| parts.get(*index));
    if let Some(error) = order.iter().map(part).find(|part| part.first() == Some(&b'-')) {
        reply.raw(error);
        return Ok(());
    }
    let parts: Vec<&[u8]> = order.iter().map(part).collect();
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

/// Sorts the requests into hops; `None` if a key belongs to no business.
fn route(
    shell: &LaneShell,
    session: &Session,
    gather: &Gather,
    batch: Option<BatchId>,
    reply: &Reply,
) -> Option<Routed> {
    let directory = &shell.shared.directory;
    let (mut hops, mut order) = (BTreeMap::new(), Vec::new());
    let mut push = |lane: usize, place: usize, request: &crate::command::GatherRequest| {
        let new_hop = || Hop::new(session.id, reply.proto(), batch);
        let hop: &mut Hop = hops.entry(lane).or_insert_with(new_hop);
        order.push((lane, hop.len()));
        let args = request.command.args.iter().map(|arg| &**arg);
        hop.push(request.command.id, place, false, args);
    };
    for request in &gather.requests {
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
