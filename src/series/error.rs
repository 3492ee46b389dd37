//! What can be wrong with the bytes of a chunk.

use std::fmt;

/// Why a chunk was refused. Nothing of a refused chunk is ever returned as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// The bytes end before the chunk does.
    Truncated,
    /// The CRC-32C stored in the chunk is not that of its bytes.
    Checksum { expected: u32, got: u32 },
    /// Written by a format version that this program does not know.
    Version { got: u8 },
    /// The checksum is right but the contents contradict each other; the text says where.
    Corrupt(&'static str),
}

impl fmt::Display for ChunkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChunkError::Truncated => write!(formatter, "chunk is truncated"),
            ChunkError::Checksum { expected, got } => {
                write!(
                    formatter,
                    "chunk checksum mismatch: expected {expected:08x}, got {got:08x}"
                )
            }
            ChunkError::Version { got } => write!(formatter, "unknown chunk format version {got}"),
            ChunkError::Corrupt(what) => write!(formatter, "chunk is corrupt: {what}"),
        }
    }
}

impl std::error::Error for ChunkError {}
