//! Atomic work on keys of any partitions: EXEC, MSET, MSETNX, TSDB_MSET, BATCH_FLUSH, RENAME, COPY.
//!
//! What stays inside one partition is one hop that nothing interrupts, and one journal record: it pays nothing. The
//! rest is a batch: hold the keys lane by lane in ascending order (so that two batches never wait for each other), run
//! the commands, put every participant's part on record, reply; then, in the background, put the outcome on record
//! everywhere and let checkpoints pass. `lane::batches` has the participant's side, `lane::recovery` what a crash
//! leaves of it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::command::{CommandTable, Flags, QueuedCommand, Run};
use crate::lane::ClientId;
use crate::lane::journal::{BatchId, PartitionName};
use crate::refusal::Refusal;
use crate::resp::Proto;
use crate::series::CANDLE_PARTS;

use super::chains;
use super::lane_shell::LaneShell;
use super::message::{Answer, BatchStep, Hop, LaneRequest, UNEXPECTED_ANSWER};
use super::requests::ask;

/// How atomic work ended.
pub enum Ended<T> {
    /// Done and committed.
    Done(T),
    /// A watched key has changed, or a check called it off: nothing was done.
    CalledOff,
    /// Refused before anything was written.
    Refused(String),
    /// The storage failed while it was being written.
    Unknown(String),
}

/// Keys with the places of their partitions on one lane.
pub type PlacedKeys = Vec<(usize, Box<[u8]>)>;

#[derive(Default)]
struct Share {
    places: BTreeSet<usize>,
    written: BTreeSet<usize>,
    keys: Vec<(usize, Box<[u8]>)>,
}

/// A batch under way, on the lane that coordinates it.
pub struct BatchRun {
    /// Names it everywhere.
    pub id: BatchId,
    shares: BTreeMap<usize, Share>,
    participants: Vec<PartitionName>,
    all_keys: bool,
    /// All keys, in fact, are written, or may be.
    writes_everywhere: bool,
    held_lanes: Vec<usize>,
    held: Arc<BTreeSet<Box<[u8]>>>,
}

impl BatchRun {
    /// A batch over the keys of `commands` and the watched keys.
    ///
    /// # Errors
    /// If a key belongs to no business.
    pub fn new(
        shell: &LaneShell,
        commands: &[QueuedCommand],
        watched: &[Box<[u8]>],
    ) -> Result<BatchRun, Refusal> {
        let mut run = BatchRun {
            id: (u128::from(fastrand::u64(..)) << 64) | u128::from(fastrand::u64(..)),
            shares: BTreeMap::new(),
            participants: Vec::new(),
            all_keys: false,
            writes_everywhere: false,
            held_lanes: Vec::new(),
            held: Arc::default(),
        };
        let table = &shell.shared.commands;
        for command in commands {
            let entry = table.get(command.id);
            // It names no keys: which ones it writes to, each partition finds out.
            run.writes_everywhere = run.writes_everywhere || entry.name == "TS.MDEL";
            run.all_keys =
                run.all_keys || run.writes_everywhere || matches!(entry.name, "FLUSHALL" | "FLUSHDB");
            let argument = |index: usize| command.args.get(index).map(|argument| &**argument);
            for index in entry.keys.indexes(command.args.len(), argument) {
                if let Some(key) = command.args.get(index) {
                    run.add_key(shell, key, entry.flags.has(Flags::WRITE))?;
                }
            }
            for part in candle_keys(entry.name, &command.args) {
                run.add_key(shell, &part, true)?;
            }
        }
        for key in watched {
            run.add_key(shell, key, false)?;
        }
        if run.all_keys {
            for lane in 0..shell.shared.directory.lanes() {
                let plans = shell.shared.directory.plan(lane);
                let share = run.shares.entry(lane).or_default();
                share.places.extend(0..plans.len());
                for (place, plan) in plans.iter().enumerate().filter(|_| run.writes_everywhere) {
                    if share.written.insert(place) {
                        run.participants.push(plan.name);
                    }
                }
            }
        }
        Ok(run)
    }

    /// Every key of the partitions that take part is held.
    pub fn holds_all_keys(&self) -> bool {
        self.all_keys
    }

    /// It may write to every partition, all of whose keys are held.
    pub fn writes_everywhere(&self) -> bool {
        self.writes_everywhere
    }

