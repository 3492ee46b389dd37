//! Quality bytes: runs of equal bytes, or the bytes themselves where runs do not pay.

use crate::series::codec::bits::{Reader, put_varint};
use crate::series::error::ChunkError;

const KIND_RAW: u8 = 0;
const KIND_RUNS: u8 = 1;

/// Appends the column; the caller stores nothing at all where every quality is the default.
pub fn encode(qualities: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(KIND_RUNS);
    for run in qualities.chunk_by(|left, right| left == right) {
        put_varint(out, run.len() as u64);
        out.push(run[0]);
        if out.len() - start > qualities.len() {
            out.truncate(start);
            out.push(KIND_RAW);
            out.extend_from_slice(qualities);
            return;
        }
    }
}

/// Appends `count` qualities to `out`.
pub fn decode(reader: &mut Reader<'_>, count: usize, out: &mut Vec<u8>) -> Result<(), ChunkError> {
    match reader.byte()? {
        KIND_RAW => out.extend_from_slice(reader.take(count)?),
        KIND_RUNS => {
            let mut missing = count;
            while missing > 0 {
                let run = reader.count(missing)?;
                let quality = reader.byte()?;
                if run == 0 {
                    return Err(ChunkError::Corrupt("empty run of qualities"));
                }
                out.extend(std::iter::repeat_n(quality, run));
                missing -= run;
            }
        }
        _ => return Err(ChunkError::Corrupt("unknown quality encoding")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(qualities: &[u8]) -> usize {
        let mut out = Vec::new();
        encode(qualities, &mut out);
        let mut decoded = Vec::new();
        let mut reader = Reader::new(&out);
        decode(&mut reader, qualities.len(), &mut decoded).unwrap();
        assert_eq!(decoded, qualities);
        assert!(reader.rest().is_empty());
        out.len()
    }

    #[test]
    fn runs_are_short_and_noise_costs_one_byte_more() {
        assert_eq!(round_trip(&[7; 65_536]), 5);
        let alternating: Vec<u8> = (0..512).map(|index| (index % 2) as u8).collect();
        assert_eq!(round_trip(&alternating), 513);
    }

    #[test]
    fn runs_beyond_the_count_are_refused() {
        let refused = decode(&mut Reader::new(&[KIND_RUNS, 5, 1]), 4, &mut Vec::new());
        assert!(matches!(refused, Err(ChunkError::Corrupt(_))));
        let refused = decode(&mut Reader::new(&[KIND_RUNS, 0, 1]), 4, &mut Vec::new());
        assert!(matches!(refused, Err(ChunkError::Corrupt(_))));
    }

    proptest! {
        #[test]
        fn any_qualities_round_trip(qualities in prop::collection::vec(0u8..4, 1..300)) {
            round_trip(&qualities);
        }
    }
}
