//! From bytes to executed commands, as far as that is possible without waiting: the synchronous heart of a turn.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::business::Home;
use crate::command::monitor::admit_monitor;
use crate::command::pubsub::admit_listener;
use crate::command::session::{PortKind, ReplyMode};
use crate::command::subcommand::{check_call, subcommand_name};
use crate::command::{
    Call, Command, CommandId, Flags, Merge, Plan, QueuedCommand, Run, Session, SessionContext, SessionStop,
    admit_write, execute_one, execute_ready, execute_split, unknown_command,
};
use crate::lane::{Job, Lane, Purpose, Stop, Wait};
use crate::refusal::Refusal;
use crate::resp::{Args, Proto, RequestLimits};

use super::client::ClientHandle;
use super::input::{Input, Known};
use super::lane_shell::LaneShell;
use super::monitors;
use super::prefetch::Sought;
use super::slowlog::SlowerThan;
use super::transaction::no_business;
use super::turn::Turn;

/// Why the synchronous section ended. Except after `NeedInput` and `Full`, the command that ended it is not consumed
/// before [`Input::consume_pending`].
pub enum Step {
    /// All complete requests have run.
    NeedInput,
    /// Enough for one turn: answer before going on.
    Full,
    /// The command has to wait, then run again.
    Wait(usize, Wait),
    /// The command's rest runs on the blocking pool and writes its reply.
    Offload(Job),
    /// The command takes more than this lane.
    Plan(Box<Plan>),
    /// Every lane has to report.
    Report(CommandId),
    /// An atomic command over several partitions.
    AtomicSplit(QueuedCommand),
    /// CLIENT PAUSE holds the command back.
    Paused,
}

/// A reply buffer beyond this ends the turn.
const TURN_REPLY_MAX_BYTES: usize = 256 << 10;

/// One run of equal commands, timed with one clock reading at each end.
struct Timing {
    id: CommandId,
    count: u64,
    start_ns: u64,
    /// Where the last one of them begins in the input.
    last_start: usize,
}

/// Runs what has been received, as far as possible without waiting.
pub fn run_ready(shell: &Rc<LaneShell>, client: &ClientHandle, input: &mut Input, turn: &mut Turn) -> Step {
    let mut session = client.session.borrow_mut();
    let mut lane = shell.lane.borrow_mut();
    let now_us = lane.clock.now_us();
    let start_ns = lane.clock.instant_ns();
    client.last_active_ms.set(now_us / 1_000);
    if turn.read_at_ns == 0 {
        turn.read_at_ns = start_ns;
    }
    let mut section = Section {
        shell,
        session: &mut session,
        lane: &mut lane,
        turn,
        now_us,
        now_ms: now_us / 1_000,
        timing: Timing {
            id: 0,
            count: 0,
            start_ns,
            last_start: 0,
        },
        commands: 0,
        slower_than: SlowerThan::of(shell),
        slow: None,
        start: input.position,
        is_shown: monitors::are_there(shell),
    };
    let step = section.run(input, client);
    section.finish(input, &step);
    step
}

struct Section<'a> {
    shell: &'a Rc<LaneShell>,
    session: &'a mut Session,
    lane: &'a mut Lane,
    turn: &'a mut Turn,
    now_us: i64,
    now_ms: i64,
    timing: Timing,
    commands: usize,
    slower_than: SlowerThan,
    /// A slow call that is to be kept: where it begins in the input, and its microseconds.
    slow: Option<(usize, u64)>,
    /// Where the present request begins in the input.
    start: usize,
    /// Somebody monitors.
    is_shown: bool,
}

