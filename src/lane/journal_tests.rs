//! Every operation comes back from the journal as it was written; damage is named.

use super::*;

fn all(record: &[u8]) -> Result<Vec<Operation<'_>>, JournalDamage> {
    let mut reader = JournalReader::new(record);
    std::iter::from_fn(|| reader.next_operation().transpose()).collect()
}

fn example() -> JournalBuffer {
    let mut part = JournalBuffer::default();
    part.sample(9, 100, 0.5, 3);
    let mut buffer = JournalBuffer::default();
    buffer.set(b"k", b"v", 0);
    buffer.set(b"k", b"v", -7);
    buffer.delete(b"k");
    buffer.expire(b"k", i64::MAX);
    buffer.patch(b"k", 300, b"xy");
    buffer.create_series(b"s", 255, 1 << 40);
    buffer.sample(1, i64::MIN, 1.0, 0);
    buffer.sample(1, i64::MAX, f64::NAN, 0);
    buffer.batch_part(7, &[PartitionName::new("a", 1)], &part);
    buffer.sample(1, 5, 2.0, 0);
    buffer.batch_outcome(7, true);
    buffer.rename(b"s", b"t", &[(255, 1 << 40)], 9);
    buffer.drop_series(1 << 40);
    buffer.delete_range(1, i64::MIN, i64::MAX);
    buffer.flush();
    buffer
}

#[test]
fn operations_come_back() {
    let buffer = example();
    let operations = all(buffer.bytes()).unwrap();
    assert_eq!(operations.len(), 17);
    assert_eq!(
        operations[1],
        Operation::Set {
            key: b"k",
            value: b"v",
            expire_at_ms: -7
        }
    );
    assert_eq!(
        operations[4],
        Operation::Patch {
            key: b"k",
            offset: 300,
            bytes: b"xy"
        }
    );
    assert_eq!(
        operations[6],
        Operation::Sample {
            series_id: 1,
            timestamp: i64::MIN,
            value: 1.0,
            quality: 0
        }
    );
    assert!(matches!(
        operations[7],
        Operation::Sample {
            timestamp: i64::MAX,
            ..
        }
    ));
    assert_eq!(
        operations[9],
        Operation::Sample {
            series_id: 9,
            timestamp: 100,
            value: 0.5,
            quality: 3
        }
    );
    assert_eq!(
        operations[11],
        Operation::Sample {
            series_id: 1,
            timestamp: 5,
            value: 2.0,
            quality: 0
        }
    );
    assert_eq!(
        operations[12],
        Operation::BatchOutcome {
            id: 7,
            committed: true
        }
    );
    let members = vec![(255, 1 << 40)];
    assert_eq!(
        operations[13],
        Operation::Rename {
            from: b"s",
            to: b"t",
            members,
            expire_at_ms: 9
        }
    );
    assert_eq!(operations[14], Operation::DropSeries { series_id: 1 << 40 });
    let (series_id, from, to) = (1, i64::MIN, i64::MAX);
    assert_eq!(operations[15], Operation::DeleteRange { series_id, from, to });
}

#[test]
fn a_cut_record_is_damage_or_a_prefix() {
    let buffer = example();
    let whole = all(buffer.bytes()).unwrap().len();
    for cut in 0..buffer.bytes().len() {
        match all(&buffer.bytes()[..cut]) {
            Ok(operations) => assert!(operations.len() < whole),
            Err(damage) => assert!(damage.offset <= cut),
        }
    }
    assert_eq!(all(&[99]).unwrap_err().expected, "a known operation");
}

