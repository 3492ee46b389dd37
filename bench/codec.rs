//! Chunk codecs measured: nanoseconds a sample to encode and decode, bytes a sample, by data and chunk size.
//!
//! Run it with nothing else running; every time is the minimum of several rounds.

#[path = "data.rs"]
mod data;

use std::hint::black_box;
use std::time::Instant;

use data::Random;
use ticklane::series::{self, Columns, EncodeScratch, Sample};

const SAMPLES: usize = 262_144;
const ROUNDS: usize = 9;
const START_MS: i64 = 1_728_462_600_000;

fn generate(mut sample: impl FnMut(i64, &mut Random) -> (i64, f64)) -> Columns {
    let mut random = Random(7);
    (0..SAMPLES as i64)
        .map(|index| {
            let (timestamp, value) = sample(index, &mut random);
            Sample::new(timestamp, value)
        })
        .collect()
}

fn data_sets() -> Vec<(&'static str, Columns)> {
    let (mut cents, mut now) = (10_000i64, START_MS);
    let ticks = generate(|_, random| {
        cents += random.between(-3, 3);
        now += 1_000 + random.between(-50, 50);
        (now, cents as f64 / 100.0)
    });
    let mut cents = 10_000i64;
    let grid = generate(|index, random| {
        cents += random.between(-3, 3);
        (
            START_MS + index * 1_000 + random.between(-50, 50),
            cents as f64 / 100.0,
        )
    });
    let mut hundredths = 2_150i64;
    let sensor = generate(|index, random| {
        hundredths += random.between(-1, 1);
        (START_MS + index * 1_000, hundredths as f64 / 100.0)
    });
    let mut hundredths = 2_150i64;
    let gaps = generate(|index, random| {
        hundredths += random.between(-1, 1);
        (
            START_MS + index * 1_000 + index / 200 * 3_600_000,
            hundredths as f64 / 100.0,
        )
    });
    let second = |index: i64| START_MS + index * 1_000;
    let normal = generate(|index, random| (second(index), random.normal()));
    let uniform = generate(|index, random| (second(index), random.unit()));
    let around = generate(|index, random| (second(index), 100.0 + random.normal()));
    let sine = generate(|index, _| (second(index), (index as f64 / 500.0).sin()));
    let single = generate(|index, random| (second(index), f64::from((20.0 + random.normal()) as f32)));
    let mut total = 0i64;
    let counter = generate(|index, random| {
        total += random.between(0, 100);
        (START_MS + index * 10_000, total as f64)
    });
    let constant = generate(|index, _| (second(index), 1.5));
    vec![
        ("ticks", ticks),
        ("ticks on a grid", grid),
        ("sensor", sensor),
        ("sensor with gaps", gaps),
        ("noise N(0, 1)", normal),
        ("noise U(0, 1)", uniform),
        ("noise N(100, 1)", around),
        ("sine", sine),
        ("singles", single),
        ("counter 10 s", counter),
        ("constant", constant),
    ]
}

/// The shortest of several rounds, in nanoseconds per sample.
fn fastest(mut round: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            round();
            begin.elapsed().as_nanos() as f64 / SAMPLES as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn encode_all(columns: &Columns, chunk_samples: usize, scratch: &mut EncodeScratch) -> Vec<Vec<u8>> {
    let starts = (0..columns.len()).step_by(chunk_samples);
    starts
        .map(|start| {
            let mut chunk = Vec::with_capacity(chunk_samples * 10);
            series::encode(columns, start..start + chunk_samples, scratch, &mut chunk);
            chunk
        })
        .collect()
}

fn report(name: &str, kind: &str, columns: &Columns, chunks: &[Vec<u8>], encode_ns: f64) {
    let mut decoded = Columns::with_capacity(65_536);
    let decode_ns = fastest(|| {
        for chunk in chunks {
            decoded.clear();
            series::decode(black_box(chunk), &mut decoded).expect("own chunk");
            black_box(&decoded);
        }
    });
    let summary_ns = fastest(|| {
        for chunk in chunks {
            black_box(series::summary(black_box(chunk)).expect("own chunk"));
        }
    });
    let bytes: usize = chunks.iter().map(Vec::len).sum();
    let size = bytes as f64 / columns.len() as f64;
    println!("{name:<18}{kind:>10}{encode_ns:>12.2}{decode_ns:>12.2}{summary_ns:>12.2}{size:>12.3}");
}

fn main() {
    println!("data set              chunk   encode ns   decode ns  summary ns     bytes/sample");
    for (name, columns) in data_sets() {
        let mut scratch = EncodeScratch::default();
        for chunk_samples in [128, 512, 4_096] {
            let mut out = Vec::with_capacity(chunk_samples * 10);
            let encode_ns = fastest(|| {
                for start in (0..columns.len()).step_by(chunk_samples) {
                    out.clear();
                    series::encode(&columns, start..start + chunk_samples, &mut scratch, &mut out);
                    black_box(&out);
                }
            });
            let chunks = encode_all(&columns, chunk_samples, &mut scratch);
            report(name, &chunk_samples.to_string(), &columns, &chunks, encode_ns);
        }
        let begin = Instant::now();
        let mut chunks = Vec::new();
        for start in (0..columns.len()).step_by(4_096) {
            chunks.push(Vec::new());
            let chunk = chunks.last_mut().expect("invariant: just pushed");
            series::encode_cold(&columns, start..start + 4_096, chunk);
        }
        let encode_ns = begin.elapsed().as_nanos() as f64 / SAMPLES as f64;
        report(name, "cold 4096", &columns, &chunks, encode_ns);
    }
}
