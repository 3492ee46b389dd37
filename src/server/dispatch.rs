//! From bytes to executed commands, as far as that is possible without waiting: the synchronous heart of a turn.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::business::{Home, Place};
use crate::command::session::ReplyMode;
use crate::command::subcommand::subcommand_name;
use crate::command::{
    Call, Command, CommandId, Flags, KeyHandler, Plan, QueuedCommand, Run, Session, SessionContext,
    SessionHandler, SessionStop, admit_write, execute_one,
};
use crate::lane::{Handled, Job, Lane, Partition, Purpose, Stop, Wait};
use crate::resp::{Args, Reply, RequestLimits};

use super::client::ClientHandle;
use super::input::{Input, Known};
use super::lane_shell::LaneShell;
use super::monitors;
use super::prefetch::Sought;
use super::slowlog::SlowerThan;
use super::timing::Timing;
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
        timing: Timing::from(start_ns),
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

/// The synchronous section of a turn. What a command has to pass is in `admission`, commands of many keys are in
/// `split_commands`, the clock is in `timing`.
pub(super) struct Section<'a> {
    pub(super) shell: &'a Rc<LaneShell>,
    pub(super) session: &'a mut Session,
    pub(super) lane: &'a mut Lane,
    pub(super) turn: &'a mut Turn,
    now_us: i64,
    pub(super) now_ms: i64,
    pub(super) timing: Timing,
    pub(super) commands: usize,
    pub(super) slower_than: SlowerThan,
    /// A slow call that is to be kept: where it begins in the input, and its microseconds.
    pub(super) slow: Option<(usize, u64)>,
    /// Where the present request begins in the input.
    pub(super) start: usize,
    /// Somebody monitors.
    pub(super) is_shown: bool,
}

impl Section<'_> {
    fn run(&mut self, input: &mut Input, client: &ClientHandle) -> Step {
        let commands_max = self.shell.shared.config.lane.turn_commands_max;
        let limits = self.shell.request_limits();
        input.forget_ahead();
        loop {
            if input.waiting_bytes() == 0 {
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
        let limits = if self.session.authenticated {
            limits
        } else {
            &RequestLimits::UNAUTHENTICATED
        };
        match input.parse(limits) {
            Ok(Some(consumed_bytes)) => Ok(consumed_bytes),
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
        if self.is_paused(command) {
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
        match command.run {
            Run::Owner { key, handler } => {
                let place = known.place.filter(|_| key == 1);
                self.run_on_owner((id, command), handler, (args.get(key), place), args)
            }
            Run::Split { .. } => self.split(id, command, args),
            Run::Session(handler) => self.run_session((id, command), handler, args, client),
            Run::Report { .. } => {
                self.time(id);
                Some(Step::Report(id))
            }
        }
    }

    /// Runs a command of one key where the key lives; `place` says where, if that is known.
    #[inline]
    fn run_on_owner(
        &mut self,
        (id, command): (CommandId, &Command),
        handler: KeyHandler,
        (key, place): (&[u8], Option<Place>),
        args: Args<'_>,
    ) -> Option<Step> {
        let Some(place) = place.or_else(|| self.shell.shared.directory.place(key)) else {
            self.reject(id, &no_business());
            return None;
        };
        if place.home.lane != self.shell.id() {
            self.run_elsewhere(place.home, id, command, args);
            return None;
        }
        self.run_here(place.home.place, (id, command), args, |partition, call, reply| {
            execute_one(partition, (command.name, handler), key, call, None, reply)
        })
    }

    /// Runs a command on one of this lane's partitions.
    #[inline]
    pub(super) fn run_here(
        &mut self,
        place: usize,
        (id, command): (CommandId, &Command),
        args: Args<'_>,
        execute: impl FnOnce(&mut Partition, &Call<'_>, &mut Reply) -> Handled,
    ) -> Option<Step> {
        self.time(id);
        self.lane.counters.local_commands += 1;
        let call = self.call(args);
        let outcome = self.with_partition(place, command, |partition, reply| {
            admit_write(partition, command, call.now_ms)?;
            execute(partition, &call, reply)
        });
        self.stopped(id, place, outcome.err()?)
    }

    /// Does something of a command on one of this lane's partitions: the turn waits for the commit of what it changes.
    #[inline]
    pub(super) fn with_partition(
        &mut self,
        place: usize,
        command: &Command,
        execute: impl FnOnce(&mut Partition, &mut Reply) -> Handled,
    ) -> Handled {
        let partition = self.lane.partition(place)?;
        let outcome = execute(partition, &mut self.turn.reply);
        if partition.has_changes() {
            let wrote = command.flags.has(Flags::WRITE);
            let change = self.shell.commits.note_command(partition, place, wrote);
            self.turn.wait_for(change);
        }
        outcome
    }

    /// Sends a command to the lane that owns its keys, with the turn's hop. It is timed there.
    #[inline]
    pub(super) fn run_elsewhere(&mut self, home: Home, id: CommandId, command: &Command, args: Args<'_>) {
        self.push_hop(home, id, false, args);
        self.turn.note_elsewhere(command);
        self.turn.count(id, 1);
    }

    /// Adds a command, or one group of a split one, to the turn's hop to its lane.
    #[inline]
    pub(super) fn push_hop(&mut self, home: Home, id: CommandId, is_group: bool, args: Args<'_>) {
        let (shell, session) = (self.shell, &*self.session);
        let begin = || shell.take_hop(session.id, session.proto);
        let hop = self.turn.hop(home.lane, shell.shared.directory.lanes(), begin);
        hop.push_received(id, home.place, is_group, args);
        let is_apart = is_group || session.reply_mode != ReplyMode::On;
        self.turn.place_remote(home.lane, is_apart);
    }

    /// Runs a command that touches no key.
    fn run_session(
        &mut self,
        (id, command): (CommandId, &Command),
        handler: SessionHandler,
        args: Args<'_>,
        client: &ClientHandle,
    ) -> Option<Step> {
        self.time(id);
        if command.name == "RESET" {
            // What was shown to it so far must not come behind the reply.
            drop(client.take_messages());
        }
        let before = self.turn.reply.len();
        let mut context = SessionContext {
            session: self.session,
            shared: &self.shell.shared,
            clock: &self.lane.clock,
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

    #[inline]
    pub(super) fn call<'a>(&self, args: Args<'a>) -> Call<'a> {
        Call {
            args,
            now_ms: self.now_ms,
            now_us: self.now_us,
        }
    }

    /// How a command that did not finish goes on.
    pub(super) fn stopped(&mut self, id: CommandId, place: usize, stop: Stop) -> Option<Step> {
        match stop {
            Stop::Refused(refusal) => {
                self.fail(id, &refusal);
                None
            }
            Stop::Wait(wait) => Some(Step::Wait(place, wait)),
            Stop::Offload(job) => Some(Step::Offload(job)),
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
}
