//! A column in which every value has the same bits.

use crate::series::codec::bits::Reader;
use crate::series::error::ChunkError;

/// The one value of the column, if all have the same bits.
pub fn constant_of(values: &[f64]) -> Option<f64> {
    let first = values.first()?.to_bits();
    for run in values.chunks(64) {
        if run
            .iter()
            .fold(0, |differing, value| differing | (value.to_bits() ^ first))
            != 0
        {
            return None;
        }
    }
    Some(f64::from_bits(first))
}

pub fn encode(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// The value that fills the column.
pub fn decode(reader: &mut Reader<'_>) -> Result<f64, ChunkError> {
    reader.word().map(f64::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_decide() {
        assert_eq!(constant_of(&[]), None);
        assert_eq!(constant_of(&[1.5; 1_000]), Some(1.5));
        assert!(constant_of(&[f64::NAN; 3]).unwrap().is_nan());
        assert_eq!(constant_of(&[0.0, -0.0]), None);
        let mut values = [1.0; 200];
        values[199] = 1.5;
        assert_eq!(constant_of(&values), None);
    }
}
