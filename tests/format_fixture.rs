//! A data directory that an earlier version wrote: every later one opens it and finds the same in it.
//!
//! `tests/fixtures/format2` is never written again. After the layout has grown, a further fixture is made beside it:
//! `TICKLANE_MAKE_FIXTURE=tests/fixtures/NAME cargo test --release --test format_fixture`, once, and then listed below.

mod support;

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ticklane::config::TimeUnit;
use ticklane::lane::journal::PartitionName;
use ticklane::lane::{
    CheckpointStep, Committed, OpenedPartition, Partition, PartitionSettings, RangeQuery, RangeRead,
    SeriesSweep,
};
use ticklane::series::{EncodeScratch, Sample};
use ticklane::store::{
    BusinessIdentity, Compression, Database, DatabaseOptions, SharedResources, layout, open_business_dir,
};

const FIXTURES: [&str; 1] = ["format2"];
const BUSINESS: &str = "fixture";
/// When the fixture is written and read, in unix milliseconds.
const NOW_MS: i64 = 1_800_000_000_000;
const DEADLINE_MS: i64 = NOW_MS + 1_000_000_000;
const TEXTS: [&str; 6] = ["text", "empty", "patched", "deadline", "gone", "journal"];
const SERIES: [&str; 7] = ["ticks", "sensor", "noise", "special", "late", "renamed", "fresh"];
const DATA_TYPES: u8 = 2;

fn open(directory: &Path) -> Partition {
    let identity = BusinessIdentity {
        format: layout::FORMAT_VERSION,
        name: BUSINESS.into(),
        partitions: 1,
        replication_id: "0".repeat(40),
    };
    let found = open_business_dir(directory, &identity, true).expect("an identity");
    assert_eq!(found, identity);
    let shared = SharedResources::new(8 << 20, 8 << 20, 2).expect("shared resources");
    let options = DatabaseOptions {
        compression: Compression::Lz4,
        checkpoint_journal_bytes: 1 << 20,
        cold_path: None,
        max_open_files: 64,
        wal_bytes_per_sync: 0,
        background_jobs: 2,
        compaction: true,
    };
    let path = BusinessIdentity::partition_dir(directory, 0);
    let store = Database::open(&path, "fixture/0", &options, &shared).expect("a database");
    let settings = PartitionSettings {
        time_unit: TimeUnit::Milliseconds,
        retention: 0,
        // All of 1970's samples are cold, those of 2027 are not.
        hot_age: Some(NOW_MS / 2),
        cold_chunk_samples: 256,
        head_samples_max: 64,
        head_idle_ms: 1_000,
        checkpoint_journal_bytes: 1 << 20,
        checkpoint_interval_ms: 1_000_000,
        value_len_max_bytes: 4096,
        series_defaults: Arc::default(),
        event_classes: Arc::default(),
        rules_seen: Arc::default(),
    };
    let opened = OpenedPartition::new(store, PartitionName::new(BUSINESS, 0)).expect("a partition");
    let evidence = opened.evidence().expect("a journal");
    let replayed = opened.replay(Arc::new(settings), &evidence, &HashSet::new());
    replayed.expect("a replay")
}

/// Everything in the partition, one line a value.
fn dump(partition: &mut Partition) -> String {
    let mut out = format!("{} keys\n", partition.key_count());
    for key in TEXTS.iter().chain(&SERIES) {
        load(partition, key);
        let found = partition.find(key.as_bytes(), NOW_MS).ok().expect("a warm key");
        let Some(place) = found else {
            writeln!(out, "{key} does not exist").unwrap();
            continue;
        };
        writeln!(out, "{key} deadline {}", partition.entry(place).expire_at_ms).unwrap();
        if let Ok(Some(text)) = partition.string(key.as_bytes(), NOW_MS) {
            writeln!(out, "{key} {:?}", String::from_utf8_lossy(text)).unwrap();
            continue;
        }
        for data_type in 0..DATA_TYPES {
            let member = partition.find_series(key.as_bytes(), data_type, NOW_MS);
            if let Some(member) = member.ok().expect("a warm key") {
                dump_series(partition, key, data_type, member, &mut out);
            }
        }
    }
    out
}

fn dump_series(partition: &Partition, key: &str, data_type: u8, member: u32, out: &mut String) {
    let query = RangeQuery {
        from: i64::MIN,
        to: i64::MAX,
        limit: usize::MAX,
        reverse: false,
    };
    let samples = match partition.read_range(member, query).expect("a read") {
        RangeRead::Ready(columns) => columns,
        RangeRead::Offload(job) => job.run().expect("a read"),
    };
    for sample in samples.iter() {
        let bits = sample.value.to_bits();
        writeln!(
            out,
            "{key} {data_type} {} {bits:016x} {}",
            sample.timestamp, sample.quality
        )
        .unwrap();
    }
}

