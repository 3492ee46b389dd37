//! Carries out one run: connects, preloads, starts the threads, collects what they measure.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Arguments;
use crate::cluster::{self, Node};
use crate::commander::{Commander, Keys, Plan, Timeline, value_pool};
use crate::connect::{IdleConnections, Target, raise_descriptor_limit};
use crate::connection::Source;
use crate::files::IntervalLog;
use crate::keys::KeySet;
use crate::prepare::{Needs, Preloader, TOLERATED_ERROR};
use crate::process::{CpuTime, resident_bytes};
use crate::stats::Stats;
use crate::template::Template;
use crate::worker::{Measured, Orders, Worker};
use crate::workload::Kind;

/// Between connecting and the first command, so that all threads are ready.
const START_DELAY: Duration = Duration::from_millis(20);
/// Connections and commands in flight on each of them while data are preloaded.
const PRELOAD_CONNECTIONS: u32 = 50;
const PRELOAD_PIPELINE: u32 = 16;
/// How often the progress bar moves.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What a run found out.
#[derive(Debug)]
pub struct Outcome {
    /// All measurements.
    pub stats: Stats,
    /// Measured time in seconds.
    pub seconds: f64,
    /// Answers and 99th percentile in microseconds of each second.
    pub seconds_measured: Vec<(u64, f64)>,
    /// The server's CPU time while measuring.
    pub server_cpu: Option<CpuTime>,
    /// This process's CPU time while measuring.
    pub own_cpu: CpuTime,
    /// The server's resident memory before connecting, with all connections, and at the end, in bytes.
    pub server_memory: Option<[u64; 3]>,
    /// Idle connections that the server has closed.
    pub idle_lost: usize,
    /// Nodes that were sent to.
    pub nodes: usize,
}

/// A server and what is known about it.
#[derive(Debug)]
pub struct Session {
    target: Target,
    nodes: Vec<NodeKeys>,
    plan: Arc<Plan>,
}

/// A node and the keys that live on it.
#[derive(Debug)]
struct NodeKeys {
    target: Target,
    values: KeySet,
    counters: KeySet,
    series: KeySet,
}

impl Session {
    /// Finds the nodes; writes what the workload reads, unless it is there already.
    pub fn open(arguments: &Arguments) -> Result<Session, String> {
        let connections = arguments.connections.max(PRELOAD_CONNECTIONS) as usize;
        raise_descriptor_limit(connections + arguments.idle_connections as usize)?;
        let target = Target {
            address: arguments.address()?,
            password: arguments.password.clone(),
        };
        let nodes = match arguments.cluster {
            true => cluster::nodes(&target)?
                .iter()
                .map(|node| NodeKeys::of(node, &target, arguments))
                .collect(),
            false => vec![NodeKeys::all(&target, arguments)],
        };
        let session = Session {
            target,
            nodes,
            plan: Arc::new(plan(arguments)),
        };
        let needs = Needs::of(arguments.mix(), arguments.preload_samples);
        if !needs.is_empty() && !arguments.no_preload {
            session.preload(arguments, &needs)?;
        }
        Ok(session)
    }

    fn preload(&self, arguments: &Arguments, needs: &Needs) -> Result<(), String> {
        let per_node = (PRELOAD_CONNECTIONS / self.nodes.len() as u32).max(1) as u64;
        let mut connections = Vec::new();
        for node in &self.nodes {
            for part in 0..per_node {
                let (keys, series) = (node.values.part(part, per_node), node.series.part(part, per_node));
                let seed = arguments.seed + connections.len() as u64;
                let preloader = Preloader::new(needs.clone(), arguments.names(), keys, series, seed);
                let stream = node.target.connect(connections.len())?;
                connections.push((stream, Source::Preload(Box::new(preloader))));
            }
        }
        let bar = progress(arguments, needs.commands(arguments.key_space, arguments.series));
        bar.set_message("preloading");
        let mut orders = self.orders(needs.kinds(), PRELOAD_PIPELINE, None, 1);
        orders.tolerated_error = Some(TOLERATED_ERROR);
        let (sender, receiver) = mpsc::channel();
        let worker = Worker::new(orders, 0, u64::MAX, connections, sender)?;
        let thread = std::thread::spawn(move || worker.run());
        let mut failed = None;
        for measured in receiver {
            bar.inc(measured.stats.commands);
            failed = failed.or(measured.stats.first_error);
        }
        bar.finish_and_clear();
        join(vec![thread])?;
        failed.map_or(Ok(()), |error| Err(format!("preloading: {error}")))
    }