    /// Remembers the keys that are going to be held by name. To be called before they are.
    pub fn remember_keys(&mut self) {
        let keys = self.shares.values().flat_map(|share| &share.keys);
        self.held = Arc::new(keys.map(|(_, key)| key.clone()).collect());
    }

    /// The keys that are held by name, if they are remembered.
    pub fn held_keys(&self) -> Arc<BTreeSet<Box<[u8]>>> {
        Arc::clone(&self.held)
    }

    /// As [`BatchRun::held_keys`] with their places, by lane.
    pub fn keys_by_lane(&self, shell: &LaneShell) -> BTreeMap<usize, PlacedKeys> {
        let mut by_lane: BTreeMap<usize, PlacedKeys> = BTreeMap::new();
        for key in self.held.iter() {
            if let Some(place) = shell.shared.directory.place(key) {
                let keys = by_lane.entry(place.home.lane).or_default();
                keys.push((place.home.place, key.clone()));
            }
        }
        by_lane
    }

    /// Places that the batch may write to, by lane.
    pub fn written_places(&self) -> Vec<(usize, Vec<usize>)> {
        let places = |share: &Share| share.written.iter().copied().collect::<Vec<_>>();
        let shares = self.shares.iter().map(|(lane, share)| (*lane, places(share)));
        shares.filter(|(_, places)| !places.is_empty()).collect()
    }

    /// Adds a key that will be held, and maybe written.
    ///
    /// # Errors
    /// If it belongs to no business.
    pub fn add_key(&mut self, shell: &LaneShell, key: &[u8], written: bool) -> Result<(), Refusal> {
        let place = shell.shared.directory.place(key).ok_or_else(no_business)?;
        let share = self.shares.entry(place.home.lane).or_default();
        share.places.insert(place.home.place);
        share.keys.push((place.home.place, key.into()));
        if written && share.written.insert(place.home.place) {
            let plan = shell.shared.directory.plan(place.home.lane);
            self.participants
                .extend(plan.get(place.home.place).map(|plan| plan.name));
        }
        Ok(())
    }

    /// The only partition that takes part, if there is only one.
    pub fn only_place(&self) -> Option<(usize, usize)> {
        let (lane, share) = self.shares.first_key_value()?;
        let place = share.places.first()?;
        (self.shares.len() == 1 && share.places.len() == 1).then_some((*lane, *place))
    }

    /// Holds all keys, lane by lane.
    pub async fn hold(&mut self, shell: &Rc<LaneShell>, watcher: Option<ClientId>) -> Ended<()> {
        let lanes: Vec<usize> = self.shares.keys().copied().collect();
        for lane in lanes {
            let Some(share) = self.shares.get_mut(&lane) else {
                continue;
            };
            let step = BatchStep::Hold {
                keys: std::mem::take(&mut share.keys),
                places: share.places.iter().copied().collect(),
                all_keys: self.all_keys,
                watcher,
            };
            self.held_lanes.push(lane);
            match ask(shell, lane, LaneRequest::Batch(self.id, step)).await {
                Answer::Flag(true) => {}
                Answer::Flag(false) => {
                    self.release(shell).await;
                    return Ended::CalledOff;
                }
                Answer::Refused(text) => {
                    self.release(shell).await;
                    return Ended::Refused(text);
                }
                _ => {
                    self.release(shell).await;
                    return Ended::Refused(UNEXPECTED_ANSWER.into());
                }
            }
        }
        Ended::Done(())
    }

