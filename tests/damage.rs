//! Flipped bits in the files of a stopped server: what is damaged is named, nothing wrong is ever answered, and
//! nothing else is lost.
//!
//! `SEED` repeats a run; `DAMAGE_ROUNDS` makes the tests longer.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;
use support::{Client, Program, Server, ServerOptions, Value, seed};
use ticklane::store::{Compression, Database, DatabaseOptions, Reach, Read, SharedResources, Tier};

const SERIES: usize = 60;
const SAMPLES: i64 = 1_000;
const STRINGS: usize = 300;
/// Series whose first half takes less than 64 KiB of the journal together, at ten bytes a sample.
const EARLY_SERIES: usize = 10;
const ROUNDS_DEFAULT: usize = 12;
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a table is written, however busy the machine is.
const TABLE_PATIENCE: Duration = Duration::from_secs(120);

fn rounds() -> usize {
    let text = std::env::var("DAMAGE_ROUNDS").ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS_DEFAULT)
}

fn options(data_dir: &Path) -> ServerOptions {
    let sets = [
        ("storage.head_samples_max", "100"),
        ("storage.disk_free_min", "0"),
    ];
    ServerOptions {
        data_dir: Some(data_dir.to_path_buf()),
        sets: sets
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        ..ServerOptions::default()
    }
}

fn value(series: usize, timestamp: i64) -> f64 {
    (timestamp * 31 + series as i64 * 17) as f64 / 4.0
}

fn text(number: usize) -> String {
    format!("{number}:").repeat(40)
}

/// Samples `from..to` of every series, and a part of the strings.
fn write(client: &mut Client, from: i64, to: i64, strings: std::ops::Range<usize>) {
    for words in writes(from, to, strings) {
        assert!(client.command(&words).is_ok());
    }
}

/// The commands of [`write`].
fn writes(from: i64, to: i64, strings: std::ops::Range<usize>) -> Vec<Vec<String>> {
    let samples = (0..SERIES).map(|series| {
        let mut words = vec!["TSDB_MSET".to_owned()];
        for timestamp in from..to {
            let value = format!("{:?}", value(series, timestamp));
            words.extend([format!("stock_{series}"), timestamp.to_string(), value]);
        }
        words
    });
    let strings = strings.map(|number| vec!["SET".to_owned(), format!("stock_text{number}"), text(number)]);
    samples.chain(strings).collect()
}

/// A stopped server's directory: the first half is in table files, the second one only in the log.
fn make_data(data_dir: &Path) {
    let mut server = Server::start(options(data_dir));
    let mut client = server.client();
    write(&mut client, 0, SAMPLES / 2, 0..STRINGS / 2);
    assert!(client.command(&["SAVE"]).is_ok());
    write(&mut client, SAMPLES / 2, SAMPLES, STRINGS / 2..STRINGS);
    server.kill9();
}

/// What a damaged server answered.
#[derive(Default)]
struct Found {
    whole: usize,
    /// Error replies, by key.
    errors: BTreeMap<String, String>,
}

/// Reads everything: every answer is right, or an error.
fn read(client: &mut Client, context: &str) -> Found {
    let mut found = Found::default();
    for series in 0..SERIES {
        let key = format!("stock_{series}");
        let reply = client.command(&["TSDB_GET", &key, "-", "+"]);
        if reply.is_error() {
            found.errors.insert(key, reply.to_string());
            continue;
        }
        assert_eq!(reply.elements().len() as i64, SAMPLES, "{context}: {key}");
        for (timestamp, sample) in (0..).zip(reply.elements()) {
            let parts = sample.elements();
            let good =
                parts[0] == Value::Integer(timestamp) && parts[1].float() == Some(value(series, timestamp));
            assert!(good, "{context}: {key}: {sample} at {timestamp}");
        }
        found.whole += 1;
    }
    for number in 0..STRINGS {
        let key = format!("stock_text{number}");
        let reply = client.command(&["GET", &key]);
        if reply.is_error() {
            found.errors.insert(key, reply.to_string());
        } else {
            assert_eq!(reply.text(), Some(text(number)), "{context}: {key}");
            found.whole += 1;
        }
    }
    found
}

