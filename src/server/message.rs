//! What crosses cores: two types, one for each direction. They grow with kinds of conversation, not with commands.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::command::{CommandId, LaneReport, Order, ReportKinds};
use crate::lane::journal::{BatchId, PartitionName};
use crate::lane::keys::Origin;
use crate::lane::outbox::OutboxEntry;
use crate::lane::{ClientId, KeyFilter, ScanPosition};
use crate::resp::{Args, Proto, Span};
use crate::series::{Sample, SeriesProperties};

use super::chains::Chained;
use super::commit::Change;
use super::deliveries::Delivery;
use super::hop::DELIVERING;
use super::scan_cursors::Walk;

/// Matches a reply to its request on the lane that asked.
pub type Ticket = u32;

/// Sent to another lane.
pub struct LaneMessage {
    /// To be returned with the answer.
    pub ticket: Ticket,
    /// What is asked.
    pub request: LaneRequest,
}

/// Sent back. One per message.
pub struct LaneReply {
    /// Of the message.
    pub ticket: Ticket,
    /// What was found or done.
    pub answer: Answer,
}

/// A request to the lane that owns something.
pub enum LaneRequest {
    /// Run these commands in this order.
    Execute(Box<Hop>),
    /// One step of a batch of several partitions.
    Batch(BatchId, BatchStep),
    /// Report what this lane is and does.
    Report(ReportKinds),
    /// Do this.
    Order(Order),
    /// Visit keys.
    Scan(ScanStep),
    /// The walk of a SCAN cursor that this lane keeps.
    FindCursor(u64),
    /// Some live key of a partition.
    RandomKey {
        /// Place of the partition.
        place: usize,
    },
    /// Count (`limit` `None`) or list keys of a slot.
    KeysInSlot {
        /// The slot.
        slot: u16,
        /// At most so many keys.
        limit: Option<usize>,
    },
    /// WATCH keys, each with the place of its partition.
    Watch(ClientId, Vec<(usize, Box<[u8]>)>),
    /// Forget the watches of a client.
    Unwatch(ClientId),
    /// Everything a key holds, for RENAME and COPY between partitions.
    ReadImage {
        /// Place of the partition.
        place: usize,
        /// The key.
        key: Box<[u8]>,
    },
    /// Make a key hold exactly this, as part of a batch.
    WriteImage {
        /// The batch.
        batch: BatchId,
        /// Place of the partition.
        place: usize,
        /// The key.
        key: Box<[u8]>,
        /// What it will hold; `None` deletes it.
        image: Option<KeyImage>,
        /// What the key held is at this key now (RENAME).
        moved_to: Option<Box<[u8]>>,
        /// The other ends of its rules are told by the sender.
        ends_are_told: bool,
    },
    /// The properties of a key, as those need them who change its rules or tell the other ends of a new name.
    RuleFacts {
        /// Place of the partition.
        place: usize,
        /// The key.
        key: Box<[u8]>,
    },
    /// The other ends of the rules of these keys, by place.
    RuleEnds(Vec<(usize, Box<[u8]>)>),
    /// Wait until the series at a key has changed, or for some time.
    AwaitChange {
        /// Place of the partition.
        place: usize,
        /// The key.
        key: Box<[u8]>,
        /// Samples that were there from `from` on; `None` = there was no series.
        seen: Option<u64>,
        /// Timestamp.
        from: i64,
        /// At most so long.
        wait_ms: u64,
    },
    /// Wait until what these commits owe is delivered.
    AwaitDelivered(Vec<Change>),
    /// Delete everything; as part of a batch that holds every key.
    Flush(Option<BatchId>),
    /// Write a checkpoint of every partition and wait for it.
    Checkpoint,
}

impl LaneRequest {
    /// What the request may have to wait for: each rank only for requests of later ranks.
    pub fn rank(&self) -> Rank {
        match self {
            // They hold their keys already.
            LaneRequest::Execute(hop) if hop.batch.is_some() => Rank::Holding,
            LaneRequest::ReadImage { .. } | LaneRequest::WriteImage { .. } | LaneRequest::Flush(Some(_)) => {
                Rank::Holding
            }
            LaneRequest::RuleFacts { .. } | LaneRequest::RuleEnds(_) => Rank::Holding,
            LaneRequest::Batch(_, BatchStep::Hold { .. } | BatchStep::Deliver { .. }) => Rank::First,
            LaneRequest::Batch(_, _) => Rank::Holding,
            LaneRequest::Execute(hop) if hop.client == DELIVERING => Rank::Delivery,
            _ => Rank::First,
        }
    }
}

/// Requests have credits by rank, so that one that others wait for never waits behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Waits for held keys, or for the deliveries of what it has written.
    First,
    /// A delivery: waits for held keys.
    Delivery,
    /// A step of a batch that holds its keys: waits for commits only.
    Holding,
}

impl Rank {
    /// How many there are.
    pub const COUNT: usize = 3;
}

