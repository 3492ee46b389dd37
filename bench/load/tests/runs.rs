//! Whole runs of the program against a server of a few lines that remembers what it is sent.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the server behaves.
#[derive(Default)]
struct Behaviour {
    /// Before its so many-th command it stands still for this long.
    pause: Option<(u64, Duration)>,
    /// This command is unknown to it.
    unknown: Option<&'static str>,
    commands: AtomicU64,
    seen: Mutex<Vec<Vec<String>>>,
}

/// Starts the server; returns its port.
fn serve(behaviour: Arc<Behaviour>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let behaviour = Arc::clone(&behaviour);
            std::thread::spawn(move || answer(stream.unwrap(), &behaviour, port));
        }
    });
    port
}

fn answer(stream: TcpStream, behaviour: &Behaviour, port: u16) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(arguments) = command(&mut reader) {
        let number = behaviour.commands.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((_, length)) = behaviour.pause.filter(|(at, _)| *at == number) {
            std::thread::sleep(length);
        }
        let name = arguments[0].clone();
        let reply = reply_to(&arguments, port).filter(|_| behaviour.unknown != Some(&name));
        behaviour.seen.lock().unwrap().push(arguments);
        let reply = reply.unwrap_or_else(|| format!("-ERR unknown command '{name}'\r\n"));
        if writer.write_all(reply.as_bytes()).is_err() {
            break;
        }
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_string())
}

fn command(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let count: usize = line(reader)?.strip_prefix('*')?.parse().ok()?;
    let mut argument = || {
        let length: usize = line(reader)?.strip_prefix('$')?.parse().ok()?;
        line(reader).filter(|argument| argument.len() == length)
    };
    (0..count).map(|_| argument()).collect()
}

