//! What a lane does for a request, its own or another lane's. Nothing here asks another lane.

use std::rc::Rc;

use crate::command::{Order, ReportKinds};
use crate::lane::journal::BatchId;
use crate::lane::{
    ClientId, KeyFilter, Partition, RangeQuery, RangeRead, ScanPosition, Stop, stored_stretch,
};
use crate::refusal::Refusal;
use crate::series::Sample;
use crate::store::{Reach, Read};

use super::commit::Change;
use super::hop::{HopRun, resolve, unknown_outcome};
use super::lane_shell::LaneShell;
use super::message::{Answer, KeyImage, LaneRequest, ScanStep};
use super::{batch_steps, blocking};
use super::{checkpoints, reports};

/// Asks a lane, this one or another.
pub async fn ask(shell: &Rc<LaneShell>, lane: usize, request: LaneRequest) -> Answer {
    if lane == shell.id() {
        // Boxed: the two call each other's kinds of future, and requests to the own lane are rare.
        return Box::pin(serve(shell, request)).await;
    }
    let ticket = shell.mesh.send(lane, request).await;
    shell.mesh.answer(ticket).await
}

/// Asks every lane at once; answers in lane order.
pub async fn ask_all(shell: &Rc<LaneShell>, mut request: impl FnMut(usize) -> LaneRequest) -> Vec<Answer> {
    let lanes = shell.shared.directory.lanes();
    let asked: Vec<_> = (0..lanes)
        .map(|lane| {
            let (shell, request) = (shell.clone(), request(lane));
            glommio::spawn_local(async move { ask(&shell, lane, request).await })
        })
        .collect();
    let mut answers = Vec::with_capacity(lanes);
    for answer in asked {
        answers.push(answer.await);
    }
    answers
}

/// Does what is asked.
pub async fn serve(shell: &Rc<LaneShell>, request: LaneRequest) -> Answer {
    match request {
        LaneRequest::Execute(hop) => finish_hop(shell, HopRun::new(hop)).await,
        LaneRequest::Batch(id, step) => batch_steps::batch_step(shell, id, step).await,
        LaneRequest::Report(kinds) => report(shell, kinds).await,
        LaneRequest::Order(order) => obey(shell, order),
        LaneRequest::Scan(step) => scan(shell, step).await,
        LaneRequest::FindCursor(cursor) => Answer::Walk(shell.scan_cursors.borrow().find(cursor)),
        LaneRequest::RandomKey { place } => random_key(shell, place).await,
        LaneRequest::KeysInSlot { slot, limit } => keys_in_slot(shell, slot, limit).await,
        LaneRequest::Watch(client, keys) => watch(shell, client, keys).await,
        LaneRequest::Unwatch(client) => {
            let mut lane = shell.lane.borrow_mut();
            lane.open_partitions()
                .for_each(|(_, partition)| partition.watches.unwatch(client));
            Answer::Flag(true)
        }
        LaneRequest::ReadImage { place, key } => read_image(shell, place, key).await,
        LaneRequest::WriteImage {
            batch,
            place,
            key,
            image,
            moved_to,
            ends_are_told,
        } => {
            let change = ImageChange {
                image,
                moved_to,
                ends_are_told,
            };
            write_image(shell, batch, place, &key, change).await
        }
        LaneRequest::RuleFacts { place, key } => {
            let found = with_partition(shell, place, |partition, now_ms| {
                partition.rule_facts(&key, now_ms)
            });
            match found.await {
                Ok((properties, is_named)) => Answer::RuleFacts {
                    properties: properties.map(Box::new),
                    is_quiet: !is_named,
                },
                Err(refusal) => Answer::Refused(refusal.to_string()),
            }
        }
        LaneRequest::RuleEnds(keys) => rule_ends(shell, &keys).await,
        LaneRequest::AwaitChange {
            place,
            key,
            seen,
            from,
            wait_ms,
        } => super::follow::await_change(shell, place, &key, (seen, from), wait_ms).await,
        LaneRequest::AwaitDelivered(changes) => {
            shell.commits.wait(&changes).await;
            Answer::Chained(shell.commits.chained_after(&changes))
        }
        LaneRequest::Flush(batch) => flush(shell, batch).await,
        LaneRequest::Checkpoint => {
            checkpoints::checkpoint_all(shell).await;
            Answer::Flag(true)
        }
    }
}

