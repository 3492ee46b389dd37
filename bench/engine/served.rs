//! What needs a server: writes while another client scans everything, and writes that wait for the disk.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Engine, Setup};
use crate::start::{connect, spawn, stop};
use crate::{SERIES, Walk, keys};

/// Commands of one pipelined request.
const DEPTH: usize = 16;
const QUIET: Duration = Duration::from_secs(10);
const SCAN_MAX: Duration = Duration::from_secs(90);

/// Writes pipelined samples until told to stop; returns the time of every request, in microseconds, ascending.
fn write_until(port: u16, done: &AtomicBool) -> Vec<u64> {
    let mut client = connect(port);
    let mut times = Vec::new();
    let mut reply = [0; DEPTH * 5];
    let mut number = 0_u64;
    while !done.load(Ordering::Relaxed) {
        let mut request = String::new();
        for _ in 0..DEPTH {
            number += 1;
            let key = number % 1_000;
            request.push_str(&format!("TSDB_SET stock_w{key} {number} 1.5\r\n"));
        }
        let begin = Instant::now();
        client.get_mut().write_all(request.as_bytes()).expect("a request");
        client.read_exact(&mut reply).expect("an answer");
        times.push(begin.elapsed().as_micros() as u64);
        assert!(reply.starts_with(b"+OK"), "{}", String::from_utf8_lossy(&reply));
    }
    times.sort_unstable();
    times
}

fn print_times(what: &str, times: &[u64]) {
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] as f64 / 1e3;
    println!(
        "{what}: {} requests of {DEPTH}, ms p50 {:.2}, p99 {:.2}, p99.9 {:.2}, largest {:.2}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Commits that waited for RocksDB, since the start.
fn commit_stalls(client: &mut BufReader<TcpStream>) -> String {
    client.get_mut().write_all(b"INFO all\r\n").expect("a request");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    let bytes: usize = line.trim_start_matches('$').trim().parse().expect("a length");
    let mut text = vec![0; bytes + 2];
    client.read_exact(&mut text).expect("an answer");
    let text = String::from_utf8_lossy(&text).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix("commit_stalls:"));
    found.unwrap_or("unknown").to_string()
}

/// Reads a series whole and counts its samples.
fn scan_series(client: &mut BufReader<TcpStream>, key: &[u8]) -> u64 {
    let request = [b"TSDB_GET ", key, b" - +\r\n"].concat();
    client.get_mut().write_all(&request).expect("a request");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    let samples: u64 = line.trim_start_matches('*').trim().parse().expect("a count");
    // Each sample is an array of timestamp, value (two lines) and quality.
    let mut bytes = Vec::new();
    for _ in 0..samples * 5 {
        bytes.clear();
        client.read_until(b'\n', &mut bytes).expect("an answer");
    }
    samples
}

/// Latency of pipelined writes while another client reads all samples of all series.
pub fn scan(samples: usize) {
    println!("\n## Pipelined writes while another client scans {samples} samples in {SERIES} series");
    let directory = tempfile::tempdir().expect("a directory");
    let (keys, mut walk) = (keys(SERIES), Walk::new(SERIES));
    let mut engine = Engine::open(directory.path(), Setup::default());
    let mut now_ms = engine.end_turn();
    for round in 0..(samples / SERIES) as i64 {
        for (series, key) in keys.iter().enumerate() {
            engine.add(key, walk.sample(series, round), now_ms);
        }
        now_ms = engine.end_turn();
    }
    engine.seal_all();
    drop(engine);
    let (child, port) = spawn(directory.path(), &[]);
    let mut reader = connect(port);
    for scanning in [false, true] {
        let done = Arc::new(AtomicBool::new(false));
        let writing = done.clone();
        let writer = std::thread::spawn(move || write_until(port, &writing));
        let begin = Instant::now();
        let mut scanned = 0;
        if scanning {
            for key in &keys {
                scanned += scan_series(&mut reader, key);
                if begin.elapsed() > SCAN_MAX {
                    break;
                }
            }
        } else {
            std::thread::sleep(QUIET);
        }
        let wall = begin.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        let times = writer.join().expect("a writer");
        let what = if scanning {
            format!(
                "while {:.1} M samples were read in {wall:.1} s",
                scanned as f64 / 1e6
            )
        } else {
            "nobody reads".to_string()
        };
        print_times(&what, &times);
        println!(
            "commits that waited for RocksDB so far: {}",
            commit_stalls(&mut reader)
        );
    }
    stop(child, libc::SIGTERM);
}

/// Milliseconds of an fdatasync after one appended kibibyte, the median of some.
fn fdatasync_ms(directory: &std::path::Path) -> f64 {
    let mut file = File::create(directory.join("probe")).expect("a file");
    let mut times: Vec<f64> = (0..51)
        .map(|_| {
            file.write_all(&[7; 1_024]).expect("a write");
            let begin = Instant::now();
            // SAFETY: the descriptor belongs to the open file.
            unsafe { libc::fdatasync(file.as_raw_fd()) };
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// `fsync = "always"` against `everysec`: SET, 50 connections, 16 commands each.
pub fn always() {
    println!("\n## fsync = always against everysec, SET, 50 connections, P={DEPTH}");
    let directory = tempfile::tempdir().expect("a directory");
    println!("fdatasync of 1 KiB: {:.2} ms", fdatasync_ms(directory.path()));
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..6 {
        let policy = ["everysec", "always"][round % 2];
        let data_dir = directory.path().join(format!("data{round}"));
        std::fs::create_dir(&data_dir).expect("a directory");
        let (child, port) = spawn(&data_dir, &[&format!("business.default.fsync={policy}")]);
        drop(connect(port));
        let output = Command::new("redis-benchmark")
            .args(["-p", &port.to_string(), "-c", "50", "-P", &DEPTH.to_string()])
            .args(["-n", "400000", "-r", "100000", "-t", "set", "--csv"])
            .output()
            .expect("redis-benchmark");
        stop(child, libc::SIGTERM);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let row = text.lines().find(|line| line.starts_with("\"SET\""));
        let rate = row.and_then(|row| row.split(',').nth(1)?.trim_matches('"').parse().ok());
        let rate: f64 = rate.expect("a rate");
        println!("{policy}: {rate:.0}/s");
        rates[round % 2].push(rate);
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let [everysec, always] = &mut rates;
    println!(
        "ratio of medians {:.2}, wanted 0.5",
        median(always) / median(everysec)
    );
}
