//! What the chunks of one series are: counted for TS.INFO, described one by one for TS.INFO DEBUG.

use crate::series;
use crate::store::{Database, Reach, Read, StoreError, StoreOperation, Tier};

use super::partition::Partition;

/// Chunks looked at on the lane itself.
const IN_PLACE_CHUNKS_MAX: usize = 256;

/// One chunk, or the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFacts {
    /// Timestamp of its oldest sample.
    pub first_timestamp: i64,
    /// Timestamp of its newest sample.
    pub last_timestamp: i64,
    /// Samples in it, deleted ones included.
    pub samples: usize,
    /// Bytes on disk; of the head, in memory.
    pub bytes: usize,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkWalk {
    /// Chunks, and the head unless it is empty.
    pub count: usize,
    /// One for each, oldest first, if they were asked for.
    pub facts: Vec<ChunkFacts>,
}

/// A walk, or the work that is one.
pub enum ChunksFound {
    /// The answer.
    Ready(ChunkWalk),
    /// For the blocking pool.
    Offload(ChunkJob),
}

impl ChunksFound {
    /// The walk; blocks if the disk has to be read.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn into_walk(self) -> Result<ChunkWalk, StoreError> {
        match self {
            ChunksFound::Ready(walk) => Ok(walk),
            ChunksFound::Offload(job) => job.run(),
        }
    }
}

/// Everything the blocking pool needs to walk over the chunks of a series.
pub struct ChunkJob {
    store: Database,
    series_id: u64,
    head: Option<ChunkFacts>,
    describe: bool,
}

impl Partition {
    /// Counts the chunks of the series at `member`, and describes them if asked to.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn walk_chunks(&self, member: u32, describe: bool) -> Result<ChunksFound, StoreError> {
        let series = self.series_at(member);
        let head = &series.head;
        let ends = head.timestamps.first().zip(head.timestamps.last());
        let job = ChunkJob {
            store: self.store.clone(),
            series_id: series.id,
            head: ends.map(|(first, last)| ChunkFacts {
                first_timestamp: *first,
                last_timestamp: *last,
                samples: head.len(),
                bytes: head.memory_bytes(),
            }),
            describe,
        };
        if !series.sealed.has_chunks() {
            return Ok(ChunksFound::Ready(job.with_head(ChunkWalk::default())));
        }
        Ok(match job.walk(Reach::Memory, IN_PLACE_CHUNKS_MAX)? {
            Read::Known(walk) => ChunksFound::Ready(job.with_head(walk)),
            Read::Cold => ChunksFound::Offload(job),
        })
    }
}

impl ChunkJob {
    /// Walks over the chunks, from the disk if need be. Blocks.
    ///
    /// # Errors
    /// If a row cannot be read or a chunk is damaged.
    pub fn run(self) -> Result<ChunkWalk, StoreError> {
        match self.walk(Reach::Disk, usize::MAX)? {
            Read::Known(walk) => Ok(self.with_head(walk)),
            Read::Cold => Err(self.error(StoreOperation::Read, "the disk was not reached".to_owned())),
        }
    }

    fn with_head(&self, mut walk: ChunkWalk) -> ChunkWalk {
        if let Some(head) = self.head {
            walk.count += 1;
            if self.describe {
                walk.facts.push(head);
            }
        }
        walk
    }

    fn walk(&self, reach: Reach, chunks_max: usize) -> Result<Read<ChunkWalk>, StoreError> {
        let view = self.store.view(reach);
        let mut walk = ChunkWalk::default();
        for tier in [Tier::Cold, Tier::Hot] {
            let mut rows = view.chunks(tier, self.series_id, i64::MIN, i64::MAX, false);
            loop {
                match rows.current()? {
                    Read::Cold => return Ok(Read::Cold),
                    Read::Known(None) => break,
                    Read::Known(Some((first, bytes))) => {
                        walk.count += 1;
                        if self.describe {
                            walk.facts.push(self.describe(first, bytes)?);
                        }
                    }
                }
                if walk.count > chunks_max {
                    return Ok(Read::Cold);
                }
                rows.advance();
            }
        }
        Ok(Read::Known(walk))
    }

    fn describe(&self, first: i64, bytes: &[u8]) -> Result<ChunkFacts, StoreError> {
        let summary = series::summary(bytes).map_err(|error| {
            let what = format!(
                "damaged chunk ({error}) of series {} at timestamp {first}",
                self.series_id
            );
            self.error(StoreOperation::Decode, what)
        })?;
        Ok(ChunkFacts {
            first_timestamp: summary.first_timestamp,
            last_timestamp: summary.last_timestamp,
            samples: summary.count,
            bytes: bytes.len(),
        })
    }

    fn error(&self, operation: StoreOperation, what: String) -> StoreError {
        StoreError::new(operation, self.store.name(), what)
    }
}
