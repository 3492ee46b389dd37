//! The other lanes: messages, replies, credits, tickets.
//!
//! A sender may have at most `hops_in_flight_max` unanswered messages of each rank per peer, and sending never waits for
//! room (`parcels.rs`), so that a reply can always leave. Work done for a message waits for messages of later ranks
//! only. With these two rules no cycle of waiting can form, whatever the load (bounded meshes without them deadlock:
//! glommio #555).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};

use super::event::Event;
use super::message::{Answer, LaneMessage, LaneReply, LaneRequest, Rank, Ticket};
use super::parcels::{self, Post};

/// What goes from one lane to another.
pub enum Letter {
    /// Asks for something.
    Message(LaneMessage),
    /// Answers.
    Reply(LaneReply),
}

/// See the head of the file.
pub struct Mesh {
    /// Rings and bells.
    pub post: Post<Letter>,
    peers: Vec<Peer>,
    tickets: RefCell<Tickets>,
}

struct Peer {
    /// By rank.
    credits: [Cell<usize>; Rank::COUNT],
    credit_returned: Event,
}

/// Builds the meshes of `lanes` lanes; each is to be moved to its lane.
///
/// # Errors
/// If there are no file descriptors left.
pub fn build(lanes: usize, in_flight_max: usize) -> io::Result<Vec<Mesh>> {
    let peer = |_| Peer {
        credits: std::array::from_fn(|_| Cell::new(in_flight_max)),
        credit_returned: Event::default(),
    };
    let posts = parcels::build(lanes)?.into_iter();
    Ok(posts
        .map(|post| Mesh {
            post,
            peers: (0..lanes).map(peer).collect(),
            tickets: RefCell::default(),
        })
        .collect())
}

#[derive(Default)]
struct Tickets {
    slots: Vec<TicketSlot>,
    free: Vec<Ticket>,
}

#[derive(Default)]
struct TicketSlot {
    peer: usize,
    /// Of the message.
    rank: usize,
    answer: Option<Answer>,
    waker: Option<Waker>,
    /// Nobody waits any more: the answer is dropped when it comes.
    abandoned: bool,
}

impl Mesh {
    /// This lane.
    pub fn id(&self) -> usize {
        self.post.id()
    }

    fn peer(&self, lane: usize) -> &Peer {
        self.peers
            .get(lane)
            .expect("invariant: messages go to lanes that exist")
    }

    /// Sends a message as soon as there is a credit. The answer is awaited with [`Mesh::answer`].
    pub async fn send(&self, lane: usize, request: LaneRequest) -> Ticket {
        let peer = self.peer(lane);
        let rank = request.rank() as usize;
        let credits = peer.credits.get(rank).expect("invariant: ranks are counted");
        peer.credit_returned.wait_until(|| credits.get() > 0).await;
        credits.set(credits.get() - 1);
        let ticket = self.open_ticket(lane, rank);
        self.post
            .put(lane, Letter::Message(LaneMessage { ticket, request }));
        ticket
    }

    fn open_ticket(&self, peer: usize, rank: usize) -> Ticket {
        let mut tickets = self.tickets.borrow_mut();
        let slot = TicketSlot {
            peer,
            rank,
            ..TicketSlot::default()
        };
        match tickets.free.pop() {
            Some(ticket) => {
                if let Some(free) = tickets.slots.get_mut(ticket as usize) {
                    *free = slot;
                }
                ticket
            }
            None => {
                tickets.slots.push(slot);
                (tickets.slots.len() - 1) as Ticket
            }
        }
    }

    /// Waits for the answer to a message.
    pub async fn answer(&self, ticket: Ticket) -> Answer {
        let guard = TicketGuard { mesh: self, ticket };
        let answer = poll_fn(|context| {
            let mut tickets = self.tickets.borrow_mut();
            let slot = tickets
                .slots
                .get_mut(ticket as usize)
                .expect("invariant: the ticket is open");
            match slot.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        std::mem::forget(guard);
        self.tickets.borrow_mut().free.push(ticket);
        answer
    }

    /// A reply has arrived from `peer`.
    pub fn take_reply(&self, peer: usize, reply: LaneReply) {
        let sender = self.peer(peer);
        let mut tickets = self.tickets.borrow_mut();
        let slot = tickets
            .slots
            .get_mut(reply.ticket as usize)
            .expect("invariant: replies carry open tickets");
        assert_eq!(
            slot.peer, peer,
            "invariant: a reply comes from the lane that was asked"
        );
        let credits = sender
            .credits
            .get(slot.rank)
            .expect("invariant: ranks are counted");
        credits.set(credits.get() + 1);
        sender.credit_returned.wake_all();
        if slot.abandoned {
            tickets.free.push(reply.ticket);
            return;
        }
        slot.answer = Some(reply.answer);
        let waker = slot.waker.take();
        drop(tickets);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends a reply: there is always room for it.
    pub fn reply(&self, lane: usize, reply: LaneReply) {
        self.post.put(lane, Letter::Reply(reply));
    }
}

/// Gives the ticket up if its waiting task is dropped.
struct TicketGuard<'a> {
    mesh: &'a Mesh,
    ticket: Ticket,
}

impl Drop for TicketGuard<'_> {
    fn drop(&mut self) {
        let mut tickets = self.mesh.tickets.borrow_mut();
        let Some(slot) = tickets.slots.get_mut(self.ticket as usize) else {
            return;
        };
        if slot.answer.take().is_some() {
            tickets.free.push(self.ticket);
        } else {
            slot.abandoned = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    fn ask() -> LaneRequest {
        LaneRequest::FindCursor(7)
    }

    /// Answers every message that has come with the number of its ticket.
    fn serve(mesh: &Mesh) -> usize {
        mesh.post.open_all(|peer, letter| match letter {
            Letter::Message(LaneMessage { ticket, .. }) => {
                let answer = Answer::Count(u64::from(ticket));
                mesh.reply(peer, LaneReply { ticket, answer });
            }
            Letter::Reply(reply) => mesh.take_reply(peer, reply),
        })
    }

    fn pass(meshes: &[Mesh]) {
        for mesh in meshes.iter().chain(meshes) {
            mesh.post.send_all();
            serve(mesh);
            mesh.post.send_all();
        }
    }

    #[test]
    fn answers_find_their_tickets_and_return_the_credit() {
        let meshes = build(2, 2).unwrap();
        let first = block_on(meshes[0].send(1, ask()));
        let second = block_on(meshes[0].send(1, ask()));
        assert!(block_on(poll_once(meshes[0].send(1, ask()))).is_none());
        pass(&meshes);
        for ticket in [second, first] {
            let answer = block_on(meshes[0].answer(ticket));
            assert!(matches!(answer, Answer::Count(count) if count == u64::from(ticket)));
        }
        assert!(block_on(poll_once(meshes[0].send(1, ask()))).is_some());
    }

    #[test]
    fn an_answer_that_nobody_waits_for_frees_its_ticket() {
        let meshes = build(2, 1).unwrap();
        let ticket = block_on(meshes[0].send(1, ask()));
        assert!(block_on(poll_once(meshes[0].answer(ticket))).is_none());
        pass(&meshes);
        assert_eq!(block_on(meshes[0].send(1, ask())), ticket);
    }
}