/// A merge of tables that meets the damage closes the partition for a moment; after that it must go on.
fn until_ok(server: &Server, client: &mut Client, words: &[&str], context: &str) {
    let begin = Instant::now();
    loop {
        match client.try_command(words) {
            Ok(reply) if reply.is_ok() => return,
            Ok(reply) => {
                let text = reply.to_string();
                let passing = text.contains("UNKNOWN") || text.contains("being recovered");
                assert!(
                    passing && begin.elapsed() < PATIENCE,
                    "{context}: {words:?}: {text}"
                );
            }
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{context}: {words:?}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
        *client = server.client();
    }
}

/// What is not damaged goes on: new keys are written, and background work over the damaged table changes nothing.
fn write_more(server: &Server, context: &str) {
    let mut client = server.client();
    for round in 0..6 {
        for number in 0..200 {
            let words = ["SET", &format!("stock_more{number}"), &text(number + round)];
            until_ok(server, &mut client, &words, context);
        }
        until_ok(server, &mut client, &["SAVE"], context);
    }
    for number in 0..200 {
        let reply = client.command(&["GET", &format!("stock_more{number}")]);
        assert_eq!(reply.text(), Some(text(number + 5)), "{context}: {reply}");
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Files of one kind in the database of the business that the test writes to.
fn files(data_dir: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join("stock_quotes/p0000")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|e| e == extension) && path.metadata().unwrap().len() > 0
    });
    paths.sort();
    paths
}

/// Flips one bit of `path` and says where.
fn flip(path: &Path, random: &mut Rng) -> String {
    let mut bytes = std::fs::read(path).unwrap();
    let (place, bit) = (random.usize(..bytes.len()), random.u8(..8));
    bytes[place] ^= 1 << bit;
    std::fs::write(path, &bytes).unwrap();
    format!(
        "bit {bit} of byte {place} of {} in {}",
        bytes.len(),
        path.display()
    )
}

/// Damages one file per round and hands the outcome to `judge`: what the server found, or why it did not start.
fn damage_files(extension: &str, mut judge: impl FnMut(Result<Found, String>, &str)) {
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let healthy = folder.path().join("healthy");
    make_data(&healthy);
    for round in 0..rounds() {
        let data_dir = folder.path().join(format!("round{round}"));
        copy(&healthy, &data_dir);
        let paths = files(&data_dir, extension);
        assert!(!paths.is_empty(), "no .{extension} files");
        let context = format!(
            "SEED={seed}: {}",
            flip(&paths[random.usize(..paths.len())], &mut random)
        );
        let outcome = match Server::try_start(options(&data_dir)) {
            Ok(server) => {
                let found = read(&mut server.client(), &context);
                write_more(&server, &context);
                Ok(found)
            }
            Err(log) => Err(log),
        };
        judge(outcome, &context);
        std::fs::remove_dir_all(&data_dir).unwrap();
    }
}

#[test]
fn a_flipped_bit_in_the_log_is_named_and_loses_nothing() {
    if Program::from_environment() == Program::Redis {
        return;
    }
    let mut refused = 0;
    damage_files("log", |outcome, context| match outcome {
        Ok(found) => assert!(found.errors.is_empty(), "{context}: {:?}", found.errors),
        Err(log) => {
            assert!(
                log.contains("stock_quotes/0") && log.contains("is damaged at byte"),
                "{context}: {log}"
            );
            refused += 1;
        }
    });
    assert!(refused > 0, "no flip was noticed");
}

#[test]
fn a_flipped_bit_in_a_table_is_named_and_loses_nothing_else() {
    if Program::from_environment() == Program::Redis {
        return;
    }
    damage_files("sst", |outcome, context| match outcome {
        Ok(found) => {
            for (key, error) in &found.errors {
                assert!(error.contains("stock_quotes/0"), "{context}: {key}: {error}");
            }
            println!("{context}: {} whole, {} named", found.whole, found.errors.len());
        }
        Err(log) => {
            assert!(
                log.contains("stock_quotes/0") && log.contains("failed"),
                "{context}: {log}"
            );
            println!("{context}: refused to start");
        }
    });
}

/// Flips one bit of one chunk, below RocksDB's own checksums; returns the chunk's first timestamp and number of bytes.
fn flip_in_a_chunk(data_dir: &Path, random: &mut Rng) -> (i64, usize) {
    let shared = SharedResources::new(8 << 20, 8 << 20, 2).unwrap();
    let options = DatabaseOptions {
        compression: Compression::Lz4,
        checkpoint_journal_bytes: 1 << 20,
        cold_path: None,
        max_open_files: 64,
        wal_bytes_per_sync: 0,
        background_jobs: 2,
        compaction: true,
    };
    let path = data_dir.join("stock_quotes/p0000");
    let database = Database::open(&path, "stock_quotes/0", &options, &shared).unwrap();
    let series_id = random.u64(1..=SERIES as u64);
    let view = database.view(Reach::Disk);
    let mut rows = view.chunks(Tier::Hot, series_id, i64::MIN, i64::MAX, false);
    let mut chunks = Vec::new();
    while let Read::Known(Some((first, bytes))) = rows.current().unwrap() {
        chunks.push((first, bytes.to_vec()));
        rows.advance();
    }
    let place = random.usize(..chunks.len());
    let (first, bytes) = &mut chunks[place];
    let byte = random.usize(..bytes.len());
    bytes[byte] ^= 1 << random.u8(..8);
    let mut batch = database.batch();
    batch.put_chunk(Tier::Hot, series_id, *first, bytes);
    assert!(database.commit(batch).is_ok());
    (*first, bytes.len())
}

