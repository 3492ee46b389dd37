//! One thread's event loop: sends batches when they are due or answered, reads replies, takes times.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::commander::Plan;
use crate::connection::{Connection, Flight, Source};
use crate::reply::{Reply, ReplyKind};
use crate::schedule::Schedule;
use crate::stats::{Stats, record};
use crate::workload::Kind;

/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// An open loop stops sending while so many commands of a thread are unanswered; their due times still count.
const OUTSTANDING_MAX: u64 = 1 << 20;
/// How long after the end of a run answers are waited for.
const DRAIN_NANOS: u64 = 10_000_000_000;
/// An open loop does not sleep for less than this: waking up would take as long.
const SPIN_NANOS: u64 = 100_000;
/// How often measurements are handed on.
pub const TICK_NANOS: u64 = 1_000_000_000;

/// What all threads of a run have in common.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Templates and timeline.
    pub plan: Arc<Plan>,
    /// The kinds of the mix, in its order.
    pub kinds: Vec<Kind>,
    /// Commands of a batch.
    pub pipeline: u32,
    /// Commands a second over all threads; closed loop if there is no rate.
    pub rate: Option<u64>,
    /// Zero of all times.
    pub origin: Instant,
    /// When sending begins, in nanoseconds since the origin, as all times.
    pub start_nanos: u64,
    /// When measuring begins.
    pub measured_from_nanos: u64,
    /// When the run ends; without it, when the quota is used up or the sources are exhausted.
    pub end_nanos: Option<u64>,
    /// Number of threads.
    pub threads: u64,
    /// An error whose text contains this is none.
    pub tolerated_error: Option<&'static str>,
}

/// What a thread hands on each second.
#[derive(Debug)]
pub struct Measured {
    /// Seconds since measuring began.
    pub tick: u64,
    /// When the interval ended.
    pub until_nanos: u64,
    /// True for answers that came after the end of the run.
    pub after_end: bool,
    /// The measurements.
    pub stats: Stats,
}

/// One thread's share of the connections.
#[derive(Debug)]
pub struct Worker {
    orders: Orders,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    schedule: Option<Schedule>,
    next_connection: usize,
    quota: u64,
    outstanding: u64,
    stats: Stats,
    sender: Sender<Measured>,
    tick: u64,
    warming: bool,
    ended: bool,
    scratch: Vec<u8>,
    expected: Vec<(u8, u64, u64)>,
}

