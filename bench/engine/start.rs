//! Process start to first answer with much on disk, after a clean stop and after SIGKILL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::gauge;
use crate::harness::{Engine, Setup};
use crate::{Walk, keys};

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

/// Starts a server and asks it until it answers; prints how long that took.
fn timed_start(data_dir: &Path, what: &str) -> (Child, BufReader<TcpStream>) {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklane"));
    command.args(["serve", "--lanes", "1", "--port", &port.to_string(), "--data-dir"]);
    command.arg(data_dir).args(["--set", "server.lane_port_base=0"]);
    for business in [
        "stock_quotes",
        "iot_data",
        "financial_quotes",
        "order_data",
        "payment_data",
        "inventory_data",
        "sms_delivery",
    ] {
        command.args(["--set", &format!("business.{business}.port=0")]);
    }
    let begin = Instant::now();
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the server starts");
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) if begin.elapsed() < Duration::from_secs(120) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let mut client = BufReader::new(stream);
    client.get_mut().write_all(b"PING\r\n").expect("a request");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    let pong = begin.elapsed();
    client
        .get_mut()
        .write_all(b"TSDB_GET stock_0000000 - + 1\r\n")
        .expect("a request");
    line.clear();
    client.read_line(&mut line).expect("an answer");
    let rest_bytes = client.buffer().len();
    client.consume(rest_bytes);
    println!("{what}: {pong:.0?} to PONG, {:.0?} to a sample", begin.elapsed());
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

fn stop(mut child: Child, signal: libc::c_int) {
    // SAFETY: the child has not been waited for, so its id is still its own; the call touches no memory.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    child.wait().expect("the end of the server");
}
