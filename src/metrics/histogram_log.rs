//! Interval logs (`.hlog`, HdrHistogram log format 1.3): one tagged line per histogram and interval.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::replace_file::replace_file;
use super::utc::Utc;

/// Interval_Max is in milliseconds while histograms hold nanoseconds: HdrHistogram's own convention.
const INTERVAL_MAX_NS_PER_UNIT: f64 = 1_000_000.0;

/// One histogram and the time it covers.
#[derive(Clone, Debug)]
pub struct TaggedInterval<'a> {
    /// What was measured, such as `get-service`. Commas, spaces and control characters become `_`.
    pub tag: String,
    /// Values in nanoseconds.
    pub histogram: &'a Histogram<u64>,
    /// Begin of the interval, in milliseconds since 1970.
    pub start_unix_ms: u64,
    /// Length of the interval, in milliseconds.
    pub length_ms: u64,
}

/// Appends intervals to the log at `path`, beginning a new log where there is none; returns its size in
/// bytes.
///
/// Interval starts are absolute (there is no BaseTime line), which every reader takes the same way.
/// `process_start_unix_ms`, milliseconds since 1970, goes into the header of a new log.
///
/// # Errors
/// Any error of the file system; the log is then unchanged.
pub fn append_intervals(
    path: &Path,
    process_start_unix_ms: u64,
    intervals: &[TaggedInterval<'_>],
) -> io::Result<u64> {
    let lines = interval_lines(intervals)?;
    replace_file(path, true, |file| {
        if file.metadata()?.len() == 0 {
            file.write_all(header(process_start_unix_ms).as_bytes())?;
        }
        file.write_all(&lines)
    })
}

fn header(process_start_unix_ms: u64) -> String {
    format!(
        "#[Histogram log format version 1.3]\n\
         #[Values in nanoseconds, Interval_Max in milliseconds]\n\
         #[StartTime: {}.{:03} (seconds since epoch), {}]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        process_start_unix_ms / 1_000,
        process_start_unix_ms % 1_000,
        Utc::from_unix_ms(process_start_unix_ms).text(),
    )
}

fn interval_lines(intervals: &[TaggedInterval<'_>]) -> io::Result<Vec<u8>> {
    let mut log = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .with_max_value_divisor(INTERVAL_MAX_NS_PER_UNIT)
        .begin_log_with(&mut log, &mut serializer)?;
    for interval in intervals {
        let tag = clean_tag(&interval.tag);
        let tag = Tag::new(&tag).ok_or_else(|| io::Error::other("invariant: the tag was cleaned"))?;
        let start = Duration::from_millis(interval.start_unix_ms);
        let length = Duration::from_millis(interval.length_ms);
        writer
            .write_histogram(interval.histogram, start, length, Some(tag))
            .map_err(|error| io::Error::other(error.to_string()))?;
    }
    // The writer begins with a comment on the divisor; the header says the same once per log.
    Ok(log
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line[0] != b'#')
        .flatten()
        .copied()
        .collect())
}

fn clean_tag(tag: &str) -> String {
    tag.chars()
        .map(|c| {
            if c == ',' || c.is_whitespace() || c.is_control() {
                '_'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry};

    use super::*;

    fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("valid");
        for value in values {
            histogram.saturating_record(value);
        }
        histogram
    }

    fn decode(entry: &IntervalLogHistogram<'_>) -> Histogram<u64> {
        use hdrhistogram::serialization::Deserializer;
        let bytes = base64_decode(entry.encoded_histogram());
        Deserializer::new().deserialize(&mut &bytes[..]).expect("decoded")
    }

    /// Standard alphabet with padding; the writer's base64 crate is not a dependency of ours.
    fn base64_decode(text: &str) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bytes, mut bits, mut bit_count) = (Vec::new(), 0_u32, 0);
        for byte in text.bytes().filter(|&byte| byte != b'=') {
            let digit = alphabet
                .iter()
                .position(|&letter| letter == byte)
                .expect("base64 letter");
            bits = bits << 6 | digit as u32;
            bit_count += 6;
            if bit_count >= 8 {
                bit_count -= 8;
                bytes.push((bits >> bit_count) as u8);
            }
        }
        bytes
    }

    #[test]
    fn the_header_is_as_other_readers_expect_it() {
        let expected = "#[Histogram log format version 1.3]\n\
            #[Values in nanoseconds, Interval_Max in milliseconds]\n\
            #[StartTime: 1735689599.007 (seconds since epoch), 2024-12-31 23:59:59 UTC]\n\
            \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";
        assert_eq!(header(1_735_689_599_007), expected);
    }

    #[test]
    fn two_appends_read_back_as_written() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("test.hlog");
        let first = histogram((1..=100_000).map(|step| step * 37));
        let second = histogram([5, 70_000_000_000]);
        let interval = |tag: &str, histogram, start_unix_ms| TaggedInterval {
            tag: tag.to_owned(),
            histogram,
            start_unix_ms,
            length_ms: 2_500,
        };
        let start_ms = 1_735_689_600_000;
        append_intervals(&path, start_ms, &[interval("get-service", &first, start_ms)]).expect("written");
        let later = [interval("odd, tag", &second, start_ms + 2_500)];
        let bytes = append_intervals(&path, start_ms, &later).expect("written");

        let log = std::fs::read(&path).expect("read");
        assert_eq!(log.len() as u64, bytes);
        assert_eq!(
            log.split(|&byte| byte == b'\n')
                .filter(|line| line.starts_with(b"#"))
                .count(),
            3
        );
        let entries: Vec<_> = IntervalLogIterator::new(&log)
            .map(|entry| entry.expect("valid line"))
            .collect();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0], LogEntry::StartTime(Duration::from_millis(start_ms)));
        let LogEntry::Interval(one) = &entries[1] else {
            panic!("{:?}", entries[1])
        };
        assert_eq!(one.tag().expect("tagged").as_str(), "get-service");
        assert_eq!(
            (one.start_timestamp(), one.duration()),
            (Duration::from_millis(start_ms), Duration::from_millis(2_500))
        );
        assert!((one.max() - 3.7).abs() < 0.04, "{}", one.max());
        assert!(one.encoded_histogram().starts_with("HISTFAAA"));
        assert_eq!(decode(one), first);
        let LogEntry::Interval(two) = &entries[2] else {
            panic!("{:?}", entries[2])
        };
        assert_eq!(two.tag().expect("tagged").as_str(), "odd__tag");
        assert_eq!(two.start_timestamp(), Duration::from_millis(start_ms + 2_500));
        assert_eq!(decode(two), second);
    }

    #[test]
    fn no_intervals_make_a_log_with_a_header_only() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("test.hlog");
        append_intervals(&path, 5, &[]).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), header(5));
    }
}