/// Commands for one lane with all their arguments in one buffer, and room for their replies: it travels there and back,
/// and its memory is used again.
#[derive(Default)]
pub struct Hop {
    /// Who calls.
    pub client: ClientId,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// Part of this batch.
    pub batch: Option<BatchId>,
    /// All commands go to one partition and run without anything in between (EXEC on one partition).
    pub uninterrupted: bool,
    /// Run nothing if a key that this client watches in the partition at this place has changed.
    pub watcher: Option<(ClientId, usize)>,
    bytes: Vec<u8>,
    spans: Vec<Span>,
    commands: Vec<HopCommand>,
    /// Replies of the commands that have run.
    pub(super) replies: Vec<u8>,
    /// End of each reply.
    pub(super) reply_ends: Vec<usize>,
    /// Commits that the answer waits for on the lane that runs the commands.
    pub(super) changes: Vec<Change>,
    /// Commands that were slow, by index, and their microseconds.
    pub(super) slow: Vec<(usize, u64)>,
    /// Commits that owe something because of the commands, for which the answer does not wait.
    pub(super) chained: Chained,
}

/// One command of a hop.
#[derive(Clone, Copy)]
pub struct HopCommand {
    /// Which command.
    pub id: CommandId,
    /// Place of its partition on the target lane.
    pub place: usize,
    /// The arguments are one group of a split command, without its name.
    pub is_group: bool,
    first_span: usize,
    last_span: usize,
}

impl Hop {
    /// A hop without commands; `batch` is the batch that it is part of.
    pub fn new(client: ClientId, proto: Proto, batch: Option<BatchId>) -> Box<Hop> {
        Box::new(Hop {
            client,
            proto,
            batch,
            ..Hop::default()
        })
    }

    /// Makes it as new, keeping its memory.
    pub fn clear(&mut self, client: ClientId, proto: Proto) {
        (self.client, self.proto) = (client, proto);
        (self.batch, self.uninterrupted, self.watcher) = (None, false, None);
        self.bytes.clear();
        self.spans.clear();
        self.commands.clear();
        self.replies.clear();
        self.reply_ends.clear();
        self.changes.clear();
        self.chained.clear();
        self.slow.clear();
    }

    /// Memory that it keeps for arguments and replies, in bytes.
    pub fn kept_bytes(&self) -> usize {
        self.bytes.capacity() + self.replies.capacity() + self.spans.capacity() * size_of::<Span>()
    }

