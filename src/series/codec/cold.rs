//! Columns of the cold tier, compressed with pco: slower, and smaller from a few thousand samples on.

use crate::series::chunk::CHUNK_SAMPLES_MAX;
use crate::series::error::ChunkError;
use pco::data_types::Number;
use pco::errors::PcoResult;
use pco::metadata::{ChunkMeta, DeltaEncoding};
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, ModeSpec, PagingSpec};

const CORRUPT: ChunkError = ChunkError::Corrupt("pco column");

/// The compressed column; None if pco refuses it.
pub fn encode<T: Number>(column: &[T]) -> Option<Vec<u8>> {
    compress(column, ModeSpec::Auto).ok()
}

fn compress<T: Number>(column: &[T], mode: ModeSpec) -> PcoResult<Vec<u8>> {
    let paging = PagingSpec::Exact(vec![column.len()]);
    let config = ChunkConfig::default()
        .with_mode_spec(mode)
        .with_paging_spec(paging);
    let file = FileCompressor::default();
    let out = file.write_header(Vec::new())?;
    let mut chunk = file.chunk_compressor(column, &config)?;
    let out = chunk.write_meta(out)?;
    chunk.write_page(0, out)
}

/// Appends exactly `count` numbers to `out`.
pub fn decode<T: Number + Default>(bytes: &[u8], count: usize, out: &mut Vec<T>) -> Result<(), ChunkError> {
    let start = out.len();
    out.resize(start + count, T::default());
    decompress(bytes, &mut out[start..]).unwrap_or(Err(CORRUPT))
}

fn decompress<T: Number>(bytes: &[u8], out: &mut [T]) -> PcoResult<Result<(), ChunkError>> {
    let (file, rest) = FileDecompressor::new(bytes)?;
    if !dictionary_is_bounded(rest) {
        return Ok(Err(CORRUPT));
    }
    let (mut chunk, rest) = file.chunk_decompressor::<T, _>(rest)?;
    if !window_is_bounded(chunk.meta()) {
        return Ok(Err(CORRUPT));
    }
    let mut page = chunk.page_decompressor(rest, out.len())?;
    let progress = page.read(out)?;
    let whole = progress.n_processed == out.len() && progress.finished && page.into_src().is_empty();
    Ok(if whole { Ok(()) } else { Err(CORRUPT) })
}

/// pco allocates the dictionary that a column claims, up to 2^25 numbers, before it reads one; none of ours
/// has more numbers than a chunk. In its format a chunk begins with four bits of mode, and in mode 4 the
/// dictionary's length follows in 25 bits (pco 1.1, `metadata/mode.rs`).
fn dictionary_is_bounded(chunk: &[u8]) -> bool {
    const MODE_MASK: u32 = 0xF;
    const MODE_DICTIONARY: u32 = 4;
    const LENGTH_MASK: u32 = (1 << 25) - 1;
    let Some(head) = chunk.first_chunk::<4>() else {
        return true;
    };
    let head = u32::from_le_bytes(*head);
    head & MODE_MASK != MODE_DICTIONARY || (head >> 4 & LENGTH_MASK) as usize <= CHUNK_SAMPLES_MAX
}

/// pco allocates the look-back window that the column claims, up to 2^31 numbers; ours never exceeds a chunk.
fn window_is_bounded(meta: &ChunkMeta) -> bool {
    match &meta.delta_encoding {
        DeltaEncoding::Lookback { config, .. } => config.window_n_log <= CHUNK_SAMPLES_MAX.ilog2(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_must_agree() {
        let column: Vec<i64> = (0..4_096).map(|index| index * 7_919 % 1_009).collect();
        let bytes = encode(&column).unwrap();
        assert_eq!(decode::<i64>(&bytes, 4_000, &mut Vec::new()), Err(CORRUPT));
        assert_eq!(decode::<i64>(&bytes, 4_200, &mut Vec::new()), Err(CORRUPT));
        assert_eq!(
            decode::<i64>(&bytes[..bytes.len() - 1], 4_096, &mut Vec::new()),
            Err(CORRUPT)
        );
        let mut decoded = vec![1i64];
        decode(&bytes, 4_096, &mut decoded).unwrap();
        assert_eq!((decoded[0], &decoded[1..]), (1, &column[..]));
    }

    #[test]
    fn long_dictionaries_are_refused_and_short_ones_read() {
        let column: Vec<f64> = (0..4_096u32)
            .map(|index| f64::from(index * 7_919 % 97).sqrt())
            .collect();
        let mut bytes = compress(&column, ModeSpec::TryDict).unwrap();
        const HEADER_BYTES: usize = 2;
        assert_eq!(bytes[HEADER_BYTES] & 0xF, 4, "the mode is where we look for it");
        let mut decoded: Vec<f64> = Vec::new();
        decode(&bytes, column.len(), &mut decoded).unwrap();
        assert_eq!(decoded, column);
        bytes[HEADER_BYTES + 3] |= 0x10;
        assert_eq!(decode(&bytes, column.len(), &mut decoded), Err(CORRUPT));
    }

    #[test]
    fn repetitions_far_apart_round_trip() {
        let column: Vec<i64> = (0..CHUNK_SAMPLES_MAX as i64)
            .map(|index| (index % 9_000).pow(3) ^ 0x5DEE_CE66)
            .collect();
        let mut decoded: Vec<i64> = Vec::new();
        decode(&encode(&column).unwrap(), column.len(), &mut decoded).unwrap();
        assert_eq!(decoded, column);
    }
}
