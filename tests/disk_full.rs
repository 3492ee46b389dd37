//! A disk that is full: writes are refused with a clear error, reads go on, writes work again when there is space.
//!
//! Each scenario runs in a process of its own inside a mount namespace (`unshare`), on a small tmpfs that nobody else
//! sees. Where that is not permitted, the tests say so and prove nothing.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{Client, Program, Server, ServerOptions, Value};

/// Set for the process inside the namespace: where its tmpfs is.
const DISK: &str = "DISK_FULL_TEST_DISK";
const DISK_BYTES: usize = 160 << 20;
/// Left to the server once the ballast lies on the disk.
const LEFT_BYTES: u64 = 24 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest time without reads after the disk was found full.
const READ_GAP_MAX: Duration = Duration::from_secs(10);
const BATCH: i64 = 200;
const SERIES: i64 = 8;

/// Runs the test `name` again on a small disk of its own; `true` if this is that run.
fn on_a_small_disk(name: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(PathBuf::from(disk));
    }
    if Program::from_environment() == Program::Redis {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={DISK_BYTES} tmpfs \"${DISK}\" || exit 77; exec \"$0\" --exact {name} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(DISK, directory.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("SKIPPED {name}: unshare: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || text.contains("unshare failed") {
        println!("SKIPPED {name}: no mount namespace here: {text}");
        return None;
    }
    assert!(output.status.success(), "on a small disk:\n{text}");
    print!("{text}");
    None
}

fn start(disk: &Path, free_min: &str) -> Server {
    let sets = [
        ("storage.disk_free_min", free_min),
        ("storage.checkpoint_journal", "4 MiB"),
        ("storage.head_samples_max", "128"),
        ("storage.write_buffers", "16 MiB"),
    ];
    Server::start(ServerOptions {
        data_dir: Some(disk.join("data")),
        sets: sets
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        ..ServerOptions::default()
    })
}

/// Leaves `left` bytes on the disk.
fn lay_ballast(disk: &Path, left: u64) -> PathBuf {
    let path = disk.join("ballast");
    let text = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(disk)
        .output()
        .unwrap()
        .stdout;
    let free: u64 = String::from_utf8_lossy(&text)
        .lines()
        .last()
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    let piece = vec![7; 1 << 20];
    for _ in 0..free.saturating_sub(left) >> 20 {
        file.write_all(&piece).unwrap();
    }
    path
}

/// What was written: of every batch whether it was acknowledged.
#[derive(Default)]
struct Written {
    acknowledged: Vec<i64>,
    /// Sent and answered by an unknown outcome: whole or not at all.
    unknown: Vec<i64>,
    next: i64,
}

fn value(timestamp: i64) -> f64 {
    // Hard to compress, so that the disk fills.
    ((timestamp.wrapping_mul(0x5DEE_CE66)) % 1_000_003) as f64 / 1_000.1
}

/// Reads a series; a partition that has just found the disk full is being opened again for reading.
fn read(client: &mut Client, key: &str) -> Value {
    let begin = Instant::now();
    loop {
        let reply = client.command(&["TSDB_GET", key, "-", "+"]);
        if !reply.to_string().contains("being recovered") || begin.elapsed() > READ_GAP_MAX {
            return reply;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Written {
    /// Writes one batch into one series and one large value beside it; the error if it was refused.
    fn write(&mut self, server: &Server, client: &mut Client) -> Result<(), String> {
        let batch = self.next;
        self.next += 1;
        let mut words = vec!["TSDB_MSET".to_owned()];
        for timestamp in batch * BATCH..(batch + 1) * BATCH {
            words.extend([
                format!("stock_{}", batch % SERIES),
                timestamp.to_string(),
                format!("{:?}", value(timestamp)),
            ]);
        }
        match client.try_command(&words) {
            Ok(reply) if reply.is_ok() => {
                self.acknowledged.push(batch);
                Ok(())
            }
            Ok(reply) => {
                let text = reply.to_string();
                if text.contains("UNKNOWN") {
                    self.unknown.push(batch);
                    *client = server.client();
                }
                Err(text)
            }
            Err(error) => {
                self.unknown.push(batch);
                *client = server.client();
                Err(error.to_string())
            }
        }
    }

    /// Every acknowledged batch is there whole; others are whole or absent.
    fn check(&self, client: &mut Client, context: &str) {
        let mut found = std::collections::HashMap::new();
        for series in 0..SERIES {
            let reply = read(client, &format!("stock_{series}"));
            assert!(!reply.is_error(), "{context}: {reply}");
            for sample in reply.elements() {
                let Value::Integer(timestamp) = sample.elements()[0] else {
                    panic!("{context}: {sample}")
                };
                assert_eq!(sample.elements()[1].float(), Some(value(timestamp)), "{context}");
                *found.entry(timestamp.div_euclid(BATCH)).or_insert(0) += 1;
            }
        }
        for batch in &self.acknowledged {
            assert_eq!(
                found.remove(batch),
                Some(BATCH),
                "{context}: acknowledged batch {batch}"
            );
        }
        for (batch, samples) in found {
            assert!(
                samples == BATCH && self.unknown.contains(&batch),
                "{context}: {samples} samples of batch {batch}"
            );
        }
    }
}

/// Writes until the server refuses, checks reads, gives the space back and checks that writes go on.
fn fill_and_recover(disk: &Path, free_min: &str) {
    let mut server = start(disk, free_min);
    let mut client = server.client();
    let mut written = Written::default();
    for _ in 0..100 {
        written.write(&server, &mut client).unwrap();
    }
    let ballast = lay_ballast(disk, LEFT_BYTES);
    let begin = Instant::now();
    let mut refusals = Vec::new();
    while refusals.len() < 50 {
        assert!(begin.elapsed() < PATIENCE, "the disk does not fill: {refusals:?}");
        if let Err(text) = written.write(&server, &mut client) {
            refusals.push(text);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    refusals.dedup();
    println!(
        "{} batches, then refused with {refusals:#?}",
        written.acknowledged.len()
    );
    assert!(
        refusals.iter().any(|refusal| refusal.contains("MISCONF")),
        "{refusals:?}"
    );
    written.check(&mut client, "while the disk is full");
    std::fs::remove_file(ballast).unwrap();
    let begin = Instant::now();
    while let Err(text) = written.write(&server, &mut client) {
        assert!(begin.elapsed() < PATIENCE, "writes are still refused: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("writes work again after {:?}", begin.elapsed());
    for _ in 0..100 {
        written.write(&server, &mut client).unwrap();
    }
    written.check(&mut client, "with space again");
    server.kill9();
    server.restart();
    written.check(&mut server.client(), "after a kill");
    server.terminate();
    server.restart();
    written.check(&mut server.client(), "after a stop");
}

#[test]
fn writes_are_refused_before_the_disk_is_full() {
    if let Some(disk) = on_a_small_disk("writes_are_refused_before_the_disk_is_full") {
        fill_and_recover(&disk, "16 MiB");
    }
}

#[test]
fn a_full_disk_is_survived() {
    if let Some(disk) = on_a_small_disk("a_full_disk_is_survived") {
        fill_and_recover(&disk, "0");
    }
}