impl Worker {
    /// A worker for `connections`, number `thread` of `orders.threads`, that sends at most `quota` commands.
    pub fn new(
        orders: Orders,
        thread: u64,
        quota: u64,
        connections: Vec<(TcpStream, Source)>,
        sender: Sender<Measured>,
    ) -> Result<Worker, String> {
        let failed = |error: rustix::io::Errno| format!("epoll: {error}");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        let connections = connections
            .into_iter()
            .map(|(stream, source)| Connection::new(stream, source));
        let connections: Vec<Connection> = connections.collect();
        for (index, connection) in connections.iter().enumerate() {
            connection
                .stream
                .set_nonblocking(true)
                .map_err(|error| error.to_string())?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &connection.stream, data, epoll::EventFlags::IN).map_err(failed)?;
        }
        let batch = u64::from(orders.pipeline);
        let expected = |kind: &Kind| {
            (
                kind.expected_replies(),
                kind.elements_min(),
                u64::from(kind.items()),
            )
        };
        Ok(Worker {
            schedule: orders
                .rate
                .map(|rate| Schedule::new(orders.start_nanos, rate, batch, thread, orders.threads)),
            stats: Stats::new(orders.kinds.len()),
            expected: orders.kinds.iter().map(expected).collect(),
            orders,
            epoll,
            connections,
            next_connection: 0,
            quota,
            outstanding: 0,
            sender,
            tick: 0,
            warming: true,
            ended: false,
            scratch: Vec::new(),
        })
    }

    /// Runs to the end; measurements go through the channel.
    pub fn run(mut self) -> Result<(), String> {
        // Timeouts are to be kept to the microsecond, not to the 50 of the kernel's default slack.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(EVENTS_MAX);
        if self.schedule.is_none() {
            let now = self.now();
            for index in 0..self.connections.len() {
                self.send_batch(index, now)?;
            }
        }
        loop {
            let now = self.now();
            self.hand_on(now);
            self.send_due(now)?;
            if self.finished(now) {
                break;
            }
            let timeout = self.timeout(now);
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("epoll: {error}")),
            }
            for event in &events {
                let (index, flags) = (event.data.u64() as usize, event.flags);
                if flags.contains(epoll::EventFlags::OUT) {
                    self.write_unsent(index)?;
                }
                if flags != epoll::EventFlags::OUT {
                    self.read(index, &mut buffer)?;
                }
            }
        }
        self.give_up_on_the_rest();
        self.send_measured(self.ended);
        Ok(())
    }

    fn now(&self) -> u64 {
        self.orders.origin.elapsed().as_nanos() as u64
    }

    /// Forgets the warm-up, hands on finished seconds, notes the end.
    fn hand_on(&mut self, now: u64) {
        if self.ended {
            return;
        }
        let end = self.orders.end_nanos;
        if now < self.orders.measured_from_nanos {
            return;
        }
        if std::mem::take(&mut self.warming) {
            self.stats.forget_times();
        }
        while now >= self.orders.measured_from_nanos + (self.tick + 1) * TICK_NANOS
            && end.is_none_or(|end| self.orders.measured_from_nanos + (self.tick + 1) * TICK_NANOS < end)
        {
            self.send_measured(false);
        }
        if end.is_some_and(|end| now >= end) {
            self.send_measured(false);
            self.ended = true;
        }
    }

    fn send_measured(&mut self, after_end: bool) {
        let stats = std::mem::replace(&mut self.stats, Stats::new(self.orders.kinds.len()));
        let measured = Measured {
            tick: self.tick,
            until_nanos: self.now(),
            after_end,
            stats,
        };
        // The receiver is gone only if the run has failed elsewhere.
        let _ = self.sender.send(measured);
        self.tick += 1;
    }

    /// Open loop: sends every batch whose time has come, the connections in turn.
    fn send_due(&mut self, now: u64) -> Result<(), String> {
        let last = self.orders.end_nanos.map_or(now, |end| now.min(end - 1));
        while self.outstanding < OUTSTANDING_MAX && self.quota > 0 {
            let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(last)) else {
                break;
            };
            record(&mut self.stats.lag, now - due, 1);
            let index = self.next_connection;
            self.next_connection = (index + 1) % self.connections.len();
            self.send_batch(index, due)?;
        }
        Ok(())
    }

    fn finished(&self, now: u64) -> bool {
        match self.orders.end_nanos {
            Some(end) if now >= end + DRAIN_NANOS => true,
            Some(end) => {
                let sent = self
                    .schedule
                    .as_ref()
                    .is_none_or(|schedule| schedule.due_nanos() >= end);
                now >= end && sent && self.outstanding == 0
            }
            None => {
                let sent = self.quota == 0 || self.connections.iter().all(|connection| connection.exhausted);
                sent && self.outstanding == 0
            }
        }
    }

    /// Until the next batch, tick or end, whichever comes first.
    fn timeout(&self, now: u64) -> Timespec {
        let tick = self.orders.measured_from_nanos + (self.tick + 1) * TICK_NANOS;
        let mut next = if self.ended { now + TICK_NANOS } else { tick };
        if let Some(end) = self.orders.end_nanos.filter(|end| *end > now) {
            next = next.min(end);
        }
        if now < self.orders.measured_from_nanos {
            next = next.min(self.orders.measured_from_nanos);
        }
        if let Some(schedule) = self.schedule.as_ref().filter(|_| !self.ended && self.quota > 0) {
            next = next.min(schedule.due_nanos().saturating_sub(SPIN_NANOS));
        }
        let nanos = next.saturating_sub(now);
        Timespec {
            tv_sec: (nanos / TICK_NANOS) as i64,
            tv_nsec: (nanos % TICK_NANOS) as i64,
        }
    }

    /// Sends the next batch of a connection; its latency counts from `since_nanos`.
    fn send_batch(&mut self, index: usize, since_nanos: u64) -> Result<(), String> {
        let connection = &mut self.connections[index];
        let batch = u64::from(self.orders.pipeline).min(self.quota);
        self.scratch.clear();
        let mut sent = 0;
        while sent < batch {
            let kind = match &mut connection.source {
                Source::Mix(commander) => Some(commander.write_next(&self.orders.plan, &mut self.scratch)),
                Source::Preload(preloader) => preloader.write_next(&self.orders.plan, &mut self.scratch),
            };
            let Some(kind) = kind else {
                connection.exhausted = true;
                break;
            };
            connection.note_sent(kind, since_nanos);
            sent += 1;
        }
        self.quota -= sent;
        self.outstanding += sent;
        self.stats.bytes_sent += self.scratch.len() as u64;
        if sent > 0 && connection.write(&self.scratch)? {
            self.watch(index, true)?;
        }
        Ok(())
    }

    fn write_unsent(&mut self, index: usize) -> Result<(), String> {
        if self.connections[index].write_rest()? {
            return Ok(());
        }
        self.watch(index, false)
    }

    /// Also waits, or no longer waits, for room to write.
    fn watch(&self, index: usize, writable: bool) -> Result<(), String> {
        let flags = match writable {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            false => epoll::EventFlags::IN,
        };
        let data = epoll::EventData::new_u64(index as u64);
        epoll::modify(&self.epoll, &self.connections[index].stream, data, flags)
            .map_err(|error| format!("epoll: {error}"))
    }

    fn read(&mut self, index: usize, buffer: &mut [u8]) -> Result<(), String> {
        let read = match self.connections[index].stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".into()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(format!("reading: {error}")),
        };
        let now = self.now();
        self.stats.bytes_received += read as u64;
        self.take_replies(index, &buffer[..read], now)?;
        let connection = &self.connections[index];
        let closed_loop_goes_on =
            self.schedule.is_none() && connection.flights.is_empty() && !connection.exhausted;
        let before_end = self.orders.end_nanos.is_none_or(|end| now < end);
        if closed_loop_goes_on && before_end && self.quota > 0 {
            self.send_batch(index, now)?;
        }
        Ok(())
    }

    /// Matches replies with what was sent, in order.
    fn take_replies(&mut self, index: usize, bytes: &[u8], now: u64) -> Result<(), String> {
        let mut at = 0;
        let mut answered = 0;
        while at < bytes.len() {
            let connection = &mut self.connections[index];
            let (used, reply) = connection
                .scanner
                .scan(&bytes[at..])
                .map_err(|malformed| malformed.0)?;
            at += used;
            let Some(reply) = reply else { break };
            let Some(flight) = connection.flights.front().copied() else {
                return Err(format!(
                    "a reply that nobody waits for: {}",
                    connection.scanner.error_text()
                ));
            };
            answered += 1;
            self.check(index, flight.kind, reply);
            if answered == flight.count {
                self.note_answered(flight, answered, now);
                self.connections[index].flights.pop_front();
                answered = 0;
            }
        }
        if let Some(flight) = self.connections[index]
            .flights
            .front_mut()
            .filter(|_| answered > 0)
        {
            flight.count -= answered;
            let flight = *flight;
            self.note_answered(flight, answered, now);
        }
        Ok(())
    }

    fn note_answered(&mut self, flight: Flight, answered: u32, now: u64) {
        let (count, kind) = (u64::from(answered), usize::from(flight.kind));
        record(
            &mut self.stats.latencies[kind],
            now.saturating_sub(flight.since_nanos),
            count,
        );
        self.stats.commands += count;
        self.stats.items += count * self.expected[kind].2;
        self.outstanding -= count;
    }

    /// Counts errors, wrong types and misses.
    #[inline]
    fn check(&mut self, index: usize, kind: u8, reply: Reply) {
        let (types, elements_min, _) = self.expected[usize::from(kind)];
        let right = types & reply.kind as u8 != 0;
        let short =
            reply.kind == ReplyKind::Null || (reply.kind == ReplyKind::Array && reply.length < elements_min);
        if right && reply.errors == 0 && !short {
            return;
        }
        let scanner = &self.connections[index].scanner;
        if reply.errors > 0 {
            let tolerated = self.orders.tolerated_error;
            if !tolerated.is_some_and(|tolerated| scanner.error_text().contains(tolerated)) {
                self.stats
                    .error(u64::from(reply.errors), || scanner.error_text().to_string());
            }
        } else if !right {
            let name = self.orders.kinds[usize::from(kind)].name();
            self.stats
                .error(1, || format!("{name} was answered with {:?}", reply.kind));
        } else {
            self.stats.misses += 1;
        }
    }

    /// Whatever is unanswered or unsent now has waited at least until now.
    fn give_up_on_the_rest(&mut self) {
        let now = self.now();
        for connection in &self.connections {
            for flight in &connection.flights {
                let count = u64::from(flight.count);
                record(
                    &mut self.stats.latencies[usize::from(flight.kind)],
                    now - flight.since_nanos,
                    count,
                );
                self.stats.unserved += count;
            }
        }
        let Some(end) = self.orders.end_nanos else { return };
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(end - 1)) {
            let batch = u64::from(self.orders.pipeline);
            record(&mut self.stats.latencies[0], now - due, batch);
            self.stats.unserved += batch;
        }
    }
}
