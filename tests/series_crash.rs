//! Kills the server (SIGKILL) at random moments while clients create series with labels and rules, rules of rollups too,
//! write, delete, expire, copy and rename them, one by one and in transactions, restarts it and checks what TS.QUERYINDEX, TS.INFO and TS.RANGE say.
//!
//! Every acknowledged command is there, one that was under way is there whole or not at all, both ends of a rule name
//! each other, and every closed bucket is what the source's samples make of it. `TICKLANE_SERIES_CRASH_CYCLES` sets the
//! number of kills.

mod support;

#[path = "series_crash/backfill.rs"]
mod backfill;
#[path = "series_crash/model.rs"]
mod model;
#[path = "series_crash/writer.rs"]
mod writer;

use std::time::Duration;

use fastrand::Rng;
use support::{Program, Server, ServerOptions, seed};
use writer::Writer;

/// Kills when the environment does not say.
const CYCLES_DEFAULT: usize = 12;
const WRITERS: usize = 4;
/// Longest time under load before a kill.
const LOAD_MILLISECONDS_MAX: u64 = 700;
/// Longest time from a start to a kill in the middle of recovery.
const RECOVERY_MILLISECONDS_MAX: u64 = 60;

fn cycles() -> usize {
    let cycles = std::env::var("TICKLANE_SERIES_CRASH_CYCLES").ok();
    cycles
        .and_then(|text| text.parse().ok())
        .unwrap_or(CYCLES_DEFAULT)
}

/// Small heads, journals and memory, so that kills meet seals, checkpoints and evictions under way.
fn small() -> Vec<(String, String)> {
    let sets = [
        ("storage.head_samples_max", "32"),
        ("storage.head_idle", "50 ms"),
        ("storage.checkpoint_journal", "64 KiB"),
        ("storage.checkpoint_interval", "150 ms"),
        ("timeseries.chained_rules", "true"),
    ];
    sets.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
}

fn check(server: &Server, writers: &mut [Writer], context: &str) {
    let mut client = server.client();
    for writer in writers {
        writer.check(&mut client, context);
    }
}

#[test]
fn labels_rules_and_buckets_survive_kills() {
    if Program::from_environment() != Program::Ticklane {
        return;
    }
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a temporary directory");
    // Four lanes first: the directory gets four partitions per business, which later lane counts share out.
    let mut server = Server::start(ServerOptions {
        data_dir: Some(folder.path().to_path_buf()),
        sets: small(),
        ..ServerOptions::with_lanes(4)
    });
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer::new(number, seed ^ (number as u64 + 1)))
        .collect();
    for cycle in 0..cycles() {
        let port = server.port;
        let running: Vec<_> = writers
            .into_iter()
            .map(|mut writer| {
                std::thread::spawn(move || {
                    writer.write_until_killed(port);
                    writer
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random.u64(20..LOAD_MILLISECONDS_MAX)));
        server.kill9();
        writers = running
            .into_iter()
            .map(|writer| writer.join().expect("nothing was refused"))
            .collect();
        if random.usize(..4) == 0 {
            server.start_and_kill(Duration::from_millis(random.u64(..RECOVERY_MILLISECONDS_MAX)));
        }
        server.restart_with_lanes([2, 4][random.usize(..2)]);
        check(&server, &mut writers, &format!("cycle {cycle}, SEED={seed}"));
        if random.usize(..4) == 0 {
            server.client().command(&["FLUSHALL"]);
            writers.iter_mut().for_each(Writer::forget);
            check(
                &server,
                &mut writers,
                &format!("FLUSHALL after cycle {cycle}, SEED={seed}"),
            );
        }
    }
    server.terminate();
    server.restart();
    check(
        &server,
        &mut writers,
        &format!("after a graceful stop, SEED={seed}"),
    );
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    let buckets: u64 = writers.iter().map(|writer| writer.buckets).sum();
    println!("{acknowledged} commands, {buckets} closed buckets compared");
    assert!(
        acknowledged > 500 && buckets > 100,
        "{acknowledged} commands, {buckets} buckets: this run shows nothing"
    );
}

#[test]
fn no_rule_is_there_without_its_backfill() {
    if Program::from_environment() != Program::Ticklane {
        return;
    }
    for lanes in [1, 2] {
        let options = ServerOptions {
            sets: small(),
            ..ServerOptions::with_lanes(lanes)
        };
        backfill::kill(options, cycles() / 2, seed() ^ lanes as u64);
    }
}
