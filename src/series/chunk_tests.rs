//! Chunks as a whole: any samples come back, any damage is named, nothing panics.

use crate::series::chunk::{
    CHECKSUM_BYTES, CHUNK_SAMPLES_MAX, EncodeScratch, VERSION, decode, decode_timestamps, encode,
    encode_cold, summary,
};
use crate::series::columns::Columns;
use crate::series::error::ChunkError;
use crate::series::sample::Sample;
use crate::series::summary::{ChunkSummary, ValueSummary};
use proptest::prelude::*;

fn encoded(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    encode(columns, 0..columns.len(), &mut EncodeScratch::default(), &mut out);
    out
}

fn round_trip(columns: &Columns) {
    let mut cold = vec![0xAA; 3];
    encode_cold(columns, 0..columns.len(), &mut cold);
    for chunk in [&encoded(columns)[..], &cold[3..]] {
        check_chunk(columns, chunk);
    }
}

fn check_chunk(columns: &Columns, chunk: &[u8]) {
    let before = Sample {
        timestamp: i64::MIN,
        value: -0.0,
        quality: 3,
    };
    let mut decoded: Columns = [before].into_iter().collect();
    decode(chunk, &mut decoded).unwrap();
    assert_eq!(decoded.len(), 1 + columns.len());
    assert_eq!(decoded.get(0), before);
    assert!(decoded.iter().skip(1).eq(columns.iter()));
    let mut timestamps = Vec::new();
    decode_timestamps(chunk, &mut timestamps).unwrap();
    assert_eq!(&timestamps[..], &decoded.timestamps[1..]);
    check_summary(columns, &summary(chunk).unwrap());
}

fn check_summary(columns: &Columns, summary: &ChunkSummary) {
    let same = |left: f64, right: f64| left == right || (left.is_nan() && right.is_nan());
    let expected = ValueSummary::of(&columns.values);
    let got = &summary.values;
    assert_eq!(summary.count, columns.len());
    assert_eq!(Some(&summary.first_timestamp), columns.timestamps.first());
    assert_eq!(Some(&summary.last_timestamp), columns.timestamps.last());
    assert_eq!(got.counted, expected.counted);
    assert!(
        same(got.min, expected.min) && same(got.max, expected.max),
        "{got:?} {expected:?}"
    );
    assert!(same(got.first, expected.first) && same(got.last, expected.last));
    let scale: f64 = columns.values.iter().map(|value| value.abs()).sum();
    assert!(
        same(got.sum, expected.sum) || !scale.is_finite() || (got.sum - expected.sum).abs() <= scale * 1e-15,
        "{got:?} {expected:?}"
    );
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-9_999i32..9_999).prop_map(|cents| f64::from(cents) / 100.0),
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::NAN, f64::from_bits(0xFFF0_0000_0000_0001), f64::INFINITY, f64::NEG_INFINITY,
            5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN,
        ]),
    ]
}

prop_compose! {
    fn any_columns()(
        timestamps in prop_oneof![
            prop::collection::btree_set(any::<i64>(), 1..400),
            (any::<i64>(), 1i64..5_000, 1usize..400).prop_map(|(start, step, count)| {
                (0..count as i64).filter_map(|index| start.checked_add(index * step)).collect()
            }),
            prop::collection::btree_set(-400i64..400, 1..400),
        ],
        values in prop_oneof![
            prop::collection::vec(any_value(), 400),
            prop::collection::vec((0i32..500).prop_map(|tenths| f64::from(tenths) / 10.0), 400),
            prop::collection::vec(any::<f64>(), 400),
            prop::collection::vec(1.0f64..2.0, 400),
        ],
        qualities in prop_oneof![
            Just(vec![0; 400]), prop::collection::vec(0u8..2, 400), prop::collection::vec(any::<u8>(), 400),
        ],
    ) -> Columns {
        let rows = timestamps.into_iter().zip(values).zip(qualities);
        rows.map(|((timestamp, value), quality)| Sample { timestamp, value, quality })
            .filter(|sample| sample.timestamp > i64::MIN)
            .collect()
    }
}

/// Replaces the checksum by the right one.
fn fix_checksum(chunk: &mut [u8]) {
    if let Some((contents, checksum)) = chunk.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        *checksum = crc32c::crc32c(contents).to_le_bytes();
    }
}

