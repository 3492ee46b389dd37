//! LATENCY DUMP: all histograms into the data directory, as percentile tables and as one interval of the log.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;

use super::histogram_log::{TaggedInterval, append_intervals};
use super::latency::LatencyTable;
use super::percentile_table::write_percentile_table;
use super::replace_file::replace_file;
use super::utc::Utc;

/// Directory below the data directory that holds the dumps.
pub const LATENCY_DIRECTORY: &str = "latency";

/// Time that a dump's log lines cover.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// Begin, in milliseconds since 1970: the previous dump, the last reset or the start of the process.
    pub start_unix_ms: u64,
    /// End, in milliseconds since 1970: now. Also the time in the tables' names.
    pub end_unix_ms: u64,
    /// The table of the previous dump; the log gets the difference. `None`: the log gets all there is.
    /// Ignored if the table was reset since.
    pub previous: Option<&'a LatencyTable>,
}

/// What a dump wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpReport {
    /// The interval log, which holds all dumps since the process started.
    pub histogram_log: PathBuf,
    /// Size of the interval log, in bytes.
    pub histogram_log_bytes: u64,
    /// Lines added to the interval log; none for histograms without a value in the interval.
    pub intervals: usize,
    /// One table per histogram that has a value, over all time since the last reset.
    pub percentile_tables: Vec<PathBuf>,
}

/// Writes all histograms of `table` into `data_directory/latency/`.
///
/// `names` are the commands' names by index; `process_start_unix_ms` (milliseconds since 1970) names the log,
/// one per start of the process. Blocks on the disk: not for a lane's own thread.
///
/// # Errors
/// Any error of the file system. Files written before the error stay; none is ever half written.
pub fn dump(
    data_directory: &Path,
    names: &[&str],
    table: &LatencyTable,
    process_start_unix_ms: u64,
    interval: &Interval<'_>,
) -> io::Result<DumpReport> {
    let directory = data_directory.join(LATENCY_DIRECTORY);
    fs::create_dir_all(&directory)?;
    let previous = interval
        .previous
        .filter(|previous| previous.resets() == table.resets());
    let stamp = Utc::from_unix_ms(interval.end_unix_ms).stamp();

    let mut percentile_tables = Vec::new();
    let mut differences = Vec::new();
    for (command, name) in names.iter().enumerate() {
        let name = file_name_part(name);
        let measured = [
            (
                "service",
                table.service(command),
                previous.and_then(|table| table.service(command)),
            ),
            (
                "turnaround",
                table.turnaround(command),
                previous.and_then(|table| table.turnaround(command)),
            ),
        ];
        for (kind, now, before) in measured {
            let Some(now) = now else { continue };
            let path = directory.join(format!("{stamp}-{name}-{kind}.hgrm"));
            write_table_file(&path, now)?;
            percentile_tables.push(path);
            differences.push((format!("{name}-{kind}"), difference(now, before)));
        }
    }

    let intervals: Vec<TaggedInterval<'_>> = differences
        .iter()
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|(tag, histogram)| TaggedInterval {
            tag: tag.clone(),
            histogram: histogram.as_ref(),
            start_unix_ms: interval.start_unix_ms,
            length_ms: interval.end_unix_ms.saturating_sub(interval.start_unix_ms),
        })
        .collect();
    let histogram_log = directory.join(log_file_name(process_start_unix_ms));
    let histogram_log_bytes = append_intervals(&histogram_log, process_start_unix_ms, &intervals)?;
    Ok(DumpReport {
        histogram_log,
        histogram_log_bytes,
        intervals: intervals.len(),
        percentile_tables,
    })
}

/// Name of the interval log of the process that started at `process_start_unix_ms`, milliseconds since 1970.
pub fn log_file_name(process_start_unix_ms: u64) -> String {
    format!("{}.hlog", Utc::from_unix_ms(process_start_unix_ms).stamp())
}

fn write_table_file(path: &Path, histogram: &Histogram<u64>) -> io::Result<u64> {
    let mut text = Vec::new();
    write_percentile_table(&mut text, histogram)?;
    replace_file(path, false, |file| file.write_all(&text))
}

