//! The storage engine alone: ingest rate, write amplification, late samples, bytes on disk, memory, start time.
//!
//! `cargo bench --bench engine -- [ingest|late|size|memory|start|scan|always] [MILLIONS]`: all of them if none is named, with the
//! full 100 million samples if the number is left out; `late MILLIONS PERCENT` runs one share only. Data goes to `TMPDIR`, which must not be a memory disk.
//! Wall times are those of the machine at that moment; CPU times are what to compare.

#[path = "data.rs"]
mod data;
#[path = "engine/gauge.rs"]
mod gauge;
#[path = "engine/harness.rs"]
mod harness;
#[path = "engine/heap.rs"]
mod heap;
#[path = "engine/served.rs"]
mod served;
#[path = "engine/start.rs"]
mod start;

use data::Random;
use gauge::{Gauge, Stopwatch};
use harness::{Engine, Setup};
use ticklane::series::Sample;
use ticklane::store::layout;

const START_MS: i64 = 1_728_462_600_000;
/// Bytes that a client counts for a sample: timestamp, double and quality.
const SAMPLE_BYTES: f64 = 17.0;
const SERIES: usize = 1_000;
const BATCH: usize = 1_000;

fn keys(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("stock_{number:07}").into_bytes())
        .collect()
}

/// Numbers drawn beforehand, so that drawing costs the measured loop next to nothing: few and small enough for the
/// processor's first cache, where series in step and out of step find them alike.
const DRAWS: usize = 1 << 12;

/// Random walks in cents and jitter.
struct Walk {
    steps: Vec<(i8, i8)>,
    prices: Vec<f64>,
}

impl Walk {
    fn new(series: usize) -> Walk {
        let mut random = Random(11);
        let steps = (0..DRAWS).map(|_| (random.between(-50, 50) as i8, random.between(-3, 3) as i8));
        Walk {
            steps: steps.collect(),
            prices: vec![10_000.0; series],
        }
    }

    /// The sample of `series` in `round`.
    fn sample(&mut self, series: usize, round: i64) -> Sample {
        let (jitter, cents) = self.steps[(round as usize).wrapping_mul(977).wrapping_add(series) % DRAWS];
        self.prices[series] += f64::from(cents);
        Sample::new(
            START_MS + round * 1_000 + i64::from(jitter),
            self.prices[series] / 100.0,
        )
    }
}

fn ingest(samples: usize) {
    println!("\n## Ingest of {samples} samples, {SERIES} series round robin, batches of {BATCH}, one thread");
    let directory = tempfile::tempdir().expect("a directory");
    let mut engine = Engine::open(directory.path(), Setup::default());
    let (keys, mut walk) = (keys(SERIES), Walk::new(SERIES));
    let gauge = Gauge::start();
    let mut now_ms = engine.end_turn();
    for round in 0..(samples / SERIES) as i64 {
        for (series, key) in keys.iter().enumerate() {
            engine.look_ahead(&keys, series);
            engine.add(key, walk.sample(series, round), now_ms);
        }
        now_ms = engine.end_turn();
    }
    let millions = samples as f64 / 1e6;
    let (wall, thread, process) = (gauge.wall_s(), gauge.thread_s(), gauge.process_s());
    println!(
        "{:.2} M/s by wall time, {:.2} M/s by CPU time of the thread ({:.1} ns a sample), {:.2} M/s with background",
        millions / wall,
        millions / thread,
        thread * 1e3 / millions,
        millions / process
    );
    engine.seal_all();
    engine.wait_for_merges(directory.path());
    drop_caches_written();
    println!(
        "write amplification {:.2} ({} MiB to the disk, {} MiB committed), {} stalls, sealed {:.1} s later",
        gauge.written_bytes() as f64 / (samples as f64 * SAMPLE_BYTES),
        gauge.written_bytes() >> 20,
        engine.commit_bytes >> 20,
        engine.stalls,
        gauge.wall_s() - wall
    );
    let totals = engine.partition.tier_totals();
    println!(
        "{} samples sealed, {:.3} bytes each in chunks, {:.3} in live tables, {:.3} with the log",
        totals.hot_samples,
        totals.hot_bytes as f64 / totals.hot_samples as f64,
        engine.partition.database().live_bytes() as f64 / samples as f64,
        gauge::disk_bytes(directory.path()) as f64 / samples as f64
    );
}

