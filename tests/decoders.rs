//! Damaged bytes never panic or hang what reads them: chunks, payloads, the journal, rows, configurations, filters,
//! durations and lines of imports. What has to hold is said in `fuzz/properties.rs`.

#[path = "fuzz/properties.rs"]
mod properties;
mod support;

use fastrand::Rng;
use properties::PROPERTIES;
use support::seed;
use ticklane::aggregate::Aggregator;
use ticklane::lane::SealedState;
use ticklane::lane::journal::{JournalBuffer, PartitionName};
use ticklane::lane::outbox::OutboxEntry;
use ticklane::series::payload::{encode_series, encode_string};
use ticklane::series::{Columns, Rule, Sample, SeriesProperties, chunk};
use ticklane::store::layout::{KvRow, TYPE_STRING, deadline_key, label_row};

/// Inputs for each reader; a configuration takes far longer to read than anything else.
const INPUTS: usize = 60_000;
const CONFIGURATIONS: usize = 1_500;
/// Bytes that mean something to one reader or another.
const TELLING_BYTES: &[u8] = b"\x00\x01\x7f\x80\xff=!~(),:_|\t\n \"'[]{}.-+0129nsumhdwy";

fn columns(random: &mut Rng) -> Columns {
    let mut columns = Columns::default();
    let (step, kind) = (random.i64(1..5_000), random.u8(..5));
    let mut timestamp = random.i64(-1_000_000..1_000_000);
    for index in 0..random.usize(1..300) {
        timestamp += if kind % 2 == 0 {
            step
        } else {
            random.i64(1..10_000)
        };
        let value = match kind {
            0 => 7.25,
            1 => index as f64,
            2 => random.i64(-5_000..5_000) as f64 / 100.0,
            3 => f64::from_bits(random.u64(..)),
            _ => random.f64(),
        };
        let quality = if kind == 4 { random.u8(..3) } else { 0 };
        columns.push(Sample {
            quality,
            ..Sample::new(timestamp, value)
        });
    }
    columns
}

fn chunk_of(random: &mut Rng) -> Vec<u8> {
    let columns = columns(random);
    let mut bytes = Vec::new();
    if random.bool() {
        chunk::encode(
            &columns,
            0..columns.len(),
            &mut chunk::EncodeScratch::default(),
            &mut bytes,
        );
    } else {
        chunk::encode_cold(&columns, 0..columns.len(), &mut bytes);
    }
    bytes
}

fn series_properties(random: &mut Rng) -> SeriesProperties {
    let bytes = |text: &str| Box::<[u8]>::from(text.as_bytes());
    let rule = Rule {
        destination: bytes("destination"),
        aggregator: Aggregator::parse(b"twa").expect("it is known"),
        bucket: 60_000,
        align: 7,
        calendar: (bytes("1mo"), bytes("Asia/Shanghai")),
        from: i64::MIN,
    };
    SeriesProperties {
        retention: random.bool().then_some(5),
        labels: (0..random.usize(..4))
            .map(|_| (bytes("name"), bytes("value")))
            .collect(),
        source: random.bool().then(|| bytes("source")),
        rules: vec![rule; random.usize(..3)],
        ..SeriesProperties::default()
    }
}

fn outbox_entry(random: &mut Rng) -> OutboxEntry {
    let (key, from) = (Box::<[u8]>::from(&b"key"[..]), Box::<[u8]>::from(&b"from"[..]));
    match random.u8(..3) {
        0 => OutboxEntry::Rollup {
            source: key,
            destination: from,
            from: random.i64(..),
            to: random.i64(..),
        },
        1 => OutboxEntry::Relink {
            key,
            from,
            to: random.bool().then(|| b"to"[..].into()),
        },
        _ => {
            let labels = vec![(b"name"[..].into(), b"value"[..].into()); random.usize(..3)];
            OutboxEntry::Create {
                key,
                source: from,
                retention: 5,
                labels,
            }
        }
    }
}

fn record(random: &mut Rng) -> Vec<u8> {
    let mut journal = JournalBuffer::default();
    let mut part = JournalBuffer::default();
    for _ in 0..random.usize(1..8) {
        match random.u8(..12) {
            0 => journal.set(b"key", b"value", random.i64(0..2)),
            1 => journal.delete(b"key"),
            2 => journal.expire(b"key", random.i64(..)),
            3 => journal.patch(b"key", random.usize(..9), b"bytes"),
            4 => journal.create_series(b"key", 0, random.u64(..)),
            5 => journal.sample(random.u64(..9), random.i64(..), random.f64(), random.u8(..2)),
            6 => journal.rename(b"from", b"to", &[(0, 7), (1, 8)], 0),
            7 => journal.delete_range(random.u64(..9), random.i64(..), random.i64(..)),
            8 => journal.set_properties(b"key", &series_properties(random)),
            9 => journal.outbox_entry(random.u64(..9), &outbox_entry(random)),
            10 => {
                part.sample(1, 2, 3.0, 0);
                journal.batch_part(random.u128(..), &[PartitionName::new("iot_data", 3)], &part);
            }
            _ => journal.batch_outcome(random.u128(..), random.bool()),
        }
    }
    journal.bytes().to_vec()
}

