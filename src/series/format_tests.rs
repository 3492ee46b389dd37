//! The chunk format as a promise: bytes written once decode for ever, and the sizes of typical data stay small.

use crate::series::{self, Columns, EncodeScratch, Sample};

const CHUNK_SAMPLES: usize = 512;
const COLD_SAMPLES: usize = 4_096;
const START_MS: i64 = 1_728_462_600_000;

fn data_set(samples: usize, mut sample: impl FnMut(i64, &mut fastrand::Rng) -> (i64, f64)) -> Columns {
    let mut random = fastrand::Rng::with_seed(20_241_009);
    (0..samples as i64)
        .map(|index| {
            let (timestamp, value) = sample(index, &mut random);
            Sample::new(timestamp, value)
        })
        .collect()
}

/// Two decimals, a walk of ±3 cents, steps of 1 s ± 50 ms.
fn ticks(samples: usize) -> Columns {
    let (mut cents, mut now) = (10_000, START_MS);
    data_set(samples, |_, random| {
        cents += random.i64(-3..=3);
        now += random.i64(950..=1_050);
        (now, cents as f64 / 100.0)
    })
}

/// The same walk on a grid of 1 s that every timestamp misses by up to 50 ms.
fn ticks_on_a_grid(samples: usize) -> Columns {
    let mut cents = 10_000;
    data_set(samples, |index, random| {
        cents += random.i64(-3..=3);
        (
            START_MS + index * 1_000 + random.i64(-50..=50),
            cents as f64 / 100.0,
        )
    })
}

/// Two decimals that move by at most 0.01, exactly 1 Hz.
fn sensor(samples: usize) -> Columns {
    let mut hundredths = 2_150;
    data_set(samples, |index, random| {
        hundredths += random.i64(-1..=1);
        (START_MS + index * 1_000, hundredths as f64 / 100.0)
    })
}

/// Normally distributed doubles, exactly 1 Hz.
fn noise(samples: usize) -> Columns {
    data_set(samples, |index, random| {
        let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
        (
            START_MS + index * 1_000,
            radius * (std::f64::consts::TAU * random.f64()).cos(),
        )
    })
}

/// Bytes per sample in chunks of `chunk_samples`, after making sure that they decode.
fn bytes_per_sample(columns: &Columns, chunk_samples: usize) -> f64 {
    let (mut scratch, mut bytes, mut decoded) = (EncodeScratch::default(), 0, Columns::default());
    for start in (0..columns.len()).step_by(chunk_samples) {
        let range = start..start + chunk_samples;
        let mut chunk = Vec::new();
        if chunk_samples >= COLD_SAMPLES {
            series::encode_cold(columns, range, &mut chunk);
        } else {
            series::encode(columns, range, &mut scratch, &mut chunk);
        }
        bytes += chunk.len();
        series::decode(&chunk, &mut decoded).unwrap();
    }
    assert!(decoded.iter().eq(columns.iter()));
    bytes as f64 / columns.len() as f64
}

#[test]
fn hot_sizes_stay_below_their_bars() {
    let samples = CHUNK_SAMPLES * 64;
    for (name, columns, bar) in [
        ("ticks", ticks(samples), 1.6),
        ("ticks on a grid", ticks_on_a_grid(samples), 1.6),
        ("sensor", sensor(samples), 0.5),
        ("noise", noise(samples), 7.0),
    ] {
        let size = bytes_per_sample(&columns, CHUNK_SAMPLES);
        assert!(size <= bar, "{name}: {size} bytes per sample, {bar} allowed");
    }
}

#[test]
fn cold_sizes_stay_below_their_bars() {
    let samples = COLD_SAMPLES * 8;
    for (name, columns, bar) in [
        ("ticks", ticks(samples), 1.4),
        ("ticks on a grid", ticks_on_a_grid(samples), 1.4),
        ("sensor", sensor(samples), 0.25),
        ("noise", noise(samples), 7.0),
    ] {
        let size = bytes_per_sample(&columns, COLD_SAMPLES);
        assert!(size <= bar, "{name}: {size} bytes per sample, {bar} allowed");
    }
}