async fn rule_ends(shell: &Rc<LaneShell>, keys: &[(usize, Box<[u8]>)]) -> Answer {
    let (mut ends, mut is_quiet) = (Vec::new(), true);
    for (place, key) in keys {
        let facts = |partition: &mut Partition, now_ms| partition.rule_facts(key, now_ms);
        match with_partition(shell, *place, facts).await {
            Ok((properties, is_named)) => {
                ends.extend(properties.map_or_else(Vec::new, |properties| properties.rule_ends()));
                is_quiet = is_quiet && !is_named;
            }
            Err(refusal) => return Answer::Refused(refusal.to_string()),
        }
    }
    Answer::RuleEnds { ends, is_quiet }
}

/// Runs the rest of a hop and waits for its commit.
pub async fn finish_hop(shell: &Rc<LaneShell>, run: HopRun) -> Answer {
    let run = run.finish(shell).await;
    if shell.commits.wait(run.changes()).await {
        run.into_answer(shell)
    } else {
        unknown_outcome()
    }
}

/// Repeats `attempt` on a partition until it needs not wait any more.
pub async fn with_partition<T>(
    shell: &Rc<LaneShell>,
    place: usize,
    mut attempt: impl FnMut(&mut Partition, i64) -> Result<T, Stop>,
) -> Result<T, Refusal> {
    loop {
        let outcome = {
            let mut lane = shell.lane.borrow_mut();
            let now_ms = lane.clock.now_ms();
            attempt(lane.partition(place)?, now_ms)
        };
        match outcome {
            Ok(value) => return Ok(value),
            Err(Stop::Refused(refusal)) => return Err(refusal),
            Err(Stop::Wait(wait)) => resolve(shell, place, wait).await?,
            Err(Stop::Offload(_)) => return Err(Refusal::text("ERR internal: unexpected disk read")),
        }
    }
}

pub(super) fn note_changes(shell: &LaneShell, places: &[usize]) -> Vec<Change> {
    let mut lane = shell.lane.borrow_mut();
    // Never waits for deliveries: what others owe may go to keys that the batch holds.
    let mut note = |place: &usize| {
        let changed = lane.partition(*place).ok()?.has_changes();
        changed.then(|| shell.commits.note(*place, true))
    };
    places.iter().filter_map(&mut note).collect()
}

async fn report(shell: &Rc<LaneShell>, kinds: ReportKinds) -> Answer {
    let report = reports::lane_report(shell, kinds);
    if !kinds.has(ReportKinds::STORAGE) {
        return Answer::Report(Box::new(report));
    }
    Answer::Report(Box::new(reports::with_storage(shell, report).await))
}

fn obey(shell: &Rc<LaneShell>, order: Order) -> Answer {
    Answer::Count(super::orders::obey(shell, order))
}

async fn scan(shell: &Rc<LaneShell>, step: ScanStep) -> Answer {
    let ScanStep {
        place,
        position,
        count,
        filter,
        started_s,
    } = step;
    let mut found = Vec::new();
    let database = {
        let mut lane = shell.lane.borrow_mut();
        let now_ms = lane.clock.now_ms();
        let partition = match lane.partition(place) {
            Ok(partition) => partition,
            Err(refusal) => return Answer::Refused(refusal.to_string()),
        };
        let position = position.clone().unwrap_or_else(|| partition.scan_start());
        if let ScanPosition::Table { place } = position {
            let next = partition.scan_table(place, count, &filter, now_ms, &mut found);
            return Answer::Keys(found, next);
        }
        partition.database().clone()
    };
    let after = match position {
        Some(ScanPosition::Stored { after }) => after,
        _ => None,
    };
    let now_ms = shell.lane.borrow().clock.now_ms();
    let read = stored_stretch(&database, after.as_deref(), count, &filter, now_ms, Reach::Memory);
    let read = match read {
        Ok(Read::Cold) => {
            blocking::run(move || {
                stored_stretch(&database, after.as_deref(), count, &filter, now_ms, Reach::Disk)
            })
            .await
        }
        read => read,
    };
    match read {
        Ok(Read::Known(stretch)) => {
            let next = stretch
                .last
                .clone()
                .map(|last| ScanPosition::Stored { after: Some(last) });
            match shell.lane.borrow_mut().partition(place) {
                Ok(partition) => partition.filter_stored(stretch, started_s, &mut found),
                Err(refusal) => return Answer::Refused(refusal.to_string()),
            }
            Answer::Keys(found, next)
        }
        Ok(Read::Cold) => Answer::Refused("ERR storage: the disk was not reached".into()),
        Err(error) => Answer::Refused(Refusal::from(error).to_string()),
    }
}

