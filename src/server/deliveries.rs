//! Delivering what partitions owe to keys elsewhere, once the record that says so is written.
//!
//! One task per lane. A client whose command owes something gets its reply when it is delivered: who writes a sample
//! that closes a bucket finds the bucket in the destination. Deliveries wait for commits of other lanes, never for
//! their deliveries, so chains of rules cannot wait for each other.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::command::{CommandId, decode_open_bucket};
use crate::lane::journal::BatchId;
use crate::lane::outbox::OutboxEntry;
use crate::lane::{Partition, READS_PAST_HOLDS, RolledUp, RollupFound, RuleEnds, Stop, Wait};
use crate::refusal::Refusal;
use crate::resp::Proto;
use crate::series::Sample;

use super::blocking;
use super::chains::Chained;
use super::hop::DELIVERING;
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest};
use super::requests::{ask, with_partition};

/// Entries delivered together.
const DELIVERIES_PER_ROUND_MAX: usize = 256;
/// Samples that are rolled up at once; what comes after them goes back into the outbox. BACKFILL goes through long
/// series in such steps, between which others are delivered and checkpoints go on.
const ROLLUP_SAMPLES_MAX: usize = 1 << 17;
/// Wait before deliveries that failed are tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Refusals that pass: the delivery is tried again. All others are the key's own, a string in its place for example.
const RETRIED: [&[u8]; 2] = [b"-ERR partition unavailable", b"-ERR too many deleted ranges"];

/// An internal command to be run at another key.
pub struct Delivery {
    /// Number of the entry, and place of the partition that owes it.
    pub id: u64,
    /// See `id`.
    pub from: usize,
    /// Lane of the key.
    pub lane: usize,
    /// Place of the key's partition on its lane.
    pub place: usize,
    /// The command.
    pub command: CommandId,
    /// Its arguments, the name first.
    pub args: Vec<Vec<u8>>,
    /// What comes after it, if all of it is too much for once.
    pub rest: Option<OutboxEntry>,
}

/// True if the answer to a delivery says that it has to be tried again.
pub fn is_for_later(answer: &[u8]) -> bool {
    RETRIED.iter().any(|refusal| answer.starts_with(refusal))
}

/// The delivery task of a lane: runs for ever.
pub async fn delivery_loop(shell: Rc<LaneShell>) {
    loop {
        let mut failed = false;
        let places = shell.lane.borrow().partitions.len();
        for place in 0..places {
            failed = !deliver_from(&shell, place).await || failed;
        }
        if failed {
            glommio::timer::sleep(RETRY).await;
        } else {
            shell.commits.wait_for_deliveries().await;
        }
    }
}

/// Delivers everything that one partition owes; false if something could not be delivered.
async fn deliver_from(shell: &Rc<LaneShell>, place: usize) -> bool {
    let mut chained = Vec::new();
    loop {
        let written = shell.commits.last_written(place).commit;
        let entries = match shell.lane.borrow_mut().partition(place) {
            Ok(partition) => partition.take_deliveries(DELIVERIES_PER_ROUND_MAX),
            // It is opened again, and its journal knows what it owes.
            Err(_) => Vec::new(),
        };
        let all = entries.len() < DELIVERIES_PER_ROUND_MAX;
        let undelivered = deliver(shell, place, entries, &mut chained).await;
        let done = undelivered.is_empty();
        if !done && let Ok(partition) = shell.lane.borrow_mut().partition(place) {
            partition.give_back_deliveries(&undelivered);
        }
        if all || !done {
            shell.commits.delivered(place, written, chained);
            let mut lane = shell.lane.borrow_mut();
            shell.pass_commit(&mut lane);
            return done;
        }
    }
}

