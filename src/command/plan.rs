//! What a session handler asks the server to do when it takes more than its own lane.

use std::sync::Arc;

use crate::lane::KeyFilter;
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};
use crate::series::Rule;

use super::pubsub::Message;
use super::report::{ReportKinds, Reports};
use super::session::SessionContext;
use super::table::CommandId;

/// Makes a reply from what all lanes have reported; sees the arguments of the command once more.
pub type Render = fn(&mut SessionContext<'_>, Args<'_>, &Reports, &mut Reply) -> Result<(), Refusal>;

/// Makes a reply of what internal commands have answered, in the order of the requests; sees the arguments of the
/// command once more.
pub type Collect = fn(&mut SessionContext<'_>, Args<'_>, &[&[u8]], &mut Reply) -> Result<(), Refusal>;

/// See [`Plan::Gather`].
#[derive(Clone, Debug)]
pub struct Gather {
    /// What is run where.
    pub requests: Vec<GatherRequest>,
    /// What follows once these are answered.
    pub then: Option<Rounds>,
    /// Makes the reply.
    pub collect: Collect,
}

/// Keys of each round of commands that follow others, from what those have answered.
pub type KeysOfRounds = fn(&[&[u8]]) -> Vec<KeysOfRound>;

/// Keys of one round.
pub type KeysOfRound = Vec<Box<[u8]>>;

/// Internal commands that follow others, in rounds of which each waits for the rollups that the one before has caused.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// Keys of each round, from what the first commands have answered.
    pub keys: KeysOfRounds,
    /// What runs for each key, on its owner: a [`super::Run::Owner`] command, whose first argument is to be the key.
    pub command: QueuedCommand,
}

/// One internal command.
#[derive(Clone, Debug)]
pub struct GatherRequest {
    /// Where it runs.
    pub target: GatherTarget,
    /// What runs: a [`super::Run::Owner`] command.
    pub command: QueuedCommand,
}

/// Where an internal command runs.
#[derive(Clone, Debug)]
pub enum GatherTarget {
    /// On the owner of this key.
    Key(Box<[u8]>),
    /// In every partition that the client's port serves; each answers for itself.
    EveryPartition,
}

/// TS.READ: the samples of a key from a cursor on, when there are enough of them.
#[derive(Clone, Debug)]
pub struct FollowPlan {
    /// The key.
    pub key: Box<[u8]>,
    /// What the client has sent.
    pub cursor: Box<[u8]>,
    /// Internal command that says what the cursor means.
    pub resolve: CommandId,
    /// Internal command that reads.
    pub read: CommandId,
    /// At most so many samples.
    pub count_max: usize,
    /// Milliseconds to wait (0 = for ever) for so many samples; `None` does not wait.
    pub wait: Option<(u64, usize)>,
}

/// TS.CREATERULE.
#[derive(Clone, Debug)]
pub struct NewRule {
    /// Key of the series that gets the rule.
    pub source: Box<[u8]>,
    /// The rule. What it begins `from` is found out when it is made.
    pub rule: Rule,
    /// Samples that are there already count too.
    pub backfill: bool,
}

/// A command with its arguments, kept for later.
#[derive(Clone, Debug)]
pub struct QueuedCommand {
    /// Which command.
    pub id: CommandId,
    /// Its arguments, the name first.
    pub args: Vec<Box<[u8]>>,
}