#[test]
fn a_flipped_bit_in_a_chunk_is_named_and_loses_nothing_else() {
    if Program::from_environment() == Program::Redis {
        return;
    }
    let seed = seed();
    let mut random = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let healthy = folder.path().join("healthy");
    make_data(&healthy);
    for round in 0..rounds() {
        let data_dir = folder.path().join(format!("round{round}"));
        copy(&healthy, &data_dir);
        let (first, _) = flip_in_a_chunk(&data_dir, &mut random);
        let context = format!("SEED={seed}: the chunk at {first}");
        let server = Server::start(options(&data_dir));
        let mut client = server.client();
        let found = read(&mut client, &context);
        assert_eq!(found.errors.len(), 1, "{context}: {:?}", found.errors);
        let (key, error) = found.errors.first_key_value().unwrap();
        let named = format!("at timestamp {first}");
        assert!(
            error.contains("damaged chunk") && error.contains(&named),
            "{context}: {error}"
        );
        // What lies in the other chunks of the series is read, and the series can be written.
        let before = client.command(&["TSDB_GET", key, "-", &(first - 1).to_string()]);
        assert_eq!(before.elements().len() as i64, first, "{context}: {before}");
        let from = (first + 100).min(SAMPLES);
        let after = client.command(&["TSDB_GET", key, &from.to_string(), "+"]);
        assert_eq!(
            after.elements().len() as i64,
            SAMPLES - from,
            "{context}: {after}"
        );
        assert!(client.command(&["TSDB_SET", key, "5000", "1.5"]).is_ok());
        write_more(&server, &context);
    }
}

/// What is left of a log that was cut: every sample and string that is there is right.
#[derive(Debug, PartialEq)]
struct Left {
    /// Timestamps, by series.
    samples: Vec<Vec<i64>>,
    /// Numbers of the strings.
    strings: Vec<usize>,
}

impl Left {
    fn read(client: &mut Client, context: &str) -> Left {
        let series = |series| {
            let reply = client.command(&["TSDB_GET", &format!("stock_{series}"), "-", "+"]);
            let timestamp_of = |sample: &Value| {
                let parts = sample.elements();
                let Value::Integer(timestamp) = parts[0] else {
                    panic!("{context}: series {series}: {sample}")
                };
                let good = parts[1].float() == Some(value(series, timestamp));
                assert!(good, "{context}: series {series}: {sample} at {timestamp}");
                timestamp
            };
            let timestamps: Vec<i64> = reply.elements().iter().map(timestamp_of).collect();
            assert!(
                timestamps.is_sorted_by(|a, b| a < b),
                "{context}: series {series}"
            );
            timestamps
        };
        let samples = (0..SERIES).map(series).collect();
        let string = |number: &usize| {
            let reply = client.command(&["GET", &format!("stock_text{number}")]);
            assert!(!reply.is_error(), "{context}: {reply}");
            let found = reply.text();
            assert!(
                found.is_none() || found == Some(text(*number)),
                "{context}: {reply}"
            );
            found.is_some()
        };
        let strings = (0..STRINGS).filter(string).collect();
        Left { samples, strings }
    }

    fn is_whole(&self) -> bool {
        self.strings.len() == STRINGS
            && self
                .samples
                .iter()
                .all(|samples| samples.len() == SAMPLES as usize)
    }
}

/// Flips a bit in the middle of what was written to `log`: the file may have been made longer beforehand.
fn flip_in_the_middle(log: &Path) {
    let mut bytes = std::fs::read(log).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 1;
    std::fs::write(log, &bytes).unwrap();
}

