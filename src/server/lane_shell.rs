//! What surrounds a lane's state on its core: commits, peers, clients. Lives on every core, one instance.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::command::Shared;
use crate::command::report::SlowCall;
use crate::lane::{ClientId, Lane, PartitionSettings};
use crate::resp::{Proto, RequestLimits};
use crate::store::{DatabaseOptions, SharedResources};

use super::buffers::Buffers;
use super::client::ClientHandle;
use super::commit::CommitQueue;
use super::event::Event;
use super::hop::{HopRun, unknown_outcome};
use super::mesh::Mesh;
use super::message::{Hop, LaneReply, Ticket};
use super::monitors::Monitors;
use super::notices::Notices;
use super::rates::Rates;
use super::scan_cursors::ScanCursors;
use super::sockets::Sockets;

/// How a partition is opened, and opened again after a failure.
#[derive(Clone)]
pub struct PartitionOpening {
    /// `business/partition`.
    pub label: String,
    /// Directory of its database.
    pub path: std::path::PathBuf,
    /// Options of its database.
    pub options: DatabaseOptions,
    /// Settings of the partition.
    pub settings: Arc<PartitionSettings>,
}

/// See the head of the file. `lane` is borrowed for one synchronous section at a time, never across an await.
pub struct LaneShell {
    /// The lane's state.
    pub lane: RefCell<Lane>,
    /// What all lanes know alike.
    pub shared: Arc<Shared>,
    /// Block cache and write buffers of all databases.
    pub resources: SharedResources,
    /// Core that this lane is pinned to.
    pub core: usize,
    /// Group commit.
    pub commits: CommitQueue,
    /// The other lanes.
    pub mesh: Mesh,
    /// Clients connected to this lane.
    pub clients: RefCell<HashMap<ClientId, Rc<ClientHandle>>>,
    /// Readiness of their sockets.
    pub sockets: Sockets,
    /// Raised when keys are let go by a batch, or a checkpoint ends.
    pub released: Event,
    /// No new commands are read.
    pub stopping: Cell<bool>,
    /// Batches that this lane coordinates, committed but not yet forgotten everywhere.
    pub settling: Cell<usize>,
    /// The data directory has less free space than configured, or a commit found none: writes are refused.
    pub disk_full: Cell<bool>,
    /// Partitions closed since start: tells one opening of a partition from the next.
    pub closings: Cell<u64>,
    /// An fsync of this lane's partitions is under way.
    pub syncing: Cell<bool>,
    /// CLIENT PAUSE: until when (unix milliseconds, 0 = not), and whether reads go on.
    pub paused: Cell<(i64, bool)>,
    /// How to open each partition.
    pub openings: Vec<PartitionOpening>,
    /// SCAN cursors that clients hold.
    pub scan_cursors: RefCell<ScanCursors>,
    /// Slow calls, newest last.
    pub slow_calls: RefCell<std::collections::VecDeque<SlowCall>>,
    /// Error replies by first word.
    pub error_counts: RefCell<HashMap<String, u64>>,
    /// Rates of the last second.
    pub rates: RefCell<Rates>,
    /// Answers to hops that wait for their commit: (what they wait for, who asked).
    pub deferred: RefCell<Vec<Deferred>>,
    /// Events of keys that are to be told.
    pub notices: Notices,
    /// What is to be shown to clients under MONITOR.
    pub monitors: Monitors,
    /// Hops that have come back, reused.
    #[expect(clippy::vec_box, reason = "hops are sent to other lanes as they are")]
    pub hops: RefCell<Vec<Box<Hop>>>,
    /// Buffers for replies and requests, reused.
    pub buffers: RefCell<Buffers>,
    /// Bytes just read, parsed before anything else runs.
    pub read_buffer: RefCell<Vec<u8>>,
}

/// A finished hop whose answer waits for a commit.
pub struct Deferred {
    /// Lane that asked.
    pub peer: usize,
    /// Of the message.
    pub ticket: Ticket,
    /// The commands, all of which have run.
    pub run: HopRun,
}

/// Hops kept for reuse.
const HOPS_KEPT_MAX: usize = 256;
/// A hop that grew beyond this is not kept.
const HOP_KEPT_MAX_BYTES: usize = 64 << 10;

impl LaneShell {
    /// This lane's number.
    pub fn id(&self) -> usize {
        self.mesh.id()
    }

    /// How large requests of authenticated clients may be.
    pub fn request_limits(&self) -> RequestLimits {
        let wire = &self.shared.config.wire;
        RequestLimits {
            bulk_len_max_bytes: self.shared.settings().bulk_len_max_bytes,
            args_max: wire.args_max,
            inline_len_max_bytes: wire.inline_len_max_bytes,
            unauthenticated: false,
        }
    }

    /// An empty buffer.
    pub fn take_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().take()
    }

    /// An empty buffer for the replies of a turn.
    pub fn take_reply_buffer(&self) -> Vec<u8> {
        self.buffers.borrow_mut().take_large()
    }

    /// Gives a buffer back.
    pub fn give_buffer(&self, buffer: Vec<u8>) {
        self.buffers.borrow_mut().give(buffer);
    }

    /// A hop without commands.
    #[inline]
    pub fn take_hop(&self, client: ClientId, proto: Proto) -> Box<Hop> {
        match self.hops.borrow_mut().pop() {
            Some(mut hop) => {
                hop.clear(client, proto);
                hop
            }
            None => Hop::new(client, proto, None),
        }
    }

    /// Gives the memory of a hop back.
    #[inline]
    pub fn give_hop(&self, hop: Box<Hop>) {
        let mut hops = self.hops.borrow_mut();
        if hop.kept_bytes() <= HOP_KEPT_MAX_BYTES && hops.len() < HOPS_KEPT_MAX {
            hops.push(hop);
        }
    }

    /// Called by the commit task after every pass: sends answers whose commit is done.
    pub fn pass_commit(self: &Rc<Self>, _lane: &mut Lane) {
        let mut waiting = self.deferred.borrow_mut();
        let mut index = 0;
        while let Some(deferred) = waiting.get(index) {
            match self.commits.outcome(deferred.run.changes()) {
                None => index += 1,
                Some(committed) => {
                    let Deferred { peer, ticket, run } = waiting.swap_remove(index);
                    let answer = if committed {
                        run.into_answer(self)
                    } else {
                        unknown_outcome()
                    };
                    self.mesh.reply(peer, LaneReply { ticket, answer });
                }
            }
        }
        // Lanes may have nothing else to do than to wait for these.
        self.mesh.post.send_all();
    }

    /// Wakes every client's task.
    pub fn wake_clients(&self) {
        for client in self.clients.borrow().values() {
            client.wake();
        }
    }

    /// Counts an error reply by its first word.
    pub fn count_error(&self, text: &[u8]) {
        let word = text
            .split(|byte| *byte == b' ' || *byte == b'\r')
            .next()
            .unwrap_or(b"");
        let word = String::from_utf8_lossy(word);
        let mut counts = self.error_counts.borrow_mut();
        if let Some(count) = counts.get_mut(&*word) {
            *count += 1;
        } else if counts.len() < ERROR_WORDS_MAX {
            counts.insert(word.into_owned(), 1);
        }
    }
}

/// Different first words of errors that are counted apart.
const ERROR_WORDS_MAX: usize = 128;
