//! Load generator for servers that speak the Redis protocol: closed and open loop, key-value and time series.

#![forbid(unsafe_code)]

mod arguments;
mod chart;
mod cluster;
mod commander;
mod connect;
mod connection;
mod files;
mod keys;
mod pick;
mod prepare;
mod process;
mod reply;
mod report;
mod run;
mod schedule;
mod stats;
mod sweep;
mod template;
mod worker;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use chart::{Curve, Titles};
use files::path;
use report::Report;
use run::{Outcome, Session};

/// Some reply was an error, or the run could not be carried out.
const EXIT_FAILED: u8 = 1;

fn main() -> ExitCode {
    match Arguments::parse().checked().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            eprintln!("ticklane-load: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// True if there was no error in any reply.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let rates = arguments.sweep_rates()?;
    let session = Session::open(arguments)?;
    if let Some(rates) = rates {
        return sweep::run(arguments, &session, rates);
    }
    let outcome = session.run(arguments, arguments.rate)?;
    let report = Report::new(arguments, arguments.rate, &outcome);
    println!("{}", report.text());
    report.append(arguments)?;
    write_files(arguments, &report, &outcome)?;
    Ok(report.is_clean())
}

fn write_files(arguments: &Arguments, report: &Report, outcome: &Outcome) -> Result<(), String> {
    let latency = outcome.stats.latency();
    if let Some(path) = path(arguments, ".hgrm") {
        files::write_hgrm(&path, &latency)?;
    }
    if let Some(path) = path(arguments, "-percentiles.svg") {
        let mut curves = vec![("all".to_string(), &latency)];
        if outcome.stats.latencies.len() > 1 {
            let kinds = arguments.mix().parts.iter().zip(&outcome.stats.latencies);
            curves.extend(kinds.map(|((kind, _), one)| (kind.name(), one)));
        }
        chart::percentiles(&path, &report.name, &curves)?;
    }
    if let Some(path) = path(arguments, "-time.svg") {
        let points = |value: &dyn Fn(&(u64, f64)) -> f64| {
            let seconds = outcome.seconds_measured.iter().enumerate();
            seconds
                .map(|(second, measured)| (second as f64, value(measured)))
                .collect()
        };
        let curves = [
            Curve {
                name: "thousand commands/s".into(),
                points: points(&|(count, _)| *count as f64 / 1e3),
            },
            Curve {
                name: "p99 in ms".into(),
                points: points(&|(_, p99)| p99 / 1e3),
            },
        ];
        let titles = Titles {
            chart: &report.name,
            x: "second",
            y: "thousand commands/s, ms",
        };
        chart::lines(&path, &titles, &curves)?;
    }
    Ok(())
}
