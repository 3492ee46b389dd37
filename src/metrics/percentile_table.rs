//! Percentile tables (`.hgrm`): HdrHistogram's percentile distribution as text, in microseconds.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Rows per halving of the distance to 100 %: HdrHistogram's default.
pub const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Histograms hold nanoseconds, tables show microseconds.
const NS_PER_UNIT: f64 = 1_000.0;

/// Writes the table of a histogram of nanoseconds.
///
/// Columns and footer are those of HdrHistogram's `outputPercentileDistribution`, with three decimals
/// whatever the histogram's precision, so that no nanosecond is lost; one comment line before them states the
/// unit.
///
/// # Errors
/// Those of `out`.
pub fn write_percentile_table<W: Write>(out: &mut W, histogram: &Histogram<u64>) -> io::Result<()> {
    writeln!(
        out,
        "#[Value in microseconds, recorded in nanoseconds, scaling ratio {NS_PER_UNIT:.1}]"
    )?;
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    write_rows(out, histogram)?;
    let mean = histogram.mean() / NS_PER_UNIT;
    let deviation = histogram.stdev() / NS_PER_UNIT;
    let max = histogram.max() as f64 / NS_PER_UNIT;
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    writeln!(
        out,
        "#[Max     = {max:12.3}, Total count    = {:12}]",
        histogram.len()
    )?;
    let sub_buckets = sub_bucket_count(histogram.sigfig());
    writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]",
        histogram.buckets()
    )
}

/// Writes the rows. The levels are stepped in percent, where the first dozens are exact: stepped as fractions
/// of 1, they drift above values such as 0.75 and then show the next higher latency.
fn write_rows<W: Write>(out: &mut W, histogram: &Histogram<u64>) -> io::Result<()> {
    let calls = histogram.len();
    let (mut total_count, mut level_percent) = (0, 0.0);
    for step in histogram.iter_recorded() {
        total_count += step.count_at_value();
        let reached_percent = 100.0 * total_count as f64 / calls as f64;
        let value = step.value_iterated_to() as f64 / NS_PER_UNIT;
        while reached_percent >= level_percent && level_percent < 100.0 {
            let fraction = level_percent / 100.0;
            let inverse = 1.0 / (1.0 - fraction);
            writeln!(
                out,
                "{value:12.3} {fraction:2.12} {total_count:10} {inverse:14.2}"
            )?;
            level_percent = next_level_percent(level_percent);
            if total_count == calls {
                break;
            }
        }
        if total_count == calls {
            return writeln!(out, "{value:12.3} {:2.12} {total_count:10}", 1.0);
        }
    }
    Ok(())
}

/// The level after one below 100 %: the steps keep their width until the distance to 100 % has halved.
fn next_level_percent(level_percent: f64) -> f64 {
    let halvings = (100.0 / (100.0 - level_percent)).log2().floor();
    let next = level_percent + 100.0 / (f64::from(TICKS_PER_HALF_DISTANCE) * (halvings + 1.0).exp2());
    // Above 2^53 calls a step can be too small to change the level.
    if next > level_percent { next } else { 100.0 }
}

/// Sub-buckets of a histogram that starts at 1: enough to tell `2 * 10^digits` values apart.
fn sub_bucket_count(significant_digits: u8) -> u64 {
    (2 * 10_u64.pow(u32::from(significant_digits))).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(histogram: &Histogram<u64>) -> String {
        let mut out = Vec::new();
        write_percentile_table(&mut out, histogram).expect("a Vec takes everything");
        String::from_utf8(out).expect("ASCII")
    }

    fn histogram(digits: u8) -> Histogram<u64> {
        Histogram::new_with_bounds(1, 60_000_000_000, digits).expect("valid")
    }

    #[test]
    fn a_small_table_letter_by_letter() {
        let mut histogram = histogram(3);
        for microseconds in 1..=4 {
            histogram.record(microseconds * 1_000).expect("in range");
        }
        let expected = "\
#[Value in microseconds, recorded in nanoseconds, scaling ratio 1000.0]
       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          1           1.00
       1.000 0.100000000000          1           1.11
       1.000 0.200000000000          1           1.25
       2.000 0.300000000000          2           1.43
       2.000 0.400000000000          2           1.67
       2.000 0.500000000000          2           2.00
       3.001 0.550000000000          3           2.22
       3.001 0.600000000000          3           2.50
       3.001 0.650000000000          3           2.86
       3.001 0.700000000000          3           3.33
       3.001 0.750000000000          3           4.00
       4.001 0.775000000000          4           4.44
       4.001 1.000000000000          4
#[Mean    =        2.501, StdDeviation   =        1.118]
#[Max     =        4.001, Total count    =            4]
#[Buckets =           26, SubBuckets     =         2048]
";
        assert_eq!(table(&histogram), expected);
    }

    #[test]
    fn columns_never_fall_and_end_at_the_total() {
        let mut histogram = histogram(2);
        for step in 0..200_000_u64 {
            histogram.saturating_record(200 + step * step % 9_999_991);
        }
        histogram.saturating_record_n(5_000_000_000, 3);
        let table = table(&histogram);
        let rows: Vec<Vec<f64>> = table
            .lines()
            .filter(|line| {
                !line.starts_with('#') && line.trim_start().starts_with(|c: char| c.is_ascii_digit())
            })
            .map(|line| {
                line.split_whitespace()
                    .map(|cell| cell.parse().expect("number"))
                    .collect()
            })
            .collect();
        assert!(rows.len() > 60, "{}", rows.len());
        for pair in rows.windows(2) {
            for column in 0..pair[1].len() {
                assert!(pair[0][column] <= pair[1][column], "column {column}: {pair:?}");
            }
        }
        let (last, body) = rows.split_last().expect("rows");
        assert!(body.iter().all(|row| row.len() == 4));
        assert_eq!(last[1..], [1.0, 200_003.0]);
        let footer: Vec<&str> = table.lines().rev().take(3).collect();
        assert_eq!(
            footer[0],
            "#[Buckets =           29, SubBuckets     =          256]"
        );
        let max_us = histogram.max() as f64 / 1_000.0;
        assert_eq!(
            footer[1],
            format!("#[Max     = {max_us:12.3}, Total count    =       200003]")
        );
        assert_eq!(last[0], max_us);
        assert!(footer[2].starts_with("#[Mean    = ") && footer[2].contains(", StdDeviation   = "));
    }

    #[test]
    fn an_empty_histogram_has_no_rows() {
        assert_eq!(table(&histogram(2)).lines().count(), 6);
    }
}