/// Dirty pages count as written only when they reach the disk.
fn drop_caches_written() {
    // SAFETY: the call takes no arguments and touches no memory of ours.
    unsafe { libc::sync() }
}

/// An engine that is given a share of late samples.
struct Arrivals {
    engine: Engine,
    keys: Vec<Vec<u8>>,
    walk: Walk,
    /// The round that each series has reached.
    rounds: Vec<i64>,
    /// How many seconds late a sample is, if it is.
    draws: Vec<Option<i16>>,
    draw: usize,
    now_ms: i64,
    _directory: tempfile::TempDir,
}

impl Arrivals {
    /// After two hours in order, which late samples fall into.
    fn new(percent: u64) -> Arrivals {
        const BEFORE: i64 = 7_200;
        let directory = tempfile::tempdir().expect("a directory");
        let mut random = Random(3);
        let mut arrivals = Arrivals {
            engine: Engine::open(directory.path(), Setup::default()),
            keys: keys(SERIES),
            walk: Walk::new(SERIES),
            rounds: vec![0; SERIES],
            draws: vec![None],
            draw: 0,
            now_ms: 0,
            _directory: directory,
        };
        arrivals.now_ms = arrivals.engine.end_turn();
        arrivals.add(BEFORE as usize);
        let is_late = |random: &mut Random| random.between(0, 99) < percent as i64;
        arrivals.draws = (0..DRAWS)
            .map(|_| is_late(&mut random).then(|| random.between(600, BEFORE) as i16))
            .collect();
        arrivals
    }

    /// Adds so many samples to every series, and tells how many seconds that took, by the clock and of CPU time: drawing
    /// them does not count.
    fn add(&mut self, rounds: usize) -> [f64; 2] {
        let mut sums = [0.0; 2];
        let mut samples = Vec::with_capacity(SERIES);
        for _ in 0..rounds {
            samples.clear();
            samples.extend((0..SERIES).map(|series| self.draw(series)));
            let stopwatch = Stopwatch::start();
            for (series, sample) in samples.iter().enumerate() {
                self.engine.look_ahead(&self.keys, series);
                self.engine.add(&self.keys[series], *sample, self.now_ms);
            }
            self.now_ms = self.engine.end_turn();
            for (sum, seconds) in sums.iter_mut().zip(stopwatch.seconds()) {
                *sum += seconds;
            }
        }
        sums
    }

    /// The next sample of `series`.
    fn draw(&mut self, series: usize) -> Sample {
        self.draw += 1;
        match self.draws[(self.draw + self.draw / DRAWS) % self.draws.len()] {
            // Half a second off, so that it is a sample of its own.
            Some(age) => Sample::new(
                START_MS + (self.rounds[series] - i64::from(age)) * 1_000 + 500,
                1.25,
            ),
            None => {
                self.rounds[series] += 1;
                self.walk.sample(series, self.rounds[series])
            }
        }
    }
}

/// Samples of each series that one engine is given before it is the other's turn: a tenth of a second, so that what the
/// machine does to one it does to both.
const TURN_ROUNDS: usize = 1_000;