fn load(partition: &mut Partition, key: &str) {
    let epoch = partition.completed_epoch();
    let loaded = Partition::load_from_disk(partition.database(), key.as_bytes()).expect("a key");
    partition.finish_load(key.as_bytes(), loaded, epoch);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn fixtures_are_read_as_they_were_written() {
    for name in FIXTURES {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join(name);
        copy(&fixture(name), &directory);
        let expected = std::fs::read_to_string(directory.join("expected.txt")).unwrap();
        for opening in ["first", "second"] {
            let mut partition = open(&directory);
            let found = dump(&mut partition);
            let differs = found
                .lines()
                .zip(expected.lines())
                .find(|(left, right)| left != right);
            assert!(found == expected, "{name}, {opening} opening: {differs:?}");
            let totals = partition.tier_totals();
            assert!(
                totals.cold_samples > 0 && totals.hot_samples > 0,
                "{name}: {totals:?}"
            );
            // What was read can be written on: the second opening finds the same in this version's own files.
            seal(&mut partition, &mut EncodeScratch::default());
        }
    }
}

fn commit(partition: &mut Partition, scratch: &mut EncodeScratch) {
    assert!(matches!(partition.commit(scratch), Committed::Written { .. }));
}

/// Seals all heads and moves the low-water mark.
fn seal(partition: &mut Partition, scratch: &mut EncodeScratch) {
    commit(partition, scratch);
    partition.sweep_series(&mut SeriesSweep::default(), NOW_MS + 100_000, true);
    commit(partition, scratch);
    let mut forced = true;
    loop {
        match partition.checkpoint_step(NOW_MS, forced) {
            CheckpointStep::Rest if !partition.checkpoint().is_running() => break,
            CheckpointStep::Write(rows) => {
                let stored = rows.write(partition.database()).expect("checkpoint rows");
                partition.checkpoint_written(stored, NOW_MS);
                commit(partition, scratch);
                partition.database().flush_journal().expect("a flush");
                break;
            }
            _ => commit(partition, scratch),
        }
        forced = false;
    }
}

fn add(partition: &mut Partition, key: &str, data_type: u8, sample: Sample) {
    let added = partition.add_sample(key.as_bytes(), data_type, sample, NOW_MS);
    assert!(added.is_ok(), "{key}");
}

fn write_series(partition: &mut Partition) {
    let mut random = fastrand::Rng::with_seed(9);
    let (mut cents, mut degrees) = (10_000, 2_150);
    for index in 0..400_i64 {
        cents += random.i64(-3..=3);
        degrees += random.i64(-1..=1);
        let tick = Sample::new(index * 1_000 + random.i64(-50..=50), cents as f64 / 100.0);
        add(partition, "ticks", 0, tick);
        add(
            partition,
            "sensor",
            0,
            Sample::new(NOW_MS + index * 1_000, degrees as f64 / 100.0),
        );
        let noise = Sample::new(NOW_MS + index * 1_000, random.f64() - 0.5);
        add(partition, "noise", 1, noise);
    }
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
        f64::MIN,
        f64::MIN_POSITIVE / 2.0,
        0.1,
    ];
    for (index, value) in (0..).zip(odd.iter().cycle().take(100)) {
        let timestamp = NOW_MS + index * index;
        let sample = Sample {
            timestamp,
            value: *value,
            quality: index as u8,
        };
        add(partition, "special", (index % 2) as u8, sample);
    }
    for index in 0..200 {
        add(
            partition,
            "late",
            0,
            Sample::new(NOW_MS + index * 10, index as f64),
        );
        add(partition, "moved", 0, Sample::new(NOW_MS + index, 7.0));
    }
}

/// Writes the fixture: chunks hot and cold, late samples, keys in `kv`, and a journal that is not written back.
#[test]
fn make() {
    let Some(target) = std::env::var_os("TICKLANE_MAKE_FIXTURE").map(PathBuf::from) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut scratch = EncodeScratch::default();
    let mut partition = open(directory.path());
    for (key, text) in [
        ("text", "stored"),
        ("empty", ""),
        ("patched", "0123456789"),
        ("gone", "x"),
    ] {
        assert!(
            partition
                .set_string(key.as_bytes(), text.as_bytes(), 0, NOW_MS)
                .is_ok()
        );
    }
    assert!(
        partition
            .set_string(b"deadline", b"until then", DEADLINE_MS, NOW_MS)
            .is_ok()
    );
    write_series(&mut partition);
    seal(&mut partition, &mut scratch);
    partition.sweep_series(&mut SeriesSweep::default(), NOW_MS + 10_000_000, false);
    while let Some(job) = partition.start_rewrite(NOW_MS) {
        let id = job.series_id();
        let rewritten = job.run().expect("a rewrite");
        partition.finish_rewrite(id, Some(rewritten), NOW_MS);
        commit(&mut partition, &mut scratch);
    }
    // Late rows that stay: they are sealed, and nobody folds them.
    for index in 0..50 {
        add(
            &mut partition,
            "late",
            0,
            Sample::new(NOW_MS + index * 30 + 5, -1.0),
        );
    }
    seal(&mut partition, &mut scratch);
    // From here on only in the journal.
    assert!(partition.patch_string(b"patched", 4, b"PATCH", NOW_MS).is_ok());
    assert!(partition.set_string(b"journal", b"replayed", 0, NOW_MS).is_ok());
    let place = partition.find(b"gone", NOW_MS).ok().flatten().expect("a key");
    partition.delete(place);
    let place = partition.find(b"text", NOW_MS).ok().flatten().expect("a key");
    partition.set_expiry(place, DEADLINE_MS + 1);
    assert!(partition.rename(b"moved", b"renamed", NOW_MS).is_ok());
    for index in 0..30 {
        let mut sample = Sample::new(NOW_MS + 1_000_000 + index, index as f64);
        sample.quality = (index % 3) as u8;
        add(&mut partition, "fresh", 1, sample);
        add(&mut partition, "late", 0, Sample::new(NOW_MS + index * 70, -2.0));
    }
    commit(&mut partition, &mut scratch);
    // Copied while it is open, as after a kill: the log holds the last record.
    copy(directory.path(), &target);
    std::fs::write(target.join("expected.txt"), dump(&mut partition)).unwrap();
    for entry in std::fs::read_dir(BusinessIdentity::partition_dir(&target, 0)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            std::fs::remove_file(path).unwrap();
        }
    }
}
