//! Running a hop's commands on the lane that owns their keys.

use std::rc::Rc;

use crate::command::{
    Call, Command, CommandId, CommandTable, Flags, Run, admit_write, execute_one, execute_split,
};
use crate::lane::journal::BatchId;
use crate::lane::{FETCHED_KEYS_MAX, Lane, Partition, READS_PAST_HOLDS, Stop, Wait};
use crate::refusal::Refusal;
use crate::resp::Reply;

use super::blocking;
use super::commit::Change;
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, HopCommand, Parts};
use super::prefetch::Sought;
use super::slowlog::SlowerThan;

/// The client that hops of deliveries belong to.
pub const DELIVERING: crate::lane::ClientId = 0;

/// A hop under way: it can stop at a command that has to wait, and go on there.
pub struct HopRun {
    hop: Box<Hop>,
    next: usize,
    reply: Reply,
    overtaken: bool,
    /// The partition that nobody else may touch while this hop waits.
    frozen: Option<usize>,
}

/// A run of equal commands, timed with one clock reading at each end.
struct Timing {
    id: CommandId,
    count: u64,
    start_ns: u64,
    /// The last command of the run.
    last: usize,
    /// Which calls are slow, and those that were: index and microseconds.
    slower_than: SlowerThan,
    slow: Vec<(usize, u64)>,
}

impl Timing {
    /// A command comes next.
    #[inline]
    fn begin(&mut self, lane: &mut Lane, id: CommandId) {
        if self.id != id || self.slower_than.times_each() {
            self.close(lane);
            self.id = id;
        }
    }

    /// It has run.
    #[inline]
    fn count(&mut self, index: usize) {
        self.count += 1;
        self.last = index;
    }

    fn close(&mut self, lane: &mut Lane) {
        if self.count == 0 {
            return;
        }
        let end_ns = lane.clock.instant_ns();
        let each_ns = end_ns.saturating_sub(self.start_ns) / self.count;
        lane.latency
            .record_service_n(usize::from(self.id), each_ns, self.count);
        if let Some(took_us) = self.slower_than.if_slow(each_ns) {
            self.slow.push((self.last, took_us));
        }
        (self.start_ns, self.count) = (end_ns, 0);
    }
}

impl HopRun {
    /// At the first command.
    pub fn new(mut hop: Box<Hop>) -> HopRun {
        let reply = Reply::with_buffer(std::mem::take(&mut hop.replies), hop.proto);
        HopRun {
            hop,
            next: 0,
            reply,
            overtaken: false,
            frozen: None,
        }
    }

    /// Runs commands until the end, or until one has to wait: then at which place, and for what.
    ///
    /// Commands that nobody may interrupt keep all others out while they wait, unless none of them has run yet.
    pub fn run(&mut self, shell: &LaneShell) -> Result<(), (usize, Stop)> {
        self.set_frozen(shell, false);
        let ran = self.run_on(shell);
        if let Err((place, stop)) = &ran
            && self.hop.uninterrupted
            && self.hop.len() > 1
            && (self.next > 0 || matches!(stop, Stop::Offload(_)))
        {
            self.frozen = Some(*place);
            self.set_frozen(shell, true);
        }
        ran
    }

    /// Freezes or thaws the partition that this hop has frozen.
    fn set_frozen(&mut self, shell: &LaneShell, frozen: bool) {
        let Some(place) = self.frozen else { return };
        if let Ok(partition) = shell.lane.borrow_mut().partition(place) {
            partition.batches.freeze(frozen);
        }
        if !frozen {
            self.frozen = None;
            shell.released.wake_all();
        }
    }

