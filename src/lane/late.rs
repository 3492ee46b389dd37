//! What the `late` family holds of a series: runs of late samples, one per seal, and deletions between them.
//!
//! Rows are ordered by their number, which grows with the journal: a row counts more than all before it. A run is a
//! chunk that may overlap all others; a row of deletions hides what the runs before it hold in its ranges.

use crate::series::{self, CHUNK_SAMPLES_MAX, Columns, EncodeScratch, Sample};
use crate::store::Batch;

use super::deletions::{self, TimeRange};
use super::series_state::{SealedState, Series};

/// First byte of a row of deletions; that of a chunk names its version, which is never 0.
const DELETIONS_TAG: u8 = 0;
/// Low bits of a number: which row of what one seal wrote.
const PIECE_BITS: u32 = 8;
const RANGE_BYTES: usize = 16;

/// Number of the first row that a seal with this record may write; a record seals a series once.
fn first_number(sequence: u64) -> i64 {
    (sequence << PIECE_BITS) as i64
}

/// Adds the deletions of a series as a row that comes before the samples of the same seal.
pub fn write_deletions(series: &Series, sequence: u64, batch: &mut Batch) {
    let mut row = vec![DELETIONS_TAG];
    for (from, to) in series.unsealed_deletions().iter() {
        row.extend_from_slice(&from.to_le_bytes());
        row.extend_from_slice(&to.to_le_bytes());
    }
    batch.put_late_run(series.id, first_number(sequence), &row);
}

/// Memory for sorting and encoding the late samples of one series after the other.
#[derive(Default)]
pub struct LateScratch {
    arrived: Vec<Sample>,
    sorted: Columns,
    run: Vec<u8>,
}

/// Adds the late samples of a series: as one run, unless they are very many.
pub fn write_samples(
    series: &Series,
    sealed: &mut SealedState,
    batch: &mut Batch,
    encode_scratch: &mut EncodeScratch,
    scratch: &mut LateScratch,
) {
    let LateScratch {
        arrived,
        sorted: late,
        run,
    } = scratch;
    arrived.clear();
    arrived.extend_from_slice(&series.late);
    series::sort_into(arrived, late);
    let number = first_number(sealed.sequence) + 1;
    for (piece, start) in (0..).zip((0..late.len()).step_by(CHUNK_SAMPLES_MAX)) {
        run.clear();
        let end = late.len().min(start + CHUNK_SAMPLES_MAX);
        series::encode(late, start..end, encode_scratch, run);
        batch.put_late_run(series.id, number + piece, run);
    }
    sealed.first_timestamp = sealed.first_timestamp.min(late.get(0).timestamp);
    sealed.late_samples += late.len() as u64;
}

/// True for a row of deletions.
pub fn is_deletions(row: &[u8]) -> bool {
    row.first() == Some(&DELETIONS_TAG)
}

/// Rows put together, in the order of their numbers.
#[derive(Default)]
pub struct LateSamples {
    samples: Vec<Sample>,
    decoded: Columns,
    /// Samples in the rows so far, hidden and replaced ones counted too.
    pub counted: u64,
}

impl LateSamples {
    /// Adds what the next row holds within `from..=to`.
    ///
    /// # Errors
    /// How it is damaged.
    pub fn add(&mut self, row: &[u8], from: i64, to: i64) -> Result<(), String> {
        if is_deletions(row) {
            let ranges = decode_deletions(row).ok_or("deletions of another length")?;
            self.samples
                .retain(|sample| deletions::covering(&ranges, sample.timestamp).is_none());
            return Ok(());
        }
        self.decoded.clear();
        series::decode(row, &mut self.decoded).map_err(|error| error.to_string())?;
        self.counted += self.decoded.len() as u64;
        let within = self.decoded.range(from, to);
        self.samples.extend(within.map(|index| self.decoded.get(index)));
        Ok(())
    }

    /// Keeps what `is_wanted`.
    pub fn retain(&mut self, is_wanted: impl Fn(i64) -> bool) {
        self.samples.retain(|sample| is_wanted(sample.timestamp));
    }

    /// One sample per timestamp, the newest arrival.
    pub fn finish(self) -> Columns {
        series::sorted(self.samples)
    }
}

fn decode_deletions(row: &[u8]) -> Option<Vec<TimeRange>> {
    let (ranges, rest) = row.get(1..)?.as_chunks::<RANGE_BYTES>();
    let decode = |range: &[u8; RANGE_BYTES]| {
        let (from, to) = range.split_first_chunk::<8>()?;
        Some((i64::from_le_bytes(*from), i64::from_le_bytes(to.try_into().ok()?)))
    };
    rest.is_empty().then(|| ranges.iter().map_while(decode).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(samples: &[(i64, f64)]) -> Vec<u8> {
        let samples = samples
            .iter()
            .map(|(timestamp, value)| Sample::new(*timestamp, *value));
        let columns = series::sorted(samples.collect());
        let mut out = Vec::new();
        series::encode(
            &columns,
            0..columns.len(),
            &mut EncodeScratch::default(),
            &mut out,
        );
        out
    }

    #[test]
    fn later_rows_count_more() {
        let mut deleted = vec![DELETIONS_TAG];
        deleted.extend_from_slice(&2_i64.to_le_bytes());
        deleted.extend_from_slice(&3_i64.to_le_bytes());
        let rows = [
            run(&[(1, 1.0), (2, 1.0), (3, 1.0)]),
            deleted,
            run(&[(3, 2.0), (1, 3.0), (9, 4.0)]),
        ];
        let mut late = LateSamples::default();
        for row in &rows {
            late.add(row, 0, 8).unwrap();
        }
        assert_eq!(late.counted, 6);
        let found = late.finish();
        assert_eq!(found.timestamps, [1, 3]);
        assert_eq!(found.values, [3.0, 2.0]);
    }

    #[test]
    fn damaged_rows_are_refused() {
        let mut late = LateSamples::default();
        assert!(late.add(&[DELETIONS_TAG, 1, 2], 0, 8).is_err());
        assert!(late.add(&[], 0, 8).is_err());
        let mut flipped = run(&[(1, 1.0)]);
        flipped[2] ^= 4;
        assert!(late.add(&flipped, 0, 8).is_err());
    }
}