fn row(random: &mut Rng) -> Vec<u8> {
    match random.u8(..4) {
        0 => {
            let mut state = SealedState::default();
            state.chunk_samples = random.u64(..);
            state.set_retention(random.bool().then_some(5));
            for from in 0..random.i64(..3) {
                state.rest_mut().deleted.push((from, from + 1));
            }
            state.encode(0, b"key")
        }
        1 => {
            let mut bytes = Vec::new();
            let row = KvRow {
                type_byte: TYPE_STRING,
                expire_at_ms: random.i64(..),
                payload: b"value",
            };
            row.encode(&mut bytes);
            bytes
        }
        2 => deadline_key(random.i64(..), b"key"),
        _ => label_row(b"na\0me", b"val\0\xff", b"key"),
    }
}

fn pick<'a>(random: &mut Rng, texts: &[&'a str]) -> &'a [u8] {
    texts[random.usize(..texts.len())].as_bytes()
}

fn text_for(reader: &str, random: &mut Rng) -> Vec<u8> {
    match reader {
        "matcher" => {
            let texts = [
                "l=v",
                "l!=v",
                "l=",
                "l!=",
                "l=(a,b)",
                "l!=(\"a,b\",c)",
                "host=~web.*",
                "h!~[a-f]{2,5}|x",
            ];
            [pick(random, &texts), b"\0web1"].concat()
        }
        "durations" => {
            let mut head: Vec<u8> = (0..17).map(|_| random.u8(..)).collect();
            let widths = [
                "250ms",
                "1h30m",
                "5",
                "1mo Asia/Shanghai",
                "2y",
                "1d Europe/Berlin",
                "3w America/Santiago",
            ];
            head.extend(pick(random, &widths));
            head
        }
        "import" => {
            let lines = [
                "stock_SH600519_1728462600\t100.5|1",
                "a_5=1e300",
                "SH600519:00000000670c5a28:00 4059200000000000ff",
            ];
            pick(random, &lines).to_vec()
        }
        _ => {
            let texts = [
                "[server]\nport = 5555\nbind = [\"127.0.0.1\"]\n",
                "[storage]\ncheckpoint_journal = \"64 KiB\"\nhead_idle = \"50 ms\"\n",
                "[[business]]\nname = \"a\"\nprefixes = [\"a_\"]\nfsync = \"always\"\n",
                "storage.series_memory=1 GiB",
                "server.cores=0-3,5",
                "business.iot_data.retention=30 d",
            ];
            pick(random, &texts).to_vec()
        }
    }
}

/// A valid input of a reader.
fn valid(reader: &str, random: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    match reader {
        "chunk" => bytes = chunk_of(random),
        "chunk_contents" => {
            bytes = chunk_of(random);
            bytes.truncate(bytes.len() - 4);
        }
        "payload" => {
            if random.bool() {
                encode_string(b"value", &mut bytes);
            } else {
                let series = vec![(0, columns(random)), (3, columns(random))];
                assert!(encode_series(
                    Some(&series_properties(random)),
                    &series,
                    &mut bytes
                ));
            }
            bytes.truncate(bytes.len() - 8);
        }
        "journal" => bytes = record(random),
        "outbox" => outbox_entry(random).encode(&mut bytes),
        "rows" => bytes = row(random),
        "properties" => series_properties(random).encode(&mut bytes),
        text => bytes = text_for(text, random),
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(..4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, TELLING_BYTES[random.usize(..TELLING_BYTES.len())]),
            4 => {
                let piece = bytes[at..]
                    .iter()
                    .copied()
                    .take(random.usize(..20))
                    .collect::<Vec<u8>>();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, piece);
            }
            // A number that is far too great.
            _ => drop(bytes.splice(at..at, [0xff; 9])),
        }
    }
}

#[test]
fn readers_stand_damage() {
    let seed = seed();
    for (reader, check) in PROPERTIES {
        let inputs = if *reader == "config" {
            CONFIGURATIONS
        } else {
            INPUTS
        };
        for input in 0..inputs {
            let own = seed.wrapping_mul(1_000_003).wrapping_add(input as u64);
            let mut random = Rng::with_seed(own);
            let mut bytes = valid(reader, &mut random);
            damage(&mut bytes, &mut random);
            let shown = bytes.clone();
            let checked = std::panic::catch_unwind(|| check(&bytes));
            assert!(checked.is_ok(), "{reader}, input {input}, SEED={seed}: {shown:?}");
        }
    }
}

#[test]
fn every_bit_of_a_chunk_counts() {
    let mut random = Rng::with_seed(seed());
    for _ in 0..20 {
        let bytes = chunk_of(&mut random);
        assert!(chunk::decode(&bytes, &mut Columns::default()).is_ok());
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                chunk::decode(&damaged, &mut Columns::default()).is_err(),
                "bit {bit}"
            );
        }
    }
}