/// Delivers these; returns those that have to be tried again. What they cause is added to `chained`.
async fn deliver(
    shell: &Rc<LaneShell>,
    place: usize,
    entries: Vec<(u64, OutboxEntry)>,
    chained: &mut Chained,
) -> Vec<u64> {
    if entries.is_empty() {
        return Vec::new();
    }
    let (mut done, mut again) = (Vec::new(), Vec::new());
    let mut by_lane: BTreeMap<usize, Vec<Delivery>> = BTreeMap::new();
    for (id, entry) in entries {
        match prepare(shell, place, id, entry, None).await {
            Ok(Some(delivery)) => by_lane.entry(delivery.lane).or_default().push(delivery),
            Ok(None) => done.push((id, None)),
            Err(refusal) => {
                log::warn!("a rollup is delayed: {refusal}");
                again.push(id);
            }
        }
    }
    let asked: Vec<_> = by_lane
        .into_iter()
        .map(|(lane, deliveries)| {
            let mut hop = Hop::new(DELIVERING, Proto::Resp2, None);
            for delivery in &deliveries {
                let args = delivery.args.iter().map(Vec::as_slice);
                hop.push(delivery.command, delivery.place, false, args);
            }
            let owed = deliveries.into_iter();
            let owed: Vec<_> = owed.map(|delivery| (delivery.id, delivery.rest)).collect();
            let shell = shell.clone();
            let asked =
                glommio::spawn_local(async move { ask(&shell, lane, LaneRequest::Execute(hop)).await });
            (owed, asked)
        })
        .collect();
    for (owed, answer) in asked {
        match answer.await {
            Answer::Parts(parts) => {
                chained.extend_from_slice(&parts.0.chained);
                for (index, (id, rest)) in owed.into_iter().enumerate() {
                    match is_for_later(parts.get(index)) {
                        true => again.push(id),
                        false => done.push((id, rest)),
                    }
                }
            }
            _ => again.extend(owed.into_iter().map(|(id, _)| id)),
        }
    }
    let mut lane = shell.lane.borrow_mut();
    if let Ok(partition) = lane.partition(place) {
        for (id, rest) in done {
            partition.delivered(id, rest);
        }
        if partition.has_changes() {
            shell.commits.note(place, false);
        }
    }
    again
}

/// What is to be run where, as part of `batch` if that holds the keys; `None` if there is nothing to do any more.
///
/// # Errors
/// If it cannot be found out now.
pub async fn prepare(
    shell: &Rc<LaneShell>,
    place: usize,
    id: u64,
    entry: OutboxEntry,
    batch: Option<BatchId>,
) -> Result<Option<Delivery>, Refusal> {
    let Some(target) = shell.shared.directory.place(entry.target()) else {
        return Ok(None);
    };
    let mut rest = None;
    let (name, args): (&str, Vec<Vec<u8>>) = match entry {
        OutboxEntry::Rollup { .. } | OutboxEntry::Beside { .. } => {
            let Some((args, remaining)) = rollup_write(shell, place, entry, batch).await? else {
                return Ok(None);
            };
            rest = remaining;
            ("TS.RULE.WRITE", args)
        }
        OutboxEntry::Relink { key, from, to } => {
            let args = [Some(key), Some(from), to];
            (
                "TS.RULE.RELINK",
                args.into_iter().flatten().map(Vec::from).collect(),
            )
        }
        OutboxEntry::Create {
            key,
            source,
            retention,
            labels,
        } => {
            let mut args = vec![
                Vec::from(key),
                Vec::from(source),
                retention.to_string().into_bytes(),
            ];
            args.extend(
                labels
                    .into_iter()
                    .flat_map(|(name, value)| [Vec::from(name), Vec::from(value)]),
            );
            ("TS.RULE.DEST", args)
        }
    };
    Ok(Some(Delivery {
        id,
        from: place,
        lane: target.home.lane,
        place: target.home.place,
        command: shell.shared.commands.internal(name)?,
        args: [vec![name.as_bytes().to_vec()], args].concat(),
        rest,
    }))
}

/// Arguments of the write of a rollup that is owed, and what is left of it, if it is too much for once; `None` if there
/// is nothing to write.
async fn rollup_write(
    shell: &Rc<LaneShell>,
    place: usize,
    entry: OutboxEntry,
    batch: Option<BatchId>,
) -> Result<Option<(Vec<Vec<u8>>, Option<OutboxEntry>)>, Refusal> {
    let (source, destination, (from, to)) = match entry {
        OutboxEntry::Rollup {
            source,
            destination,
            from,
            to,
        } => (source, destination, (from, to)),
        OutboxEntry::Beside {
            source,
            destination,
            changed,
            side,
        } => {
            let beside = with_partition(shell, place, |partition, now_ms| {
                refuse_held(partition, &source, batch)?;
                partition.stretch_beside((&source, &destination), (changed, side), now_ms)
            });
            let Some(stretch) = beside.await? else {
                return Ok(None);
            };
            (source, destination, stretch)
        }
        OutboxEntry::Relink { .. } | OutboxEntry::Create { .. } => return Ok(None),
    };
    let found = roll_up(shell, place, (&source, &destination), (from, to), batch).await?;
    let Some((rolled_up, up_to)) = found else {
        return Ok(None);
    };
    let args = rollup_args(&destination, &source, &rolled_up);
    let rest = (up_to < to).then_some(OutboxEntry::Rollup {
        source,
        destination,
        from: up_to.saturating_add(1),
        to,
    });
    Ok(Some((args, rest)))
}

