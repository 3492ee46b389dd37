//! What the server prints when it is ready.

use std::path::Path;

use crate::command::Shared;
use crate::config::{self, Config};
use crate::preflight::CoreChoice;

/// Prints version, lanes, businesses and their ports, where the data are, and what to try.
#[expect(
    clippy::print_stdout,
    reason = "the banner is for the person who started the server"
)]
pub fn print_banner(config: &Config, cores: &CoreChoice, shared: &Shared) {
    let address = config.server.first_address();
    println!("ticklane {}", env!("CARGO_PKG_VERSION"));
    println!("  lanes       {} on cores {:?}", cores.lanes.len(), cores.lanes);
    for (business, entry) in config.businesses.iter().zip(shared.directory.businesses()) {
        let prefixes = if business.is_catch_all() {
            "all other keys".into()
        } else {
            business.prefixes.join(" ")
        };
        let port = if business.port == 0 {
            "-".to_string()
        } else {
            business.port.to_string()
        };
        println!(
            "  business    {:<18} port {:<6} {:<16} {} partitions, fsync {}",
            business.name,
            port,
            prefixes,
            entry.partitions,
            fsync_name(business.fsync)
        );
    }
    let data_dir =
        std::fs::canonicalize(&config.server.data_dir).unwrap_or_else(|_| config.server.data_dir.clone());
    println!("  data        {}", Path::new(&data_dir).display());
    if shared.lane_port_base != 0 {
        let last = shared.lane_port_base + cores.lanes.len() as u16 - 1;
        println!(
            "  lane ports  {address}:{}..{last} (cluster view, one node per lane)",
            shared.lane_port_base
        );
    }
    println!(
        "  try         redis-cli -h {address} -p {} TSDB_SET stock_SH600519 '*' 100.5",
        shared.port
    );
    println!("ticklane ready on {address}:{}", shared.port);
    // A reader at the other end of a pipe waits for this line.
    let _ = std::io::Write::flush(&mut std::io::stdout());
}

fn fsync_name(fsync: config::Fsync) -> &'static str {
    match fsync {
        config::Fsync::Always => "always",
        config::Fsync::EverySecond => "everysec",
        config::Fsync::No => "no",
    }
}
