//! Finds damage in RocksDB's write-ahead logs that recovery would take for their end.
//!
//! A log ends where the process was killed, often inside a record that nobody was told about: recovery stops there,
//! and nothing is lost. It would also stop at a flipped byte, and lose all that follows without a word. So before a
//! database is opened, its logs are read: a record that cannot be right is an unfinished end only if it is cut off by
//! the end of the file, or by sectors that a power failure left unwritten, and nothing good comes after it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::{StoreError, StoreOperation};

/// Records never cross a block; its last bytes are zeros where no header fits.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum (4 bytes), length (2 bytes, both little-endian), type; what follows the length is checked.
const HEADER_BYTES: usize = 7;
/// Types 5 to 8, 11 and 131 carry four more bytes, the log's number.
const HEADER_RECYCLED_BYTES: usize = 11;
const SECTOR_BYTES: usize = 512;

/// Reads all logs in the directory of a database. Blocks.
///
/// # Errors
/// If a log is damaged: which, and where; or if it cannot be read.
pub fn check_logs(directory: &Path, name: &str) -> Result<(), StoreError> {
    let error = |cause: String| StoreError::new(StoreOperation::Open, name, cause);
    let logs = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(error(format!("{}: {e}", directory.display()))),
    };
    for entry in logs {
        let path = entry.map_err(|e| error(e.to_string()))?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let damage = File::open(&path).and_then(|mut log| first_damage(&mut log));
        match damage {
            Ok(None) => {}
            Ok(Some(offset)) => {
                return Err(error(format!(
                    "the log {} is damaged at byte {offset}, and this is not its unfinished end: restore the file \
                     from a backup, or start once with --set storage.cut_damaged_log=true, which loses what was \
                     written after that point",
                    path.display()
                )));
            }
            Err(e) => return Err(error(format!("{}: {e}", path.display()))),
        }
    }
    Ok(())
}

/// Bytes of all logs in the directory of a database, as far as they can be told. Blocks.
pub fn logs_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            Path::new(&entry.file_name())
                .extension()
                .is_some_and(|e| e == "log")
        })
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

/// Offset of the first record that is neither right nor the unfinished end.
fn first_damage(log: &mut impl Read) -> io::Result<Option<u64>> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut block_offset = 0;
    let mut suspect: Option<u64> = None;
    loop {
        block.clear();
        log.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        let mut place = 0;
        while let Some(rest) = block.get(place..).filter(|rest| rest.len() >= HEADER_BYTES) {
            if suspect.is_some() {
                if record_bytes(rest).is_some() {
                    return Ok(suspect);
                }
                place += 1;
                continue;
            }
            match record_bytes(rest) {
                Some(bytes) => place += bytes,
                // Never written: the file was made longer than what reached it.
                None if rest.iter().all(|byte| *byte == 0) => break,
                None => {
                    let offset = block_offset + place as u64;
                    if is_complete(rest, place) {
                        return Ok(Some(offset));
                    }
                    suspect = Some(offset);
                    place += 1;
                }
            }
        }
        block_offset += block.len() as u64;
    }
}

fn header_bytes(kind: u8) -> usize {
    match kind {
        5..=8 | 11 | 131 => HEADER_RECYCLED_BYTES,
        _ => HEADER_BYTES,
    }
}

fn length_bytes(record: &[u8]) -> Option<usize> {
    let low = *record.get(4)?;
    let high = *record.get(5)?;
    Some(header_bytes(*record.get(6)?) + usize::from(u16::from_le_bytes([low, high])))
}

/// Bytes of the record at the start of `rest`, if it is right.
fn record_bytes(rest: &[u8]) -> Option<usize> {
    let bytes = length_bytes(rest)?;
    let kind = *rest.get(6)?;
    // Zeros are a record of type 0 to whom a checksum of zero does not belong.
    let checked = rest.get(6..bytes)?;
    (kind != 0 && masked(crc32c::crc32c(checked)) == stored_checksum(rest)?).then_some(bytes)
}

fn stored_checksum(record: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*record.first_chunk::<4>()?))
}

