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