    fn run_on(&mut self, shell: &LaneShell) -> Result<(), (usize, Stop)> {
        let mut lane = shell.lane.borrow_mut();
        let lane = &mut *lane;
        let now_us = lane.clock.now_us();
        let now_ms = now_us / 1_000;
        if self.hop.uninterrupted && self.next == 0 {
            self.warm_all(shell, lane, now_ms)?;
            self.overtaken = self.hop.watcher.is_some_and(|(client, place)| {
                lane.partition(place)
                    .is_ok_and(|partition| partition.is_overtaken(client, now_ms))
            });
            if self.overtaken {
                return Ok(());
            }
        }
        let mut timing = Timing {
            id: 0,
            count: 0,
            start_ns: lane.clock.instant_ns(),
            last: 0,
            slower_than: SlowerThan::of(shell),
            slow: Vec::new(),
        };
        let ended = self.run_commands(shell, lane, (now_ms, now_us), &mut timing);
        timing.close(lane);
        self.hop.slow.append(&mut timing.slow);
        ended?;
        lane.counters.hops_received += 1;
        Ok(())
    }

    fn run_commands(
        &mut self,
        shell: &LaneShell,
        lane: &mut Lane,
        (now_ms, now_us): (i64, i64),
        timing: &mut Timing,
    ) -> Result<(), (usize, Stop)> {
        let mut fetched = self.next;
        while let Some((command, args)) = self.hop.get(self.next) {
            if self.next == fetched {
                fetched = self.fetch_keys(&shell.shared.commands, lane);
            }
            if !command.is_group {
                timing.begin(lane, command.id);
            }
            let call = Call { args, now_ms, now_us };
            let before = self.reply.len();
            let entry = shell.shared.commands.get(command.id);
            let refused_when_full = self.hop.is_refused_when_full(entry);
            let outcome = match lane.partition(command.place) {
                Err(refusal) => Err(Stop::Refused(refusal)),
                Ok(_) if refused_when_full && shell.disk_full.get() => Err(Stop::Refused(Refusal::DiskFull)),
                Ok(partition) => {
                    let outcome = execute_in(partition, entry, command, &call, &self.hop, &mut self.reply);
                    self.note_change(shell, partition, command.place);
                    outcome
                }
            };
            let failed = match outcome {
                Ok(()) => self.reply.as_bytes().get(before) == Some(&b'-'),
                Err(Stop::Refused(refusal)) => {
                    self.reply.error(&refusal);
                    true
                }
                Err(stop) => return Err((command.place, stop)),
            };
            if failed {
                lane.latency.record_failure(usize::from(command.id));
                shell.count_error(self.reply.as_bytes().get(before + 1..).unwrap_or(b""));
            }
            if !command.is_group {
                timing.count(self.next);
            }
            self.end_command();
        }
        Ok(())
    }

    /// The answer waits for the commit of what the partition has in its open record, some of it from this hop.
    #[inline]
    fn note_change(&mut self, shell: &LaneShell, partition: &Partition, place: usize) {
        // Who holds keys himself and asks past those of others cannot wait for their commit.
        if self.hop.batch == Some(READS_PAST_HOLDS) || !partition.has_changes() {
            return;
        }
        // A delivery never waits for another one: chains of rules could wait for each other. Nor does a batch: what
        // others owe in the same record may go to keys that it holds.
        let waits_for_deliveries = self.hop.client != DELIVERING && self.hop.batch.is_none();
        let change = if waits_for_deliveries {
            shell.commits.note_command(partition, place, true)
        } else {
            shell.commits.note(place, true)
        };
        if !waits_for_deliveries && self.hop.batch.is_none() && partition.owes_in_open_record() {
            let owing = (shell.id(), Change { owes: true, ..change });
            if self.hop.chained.last() != Some(&owing) {
                self.hop.chained.push(owing);
            }
        }
        if !self.hop.changes.contains(&change) {
            self.hop.changes.push(change);
        }
    }

    /// Starts fetching what the next commands look up, and returns where the ones behind them begin.
    #[inline]
    fn fetch_keys(&self, commands: &CommandTable, lane: &mut Lane) -> usize {
        let end = self.next + FETCHED_KEYS_MAX;
        // A single command would wait just as long.
        if self.hop.len() > self.next + 1 {
            let mut sought = Sought::default();
            for (command, args) in (self.next..end).map_while(|index| self.hop.get(index)) {
                if let Some(key) = args.try_get(usize::from(!command.is_group)) {
                    let purpose = commands.get(command.id).purpose(args);
                    sought.seek(lane, command.place, key, purpose);
                }
            }
            sought.fetch(lane);
        }
        end
    }