    fn orders(&self, kinds: Vec<Kind>, pipeline: u32, rate: Option<u64>, threads: u64) -> Orders {
        Orders {
            plan: Arc::clone(&self.plan),
            kinds,
            pipeline,
            rate,
            origin: Instant::now(),
            start_nanos: 0,
            measured_from_nanos: 0,
            end_nanos: None,
            threads,
            tolerated_error: None,
        }
    }

    /// One run, at `rate` or as a closed loop.
    pub fn run(&self, arguments: &Arguments, rate: Option<u64>) -> Result<Outcome, String> {
        let memory = || arguments.server_pid.map(resident_bytes);
        let memory_before = memory();
        let count = arguments.connections as usize;
        let mut idle = IdleConnections::open(&self.target, count, arguments.idle_connections as usize)?;
        let threads = arguments.threads as usize;
        let mut shares: Vec<Vec<(TcpStream, Source)>> = (0..threads).map(|_| Vec::new()).collect();
        for (index, connection) in self.connections(arguments)?.into_iter().enumerate() {
            shares[index % threads].push(connection);
        }
        let memory_connected = memory();
        let kinds: Vec<Kind> = arguments.mix().parts.iter().map(|(kind, _)| *kind).collect();
        let mut orders = self.orders(kinds, arguments.pipeline, rate, threads as u64);
        orders.start_nanos = START_DELAY.as_nanos() as u64;
        let warmup = if arguments.requests.is_some() {
            0.0
        } else {
            arguments.warmup
        };
        orders.measured_from_nanos = orders.start_nanos + (warmup * 1e9) as u64;
        if arguments.requests.is_none() {
            orders.end_nanos = Some(orders.measured_from_nanos + (arguments.duration * 1e9) as u64);
        }
        let (sender, receiver) = mpsc::channel();
        let mut workers = Vec::new();
        for (thread, connections) in shares.into_iter().enumerate() {
            let quota = arguments.requests.map_or(u64::MAX, |requests| {
                requests / threads as u64 + u64::from((thread as u64) < requests % threads as u64)
            });
            workers.push(Worker::new(
                orders.clone(),
                thread as u64,
                quota,
                connections,
                sender.clone(),
            )?);
        }
        drop(sender);
        sleep_until(orders.origin, orders.start_nanos);
        let workers: Vec<_> = workers
            .into_iter()
            .map(|worker| std::thread::spawn(move || worker.run()))
            .collect();
        let mut outcome = collect(arguments, &orders, &receiver)?;
        join(workers)?;
        outcome.idle_lost = idle.lost(&self.target);
        outcome.nodes = self.nodes.len();
        outcome.server_memory = memory_before
            .zip(memory_connected)
            .zip(memory())
            .map(|((before, connected), after)| [before, connected, after]);
        Ok(outcome)
    }

    /// The active connections, spread over the nodes, each with its own share of the series.
    fn connections(&self, arguments: &Arguments) -> Result<Vec<(TcpStream, Source)>, String> {
        let count = u64::from(arguments.connections);
        let nodes = self.nodes.len() as u64;
        let groups = arguments.series.div_ceil(arguments.group_series);
        (0..count)
            .map(|index| {
                let node = &self.nodes[(index % nodes) as usize];
                let on_node = (count - index % nodes).div_ceil(nodes);
                let keys = Keys {
                    values: node.values.clone(),
                    counters: node.counters.clone(),
                    series: node.series.share(index / nodes, on_node),
                    groups,
                };
                let seed = arguments.seed.wrapping_mul(1_000_003).wrapping_add(index);
                let commander = Commander::new(&self.plan, keys, seed);
                Ok((
                    node.target.connect(index as usize)?,
                    Source::Mix(Box::new(commander)),
                ))
            })
            .collect()
    }
}