fn decode_hostile(chunk: &[u8]) {
    let before: Columns = [Sample::new(i64::MIN, 1.0)].into_iter().collect();
    let mut columns = before.clone();
    match decode(chunk, &mut columns) {
        Ok(()) => assert!(columns.len() <= 1 + CHUNK_SAMPLES_MAX),
        Err(_) => assert_eq!(columns, before),
    }
    let _ = summary(chunk);
}

#[test]
fn one_two_and_the_most_samples() {
    let longest: Columns = (0..CHUNK_SAMPLES_MAX as i64)
        .map(|index| Sample::new(index * index, (index % 91) as f64))
        .collect();
    round_trip(&longest);
    for timestamps in [&[i64::MAX][..], &[i64::MIN + 1, i64::MAX], &[-1, 0, i64::MAX]] {
        for value in [0.0, -0.0, f64::NAN, 1.25, f64::NEG_INFINITY] {
            round_trip(
                &timestamps
                    .iter()
                    .map(|&timestamp| Sample::new(timestamp, value))
                    .collect(),
            );
        }
    }
    let ends: Columns = [i64::MIN, i64::MAX]
        .map(|timestamp| Sample::new(timestamp, 1.0))
        .into_iter()
        .collect();
    let mut decoded = Columns::default();
    decode(&encoded(&ends), &mut decoded).unwrap();
    assert_eq!(decoded, ends);
}

#[test]
fn a_part_of_the_columns_is_encoded() {
    let columns: Columns = (0..100)
        .map(|index| Sample {
            timestamp: index,
            value: 0.5,
            quality: u8::from(index == 3),
        })
        .collect();
    let (mut out, mut scratch) = (Vec::new(), EncodeScratch::default());
    encode(&columns, 10..20, &mut scratch, &mut out);
    let mut decoded = Columns::default();
    decode(&out, &mut decoded).unwrap();
    assert!(decoded.iter().eq((10..20).map(|index| columns.get(index))));
    assert!(decoded.qualities.stored(0..10).is_none());
}

#[test]
fn other_versions_and_short_chunks_are_named() {
    let mut chunk = encoded(&[Sample::new(1, 2.0)].into_iter().collect());
    assert_eq!(summary(&[]).unwrap_err(), ChunkError::Truncated);
    assert_eq!(summary(&chunk[..3]).unwrap_err(), ChunkError::Truncated);
    assert!(matches!(
        summary(&chunk[..chunk.len() - 1]),
        Err(ChunkError::Checksum { .. })
    ));
    chunk[0] = 2;
    assert_eq!(summary(&chunk).unwrap_err(), ChunkError::Version { got: 2 });
}

proptest! {
    #[test]
    fn any_samples_round_trip(columns in any_columns()) {
        if !columns.is_empty() {
            round_trip(&columns);
        }
    }

    #[test]
    fn a_changed_byte_is_an_error(columns in any_columns(), place in any::<usize>(), change in 1u8..) {
        if !columns.is_empty() {
            let mut chunk = encoded(&columns);
            let place = place % chunk.len();
            chunk[place] ^= change;
            let mut decoded = Columns::default();
            prop_assert!(decode(&chunk, &mut decoded).is_err());
            prop_assert!(decoded.is_empty());
            prop_assert!(summary(&chunk).is_err());
        }
    }

    #[test]
    fn damage_with_a_right_checksum_does_not_panic(
        columns in any_columns(), cold in any::<bool>(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..4), cut in any::<usize>(),
    ) {
        if !columns.is_empty() {
            let mut chunk = Vec::new();
            if cold {
                encode_cold(&columns, 0..columns.len(), &mut chunk);
            } else {
                chunk = encoded(&columns);
            }
            for (place, change) in changes {
                let len = chunk.len();
                chunk[place % len] ^= change;
            }
            if cut % 4 == 0 {
                chunk.truncate(cut / 4 % chunk.len());
            }
            fix_checksum(&mut chunk);
            decode_hostile(&chunk);
        }
    }

    #[test]
    fn hostile_bytes_do_not_panic(
        codecs in any::<u8>(), flags in 0u8..4, bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut chunk = vec![VERSION | flags << 4, codecs];
        chunk.extend(bytes);
        chunk.extend([0; CHECKSUM_BYTES]);
        fix_checksum(&mut chunk);
        decode_hostile(&chunk);
    }
}
