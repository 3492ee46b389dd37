//! How a handler ends when it has no reply yet: refused, not yet possible, or to be finished elsewhere.

use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::store::StoreError;

use super::label_query::LabelJob;
use super::open_buckets::RuleEnds;
use super::range::RangeJob;

/// A handler that stops has left no trace and may be run again from its start.
pub enum Stop {
    /// The reply is this error.
    Refused(Refusal),
    /// Run the command again when this has happened.
    Wait(Wait),
    /// The rest reads the disk or computes for long: run it on the blocking pool, it writes the reply.
    Offload(Job),
}

/// Work for the blocking pool that writes one reply.
pub type Job = Box<dyn FnOnce(&mut Reply) + Send>;

/// What a command waits for.
#[derive(Debug)]
pub enum Wait {
    /// This key has to be read from the disk into the key table.
    Load(Box<[u8]>),
    /// The label index has to be read from the disk.
    Labels(Box<LabelJob>),
    /// The open buckets of rules whose sources live elsewhere have to be fetched.
    OpenBuckets(Vec<RuleEnds>),
    /// A running checkpoint has to end.
    Checkpoint,
    /// A batch of several partitions holds the key.
    Held,
    /// This range has to be read from the disk: run [`RangeJob::warm`] on the blocking pool and hand the result to
    /// [`super::Partition::keep_warmed`], where the command finds it.
    Warm(Box<RangeJob>),
}

/// What handlers return: the reply is written, or see [`Stop`].
pub type Handled = Result<(), Stop>;

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        // Logged here: this is the border at which a read error becomes a client's answer.
        log::error!("{error}");
        Refusal::text(format!("ERR storage: {error}"))
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Refused(error.into())
    }
}

impl Stop {
    /// Work for the blocking pool; if it fails, the refusal is all that it leaves written.
    pub fn offload(work: impl FnOnce(&mut Reply) -> Result<(), Refusal> + Send + 'static) -> Stop {
        Stop::Offload(Box::new(move |reply| {
            let start = reply.len();
            if let Err(refusal) = work(reply) {
                reply.truncate(start);
                reply.error(&refusal);
            }
        }))
    }
}
