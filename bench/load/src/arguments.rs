//! The command line, checked as far as it can be without a connection.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;

use crate::template::{Names, Values};
use crate::workload::Mix;

/// Sends commands as fast as the server answers (closed loop) or at a fixed rate (open loop) and measures latencies.
///
/// WORKLOAD is one of ping, set, get, incr, mset:N, tsdb_set, tsdb_mset:N, tsdb_get:N, ts_add, ts_madd:N,
/// ts_get, ts_range:N, ts_range_agg:N, ts_mrange:N, or a mix such as get=90,set=10. What a workload reads is
/// written before the run.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 110, args_override_self = true)]
pub struct Arguments {
    /// What to send: NAME[:COUNT][=WEIGHT],...
    pub workload: Mix,
    /// Host name or address of the server
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Its port: the plain one, that of a business, or with --cluster that of any node
    #[arg(short, long, default_value_t = 6379)]
    pub port: u16,
    /// Ask for CLUSTER SLOTS and send every key to its node
    #[arg(long)]
    pub cluster: bool,
    /// Password for AUTH
    #[arg(long)]
    pub password: Option<String>,
    /// Connections
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Further connections that stay idle and must still be there at the end
    #[arg(long, default_value_t = 0)]
    pub idle_connections: u32,
    /// Commands in flight per connection; with --rate, commands that arrive together
    #[arg(short = 'P', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub pipeline: u32,
    /// Threads
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,
    /// Open loop: so many commands a second over all connections, whether or not the server keeps up
    #[arg(short, long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub rate: Option<u64>,
    /// Measured seconds
    #[arg(short, long, default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds before that, not measured
    #[arg(short, long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Stop after so many commands in place of --duration, without a warm-up
    #[arg(short = 'n', long)]
    pub requests: Option<u64>,
    /// Number of keys with values and of counters
    #[arg(short = 'k', long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    pub key_space: u64,
    /// What keys with values begin with
    #[arg(long, default_value = "key:")]
    pub key_prefix: String,
    /// Bytes of a value
    #[arg(long, default_value_t = 3)]
    pub value_size: usize,
    /// Choose keys and series by a Zipf distribution with this exponent, not uniformly
    #[arg(long)]
    pub zipf: Option<f64>,
    /// Number of series
    #[arg(short, long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=u64::from(u32::MAX)))]
    pub series: u64,
    /// What series begin with [default: stock_ and a tag of this run, without the tag if --start-time is given]
    #[arg(long)]
    pub series_prefix: Option<String>,
    /// Timestamp of the first sample in milliseconds [default: now]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000_000_000_000..=8_000_000_000_000))]
    pub start_time: Option<u64>,
    /// Milliseconds from one sample of a series to the next
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub step: u64,
    /// Random deviation from that in milliseconds, below half of it
    #[arg(long, default_value_t = 0)]
    pub jitter: u64,
    /// How values of samples look
    #[arg(long, value_enum, default_value_t = Values::Walk)]
    pub values: Values,
    /// Share of samples that come late, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    pub late_fraction: f64,
    /// Samples that a late one lies behind at least, at most twice as many
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub late_by: u64,
    /// Each TSDB_MSET and TS.MADD writes to one series only
    #[arg(long)]
    pub one_series: bool,
    /// Bucket of ts_range_agg in milliseconds
    #[arg(long, default_value_t = 60_000)]
    pub bucket: u64,
    /// Series that one ts_mrange reads
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub group_series: u64,
    /// Samples written to each series before a run that reads
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub preload_samples: u64,
    /// The data of an earlier run with the same --start-time are still there
    #[arg(long, requires = "start_time")]
    pub no_preload: bool,
    /// Process id of a server on this machine: show its CPU time and memory
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Append the result to this file as a line of JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write PREFIX.hgrm, PREFIX.hlog, PREFIX-percentiles.svg and PREFIX-time.svg
    #[arg(short, long, value_name = "PREFIX")]
    pub out: Option<PathBuf>,
    /// Name of the run in what is written
    #[arg(long)]
    pub name: Option<String>,
    /// Runs at rising rates, e.g. 10000,20000; "auto" measures the peak first and takes shares of it.
    /// Draws PREFIX-sweep.svg if there is an --out
    #[arg(long, value_name = "RATES", conflicts_with_all = ["rate", "requests"])]
    pub sweep: Option<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print no progress
    #[arg(short, long)]
    pub quiet: bool,
}

