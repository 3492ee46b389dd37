//! Messages from other lanes. Work done for one never sends another.

use std::rc::Rc;

use glommio::channels::shared_channel::ConnectedReceiver;

use super::hop::HopRun;
use super::lane_shell::{Deferred, LaneShell};
use super::message::{Hop, LaneMessage, LaneReply, LaneRequest, Ticket};
use super::requests;

/// Reads the messages of one peer: runs for ever.
pub async fn message_loop(shell: Rc<LaneShell>, peer: usize, messages: ConnectedReceiver<LaneMessage>) {
    while let Some(LaneMessage { ticket, request }) = messages.recv().await {
        match request {
            LaneRequest::Execute(hop) => execute(&shell, peer, ticket, hop),
            request => {
                let shell = shell.clone();
                glommio::spawn_local(async move {
                    let answer = requests::serve(&shell, request).await;
                    shell.mesh.reply(peer, LaneReply { ticket, answer });
                })
                .detach();
            }
        }
    }
}

/// Runs a hop at once; its answer leaves with the commit. Only a hop that has to wait gets a task of its own.
fn execute(shell: &Rc<LaneShell>, peer: usize, ticket: Ticket, hop: Hop) {
    let mut run = HopRun::new(hop);
    if run.run(shell).is_ok() {
        let changes = run.take_changes();
        let reply = LaneReply {
            ticket,
            answer: run.into_answer(),
        };
        if changes.is_empty() {
            shell.mesh.reply(peer, reply);
        } else {
            shell
                .deferred
                .borrow_mut()
                .push(Deferred { peer, changes, reply });
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
