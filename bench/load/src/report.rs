//! The result of a run: for people, and as one line of JSON for programs.

use std::fs::OpenOptions;
use std::io::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::process::CpuTime;
use crate::run::Outcome;

/// Above this share of a core per thread the load generator itself may be what limits the rate.
const OWN_CPU_SHARE_MAX: f64 = 0.97;
/// An open loop that serves less than this share of its rate did not keep up.
const KEPT_UP_SHARE_MIN: f64 = 0.99;

/// Percentiles in microseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    /// What was timed.
    pub command: String,
    /// Commands timed.
    pub count: u64,
    /// Mean and percentiles.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// 99.99 %.
    pub p9999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// The percentiles of `histogram`, which holds nanoseconds.
    pub fn of(command: String, histogram: &Histogram<u64>) -> Latency {
        let micros = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Latency {
            command,
            count: histogram.len(),
            mean: (histogram.mean() / 10.0).round() / 100.0,
            p50: micros(0.5),
            p90: micros(0.9),
            p99: micros(0.99),
            p999: micros(0.999),
            p9999: micros(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// CPU time of a process per command answered, in microseconds, and in cores.
#[derive(Debug, Serialize)]
pub struct CpuCost {
    /// In the program.
    pub user_micros: f64,
    /// In the kernel on its behalf.
    pub system_micros: f64,
    /// Both.
    pub total_micros: f64,
    /// Cores kept busy.
    pub cores: f64,
}

impl CpuCost {
    fn of(time: CpuTime, commands: u64, seconds: f64) -> CpuCost {
        let micros = |seconds: f64| (seconds * 1e9 / commands.max(1) as f64).round() / 1e3;
        CpuCost {
            user_micros: micros(time.user_seconds),
            system_micros: micros(time.system_seconds),
            total_micros: micros(time.total_seconds()),
            cores: (time.total_seconds() / seconds * 1e3).round() / 1e3,
        }
    }
}

/// Resident memory of the server in bytes.
#[derive(Debug, Serialize)]
pub struct ServerMemory {
    /// Before connecting.
    pub before: u64,
    /// With all connections, before the first command.
    pub connected: u64,
    /// At the end.
    pub after: u64,
    /// Growth per connection by connecting.
    pub per_connection: u64,
}

/// One line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `--name`, or what distinguishes the run.
    pub name: String,
    /// Version of the load generator.
    pub version: &'static str,
    /// The mix.
    pub workload: String,
    /// Address of the server.
    pub target: String,
    /// Nodes that were sent to.
    pub nodes: usize,
    /// Rate of an open loop in commands a second.
    pub rate: Option<u64>,
    /// Active connections.
    pub connections: u32,
    /// Idle connections.
    pub idle_connections: u32,
    /// Idle connections that the server has closed.
    pub idle_lost: usize,
    /// Commands in flight per connection, or arriving together.
    pub pipeline: u32,
    /// Threads of the load generator.
    pub threads: u32,
    /// Number of keys.
    pub key_space: u64,
    /// Bytes of a value.
    pub value_size: usize,
    /// Number of series.
    pub series: u64,
    /// Exponent of the Zipf distribution.
    pub zipf: Option<f64>,
    /// Share of late samples.
    pub late_fraction: f64,
    /// Measured seconds.
    pub seconds: f64,
    /// Commands answered in that time.
    pub commands: u64,
    /// Per second.
    pub commands_per_second: f64,
    /// Keys or samples per second.
    pub items_per_second: f64,
    /// Errors and wrong replies.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Reads that found too little.
    pub misses: u64,
    /// Open loop: commands that were never sent or answered.
    pub unserved: u64,
    /// Bytes of requests per second.
    pub bytes_sent_per_second: f64,
    /// Bytes of replies per second.
    pub bytes_received_per_second: f64,
    /// Latency of all commands in microseconds.
    pub latency: Latency,
    /// By kind of command, if there are several.
    pub latency_by_command: Vec<Latency>,
    /// Open loop: how late the load generator itself was, in microseconds.
    pub lag: Option<Latency>,
    /// The server's CPU time per command.
    pub server_cpu: Option<CpuCost>,
    /// The load generator's own.
    pub own_cpu: CpuCost,
    /// The server's memory.
    pub server_memory: Option<ServerMemory>,
    /// Commands answered in each second.
    pub commands_by_second: Vec<u64>,
    /// 99th percentile of each second in microseconds.
    pub p99_by_second: Vec<f64>,
}

impl Report {
    /// What `outcome` says.
    pub fn new(arguments: &Arguments, rate: Option<u64>, outcome: &Outcome) -> Report {
        let stats = &outcome.stats;
        let per_second = |count: u64| (count as f64 / outcome.seconds * 10.0).round() / 10.0;
        let mix = arguments.mix();
        let several = mix.parts.len() > 1;
        let kinds = mix.parts.iter().zip(&stats.latencies).filter(|_| several);
        let connections = u64::from(arguments.connections) + u64::from(arguments.idle_connections);
        Report {
            name: arguments.name.clone().unwrap_or_else(|| mix.name()),
            version: env!("CARGO_PKG_VERSION"),
            workload: mix.name(),
            target: format!("{}:{}", arguments.host, arguments.port),
            nodes: outcome.nodes,
            rate,
            connections: arguments.connections,
            idle_connections: arguments.idle_connections,
            idle_lost: outcome.idle_lost,
            pipeline: arguments.pipeline,
            threads: arguments.threads,
            key_space: arguments.key_space,
            value_size: arguments.value_size,
            series: arguments.series,
            zipf: arguments.zipf,
            late_fraction: arguments.late_fraction,
            seconds: outcome.seconds,
            commands: stats.commands,
            commands_per_second: per_second(stats.commands),
            items_per_second: per_second(stats.items),
            errors: stats.errors,
            first_error: stats.first_error.clone(),
            misses: stats.misses,
            unserved: stats.unserved,
            bytes_sent_per_second: per_second(stats.bytes_sent),
            bytes_received_per_second: per_second(stats.bytes_received),
            latency: Latency::of(mix.name(), &stats.latency()),
            latency_by_command: kinds
                .map(|((kind, _), one)| Latency::of(kind.name(), one))
                .collect(),
            lag: rate.map(|_| Latency::of("lag of the load generator".into(), &stats.lag)),
            server_cpu: outcome
                .server_cpu
                .map(|time| CpuCost::of(time, stats.commands, outcome.seconds)),
            own_cpu: CpuCost::of(outcome.own_cpu, stats.commands, outcome.seconds),
            server_memory: outcome
                .server_memory
                .map(|[before, connected, after]| ServerMemory {
                    before,
                    connected,
                    after,
                    per_connection: connected.saturating_sub(before) / connections.max(1),
                }),
            commands_by_second: outcome
                .seconds_measured
                .iter()
                .map(|(commands, _)| *commands)
                .collect(),
            p99_by_second: outcome.seconds_measured.iter().map(|(_, p99)| *p99).collect(),
        }
    }

    /// True if every reply came and was right, and no idle connection was lost. An open loop may overrun.
    pub fn is_clean(&self) -> bool {
        self.errors == 0 && self.idle_lost == 0 && (self.unserved == 0 || self.rate.is_some())
    }

    /// False if an open loop did not reach its rate.
    pub fn kept_up(&self) -> bool {
        self.rate
            .is_none_or(|rate| self.commands_per_second >= rate as f64 * KEPT_UP_SHARE_MIN)
    }

    /// Appends the report to the file of `--json`, if there is one.
    pub fn append(&self, arguments: &Arguments) -> Result<(), String> {
        let Some(path) = &arguments.json else {
            return Ok(());
        };
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut line = serde_json::to_string(self).map_err(|error| error.to_string())?;
        line.push('\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(failed)?;
        file.write_all(line.as_bytes()).map_err(failed)
    }

    /// The summary for people.
    pub fn text(&self) -> String {
        let load = match self.rate {
            Some(rate) => format!("open loop at {rate}/s, {} arriving together", self.pipeline),
            None => format!("closed loop, {} in flight on each", self.pipeline),
        };
        let mut lines = vec![
            format!(
                "{}: {} connections, {load}, {:.1} s",
                self.name, self.connections, self.seconds
            ),
            format!(
                "  {:.0} commands/s, {:.0} keys or samples/s, {:.1} MB/s sent, {:.1} MB/s received",
                self.commands_per_second,
                self.items_per_second,
                self.bytes_sent_per_second / 1e6,
                self.bytes_received_per_second / 1e6
            ),
            format!(
                "  {:<26} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
                "latency in ms", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"
            ),
        ];
        lines.push(row("all", &self.latency));
        lines.extend(self.latency_by_command.iter().map(|one| row(&one.command, one)));
        lines.extend(self.lag.iter().map(|lag| row(&lag.command, lag)));
        if let Some(cpu) = &self.server_cpu {
            lines.push(cpu_line("server", cpu));
        }
        lines.push(cpu_line("load generator", &self.own_cpu));
        if let Some(memory) = &self.server_memory {
            lines.push(format!(
                "  server memory {:.1} MiB before, {:.1} MiB connected ({} bytes per connection), {:.1} MiB after",
                memory.before as f64 / 1048576.0,
                memory.connected as f64 / 1048576.0,
                memory.per_connection,
                memory.after as f64 / 1048576.0
            ));
        }
        lines.extend(self.warnings());
        lines.join("\n")
    }

    fn warnings(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.own_cpu.cores > OWN_CPU_SHARE_MAX * f64::from(self.threads) && self.rate.is_none() {
            lines.push("  the load generator used all of its CPU: the server could do more".into());
        }
        if self.misses > 0 {
            lines.push(format!("  {} reads found less than they asked for", self.misses));
        }
        if !self.kept_up() {
            lines.push(format!(
                "  the server did not keep up; {} commands were never served",
                self.unserved
            ));
        }
        if self.unserved > 0 && self.rate.is_none() {
            lines.push(format!(
                "  {} commands were not answered after the end of the run",
                self.unserved
            ));
        }
        if self.idle_lost > 0 {
            lines.push(format!(
                "  {} of {} idle connections were lost",
                self.idle_lost, self.idle_connections
            ));
        }
        if let Some(error) = &self.first_error {
            lines.push(format!("  {} errors; the first: {error}", self.errors));
        }
        lines
    }
}

fn row(name: &str, latency: &Latency) -> String {
    let Latency {
        mean,
        p50,
        p90,
        p99,
        p999,
        p9999,
        max,
        ..
    } = latency;
    let values = [mean, p50, p90, p99, p999, p9999, max].map(|micros| format!("{:>9.3}", micros / 1e3));
    format!("  {name:<26} {}", values.join(" "))
}

fn cpu_line(name: &str, cpu: &CpuCost) -> String {
    format!(
        "  {name} CPU per command {:.3} us ({:.3} user, {:.3} system), {:.2} cores",
        cpu.total_micros, cpu.user_micros, cpu.system_micros, cpu.cores
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Stats, record};
    use clap::Parser;

    fn report(rate: Option<u64>, errors: u64) -> Report {
        let arguments = Arguments::try_parse_from(["x", "get=9,set=1", "--name", "mixed"]).unwrap();
        let mut stats = Stats::new(2);
        record(&mut stats.latencies[0], 1_000_000, 900);
        record(&mut stats.latencies[1], 2_000_000, 100);
        stats.commands = 1000;
        (0..errors).for_each(|number| stats.error(1, || format!("ERR {number}")));
        let cpu = |seconds| CpuTime {
            user_seconds: seconds,
            system_seconds: seconds,
        };
        let outcome = Outcome {
            stats,
            seconds: 2.0,
            seconds_measured: vec![(600, 1000.0), (400, 2000.0)],
            server_cpu: Some(cpu(0.5)),
            own_cpu: cpu(0.1),
            server_memory: Some([1 << 20, 2 << 20, 3 << 20]),
            idle_lost: 0,
            nodes: 1,
        };
        Report::new(&arguments, rate, &outcome)
    }

    #[test]
    fn costs_are_per_command() {
        let report = report(None, 0);
        assert_eq!(report.commands_per_second, 500.0);
        let cpu = report.server_cpu.as_ref().unwrap();
        assert_eq!(
            (cpu.user_micros, cpu.total_micros, cpu.cores),
            (500.0, 1000.0, 0.5)
        );
        assert_eq!(
            report.server_memory.as_ref().unwrap().per_connection,
            (1 << 20) / 50
        );
        assert_eq!(report.latency_by_command.len(), 2);
        assert!((report.latency.p99 - 2000.0).abs() < 3.0);
        assert!(report.is_clean() && report.kept_up());
    }

    #[test]
    fn errors_and_a_missed_rate_are_told() {
        let report = report(Some(1000), 3);
        assert!(!report.is_clean());
        assert!(!report.kept_up());
        assert!(report.text().contains("3 errors; the first: ERR 0"));
        assert!(report.text().contains("did not keep up"));
        let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(json["commands_by_second"], serde_json::json!([600, 400]));
        assert_eq!(json["rate"], 1000);
    }
}
