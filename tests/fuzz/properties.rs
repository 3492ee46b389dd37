//! What has to hold of every reader of bytes, whatever the bytes: shared by the fuzz targets and `tests/decoders.rs`.

use ticklane::aggregate::{Bucketing, parse_duration};
use ticklane::command::ts::duration::{parse_duration as parse_steps, parse_units};
use ticklane::command::ts::labels::Matcher;
use ticklane::config::{Config, TimeUnit};
use ticklane::lane::SealedState;
use ticklane::lane::journal::{JournalReader, Operation};
use ticklane::lane::outbox::OutboxEntry;
use ticklane::series::payload::{decode_payload, encode_series};
use ticklane::series::{Columns, Sample, SeriesProperties, chunk};
use ticklane::store::layout::{KvRow, deadline_key, decode_deadline_key, decode_label_row, label_row};
use ticklane::transfer::row::{parse_v1, parse_v2, write_v2};

/// A reader's name and what has to hold of it.
pub type Property = (&'static str, fn(&[u8]));

/// Everything here, by name.
pub const PROPERTIES: &[Property] = &[
    ("chunk", chunk),
    ("chunk_contents", chunk_contents),
    ("payload", payload),
    ("journal", journal),
    ("outbox", outbox),
    ("rows", rows),
    ("properties", properties),
    ("config", config),
    ("matcher", matcher),
    ("durations", durations),
    ("import", import),
];

const CHECKSUM_BYTES: usize = 4;

fn bits(columns: &Columns) -> Vec<(i64, u64, u8)> {
    let bits = |sample: Sample| (sample.timestamp, sample.value.to_bits(), sample.quality);
    columns.iter().map(bits).collect()
}

/// A chunk is read only if its checksum is right, all of it or nothing, and all readers of it agree.
pub fn chunk(bytes: &[u8]) {
    let before = Sample::new(-5, 0.5);
    let mut columns = Columns::default();
    columns.push(before);
    let mut timestamps = vec![7];
    let decoded = chunk::decode(bytes, &mut columns);
    let decoded_timestamps = chunk::decode_timestamps(bytes, &mut timestamps);
    let summary = chunk::summary(bytes);
    let time_range = chunk::time_range(bytes);
    if decoded_timestamps.is_err() {
        assert_eq!(timestamps, [7]);
    }
    if decoded.is_err() {
        assert_eq!(bits(&columns), [(-5, 0.5_f64.to_bits(), before.quality)]);
        return;
    }
    let (contents, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().expect("a checksum");
    assert_eq!(crc32c::crc32c(contents), u32::from_le_bytes(*checksum));
    assert!(decoded_timestamps.is_ok());
    assert_eq!(columns.timestamps[1..], timestamps[1..]);
    let range = (timestamps[1], timestamps[timestamps.len() - 1]);
    assert_eq!(time_range.ok(), Some(range));
    // The aggregates may be damaged behind a right checksum; then they are refused, or those of other values.
    if let Ok(summary) = summary {
        assert_eq!(summary.count, timestamps.len() - 1);
        assert_eq!((summary.first_timestamp, summary.last_timestamp), range);
    }
    let mut again = Vec::new();
    let mut once_more = Columns::default();
    chunk::encode(
        &columns,
        1..columns.len(),
        &mut chunk::EncodeScratch::default(),
        &mut again,
    );
    chunk::decode(&again, &mut once_more).expect("it was just encoded");
    assert_eq!(bits(&once_more), bits(&columns)[1..]);
}

/// As [`chunk`] behind a right checksum.
pub fn chunk_contents(bytes: &[u8]) {
    let checksum = crc32c::crc32c(bytes).to_le_bytes();
    chunk(&[bytes, &checksum].concat());
}

/// What RESTORE takes comes back from DUMP; behind a right mark and checksum, without which it is foreign.
pub fn payload(bytes: &[u8]) {
    let marked = [bytes, b"TKL\x01"].concat();
    let checksum = crc32c::crc32c(&marked).to_le_bytes();
    let Ok(found) = decode_payload(&[&marked[..], &checksum].concat()) else {
        return;
    };
    if let ticklane::series::payload::Payload::Series { properties, series } = &found {
        let mut again = Vec::new();
        assert!(encode_series(properties.as_deref(), series, &mut again));
        let Ok(ticklane::series::payload::Payload::Series { series: same, .. }) = decode_payload(&again)
        else {
            panic!("it was just encoded");
        };
        let bits = |series: &[(u8, Columns)]| -> Vec<_> {
            series
                .iter()
                .map(|(data_type, columns)| (*data_type, bits(columns)))
                .collect()
        };
        assert_eq!(bits(&same), bits(series));
    }
}

/// A record of the journal is read to its end or to its damage.
pub fn journal(bytes: &[u8]) {
    let mut reader = JournalReader::new(bytes);
    let mut operations = 0;
    loop {
        match reader.next_operation() {
            Ok(Some(operation)) => {
                operations += 1;
                assert!(operations <= bytes.len(), "an operation has at least a byte");
                match operation {
                    Operation::Owe { entry, .. } => outbox(entry),
                    Operation::SetProperties {
                        properties: bytes, ..
                    } => properties(bytes),
                    _ => {}
                }
            }
            Ok(None) => return,
            Err(damage) => {
                assert!(damage.offset <= bytes.len());
                return;
            }
        }
    }
}

/// An entry of the outbox says the same once it was written again.
pub fn outbox(bytes: &[u8]) {
    if let Some(entry) = OutboxEntry::decode(bytes) {
        let mut again = Vec::new();
        entry.encode(&mut again);
        assert_eq!(OutboxEntry::decode(&again), Some(entry));
    }
}

/// Rows of the database say the same once they were written again.
pub fn rows(bytes: &[u8]) {
    if let Some((state, data_type, key)) = SealedState::decode(bytes) {
        assert_eq!(state.encode(data_type, key), bytes);
    }
    if let Some(row) = KvRow::decode(bytes) {
        let mut again = Vec::new();
        row.encode(&mut again);
        assert_eq!(again, bytes);
    }
    if let Some((deadline_ms, key)) = decode_deadline_key(bytes) {
        assert_eq!(deadline_key(deadline_ms, key), bytes);
    }
    if let Some((name, value, key)) = decode_label_row(bytes) {
        assert_eq!(label_row(&name, &value, key), bytes);
    }
}

/// Properties of a series say the same once they were written again.
pub fn properties(bytes: &[u8]) {
    if let Some(found) = SeriesProperties::decode(bytes) {
        let (mut again, mut once_more) = (Vec::new(), Vec::new());
        found.encode(&mut again);
        let same = SeriesProperties::decode(&again).expect("it was just encoded");
        same.encode(&mut once_more);
        assert_eq!(again, once_more);
    }
}

/// A configuration is refused with a reason, or is one.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Err(error) = Config::from_text(text, &[]) {
        assert!(!error.to_string().is_empty());
    }
    if let Some((key, value)) = text.split_once('=') {
        let overrides = [(key.to_owned(), value.to_owned())];
        if let Err(error) = Config::load(None, &overrides) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// An expression of a filter holds or does not, and its opposite does not or holds.
pub fn matcher(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (text, value) = bytes.split_at(cut);
    let Some(found) = Matcher::parse(text) else {
        return;
    };
    assert!(!found.label.is_empty());
    let operation = text.get(found.label.len()..).unwrap_or_default();
    // Behind another exclamation mark the opposite would be read otherwise, and that of a value such as `~a` too.
    if found.label.ends_with(b"!") || operation.starts_with(b"!=~") {
        return;
    }
    let labels = [(found.label.clone(), Box::from(value))];
    let answers = (found.matches(&labels), found.matches(&[]));
    let opposite = match operation.strip_prefix(b"!") {
        Some(rest) if rest.starts_with(b"~") => [b"=", rest].concat(),
        Some(rest) => rest.to_vec(),
        None => match operation.strip_prefix(b"=~") {
            Some(pattern) => [b"!~", pattern].concat(),
            None => [b"!", operation].concat(),
        },
    };
    let opposite = Matcher::parse(&[&found.label[..], &opposite].concat()).expect("it says as much");
    assert_eq!(answers, (!opposite.matches(&labels), !opposite.matches(&[])));
}

/// Durations and buckets: a timestamp lies in its bucket, and buckets follow each other without a gap.
pub fn durations(bytes: &[u8]) {
    let Some((head, text)) = bytes.split_first_chunk::<17>() else {
        return;
    };
    let units = [
        TimeUnit::Seconds,
        TimeUnit::Milliseconds,
        TimeUnit::Microseconds,
        TimeUnit::Nanoseconds,
    ];
    let unit = units[usize::from(head[0]) % units.len()];
    let word = |at: usize| i64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
    let (timestamp, align) = (word(1), word(9));
    assert!(parse_units(text, unit).is_none_or(|steps| steps >= 0));
    parse_steps(text, unit);
    assert!(parse_duration(text, unit.nanoseconds()).is_none_or(|steps| steps >= 0));
    let cut = text.iter().position(|byte| *byte == b' ');
    let (width, zone) = match cut {
        Some(cut) => (&text[..cut], std::str::from_utf8(&text[cut + 1..]).ok()),
        None => (text, None),
    };
    let align = if head[0] & 0x80 == 0 { 0 } else { align };
    let Ok(bucketing) = Bucketing::parse(width, align, zone, unit.nanoseconds()) else {
        return;
    };
    let bucket = bucketing.bucket_of(timestamp);
    assert!(bucket.contains(timestamp) && bucket.start <= bucket.last);
    assert_eq!(bucketing.bucket_of(bucket.start), bucket);
    assert_eq!(bucketing.bucket_of(bucket.last), bucket);
    if let Some(next) = bucketing.following(bucket) {
        assert_eq!(bucket.last.checked_add(1), Some(next.start));
        assert_eq!(bucketing.preceding(next), Some(bucket));
    }
    if let Some(before) = bucketing.preceding(bucket) {
        assert_eq!(before.last.checked_add(1), Some(bucket.start));
    }
}

/// A line of an import is refused with a reason, or is a row; one of v2 comes back from an export.
pub fn import(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    for prefix in [&b""[..], b"p_"] {
        match parse_v1(line, prefix) {
            Ok(row) => assert!(row.key.len() > prefix.len() && row.data_type == 0),
            Err(reason) => assert!(!reason.is_empty()),
        }
        match parse_v2(line, prefix) {
            Ok(row) => {
                assert!(row.key.len() > prefix.len());
                let mut again = Vec::new();
                if write_v2(&row.key, row.data_type, row.sample, &mut again) {
                    let line = again.strip_suffix(b"\n").expect("it is a line");
                    assert_eq!(parse_v2(line, b""), Ok(row));
                }
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    }
}