    fn end_command(&mut self) {
        self.hop.reply_ends.push(self.reply.len());
        self.next += 1;
    }

    /// Makes sure that no command will have to wait once the first one has run.
    fn warm_all(&self, shell: &LaneShell, lane: &mut Lane, now_ms: i64) -> Result<(), (usize, Stop)> {
        for index in 0..self.hop.len() {
            let Some((command, args)) = self.hop.get(index) else {
                break;
            };
            let Ok(partition) = lane.partition(command.place) else {
                continue;
            };
            let entry = shell.shared.commands.get(command.id);
            if self.hop.batch.is_none() && self.hop.client != DELIVERING {
                admit_write(partition, entry, now_ms).map_err(|stop| (command.place, stop))?;
            }
            for key in entry.keys.keys(args) {
                partition.warm(key).map_err(|stop| (command.place, stop))?;
                if crate::command::is_key_held(partition, key, self.hop.batch) {
                    return Err((command.place, Stop::Wait(Wait::Held)));
                }
            }
        }
        Ok(())
    }

    /// Runs all commands to the end, waiting where needed, without waiting for the commit.
    pub async fn finish(mut self, shell: &Rc<LaneShell>) -> HopRun {
        loop {
            let stop = self.run(shell);
            let Err((place, stop)) = stop else { return self };
            match stop {
                Stop::Wait(wait) => {
                    let holds = self.frozen.is_some() || self.hop.batch.is_some();
                    if let Err(refusal) = resolve_for(shell, place, wait, holds).await {
                        self.reply.error(&refusal);
                        self.end_command();
                    }
                }
                Stop::Offload(job) => {
                    let start_ns = shell.lane.borrow().clock.instant_ns();
                    let part = offload(job, self.reply.proto()).await;
                    self.note_if_slow(shell, start_ns);
                    self.reply.raw(&part);
                    self.end_command();
                }
                Stop::Refused(_) => {}
            }
        }
    }

    /// Notes the present command, begun at `start_ns`, if it was slow.
    fn note_if_slow(&mut self, shell: &LaneShell, start_ns: u64) {
        let took_ns = shell.lane.borrow().clock.instant_ns().saturating_sub(start_ns);
        let is_group = self
            .hop
            .get(self.next)
            .is_none_or(|(command, _)| command.is_group);
        if let Some(took_us) = SlowerThan::of(shell).if_slow(took_ns).filter(|_| !is_group) {
            self.hop.slow.push((self.next, took_us));
        }
    }

    /// Commits to wait for before the answer may leave.
    pub fn changes(&self) -> &[Change] {
        &self.hop.changes
    }

    /// The answer, once the commits are done.
    pub fn into_answer(mut self, shell: &LaneShell) -> Answer {
        if self.overtaken {
            return Answer::Flag(false);
        }
        self.hop.replies = self.reply.take();
        self.hop
            .chained
            .extend(shell.commits.chained_after(&self.hop.changes));
        Answer::Parts(Parts(self.hop))
    }
}

impl Hop {
    /// Inside a batch only its commit may fail, and then all of it.
    #[inline]
    fn is_refused_when_full(&self, entry: &Command) -> bool {
        self.batch.is_none() && entry.flags.has(Flags::DENY_ON_FULL)
    }
}

/// Admits and runs one command of a hop on the partition that owns its keys.
#[inline]
fn execute_in(
    partition: &mut Partition,
    entry: &Command,
    command: HopCommand,
    call: &Call<'_>,
    hop: &Hop,
    reply: &mut Reply,
) -> Result<(), Stop> {
    // What nobody may interrupt was let in as a whole.
    if hop.is_refused_when_full(entry) && !hop.uninterrupted && hop.client != DELIVERING {
        partition.admit_write(call.now_ms)?;
    }
    // What a batch writes is gathered apart until it is committed.
    if let Some(batch) = hop.batch {
        partition.enter_batch(batch);
    }
    let outcome = execute(partition, entry, command, call, hop.batch, reply);
    partition.leave_batch();
    outcome
}

