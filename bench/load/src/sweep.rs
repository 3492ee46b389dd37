//! Runs at rising rates: where latency leaves the floor is what the server can do.

use crate::arguments::Arguments;
use crate::chart::{self, Curve, Titles};
use crate::files::{path, write_hgrm};
use crate::report::Report;
use crate::run::Session;

/// Shares of the closed loop's peak that "auto" tries, in percent.
const SHARES_PERCENT: [u64; 10] = [5, 10, 20, 30, 40, 50, 60, 70, 80, 90];

/// Carries out the sweep; returns true if every run was clean.
pub fn run(arguments: &Arguments, session: &Session, rates: Vec<u64>) -> Result<bool, String> {
    let rates = if rates.is_empty() {
        shares_of_peak(arguments, session)?
    } else {
        rates
    };
    let mut reports = Vec::new();
    for rate in rates {
        let mut arguments = arguments.clone();
        arguments.out = path(&arguments, &format!("-{rate}"));
        let arguments = &arguments;
        let outcome = session.run(arguments, Some(rate))?;
        let report = Report::new(arguments, Some(rate), &outcome);
        println!("{}\n", report.text());
        report.append(arguments)?;
        if let Some(path) = path(arguments, ".hgrm") {
            write_hgrm(&path, &outcome.stats.latency())?;
        }
        let kept_up = report.kept_up();
        reports.push(report);
        if !kept_up {
            println!("no higher rate is tried");
            break;
        }
    }
    println!("{}", table(&reports));
    if let Some(path) = path(arguments, "-sweep.svg") {
        draw(arguments, &path, &reports)?;
    }
    Ok(reports.iter().all(Report::is_clean))
}

fn shares_of_peak(arguments: &Arguments, session: &Session) -> Result<Vec<u64>, String> {
    let outcome = session.run(arguments, None)?;
    let report = Report::new(arguments, None, &outcome);
    println!("{}\n", report.text());
    report.append(arguments)?;
    let peak = report.commands_per_second as u64;
    Ok(SHARES_PERCENT
        .iter()
        .map(|percent| (peak * percent / 100).max(1))
        .collect())
}

fn table(reports: &[Report]) -> String {
    let mut lines = vec![
        "| rate/s | served/s | p50 ms | p99 ms | p99.9 ms | max ms |".to_string(),
        "|--:|--:|--:|--:|--:|--:|".to_string(),
    ];
    lines.extend(reports.iter().map(|report| {
        let [p50, p99, p999, max] = [
            report.latency.p50,
            report.latency.p99,
            report.latency.p999,
            report.latency.max,
        ]
        .map(|micros| format!("{:.3}", micros / 1e3));
        let (rate, served) = (report.rate.unwrap_or(0), report.commands_per_second);
        format!("| {rate} | {served:.0} | {p50} | {p99} | {p999} | {max} |")
    }));
    lines.join("\n")
}

fn draw(arguments: &Arguments, path: &std::path::Path, reports: &[Report]) -> Result<(), String> {
    let curve = |name: &str, micros: fn(&Report) -> f64| Curve {
        name: name.into(),
        points: reports
            .iter()
            .map(|report| (report.commands_per_second, micros(report) / 1e3))
            .collect(),
    };
    let curves = [
        curve("p50", |report| report.latency.p50),
        curve("p99", |report| report.latency.p99),
        curve("p99.9", |report| report.latency.p999),
        curve("max", |report| report.latency.max),
    ];
    let title = format!(
        "{}: {} connections",
        arguments.mix().name(),
        arguments.connections
    );
    let titles = Titles {
        chart: &title,
        x: "commands/s served",
        y: "latency in ms",
    };
    chart::lines(path, &titles, &curves)
}