/// What another batch has done to the source may turn out never to have happened.
fn refuse_held(partition: &Partition, source: &[u8], batch: Option<BatchId>) -> Result<(), Stop> {
    match partition.batches.is_held(source, batch) {
        true => Err(Stop::Wait(Wait::Held)),
        false => Ok(()),
    }
}

/// A hop that asks for open buckets, and their destinations in its order.
type AskedBuckets = (Box<Hop>, Vec<Box<[u8]>>);

/// Key of a destination and its open bucket, if there is one.
pub type FetchedBucket = (Box<[u8]>, Option<Sample>);

/// Asks the owners of sources for the open buckets of their rules. A source that is gone, or whose partition is closed,
/// has none.
pub async fn fetch_open_buckets(
    shell: &Rc<LaneShell>,
    ends: Vec<RuleEnds>,
    holds: bool,
) -> Vec<FetchedBucket> {
    let batch = holds.then_some(READS_PAST_HOLDS);
    let Some(command) = shell.shared.commands.find(b"TS.RULE.OPEN") else {
        return Vec::new();
    };
    let mut by_lane: BTreeMap<usize, AskedBuckets> = BTreeMap::new();
    let mut fetched = Vec::new();
    for (source, destination) in ends {
        let Some(owner) = shell.shared.directory.place(&source) else {
            fetched.push((destination, None));
            continue;
        };
        let new_hop = || (Hop::new(DELIVERING, Proto::Resp2, batch), Vec::new());
        let (hop, destinations) = by_lane.entry(owner.home.lane).or_insert_with(new_hop);
        let args = [&b"TS.RULE.OPEN"[..], &source, &destination];
        hop.push(command, owner.home.place, false, args.into_iter());
        destinations.push(destination);
    }
    for (lane, (hop, destinations)) in by_lane {
        let answer = ask(shell, lane, LaneRequest::Execute(hop)).await;
        for (index, destination) in destinations.into_iter().enumerate() {
            let sample = match &answer {
                Answer::Parts(parts) => decode_open_bucket(parts.get(index)),
                _ => None,
            };
            fetched.push((destination, sample));
        }
    }
    fetched
}

/// Arguments of the write to a destination: its key, the source, the stretch that is replaced, timestamps and values.
fn rollup_args(destination: &[u8], source: &[u8], rolled_up: &RolledUp) -> Vec<Vec<u8>> {
    let (from, to) = rolled_up.replaced;
    let mut args = vec![
        destination.to_vec(),
        source.to_vec(),
        from.to_le_bytes().to_vec(),
        to.to_le_bytes().to_vec(),
    ];
    for (timestamp, value) in &rolled_up.samples {
        args.push(timestamp.to_le_bytes().to_vec());
        args.push(value.to_bits().to_le_bytes().to_vec());
    }
    args
}

/// What a rule makes of a stretch of time, or of so much of it as is read at once, and up to where that goes.
async fn roll_up(
    shell: &Rc<LaneShell>,
    place: usize,
    (source, destination): (&[u8], &[u8]),
    (from, to): (i64, i64),
    batch: Option<BatchId>,
) -> Result<Option<(RolledUp, i64)>, Refusal> {
    let (mut up_to, mut samples_max) = (to, ROLLUP_SAMPLES_MAX);
    loop {
        let read = with_partition(shell, place, |partition, now_ms| {
            refuse_held(partition, source, batch)?;
            partition.read_rollup(source, destination, ((from, up_to), samples_max), now_ms)
        });
        let Some(read) = read.await? else {
            return Ok(None);
        };
        let found = if read.is_ready() {
            read.run()
        } else {
            blocking::run(move || read.run()).await
        };
        match found? {
            RollupFound::Whole(rolled_up) => return Ok(Some((rolled_up, up_to))),
            RollupFound::UpTo(last) => (up_to, samples_max) = (last, usize::MAX),
        }
    }
}