/// Starts a server whose log is damaged: it refuses until the cut is asked for, and then finds the same for ever. What
/// it found, and whether it left out what cannot be read in place of a cut.
fn cut(data_dir: &Path) -> (Left, bool) {
    let refused = Server::try_start(options(data_dir)).err().expect("a refusal");
    assert!(
        refused.contains("is damaged at byte") && refused.contains("storage.cut_damaged_log=true"),
        "{refused}"
    );
    let mut cutting = options(data_dir);
    cutting
        .sets
        .push(("storage.cut_damaged_log".to_owned(), "true".to_owned()));
    let mut server = Server::start(cutting);
    let left = Left::read(&mut server.client(), "cut");
    let is_skipping = server.log().contains("the log is not cut");
    // What was cut off is gone for good: from now on the server starts as ever, and finds the same.
    server.kill9();
    let server = Server::start(options(data_dir));
    assert_eq!(Left::read(&mut server.client(), "again"), left);
    write_more(&server, "after the cut");
    (left, is_skipping)
}

/// Logs that something was written to, oldest first.
fn written_logs(data_dir: &Path) -> Vec<PathBuf> {
    let mut logs = files(data_dir, "log");
    logs.retain(|log| std::fs::read(log).unwrap().iter().any(|byte| *byte != 0));
    logs
}

#[test]
fn a_damaged_log_is_cut_only_when_that_is_asked_for() {
    if Program::from_environment() == Program::Redis {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    make_data(&data_dir);
    // No table file can be newer than the last log.
    flip_in_the_middle(written_logs(&data_dir).last().unwrap());
    let (left, is_skipping) = cut(&data_dir);
    assert!(!is_skipping, "the log was not cut");
    assert!(!left.is_whole(), "nothing was lost: the damage was not read");
    let saved = SAMPLES as usize / 2;
    for (series, samples) in left.samples.iter().enumerate() {
        let first: Vec<i64> = (0..samples.len() as i64).collect();
        assert_eq!(*samples, first, "series {series} is not what was written first");
        assert!(samples.len() >= saved, "what series {series} had saved is lost");
    }
    let first: Vec<usize> = (0..left.strings.len()).collect();
    assert_eq!(left.strings, first, "a string before the last one is lost");
    assert!(first.len() >= STRINGS / 2, "{} strings", first.len());
    let kept = left.samples.iter().any(|samples| samples.len() > saved) || first.len() > STRINGS / 2;
    assert!(kept, "nothing before the damage was replayed: {left:?}");
}

#[test]
fn a_log_that_is_older_than_a_table_is_skipped_where_it_is_unreadable() {
    if Program::from_environment() == Program::Redis {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    // No checkpoint lets the first log go.
    let mut without_checkpoints = options(&data_dir);
    without_checkpoints
        .sets
        .push(("storage.checkpoint_interval".into(), "1 d".into()));
    let mut server = Server::start(without_checkpoints);
    let mut client = server.client();
    // So few that the journal's first buffer does not grow, and then one record that is more than it holds: it becomes a
    // table, and the next write begins a second log. What was sealed until then is in the first log only.
    let commands = writes(0, SAMPLES / 2, 0..STRINGS / 2);
    let (early, others) = commands.split_at(EARLY_SERIES);
    for words in early {
        assert!(client.command(words).is_ok());
    }
    let large = ["SET", "stock_large", &"large".repeat(100_000)].map(String::from);
    let large = large.to_vec();
    assert!(client.command(&["MULTI"]).is_ok());
    for words in others.iter().chain([&large]) {
        assert!(!client.command(words).is_error());
    }
    let replies = client.command(&["EXEC"]);
    assert!(replies.elements().iter().all(Value::is_ok), "{replies}");
    assert!(client.command(&["SET", "stock_next", "1"]).is_ok());
    let begin = Instant::now();
    while files(&data_dir, "sst").is_empty() || written_logs(&data_dir).len() < 2 {
        assert!(begin.elapsed() < TABLE_PATIENCE, "no second log");
        std::thread::sleep(Duration::from_millis(20));
    }
    write(&mut client, SAMPLES / 2, SAMPLES, STRINGS / 2..STRINGS);
    server.kill9();
    flip_in_the_middle(&written_logs(&data_dir)[0]);
    let (left, is_skipping) = cut(&data_dir);
    assert!(is_skipping, "no table was newer than the damage");
    // The journal's records up to the large values are in its table, and those after them in the second log.
    assert_eq!(left.strings.len(), STRINGS);
    for (series, samples) in left.samples.iter().enumerate() {
        assert_eq!(samples.last(), Some(&(SAMPLES - 1)), "series {series}");
    }
    // The large record is most of the log, so the damage is in it.
    let is_whole = |samples: &Vec<i64>| samples.len() == SAMPLES as usize;
    assert!(left.samples[..EARLY_SERIES].iter().all(is_whole), "{left:?}");
}