impl NodeKeys {
    fn all(target: &Target, arguments: &Arguments) -> NodeKeys {
        NodeKeys {
            target: target.clone(),
            values: KeySet::all(arguments.key_space, None),
            counters: KeySet::all(arguments.key_space, None),
            series: KeySet::all(arguments.series, None),
        }
    }

    fn of(node: &Node, target: &Target, arguments: &Arguments) -> NodeKeys {
        let (mix, names) = (arguments.mix(), arguments.names());
        let keys =
            |used: bool, prefix: &str, total| KeySet::all(total, used.then(|| node.keys(prefix, total)));
        let counted = mix.any(|kind| kind == Kind::Incr);
        NodeKeys {
            target: Target {
                address: node.address,
                password: target.password.clone(),
            },
            values: keys(mix.any(Kind::uses_values), &names.key_prefix, arguments.key_space),
            counters: keys(counted, &names.counter_prefix(), arguments.key_space),
            series: keys(mix.any(Kind::uses_series), &names.series_prefix, arguments.series),
        }
    }
}

fn plan(arguments: &Arguments) -> Plan {
    let names = arguments.names();
    let mut bound = 0;
    let templates = arguments.mix().parts.iter().map(|(kind, weight)| {
        bound += weight;
        (Template::new(*kind, &names), bound)
    });
    let reads_series = arguments.mix().any(Kind::reads_series);
    Plan {
        templates: templates.collect(),
        timeline: Timeline {
            start_millis: arguments.start_time.unwrap_or_default(),
            step_millis: arguments.step,
            jitter_millis: arguments.jitter,
            late_threshold: (arguments.late_fraction * 2f64.powi(32)) as u64,
            late_by: arguments.late_by,
            preloaded: if reads_series {
                arguments.preload_samples
            } else {
                0
            },
        },
        values: arguments.values,
        group_series: arguments.group_series,
        one_series: arguments.one_series,
        zipf: arguments.zipf,
        value_pool: value_pool(arguments.value_size, arguments.seed),
    }
}

