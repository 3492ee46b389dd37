//! The chunk format as a promise: bytes written once decode for ever, and typical data stay small.

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

/// Twenty-four samples whose values are written by the codec of that name.
fn fixture_columns(codec: &str) -> Columns {
    // SplitMix64's finaliser: digits without a pattern, without floating-point functions.
    let scattered = |index: i64| {
        let mut bits = (index as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    };
    let one = 1.0f64.to_bits();
    (0..24)
        .map(|index| {
            let regular = START_MS + index * 1_000;
            let value = match codec {
                "constant" => 1.5,
                "decimal" => (10_000 + index * index % 7) as f64 / 100.0,
                "decimal with exceptions" => {
                    [0.25, -0.0, 0.75, 1.0, 0.5, 0.25, 0.5, 0.0, 9.5][index as usize % 9]
                }
                "xor" => f64::from_bits(one | scattered(index / 6) >> 14),
                "bits" => f64::from_bits(one + (index * index * index) as u64 * 0x123_4567_89AB),
                "split" => f64::from_bits(scattered(-index) << 63 | one | scattered(index) >> 12),
                _ => f64::from_bits(scattered(index)),
            };
            let jitter = (scattered(index) >> 59) as i64;
            let timestamp = if codec == "decimal" {
                regular + jitter
            } else {
                regular
            };
            let quality = if codec == "decimal" && index > 18 { 3 } else { 0 };
            Sample {
                timestamp,
                value,
                quality,
            }
        })
        .collect()
}

/// Codec, its number in the second byte, and the chunk of [`fixture_columns`] as version 1 wrote it.
const FIXTURES: [(&str, u8, &str); 7] = [
    ("constant", 1, "01101880ddb186ce64d00f000000000000f83fdb67cdde"),
    (
        "decimal",
        2,
        "112118b8ddb186ce64c6b301140542a09c010800045e010305745688ce0ad159211a011300050303d4aac33e05392efc\
         91c82d3cd5d6e4521254eaaa00cb497546",
    ),
    (
        "decimal with exceptions",
        2,
        "01201880ddb186ce64d00f2232030100000000000000800800000000000000800800000000000000800719df07830001\
         071008081915c1c9a8084e4605fc4b7d96",
    ),
    (
        "xor",
        3,
        "01301880ddb186ce64d00f77ece5a08288f33fb200200802926a4fd96031021b2237cc8b76913c6cf9933f0000000000\
         0000000000000048aa3d6583c508000000000000000000000000d2c3e15f",
    ),
    (
        "bits",
        5,
        "01501880ddb186ce64d00f000000000000f03f06ab939eabb42402070c00034382f19054301b4f887452b560335b8ef7\
         03009daa62d3",
    ),
    (
        "split",
        4,
        "01401880ddb186ce64d00f7d0000dcb197830a22de7243d53cf1dc5002204617b101649243c55dc477a8516a89391bd4\
         8f8ee17379ea147df86a0ab2548b649d09c262981c048957ee63196d189170e74f2c4f37bb5fd9de2a00379916debbe0\
         3fa021865407b3aaeec3113103583c38d5c28ecbcb9f5dc22155c72598d2f7fe56202e9e8753e42068ba190d24d25a69\
         d4c09e0b102b6001dbbf0443527120b5283764c7d7b737e93d6bb5242a000000d2b08754",
    ),
    (
        "raw",
        0,
        "01001880ddb186ce64d00fafcd1d7b39a820e2f465b9a16a9e786e4f450980185dc406ec814c72a8b88bf89b74a8516a\
         89391beaa27e740c9fcb53e132451fbe9a822c3cab16c93a1384c5c38ac9419078e53ea6b08c368c48b8f3093db13cdd\
         ec7e65f6de5b05e026d3c27bdbbbe03fa021862fa93a9855751f8e194dcc00160f4eb5ab801d97973fbb84551252755c\
         82297d867f7f2b1017cfc3644f9183a0e96634ac85445a2b8d1ad8d79e0b102b6001db0df12518928a03a96a2fca0dd9\
         f1f5ed4c63d27bd66a4954f0dd7535",
    ),
];

#[test]
fn chunks_written_by_version_1_decode() {
    for (codec, number, hex) in FIXTURES {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .map(|digit| digit as u8)
            .collect();
        let chunk: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect();
        assert_eq!(chunk[1] >> 4, number, "{codec}");
        let mut decoded = Columns::default();
        series::decode(&chunk, &mut decoded).unwrap_or_else(|error| panic!("{codec}: {error}"));
        assert!(decoded.iter().eq(fixture_columns(codec).iter()), "{codec}");
    }
}

#[test]
fn version_1_is_what_is_written() {
    for (codec, _, hex) in FIXTURES {
        let columns = fixture_columns(codec);
        let mut chunk = Vec::new();
        series::encode(
            &columns,
            0..columns.len(),
            &mut EncodeScratch::default(),
            &mut chunk,
        );
        let written: String = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            written, hex,
            "{codec}: a better encoding is welcome, another format needs another version"
        );
    }
}