/// What was recorded since `before`; everything if `before` is not an earlier state of `now`.
fn difference<'a>(now: &'a Histogram<u64>, before: Option<&Histogram<u64>>) -> Cow<'a, Histogram<u64>> {
    let Some(before) = before else {
        return Cow::Borrowed(now);
    };
    let mut difference = now.clone();
    match difference.subtract(before) {
        Ok(()) => Cow::Owned(difference),
        Err(_) => Cow::Borrowed(now),
    }
}

/// A command's name in lower case, with everything that could trouble a file system or a log line as `_`.
fn file_name_part(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    name.chars()
        .map(|c| if allowed(c) { c.to_ascii_lowercase() } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::metrics::latency::LatencySettings;

    const NAMES: [&str; 4] = ["GET", "SET", "TS.ADD", "CLIENT|LIST"];
    const START_UNIX_MS: u64 = 1_735_689_600_000;

    /// Tag and Interval_Max of every line.
    fn log_lines(report: &DumpReport) -> Vec<(String, f64)> {
        let log = fs::read(&report.histogram_log).expect("log");
        assert_eq!(log.len() as u64, report.histogram_log_bytes);
        IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.expect("valid line") {
                LogEntry::Interval(line) => Some((line.tag().expect("tag").to_string(), line.max())),
                _ => None,
            })
            .collect()
    }

    fn tags(report: &DumpReport) -> Vec<String> {
        log_lines(report).into_iter().map(|line| line.0).collect()
    }

    #[test]
    fn tables_hold_everything_and_log_lines_the_difference() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut table = LatencyTable::new(NAMES.len(), LatencySettings::default());
        table.record_service_n(0, 3_000_000_000, 10);
        table.record_service(3, 5_000);
        table.record_turnaround(0, 8_000, 10);
        let first = Interval {
            start_unix_ms: START_UNIX_MS,
            end_unix_ms: START_UNIX_MS + 1_000,
            previous: None,
        };
        let report = dump(directory.path(), &NAMES, &table, START_UNIX_MS, &first).expect("dumped");
        let expected = [
            "get-service.hgrm",
            "get-turnaround.hgrm",
            "client_list-service.hgrm",
        ];
        let latency = directory.path().join("latency");
        assert_eq!(
            report.percentile_tables,
            expected.map(|name| latency.join(format!("20250101-000001-{name}")))
        );
        assert_eq!(report.histogram_log, latency.join("20250101-000000.hlog"));
        assert_eq!(
            tags(&report),
            ["get-service", "get-turnaround", "client_list-service"]
        );

        let before = table.clone();
        table.record_service_n(0, 2_000_000, 4);
        let second = Interval {
            start_unix_ms: first.end_unix_ms,
            end_unix_ms: START_UNIX_MS + 3_000,
            previous: Some(&before),
        };
        let report = dump(directory.path(), &NAMES, &table, START_UNIX_MS, &second).expect("dumped");
        assert_eq!(report.intervals, 1);
        let lines = log_lines(&report);
        assert_eq!((lines.len(), lines[3].0.as_str()), (4, "get-service"));
        assert!(
            (lines[3].1 - 2.0).abs() < 0.02,
            "maximum of the interval alone, in ms: {}",
            lines[3].1
        );
        let text = fs::read_to_string(&report.percentile_tables[0]).expect("table");
        assert!(text.contains("Total count    =           14]"), "{text}");
    }

    #[test]
    fn a_reset_begins_anew() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut table = LatencyTable::new(NAMES.len(), LatencySettings::default());
        table.record_service_n(1, 1_000, 3);
        let before = table.clone();
        table.reset();
        table.record_service_n(1, 1_000, 3);
        let interval = Interval {
            start_unix_ms: START_UNIX_MS,
            end_unix_ms: START_UNIX_MS + 1,
            previous: Some(&before),
        };
        let report = dump(directory.path(), &NAMES, &table, START_UNIX_MS, &interval).expect("dumped");
        assert_eq!(
            (report.intervals, tags(&report)),
            (1, vec!["set-service".to_owned()])
        );
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        assert_eq!(file_name_part("../A b,c/É"), ".._a_b_c__");
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join(LATENCY_DIRECTORY), b"").expect("written");
        let table = LatencyTable::new(1, LatencySettings::default());
        let interval = Interval {
            start_unix_ms: 0,
            end_unix_ms: 0,
            previous: None,
        };
        assert!(dump(directory.path(), &NAMES, &table, START_UNIX_MS, &interval).is_err());
    }
}