/// Receives measurements until all threads have ended; reads CPU times at both ends of the measured time.
fn collect(arguments: &Arguments, orders: &Orders, receiver: &Receiver<Measured>) -> Result<Outcome, String> {
    let own_pid = std::process::id();
    let cpu = |pid: Option<u32>| pid.map(CpuTime::of).transpose();
    sleep_until(orders.origin, orders.measured_from_nanos);
    let (server_before, own_before) = (cpu(arguments.server_pid)?, CpuTime::of(own_pid)?);
    let mut after = None;
    let mut log = IntervalLog::create(arguments)?;
    let mut ticks = Ticks::new(orders);
    let total = orders.end_nanos.map_or(arguments.requests.unwrap_or(0), |_| {
        (arguments.duration * 1e3) as u64
    });
    let bar = progress(arguments, total);
    loop {
        match receiver.recv_timeout(PROGRESS_INTERVAL) {
            Ok(measured) => ticks.take(measured, &mut log, false)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = orders.origin.elapsed().as_nanos() as u64;
        if after.is_none() && orders.end_nanos.is_some_and(|end| now >= end) {
            after = Some((cpu(arguments.server_pid)?, CpuTime::of(own_pid)?, now));
        }
        show(&bar, orders, &ticks, now);
    }
    let now = orders.origin.elapsed().as_nanos() as u64;
    let (server_after, own_after, cpu_until) = match after {
        Some(after) => after,
        None => (cpu(arguments.server_pid)?, CpuTime::of(own_pid)?, now),
    };
    ticks.finish(&mut log)?;
    bar.finish_and_clear();
    log.close()?;
    let until = orders.end_nanos.unwrap_or(ticks.until_nanos);
    let seconds = until.saturating_sub(orders.measured_from_nanos) as f64 / 1e9;
    // CPU times were read up to a moment later than the end: scale to the measured time.
    let scale = seconds / (cpu_until.saturating_sub(orders.measured_from_nanos) as f64 / 1e9);
    let scaled = |time: CpuTime| CpuTime {
        user_seconds: time.user_seconds * scale,
        system_seconds: time.system_seconds * scale,
    };
    Ok(Outcome {
        stats: ticks.total,
        seconds,
        seconds_measured: ticks.seconds,
        server_cpu: server_after
            .zip(server_before)
            .map(|(after, before)| scaled(after.since(before))),
        own_cpu: scaled(own_after.since(own_before)),
        server_memory: None,
        idle_lost: 0,
        nodes: 0,
    })
}

/// Puts the threads' measurements of the same second together and in order.
struct Ticks {
    threads: u64,
    open: BTreeMap<u64, (u64, Stats)>,
    total: Stats,
    seconds: Vec<(u64, f64)>,
    until_nanos: u64,
    keep_late: bool,
    kinds: usize,
}

impl Ticks {
    fn new(orders: &Orders) -> Ticks {
        Ticks {
            threads: orders.threads,
            open: BTreeMap::new(),
            total: Stats::new(orders.kinds.len()),
            seconds: Vec::new(),
            until_nanos: 0,
            keep_late: orders.rate.is_some(),
            kinds: orders.kinds.len(),
        }
    }

    fn take(&mut self, measured: Measured, log: &mut IntervalLog, all: bool) -> Result<(), String> {
        if measured.after_end {
            self.take_late(measured.stats);
            return Ok(());
        }
        self.until_nanos = self.until_nanos.max(measured.until_nanos);
        let (received, stats) = self
            .open
            .entry(measured.tick)
            .or_insert_with(|| (0, Stats::new(self.kinds)));
        stats.add(&measured.stats);
        *received += 1;
        self.close_ticks(log, all)
    }

    /// In an open loop, what was sent in time and answered late shows in the latencies, not in the rate.
    fn take_late(&mut self, mut stats: Stats) {
        if !self.keep_late {
            stats.forget_times();
        }
        (
            stats.commands,
            stats.items,
            stats.bytes_sent,
            stats.bytes_received,
        ) = (0, 0, 0, 0);
        self.total.add(&stats);
    }

    fn close_ticks(&mut self, log: &mut IntervalLog, all: bool) -> Result<(), String> {
        while let Some(entry) = self.open.first_entry() {
            if entry.get().0 < self.threads && !all {
                break;
            }
            let tick = *entry.key();
            let (_, stats) = entry.remove();
            let latency = stats.latency();
            log.write(tick, &latency)?;
            self.seconds
                .push((stats.commands, latency.value_at_quantile(0.99) as f64 / 1e3));
            self.total.add(&stats);
        }
        Ok(())
    }

    fn finish(&mut self, log: &mut IntervalLog) -> Result<(), String> {
        self.close_ticks(log, true)
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress(arguments: &Arguments, length: u64) -> ProgressBar {
    if arguments.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {percent}% {msg}")
        .map(|style| style.progress_chars("=> "));
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, orders: &Orders, ticks: &Ticks, now: u64) {
    match orders.end_nanos {
        Some(_) => bar.set_position(now.saturating_sub(orders.measured_from_nanos) / 1_000_000),
        None => bar.set_position(ticks.total.commands),
    }
    if let Some((commands, p99)) = ticks.seconds.last() {
        bar.set_message(format!("{commands} commands/s, p99 {:.3} ms", p99 / 1e3));
    }
}

fn sleep_until(origin: Instant, nanos: u64) {
    std::thread::sleep(Duration::from_nanos(nanos).saturating_sub(origin.elapsed()));
}

fn join(threads: Vec<JoinHandle<Result<(), String>>>) -> Result<(), String> {
    threads.into_iter().try_for_each(|thread| match thread.join() {
        Ok(result) => result,
        Err(_) => Err("a thread of the load generator panicked".into()),
    })
}
