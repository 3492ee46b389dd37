//! Histograms as files: .hlog with one histogram a second, .hgrm with the percentiles of the whole run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::arguments::Arguments;

/// Maxima in the .hlog are in milliseconds.
const NANOS_PER_MILLI: f64 = 1e6;
/// Lines of the .hgrm for each halving of the distance to 100 %, as other tools write it.
const TICKS_PER_HALF: u32 = 5;

/// The path PREFIX + `suffix` of the run's output, if there is to be any.
pub fn path(arguments: &Arguments, suffix: &str) -> Option<PathBuf> {
    arguments.out.as_ref().map(|prefix| {
        let mut path = prefix.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    })
}

/// The .hlog, kept in memory until the run is over so that no disk disturbs it.
#[derive(Debug)]
pub struct IntervalLog {
    path: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl IntervalLog {
    /// A log that begins now, or none without an --out.
    pub fn create(arguments: &Arguments) -> Result<IntervalLog, String> {
        let start = SystemTime::now();
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let title = format!("ticklane-load {}", arguments.mix().name());
        IntervalLogWriterBuilder::new()
            .add_comment(&title)
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(NANOS_PER_MILLI)
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(|error| error.to_string())?;
        Ok(IntervalLog {
            path: path(arguments, ".hlog"),
            bytes,
        })
    }

    /// Adds the histogram of second `tick`.
    pub fn write(&mut self, tick: u64, histogram: &Histogram<u64>) -> Result<(), String> {
        if self.path.is_none() {
            return Ok(());
        }
        let mut piece = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        let mut writer = IntervalLogWriterBuilder::new()
            .with_max_value_divisor(NANOS_PER_MILLI)
            .begin_log_with(&mut piece, &mut serializer)
            .map_err(|error| error.to_string())?;
        writer
            .write_histogram(histogram, Duration::from_secs(tick), Duration::from_secs(1), None)
            .map_err(|error| format!("{error:?}"))?;
        // Each piece has a header of its own; the log needs it once.
        let is_row = |line: &&[u8]| line.first().is_some_and(u8::is_ascii_digit);
        piece
            .split_inclusive(|byte| *byte == b'\n')
            .filter(is_row)
            .for_each(|row| self.bytes.extend(row));
        Ok(())
    }

    /// Writes the file.
    pub fn close(self) -> Result<(), String> {
        let Some(path) = self.path else { return Ok(()) };
        std::fs::write(&path, &self.bytes).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Writes the percentile distribution in milliseconds.
pub fn write_hgrm(path: &Path, histogram: &Histogram<u64>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    file.write_all(hgrm(histogram).as_bytes()).map_err(failed)?;
    file.flush().map_err(failed)
}

fn hgrm(histogram: &Histogram<u64>) -> String {
    let millis = |nanos: f64| nanos / NANOS_PER_MILLI;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for value in histogram.iter_quantiles(TICKS_PER_HALF) {
        count += value.count_since_last_iteration();
        let quantile = value.quantile_iterated_to();
        let row = format!(
            "{:>12.6} {quantile:>14.12} {count:>10}",
            millis(value.value_iterated_to() as f64)
        );
        match quantile < 1.0 {
            true => text += &format!("{row} {:>14.2}\n", 1.0 / (1.0 - quantile)),
            false => text += &format!("{row}\n"),
        }
    }
    let (mean, deviation) = (millis(histogram.mean()), millis(histogram.stdev()));
    text += &format!("#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]\n");
    let (max, total) = (millis(histogram.max() as f64), histogram.len());
    text + &format!("#[Max     = {max:>12.6}, Total count    = {total:>12}]\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{histogram, record};

    #[test]
    fn the_distribution_ends_with_the_maximum() {
        let mut latencies = histogram();
        (1..=1000).for_each(|micros| record(&mut latencies, micros * 1000, 1));
        let text = hgrm(&latencies);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_ascii_whitespace().collect())
            .collect();
        assert_eq!(rows.last().unwrap()[1..], ["1.000000000000", "1000"]);
        let median = rows.iter().find(|row| row[1].starts_with("0.5000")).unwrap();
        assert!(
            (median[0].parse::<f64>().unwrap() - 0.5).abs() < 0.002,
            "{median:?}"
        );
        assert!(text.contains("Total count    =         1000"));
    }
}
