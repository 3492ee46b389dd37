//! A client without a server: runs session handlers and reports of the tests' making.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use crate::business::Directory;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::{LaneCounters, LatencySettings, LatencyTable};
use crate::resp::{Args, Proto, Reply, Span};

use super::plan::Plan;
use super::report::{LaneReport, PartitionReport, Reports};
use super::session::{PortKind, Session, SessionContext, SessionStop};
use super::shared::{ConnectionCounts, Settings, Shared};
use super::{CommandTable, Run};

/// Lanes of the tests.
pub const LANES: usize = 2;
/// Unix milliseconds of the tests.
pub const NOW_MS: i64 = 1_700_000_000_123;

/// What all lanes know, with two lanes that are not there.
pub fn shared() -> Arc<Shared> {
    let config = Config::default();
    let directory = Directory::new(&config, LANES, &vec![LANES; config.businesses.len()]);
    let settings = ArcSwap::from_pointee(Settings::from_config(&config));
    let connections = ConnectionCounts::new(config.businesses.len());
    Arc::new(Shared {
        config,
        config_file: Some("/etc/ticklane.toml".into()),
        settings,
        series_defaults: Arc::default(),
        event_classes: Arc::default(),
        rules_seen: Arc::default(),
        checkpoint_delay_ms: AtomicU64::new(0),
        background: Default::default(),
        directory,
        commands: CommandTable::default(),
        run_id: "0123456789abcdef0123456789abcdef01234567".into(),
        started_ms: NOW_MS - 90_000_000,
        port: 6379,
        lane_port_base: 7000,
        announced_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        connections,
    })
}

/// Reports of idle lanes with all their partitions.
pub fn reports(shared: &Shared) -> Reports {
    let lane = |lane: usize| LaneReport {
        lane,
        core: lane,
        counters: LaneCounters::default(),
        client_count: 1,
        listeners: Default::default(),
        partitions: shared
            .directory
            .plan(lane)
            .iter()
            .map(|plan| PartitionReport::empty(plan.business, plan.partition))
            .collect(),
        clients: Vec::new(),
        commands: Vec::new(),
        latency: Some(Box::new(LatencyTable::new(
            shared.commands.len(),
            LatencySettings::default(),
        ))),
        slow_calls: Vec::new(),
        errors: Vec::new(),
        paused_until_ms: 0,
        commands_per_second: 0,
        input_bytes_per_second: 0,
        output_bytes_per_second: 0,
    };
    Reports {
        lanes: (0..LANES).map(lane).collect(),
        block_cache_used_bytes: 11,
        write_buffers_used_bytes: 22,
    }
}

/// Words as the parser would have found them.
pub fn args_of(words: &[&str]) -> (Vec<u8>, Vec<Span>) {
    let mut buffer = Vec::new();
    let mut spans = Vec::new();
    for word in words {
        let start = buffer.len();
        buffer.extend_from_slice(word.as_bytes());
        spans.push(Span::new(start, buffer.len()).expect("short"));
    }
    (buffer, spans)
}

/// One client, number 7, on lane 0.
pub struct TestClient {
    /// What all lanes know.
    pub shared: Arc<Shared>,
    /// The client's state.
    pub session: Session,
    clock: Clock,
}

impl TestClient {
    /// A client that is logged in and speaks RESP2.
    pub fn new() -> TestClient {
        let address = "127.0.0.1:50001".to_owned();
        let mut session = Session::new(7, PortKind::Main, address, "127.0.0.1:6379".into(), NOW_MS);
        session.authenticated = true;
        TestClient {
            shared: shared(),
            session,
            clock: Clock::manual(NOW_MS),
        }
    }

    fn call(&mut self, words: &[&str]) -> (Result<(), SessionStop>, String) {
        let (buffer, spans) = args_of(words);
        let args = Args::new(&buffer, &spans);
        let shared = Arc::clone(&self.shared);
        let command = shared
            .commands
            .get(shared.commands.find(args.name()).expect("a known command"));
        let mut reply = Reply::new(self.session.proto);
        if !command.accepts(words.len()) {
            return (Err(command.arity_error().into()), String::new());
        }
        let Run::Session(handler) = command.run else {
            panic!("{} is no session command", command.name)
        };
        let mut context = SessionContext {
            session: &mut self.session,
            shared: &shared,
            clock: &self.clock,
        };
        let result = handler(&mut context, args, &mut reply);
        (result, String::from_utf8(reply.take()).expect("text"))
    }

    /// The reply of a command that needs no other lane.
    pub fn run(&mut self, words: &[&str]) -> String {
        match self.call(words) {
            (Ok(()), reply) => reply,
            (Err(SessionStop::Refused(refusal)), _) => format!("-{refusal}\r\n"),
            (Err(SessionStop::Plan(plan)), _) => panic!("a plan: {plan:?}"),
        }
    }

    /// The plan that a command ends in.
    pub fn plan(&mut self, words: &[&str]) -> Plan {
        match self.call(words) {
            (Err(SessionStop::Plan(plan)), _) => *plan,
            (other, reply) => panic!("no plan but {other:?}: {reply}"),
        }
    }

    /// The reply of a command that needs reports.
    pub fn render(&mut self, words: &[&str], reports: &Reports) -> String {
        let (buffer, spans) = args_of(words);
        let args = Args::new(&buffer, &spans);
        let shared = Arc::clone(&self.shared);
        let command = shared
            .commands
            .get(shared.commands.find(args.name()).expect("a known command"));
        let render = match command.run {
            Run::Report { render, .. } => render,
            _ => match self.plan(words) {
                Plan::Report { render, .. } => render,
                other => panic!("no report but {other:?}"),
            },
        };
        let mut reply = Reply::new(self.session.proto);
        let mut context = SessionContext {
            session: &mut self.session,
            shared: &shared,
            clock: &self.clock,
        };
        match render(&mut context, args, reports, &mut reply) {
            Ok(()) => String::from_utf8(reply.take()).expect("text"),
            Err(refusal) => format!("-{refusal}\r\n"),
        }
    }

    /// Speaks RESP3 from now on.
    pub fn resp3(mut self) -> TestClient {
        self.session.proto = Proto::Resp3;
        self
    }
}
