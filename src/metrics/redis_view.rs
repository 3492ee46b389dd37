//! The numbers as Redis 7 shows them: INFO commandstats, INFO latencystats and LATENCY HISTOGRAM.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::latency::{CommandCounters, LatencyTable};

/// Percentiles of INFO latencystats, as in Redis's `latency-tracking-info-percentiles 50 99 99.9`.
pub const DEFAULT_INFO_PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];

/// Upper end of the first bucket of LATENCY HISTOGRAM, in nanoseconds, before Redis's rounding up.
const FIRST_BUCKET_NS: u64 = 1_024;

/// What LATENCY HISTOGRAM says about one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandHistogram {
    /// Command in lower case, a subcommand after `|`.
    pub name: String,
    /// Calls in the histogram.
    pub calls: u64,
    /// Bucket ends in microseconds, each with the number of calls that took no longer. See [`buckets_usec`].
    pub histogram_usec: Vec<(u64, u64)>,
}

/// Appends the lines of INFO commandstats, each ended by CR LF, for all commands that were called or refused.
///
/// `names` and `counters` are by command index; take `counters` from [`LatencyTable::all_counters`].
pub fn write_command_stats(out: &mut String, names: &[&str], counters: &[CommandCounters]) {
    for (name, counters) in names
        .iter()
        .zip(counters)
        .filter(|(_, counters)| !counters.is_zero())
    {
        let usec = counters.service_total_ns / 1_000;
        let usec_per_call = match counters.calls {
            0 => 0.0,
            calls => counters.service_total_ns as f64 / 1_000.0 / calls as f64,
        };
        append(
            out,
            format_args!(
                "cmdstat_{}:calls={},usec={usec},usec_per_call={usec_per_call:.2},\
                 rejected_calls={},failed_calls={}\r\n",
                name.to_ascii_lowercase(),
                counters.calls,
                counters.rejected_calls,
                counters.failed_calls,
            ),
        );
    }
}

/// Appends the lines of INFO latencystats, each ended by CR LF, for all commands that were called.
///
/// Service times in microseconds; `percentiles` lie between 0 and 100.
pub fn write_latency_stats(out: &mut String, names: &[&str], table: &LatencyTable, percentiles: &[f64]) {
    for (command, name) in names.iter().enumerate() {
        let Some(histogram) = table.service(command) else {
            continue;
        };
        append(
            out,
            format_args!("latency_percentiles_usec_{}:", name.to_ascii_lowercase()),
        );
        for (position, &percentile) in percentiles.iter().enumerate() {
            let separator = if position == 0 { "" } else { "," };
            let usec = histogram.value_at_percentile(percentile) as f64 / 1_000.0;
            append(
                out,
                format_args!("{separator}p{}={usec:.3}", percentile_name(percentile)),
            );
        }
        out.push_str("\r\n");
    }
}

/// What LATENCY HISTOGRAM without arguments replies: one entry per command that was called, by command index.
pub fn latency_histograms(names: &[&str], table: &LatencyTable) -> Vec<CommandHistogram> {
    (0..names.len())
        .filter_map(|command| latency_histogram(names, table, command))
        .collect()
}

/// The entry of one command in the reply of LATENCY HISTOGRAM; `None` if it was never called.
pub fn latency_histogram(names: &[&str], table: &LatencyTable, command: usize) -> Option<CommandHistogram> {
    let (name, histogram) = (names.get(command)?, table.service(command)?);
    let histogram_usec = buckets_usec(histogram);
    Some(CommandHistogram {
        name: name.to_ascii_lowercase(),
        calls: histogram.len(),
        histogram_usec,
    })
}

/// Cumulative counts of a histogram of nanoseconds, by bucket end in microseconds, each end twice the one
/// before.
///
/// Redis's ends: 1024 ns and its doublings, rounded up to the end of the two-digit histogram slot they lie in
/// and down to microseconds: 1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056 and so on (checked against Redis
/// 7.0.15). A bucket that adds nothing to the one before is left out, as in Redis. Redis ends with a bucket
/// of 1073741 that holds all longer calls too; here doubling goes on until the last bucket holds all calls.
pub fn buckets_usec(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    let mut cumulative_count = 0;
    let mut end_ns = FIRST_BUCKET_NS;
    for step in histogram.iter_recorded() {
        while step.value_iterated_to() > slot_end(end_ns) {
            end_ns *= 2;
        }
        cumulative_count += step.count_at_value();
        let end_usec = slot_end(end_ns) / 1_000;
        match buckets.last_mut() {
            Some(last) if last.0 == end_usec => last.1 = cumulative_count,
            _ => buckets.push((end_usec, cumulative_count)),
        }
    }
    buckets
}

