//! One client's state: what it is, what it may do, what it has begun (MULTI, BATCH_SET).

use std::sync::Arc;

use crate::clock::Clock;
use crate::lane::ClientId;
use crate::refusal::Refusal;
use crate::resp::Proto;

use super::plan::{Plan, QueuedCommand};
use super::pubsub::Subscriptions;
use super::shared::{Monitor, Shared};

/// The port a client came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Serves all businesses.
    Main,
    /// Serves this business only.
    Business(usize),
    /// One lane's own port: the cluster view.
    Lane(usize),
}

/// Whether replies are sent (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// Always.
    On,
    /// Never.
    Off,
    /// Not for the next command.
    SkipNext,
    /// Not for this command.
    Skipping,
}

/// MULTI has been called.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Commands so far.
    pub commands: Vec<QueuedCommand>,
    /// A command was refused while queueing: EXEC will be refused.
    pub broken: bool,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Session {
    /// Process-wide number.
    pub id: ClientId,
    /// RESP2 or RESP3.
    pub proto: Proto,
    /// Port it came in by.
    pub port: PortKind,
    /// Peer address, `ip:port`.
    pub address: String,
    /// Own address, `ip:port`.
    pub local_address: String,
    /// May run commands.
    pub authenticated: bool,
    /// CLIENT SETNAME.
    pub name: String,
    /// CLIENT SETINFO LIB-NAME.
    pub library_name: String,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: String,
    /// Unix milliseconds at which it connected.
    pub connected_ms: i64,
    /// Between MULTI and EXEC.
    pub transaction: Option<Transaction>,
    /// Has keys under WATCH.
    pub watching: bool,
    /// The watches are void: the connection drops them after this turn.
    pub unwatch_due: bool,
    /// BATCH_SET triples (key, timestamp, value) not yet flushed.
    pub batch: Vec<Box<[u8]>>,
    /// What it listens to; `None` = nothing.
    pub subscriptions: Option<Subscriptions>,
    /// It is shown what all clients run; `None` = not.
    pub monitor: Option<Monitor>,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// A command waits for something to happen.
    pub blocked: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// READONLY on a lane port; has no effect, as every lane serves reads.
    pub readonly: bool,
    /// Close the connection once the reply is written (QUIT, protocol errors).
    pub closing: bool,
    /// File descriptor of the socket, for CLIENT LIST; -1 until the connection sets it.
    pub file_descriptor: i32,
    /// Commands of the EXEC that is running, for CLIENT LIST; `None` = no EXEC runs.
    pub executing: Option<usize>,
}

impl Session {
    /// A client that has just connected.
    pub fn new(id: ClientId, port: PortKind, address: String, local_address: String, now_ms: i64) -> Session {
        Session {
            id,
            proto: Proto::Resp2,
            port,
            address,
            local_address,
            authenticated: false,
            name: String::new(),
            library_name: String::new(),
            library_version: String::new(),
            connected_ms: now_ms,
            transaction: None,
            watching: false,
            unwatch_due: false,
            batch: Vec::new(),
            subscriptions: None,
            monitor: None,
            reply_mode: ReplyMode::On,
            no_evict: false,
            blocked: false,
            no_touch: false,
            readonly: false,
            closing: false,
            file_descriptor: -1,
            executing: None,
        }
    }
}

/// What a session handler sees.
pub struct SessionContext<'a> {
    /// The calling client.
    pub session: &'a mut Session,
    /// What all lanes know alike.
    pub shared: &'a Arc<Shared>,
    /// The only reader of time.
    pub clock: &'a Clock,
}

/// How a session handler ends without a reply.
#[derive(Debug)]
pub enum SessionStop {
    /// The reply is this error.
    Refused(Refusal),
    /// The server has to do this; it writes the reply.
    Plan(Box<Plan>),
}

impl From<Refusal> for SessionStop {
    fn from(refusal: Refusal) -> SessionStop {
        SessionStop::Refused(refusal)
    }
}

impl From<Plan> for SessionStop {
    fn from(plan: Plan) -> SessionStop {
        SessionStop::Plan(Box::new(plan))
    }
}
