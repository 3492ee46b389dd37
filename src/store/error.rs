//! What can go wrong below: which operation, on which partition, and what RocksDB or the system said.

use std::fmt;

/// The operation that failed; part of the operator's log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOperation {
    /// Opening a database or its directory.
    Open,
    /// Reading a row.
    Read,
    /// Writing a turn's batch.
    Commit,
    /// Forcing the write-ahead log to the disk.
    Sync,
    /// Writing checkpoint rows or flushing them.
    Checkpoint,
    /// Decoding a row that was read.
    Decode,
}

impl fmt::Display for StoreOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreOperation::Open => "open",
            StoreOperation::Read => "read",
            StoreOperation::Commit => "commit",
            StoreOperation::Sync => "fsync",
            StoreOperation::Checkpoint => "checkpoint",
            StoreOperation::Decode => "decode",
        })
    }
}

/// The disk, RocksDB or a stored row failed.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What was being done.
    pub operation: StoreOperation,
    /// `business/partition`.
    pub partition: String,
    /// What was said, without line breaks.
    pub cause: String,
    /// True when the disk has no space left: reads go on, writes resume by themselves.
    pub out_of_space: bool,
    /// True when RocksDB found damaged data.
    pub damaged: bool,
}

impl StoreError {
    /// Builds the error from anything that can be printed.
    pub fn new(operation: StoreOperation, partition: &str, cause: impl fmt::Display) -> StoreError {
        let cause = cause.to_string().replace(['\r', '\n'], " ");
        let out_of_space = cause.contains("No space left") || cause.contains("Space limit");
        StoreError {
            operation,
            partition: partition.to_string(),
            damaged: cause.starts_with("Corruption"),
            cause,
            out_of_space,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} failed: {}",
            self.operation, self.partition, self.cause
        )
    }
}

impl std::error::Error for StoreError {}
