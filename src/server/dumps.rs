//! LATENCY DUMP and SIGUSR1: all lanes' histograms merged and written into the data directory.

use std::cell::RefCell;
use std::rc::Rc;

use crate::command::ReportKinds;
use crate::metrics::{Interval, LatencyTable, dump as write_dump};

use super::blocking;
use super::lane_shell::LaneShell;
use super::plans::gather_reports;

thread_local! {
    /// Table and end of the previous dump made by this lane: the log gets the difference.
    static PREVIOUS: RefCell<Option<(LatencyTable, u64)>> = const { RefCell::new(None) };
}

/// Writes the dump; returns the names of its files, one a line.
///
/// # Errors
/// What the file system says.
pub async fn dump(shell: &Rc<LaneShell>) -> std::io::Result<String> {
    let reports = gather_reports(shell, ReportKinds::LATENCY).await;
    let Some(table) = reports.latency() else {
        return Ok(String::new());
    };
    let end_unix_ms = shell.lane.borrow().clock.now_ms().max(0) as u64;
    let previous = PREVIOUS.take();
    let started = shell.shared.started_ms.max(0) as u64;
    let names = shell.shared.commands.names();
    let data_dir = shell.shared.config.server.data_dir.clone();
    let (report, table) = blocking::run(move || {
        let start_unix_ms = previous.as_ref().map_or(started, |(_, end)| *end);
        let previous = previous.as_ref().map(|(table, _)| table);
        let interval = Interval {
            start_unix_ms,
            end_unix_ms,
            previous,
        };
        (write_dump(&data_dir, &names, &table, started, &interval), table)
    })
    .await;
    PREVIOUS.set(Some((table, end_unix_ms)));
    let report = report?;
    let mut files: Vec<String> = vec![report.histogram_log.display().to_string()];
    files.extend(
        report
            .percentile_tables
            .iter()
            .map(|path| path.display().to_string()),
    );
    Ok(files.join("\n"))
}