fn late(samples: usize, only: Option<u64>) {
    println!("\n## Late samples, {samples} each, 10 minutes to 2 hours late at one sample a second");
    println!(
        "In turn with an engine that gets all in order, {TURN_ROUNDS} samples of each series at a time: medians."
    );
    println!("  late   in order, M/s   late, M/s   of in-order   by CPU time   wanted");
    for (percent, least) in [(0, 1.0), (1, 0.95), (5, 0.85), (10, 0.8), (25, 0.6), (99, 0.25)] {
        if only.is_some_and(|only| only != percent) {
            continue;
        }
        let (mut in_order, mut late) = (Arrivals::new(0), Arrivals::new(percent));
        let turns = (samples / SERIES / TURN_ROUNDS).max(1);
        let seconds: Vec<[[f64; 2]; 2]> = (0..turns)
            .map(|_| [in_order.add(TURN_ROUNDS), late.add(TURN_ROUNDS)])
            .collect();
        let median_of = |number: fn(&[[f64; 2]; 2]) -> f64| {
            let mut numbers: Vec<f64> = seconds.iter().map(number).collect();
            numbers.sort_by(f64::total_cmp);
            numbers[numbers.len() / 2]
        };
        let millions = (SERIES * TURN_ROUNDS) as f64 / 1e6;
        println!(
            "{percent:>4} % {:>15.2} {:>11.2} {:>13.3} {:>13.3} {least:>8}",
            millions / median_of(|[[in_order, _], _]| *in_order),
            millions / median_of(|[_, [late, _]]| *late),
            median_of(|[[in_order, _], [late, _]]| in_order / late),
            median_of(|[[_, in_order], [_, late]]| in_order / late),
        );
    }
}

/// A named kind of data: round to timestamp and value.
type Kind = (&'static str, fn(&mut Random, &mut i64, i64) -> Sample);

const KINDS: [Kind; 3] = [
    ("ticks", |random, cents, round| {
        *cents += random.between(-3, 3);
        Sample::new(
            START_MS + round * 1_000 + random.between(-50, 50),
            (10_000 + *cents) as f64 / 100.0,
        )
    }),
    ("sensor", |random, hundredths, round| {
        *hundredths += random.between(-1, 1);
        Sample::new(START_MS + round * 1_000, (2_150 + *hundredths) as f64 / 100.0)
    }),
    ("noise", |random, _, round| {
        Sample::new(START_MS + round * 1_000, random.normal())
    }),
];

fn size(samples: usize) {
    println!("\n## Bytes on disk per sample, 100 series, {samples} samples each kind");
    println!(
        "kind     tier   chunks alone   with keys and index   whole directory, log and journal included"
    );
    const SIZE_SERIES: usize = 100;
    for (name, draw) in KINDS {
        for hot_age in [None, Some(1)] {
            let directory = tempfile::tempdir().expect("a directory");
            let setup = Setup {
                hot_age,
                rewrite_rate: f64::INFINITY,
                ..Setup::default()
            };
            let mut engine = Engine::open(directory.path(), setup);
            let keys = keys(SIZE_SERIES);
            let mut random = Random(5);
            let mut states = [0; SIZE_SERIES];
            let mut now_ms = engine.end_turn();
            for round in 0..(samples / SIZE_SERIES) as i64 {
                for (key, state) in keys.iter().zip(&mut states) {
                    engine.add(key, draw(&mut random, state, round), now_ms);
                }
                now_ms = engine.end_turn();
            }
            engine.seal_all();
            engine.rewrite_all();
            engine.seal_all();
            engine.wait_for_merges(directory.path());
            let totals = engine.partition.tier_totals();
            let (tier, family, bytes, count) = match hot_age {
                None => ("hot", layout::CHUNKS, totals.hot_bytes, totals.hot_samples),
                Some(_) => ("cold", layout::COLD, totals.cold_bytes, totals.cold_samples),
            };
            let tables = engine.partition.database().table_bytes(family);
            println!(
                "{name:<8} {tier:<5} {:>13.3} {:>21.3} {:>16.3}   {:.1} % of the samples in this tier",
                bytes as f64 / count.max(1) as f64,
                tables as f64 / count.max(1) as f64,
                gauge::disk_bytes(&harness::partition_dir(directory.path())) as f64 / samples as f64,
                count as f64 * 100.0 / samples as f64
            );
        }
    }
}

/// The most that the engine has counted, and what was allocated at that moment.
#[derive(Default)]
struct Largest {
    counted_bytes: usize,
    allocated_bytes: usize,
}

impl Largest {
    fn note(&mut self, counted_bytes: usize, heap_before: usize) {
        if counted_bytes > self.counted_bytes {
            self.counted_bytes = counted_bytes;
            self.allocated_bytes = heap::taken_bytes().saturating_sub(heap_before);
        }
    }
}

impl std::fmt::Display for Largest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (counted, allocated) = (self.counted_bytes >> 20, self.allocated_bytes >> 20);
        write!(f, "largest {counted} MiB ({allocated} MiB allocated then)")
    }
}