/// As RocksDB stores checksums, so that the checksum of data with checksums in it stays a good one.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// True if the wrong record at `place` of its block was once written as a whole.
fn is_complete(rest: &[u8], place: usize) -> bool {
    let Some(bytes) = length_bytes(rest) else {
        return false;
    };
    if let Some(record) = rest.get(..bytes) {
        let first_sector = place.next_multiple_of(SECTOR_BYTES) - place;
        let sectors = record
            .get(first_sector..)
            .unwrap_or(&[])
            .chunks_exact(SECTOR_BYTES);
        return !sectors
            .into_iter()
            .any(|sector| sector.iter().all(|byte| *byte == 0));
    }
    // Cut off by the end of the block: unless it is only the length or the type that is wrong.
    let (Some(stored), Some((kind, payload))) =
        (stored_checksum(rest), rest.get(6..).and_then(<[u8]>::split_first))
    else {
        return false;
    };
    [*kind, 1, 2, 3, 4].iter().any(|kind| {
        let mut checksum = crc32c::crc32c(&[*kind]);
        payload.iter().any(|byte| {
            checksum = crc32c::crc32c_append(checksum, std::slice::from_ref(byte));
            masked(checksum) == stored
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut checked = vec![kind];
        checked.extend_from_slice(payload);
        let mut record = masked(crc32c::crc32c(&checked)).to_le_bytes().to_vec();
        record.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        record.extend_from_slice(&checked);
        record
    }

    /// Records of `len` bytes and more, over several blocks.
    fn log(count: usize, len: usize) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 0..count {
            let payload: Vec<u8> = (0..len + number).map(|i| (i * 7 + number) as u8 | 1).collect();
            let left = BLOCK_BYTES - bytes.len() % BLOCK_BYTES;
            if left < HEADER_BYTES + payload.len() {
                // The real writer would split the record; an empty rest is as good here.
                let filler = vec![9; left.saturating_sub(HEADER_BYTES)];
                if left >= HEADER_BYTES {
                    bytes.extend(record(1, &filler));
                }
                bytes.resize(bytes.len().next_multiple_of(BLOCK_BYTES), 0);
            }
            starts.push(bytes.len());
            bytes.extend(record(1, &payload));
        }
        (bytes, starts)
    }

    fn damage(bytes: &[u8]) -> Option<u64> {
        first_damage(&mut &bytes[..]).unwrap()
    }

    #[test]
    fn every_cut_is_an_unfinished_end() {
        let (bytes, _) = log(60, 1_000);
        for len in (0..bytes.len()).step_by(37) {
            assert_eq!(damage(&bytes[..len]), None, "cut at {len}");
        }
        let mut preallocated = bytes[..40_123].to_vec();
        preallocated.resize(200_000, 0);
        assert_eq!(damage(&preallocated), None);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (bytes, starts) = log(45, 800);
        let mut random = fastrand::Rng::with_seed(5);
        let last = *starts.last().unwrap();
        // Everywhere, and above all in the headers of the first and of the last record.
        let near = (0..HEADER_BYTES * 8).flat_map(|bit| [(bit / 8, bit % 8), (last + bit / 8, bit % 8)]);
        let anywhere: Vec<_> = (0..2_000)
            .map(|_| (random.usize(..bytes.len()), random.usize(..8)))
            .collect();
        for (place, bit) in near.chain(anywhere) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << bit;
            let start = starts.iter().rposition(|start| *start <= place).unwrap();
            let found = damage(&flipped);
            // Bytes between the records of two blocks are not read by anybody.
            let Some(found) = found else {
                assert!(
                    place % BLOCK_BYTES > BLOCK_BYTES - HEADER_BYTES,
                    "bit {bit} of byte {place}"
                );
                continue;
            };
            assert!(
                found as usize >= starts[start] && found as usize <= place,
                "byte {place}: {found}"
            );
        }
    }

    #[test]
    fn sectors_that_were_never_written_are_an_unfinished_end() {
        let (mut bytes, starts) = log(10, 3_000);
        let last = *starts.last().unwrap();
        let hole = (last + 600).next_multiple_of(SECTOR_BYTES);
        bytes[hole..hole + SECTOR_BYTES].fill(0);
        assert_eq!(damage(&bytes), None);
        bytes.extend(record(1, b"more"));
        assert_eq!(damage(&bytes), Some(last as u64));
    }
}
