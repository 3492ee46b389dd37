//! The command table and the handlers, one file per family.
//!
//! A new command is one entry in its family's table and its handler; look-up, arity, COMMAND, ACL-like key checks,
//! routing and histograms follow from the entry.

pub mod background;
mod entry;
mod events;
mod execute;
mod keyspec;
pub mod plan;
pub mod pubsub;
pub mod report;
pub mod session;
pub mod shared;
pub mod subcommand;
mod table;
#[cfg(test)]
mod test_run;
#[cfg(test)]
pub(crate) mod test_support;

mod business;
mod cluster;
pub mod connection;
mod database;
mod expire;
mod key;
mod latency;
pub mod monitor;
mod server;
mod string;
mod transaction;
pub mod ts;
mod tsdb;

use crate::lane::{Handled, Partition, Purpose, Stop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

pub use connection::{REDIS_VERSION, client_line};
pub use execute::{
    admit_write, each_group, execute_one, execute_ready, execute_split, is_key_held, write_outcome,
};
pub use keyspec::KeySpec;
pub use plan::{Gather, GatherRequest, GatherTarget, Order, Plan, QueuedCommand, Render};
pub use report::{ClientReport, LaneReport, PartitionReport, ReportKinds, Reports};
pub use session::{PortKind, Session, SessionContext, SessionStop};
pub use shared::{Settings, Shared};
pub use subcommand::subcommand_name;
pub use table::{CommandId, CommandTable, render_table, unknown_command};
pub use ts::follow::{decode_cursor, decode_read};
pub use ts::rules::decode_open_bucket;
pub use ts::texts::READ_DENIED;

/// A call of one command, as its owner's handler sees it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The arguments: the name is argument 0, except for [`Run::Split`] handlers, which see one key and its operands.
    pub args: Args<'a>,
    /// Unix milliseconds, read once per turn.
    pub now_ms: i64,
    /// Time in microseconds since the epoch, for `*` in finer units.
    pub now_us: i64,
}