    async fn each_lane(
        &self,
        shell: &Rc<LaneShell>,
        places: impl Fn(&Share) -> Vec<usize>,
        step: impl Fn(Vec<usize>) -> BatchStep,
    ) -> Vec<Answer> {
        let mut asked = Vec::new();
        for (lane, share) in &self.shares {
            let places = places(share);
            if !places.is_empty() {
                let (shell, lane, request) =
                    (shell.clone(), *lane, LaneRequest::Batch(self.id, step(places)));
                asked.push(glommio::spawn_local(
                    async move { ask(&shell, lane, request).await },
                ));
            }
        }
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await);
        }
        answers
    }

    /// Lets all keys go; nothing was written.
    pub async fn release(&self, shell: &Rc<LaneShell>) {
        let places = |share: &Share| share.places.iter().copied().collect();
        self.each_lane(shell, places, |places| BatchStep::Release { places })
            .await;
    }

    /// Something was written that is not to stay: the partitions forget it by being recovered.
    pub async fn call_off(self, shell: &Rc<LaneShell>) {
        self.settle(shell, true).await;
    }

    /// Puts all parts on record. The rest goes on in the background.
    pub async fn commit(self, shell: &Rc<LaneShell>) -> Ended<()> {
        let written = |share: &Share| share.written.iter().copied().collect::<Vec<_>>();
        let participants = &self.participants;
        let answers = self
            .each_lane(shell, written, |places| BatchStep::Commit {
                places,
                participants: participants.clone(),
            })
            .await;
        let owes = answers
            .iter()
            .any(|answer| matches!(answer, Answer::Count(owed) if *owed > 0));
        let unknown = answers.into_iter().find_map(|answer| match answer {
            Answer::Unknown(text) => Some(text),
            _ => None,
        });
        if owes && unknown.is_none() {
            // The keys are let go first: a delivery may be to one of them.
            let all = |share: &Share| share.places.iter().copied().collect();
            self.each_lane(shell, all, |places| BatchStep::Free { places })
                .await;
            let delivered = self
                .each_lane(shell, written, |places| BatchStep::Deliver { places })
                .await;
            let chained = delivered.into_iter().flat_map(|answer| match answer {
                Answer::Chained(chained) => chained,
                _ => Vec::new(),
            });
            chains::follow(shell, chained.collect()).await;
        }
        let shell = shell.clone();
        let void = unknown.is_some();
        shell.settling.set(shell.settling.get() + 1);
        glommio::spawn_local(async move {
            self.settle(&shell, void).await;
            shell.settling.set(shell.settling.get() - 1);
        })
        .detach();
        unknown.map_or(Ended::Done(()), Ended::Unknown)
    }

    async fn settle(self, shell: &Rc<LaneShell>, void: bool) {
        let written = |share: &Share| share.written.iter().copied().collect::<Vec<_>>();
        let only_read = |share: &Share| {
            share
                .places
                .difference(&share.written)
                .copied()
                .collect::<Vec<_>>()
        };
        self.each_lane(shell, only_read, |places| BatchStep::Release { places })
            .await;
        if void {
            self.each_lane(shell, written, |places| BatchStep::Void { places })
                .await;
            return;
        }
        // An outcome on one disk while a part is lost with another's would make half a batch: parts first.
        self.each_lane(shell, written, |places| BatchStep::LetGo { places })
            .await;
        self.each_lane(shell, written, |places| BatchStep::Outcome { places })
            .await;
        self.each_lane(shell, written, |places| BatchStep::Forget { places })
            .await;
    }
}

/// Keys of the series of candles that a command may make or delete rules of.
fn candle_keys(name: &str, args: &[Box<[u8]>]) -> Vec<Box<[u8]>> {
    let [_, source, destination, options @ ..] = args else {
        return Vec::new();
    };
    let is_candle = |word: &[u8]| word.eq_ignore_ascii_case(b"candle");
    let concerns_candles = match name {
        "TS.CREATERULE" => options.iter().any(|word| is_candle(word)),
        "TS.DELETERULE" => true,
        _ => false,
    };
    let parts = CANDLE_PARTS.iter().filter(|_| concerns_candles);
    parts
        .flat_map(|part| [part.key(source), part.key(destination)])
        .collect()
}

/// The refusal of a key that belongs to no business.
pub fn no_business() -> Refusal {
    Refusal::text("WRONGBUSINESS no business serves this key: its prefix is not configured")
}

/// Who asks for atomic work.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The client.
    pub client: ClientId,
    /// Its dialect.
    pub proto: Proto,
    /// Keys under WATCH.
    pub watched: &'a [Box<[u8]>],
}

