//! The state that one core owns: its partitions, its counters, its histograms.
//!
//! Knows nothing of sockets, threads or commands. Everything here is synchronous and runs to completion.

mod batches;
mod beside;
mod changes;
mod checkpoint;
mod chunk_walk;
mod commit;
mod decoded;
mod decoded_read;
mod deletions;
mod events;
mod eviction;
mod evidence;
mod finding;
mod flush;
mod housekeeping;
pub mod journal;
mod key_bytes;
pub mod keys;
mod label_query;
mod label_rows;
mod labels;
mod late;
mod loading;
mod members;
mod memory;
mod newest;
mod newest_rows;
mod open_buckets;
pub mod outbox;
mod outbox_entry;
mod owed;
mod partition;
mod prefetch;
mod properties;
mod range;
mod recovery;
mod removal;
mod replay;
mod replay_places;
mod replay_rows;
mod rest;
mod rewrite;
mod rewrites;
mod rollup_reads;
mod rules;
mod samples;
mod scan;
mod sealing;
mod series_state;
mod series_table;
mod slab;
mod stop;
mod summaries;
#[cfg(test)]
pub mod test_support;
mod visit;
mod visit_walk;
mod warmed;
mod watches;

use std::sync::Arc;

use crate::clock::Clock;
use crate::metrics::{LaneCounters, LatencyTable};
use crate::refusal::Refusal;
use crate::series::EncodeScratch;

pub use batches::{Batches, READS_PAST_HOLDS};
pub use checkpoint::CheckpointStep;
pub use chunk_walk::{ChunkFacts, ChunkJob, ChunkWalk, ChunksFound};
pub use commit::Committed;
pub use decoded_read::DecodedRange;
pub use events::{EventClasses, KeyEvent};
pub use eviction::MemoryBudget;
pub use evidence::{Evidence, void_batches};
pub use housekeeping::SeriesSweep;
pub use keys::{SOUGHT_KEYS_MAX, SoughtKey};
pub use label_query::{LabelMatch, LabelQuery, LabelTest, LabelWords, StoredMatch};
pub use loading::LoadedKey;
pub use newest_rows::{NewestFound, NewestValue, newest_of_stored, stored_states};
pub use open_buckets::RuleEnds;
pub use partition::{Partition, PartitionCounters, PartitionSettings};
pub use prefetch::{FETCHED_KEYS_MAX, Purpose};
pub use properties::PLAIN_DATA_TYPE;
pub use range::{RangeJob, RangeQuery, RangeRead};
pub use recovery::OpenedPartition;
pub use rewrite::{RewriteJob, Rewritten};
pub use rewrites::{SeriesWalk, TierTotals};
pub use rollup_reads::{RolledUp, RollupFound, RollupRead};
pub use rules::bucketing_of;
pub use samples::FoundSample;
pub use scan::{KeyFilter, KeyType, ScanPosition, StoredStretch, stored_stretch};
pub use series_state::{SealedState, Series};
pub use stop::{Handled, Job, Stop, Wait};
pub use visit::{InPlace, RangeCount, RangeVisitor, VisitJob};
pub use warmed::Warmed;
pub use watches::ClientId;

/// Number of a lane, 0 to lanes - 1.
pub type LaneId = usize;

/// A partition that serves, or the reason why it does not.
pub enum PartitionSlot {
    /// Serves.
    Open(Box<Partition>),
    /// Closed after a failure; the supervisor opens it again.
    Closed {
        /// What failed, for clients and operators.
        cause: Arc<str>,
        /// The disk was full.
        out_of_space: bool,
    },
}

/// See the head of the file.
pub struct Lane {
    /// Which lane this is.
    pub id: LaneId,
    /// Partitions that this lane owns, by their place in the directory.
    pub partitions: Vec<PartitionSlot>,
    /// The only reader of time.
    pub clock: Clock,
    /// What happened on this lane since start.
    pub counters: LaneCounters,
    /// Latency per command.
    pub latency: LatencyTable,
    /// Buffers of the chunk encoder.
    pub scratch: EncodeScratch,
}

impl Lane {
    /// The open partition at `place`.
    ///
    /// # Errors
    /// A refusal that says why it is closed.
    #[inline]
    pub fn partition(&mut self, place: usize) -> Result<&mut Partition, Refusal> {
        match self.partitions.get_mut(place) {
            Some(PartitionSlot::Open(partition)) => Ok(partition),
            Some(PartitionSlot::Closed { cause, .. }) => Err(Refusal::text(format!(
                "ERR partition unavailable, it is being recovered: {cause}"
            ))),
            None => Err(Refusal::text("ERR partition unavailable: it does not live here")),
        }
    }

    /// True if a partition is closed, or serves reads only, because the disk was full.
    pub fn is_out_of_space(&self) -> bool {
        self.partitions.iter().any(|slot| match slot {
            PartitionSlot::Open(partition) => partition.database().is_read_only(),
            PartitionSlot::Closed { out_of_space, .. } => *out_of_space,
        })
    }

    /// All partitions that serve.
    pub fn open_partitions(&mut self) -> impl Iterator<Item = (usize, &mut Partition)> {
        self.partitions
            .iter_mut()
            .enumerate()
            .filter_map(|(place, slot)| match slot {
                PartitionSlot::Open(partition) => Some((place, &mut **partition)),
                PartitionSlot::Closed { .. } => None,
            })
    }
}
