//! INFO: the whole server as lines of `name:value`, in the sections and fields of Redis and in our own.

mod activity;
mod machine;
mod own;
mod process;

pub use process::{MemoryUse, memory_use};

use crate::command::plan::Plan;
use crate::command::report::{ReportKinds, Reports};
use crate::command::session::{PortKind, Session, SessionContext, SessionStop};
use crate::command::shared::Shared;
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

/// Collects lines, each ended by CR LF.
#[derive(Default)]
pub struct Lines {
    text: String,
}

impl Lines {
    /// Appends `name:value`.
    pub fn add(&mut self, name: &str, value: impl std::fmt::Display) {
        use std::fmt::Write;
        // A `String` takes everything.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// The text for lines that somebody else writes.
    pub fn text_mut(&mut self) -> &mut String {
        &mut self.text
    }
}

/// What the sections are made of.
pub struct Facts<'a> {
    /// The asking client.
    pub session: &'a Session,
    /// What all lanes know alike.
    pub shared: &'a Shared,
    /// All lanes.
    pub reports: &'a Reports,
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Unix microseconds.
    pub now_us: i64,
}

struct Section {
    /// As asked for, in lower case.
    name: &'static str,
    title: &'static str,
    /// Shown without being asked for.
    is_default: bool,
    kinds: ReportKinds,
    write: fn(&Facts<'_>, &mut Lines),
}

const fn section(
    name: &'static str,
    title: &'static str,
    kinds: ReportKinds,
    write: fn(&Facts<'_>, &mut Lines),
) -> Section {
    Section {
        name,
        title,
        is_default: true,
        kinds,
        write,
    }
}

const BASIC: ReportKinds = ReportKinds::BASIC;

/// In the order in which they are shown.
const SECTIONS: &[Section] = &[
    section("server", "Server", BASIC, process::server),
    section("clients", "Clients", BASIC, activity::clients),
    section("memory", "Memory", BASIC, process::memory),
    section("persistence", "Persistence", BASIC, activity::persistence),
    section("stats", "Stats", ReportKinds::CHANNELS, activity::stats),
    section("replication", "Replication", BASIC, activity::replication),
    section("cpu", "CPU", BASIC, process::cpu),
    section("modules", "Modules", BASIC, activity::modules),
    Section {
        is_default: false,
        ..section(
            "commandstats",
            "Commandstats",
            ReportKinds::COMMANDS,
            activity::command_stats,
        )
    },
    section(
        "errorstats",
        "Errorstats",
        ReportKinds::COMMANDS,
        activity::error_stats,
    ),
    Section {
        is_default: false,
        ..section(
            "latencystats",
            "Latencystats",
            ReportKinds::LATENCY,
            activity::latency_stats,
        )
    },
    section("cluster", "Cluster", BASIC, |facts, lines| {
        lines.add(
            "cluster_enabled",
            i32::from(matches!(facts.session.port, PortKind::Lane(_))),
        );
    }),
    section("keyspace", "Keyspace", BASIC, activity::keyspace),
    section("ticklane", "Ticklane", BASIC, own::ticklane),
    section("business", "Business", BASIC, own::business),
    section("rocksdb", "Rocksdb", BASIC, own::rocksdb),
];

/// The sections that are asked for; unknown names ask for nothing, as in Redis.
fn chosen(args: Args<'_>) -> impl Iterator<Item = &'static Section> {
    let names = args.from(1);
    let is_named = move |section: &Section| {
        names.iter().any(|name| match () {
            () if name.eq_ignore_ascii_case(b"all") || name.eq_ignore_ascii_case(b"everything") => true,
            () if name.eq_ignore_ascii_case(b"default") => section.is_default,
            () => name.eq_ignore_ascii_case(section.name.as_bytes()),
        })
    };
    SECTIONS.iter().filter(move |section| {
        if names.is_empty() {
            section.is_default
        } else {
            is_named(section)
        }
    })
}

/// INFO. Lanes report only what the sections need: whole histograms are copied for latencystats alone.
pub fn info(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let kinds = chosen(args).fold(ReportKinds::BASIC, |kinds, section| kinds.and(section.kinds));
    Err(Plan::report(kinds, render).into())
}

fn render(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let (now_ms, now_us) = (context.clock.now_ms(), context.clock.now_us());
    let facts = Facts {
        session: context.session,
        shared: context.shared,
        reports,
        now_ms,
        now_us,
    };
    let mut lines = Lines::default();
    for section in chosen(args) {
        if !lines.text.is_empty() {
            lines.text.push_str("\r\n");
        }
        lines.text.push_str("# ");
        lines.text.push_str(section.title);
        lines.text.push_str("\r\n");
        (section.write)(&facts, &mut lines);
    }
    reply.verbatim("txt", lines.text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::{TestClient, reports};
    use crate::metrics::CommandCounters;

    /// What redis-cli, redis-benchmark, redis_exporter, RedisInsight, ioredis and Sentinel read.
    const FIELDS: &str = "redis_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds \
        uptime_in_days hz config_file executable role connected_slaves master_repl_offset \
        repl_backlog_active \
        repl_backlog_size repl_backlog_first_byte_offset repl_backlog_histlen connected_clients \
        blocked_clients \
        maxclients used_memory used_memory_human used_memory_rss used_memory_peak used_memory_dataset \
        maxmemory \
        maxmemory_policy mem_fragmentation_ratio mem_clients_normal loading rdb_changes_since_last_save \
        rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status aof_enabled aof_rewrite_in_progress \
        aof_last_write_status total_connections_received total_commands_processed instantaneous_ops_per_sec \
        total_net_input_bytes total_net_output_bytes instantaneous_input_kbps instantaneous_output_kbps \
        rejected_connections expired_keys evicted_keys keyspace_hits keyspace_misses pubsub_channels \
        pubsub_patterns \
        latest_fork_usec used_cpu_sys used_cpu_user cluster_enabled db0 cmdstat_get errorstat_ERR \
        latency_percentiles_usec_get number_of_cached_scripts";

    fn busy(client: &TestClient) -> Reports {
        let mut reports = reports(&client.shared);
        let get = client.shared.commands.find(b"PING").unwrap();
        for lane in &mut reports.lanes {
            lane.partitions[0].keys = 3;
            lane.partitions[0].keys_with_deadline = 1;
            lane.partitions[0].counters.keyspace_hits = 5;
            lane.counters.hops_sent = 4;
            lane.commands = vec![CommandCounters::default(); client.shared.commands.len()];
            lane.commands[usize::from(get)].calls = 2;
            lane.errors = vec![("ERR".into(), 3)];
            lane.latency.as_mut().unwrap().record_service(get.into(), 1_000);
        }
        reports
    }

    fn text(reply: &str) -> &str {
        reply.split_once("\r\n").unwrap().1.strip_suffix("\r\n").unwrap()
    }

    #[test]
    fn every_field_that_tools_read_is_there() {
        let mut client = TestClient::new();
        let reports = busy(&client);
        let reply = client.render(&["INFO", "everything"], &reports);
        for field in FIELDS
            .split_whitespace()
            .map(|field| field.replace("_get", "_ping"))
        {
            assert!(reply.contains(&format!("\r\n{field}:")), "{field}");
        }
        assert!(
            reply.contains("\r\ndb0:keys=6,expires=2,avg_ttl=0\r\n"),
            "{reply}"
        );
        assert!(reply.contains("\r\nkeyspace_hits:10\r\nkeyspace_misses:0\r\npubsub_channels:0\r\n"));
        assert!(reply.contains("\r\nerrorstat_ERR:count=6\r\n"));
        assert!(reply.contains("\r\nuptime_in_seconds:90000\r\nuptime_in_days:1\r\n"));
        for (name, _) in crate::metrics::LaneCounters::default().entries() {
            assert!(reply.contains(&format!("\r\n{name}:")), "{name}");
        }
        assert!(reply.contains("\r\nhops_sent:8\r\n"));
        assert!(
            reply.contains("\r\nbusiness_stock_quotes:state=online,port=5555,partitions=2,connections=0,")
        );
        let lines = text(&reply).split("\r\n");
        assert!(
            lines
                .clone()
                .all(|line| line.is_empty() || line.starts_with("# ") || line.contains(':'))
        );
    }

    #[test]
    fn sections_are_chosen_by_name() {
        let mut client = TestClient::new();
        let reports = busy(&client);
        let titles = |client: &mut TestClient, line: &[&str]| {
            let reply = client.render(line, &reports);
            let titles: Vec<String> = text(&reply)
                .split("\r\n")
                .filter_map(|line| line.strip_prefix("# ").map(str::to_owned))
                .collect();
            titles.join(" ")
        };
        let default = "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster \
            Keyspace \
                       Ticklane Business Rocksdb";
        assert_eq!(titles(&mut client, &["INFO"]), default);
        assert_eq!(titles(&mut client, &["INFO", "default"]), default);
        assert_eq!(
            titles(&mut client, &["INFO", "keyspace", "SERVER"]),
            "Server Keyspace"
        );
        assert_eq!(
            titles(&mut client, &["INFO", "all"]).split(' ').count(),
            SECTIONS.len()
        );
        assert_eq!(client.render(&["INFO", "nosuch"], &reports), "$0\r\n\r\n");
        assert_eq!(
            client.render(&["INFO", "cluster"], &reports),
            "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"
        );
    }

    #[test]
    fn histograms_are_only_asked_for_when_they_are_shown() {
        let mut client = TestClient::new();
        let kinds = |client: &mut TestClient, line: &[&str]| match client.plan(line) {
            Plan::Report { kinds, .. } => kinds,
            other => panic!("{other:?}"),
        };
        assert_eq!(kinds(&mut client, &["INFO", "server"]), ReportKinds::BASIC);
        assert_eq!(
            kinds(&mut client, &["INFO"]),
            ReportKinds::COMMANDS.and(ReportKinds::CHANNELS)
        );
        assert!(kinds(&mut client, &["INFO", "all"]).has(ReportKinds::LATENCY));
    }

    #[test]
    fn a_lane_port_is_a_cluster_node_and_a_business_port_sees_its_keys() {
        let mut client = TestClient::new();
        let reports = busy(&client);
        client.session.port = PortKind::Lane(1);
        let reply = client.render(&["INFO", "server", "cluster"], &reports);
        assert!(
            reply.contains("redis_mode:cluster\r\n") && reply.contains("tcp_port:7001\r\n"),
            "{reply}"
        );
        assert!(reply.contains("cluster_enabled:1\r\n"));
        client.session.port = PortKind::Business(7);
        assert_eq!(
            client.render(&["INFO", "keyspace"], &reports),
            "$12\r\n# Keyspace\r\n\r\n"
        );
        client.session.port = PortKind::Business(0);
        assert!(
            client
                .render(&["INFO", "keyspace"], &reports)
                .contains("db0:keys=6,")
        );
    }
}
