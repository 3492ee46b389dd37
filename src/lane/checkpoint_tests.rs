//! Tests of checkpoints.

use super::*;
use crate::lane::Committed;
use crate::lane::test_support::test_partition;
use crate::series::{EncodeScratch, Sample};
use crate::store::Reach;

#[test]
fn a_series_without_samples_has_its_row_before_its_record_goes() {
    let mut partition = test_partition();
    let mut scratch = EncodeScratch::default();
    let sample = Sample {
        timestamp: 1,
        value: 1.0,
        quality: 0,
    };
    assert!(partition.add_sample(b"full", 0, sample, 0).is_ok());
    let member = partition.find_series(b"full", 0, 0).ok().flatten().unwrap();
    let full = partition.series_at(member).id;
    let place = partition.place_to_write(b"empty", 0).ok().unwrap();
    let empty = full + 1;
    partition.apply_create_series(place, 0, empty);
    assert!(matches!(
        partition.commit(&mut scratch),
        Committed::Written { .. }
    ));
    let has_row = |partition: &Partition, id| {
        let row = partition.store.series(id, Reach::Disk).unwrap();
        matches!(row, crate::store::Read::Known(Some(_)))
    };
    assert!(!has_row(&partition, full) && !has_row(&partition, empty));
    let mut forced = true;
    loop {
        let step = partition.checkpoint_step(0, std::mem::take(&mut forced));
        if matches!(step, CheckpointStep::Write(_)) {
            break;
        }
        partition.commit(&mut scratch);
    }
    assert!(has_row(&partition, full) && has_row(&partition, empty));
}

/// Beyond the buffers of RocksDB a commit has to wait.
fn commit(partition: &mut Partition) {
    while !matches!(
        partition.commit(&mut EncodeScratch::default()),
        Committed::Written { .. }
    ) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Steps until the rows are handed out, which are then being written.
fn begin_writing(partition: &mut Partition) {
    let mut forced = true;
    while !matches!(
        partition.checkpoint_step(0, std::mem::take(&mut forced)),
        CheckpointStep::Write(_)
    ) {
        partition.commit(&mut EncodeScratch::default());
    }
}

fn end_writing(partition: &mut Partition) {
    partition.checkpoint_written(0, 0);
    commit(partition);
    assert!(!partition.checkpoint().is_running());
}

fn must_wait(partition: &mut Partition, now_ms: i64) -> bool {
    match partition.admit_write(now_ms) {
        Ok(()) => false,
        Err(Stop::Wait(Wait::Checkpoint)) => true,
        Err(_) => panic!("a write was refused"),
    }
}

#[test]
fn writes_wait_for_a_checkpoint_that_does_not_keep_up_and_are_refused_at_last() {
    let mut partition = test_partition();
    begin_writing(&mut partition);
    let value = vec![b'x'; 1 << 20];
    let mut written = 0;
    while !must_wait(&mut partition, 5) {
        assert!(written <= JOURNAL_RUNNING_MIN_BYTES, "memory grows without bound");
        assert!(partition.set_string(b"key", &value, 0, 0).is_ok());
        commit(&mut partition);
        written += value.len();
    }
    assert!(must_wait(&mut partition, 4 + WRITE_WAIT_MAX_MS));
    let refused = partition.admit_write(5 + WRITE_WAIT_MAX_MS);
    assert!(matches!(refused, Err(Stop::Refused(Refusal::Text(text))) if text.starts_with("TRYAGAIN ")));
    end_writing(&mut partition);
    assert!(!must_wait(&mut partition, 6 + WRITE_WAIT_MAX_MS));

    begin_writing(&mut partition);
    partition.dirty_keys = DIRTY_KEYS_RUNNING_MAX - 1;
    assert!(
        !must_wait(&mut partition, 50_000),
        "what was waited for before is over"
    );
    assert!(partition.set_string(b"one more", b"", 0, 0).is_ok());
    assert!(must_wait(&mut partition, 50_000));
    end_writing(&mut partition);
    assert!(!must_wait(&mut partition, 50_001));
}
