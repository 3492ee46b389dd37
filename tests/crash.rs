//! Kills the server (SIGKILL) under load at random moments, restarts it and checks what it promised.
//!
//! Every acknowledged write is there, a write of several keys that was not acknowledged is there whole or not
//! at all, and no value is there that was never written. `TICKLANE_CRASH_CYCLES` sets the number of kills.

mod support;

#[path = "crash/load.rs"]
mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use load::Load;
use support::{Client, Program, Server, ServerOptions, seed};

/// Kills when the environment does not say.
const CYCLES_DEFAULT: usize = 15;

/// Longest time under load before a kill.
const LOAD_MILLISECONDS_MAX: u64 = 700;

/// Longest time from a start to a kill in the middle of recovery.
const RECOVERY_MILLISECONDS_MAX: u64 = 60;

/// Commands that each writer has in flight.
const WINDOW: usize = 16;

fn cycles() -> usize {
    std::env::var("TICKLANE_CRASH_CYCLES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(CYCLES_DEFAULT)
}

/// Sends operations until the connection breaks, and counts those that were acknowledged.
fn write_until_killed(load: &mut Load, port: u16, killed: &AtomicBool) {
    let Ok(mut client) = Client::try_connect(port) else {
        return;
    };
    while !killed.load(Ordering::Relaxed) {
        let first = load.sent + 1;
        let last = load.sent + WINDOW as u64;
        let commands: Vec<Vec<String>> = (first..=last).flat_map(|number| load.commands(number)).collect();
        load.sent = last;
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(|arguments| support::encode(arguments))
            .collect();
        if client.send(&bytes).is_err() {
            return;
        }
        for number in first..=last {
            let replies: Result<Vec<_>, _> = load.commands(number).iter().map(|_| client.read()).collect();
            match replies {
                Ok(replies) => load.acknowledge(number, &replies),
                Err(_) => return,
            }
        }
    }
}

/// Runs all loads for `time`, kills the server in the middle and collects the loads again.
fn load_and_kill(server: &mut Server, loads: Vec<Load>, time: Duration) -> Vec<Load> {
    let killed = Arc::new(AtomicBool::new(false));
    let port = server.port;
    let writers: Vec<_> = loads
        .into_iter()
        .map(|mut load| {
            let killed = Arc::clone(&killed);
            std::thread::spawn(move || {
                write_until_killed(&mut load, port, &killed);
                load
            })
        })
        .collect();
    std::thread::sleep(time);
    server.kill9();
    killed.store(true, Ordering::Relaxed);
    writers
        .into_iter()
        .map(|writer| writer.join().expect("the writer's own checks hold"))
        .collect()
}

/// DBSIZE counts what SCAN finds.
fn check_key_count(client: &mut Client, context: &str) {
    let counted = client.command(&["DBSIZE"]).integer();
    let found = client.scan(&["COUNT", "1000"]).expect("SCAN").len();
    assert_eq!(counted, Some(found as i64), "DBSIZE against SCAN, {context}");
}

fn loads(cycle: usize) -> Vec<Load> {
    let with_samples = Program::from_environment() == Program::Ticklane;
    let kinds = load::Kind::ALL
        .iter()
        .filter(|kind| with_samples || !kind.needs_ticklane());
    kinds.map(|&kind| Load::new(kind, cycle)).collect()
}

/// Small heads and journals, so that kills meet seals, folds of late samples and checkpoints under way.
fn small_heads() -> Vec<(String, String)> {
    let sets = [
        ("storage.head_samples_max", "32"),
        ("storage.head_idle", "50 ms"),
        ("storage.checkpoint_journal", "128 KiB"),
        ("storage.checkpoint_interval", "200 ms"),
    ];
    sets.map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
}

#[test]
fn acknowledged_writes_survive_kills() {
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().expect("a temporary directory");
    // Four lanes first: the directory gets four partitions per business, which later lane counts share out.
    let options = ServerOptions {
        data_dir: Some(folder.path().to_path_buf()),
        sets: small_heads(),
        ..ServerOptions::with_lanes(4)
    };
    let mut server = Server::start(options);
    let mut finished: Vec<Load> = Vec::new();
    let mut acknowledged = 0;
    let mut running = loads(0);
    for cycle in 0..cycles() {
        let context = format!("cycle {cycle}, SEED={seed}");
        let time = Duration::from_millis(random.u64(20..LOAD_MILLISECONDS_MAX));
        running = load_and_kill(&mut server, running, time);
        if random.usize(..4) == 0 {
            server.start_and_kill(Duration::from_millis(random.u64(..RECOVERY_MILLISECONDS_MAX)));
        }
        let lanes = [1, 2, 4][random.usize(..3)];
        server.restart_with_lanes(lanes);
        let mut client = server.client();
        for load in &mut running {
            load.check(&mut client, &context);
        }
        for load in &mut finished {
            load.check(&mut client, &context);
        }
        check_key_count(&mut client, &context);
        // Every third cycle the loads move on to fresh keys and leave the old ones to be found for ever.
        if cycle % 3 == 2 {
            acknowledged += running.iter().map(|load| load.acknowledged).sum::<u64>();
            finished.append(&mut running);
            running = loads(cycle + 1);
        }
    }
    acknowledged += running.iter().map(|load| load.acknowledged).sum::<u64>();
    assert!(
        acknowledged > 1_000,
        "only {acknowledged} writes were acknowledged: this run shows nothing"
    );
    server.terminate();
    server.restart();
    let mut client = server.client();
    for load in finished.iter_mut().chain(&mut running) {
        load.check(&mut client, &format!("after a graceful stop, SEED={seed}"));
    }
}