/// A million series, of which ten thousand get samples.
fn memory(budget_bytes: usize) {
    const ALL: usize = 1_000_000;
    const ACTIVE: usize = 10_000;
    println!(
        "\n## {ALL} series, {ACTIVE} active, {} MiB for series and heads",
        budget_bytes >> 20
    );
    let directory = tempfile::tempdir().expect("a directory");
    let setup = Setup {
        series_bytes: budget_bytes,
        head_idle_ms: 5_000,
        ..Setup::default()
    };
    let mut engine = Engine::open(directory.path(), setup);
    let keys = keys(ALL);
    let mut walk = Walk::new(ALL);
    println!("{} MiB resident before", gauge::memory_mib());
    let heap_before = heap::taken_bytes();
    let mut largest = Largest::default();
    let mut now_ms = engine.end_turn();
    for round in 0..3 {
        for (series, key) in keys.iter().enumerate() {
            engine.add(key, walk.sample(series, round), now_ms);
            if series % BATCH == 0 {
                now_ms = engine.end_turn();
                largest.note(engine.partition.memory_bytes(), heap_before);
            }
        }
    }
    println!(
        "after 3 samples each: {} MiB resident, {} MiB of series and keys, {largest}, {} series loaded",
        gauge::memory_mib(),
        engine.partition.memory_bytes() >> 20,
        engine.partition.loaded_series()
    );
    let gauge = Gauge::start();
    let (mut largest, rounds) = (Largest::default(), 2_000);
    let mut within_s = None;
    for round in 3..3 + rounds {
        for (series, key) in keys.iter().enumerate().take(ACTIVE) {
            engine.add(key, walk.sample(series, round), now_ms);
            if series % BATCH == 0 {
                now_ms = engine.end_turn();
                let used = engine.partition.memory_bytes();
                largest.note(used, heap_before);
                if used <= budget_bytes {
                    within_s.get_or_insert_with(|| gauge.wall_s());
                }
            }
        }
    }
    match within_s {
        Some(seconds) => println!("within the budget {seconds:.2} s after the burst"),
        None => println!("not within the budget since the burst"),
    }
    println!(
        "after {rounds} samples of each active one: {} MiB resident (peak {}), {} MiB of series and keys, {largest}, \
         {} series loaded, {} evicted, {:.2} M/s; {} MiB of RocksDB's buffers and cache",
        gauge::memory_mib(),
        gauge::peak_memory_mib(),
        engine.partition.memory_bytes() >> 20,
        engine.partition.loaded_series(),
        engine.partition.counters.evicted_entries,
        rounds as f64 * ACTIVE as f64 / 1e6 / gauge.wall_s(),
        engine.rocksdb_bytes() >> 20
    );
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let mut numbers = words.iter().filter_map(|word| word.parse::<usize>().ok());
    let millions = numbers.next().unwrap_or(100);
    let percent = numbers.next().map(|percent| percent as u64);
    let named: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .filter(|word| word.parse::<usize>().is_err())
        .collect();
    let wants = |name: &str| named.is_empty() || named.contains(&name);
    let samples = millions * 1_000_000;
    if wants("ingest") {
        ingest(samples);
    }
    if wants("late") {
        late(samples / 10, percent);
    }
    if wants("size") {
        size(samples / 20);
    }
    if wants("memory") {
        memory(512 << 20);
        memory(128 << 20);
    }
    if wants("start") {
        start::start(samples);
    }
    if wants("scan") {
        served::scan(samples);
    }
    if wants("always") {
        served::always();
    }
}