async fn random_key(shell: &Rc<LaneShell>, place: usize) -> Answer {
    let random = fastrand::usize(..);
    let database = {
        let mut lane = shell.lane.borrow_mut();
        let now_ms = lane.clock.now_ms();
        let Ok(partition) = lane.partition(place) else {
            return Answer::Keys(Vec::new(), None);
        };
        if let Some(key) = partition.random_table_key(random, now_ms) {
            return Answer::Keys(vec![key.into()], None);
        }
        partition.database().clone()
    };
    // Nothing is in the table: any stored key will do, taken from a random place of the key space on.
    let now_ms = shell.lane.borrow().clock.now_ms();
    let start = fastrand::u8(..);
    let found = blocking::run(move || {
        let filter = KeyFilter::default();
        let from =
            |after: Option<&[u8]>| match stored_stretch(&database, after, 1, &filter, now_ms, Reach::Disk) {
                Ok(Read::Known(stretch)) => stretch.keys,
                _ => Vec::new(),
            };
        let keys = from(Some(&[start]));
        if keys.is_empty() { from(None) } else { keys }
    })
    .await;
    Answer::Keys(found, None)
}

async fn keys_in_slot(shell: &Rc<LaneShell>, slot: u16, limit: Option<usize>) -> Answer {
    let places = shell.lane.borrow().partitions.len();
    let mut keys = std::collections::BTreeSet::new();
    for place in 0..places {
        let mut position = None;
        loop {
            let step = ScanStep {
                place,
                position,
                count: 1024,
                filter: KeyFilter::default(),
                started_s: u32::MAX,
            };
            let Answer::Keys(found, next) = scan(shell, step).await else {
                break;
            };
            keys.extend(
                found
                    .into_iter()
                    .filter(|key| crate::business::slot_of(key) == slot),
            );
            position = next;
            if position.is_none() || limit.is_some_and(|limit| keys.len() >= limit) {
                break;
            }
            glommio::executor().yield_if_needed().await;
        }
    }
    match limit {
        None => Answer::Count(keys.len() as u64),
        Some(limit) => Answer::Keys(keys.into_iter().take(limit).collect(), None),
    }
}

async fn watch(shell: &Rc<LaneShell>, client: ClientId, keys: Vec<(usize, Box<[u8]>)>) -> Answer {
    for (place, key) in keys {
        let watched = with_partition(shell, place, |partition, now_ms| {
            partition.watch(client, &key, now_ms)?;
            if partition.has_changes() {
                shell.commits.note(place, true);
            }
            Ok(())
        });
        if let Err(refusal) = watched.await {
            return Answer::Refused(refusal.to_string());
        }
    }
    Answer::Flag(true)
}

async fn read_image(shell: &Rc<LaneShell>, place: usize, key: Box<[u8]>) -> Answer {
    let found = with_partition(shell, place, |partition, now_ms| {
        let parts = partition.image_parts(&key, now_ms)?;
        Ok(parts.map(|parts| (parts, partition.origin(&key))))
    })
    .await;
    let parts = match found {
        Ok(None) => return Answer::Image(None),
        Ok(Some(parts)) => parts,
        Err(refusal) => return Answer::Refused(refusal.to_string()),
    };
    let ((value, members, expire_at_ms), origin) = parts;
    if let Some(value) = value {
        return Answer::Image(Some(KeyImage::String {
            value,
            expire_at_ms,
            origin,
        }));
    }
    let mut series = Vec::new();
    for (data_type, member) in members {
        let all = RangeQuery {
            from: i64::MIN,
            to: i64::MAX,
            limit: usize::MAX,
            reverse: false,
        };
        let read = with_partition(
            shell,
            place,
            |partition, _| Ok(partition.read_range(member, all)?),
        )
        .await;
        let columns = match read {
            Ok(RangeRead::Ready(columns)) => Ok(columns),
            Ok(RangeRead::Offload(job)) => blocking::run(move || job.run()).await.map_err(|e| e.to_string()),
            Err(refusal) => Err(refusal.to_string()),
        };
        match columns {
            Ok(columns) => {
                let samples: Vec<Sample> = (0..columns.len()).map(|index| columns.get(index)).collect();
                series.push((data_type, samples));
            }
            Err(text) => return Answer::Refused(text),
        }
    }
    let properties = with_partition(shell, place, |partition, now_ms| {
        let found = partition.find(&key, now_ms)?;
        Ok(found.and_then(|found| partition.properties(found).cloned().map(Box::new)))
    });
    match properties.await {
        Ok(properties) => Answer::Image(Some(KeyImage::Series {
            series,
            properties,
            expire_at_ms,
        })),
        Err(refusal) => Answer::Refused(refusal.to_string()),
    }
}

