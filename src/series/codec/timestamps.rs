//! The column of timestamps: one step for regular series, else whichever integer encoding is smallest.

use crate::series::codec::bits::Reader;
use crate::series::codec::cold;
use crate::series::codec::integers::{self, IntegerScratch};
use crate::series::error::ChunkError;

/// Every step is the same; the container holds the step and nothing else is stored.
pub const REGULAR: u8 = 0;
/// [`integers`].
pub const INTEGERS: u8 = 1;
/// [`cold`].
pub const COLD: u8 = 2;

pub use crate::series::codec::integers::regular_step;

/// Appends the column but its first timestamp, and says how.
pub fn encode(timestamps: &[i64], cold: bool, scratch: &mut IntegerScratch, out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    integers::encode(timestamps, scratch, out);
    if cold
        && let Some(packed) = cold::encode(timestamps)
        && packed.len() < out.len() - start
    {
        out.truncate(start);
        out.extend_from_slice(&packed);
        return COLD;
    }
    INTEGERS
}

/// Appends `count` timestamps to `out`; `step` is that of a regular column.
pub fn decode(
    codec: u8,
    bytes: &[u8],
    first: i64,
    step: i64,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), ChunkError> {
    out.reserve(count);
    let mut reader = Reader::new(bytes);
    match codec {
        REGULAR => integers::fill_regular(first, step, count, |run| out.extend_from_slice(run)),
        INTEGERS => integers::decode(&mut reader, first, count, |run| out.extend_from_slice(run))?,
        COLD => return cold::decode(bytes, count, out),
        _ => return Err(ChunkError::Corrupt("unknown timestamp codec")),
    }
    if reader.rest().is_empty() {
        Ok(())
    } else {
        Err(ChunkError::Corrupt("bytes behind the timestamps"))
    }
}
