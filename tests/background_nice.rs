//! RocksDB's threads yield to the lanes until these have to wait for them, and yield again when that is over; where the
//! process may not take a niceness back, they never do.

mod support;

use std::time::{Duration, Instant};

use support::{Client, Program, Server, ServerOptions};

const PATIENCE: Duration = Duration::from_secs(60);
const VALUE_BYTES: usize = 1 << 20;
/// More than may be written while a checkpoint runs: 64 MiB.
const VALUES: usize = 200;
/// Long enough that a checkpoint never ends while it is held up.
const HELD_UP: &str = "3000000";
const YIELDING: i32 = 7;
/// Number of the capability that allows to take a niceness back (capabilities(7)).
const CAP_SYS_NICE: libc::c_ulong = 23;

fn start() -> Server {
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Server::start(ServerOptions {
        sets: vec![
            set("storage.background_nice", &YIELDING.to_string()),
            set("storage.checkpoint_journal", "1 MiB"),
        ],
        ..ServerOptions::default()
    })
}

fn own_nice() -> i32 {
    // SAFETY: the call touches no memory of ours; 0 names this thread.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// True if a thread of this process, and so a server that it starts, may take a niceness back.
fn may_return() -> bool {
    let usual = own_nice();
    // SAFETY: the call touches no memory of ours; 0 names the thread.
    let set = |nice| unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 };
    let tried = std::thread::spawn(move || set(YIELDING) && set(usual));
    tried.join().unwrap()
}

/// Niceness of the server's threads whose names begin with `name`.
fn nice_of(server: &Server, name: &str) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.process_id())).unwrap();
    let stat = |thread: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        let (before, after) = text.rsplit_once(") ")?;
        let (_, thread_name) = before.split_once('(')?;
        // The niceness is the nineteenth field, and the first of `after` the third.
        let nice = after.split(' ').nth(16)?.parse().ok()?;
        thread_name.starts_with(name).then_some(nice)
    };
    threads.filter_map(stat).collect()
}

fn info(client: &mut Client, field: &str) -> i64 {
    let info = client.command(&["INFO", "rocksdb"]).text().expect("a text");
    let found = info
        .lines()
        .find_map(|line| line.split_once(':').filter(|(name, _)| *name == field));
    let (_, value) = found.unwrap_or_else(|| panic!("no {field} in {info}"));
    value.trim().parse().expect("a number")
}

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes as fast as the server lets it.
fn write_all(port: u16) {
    let mut client = Client::connect(port);
    let value = vec![b'x'; VALUE_BYTES];
    for number in 0..VALUES {
        let key = format!("key{}", number % 4);
        let reply = client.command(&[&b"SET"[..], key.as_bytes(), &value]);
        assert!(reply.is_ok(), "{reply}");
    }
}

#[test]
fn threads_that_lanes_wait_for_stop_yielding_until_they_have_caught_up() {
    if Program::from_environment() != Program::Ticklane {
        return;
    }
    if !may_return() {
        println!("SKIPPED: this process may not take a niceness back");
        return;
    }
    let usual = own_nice();
    let server = start();
    let mut client = server.client();
    let all_have = |nice: i32| {
        let found = nice_of(&server, "rocksdb:");
        !found.is_empty() && found.iter().all(|found| *found == nice)
    };
    until("the threads do not yield", || all_have(YIELDING));
    assert_eq!(info(&mut client, "background_nice"), i64::from(YIELDING));
    let before = info(&mut client, "background_hurries");

    assert!(client.command(&["DEBUG", "CHECKPOINT-DELAY", HELD_UP]).is_ok());
    let port = server.port;
    let writer = std::thread::spawn(move || write_all(port));
    until("the threads do not hurry", || all_have(usual));
    assert!(client.command(&["DEBUG", "CHECKPOINT-DELAY", "0"]).is_ok());
    writer.join().expect("the writer ends");
    until("the threads do not yield again", || all_have(YIELDING));
    until("INFO knows better", || {
        info(&mut client, "background_nice") == i64::from(YIELDING)
    });
    assert!(info(&mut client, "background_hurries") > before);
    assert!(nice_of(&server, "lane-").iter().all(|nice| *nice == usual));
}

#[test]
fn where_a_niceness_cannot_be_taken_back_the_log_says_that_none_is_given() {
    if Program::from_environment() != Program::Ticklane {
        return;
    }
    let unprivileged = std::thread::spawn(|| {
        // What a thread gives up, the processes that it starts do not get. It fails where there is nothing to give up.
        // SAFETY: the call touches no memory of ours.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0) };
        start()
    });
    let server = unprivileged.join().unwrap();
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live, properly typed `rlimit`.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NICE, &raw mut limit) }, 0);
    if limit.rlim_cur >= libc::rlim_t::try_from(20 - own_nice()).unwrap() {
        println!("SKIPPED: the limit of the niceness (RLIMIT_NICE) allows to take it back anyway");
        return;
    }
    until("the log says nothing", || {
        server.log().contains("background_nice does not apply")
    });
    let mut client = server.client();
    write_all(server.port);
    let found = nice_of(&server, "rocksdb:");
    assert!(
        !found.is_empty() && found.iter().all(|nice| *nice == own_nice()),
        "{found:?}"
    );
    assert_eq!(info(&mut client, "background_nice"), i64::from(own_nice()));
    assert_eq!(info(&mut client, "background_hurries"), 0);
}