/// What a key is to hold: see [`LaneRequest::WriteImage`].
struct ImageChange {
    image: Option<KeyImage>,
    moved_to: Option<Box<[u8]>>,
    ends_are_told: bool,
}

async fn write_image(
    shell: &Rc<LaneShell>,
    batch: BatchId,
    place: usize,
    key: &[u8],
    change: ImageChange,
) -> Answer {
    let written = with_partition(shell, place, |partition, now_ms| {
        partition.warm(key)?;
        partition.enter_batch(batch);
        partition.ends_are_told = change.ends_are_told;
        let (image, moved_to) = (change.image.as_ref(), change.moved_to.as_deref());
        let written = write_image_now(partition, key, image, moved_to, now_ms);
        partition.ends_are_told = false;
        partition.leave_batch();
        written
    });
    match written.await {
        Ok(()) => Answer::Flag(true),
        Err(refusal) => Answer::Refused(refusal.to_string()),
    }
}

fn write_image_now(
    partition: &mut Partition,
    key: &[u8],
    image: Option<&KeyImage>,
    moved_to: Option<&[u8]>,
    now_ms: i64,
) -> Result<(), Stop> {
    partition.check_key(key)?;
    match image {
        Some(KeyImage::String {
            value,
            expire_at_ms,
            origin,
        }) => {
            partition.set_string(key, value, *expire_at_ms, now_ms)?;
            partition.note_origin(key, *origin);
            Ok(())
        }
        other => {
            match (partition.find(key, now_ms)?, moved_to) {
                (Some(found), Some(to)) => partition.delete_moved(found, to),
                (Some(found), None) => partition.delete(found),
                (None, _) => {}
            }
            let Some(KeyImage::Series {
                series,
                properties,
                expire_at_ms,
            }) = other
            else {
                return Ok(());
            };
            if let Some(properties) = properties {
                partition.create_plain_series(key, (**properties).clone(), now_ms)?;
            }
            for (data_type, samples) in series {
                partition.put_moved_samples(key, *data_type, samples, now_ms)?;
            }
            if let (Some(found), true) = (partition.find(key, now_ms)?, *expire_at_ms != 0) {
                partition.set_expiry(found, *expire_at_ms);
            }
            Ok(())
        }
    }
}

async fn flush(shell: &Rc<LaneShell>, batch: Option<BatchId>) -> Answer {
    let places: Vec<usize> = shell
        .lane
        .borrow_mut()
        .open_partitions()
        .map(|(place, _)| place)
        .collect();
    for place in &places {
        // The record that begins with the flush must not be one that others have begun.
        loop {
            let changes = note_changes(shell, &[*place]);
            shell.commits.wait(&changes).await;
            let flushed = {
                let mut lane = shell.lane.borrow_mut();
                match lane.partition(*place) {
                    Err(refusal) => return Answer::Refused(refusal.to_string()),
                    Ok(partition) => partition.flush_everything(batch),
                }
            };
            match flushed {
                Ok(()) => break,
                Err(Stop::Wait(wait)) => {
                    if let Err(refusal) = resolve(shell, *place, wait).await {
                        return Answer::Refused(refusal.to_string());
                    }
                }
                Err(_) => return Answer::Refused("ERR internal: unexpected stop".into()),
            }
        }
    }
    let changes = note_changes(shell, &places);
    if shell.commits.wait(&changes).await {
        Answer::Flag(true)
    } else {
        unknown_outcome()
    }
}