impl Arguments {
    /// Checks what clap cannot, and fixes the start time.
    pub fn checked(mut self) -> Result<Arguments, String> {
        let in_order = [
            (
                (0.0..=1.0).contains(&self.late_fraction),
                "--late-fraction must be from 0 to 1",
            ),
            (
                2 * self.jitter < self.step,
                "--jitter must be below half of --step",
            ),
            (
                self.zipf.is_none_or(|zipf| zipf > 0.0 && zipf <= 10.0),
                "--zipf must be above 0 and at most 10",
            ),
            (
                self.duration > 0.0 && self.duration <= 86_400.0,
                "--duration must be above 0 and at most 86400",
            ),
            (
                (0.0..=86_400.0).contains(&self.warmup),
                "--warmup must be from 0 to 86400",
            ),
            (
                self.value_size <= 512 << 20,
                "--value-size must be at most 512 MiB",
            ),
            (
                self.threads <= self.connections,
                "--threads must not exceed --connections",
            ),
            (self.bucket > 0, "--bucket must not be 0"),
            (self.requests != Some(0), "--requests must not be 0"),
        ];
        if let Some((_, complaint)) = in_order.iter().find(|(fine, _)| !fine) {
            return Err((*complaint).into());
        }
        if self.mix().samples_read_max() > self.preload_samples {
            self.preload_samples = self.mix().samples_read_max();
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|error| error.to_string())?;
        // Runs move through time faster than the clock: in the same series, the next one's samples would be late.
        let tag = match self.start_time {
            None => format!("{:06}_", now.as_secs() % 1_000_000),
            Some(_) => String::new(),
        };
        self.series_prefix.get_or_insert_with(|| format!("stock_{tag}"));
        self.start_time.get_or_insert(now.as_millis() as u64);
        Ok(self)
    }

    /// The workload.
    pub fn mix(&self) -> &Mix {
        &self.workload
    }

    /// The server's address.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let mut addresses = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(|error| format!("{}: {error}", self.host))?;
        addresses
            .next()
            .ok_or_else(|| format!("{} has no address", self.host))
    }

    /// What templates are made from.
    pub fn names(&self) -> Names {
        Names {
            key_prefix: self.key_prefix.clone(),
            series_prefix: self.series_prefix.clone().unwrap_or_default(),
            value_bytes: self.value_size,
            values: self.values,
            bucket_millis: self.bucket,
        }
    }

    /// The rates of a sweep, empty for "auto".
    pub fn sweep_rates(&self) -> Result<Option<Vec<u64>>, String> {
        let Some(sweep) = &self.sweep else { return Ok(None) };
        if sweep == "auto" {
            return Ok(Some(Vec::new()));
        }
        let rate = |text: &str| text.trim().parse().ok().filter(|rate| *rate > 0);
        let rates: Option<Vec<u64>> = sweep.split(',').map(rate).collect();
        rates
            .map(Some)
            .ok_or_else(|| format!("--sweep: {sweep:?} is neither auto nor a list of rates"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        let words = std::iter::once("ticklane-load").chain(line.split_whitespace());
        Arguments::try_parse_from(words)
            .map_err(|error| error.to_string())?
            .checked()
    }

    #[test]
    fn a_usual_line_is_understood() {
        let arguments = parse("tsdb_get:5000=1,set=9 -p 7101 -c 10 -P 16 --sweep 1000,2000").unwrap();
        assert_eq!(arguments.preload_samples, 5000, "as many as are read");
        assert_eq!(arguments.sweep_rates(), Ok(Some(vec![1000, 2000])));
        assert!(arguments.start_time.is_some());
        assert!(
            arguments
                .series_prefix
                .is_some_and(|prefix| prefix.len() == "stock_123456_".len())
        );
        let again = parse("tsdb_set --start-time 1700000000000").unwrap();
        assert_eq!(again.series_prefix.as_deref(), Some("stock_"));
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "",
            "nothing",
            "set --late-fraction 1.5",
            "set --jitter 500",
            "set -t 3 -c 2",
            "set --sweep auto --rate 5",
            "set --no-preload",
            "set --rate 0",
            "set --zipf 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("set --sweep fast").unwrap().sweep_rates().is_err());
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
