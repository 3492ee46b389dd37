//! Process start to first answer with much on disk, after a clean stop and after SIGKILL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gauge;
use crate::harness::{Engine, Setup};
use crate::{Walk, keys};

const BUSINESSES: [&str; 7] = [
    "stock_quotes",
    "iot_data",
    "financial_quotes",
    "order_data",
    "payment_data",
    "inventory_data",
    "sms_delivery",
];
const SERIES: usize = 100_000;
/// Rounds written to each start's server before it is killed.
const ROUNDS_BEFORE_KILL: usize = 40;

/// Builds the data with the engine, then starts real servers on it.
pub fn start(samples: usize) {
    println!("\n## Process start to first answer, {samples} samples in {SERIES} series on disk");
    let directory = tempfile::tempdir().expect("a directory");
    let (keys, mut walk) = (keys(SERIES), Walk::new(SERIES));
    let mut engine = Engine::open(directory.path(), Setup::default());
    let mut now_ms = engine.end_turn();
    let rounds = (samples / SERIES) as i64;
    for round in 0..rounds {
        for (series, key) in keys.iter().enumerate() {
            engine.add(key, walk.sample(series, round), now_ms);
            if series % 1_000 == 999 {
                now_ms = engine.end_turn();
            }
        }
    }
    engine.seal_all();
    drop(engine);
    println!("built: {} MiB on disk", gauge::disk_bytes(directory.path()) >> 20);
    let (child, mut client) = timed_start(directory.path(), "after the load, cleanly closed");
    load(&mut client, &keys, &mut walk, rounds);
    stop(child, libc::SIGTERM);
    let (child, mut client) = timed_start(directory.path(), "after more load and a clean stop");
    load(&mut client, &keys, &mut walk, rounds + ROUNDS_BEFORE_KILL as i64);
    stop(child, libc::SIGKILL);
    let (child, _client) = timed_start(directory.path(), "after more load and SIGKILL");
    stop(child, libc::SIGKILL);
    let (child, _client) = timed_start(directory.path(), "once more after SIGKILL");
    stop(child, libc::SIGTERM);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A server with one lane on `data_dir`, and its port.
pub fn spawn(data_dir: &Path, sets: &[&str]) -> (Child, u16) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklane"));
    command.args(["serve", "--lanes", "1", "--port", &port.to_string(), "--data-dir"]);
    command.arg(data_dir).args(["--set", "server.lane_port_base=0"]);
    for business in BUSINESSES {
        command.args(["--set", &format!("business.{business}.port=0")]);
    }
    for set in sets {
        command.args(["--set", set]);
    }
    let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
    (child.expect("the server starts"), port)
}

/// Connects as soon as somebody listens.
pub fn connect(port: u16) -> BufReader<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream.set_nodelay(true).expect("an option");
                return BufReader::new(stream);
            }
            Err(_) if begin.elapsed() < Duration::from_secs(120) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// CPU seconds that a process has used.
fn cpu_seconds(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit(") ").next().unwrap_or("");
    let ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() as f64 / 100.0
}

/// Starts a server and asks it until it answers; prints how long that took.
fn timed_start(data_dir: &Path, what: &str) -> (Child, BufReader<TcpStream>) {
    let begin = Instant::now();
    let (child, port) = spawn(data_dir, &[]);
    let mut client = connect(port);
    client.get_mut().write_all(b"PING\r\n").expect("a request");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    let pong = begin.elapsed();
    client
        .get_mut()
        .write_all(b"TSDB_GET stock_0000000 - + 1\r\n")
        .expect("a request");
    // An array of one sample of three parts, the value in two lines.
    for expected in ["*1", "*3", ":", "$", "", ":"] {
        line.clear();
        client.read_line(&mut line).expect("an answer");
        assert!(line.starts_with(expected), "{line}");
    }
    println!(
        "{what}: {:.2} s to PONG, {:.2} s to a sample, {:.2} s of CPU",
        pong.as_secs_f64(),
        begin.elapsed().as_secs_f64(),
        cpu_seconds(child.id())
    );
    (child, client)
}

/// Writes some rounds into all series, in batches.
fn load(client: &mut BufReader<TcpStream>, keys: &[Vec<u8>], walk: &mut Walk, first_round: i64) {
    let mut reply = Vec::new();
    for round in first_round..first_round + ROUNDS_BEFORE_KILL as i64 {
        for (group, keys) in keys.chunks(1_000).enumerate() {
            let mut request = format!("*{}\r\n$9\r\nTSDB_MSET\r\n", 1 + 3 * keys.len()).into_bytes();
            for (number, key) in keys.iter().enumerate() {
                let sample = walk.sample(group * 1_000 + number, round);
                for word in [
                    key.clone(),
                    sample.timestamp.to_string().into(),
                    sample.value.to_string().into(),
                ] {
                    request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    request.extend_from_slice(&word);
                    request.extend_from_slice(b"\r\n");
                }
            }
            client.get_mut().write_all(&request).expect("a request");
            reply.resize(5, 0);
            client.read_exact(&mut reply).expect("an answer");
            assert_eq!(reply, b"+OK\r\n", "{}", String::from_utf8_lossy(&reply));
        }
    }
}

/// Ends a server.
pub fn stop(mut child: Child, signal: libc::c_int) {
    // SAFETY: the child has not been waited for, so its id is still its own; the call touches no memory.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    child.wait().expect("the end of the server");
}