/// Runs on the owner of the key, to completion.
pub type KeyHandler = fn(&mut Partition, &Call<'_>, &mut Reply) -> Handled;

/// Looks whether a part of an atomic command can be applied: `Ok(false)` calls the whole command off.
pub type KeyCheck = fn(&mut Partition, &Call<'_>) -> Result<bool, Stop>;

/// Runs all groups of a split command, which `call.args` begins with, as one. `Ok(false)` if they are not as it wants them,
/// with nothing changed and nothing replied: then each runs by itself. A stop changes nothing either.
pub type GroupsHandler = fn(&mut Partition, &Call<'_>, &mut Reply) -> Result<bool, Stop>;

/// Runs on the connection's own lane; touches no key.
pub type SessionHandler = fn(&mut SessionContext<'_>, Args<'_>, &mut Reply) -> Result<(), SessionStop>;

/// Where a command runs and how its replies come back.
#[derive(Clone, Copy)]
pub enum Run {
    /// On the connection's own lane; may end in a [`Plan`] that the server carries out.
    Session(SessionHandler),
    /// On the owner of the key at argument `key`.
    Owner {
        /// Index of the key among the arguments.
        key: usize,
        /// The handler.
        handler: KeyHandler,
    },
    /// Cut into groups of `step` arguments that begin with a key; each runs on its key's owner.
    Split {
        /// Arguments per group.
        step: usize,
        /// The handler of one group.
        handler: KeyHandler,
        /// How the groups' replies become one.
        merge: Merge,
        /// All or nothing: every group is checked before any is applied.
        atomic: Option<KeyCheck>,
        /// Runs for every group before the first one does, so that no group has to wait; its answer is not asked for.
        prepare: Option<KeyCheck>,
        /// The short way where all groups live in one partition: it looks every key up and reads every operand once.
        together: Option<GroupsHandler>,
    },
    /// Every lane reports, the connection's lane makes the reply.
    Report {
        /// What lanes have to report.
        kinds: ReportKinds,
        /// Makes the reply.
        render: fn(&mut SessionContext<'_>, Args<'_>, &Reports, &mut Reply) -> Result<(), Refusal>,
    },
}

/// How the replies of a [`Run::Split`] become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// An array of them; an error instead if one of them is one.
    Array,
    /// An array of them, errors included.
    Each,
    /// Their sum.
    Sum,
    /// `+OK`; nothing if called off.
    Ok,
    /// `:1`, or `:0` if called off.
    OneIfDone,
}

/// What a command does, as Redis names it; a bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// Changes data.
    pub const WRITE: Flags = Flags(1);
    /// Reads data.
    pub const READONLY: Flags = Flags(1 << 1);
    /// O(1) or O(log n).
    pub const FAST: Flags = Flags(1 << 2);
    /// Refused when the disk is full.
    pub const DENY_ON_FULL: Flags = Flags(1 << 3);
    /// For operators.
    pub const ADMIN: Flags = Flags(1 << 4);
    /// Allowed before AUTH.
    pub const NO_AUTH: Flags = Flags(1 << 5);
    /// Not inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 6);
    /// Internal: not to be called by clients.
    pub const INTERNAL: Flags = Flags(1 << 7);
    /// Runs at once inside MULTI instead of being queued.
    pub const IN_MULTI: Flags = Flags(1 << 8);
    /// Reads the samples of one series from the timestamp in its second argument on.
    pub const READS_FROM: Flags = Flags(1 << 9);
    /// None.
    pub const NONE: Flags = Flags(0);

    /// Both.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// True if all of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One command, complete: everything the server knows about it is in this entry.
#[derive(Clone, Copy)]
pub struct Command {
    /// Name on the wire, upper case; subcommands are handled by their container.
    pub name: &'static str,
    /// Arguments with the name: exactly so many, or at least so many if negative (as COMMAND INFO says it).
    pub arity: i16,
    /// What it does.
    pub flags: Flags,
    /// Which arguments are keys.
    pub keys: KeySpec,
    /// Group, as in COMMAND DOCS.
    pub group: &'static str,
    /// Version that brought it.
    pub since: &'static str,
    /// Arguments after the name.
    pub syntax: &'static str,
    /// One sentence, present tense.
    pub summary: &'static str,
    /// Where and how it runs.
    pub run: Run,
}

impl Command {
    /// True if `len` arguments (with the name) may come; see [`Command::has_whole_groups`] too.
    #[inline]
    pub fn accepts(&self, len: usize) -> bool {
        let len = len as i64;
        if self.arity >= 0 {
            len == i64::from(self.arity)
        } else {
            len >= -i64::from(self.arity)
        }
    }

    /// True if `len` arguments (with the name) are whole groups of a split command. As in Redis that is found out when it
    /// runs: a transaction takes it nevertheless.
    #[inline]
    pub fn has_whole_groups(&self, len: usize) -> bool {
        match self.run {
            Run::Split { step, .. } => len % step == 1 % step,
            _ => true,
        }
    }

    /// What it will do with the series of its first key.
    #[inline]
    pub fn purpose(&self, args: Args<'_>) -> Purpose {
        if !self.flags.has(Flags::READS_FROM) {
            return Purpose::Append;
        }
        let at = args.try_get(2).and_then(parse_i64);
        at.map_or(Purpose::Append, Purpose::ReadFrom)
    }

    /// True if it adds something without looking at what others write.
    #[inline]
    pub fn only_adds(&self) -> bool {
        self.flags.has(Flags::WRITE.and(Flags::DENY_ON_FULL))
    }

    /// False if series are none of its business.
    #[inline]
    pub fn may_see_rollups(&self) -> bool {
        self.group != "string"
    }

    /// Name in lower case, as error texts have it.
    pub fn lower_name(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// The refusal of a wrong number of arguments.
    pub fn arity_error(&self) -> Refusal {
        Refusal::Arity(self.lower_name().into())
    }
}