    /// Adds a command, copying its arguments.
    pub fn push<'a>(
        &mut self,
        id: CommandId,
        place: usize,
        is_group: bool,
        args: impl Iterator<Item = &'a [u8]>,
    ) {
        let first_span = self.spans.len();
        for arg in args {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(arg);
            let span = Span::new(start, self.bytes.len()).expect("invariant: query buffers are below 4 GiB");
            self.spans.push(span);
        }
        self.push_command(id, place, is_group, first_span);
    }

    /// As [`Hop::push`] for arguments as they were received: what lies between them is copied too, in one go.
    #[inline]
    pub fn push_received(&mut self, id: CommandId, place: usize, is_group: bool, args: Args<'_>) {
        let first_span = self.spans.len();
        args.append_to(&mut self.bytes, &mut self.spans);
        self.push_command(id, place, is_group, first_span);
    }

    fn push_command(&mut self, id: CommandId, place: usize, is_group: bool, first_span: usize) {
        self.commands.push(HopCommand {
            id,
            place,
            is_group,
            first_span,
            last_span: self.spans.len(),
        });
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// The command at `index` and its arguments.
    pub fn get(&self, index: usize) -> Option<(HopCommand, Args<'_>)> {
        let command = *self.commands.get(index)?;
        let spans = self.spans.get(command.first_span..command.last_span)?;
        Some((command, Args::new(&self.bytes, spans)))
    }

    /// The replies of commands `first` to before `end`, one after another.
    #[inline]
    pub fn replies(&self, first: usize, end: usize) -> &[u8] {
        let end_of = |index: usize| {
            let before = index.checked_sub(1).map(|before| self.reply_ends.get(before));
            before.map_or(Some(0), Option::<&usize>::copied)
        };
        match (end_of(first), end_of(end)) {
            (Some(start), Some(end)) => self.replies.get(start..end).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// One step of a batch, as the coordinator asks for it.
pub enum BatchStep {
    /// Hold these keys (or every key) of these partitions, all or none.
    Hold {
        /// Keys by place.
        keys: Vec<(usize, Box<[u8]>)>,
        /// Places that take part.
        places: Vec<usize>,
        /// Hold every key of the places.
        all_keys: bool,
        /// Fail if a key that this client watches has changed.
        watcher: Option<ClientId>,
    },
    /// Run the check of an atomic split command on these groups.
    Check(Box<Hop>),
    /// Rename a key within one partition, replacing the target.
    Rename {
        /// Place of the partition.
        place: usize,
        /// The key.
        from: Box<[u8]>,
        /// Its new name.
        to: Box<[u8]>,
        /// The other ends of its rules are told by the sender.
        ends_are_told: bool,
    },
    /// Put the part on record. Answered with the number of entries that it owes to keys elsewhere.
    Commit {
        /// Places that take part here.
        places: Vec<usize>,
        /// All participants everywhere.
        participants: Vec<PartitionName>,
    },
    /// What the batch owes so far to these keys, which it holds, is handed out to be done within it.
    TakeOwed {
        /// Places that take part here.
        places: Vec<usize>,
        /// Every key that the batch holds; `None` = all there are.
        held: Option<Arc<BTreeSet<Box<[u8]>>>>,
    },
    /// What has become of what was handed out.
    NoteOwed(Vec<OwedOutcome>),
    /// All parts are on record: let the keys go, at once.
    Free {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// All parts are on record: deliver what they owe to keys elsewhere. Answered when that is done.
    Deliver {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// All parts are on record: let the keys go. Answered when the part is as durable as its policy says.
    LetGo {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// All parts are durable: put that on record. Answered when the outcome itself is as durable as its policy says.
    Outcome {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// Every participant has the outcome on record.
    Forget {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// A participant could not write its part: put on record that the batch never happened, and forget what memory
    /// holds of it.
    Void {
        /// Places that take part here.
        places: Vec<usize>,
    },
    /// Called off before anything was written.
    Release {
        /// Places that take part here.
        places: Vec<usize>,
    },
}

/// What has become of something that a batch owed.
pub struct OwedOutcome {
    /// Place of the partition that owed it.
    pub place: usize,
    /// Its number there.
    pub id: u64,
    /// What of it is left to be done, if that is too much for once.
    pub rest: Option<OutboxEntry>,
    /// False if it has to wait until the batch is committed.
    pub is_done: bool,
}

/// One step of a walk over a partition's keys.
pub struct ScanStep {
    /// Place of the partition.
    pub place: usize,
    /// Where the walk stands; `None` = at the beginning.
    pub position: Option<ScanPosition>,
    /// About so many keys.
    pub count: usize,
    /// Which keys.
    pub filter: KeyFilter,
    /// Unix seconds at which the walk began.
    pub started_s: u32,
}

/// Everything a key holds.
#[derive(Clone, Debug)]
pub enum KeyImage {
    /// A plain value.
    String {
        /// Its bytes.
        value: Box<[u8]>,
        /// Unix milliseconds; 0 = never.
        expire_at_ms: i64,
        /// How it came about.
        origin: Origin,
    },
    /// Series by data type.
    Series {
        /// Samples per data type, ascending.
        series: Vec<(u8, Vec<Sample>)>,
        /// Its options, labels and rules, if it was given any.
        properties: Option<Box<SeriesProperties>>,
        /// Unix milliseconds; 0 = never.
        expire_at_ms: i64,
    },
}

impl KeyImage {
    /// Without the rules that the key is part of: COPY leaves them.
    pub fn without_rules(mut self) -> KeyImage {
        if let KeyImage::Series {
            properties: Some(properties),
            ..
        } = &mut self
        {
            properties.rules.clear();
            properties.source = None;
        }
        self
    }
}

/// What is refused when an answer is none to the request: a bug, which the client is told.
pub const UNEXPECTED_ANSWER: &str = "ERR internal: unexpected answer";

/// What a lane answers.
pub enum Answer {
    /// Replies of a hop's commands, one after another.
    Parts(Parts),
    /// A report.
    Report(Box<LaneReport>),
    /// How many.
    Count(u64),
    /// Yes or no.
    Flag(bool),
    /// Keys found and where to go on.
    Keys(Vec<Box<[u8]>>, Option<ScanPosition>),
    /// The walk of a cursor, if it is still known.
    Walk(Option<Walk>),
    /// What a key has to do with rules.
    RuleFacts {
        /// Its properties, if it has any.
        properties: Option<Box<SeriesProperties>>,
        /// Nothing that names the key is on its way from its partition.
        is_quiet: bool,
    },
    /// What keys have to do with rules.
    RuleEnds {
        /// Keys of the other ends.
        ends: Vec<Box<[u8]>>,
        /// Nothing that names one of the keys is on its way from its partition.
        is_quiet: bool,
    },
    /// Commits that owe something.
    Chained(Chained),
    /// What a batch owes.
    Deliveries(Vec<Delivery>),
    /// What a key holds.
    Image(Option<KeyImage>),
    /// Refused or failed; the text is the reply.
    Refused(String),
    /// Whether it was written is unknown: the reply says so and the connection is closed.
    Unknown(String),
}

/// A hop that has run.
#[derive(Default)]
pub struct Parts(pub Box<Hop>);

impl Parts {
    /// The reply of command `index`.
    pub fn get(&self, index: usize) -> &[u8] {
        self.0.replies(index, index + 1)
    }
}
