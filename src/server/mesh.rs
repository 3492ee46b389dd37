//! The other lanes: one queue for messages and one for replies per ordered pair, credits, tickets.
//!
//! A sender may have at most `hops_in_flight_max` unanswered messages of each rank per peer, and both queues hold as many,
//! so that neither a message nor a reply ever waits for room. Work done for a message waits for messages of later ranks
//! only. With these two rules no cycle of waiting can form, whatever the load (bounded meshes without them deadlock:
//! glommio #555).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use glommio::channels::shared_channel::{
    self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
};

use super::event::Event;
use super::message::{Answer, LaneMessage, LaneReply, LaneRequest, Rank, Ticket};

/// One lane's ends of all queues, before its executor has connected them.
pub struct MeshEnds {
    id: usize,
    in_flight_max: usize,
    peers: Vec<Option<PeerEnds>>,
}

struct PeerEnds {
    messages_out: SharedSender<LaneMessage>,
    messages_in: SharedReceiver<LaneMessage>,
    replies_out: SharedSender<LaneReply>,
    replies_in: SharedReceiver<LaneReply>,
}

/// Builds the queues of `lanes` lanes.
pub fn build(lanes: usize, in_flight_max: usize) -> Vec<MeshEnds> {
    let mut ends: Vec<MeshEnds> = (0..lanes)
        .map(|id| MeshEnds {
            id,
            in_flight_max,
            peers: (0..lanes).map(|_| None).collect(),
        })
        .collect();
    let room = in_flight_max * Rank::COUNT;
    for left in 0..lanes {
        for right in left + 1..lanes {
            let (left_messages_out, right_messages_in) = shared_channel::new_bounded(room);
            let (right_messages_out, left_messages_in) = shared_channel::new_bounded(room);
            let (left_replies_out, right_replies_in) = shared_channel::new_bounded(room);
            let (right_replies_out, left_replies_in) = shared_channel::new_bounded(room);
            let mut put = |at: usize, peer: usize, peer_ends: PeerEnds| {
                if let Some(slot) = ends.get_mut(at).and_then(|ends| ends.peers.get_mut(peer)) {
                    *slot = Some(peer_ends);
                }
            };
            put(
                left,
                right,
                PeerEnds {
                    messages_out: left_messages_out,
                    messages_in: left_messages_in,
                    replies_out: left_replies_out,
                    replies_in: left_replies_in,
                },
            );
            put(
                right,
                left,
                PeerEnds {
                    messages_out: right_messages_out,
                    messages_in: right_messages_in,
                    replies_out: right_replies_out,
                    replies_in: right_replies_in,
                },
            );
        }
    }
    ends
}

/// Receiving ends of one peer: served by two tasks.
pub struct PeerInbox {
    /// The peer.
    pub peer: usize,
    /// Its messages.
    pub messages: ConnectedReceiver<LaneMessage>,
    /// Its replies to ours.
    pub replies: ConnectedReceiver<LaneReply>,
}

struct Peer {
    messages: ConnectedSender<LaneMessage>,
    replies: ConnectedSender<LaneReply>,
    /// By rank.
    credits: [Cell<usize>; Rank::COUNT],
    credit_returned: Event,
}

/// See the head of the file.
pub struct Mesh {
    id: usize,
    peers: Vec<Option<Peer>>,
    tickets: RefCell<Tickets>,
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

impl MeshEnds {
    /// Connects all queues; every lane has to do this at the same time.
    pub async fn connect(self) -> (Mesh, Vec<PeerInbox>) {
        let mut peers = Vec::new();
        let mut inboxes = Vec::new();
        for (peer, ends) in self.peers.into_iter().enumerate() {
            let Some(ends) = ends else {
                peers.push(None);
                continue;
            };
            // Both ends of a queue wait for each other: all four connect at once.
            let messages_in = glommio::spawn_local(ends.messages_in.connect());
            let replies_in = glommio::spawn_local(ends.replies_in.connect());
            let messages_out = glommio::spawn_local(ends.messages_out.connect());
            let replies_out = glommio::spawn_local(ends.replies_out.connect());
            peers.push(Some((messages_out, replies_out)));
            inboxes.push((peer, messages_in, replies_in));
        }
        let mut connected = Vec::new();
        for peer in peers {
            connected.push(match peer {
                None => None,
                Some((messages, replies)) => Some(Peer {
                    messages: messages.await,
                    replies: replies.await,
                    credits: std::array::from_fn(|_| Cell::new(self.in_flight_max)),
                    credit_returned: Event::default(),
                }),
            });
        }
        let mut received = Vec::new();
        for (peer, messages, replies) in inboxes {
            received.push(PeerInbox {
                peer,
                messages: messages.await,
                replies: replies.await,
            });
        }
        (
            Mesh {
                id: self.id,
                peers: connected,
                tickets: RefCell::new(Tickets::default()),
            },
            received,
        )
    }
}

impl Mesh {
    /// This lane.
    pub fn id(&self) -> usize {
        self.id
    }

    fn peer(&self, lane: usize) -> &Peer {
        self.peers
            .get(lane)
            .and_then(Option::as_ref)
            .expect("invariant: messages go to other lanes that exist")
    }

    /// Sends a message as soon as there is a credit. The answer is awaited with [`Mesh::answer`].
    pub async fn send(&self, lane: usize, request: LaneRequest) -> Ticket {
        let peer = self.peer(lane);
        let rank = request.rank() as usize;
        let credits = peer.credits.get(rank).expect("invariant: ranks are counted");
        peer.credit_returned.wait_until(|| credits.get() > 0).await;
        credits.set(credits.get() - 1);
        let ticket = self.open_ticket(lane, rank);
        let sent = peer.messages.try_send(LaneMessage { ticket, request });
        // A full queue would mean more messages than credits; a closed one, that the peer's thread is gone.
        assert!(
            sent.is_ok(),
            "invariant: there is room for as many messages as credits"
        );
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
        let sent = self.peer(lane).replies.try_send(reply);
        assert!(
            sent.is_ok(),
            "invariant: there is room for as many replies as the peer has credits"
        );
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

/// Reads the replies of one peer: runs for ever.
pub async fn reply_loop(
    shell: Rc<super::lane_shell::LaneShell>,
    peer: usize,
    replies: ConnectedReceiver<LaneReply>,
) {
    while let Some(reply) = replies.recv().await {
        shell.mesh.take_reply(peer, reply);
    }
}
