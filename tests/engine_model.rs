//! The engine of one partition against a model: random steps, crashes included, seeded and shrunk.
//!
//! `SEED` repeats a run, and `SEED=random` draws another one; `ENGINE_MODEL_RUNS` and `ENGINE_MODEL_STEPS` make the test
//! longer (`make soak` does both).

mod engine {
    pub mod buckets;
    pub mod labels;
    pub mod model;
    pub mod rules;
    pub mod run;
    pub mod steps;
}
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};

use engine::model::Model;
use engine::run::{Run, START_MS, Setup};
use engine::steps::{Step, draw, shrink};

const SHRINK_TRIES: usize = 400;
/// So many runs come across everything that steps can do.
const RUNS: usize = 24;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn setup(seed: u64) -> Setup {
    let retention = if seed.is_multiple_of(3) { 1_500 } else { 0 };
    Setup {
        retention,
        hot_age: (seed % 5 < 3).then_some(START_MS - 1_000),
        head_samples_max: if seed.is_multiple_of(2) { 16 } else { 64 },
        decoded_bytes: if seed % 7 < 4 { 64 << 10 } else { 0 },
    }
}

/// What runs have come across.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Background jobs that had something to do.
    rewrites: u64,
    cold_samples: u64,
    /// Series found by labels that only the disk knew.
    stored_matches: u64,
    /// Buckets of rules, and deliveries.
    buckets: u64,
    delivered: u64,
    /// Summaries of chunks that aggregations were content with, and most bytes of them kept.
    summaries: u64,
    summary_bytes: usize,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.rewrites += other.rewrites;
        self.cold_samples += other.cold_samples;
        self.stored_matches += other.stored_matches;
        self.buckets += other.buckets;
        self.delivered += other.delivered;
        self.summaries += other.summaries;
        self.summary_bytes = self.summary_bytes.max(other.summary_bytes);
    }
}

fn run(steps: &[Step], setup: Setup) -> Result<Seen, String> {
    let directory = tempfile::tempdir().unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut run = Run::open(directory.path(), setup, Model::default(), START_MS);
        run.steps(steps)?;
        run.commit()?;
        run.compare_all()?;
        run.steps(&[Step::Crash])?;
        run.rest_on_disk()?;
        run.compare_all()?;
        Ok(Seen {
            rewrites: run.rewrites,
            cold_samples: run.cold_samples,
            stored_matches: run.stored_matches,
            buckets: run.buckets,
            delivered: run.delivered,
            summaries: run.summaries,
            summary_bytes: run.summary_bytes,
        })
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

#[test]
fn the_engine_agrees_with_its_model() {
    let first = support::seed();
    let steps = number("ENGINE_MODEL_STEPS", 400);
    let mut all = Seen::default();
    for seed in first..first + number("ENGINE_MODEL_RUNS", RUNS) as u64 {
        let drawn = draw(&mut fastrand::Rng::with_seed(seed), steps);
        let error = match run(&drawn, setup(seed)) {
            Ok(seen) => {
                all += seen;
                continue;
            }
            Err(error) => error,
        };
        let mut last = error.clone();
        let fewer = shrink(drawn, SHRINK_TRIES, |steps| match run(steps, setup(seed)) {
            Ok(_) => false,
            Err(error) => {
                last = error;
                true
            }
        });
        panic!(
            "SEED={seed}: {error}\nshrunk to {} steps: {last}\n{fewer:#?}",
            fewer.len()
        );
    }
    println!("{all:?}");
    if number("ENGINE_MODEL_RUNS", RUNS) < RUNS {
        return;
    }
    assert!(all.rewrites > 0, "no background job had anything to do");
    assert!(all.stored_matches > 0, "no labels were found on the disk");
    assert!(all.buckets > 0, "no bucket was compared");
    assert!(all.summaries > 0, "no summary was seen");
    assert!(all.summary_bytes > 0, "no summary was kept");
}

/// Where the child process works; set only for it.
const CHILD_DIRECTORY: &str = "ENGINE_MODEL_CHILD_DIRECTORY";

/// Not a test of its own: what the next test runs in a process that it lets abort.
#[test]
fn child() {
    let Ok(directory) = std::env::var(CHILD_DIRECTORY) else {
        return;
    };
    let seed = support::seed();
    let directory = Path::new(&directory);
    let mut run = Run::open(&directory.join("data"), setup(seed), Model::default(), START_MS);
    let outcome = run.steps(&draw(
        &mut fastrand::Rng::with_seed(seed),
        number("ENGINE_MODEL_STEPS", 100),
    ));
    std::fs::write(directory.join("now"), run.now_ms.to_string()).unwrap();
    std::fs::write(directory.join("model"), run.durable.render()).unwrap();
    let newest_deleted: String = run
        .newest_deleted
        .iter()
        .map(|((key, data_type), newest)| format!("{} {data_type} {newest}\n", String::from_utf8_lossy(key)))
        .collect();
    std::fs::write(directory.join("newest_deleted"), newest_deleted).unwrap();
    std::fs::write(directory.join("outcome"), outcome.err().unwrap_or_default()).unwrap();
    std::process::abort();
}

#[test]
fn what_was_committed_survives_an_abort() {
    let first = support::seed();
    for seed in first..first + number("ENGINE_MODEL_RUNS", RUNS) as u64 {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD_DIRECTORY, directory.path())
            .env("SEED", seed.to_string())
            .env("ENGINE_MODEL_STEPS", (40 + seed % 160).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "SEED={seed}: the child ended in peace");
        let read = |name: &str| {
            std::fs::read_to_string(directory.path().join(name)).unwrap_or_else(|error| {
                panic!("SEED={seed}: {name}: {error}");
            })
        };
        assert_eq!(read("outcome"), "", "SEED={seed}, in the child");
        let (model, now_ms) = (Model::parse(&read("model")), read("now").parse().unwrap());
        let mut run = Run::open(&directory.path().join("data"), setup(seed), model, now_ms);
        for line in read("newest_deleted").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let series = (words[0].as_bytes().to_vec(), words[1].parse().unwrap());
            run.newest_deleted.insert(series, words[2].parse().unwrap());
        }
        if let Err(error) = run.compare_all() {
            panic!("SEED={seed}, after the abort: {error}");
        }
    }
}