#[test]
fn samples_of_older_journals_are_read() {
    let mut record = vec![OLD_SAMPLE, 0xac, 0x02, 0xc8, 0x01];
    record.extend_from_slice(&1.5_f64.to_le_bytes());
    record.extend_from_slice(&[OLD_SAMPLE_WITH_QUALITY, 1, 2]);
    record.extend_from_slice(&f64::INFINITY.to_le_bytes());
    record.push(7);
    record.extend_from_slice(&[OLD_DECIMAL_SAMPLE, 1, 1]);
    record.extend_from_slice(&(-25_000_i32).to_le_bytes());
    record.extend_from_slice(&[OLD_DECIMAL_SAMPLE_WITH_QUALITY, 1, 0]);
    record.extend_from_slice(&1_i32.to_le_bytes());
    record.push(9);
    let expected = [
        (300, 100, 1.5, 0),
        (1, 101, f64::INFINITY, 7),
        (1, 100, -2.5, 0),
        (1, 100, 0.0001, 9),
    ];
    let expected = expected.map(|(series_id, timestamp, value, quality)| Operation::Sample {
        series_id,
        timestamp,
        value,
        quality,
    });
    assert_eq!(all(&record).unwrap(), expected);
    for cut in 1..record.len() {
        assert!(all(&record[..cut]).is_ok_and(|read| read.len() < 4) || all(&record[..cut]).is_err());
    }
}

#[test]
fn series_and_distances_take_the_bytes_they_need() {
    let mut buffer = JournalBuffer::default();
    let (mut expected, mut len) = (Vec::new(), 0);
    for (series_id, id_bytes) in [
        (0, 1),
        (0xff, 1),
        (0x100, 2),
        (0xffff, 2),
        (0x1_0000, 4),
        (0xffff_ffff, 4),
        (0x1_0000_0000, 8),
        (u64::MAX, 8),
    ] {
        for distance_bytes in 1..=8_u32 {
            // The largest numbers of so many bytes, of both signs.
            let furthest = i64::MAX >> (64 - 8 * distance_bytes);
            for distance in [furthest, -furthest - 1] {
                let mut sample = JournalBuffer::default();
                sample.sample(series_id, distance, 0.5, 0);
                assert_eq!(sample.bytes().len(), 1 + id_bytes + distance_bytes as usize + 4);
                buffer.sample(series_id, distance, 0.5, 0);
                expected.push((series_id, distance));
                len += 1;
            }
        }
    }
    let read: Vec<(u64, i64)> = all(buffer.bytes())
        .unwrap()
        .iter()
        .map(|operation| match operation {
            Operation::Sample {
                series_id, timestamp, ..
            } => (*series_id, *timestamp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((read.len(), read), (len, expected));
}

/// What a journal of one sample reads as, and its length.
fn of_one_sample(value: f64, quality: u8) -> (u64, usize) {
    let mut buffer = JournalBuffer::default();
    buffer.sample(1, 1, value, quality);
    // Long enough for the quick way of reading, and as the last one of a record.
    for padding in [0, SAMPLE_MAX_BYTES] {
        let mut record = buffer.bytes().to_vec();
        record.resize(record.len() + padding, FLUSH);
        let operations = all(&record).unwrap();
        let Operation::Sample {
            value: read,
            quality: read_quality,
            ..
        } = operations[0]
        else {
            panic!("{operations:?}")
        };
        assert_eq!((read.to_bits(), read_quality), (value.to_bits(), quality));
        assert_eq!(operations.len(), 1 + padding);
    }
    (value.to_bits(), buffer.bytes().len())
}

#[test]
fn decimals_are_half_as_long() {
    for (value, is_decimal) in [
        (0.0, true),
        (100.37, true),
        (-0.0001, true),
        (214_748.364_7, true),
        (-214_748.364_8, true),
        (-0.0, false),
        (214_748.364_8, false),
        (0.000_01, false),
        (1.0 / 3.0, false),
        (f64::from_bits(100.37_f64.to_bits() + 1), false),
        (f64::INFINITY, false),
        (f64::from_bits(0x7ff8_dead_beef_0001), false),
        (f64::MIN_POSITIVE, false),
    ] {
        let value_bytes = if is_decimal { 4 } else { 8 };
        assert_eq!(of_one_sample(value, 0).1, 3 + value_bytes, "{value}");
        assert_eq!(of_one_sample(value, 200).1, 4 + value_bytes, "{value}");
    }
}

proptest::proptest! {
    #[test]
    fn every_value_comes_back_bit_by_bit(bits: u64, cents in -3_000_000_000_i64..3_000_000_000, quality: u8) {
        of_one_sample(f64::from_bits(bits), quality);
        of_one_sample(cents as f64 / 100.0, quality);
        of_one_sample(cents as f64 / 10_000.0, quality);
    }
}