/// Runs one command, or one group of a split one, on the partition that owns its keys.
#[inline]
fn execute(
    partition: &mut Partition,
    entry: &Command,
    command: HopCommand,
    call: &Call<'_>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Result<(), Stop> {
    match entry.run {
        Run::Owner { key, handler } => {
            let key = call.args.try_get(key).unwrap_or(b"");
            execute_one(partition, (entry.name, handler), key, call, batch, reply)
        }
        Run::Split { handler, .. } if command.is_group => {
            let key = call.args.try_get(0).unwrap_or(b"");
            execute_one(partition, (entry.name, handler), key, call, batch, reply)
        }
        Run::Split { .. } => execute_split(partition, entry, call, batch, reply),
        _ => Err(Refusal::text("ERR internal: not a key command").into()),
    }
}

/// Runs a job on the blocking pool and returns the reply's bytes.
pub async fn offload(job: crate::lane::Job, proto: crate::resp::Proto) -> Vec<u8> {
    blocking::run(move || {
        let mut reply = Reply::new(proto);
        job(&mut reply);
        reply.take()
    })
    .await
}

/// Waits until the command that stopped may be run again.
///
/// # Errors
/// If what it needs cannot be read: the command is refused.
pub async fn resolve(shell: &Rc<LaneShell>, place: usize, wait: Wait) -> Result<(), Refusal> {
    resolve_for(shell, place, wait, false).await
}

/// As [`resolve`]; who `holds` keys himself does not wait for those that others hold.
async fn resolve_for(shell: &Rc<LaneShell>, place: usize, wait: Wait, holds: bool) -> Result<(), Refusal> {
    match wait {
        Wait::Load(key) => load_key(shell, place, key).await?,
        Wait::Labels(job) => {
            let found = blocking::run(move || job.run()).await?;
            shell.lane.borrow_mut().partition(place)?.finish_labels(found);
        }
        Wait::Warm(job) => warm_range(shell, place, job).await?,
        Wait::OpenBuckets(ends) => {
            let fetched = super::deliveries::fetch_open_buckets(shell, ends, holds).await;
            shell
                .lane
                .borrow_mut()
                .partition(place)?
                .finish_open_buckets(fetched);
        }
        Wait::Held | Wait::Checkpoint => {
            if matches!(wait, Wait::Checkpoint) {
                shell.lane.borrow_mut().counters.checkpoint_waits += 1;
                shell.shared.background.note_held_up();
            }
            // Released keys raise the event; the timer covers a partition that was closed meanwhile.
            let timer = glommio::timer::sleep(std::time::Duration::from_millis(2));
            futures_lite::future::or(timer, async {
                let mut asked = false;
                shell
                    .released
                    .wait_until(|| std::mem::replace(&mut asked, true))
                    .await;
            })
            .await;
        }
    }
    Ok(())
}

async fn load_key(shell: &Rc<LaneShell>, place: usize, key: Box<[u8]>) -> Result<(), Refusal> {
    let (database, epoch) = {
        let mut lane = shell.lane.borrow_mut();
        let partition = lane.partition(place)?;
        (partition.database().clone(), partition.completed_epoch())
    };
    let wanted = key.clone();
    let loaded = blocking::run(move || crate::lane::Partition::load_from_disk(&database, &wanted)).await;
    let mut lane = shell.lane.borrow_mut();
    let partition = lane.partition(place)?;
    partition.finish_load(&key, loaded?, epoch);
    Ok(())
}

async fn warm_range(
    shell: &Rc<LaneShell>,
    place: usize,
    job: Box<crate::lane::RangeJob>,
) -> Result<(), Refusal> {
    let warmed = blocking::run(move || job.warm()).await?;
    let mut lane = shell.lane.borrow_mut();
    let now_ms = lane.clock.now_ms();
    lane.partition(place)?.keep_warmed(warmed, now_ms);
    Ok(())
}

/// The answer to a write whose commit failed midway.
pub fn unknown_outcome() -> Answer {
    Answer::Unknown(UNKNOWN_OUTCOME.to_string())
}

/// The reply to a write whose commit failed midway; the connection is closed after it.
pub const UNKNOWN_OUTCOME: &str = "UNKNOWN the storage failed while this was being written: it may or may not have been \
                                   stored; see the server's log";