/// Runs commands that all touch one partition as one hop that nothing interrupts.
pub async fn run_in_one_place(
    shell: &Rc<LaneShell>,
    caller: Caller<'_>,
    (lane, place): (usize, usize),
    commands: &[QueuedCommand],
) -> Ended<Vec<Vec<u8>>> {
    let mut hop = Hop::new(caller.client, caller.proto, None);
    hop.uninterrupted = true;
    hop.watcher = (!caller.watched.is_empty()).then_some((caller.client, place));
    for command in commands {
        hop.push(command.id, place, false, command.args.iter().map(|arg| &**arg));
    }
    let count = hop.len();
    match ask(shell, lane, LaneRequest::Execute(hop)).await {
        Answer::Parts(parts) => {
            keep_slow_calls(shell, caller.client, &parts.0);
            chains::follow(shell, parts.0.chained.clone()).await;
            Ended::Done((0..count).map(|index| parts.get(index).to_vec()).collect())
        }
        Answer::Flag(false) => Ended::CalledOff,
        Answer::Unknown(text) => Ended::Unknown(text),
        Answer::Refused(text) => Ended::Refused(text),
        _ => Ended::Refused(UNEXPECTED_ANSWER.into()),
    }
}

/// Keeps what was slow of an EXEC that ran as one hop.
fn keep_slow_calls(shell: &LaneShell, client: ClientId, hop: &Hop) {
    if let Some(client) = shell.clients.borrow().get(&client) {
        let session = client.session.borrow();
        if session.executing.is_some() {
            shell.keep_slow_calls_of(&session, hop);
        }
    }
}

/// True if `command` runs on key owners only, so that [`run_in_one_place`] can run it.
pub fn is_key_command(table: &CommandTable, command: &QueuedCommand) -> bool {
    matches!(table.get(command.id).run, Run::Owner { .. } | Run::Split { .. })
}

/// Runs the groups of an atomic split command as a batch: every check first, then every group.
pub async fn run_split(shell: &Rc<LaneShell>, caller: Caller<'_>, command: &QueuedCommand) -> Ended<()> {
    let mut batch = match BatchRun::new(shell, std::slice::from_ref(command), &[]) {
        Ok(batch) => batch,
        Err(refusal) => return Ended::Refused(refusal.to_string()),
    };
    match batch.hold(shell, None).await {
        Ended::Done(()) => {}
        other => return other,
    }
    match run_groups(shell, caller, batch.id, command).await {
        Ended::Done(()) => batch.commit(shell).await,
        other => {
            batch.release(shell).await;
            other
        }
    }
}

/// Checks and runs the groups of an atomic split command under a batch that holds their keys.
pub async fn run_groups(
    shell: &Rc<LaneShell>,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
) -> Ended<()> {
    let Run::Split { step, .. } = shell.shared.commands.get(command.id).run else {
        return Ended::Refused("ERR internal: not a split command".into());
    };
    for checking in [true, false] {
        let hops = match group_hops(shell, caller, batch, command, step) {
            Ok(hops) => hops,
            Err(refusal) => return Ended::Refused(refusal.to_string()),
        };
        let asked: Vec<_> = hops
            .into_iter()
            .map(|(lane, hop)| {
                let shell = shell.clone();
                let request = if checking {
                    LaneRequest::Batch(batch, BatchStep::Check(hop))
                } else {
                    LaneRequest::Execute(hop)
                };
                glommio::spawn_local(async move { ask(&shell, lane, request).await })
            })
            .collect();
        let mut ended = Ended::Done(());
        for answer in asked {
            match answer.await {
                Answer::Flag(false) => ended = Ended::CalledOff,
                Answer::Refused(text) => ended = Ended::Refused(text),
                Answer::Unknown(text) => ended = Ended::Unknown(text),
                _ => {}
            }
        }
        if !matches!(ended, Ended::Done(())) {
            return ended;
        }
    }
    Ended::Done(())
}

fn group_hops(
    shell: &LaneShell,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
    step: usize,
) -> Result<BTreeMap<usize, Box<Hop>>, Refusal> {
    let mut hops: BTreeMap<usize, Box<Hop>> = BTreeMap::new();
    for group in command.args.get(1..).unwrap_or(&[]).chunks(step) {
        let key = group.first().map_or(&[][..], |key| key);
        let place = shell.shared.directory.place(key).ok_or_else(no_business)?;
        let new_hop = || Hop::new(caller.client, caller.proto, Some(batch));
        let hop = hops.entry(place.home.lane).or_insert_with(new_hop);
        hop.push(command.id, place.home.place, true, group.iter().map(|arg| &**arg));
    }
    Ok(hops)
}
