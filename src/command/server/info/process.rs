//! INFO server, memory and cpu: the process and the machine.

use crate::command::connection::{REDIS_VERSION, mode};
use crate::command::report::Reports;
use crate::command::session::PortKind;

use super::machine::{self, Whose, human_bytes};
use super::{Facts, Lines};

/// Section Server.
pub fn server(facts: &Facts<'_>, lines: &mut Lines) {
    let shared = facts.shared;
    let uptime_s = (facts.now_ms - shared.started_ms).max(0) / 1_000;
    let executable = std::env::current_exe()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    let config_file = shared
        .config_file
        .as_ref()
        .map(|path| path.display().to_string())
        .unwrap_or_default();
    lines.add("redis_version", REDIS_VERSION);
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", 0);
    lines.add("redis_mode", mode(facts.session));
    lines.add("os", machine::system_name());
    lines.add("arch_bits", usize::BITS);
    lines.add("monotonic_clock", "POSIX clock_gettime");
    lines.add("multiplexing_api", "io_uring");
    lines.add("process_id", std::process::id());
    lines.add("process_supervised", "no");
    lines.add("run_id", &shared.run_id);
    lines.add("tcp_port", tcp_port(facts));
    lines.add("server_time_usec", facts.now_us);
    lines.add("uptime_in_seconds", uptime_s);
    lines.add("uptime_in_days", uptime_s / 86_400);
    lines.add("hz", 10);
    lines.add("configured_hz", 10);
    lines.add("lru_clock", facts.now_ms / 1_000 % (1 << 24));
    lines.add("executable", executable);
    lines.add("config_file", config_file);
    lines.add("io_threads_active", 0);
    lines.add("ticklane_version", env!("CARGO_PKG_VERSION"));
}

/// The port that the client came in by.
fn tcp_port(facts: &Facts<'_>) -> u16 {
    let shared = facts.shared;
    match facts.session.port {
        PortKind::Main => shared.port,
        PortKind::Business(index) => shared
            .directory
            .businesses()
            .get(index)
            .map_or(shared.port, |business| business.config.port),
        PortKind::Lane(lane) => shared.lane_port_base.saturating_add(lane as u16),
    }
}

/// Memory of the process in bytes.
#[derive(Clone, Copy, Debug)]
pub struct MemoryUse {
    /// Keys and series.
    pub dataset: u64,
    /// Block cache and memtables.
    pub overhead: u64,
    /// Both.
    pub used: u64,
    /// What the kernel counts.
    pub resident: u64,
    /// The most that was counted since the start.
    pub peak: u64,
}

/// What the server accounts for, beside what the kernel counts.
pub fn memory_use(reports: &Reports) -> MemoryUse {
    let parts = reports
        .partitions()
        .map(|(_, part)| part.table_bytes + part.series_bytes);
    let dataset: u64 = parts.sum();
    let decoded: u64 = reports.partitions().map(|(_, part)| part.decoded_bytes).sum();
    let overhead = (reports.block_cache_used_bytes + reports.write_buffers_used_bytes) as u64 + decoded;
    let used = dataset + overhead;
    MemoryUse {
        dataset,
        overhead,
        used,
        resident: machine::resident_bytes(),
        peak: machine::resident_peak_bytes().max(used),
    }
}

/// Section Memory. `used_memory` is what the server accounts for: keys, series, block cache and memtables.
pub fn memory(facts: &Facts<'_>, lines: &mut Lines) {
    let MemoryUse {
        dataset,
        overhead,
        used,
        resident,
        peak,
    } = memory_use(facts.reports);
    let total = machine::memory_bytes();
    let percent = |part: u64, whole: u64| format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64);
    lines.add("used_memory", used);
    lines.add("used_memory_human", human_bytes(used));
    lines.add("used_memory_rss", resident);
    lines.add("used_memory_rss_human", human_bytes(resident));
    lines.add("used_memory_peak", peak);
    lines.add("used_memory_peak_human", human_bytes(peak));
    lines.add("used_memory_peak_perc", percent(used, peak));
    lines.add("used_memory_overhead", overhead);
    lines.add("used_memory_startup", 0);
    lines.add("used_memory_dataset", dataset);
    lines.add("used_memory_dataset_perc", percent(dataset, used));
    lines.add("total_system_memory", total);
    lines.add("total_system_memory_human", human_bytes(total));
    lines.add("used_memory_lua", 0);
    lines.add("used_memory_lua_human", "0B");
    lines.add("used_memory_scripts", 0);
    lines.add("used_memory_scripts_human", "0B");
    lines.add("number_of_cached_scripts", 0);
    lines.add("number_of_functions", 0);
    lines.add("number_of_libraries", 0);
    lines.add("maxmemory", 0);
    lines.add("maxmemory_human", "0B");
    lines.add("maxmemory_policy", "noeviction");
    lines.add(
        "mem_fragmentation_ratio",
        format_args!("{:.2}", resident as f64 / used.max(1) as f64),
    );
    lines.add("mem_fragmentation_bytes", resident as i64 - used as i64);
    lines.add("mem_not_counted_for_evict", 0);
    lines.add("mem_replication_backlog", 0);
    lines.add("mem_clients_slaves", 0);
    lines.add("mem_clients_normal", 0);
    lines.add("mem_cluster_links", 0);
    lines.add("mem_aof_buffer", 0);
    lines.add("mem_allocator", "libc");
    lines.add("active_defrag_running", 0);
    lines.add("lazyfree_pending_objects", 0);
    lines.add("lazyfreed_objects", 0);
}

/// Section CPU. The main thread is the lane that answers.
pub fn cpu(_: &Facts<'_>, lines: &mut Lines) {
    let process = machine::processor_time(Whose::Process);
    let thread = machine::processor_time(Whose::Thread);
    lines.add("used_cpu_sys", format_args!("{:.6}", process.system_s));
    lines.add("used_cpu_user", format_args!("{:.6}", process.user_s));
    lines.add("used_cpu_sys_children", "0.000000");
    lines.add("used_cpu_user_children", "0.000000");
    lines.add("used_cpu_sys_main_thread", format_args!("{:.6}", thread.system_s));
    lines.add("used_cpu_user_main_thread", format_args!("{:.6}", thread.user_s));
}