fn reply_to(arguments: &[String], port: u16) -> Option<String> {
    let samples = |count: usize| format!("*{count}\r\n{}", "*2\r\n:1700000000000\r\n+1.5\r\n".repeat(count));
    Some(match arguments[0].as_str() {
        "PING" => "+PONG\r\n".into(),
        "SET" | "MSET" | "TSDB_SET" | "TSDB_MSET" | "TS.CREATE" => "+OK\r\n".into(),
        "GET" => "$3\r\nabc\r\n".into(),
        "INCR" | "TS.ADD" => ":1\r\n".into(),
        "TS.MADD" => format!(
            "*{0}\r\n{1}",
            arguments.len() / 3,
            ":1\r\n".repeat(arguments.len() / 3)
        ),
        "TSDB_GET" | "TS.RANGE" | "TS.MRANGE" => samples(5),
        "TS.GET" => "*2\r\n:1700000000000\r\n+1.5\r\n".into(),
        "CLUSTER" => {
            let node = |from, to| format!("*3\r\n:{from}\r\n:{to}\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
            format!("*2\r\n{}{}", node(0, 99), node(200, 16383))
        }
        _ => return None,
    })
}

fn load(port: u16, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ticklane-load"));
    command
        .args(line.split_whitespace())
        .args(["-p", &port.to_string()])
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A file of this test that does not exist yet.
fn file(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ticklane-load-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// A clean run and its report.
fn report(port: u16, line: &str, name: &str) -> serde_json::Value {
    let json = file(name);
    let output = load(port, &format!("{line} --json {}", json.display()));
    assert!(output.status.success(), "{}", text(&output));
    let report = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    std::fs::remove_file(&json).unwrap();
    report
}

#[test]
fn every_workload_runs_clean_and_sends_what_was_asked_for() {
    let behaviour = Arc::new(Behaviour::default());
    let port = serve(Arc::clone(&behaviour));
    let all = "ping,set,get,incr,mset:3,tsdb_set,tsdb_mset:4,tsdb_get:5,ts_add,ts_madd:6,ts_get,ts_range:5,\
        ts_range_agg:50,ts_mrange:5";
    let report = report(
        port,
        &format!("{all} -n 5000 -c 7 -t 2 -P 16 -k 50 -s 20 --preload-samples 60"),
        "all",
    );
    assert_eq!(report["commands"], 5000);
    assert_eq!(report["latency"]["count"], 5000);
    assert_eq!((&report["errors"], &report["misses"]), (&0.into(), &0.into()));
    // Preloading: 50 values, then TS.CREATE and one TS.MADD of 60 samples for each of 20 series.
    let seen = behaviour.seen.lock().unwrap();
    assert_eq!(seen.len(), 5000 + 50 + 40);
    assert_eq!(
        seen.iter().filter(|command| command[0] == "TS.CREATE").count(),
        20
    );
}

#[test]
fn errors_and_wrong_replies_are_told() {
    let port = serve(Arc::new(Behaviour {
        unknown: Some("TS.ADD"),
        ..Behaviour::default()
    }));
    let output = load(port, "ts_add -n 100");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("100 errors; the first: ERR unknown command 'TS.ADD'"),
        "{}",
        text(&output)
    );
    let output = load(port, "tsdb_get:6 -n 100 -s 10 --preload-samples 6");
    assert!(
        text(&output).contains("100 reads found less than they asked for"),
        "{}",
        text(&output)
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    assert_eq!(load(nobody, "ping -n 1").status.code(), Some(1));
}

#[test]
fn cluster_aware_connections_send_only_keys_of_their_nodes() {
    let behaviour = Arc::new(Behaviour::default());
    let port = serve(Arc::clone(&behaviour));
    report(port, "set -n 3000 -k 20000 -P 16 --cluster", "cluster");
    let seen = behaviour.seen.lock().unwrap();
    let keys: HashSet<&str> = seen
        .iter()
        .filter(|one| one[0] == "SET")
        .map(|one| one[1].as_str())
        .collect();
    assert!(keys.len() > 2000);
    let crc = |key: &str| {
        key.bytes().fold(0u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                (crc << 1) ^ if crc >> 15 == 1 { 0x1021 } else { 0 }
            })
        })
    };
    // Of 20,000 keys about 122 have a slot from 100 to 199, which the view leaves to nobody.
    let all = (0..20_000).map(|number| format!("key:{number:012}"));
    let orphans: Vec<String> = all
        .filter(|key| (100..200).contains(&(crc(key) % 16384)))
        .collect();
    assert!(orphans.len() > 50);
    assert!(orphans.iter().all(|key| !keys.contains(key.as_str())));
}

#[test]
fn an_open_loop_charges_a_pause_to_all_that_fell_due_in_it() {
    let pause = Some((1000, Duration::from_millis(500)));
    let port = serve(Arc::new(Behaviour {
        pause,
        ..Behaviour::default()
    }));
    let report = report(port, "ping -c 1 -w 0 -d 2 --rate 1000", "pause");
    assert_eq!(report["latency"]["count"], 2000);
    // 500 of 2,000 commands fell due in the pause: the slower half of them waited for 250 ms or more.
    let micros = |name: &str| report["latency"][name].as_f64().unwrap();
    assert!(micros("p90") > 200_000.0 && micros("max") > 490_000.0, "{report}");
}

#[test]
fn a_run_leaves_its_files_and_a_sweep_its_curve() {
    let port = serve(Arc::new(Behaviour::default()));
    let prefix = file("out");
    let options = format!("-c 2 -w 0 --out {}", prefix.display());
    report(port, &format!("get=9,set=1 -k 100 -d 0.3 {options}"), "files");
    report(port, &format!("set -d 0.2 --sweep 100 {options}"), "sweep");
    let parts = [
        (".hgrm", "Percentile"),
        (".hlog", "HIST"),
        ("-percentiles.svg", "latency in ms"),
        ("-time.svg", "second"),
        ("-sweep.svg", "commands/s served"),
        ("-100.hgrm", "Percentile"),
        ("-100.hlog", "HIST"),
    ];
    for (suffix, content) in parts {
        let path = format!("{}{suffix}", prefix.display());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::fs::remove_file(&path).unwrap();
        assert!(text.contains(content), "{path}");
    }
}