/// Last value in the two-digit histogram slot that begins at the power of two `ns`.
fn slot_end(ns: u64) -> u64 {
    ns + ns / 128 - 1
}

/// A percentile with up to six decimals and no trailing zeros: 50, 99.9.
fn percentile_name(percentile: f64) -> String {
    format!("{percentile:.6}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("invariant: a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::latency::LatencySettings;

    const NAMES: [&str; 3] = ["GET", "CLIENT|LIST", "SET"];

    fn table() -> LatencyTable {
        LatencyTable::new(NAMES.len(), LatencySettings::default())
    }

    #[test]
    fn command_stats_as_redis_writes_them() {
        let mut table = table();
        table.record_service_n(0, 1_250, 4);
        table.record_failure(0);
        table.record_rejection(1);
        let mut out = String::new();
        write_command_stats(&mut out, &NAMES, &table.all_counters());
        let expected = "cmdstat_get:calls=4,usec=5,usec_per_call=1.25,rejected_calls=0,failed_calls=1\r\n\
            cmdstat_client|list:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn latency_stats_as_redis_writes_them() {
        let mut table = table();
        table.record_service_n(2, 1_000, 98);
        table.record_service(2, 100_000);
        table.record_service(2, 3_000_000);
        let mut out = String::new();
        write_latency_stats(&mut out, &NAMES, &table, &DEFAULT_INFO_PERCENTILES);
        assert_eq!(
            out,
            "latency_percentiles_usec_set:p50=1.003,p99=100.351,p99.9=3014.655\r\n"
        );
    }

    #[test]
    fn percentile_names_have_no_trailing_zeros() {
        let names: Vec<String> = [0.0, 50.0, 99.9, 99.999, 100.0]
            .into_iter()
            .map(percentile_name)
            .collect();
        assert_eq!(names, ["0", "50", "99.9", "99.999", "100"]);
    }

    #[test]
    fn bucket_ends_are_those_of_redis() {
        let mut table = table();
        for power in 0..21 {
            table.record_service(0, 1_000 << power);
        }
        let buckets = latency_histogram(&NAMES, &table, 0)
            .expect("called")
            .histogram_usec;
        let ends: Vec<u64> = buckets.iter().map(|bucket| bucket.0).collect();
        let redis = [
            1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1_056, 2_113, 4_227, 8_454, 16_908, 33_816, 67_633,
            135_266, 270_532, 541_065, 1_082_130,
        ];
        assert_eq!(ends, redis);
        assert!(buckets.iter().map(|bucket| bucket.1).eq(1..=21));
    }

    #[test]
    fn buckets_are_cumulative_skip_the_empty_and_end_complete() {
        let mut table = table();
        table.record_service_n(2, 50, 3);
        table.record_service_n(2, 1_031, 2);
        table.record_service(2, 1_032);
        table.record_service_n(2, 40_000, 5);
        table.record_service(2, u64::MAX);
        let all = latency_histograms(&NAMES, &table);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].name.as_str(), all[0].calls), ("set", 12));
        assert_eq!(
            all[0].histogram_usec,
            [(1, 5), (2, 6), (66, 11), (69_256_347, 12)]
        );
        assert_eq!(latency_histogram(&NAMES, &table, 9), None);
    }

    #[test]
    fn three_digits_give_the_same_buckets() {
        let three_digits = LatencySettings::new(60_000_000_000, 3).expect("valid");
        let (mut two, mut three) = (table(), LatencyTable::new(3, three_digits));
        for step in 0..100_000_u64 {
            two.record_service(0, step * step % 100_000_007);
            three.record_service(0, step * step % 100_000_007);
        }
        assert_eq!(
            latency_histograms(&NAMES, &two),
            latency_histograms(&NAMES, &three)
        );
    }
}
