//! What other lanes have sent. Work done for a message never sends another.

use std::rc::Rc;

use super::hop::HopRun;
use super::lane_shell::{Deferred, LaneShell};
use super::mesh::Letter;
use super::message::{Hop, LaneMessage, LaneReply, LaneRequest, Ticket};
use super::requests;

/// Serves the messages and hands over the replies that have come. Returns how many.
pub fn open_all(shell: &Rc<LaneShell>) -> usize {
    shell.mesh.post.open_all(|peer, letter| match letter {
        Letter::Reply(reply) => shell.mesh.take_reply(peer, reply),
        Letter::Message(LaneMessage { ticket, request }) => match request {
            LaneRequest::Execute(hop) => execute(shell, peer, ticket, hop),
            request => {
                let shell = shell.clone();
                glommio::spawn_local(async move {
                    let answer = requests::serve(&shell, request).await;
                    shell.mesh.reply(peer, LaneReply { ticket, answer });
                })
                .detach();
            }
        },
    })
}

/// Runs a hop at once; its answer leaves with the commit. Only a hop that has to wait gets a task of its own.
fn execute(shell: &Rc<LaneShell>, peer: usize, ticket: Ticket, hop: Box<Hop>) {
    let mut run = HopRun::new(hop);
    if run.run(shell).is_ok() {
        if run.changes().is_empty() {
            let answer = run.into_answer(shell);
            shell.mesh.reply(peer, LaneReply { ticket, answer });
        } else {
            shell.deferred.borrow_mut().push(Deferred { peer, ticket, run });
        }
        return;
    }
    let shell = shell.clone();
    glommio::spawn_local(async move {
        let answer = requests::finish_hop(&shell, run).await;
        shell.mesh.reply(peer, LaneReply { ticket, answer });
    })
    .detach();
}
