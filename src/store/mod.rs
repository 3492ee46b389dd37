//! Persistence: the only module that names RocksDB. One database per (business, partition).
//!
//! It stores bytes under the layout of [`layout`] and knows neither commands nor what a series means.

mod backlog;
mod batch;
mod checkpoint;
mod data_dir;
mod database;
mod error;
pub mod layout;
mod log_check;
mod options;
mod read;

pub use batch::{Batch, CommitError};
pub use checkpoint::{CheckpointRows, StoredKey};
pub use data_dir::{BusinessIdentity, open_business_dir};
pub use database::{Database, JournalRecord};
pub use error::{StoreError, StoreOperation};
pub use log_check::{check_logs, logs_bytes};
pub use options::{
    Compression, DatabaseOptions, FAMILY_WRITE_BUFFER_BYTES, JOURNAL_BUFFER_MULTIPLE, SharedResources,
};
pub use read::{ChunkCursor, NewestChunks, Reach, Read, RowCursor, Tier, View};
