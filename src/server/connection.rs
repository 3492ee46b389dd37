//! One client from accept to close: read, run what is complete, wait for what that started, answer.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::command::plan::Plan;
use crate::command::session::ReplyMode;
use crate::command::{CommandId, Reports, Run, SessionContext};
use crate::resp::Reply;

use super::chains;
use super::client::ClientHandle;
use super::dispatch::{Step, run_ready};
use super::exec;
use super::hop::{UNKNOWN_OUTCOME, offload, resolve};
use super::input::Input;
use super::lane_shell::LaneShell;
use super::message::{Answer, LaneRequest, Parts};
use super::plans;
use super::slowlog::SlowerThan;
use super::transaction::{Caller, Ended};
use super::turn::Turn;
use super::waking::Awake;

/// How a turn ended.
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Close,
}

struct Connection {
    shell: Rc<LaneShell>,
    client: Rc<ClientHandle>,
    stream: TcpStream,
    input: Input,
    turn: Turn,
    output: Vec<u8>,
    /// Keys under WATCH.
    watched: Vec<Box<[u8]>>,
}

/// Serves a client until it goes, or has to go.
pub async fn serve_connection(shell: Rc<LaneShell>, client: Rc<ClientHandle>, stream: TcpStream) {
    let mut connection = Connection {
        turn: Turn::new(),
        input: Input::default(),
        output: Vec::new(),
        watched: Vec::new(),
        shell,
        client,
        stream,
    };
    if let Err(error) = connection.run().await {
        log::debug!("client {}: {error}", connection.client.session.borrow().address);
    }
    if !connection.watched.is_empty() {
        exec::unwatch(&connection.shell, &connection.client, &mut connection.watched).await;
    }
}