/// Asynchronous work of the connection's lane.
#[derive(Clone, Debug)]
pub enum Plan {
    /// EXEC: these commands, all or nothing; replies as an array.
    Transaction(Vec<QueuedCommand>),
    /// BATCH_FLUSH: one atomic TSDB_MSET over these arguments; replies its count.
    BatchFlush {
        /// Key, timestamp, value; three after another.
        triples: Vec<Box<[u8]>>,
    },
    /// WATCH these keys.
    Watch(Vec<Box<[u8]>>),
    /// UNWATCH.
    Unwatch,
    /// RENAME, RENAMENX or COPY between any two keys.
    Transfer {
        /// Key to read.
        source: Box<[u8]>,
        /// Key to write.
        target: Box<[u8]>,
        /// What kind of transfer.
        kind: TransferKind,
    },
    /// One step of SCAN.
    Scan {
        /// The client's cursor; 0 begins.
        cursor: u64,
        /// About so many keys.
        count: usize,
        /// Which keys.
        filter: KeyFilter,
    },
    /// KEYS: every key that matches.
    Keys(KeyFilter),
    /// RANDOMKEY.
    RandomKey,
    /// FLUSHDB, FLUSHALL.
    Flush,
    /// Every lane does this; the reply is made from the sum of their answers.
    Order {
        /// What to do.
        order: Order,
        /// What to reply.
        answer: OrderAnswer,
    },
    /// SAVE, BGSAVE: a checkpoint of every partition.
    Save {
        /// Reply before it is done.
        background: bool,
    },
    /// Every lane reports, then the reply is made.
    Report {
        /// What lanes have to report.
        kinds: ReportKinds,
        /// Makes the reply.
        render: Render,
    },
    /// CLUSTER COUNTKEYSINSLOT (`count_max` is `None`, replies the count) and GETKEYSINSLOT (replies the keys).
    KeysInSlot {
        /// Slot of the Redis Cluster specification, below `SLOTS`.
        slot: u16,
        /// At most so many keys.
        count_max: Option<usize>,
    },
    /// RESET of a client with keys under WATCH: forgets them. Replies `+RESET`.
    Reset,
    /// Internal commands run where their data lives, the reply is made of their answers.
    Gather(Gather),
    /// TS.CREATERULE: replies `+OK`, or why there is no such rule.
    CreateRule(Box<NewRule>),
    /// TS.DELETERULE: replies `+OK`, or that there was no such rule.
    DeleteRule {
        /// Key of the series that has the rule.
        source: Box<[u8]>,
        /// Key of the series that it writes to.
        destination: Box<[u8]>,
    },
    /// TS.READ.
    Follow(FollowPlan),
    /// LATENCY DUMP.
    DumpLatency,
    /// SHUTDOWN.
    Shutdown,
    /// DEBUG SLEEP: the connection waits.
    Sleep {
        /// For so long.
        milliseconds: u64,
    },
}

impl Plan {
    /// See [`Plan::Report`].
    pub fn report(kinds: ReportKinds, render: Render) -> Plan {
        Plan::Report { kinds, render }
    }

    /// See [`Plan::Order`].
    pub fn order(order: Order, answer: OrderAnswer) -> Plan {
        Plan::Order { order, answer }
    }
}

/// How a transfer treats its two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// RENAME: the source goes away, the target is replaced. Replies `+OK`.
    Rename,
    /// RENAMENX: only if the target does not exist. Replies `:1` or `:0`.
    RenameIfAbsent,
    /// COPY: the source stays. Replies `:1` or `:0`.
    Copy {
        /// Replace an existing target.
        replace: bool,
    },
}

/// Something that every lane does on request.
#[derive(Clone, Debug)]
pub enum Order {
    /// CONFIG RESETSTAT.
    ResetStats,
    /// LATENCY RESET, by command ids; empty = all. Counts the commands reset.
    ResetLatency(Vec<CommandId>),
    /// CACHE ON / OFF.
    EnableCache(bool),
    /// CACHE CLEAR: counts the entries dropped.
    ClearCache,
    /// CLIENT KILL: counts the clients killed.
    KillClients(ClientFilter),
    /// CLIENT UNBLOCK: counts the clients that waited.
    Unblock {
        /// The client.
        id: u64,
        /// Its command ends in an error, not as if its time were up.
        with_error: bool,
    },
    /// CLIENT PAUSE until this time in unix milliseconds (0 = UNPAUSE); only commands that write if `writes_only`.
    Pause {
        /// Unix milliseconds.
        until_ms: i64,
        /// Reads go on.
        writes_only: bool,
    },
    /// SLOWLOG RESET.
    ResetSlowlog,
    /// These messages go to who listens: counts the subscriptions they fit.
    Publish(Arc<[Message]>),
    /// Clients under MONITOR get this.
    Show(Shown),
}

/// What clients under MONITOR get.
#[derive(Clone, Debug)]
pub enum Shown {
    /// These lines.
    Lines(Arc<[u8]>),
    /// Nothing any more: lines were lost, so their connections end.
    Lost,
}

/// What to reply to an [`Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderAnswer {
    /// `+OK`.
    Ok,
    /// The sum of the lanes' counts.
    Sum,
    /// `+OK`, or `ERR No such client` if the sum is 0.
    OkIfAny,
}

/// Which clients CLIENT KILL means; all conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct ClientFilter {
    /// This client only.
    pub id: Option<u64>,
    /// With this peer address.
    pub address: Option<String>,
    /// Connected to this local address.
    pub local_address: Option<String>,
    /// Not this client (the caller, unless SKIPME no).
    pub except: Option<u64>,
    /// Connected for at least so many seconds.
    pub age_min_s: Option<i64>,
    /// No client is of the type asked for (replicas, pubsub).
    pub none: bool,
}