impl Section<'_> {
    fn run(&mut self, input: &mut Input, client: &ClientHandle) -> Step {
        let commands_max = self.shell.shared.config.lane.turn_commands_max;
        let limits = self.shell.request_limits();
        input.forget_ahead();
        loop {
            if input.position >= input.bytes.len() {
                return Step::NeedInput;
            }
            if self.commands >= commands_max || self.turn.reply.len() >= TURN_REPLY_MAX_BYTES {
                return Step::Full;
            }
            if !input.has_ahead() && self.session.authenticated {
                self.look_ahead(input, &limits);
            }
            let (consumed_bytes, known) = match input.take_ahead() {
                Some(taken) => {
                    input.inline = false;
                    taken
                }
                None => match self.parse(input, &limits) {
                    Ok(consumed_bytes) => (consumed_bytes, Known::default()),
                    Err(step) => return step,
                },
            };
            let args = input.current_args();
            if !args.is_empty() {
                self.start = input.position;
                let (mark, commands) = (self.turn.mark(), self.commands);
                let step = self.one(args, known, client);
                if self.is_shown && self.commands > commands {
                    monitors::show(self.shell, self.session, args, step.as_ref(), self.now_us);
                }
                if self.slow.is_some() {
                    self.keep_slow(input);
                }
                if self.session.reply_mode != ReplyMode::On && step.is_none() {
                    self.apply_reply_mode(mark);
                }
                if let Some(step) = step {
                    input.pending = consumed_bytes;
                    return step;
                }
            }
            input.position += consumed_bytes;
            if self.session.closing || self.session.unwatch_due {
                return Step::Full;
            }
        }
    }

    /// Parses the next request, whatever it is, and returns its length.
    fn parse(&mut self, input: &mut Input, limits: &RequestLimits) -> Result<usize, Step> {
        let waiting = input.bytes.get(input.position..).unwrap_or(&[]);
        let limits = if self.session.authenticated {
            limits
        } else {
            &RequestLimits::UNAUTHENTICATED
        };
        match input.parser.parse(waiting, limits, &mut input.spans) {
            Ok(Some(request)) => {
                input.inline = request.inline;
                input.set_current();
                Ok(request.consumed_bytes)
            }
            Ok(None) => Err(Step::NeedInput),
            Err(error) => {
                self.lane.counters.protocol_errors += 1;
                self.turn.reply.error(format_args!("ERR {error}"));
                self.session.closing = true;
                Err(Step::Full)
            }
        }
    }

    /// Parses what comes next and fetches what it will look up: the keys of several requests at once, as each of them would
    /// wait for memory several times.
    #[inline]
    fn look_ahead(&mut self, input: &mut Input, limits: &RequestLimits) {
        let (shell, table, lane) = (self.shell, &self.shell.shared.commands, &mut *self.lane);
        let mut sought = Sought::default();
        input.look_ahead(limits, |args| {
            let key = args.try_get(1);
            let place = key.and_then(|key| shell.shared.directory.place(key));
            let id = args.try_get(0).and_then(|name| table.callable(name));
            if let (Some(key), Some(place)) = (key, place)
                && place.home.lane == shell.id()
            {
                let purpose = id.map_or(Purpose::Append, |id| table.get(id).purpose(args));
                sought.seek(lane, place.home.place, key, purpose);
            }
            Known { id, place }
        });
        sought.fetch(lane);
    }

    /// Runs one command; `None` if it is done.
    fn one(&mut self, args: Args<'_>, known: Known, client: &ClientHandle) -> Option<Step> {
        let shell = self.shell;
        let table = &shell.shared.commands;
        let Some(id) = known.id.or_else(|| table.callable(args.name())) else {
            self.unknown_command(args);
            return None;
        };
        let command = table.get(id);
        if let Err(refusal) = self.admit(command, args) {
            self.reject(id, &refusal);
            return None;
        }
        let (until_ms, writes_only) = shell.paused.get();
        if until_ms > self.now_ms
            && (!writes_only || command.flags.has(Flags::WRITE))
            && command.name != "CLIENT"
        {
            return Some(Step::Paused);
        }
        let has_rules = || shell.shared.rules_seen.load(Ordering::Relaxed);
        if self.session.transaction.is_none() && self.turn.comes_first(command, has_rules) {
            return Some(Step::Full);
        }
        self.commands += 1;
        client.last_command.set(match command.run {
            Run::Session(_) | Run::Report { .. } => {
                subcommand_name(command.name, args).unwrap_or(command.name)
            }
            _ => command.name,
        });
        if self.session.transaction.is_some() && !command.flags.has(Flags::IN_MULTI) {
            self.queue(id, command, args);
            return None;
        }
        let before = self.turn.reply.len();

        match command.run {
            Run::Owner { key, handler } => {
                let known = known.place.filter(|_| key == 1);
                let key = args.get(key);
                let Some(place) = known.or_else(|| shell.shared.directory.place(key)) else {
                    self.reject(id, &no_business());
                    return None;
                };
                if place.home.lane != shell.id() {
                    // Timed where it runs.
                    self.push_hop(place.home, id, false, args);
                    self.turn.note_elsewhere(command);
                    self.turn.count(id, 1);
                    None
                } else {
                    self.time(id);
                    self.lane.counters.local_commands += 1;
                    let call = self.call(args);
                    let outcome = match self.lane.partition(place.home.place) {
                        Ok(partition) => {
                            let outcome = admit_write(partition, command, call.now_ms).and_then(|()| {
                                execute_one(
                                    partition,
                                    (command.name, handler),
                                    key,
                                    &call,
                                    None,
                                    &mut self.turn.reply,
                                )
                            });
                            let wrote = command.flags.has(Flags::WRITE);
                            if partition.has_changes() {
                                let change = shell.commits.note_command(partition, place.home.place, wrote);
                                self.turn.wait_for(change);
                            }
                            outcome
                        }
                        Err(refusal) => Err(refusal.into()),
                    };
                    self.stopped(id, place.home.place, outcome.err()?)
                }
            }
            Run::Split {
                step, merge, atomic, ..
            } => self.split(id, command, args, step, merge, atomic.is_some()),
            Run::Session(handler) => {
                self.time(id);
                if command.name == "RESET" {
                    // What was shown to it so far must not come behind the reply.
                    drop(client.take_messages());
                }
                let mut context = SessionContext {
                    session: self.session,
                    shared: &shell.shared,
                    clock: &self.lane.clock,
                    lane: shell.id(),
                };
                match handler(&mut context, args, &mut self.turn.reply) {
                    Ok(()) => {
                        self.is_shown |= self.session.monitor.is_some();
                        let proto = self.session.proto;
                        self.turn.reply.set_proto(proto);
                        None
                    }
                    Err(SessionStop::Plan(plan)) => Some(Step::Plan(plan)),
                    Err(SessionStop::Refused(refusal)) => {
                        self.turn.reply.truncate(before);
                        self.fail(id, &refusal);
                        None
                    }
                }
            }
            Run::Report { .. } => {
                self.time(id);
                Some(Step::Report(id))
            }
        }
    }

    fn call<'a>(&self, args: Args<'a>) -> Call<'a> {
        Call {
            args,
            now_ms: self.now_ms,
            now_us: self.now_us,
            client: self.session.id,
        }
    }

    /// What every command has to pass before it runs or is queued.
    fn admit(&mut self, command: &Command, args: Args<'_>) -> Result<(), Refusal> {
        if !command.accepts(args.len()) {
            return Err(command.arity_error());
        }
        if !self.session.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return Err(Refusal::text("NOAUTH Authentication required."));
        }
        if let Run::Split { step, .. } = command.run
            && !(args.len() - 1).is_multiple_of(step)
        {
            return Err(command.arity_error());
        }
        if command.keys.first != 0 {
            self.check_keys(command, args)?;
        }
        if command.flags.has(Flags::DENY_ON_FULL) && self.shell.disk_full.get() {
            return Err(Refusal::DiskFull);
        }
        if self.session.subscriptions.is_some() && self.session.proto == Proto::Resp2 {
            check_call(command, args)?;
            admit_listener(command, args)?;
        }
        if self.is_shown && self.session.monitor.is_some() {
            admit_monitor(command)?;
        }
        if self.session.transaction.is_some() {
            check_call(command, args)?;
            if command.flags.has(Flags::NO_MULTI) {
                return Err(Refusal::text("ERR Command not allowed inside a transaction"));
            }
        }
        Ok(())
    }

    /// Every key belongs to a business that this port serves.
    #[inline]
    fn check_keys(&self, command: &Command, args: Args<'_>) -> Result<(), Refusal> {
        let PortKind::Business(business) = self.session.port else {
            return Ok(());
        };
        let directory = &self.shell.shared.directory;
        for key in command.keys.keys(args) {
            if directory.business_of(key) != Some(business) {
                let name = directory
                    .businesses()
                    .get(business)
                    .map_or("", |entry| &entry.config.name);
                return Err(Refusal::text(format!(
                    "WRONGBUSINESS this port serves only keys of the business '{name}'"
                )));
            }
        }
        Ok(())
    }

    fn queue(&mut self, id: CommandId, command: &Command, args: Args<'_>) {
        let max = self.shell.shared.config.wire.transaction_max;
        let unknown = command
            .keys
            .keys(args)
            .any(|key| self.shell.shared.directory.place(key).is_none());
        let Some(transaction) = &mut self.session.transaction else {
            return;
        };
        if unknown || transaction.commands.len() >= max {
            transaction.broken = true;
            let text = format!("ERR a transaction holds at most {max} commands");
            let refusal = if unknown {
                no_business()
            } else {
                Refusal::text(text)
            };
            self.fail(id, &refusal);
            return;
        }
        transaction.commands.push(QueuedCommand {
            id,
            args: args.iter().map(Box::from).collect(),
        });
        self.turn.reply.simple("QUEUED");
    }

    fn split(
        &mut self,
        id: CommandId,
        command: &Command,
        args: Args<'_>,
        step: usize,
        merge: Merge,
        atomic: bool,
    ) -> Option<Step> {
        let shell = self.shell;
        let directory = &shell.shared.directory;
        let Some(first) = directory.place(args.get(1)) else {
            self.reject(id, &no_business());
            return None;
        };
        let mut together = true;
        for key in command.keys.keys(args) {
            match directory.place(key) {
                None => {
                    self.reject(id, &no_business());
                    return None;
                }
                Some(place) => together = together && place.home == first.home,
            }
        }
        if together && first.home.lane == shell.id() {
            self.time(id);
            self.lane.counters.local_commands += 1;
            let call = self.call(args);
            let outcome = match self.lane.partition(first.home.place) {
                Ok(partition) => {
                    let outcome = admit_write(partition, command, call.now_ms)
                        .and_then(|()| execute_split(partition, command, &call, None, &mut self.turn.reply));
                    if partition.has_changes() {
                        let wrote = command.flags.has(Flags::WRITE);
                        let change = shell.commits.note_command(partition, first.home.place, wrote);
                        self.turn.wait_for(change);
                    }
                    outcome
                }
                Err(refusal) => Err(refusal.into()),
            };
            return self.stopped(id, first.home.place, outcome.err()?);
        }
        if together {
            self.push_hop(first.home, id, false, args);
            self.turn.note_elsewhere(command);
            self.turn.count(id, 1);
            return None;
        }
        self.time(id);
        if atomic {
            return Some(Step::AtomicSplit(QueuedCommand {
                id,
                args: args.iter().map(Box::from).collect(),
            }));
        }
        self.scatter(id, command, args, step, merge)
    }

    /// Adds a command, or one group of a split one, to the turn's hop to its lane.
    #[inline]
    fn push_hop(&mut self, home: Home, id: CommandId, is_group: bool, args: Args<'_>) {
        let (shell, session) = (self.shell, &*self.session);
        let begin = || shell.take_hop(session.id, session.proto);
        let hop = self.turn.hop(home.lane, shell.shared.directory.lanes(), begin);
        hop.push_received(id, home.place, is_group, args);
        let is_apart = is_group || session.reply_mode != ReplyMode::On;
        self.turn.place_remote(home.lane, is_apart);
    }

    /// Runs the groups of a split command where their keys live; nothing runs before all local keys are warm.
    fn scatter(
        &mut self,
        id: CommandId,
        command: &Command,
        args: Args<'_>,
        step: usize,
        merge: Merge,
    ) -> Option<Step> {
        let shell = self.shell;
        let Run::Split { handler, prepare, .. } = command.run else {
            return None;
        };
        let groups = args.from(1);
        let starts = || (0..groups.len()).step_by(step);
        for start in starts() {
            let place = shell.shared.directory.place(groups.get(start))?;
            if place.home.lane == shell.id() {
                let call = self.call(groups.range(start..start + step));
                let checked = self
                    .lane
                    .partition(place.home.place)
                    .map_err(Stop::from)
                    .and_then(|partition| {
                        admit_write(partition, command, call.now_ms)?;
                        partition.warm(groups.get(start))?;
                        if crate::command::is_key_held(partition, groups.get(start), None) {
                            return Err(Stop::Wait(Wait::Held));
                        }
                        prepare.map_or(Ok(()), |prepare| prepare(partition, &call).map(|_| ()))
                    });
                if let Err(stop) = checked {
                    return self.stopped(id, place.home.place, stop);
                }
            }
        }
        self.turn.place_join(merge, groups.len() / step);
        for start in starts() {
            let group = groups.range(start..start + step);
            let place = shell.shared.directory.place(group.get(0))?;
            if place.home.lane != shell.id() {
                self.push_hop(place.home, id, true, group);
                self.turn.note_elsewhere(command);
                continue;
            }
            let call = self.call(group);
            let outcome = match self.lane.partition(place.home.place) {
                Ok(partition) => {
                    let outcome = execute_ready(
                        partition,
                        (command.name, handler),
                        group.get(0),
                        &call,
                        None,
                        &mut self.turn.reply,
                    );
                    if partition.has_changes() {
                        let wrote = command.flags.has(Flags::WRITE);
                        let change = shell.commits.note_command(partition, place.home.place, wrote);
                        self.turn.wait_for(change);
                    }
                    outcome
                }
                Err(refusal) => Err(refusal.into()),
            };
            if let Err(stop) = outcome {
                let refusal = match stop {
                    Stop::Refused(refusal) => refusal,
                    _ => Refusal::text("ERR internal: a warm key had to wait"),
                };
                self.turn.reply.error(&refusal);
            }
            self.turn.place_local();
        }
        None
    }

    /// How a command that did not finish goes on.
    fn stopped(&mut self, id: CommandId, place: usize, stop: Stop) -> Option<Step> {
        match stop {
            Stop::Refused(refusal) => {
                self.fail(id, &refusal);
                None
            }
            Stop::Wait(wait) => Some(Step::Wait(place, wait)),
            Stop::Offload(job) => Some(Step::Offload(job)),
        }
    }

    /// The command ran and was refused.
    fn fail(&mut self, id: CommandId, refusal: &Refusal) {
        let before = self.turn.reply.len();
        self.turn.reply.error(refusal);
        self.lane.latency.record_failure(usize::from(id));
        self.lane.counters.error_replies += 1;
        self.shell
            .count_error(self.turn.reply.as_bytes().get(before + 1..).unwrap_or(b""));
    }

    /// The command was refused before it ran: a transaction being queued is broken by it.
    fn reject(&mut self, id: CommandId, refusal: &Refusal) {
        let before = self.turn.reply.len();
        if self.shell.shared.commands.get(id).name == "EXEC" {
            let text = refusal.to_string();
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            self.turn.reply.error(format_args!(
                "EXECABORT Transaction discarded because of: {reason}"
            ));
            self.session.transaction = None;
            self.session.unwatch_due = true;
        } else {
            self.turn.reply.error(refusal);
        }
        self.lane.latency.record_rejection(usize::from(id));
        self.lane.counters.error_replies += 1;
        self.shell
            .count_error(self.turn.reply.as_bytes().get(before + 1..).unwrap_or(b""));
        if let Some(transaction) = &mut self.session.transaction {
            transaction.broken = true;
        }
    }

    fn unknown_command(&mut self, args: Args<'_>) {
        // A browser or a mail server talking to us: Redis closes too, so that no web page can be made to send commands.
        if args.name().eq_ignore_ascii_case(b"post") || args.name().eq_ignore_ascii_case(b"host:") {
            log::warn!(
                "possible cross-protocol attack from {}: connection closed",
                self.session.address
            );
            self.session.closing = true;
            return;
        }
        self.turn.reply.error(unknown_command(args));
        self.lane.counters.error_replies += 1;
        self.shell.count_error(b"ERR ");
        if let Some(transaction) = &mut self.session.transaction {
            transaction.broken = true;
        }
    }

    /// CLIENT REPLY OFF and SKIP: takes back what was just answered.
    fn apply_reply_mode(&mut self, mark: (usize, usize)) {
        match self.session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => self.turn.take_back(mark),
            ReplyMode::SkipNext => self.session.reply_mode = ReplyMode::Skipping,
            ReplyMode::Skipping => {
                self.turn.take_back(mark);
                self.session.reply_mode = ReplyMode::On;
            }
        }
    }

    /// Counts a command; the clock is read only when another kind of command begins.
    #[inline]
    fn time(&mut self, id: CommandId) {
        if self.timing.count > 0 && self.timing.id == id && !self.slower_than.times_each() {
            self.timing.count += 1;
            self.timing.last_start = self.start;
            return;
        }
        let now_ns = if self.timing.count > 0 {
            self.close_timing()
        } else {
            self.timing.start_ns
        };
        self.timing = Timing {
            id,
            count: 1,
            start_ns: now_ns,
            last_start: self.start,
        };
    }

    /// Ends a run of equal commands.
    fn close_timing(&mut self) -> u64 {
        let now_ns = self.lane.clock.instant_ns();
        let (id, count) = (self.timing.id, self.timing.count);
        let each_ns = now_ns.saturating_sub(self.timing.start_ns) / count.max(1);
        self.lane
            .latency
            .record_service_n(usize::from(id), each_ns, count);
        self.turn.count(id, count);
        self.turn.ran_at_ns = now_ns;
        if let Some(took_us) = self.slower_than.if_slow(each_ns) {
            self.slow = Some((self.timing.last_start, took_us));
        }
        now_ns
    }

    /// Keeps the slow call that was found, if one was.
    #[cold]
    fn keep_slow(&mut self, input: &Input) {
        let Some((start, took_us)) = self.slow.take() else {
            return;
        };
        let received = input.bytes.get(start..).unwrap_or(&[]);
        let shell = self.shell;
        shell.keep_slow_request(self.session, received, took_us, self.now_ms);
    }

    fn finish(&mut self, input: &Input, step: &Step) {
        if self.timing.count > 0 {
            self.close_timing();
            // What is not done yet is timed when it is.
            if matches!(step, Step::NeedInput | Step::Full | Step::Paused) {
                self.keep_slow(input);
            }
        }
        self.lane.counters.commands_processed += self.commands as u64;
        self.lane.counters.turns += 1;
    }
}