/// Replies of work that takes long leave before the rest of their pipeline is answered, from so many bytes on.
const EARLY_WRITE_BYTES: usize = 256 << 10;

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            if self.client.killed.get() || (self.shell.stopping.get() && self.input.waiting_bytes() == 0) {
                return Ok(());
            }
            match self.fill().await? {
                Some(0) => return Ok(()),
                Some(_) => {}
                None => {
                    self.write().await?;
                    continue;
                }
            }
            self.client.busy.set(true);
            let awake = Awake::begin();
            let flow = self.answer_all(&awake).await?;
            self.client.busy.set(false);
            drop(awake);
            if flow == Flow::Close {
                return Ok(());
            }
        }
    }

    /// Waits for bytes; 0 = the client has gone, or has to go; `None` = there are messages for it.
    async fn fill(&mut self) -> io::Result<Option<usize>> {
        self.input.compact(&self.shell);
        let max = self.shell.shared.config.wire.query_buffer_max_bytes;
        if self.input.waiting_bytes() >= max {
            self.shell
                .lane
                .borrow_mut()
                .counters
                .query_buffer_limit_disconnections += 1;
            log::warn!(
                "client {}: query buffer over {max} bytes, closed",
                self.client.session.borrow().address
            );
            return Ok(Some(0));
        }
        let (shell, client, stream, input) = (&self.shell, &self.client, &self.stream, &mut self.input);
        let read = poll_fn(|context| {
            if client.killed.get() || shell.stopping.get() {
                return client.wait_if(context, Poll::Ready(Ok(Some(0))));
            }
            if client.has_messages() {
                return client.wait_if(context, Poll::Ready(Ok(None)));
            }
            let polled = match client.readiness.may_read() {
                true => input.read_with(shell, |room| client.readiness.poll_read(stream, room)),
                false => Poll::Pending,
            };
            client.wait_if(context, polled.map_ok(Some))
        })
        .await?;
        let Some(read) = read else { return Ok(None) };
        self.shell.lane.borrow_mut().counters.net_input_bytes += read as u64;
        self.client.query_buffer_bytes.set(self.input.waiting_bytes());
        Ok(Some(read))
    }

    /// Runs and answers everything that is complete.
    async fn answer_all(&mut self, awake: &Awake) -> io::Result<Flow> {
        self.begin_turn();
        loop {
            let step = run_ready(&self.shell, &self.client, &mut self.input, &mut self.turn);
            // Others read while this connection waits for anything.
            self.input.give_back(&self.shell);
            match step {
                Step::NeedInput => return self.settle_and_write(awake).await,
                Step::Full => {
                    if self.settle_and_write(awake).await? == Flow::Close {
                        return Ok(Flow::Close);
                    }
                    if self.input.waiting_bytes() == 0 {
                        return Ok(Flow::GoOn);
                    }
                    self.begin_turn();
                    // A long pipeline lets the others have their turn.
                    glommio::executor().yield_if_needed().await;
                }
                Step::Wait(place, wait) => {
                    self.settle(awake).await;
                    if let Err(refusal) = resolve(&self.shell, place, wait).await {
                        self.reply_late(|reply| reply.error(&refusal));
                        self.input.consume_pending();
                    }
                }
                Step::Paused => {
                    self.settle(awake).await;
                    glommio::timer::sleep(Duration::from_millis(1)).await;
                    if self.client.killed.get() {
                        return Ok(Flow::Close);
                    }
                }
                step => {
                    self.settle(awake).await;
                    self.run_late(step).await;
                    self.input.consume_pending();
                    // The replies of a pipeline of big queries need not wait for each other.
                    if self.output.len() >= EARLY_WRITE_BYTES {
                        self.write().await?;
                    }
                }
            }
        }
    }

    fn begin_turn(&mut self) {
        let proto = self.client.session.borrow().proto;
        if self.turn.reply.is_empty() {
            self.turn.reply = Reply::with_buffer(self.shell.take_reply_buffer(), proto);
        }
        self.turn.reply.set_proto(proto);
        self.turn.read_at_ns = 0;
        self.turn.ran_at_ns = 0;
    }

    /// Adds a reply to the output, unless the client has turned replies off.
    fn reply_late(&mut self, write: impl FnOnce(&mut Reply)) {
        let mut session = self.client.session.borrow_mut();
        let mut reply = Reply::new(session.proto);
        write(&mut reply);
        if reply.as_bytes().first() == Some(&b'-') {
            self.shell.lane.borrow_mut().counters.error_replies += 1;
            self.shell.count_error(reply.as_bytes().get(1..).unwrap_or(b""));
        }
        match session.reply_mode {
            ReplyMode::On => self.output.extend_from_slice(reply.as_bytes()),
            ReplyMode::Off => {}
            ReplyMode::SkipNext => session.reply_mode = ReplyMode::Skipping,
            ReplyMode::Skipping => session.reply_mode = ReplyMode::On,
        }
    }

    /// Work that takes more than a synchronous section on this lane.
    async fn run_late(&mut self, step: Step) {
        let start_ns = self.shell.lane.borrow().clock.instant_ns();
        match step {
            Step::Offload(job) => {
                let proto = self.client.session.borrow().proto;
                let bytes = offload(job, proto).await;
                self.reply_late(|reply| reply.raw(&bytes));
            }
            Step::Report(id) => self.report(id).await,
            Step::AtomicSplit(command) => {
                let (client, proto) = self.identity();
                let caller = Caller {
                    client,
                    proto,
                    watched: &[],
                };
                let ended = super::transaction::run_split(&self.shell, caller, &command).await;
                let Run::Split { merge, .. } = self.shell.shared.commands.get(command.id).run else {
                    return;
                };
                match ended {
                    Ended::Done(()) => {
                        self.reply_late(|reply| crate::command::write_outcome(merge, true, reply))
                    }
                    Ended::CalledOff => {
                        self.reply_late(|reply| crate::command::write_outcome(merge, false, reply))
                    }
                    Ended::Refused(text) => self.reply_late(|reply| reply.error(&text)),
                    Ended::Unknown(text) => self.unknown(&text),
                }
            }
            Step::Plan(plan) => self.run_plan(*plan).await,
            Step::NeedInput | Step::Full | Step::Wait(..) | Step::Paused => {}
        }
        self.time_late(start_ns);
    }

    /// What a plan took beyond its synchronous section counts as service time of its command.
    fn time_late(&self, start_ns: u64) {
        let mut lane = self.shell.lane.borrow_mut();
        let took_ns = lane.clock.instant_ns().saturating_sub(start_ns);
        let name = self.client.last_command.get();
        if let Some(took_us) = SlowerThan::of(&self.shell).if_slow(took_ns) {
            let args = self.input.pending_args();
            self.shell
                .keep_slow_call(&self.client.session.borrow(), args, took_us, lane.clock.now_ms());
        }
        if let Some(id) = self.shell.shared.commands.find(name.as_bytes()) {
            lane.latency.record_late(usize::from(id), took_ns);
        }
    }

    fn identity(&self) -> (u64, crate::resp::Proto) {
        let session = self.client.session.borrow();
        (session.id, session.proto)
    }

    async fn run_plan(&mut self, plan: Plan) {
        let (shell, client) = (self.shell.clone(), self.client.clone());
        let mut reply = Reply::new(self.identity().1);
        let args: Vec<Box<[u8]>> = self.input.pending_args().iter().map(Box::from).collect();
        let ended = plans::run(&shell, &client, plan, &args, &mut self.watched, None, &mut reply).await;
        let bytes = reply.take();
        match ended {
            Ok(()) => self.reply_late(|reply| reply.raw(&bytes)),
            Err(text) => self.unknown(&text),
        }
    }

    /// The reply of a command that reports about the whole server.
    async fn report(&mut self, id: CommandId) {
        let Run::Report { kinds, render } = self.shell.shared.commands.get(id).run else {
            return;
        };
        let reports = plans::gather_reports(&self.shell, kinds).await;
        let proto = self.identity().1;
        let mut reply = Reply::new(proto);
        let refusal = self.render(&reports, render, &mut reply);
        match refusal {
            Ok(()) => {
                let bytes = reply.take();
                self.reply_late(|reply| reply.raw(&bytes));
            }
            Err(refusal) => self.reply_late(|reply| reply.error(&refusal)),
        }
    }

    fn render(
        &self,
        reports: &Reports,
        render: crate::command::plan::Render,
        reply: &mut Reply,
    ) -> Result<(), crate::refusal::Refusal> {
        let mut session = self.client.session.borrow_mut();
        let clock = self.shell.lane.borrow().clock.clone();
        let mut context = SessionContext {
            session: &mut session,
            shared: &self.shell.shared,
            clock: &clock,
        };
        render(&mut context, self.input.pending_args(), reports, reply)
    }

    /// The storage failed midway: say so and close.
    fn unknown(&mut self, text: &str) {
        self.reply_late(|reply| reply.error(text));
        self.client.session.borrow_mut().closing = true;
    }

    /// Sends the hops, waits for commits and answers, and moves the turn's replies to the output.
    async fn settle(&mut self, awake: &Awake) {
        let waits = !self.turn.targets.is_empty() || !self.turn.changes.is_empty();
        let hopped = match self.turn.targets.is_empty() {
            true => Ok(()),
            false => self.run_hops(awake).await,
        };
        let committed = self.shell.commits.wait(&self.turn.changes).await;
        chains::follow(&self.shell, self.turn.chained(&self.shell.commits)).await;
        let hopped = if committed {
            hopped
        } else {
            // Which of the turn's replies are affected is not known apart: none of them may be taken for granted.
            Err(UNKNOWN_OUTCOME.into())
        };
        if let Err(text) = hopped {
            self.turn.clear();
            self.give_hops();
            self.unknown(&text);
            return;
        }
        if self.turn.needs_assembly() {
            if self.output.capacity() == 0 {
                self.output = self.shell.take_reply_buffer();
            }
            self.turn.assemble(&mut self.output);
        } else if self.output.is_empty() {
            let mut reply = self.turn.reply.take();
            std::mem::swap(&mut self.output, &mut reply);
            self.shell.give_buffer(reply);
        } else {
            self.output.extend_from_slice(self.turn.reply.as_bytes());
        }
        self.give_hops();
        self.finish_counts(waits);
        self.turn.clear();
    }

    /// One hop per target lane, all at once; they come back with their replies.
    ///
    /// # Errors
    /// If the outcome of one is unknown: the reply.
    async fn run_hops(&mut self, awake: &Awake) -> Result<(), String> {
        let shell = &self.shell;
        {
            let mut own = shell.lane.borrow_mut();
            let hops = self.turn.hops.iter().flatten();
            own.counters.hop_commands += hops.map(|hop| hop.len() as u64).sum::<u64>();
            own.counters.hops_sent += self.turn.targets.len() as u64;
        }
        // The answers ring a bell if the lane sleeps.
        let _paused = awake.pause();
        for (lane, ticket) in &mut self.turn.targets {
            let Some(hop) = self.turn.hops.get_mut(*lane).and_then(Option::take) else {
                continue;
            };
            *ticket = Some(shell.mesh.send(*lane, LaneRequest::Execute(hop)).await);
        }
        let mut outcome = Ok(());
        for (lane, ticket) in &self.turn.targets {
            let Some(ticket) = *ticket else { continue };
            match shell.mesh.answer(ticket).await {
                Answer::Parts(Parts(hop)) => {
                    shell.keep_slow_calls_of(&self.client.session.borrow(), &hop);
                    if let Some(slot) = self.turn.hops.get_mut(*lane) {
                        *slot = Some(hop);
                    }
                }
                Answer::Unknown(text) => outcome = Err(text),
                _ => {}
            }
        }
        outcome
    }

    /// Gives the memory of the turn's hops back.
    fn give_hops(&mut self) {
        for (lane, _) in self.turn.targets.drain(..) {
            if let Some(hop) = self.turn.hops.get_mut(lane).and_then(Option::take) {
                self.shell.give_hop(hop);
            }
        }
    }

    /// Records the turn's commands; `waited` = something else was waited for since they ran.
    fn finish_counts(&mut self, waited: bool) {
        let mut lane = self.shell.lane.borrow_mut();
        let now_ns = match self.turn.ran_at_ns {
            ran_at_ns if ran_at_ns != 0 && !waited => ran_at_ns,
            _ => lane.clock.instant_ns(),
        };
        let took_ns = now_ns.saturating_sub(self.turn.read_at_ns);
        for (id, count) in &self.turn.counts {
            lane.latency.record_turnaround(usize::from(*id), took_ns, *count);
        }
    }

    async fn settle_and_write(&mut self, awake: &Awake) -> io::Result<Flow> {
        self.settle(awake).await;
        self.write().await?;
        let unwatch = std::mem::take(&mut self.client.session.borrow_mut().unwatch_due);
        if unwatch {
            exec::unwatch(&self.shell, &self.client, &mut self.watched).await;
        }
        let closing = self.client.session.borrow().closing || self.client.killed.get();
        Ok(if closing { Flow::Close } else { Flow::GoOn })
    }

    /// Writes the output, and messages behind it. Nothing more is read while the client does not take it.
    async fn write(&mut self) -> io::Result<()> {
        if self.client.has_messages() {
            self.output.extend_from_slice(&self.client.take_messages());
        }
        let max = self.shell.shared.config.wire.output_buffer_max_bytes;
        if self.output.len() > max {
            self.shell
                .lane
                .borrow_mut()
                .counters
                .output_buffer_limit_disconnections += 1;
            log::warn!(
                "client {}: replies over {max} bytes, closed",
                self.client.session.borrow().address
            );
            return Err(io::Error::other("output buffer limit"));
        }
        self.client.output_bytes.set(self.output.len());
        let mut written = 0;
        let (client, stream, output) = (&self.client, &self.stream, &self.output);
        while written < output.len() {
            let rest = output.get(written..).unwrap_or(&[]);
            let len = poll_fn(|context| {
                // A client that kills itself still gets the reply, if it takes it at once.
                let polled = match client.readiness.poll_write(stream, rest) {
                    Poll::Pending if client.killed.get() => Poll::Ready(Err(io::Error::other("killed"))),
                    polled => polled,
                };
                client.wait_if(context, polled)
            })
            .await?;
            if len == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            written += len;
        }
        self.shell.lane.borrow_mut().counters.net_output_bytes += written as u64;
        self.client.output_bytes.set(0);
        let output = std::mem::take(&mut self.output);
        if output.capacity() > 0 {
            self.shell.give_buffer(output);
        }
        Ok(())
    }
}
