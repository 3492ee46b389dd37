//! A disk that is too slow for checkpoints: writers wait, are refused after ten seconds, and go on when it has caught
//! up; reads and deletions go on all the time, and memory stays bounded.

mod support;

use std::time::{Duration, Instant};

use support::{Client, Program, Server, ServerOptions, Value};

const VALUE_BYTES: usize = 1 << 20;
/// What may be written while a checkpoint runs: 64 MiB of journal, and some records that were let in together.
const WRITES_MAX: usize = 70;
const WRITES_MIN: usize = 50;
const KEYS: usize = 4;
/// Long enough that a checkpoint never ends while it is held up.
const HELD_UP: &str = "3000000";
/// Waits are longer than this when a write is refused.
const REFUSED_AFTER_MIN: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(60);

fn set(client: &mut Client, number: usize) -> Value {
    let mut value = format!("{number:08}").into_bytes();
    value.resize(VALUE_BYTES, b'x');
    let key = format!("key{}", number % KEYS);
    client.command(&[&b"SET"[..], key.as_bytes(), &value])
}

fn hold_up(client: &mut Client, milliseconds: &str) {
    assert!(
        client
            .command(&["DEBUG", "CHECKPOINT-DELAY", milliseconds])
            .is_ok()
    );
}

fn info(client: &mut Client, field: &str) -> u64 {
    let info = client.command(&["INFO", "everything"]).text().expect("a text");
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    let found = lines.clone().find(|(name, _)| *name == field);
    let (_, value) = found.unwrap_or_else(|| panic!("no {field} in {info}"));
    value.trim().parse().expect("a number")
}

fn waits(client: &mut Client) -> u64 {
    info(client, "checkpoint_waits")
}

/// Writes until a reply is not OK: how many were, that reply, and how long it took.
fn write_until_refused(port: u16, first: usize) -> (usize, Value, Duration) {
    let mut client = Client::connect(port);
    for number in first.. {
        let start = Instant::now();
        let reply = set(&mut client, number);
        if !reply.is_ok() {
            return (number - first, reply, start.elapsed());
        }
        assert!(number - first < 10 * WRITES_MAX, "memory grows without bound");
    }
    unreachable!("there are enough numbers")
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn writers_wait_for_a_slow_disk_and_are_refused_at_last() {
    if Program::from_environment() != Program::Ticklane {
        return;
    }
    let set_checkpoint = ("storage.checkpoint_journal".to_owned(), "1 MiB".to_owned());
    let mut server = Server::start(ServerOptions {
        sets: vec![set_checkpoint],
        ..ServerOptions::default()
    });
    let mut client = server.client();
    hold_up(&mut client, HELD_UP);
    assert!(client.command(&["SET", "old", "1"]).is_ok());
    for number in 0..KEYS {
        assert!(set(&mut client, number).is_ok());
    }
    let port = server.port;
    until("no checkpoint", || info(&mut client, "checkpoints_running") > 0);

    // Writes go on for a while, wait, and are refused.
    let before = waits(&mut client);
    let writer = std::thread::spawn(move || write_until_refused(port, KEYS));
    until("nobody waits for the checkpoint", || waits(&mut client) > before);
    assert_eq!(client.command(&["GET", "old"]).text().as_deref(), Some("1"));
    assert_eq!(client.command(&["DEL", "old"]).integer(), Some(1));
    assert!(!writer.is_finished(), "who waits is not refused at once");
    let (written, refusal, waited) = writer.join().expect("the writer ends");
    assert!(refusal.to_string().contains("TRYAGAIN a checkpoint"), "{refusal}");
    assert!(waited >= REFUSED_AFTER_MIN, "refused after {waited:?}");
    assert!((WRITES_MIN..=WRITES_MAX).contains(&written), "{written} writes");
    let mut second = server.client();
    let start = Instant::now();
    assert!(set(&mut second, 0).is_error(), "others are refused meanwhile");
    assert!(start.elapsed() < REFUSED_AFTER_MIN, "and at once");
    let reply = client.command(&["STRLEN", "key1"]);
    assert_eq!(reply.integer(), Some(VALUE_BYTES as i64), "reads go on");

    // The disk has caught up: writes are let in again.
    hold_up(&mut client, "0");
    let mut next = KEYS + written;
    until("writes are still refused", || set(&mut client, next).is_ok());

    // Who waits when the disk catches up was never refused.
    hold_up(&mut client, HELD_UP);
    let before = waits(&mut client);
    let first = next + 1;
    let writer = std::thread::spawn(move || {
        let mut client = Client::connect(port);
        (first..first + 2 * WRITES_MAX).all(|number| set(&mut client, number).is_ok())
    });
    until("nobody waits for the checkpoint", || waits(&mut client) > before);
    hold_up(&mut client, "0");
    assert!(writer.join().expect("the writer ends"), "a write was refused");
    next = first + 2 * WRITES_MAX;

    server.kill9();
    server.restart();
    let mut client = server.client();
    for number in next - KEYS..next {
        let key = format!("key{}", number % KEYS);
        let reply = client.command(&["GETRANGE", &key, "0", "7"]);
        assert_eq!(reply.text(), Some(format!("{number:08}")), "{key}");
    }
}
