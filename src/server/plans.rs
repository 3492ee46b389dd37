//! Carrying out what session handlers have planned.

use std::rc::Rc;

use crate::command::plan::{OrderAnswer, Plan};
use crate::command::{QueuedCommand, ReportKinds, Reports, Run, Session, SessionContext, SessionStop};
use crate::lane::journal::BatchId;
use crate::lane::{EventClasses, KeyFilter};
use crate::resp::{Args, Reply, Span};

use super::client::ClientHandle;
use super::exec_rules::{deliver_within, hold_with_ends, may_chain};
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest, ScanStep, UNEXPECTED_ANSWER};
use super::requests::{ask, ask_all};
use super::rule_plans::{self, RuleCaller};
use super::scan_cursors::{Walk, lane_of};
use super::transaction::{
    BatchRun, Caller, Ended, is_key_command, no_business, run_groups, run_in_one_place, run_split,
};
use super::{dumps, lifecycle, monitors, notices};

/// Keys of a walk fetched per step when all of them are wanted.
const KEYS_STEP: usize = 4096;

/// Carries out `plan` and writes its reply; `batch` is the batch that it is part of, if any.
///
/// # Errors
/// The reply, when the storage failed midway and the connection has to be closed after it.
pub async fn run(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    plan: Plan,
    args: &[Box<[u8]>],
    watched: &mut Vec<Box<[u8]>>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Result<(), String> {
    let id = client.session.borrow().id;
    match plan {
        Plan::Transaction(commands) => {
            return transaction(shell, client, (args, commands), watched, reply).await;
        }
        Plan::BatchFlush { triples } => return batch_flush(shell, id, triples, reply).await,
        Plan::Watch(keys) => watch(shell, client, keys, watched, reply).await,
        Plan::Unwatch => {
            unwatch(shell, client, watched).await;
            reply.ok();
        }
        Plan::Reset => {
            unwatch(shell, client, watched).await;
            reply.simple("RESET");
        }
        Plan::Transfer { source, target, kind } => {
            return super::transfer::transfer(shell, batch, (&source, &target), kind, reply).await;
        }
        Plan::Scan {
            cursor,
            count,
            filter,
        } => scan(shell, cursor, count, filter, reply).await,
        Plan::Keys(filter) => keys(shell, filter, reply).await,
        Plan::RandomKey => random_key(shell, reply).await,
        Plan::Flush => return flush(shell, batch, reply).await,
        Plan::Order { order, answer } => {
            let answers = ask_all(shell, |_| LaneRequest::Order(order.clone())).await;
            let sum: u64 = answers
                .iter()
                .map(|answer| if let Answer::Count(n) = answer { *n } else { 0 })
                .sum();
            match answer {
                OrderAnswer::Ok => reply.ok(),
                OrderAnswer::Sum => reply.integer(sum as i64),
                OrderAnswer::OkIfAny if sum > 0 => reply.ok(),
                OrderAnswer::OkIfAny => reply.error("ERR No such client"),
            }
        }
        Plan::Save { background } => {
            let own = shell.clone();
            let saving = glommio::spawn_local(async move {
                ask_all(&own, |_| LaneRequest::Checkpoint).await;
            });
            if background {
                saving.detach();
                reply.simple("Background saving started");
            } else {
                saving.await;
                reply.ok();
            }
        }
        Plan::Report { kinds, render } => {
            let reports = gather_reports(shell, kinds).await;
            render_now(shell, client, args, &reports, render, reply);
        }
        Plan::Gather(gather) => {
            return super::gather::gather(shell, client, gather, args, batch, reply).await;
        }
        Plan::CreateRule(new) => {
            let caller = RuleCaller {
                shell,
                client,
                within: batch,
            };
            rule_plans::create(caller, &new, reply).await?;
            note_rule(shell, args, reply);
        }
        Plan::DeleteRule { source, destination } => {
            let caller = RuleCaller {
                shell,
                client,
                within: batch,
            };
            rule_plans::delete(caller, (&source, &destination), reply).await?;
            note_rule(shell, args, reply);
        }
        Plan::Follow(plan) => return super::follow::follow(shell, client, plan, batch, reply).await,
        Plan::KeysInSlot { slot, count_max } => keys_in_slot(shell, slot, count_max, reply).await,
        Plan::DumpLatency => match dumps::dump(shell).await {
            Ok(files) => reply.bulk(files.as_bytes()),
            Err(error) => reply.error(format_args!("ERR latency dump failed: {error}")),
        },
        Plan::Shutdown => {
            lifecycle::request_stop();
            client.session.borrow_mut().closing = true;
            reply.ok();
        }
        Plan::Sleep { milliseconds } => {
            glommio::timer::sleep(std::time::Duration::from_millis(milliseconds)).await;
            reply.ok();
        }
    }
    Ok(())
}

/// Asks every lane for a report.
pub async fn gather_reports(shell: &Rc<LaneShell>, kinds: ReportKinds) -> Reports {
    let answers = ask_all(shell, |_| LaneRequest::Report(kinds)).await;
    let lanes = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::Report(report) => Some(*report),
            _ => None,
        })
        .collect();
    Reports {
        lanes,
        block_cache_used_bytes: shell.resources.cache_used_bytes(),
        write_buffers_used_bytes: shell.resources.write_buffers_used_bytes(),
    }
}

pub(super) fn with_args<T>(args: &[Box<[u8]>], use_args: impl FnOnce(Args<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    let mut spans = Vec::with_capacity(args.len());
    for arg in args {
        let start = bytes.len();
        bytes.extend_from_slice(arg);
        spans.push(Span::new(start, bytes.len()).expect("invariant: query buffers are below 4 GiB"));
    }
    use_args(Args::new(&bytes, &spans))
}

pub(super) fn with_context<T>(
    shell: &Rc<LaneShell>,
    session: &mut Session,
    use_context: impl FnOnce(&mut SessionContext<'_>) -> T,
) -> T {
    let clock = shell.lane.borrow().clock.clone();
    use_context(&mut SessionContext {
        session,
        shared: &shell.shared,
        clock: &clock,
        lane: shell.id(),
    })
}

fn render_now(
    shell: &Rc<LaneShell>,
    client: &ClientHandle,
    args: &[Box<[u8]>],
    reports: &Reports,
    render: crate::command::plan::Render,
    reply: &mut Reply,
) {
    let mut session = client.session.borrow_mut();
    let rendered = with_context(shell, &mut session, |context| {
        with_args(args, |args| render(context, args, reports, reply))
    });
    if let Err(refusal) = rendered {
        reply.error(&refusal);
    }
}

/// Forgets the watches of a client wherever it has any.
pub async fn unwatch(shell: &Rc<LaneShell>, client: &ClientHandle, watched: &mut Vec<Box<[u8]>>) {
    if watched.is_empty() {
        return;
    }
    watched.clear();
    client.session.borrow_mut().watching = false;
    let id = client.session.borrow().id;
    ask_all(shell, |_| LaneRequest::Unwatch(id)).await;
}

async fn watch(
    shell: &Rc<LaneShell>,
    client: &ClientHandle,
    keys: Vec<Box<[u8]>>,
    watched: &mut Vec<Box<[u8]>>,
    reply: &mut Reply,
) {
    let id = client.session.borrow().id;
    let mut by_lane: Vec<Vec<(usize, Box<[u8]>)>> = vec![Vec::new(); shell.shared.directory.lanes()];
    for key in &keys {
        let Some(place) = shell.shared.directory.place(key) else {
            reply.error(no_business());
            return;
        };
        if let Some(list) = by_lane.get_mut(place.home.lane) {
            list.push((place.home.place, key.clone()));
        }
    }
    for (lane, keys) in by_lane
        .into_iter()
        .enumerate()
        .filter(|(_, keys)| !keys.is_empty())
    {
        if let Answer::Refused(text) = ask(shell, lane, LaneRequest::Watch(id, keys)).await {
            reply.error(&text);
            return;
        }
    }
    watched.extend(keys);
    client.session.borrow_mut().watching = true;
    reply.ok();
}

async fn transaction(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    (exec, commands): (&[Box<[u8]>], Vec<QueuedCommand>),
    watched: &mut Vec<Box<[u8]>>,
    reply: &mut Reply,
) -> Result<(), String> {
    let id = client.session.borrow().id;
    let proto = reply.proto();
    client.session.borrow_mut().executing = Some(commands.len());
    let caller = Caller {
        client: id,
        proto,
        watched,
    };
    let ended = match BatchRun::new(shell, &commands, watched) {
        Err(refusal) => Ended::Refused(refusal.to_string()),
        Ok(batch) => {
            let only_keys = commands
                .iter()
                .all(|command| is_key_command(&shell.shared.commands, command));
            match batch.only_place() {
                Some(place) if only_keys && !may_chain(shell) => {
                    run_in_one_place(shell, caller, place, &commands).await
                }
                _ => run_batch(shell, client, caller, batch, &commands).await,
            }
        }
    };
    client.session.borrow_mut().executing = None;
    let ran = match ended {
        Ended::Done(_) => &commands[..],
        _ => &[],
    };
    monitors::show_executed(shell, client, ran, exec);
    unwatch(shell, client, watched).await;
    match ended {
        Ended::Done(replies) => {
            reply.array(replies.len());
            replies.iter().for_each(|part| reply.raw(part));
        }
        Ended::CalledOff => reply.null_array(),
        Ended::Refused(text) => reply.error(&text),
        Ended::Unknown(text) => return Err(text),
    }
    Ok(())
}

/// Runs the commands of a transaction one after another under a batch that holds all their keys.
async fn run_batch(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    caller: Caller<'_>,
    batch: BatchRun,
    commands: &[QueuedCommand],
) -> Ended<Vec<Vec<u8>>> {
    let watcher = (!caller.watched.is_empty()).then_some(caller.client);
    let batch = match hold_with_ends(shell, batch, (commands, caller.watched), watcher).await {
        Ok(batch) => batch,
        Err(Ended::Refused(text)) => return Ended::Refused(text),
        Err(Ended::Unknown(text)) => return Ended::Unknown(text),
        Err(_) => return Ended::CalledOff,
    };
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let mut reply = Reply::new(client.session.borrow().proto);
        let start_ns = shell.lane.borrow().clock.instant_ns();
        let ran = run_one(shell, client, caller, batch.id, command, &mut reply).await;
        let took_ns = shell.lane.borrow().clock.instant_ns().saturating_sub(start_ns);
        with_args(&command.args, |args| shell.keep_if_slow(client, args, took_ns));
        let delivered = match ran {
            Ok(()) => deliver_within(shell, &batch).await,
            failed => failed,
        };
        match delivered {
            Ok(()) => replies.push(reply.take()),
            Err(text) => {
                // Parts that are not committed vanish when their partitions are told that the batch is void.
                drop(batch.commit(shell).await);
                return Ended::Unknown(text);
            }
        }
    }
    match batch.commit(shell).await {
        Ended::Done(()) => Ended::Done(replies),
        Ended::Unknown(text) => Ended::Unknown(text),
        Ended::CalledOff => Ended::CalledOff,
        Ended::Refused(text) => Ended::Refused(text),
    }
}

/// One command of a transaction.
pub(super) async fn run_one(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
    reply: &mut Reply,
) -> Result<(), String> {
    let entry = shell.shared.commands.get(command.id);
    match entry.run {
        Run::Owner { key, .. } => {
            let key = command.args.get(key).map_or(&[][..], |key| key);
            let Some(place) = shell.shared.directory.place(key) else {
                reply.error(no_business());
                return Ok(());
            };
            let mut hop = Hop::new(caller.client, reply.proto(), Some(batch));
            hop.push(
                command.id,
                place.home.place,
                false,
                command.args.iter().map(|arg| &**arg),
            );
            match ask(shell, place.home.lane, LaneRequest::Execute(hop)).await {
                Answer::Parts(parts) => reply.raw(parts.get(0)),
                Answer::Unknown(text) => return Err(text),
                _ => reply.error(UNEXPECTED_ANSWER),
            }
        }
        Run::Split {
            atomic: Some(_),
            merge,
            ..
        } => {
            match run_groups(shell, caller, batch, command).await {
                Ended::Done(()) => crate::command::write_outcome(merge, true, reply),
                Ended::CalledOff => crate::command::write_outcome(merge, false, reply),
                Ended::Refused(text) => reply.error(&text),
                Ended::Unknown(text) => return Err(text),
            };
        }
        Run::Split { step, merge, .. } => {
            let mut parts = Vec::new();
            for group in command.args.get(1..).unwrap_or(&[]).chunks(step) {
                let key = group.first().map_or(&[][..], |key| key);
                let Some(place) = shell.shared.directory.place(key) else {
                    continue;
                };
                let mut hop = Hop::new(caller.client, reply.proto(), Some(batch));
                hop.push(command.id, place.home.place, true, group.iter().map(|arg| &**arg));
                match ask(shell, place.home.lane, LaneRequest::Execute(hop)).await {
                    Answer::Parts(found) => parts.push(found.get(0).to_vec()),
                    Answer::Unknown(text) => return Err(text),
                    _ => parts.push(b"-ERR internal: unexpected answer\r\n".to_vec()),
                }
            }
            let group: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let mut joined = Vec::new();
            super::turn::join(merge, &group, &mut joined);
            reply.raw(&joined);
        }
        Run::Report { kinds, render } => {
            let reports = gather_reports(shell, kinds).await;
            render_now(shell, client, &command.args, &reports, render, reply);
        }
        Run::Session(handler) => {
            let handled = {
                let mut session = client.session.borrow_mut();
                with_context(shell, &mut session, |context| {
                    with_args(&command.args, |args| handler(context, args, reply))
                })
            };
            match handled {
                Ok(()) => {}
                Err(SessionStop::Refused(refusal)) => reply.error(&refusal),
                Err(SessionStop::Plan(plan)) => {
                    let mut none = Vec::new();
                    return Box::pin(run(
                        shell,
                        client,
                        *plan,
                        &command.args,
                        &mut none,
                        Some(batch),
                        reply,
                    ))
                    .await;
                }
            }
        }
    }
    Ok(())
}

/// Tells of a rule that the command has made or removed.
fn note_rule(shell: &LaneShell, args: &[Box<[u8]>], reply: &Reply) {
    let [command, source, destination, ..] = args else {
        return;
    };
    let (of_source, of_destination) = match command.to_ascii_uppercase().as_slice() {
        b"TS.CREATERULE" => ("ts.createrule:src", "ts.createrule:dest"),
        b"TS.DELETERULE" => ("ts.deleterule:src", "ts.deleterule:dest"),
        _ => return,
    };
    if reply.as_bytes().first() == Some(&b'+') {
        notices::note(shell, EventClasses::MODULE, of_source, source);
        notices::note(shell, EventClasses::MODULE, of_destination, destination);
    }
}

async fn batch_flush(
    shell: &Rc<LaneShell>,
    client: u64,
    triples: Vec<Box<[u8]>>,
    reply: &mut Reply,
) -> Result<(), String> {
    let count = triples.len() / 3;
    let Some(id) = shell.shared.commands.find(b"TSDB_MSET") else {
        reply.error("ERR BATCH_FLUSH needs TSDB_MSET, which is disabled");
        return Ok(());
    };
    let mut args: Vec<Box<[u8]>> = vec![b"TSDB_MSET"[..].into()];
    args.extend(triples);
    let command = QueuedCommand { id, args };
    let caller = Caller {
        client,
        proto: reply.proto(),
        watched: &[],
    };
    let batch = match BatchRun::new(shell, std::slice::from_ref(&command), &[]) {
        Ok(batch) => batch,
        Err(refusal) => {
            reply.error(&refusal);
            return Ok(());
        }
    };
    let ended = match batch.only_place() {
        Some(place) => match run_in_one_place(shell, caller, place, std::slice::from_ref(&command)).await {
            Ended::Done(replies) => match replies.first().filter(|part| part.first() == Some(&b'-')) {
                Some(error) => {
                    reply.raw(error);
                    return Ok(());
                }
                None => Ended::Done(()),
            },
            Ended::CalledOff => Ended::CalledOff,
            Ended::Refused(text) => Ended::Refused(text),
            Ended::Unknown(text) => Ended::Unknown(text),
        },
        None => run_split(shell, caller, &command).await,
    };
    match ended {
        Ended::Done(()) => reply.integer(count as i64),
        Ended::CalledOff => reply.integer(0),
        Ended::Refused(text) => reply.error(&text),
        Ended::Unknown(text) => return Err(text),
    }
    Ok(())
}

/// Stretches of partitions that one SCAN looks at, if they are all shorter than its COUNT.
const SCAN_STEPS_MAX: usize = 256;

async fn scan(shell: &Rc<LaneShell>, cursor: u64, count: usize, filter: KeyFilter, reply: &mut Reply) {
    let started_s = (shell.lane.borrow().clock.now_ms() / 1000) as u32;
    let begin = Walk {
        lane: 0,
        place: 0,
        position: None,
        started_s,
    };
    let known =
        if cursor != 0 && lane_of(cursor) != shell.id() && lane_of(cursor) < shell.shared.directory.lanes() {
            match ask(shell, lane_of(cursor), LaneRequest::FindCursor(cursor)).await {
                Answer::Walk(walk) => walk,
                _ => None,
            }
        } else {
            shell.scan_cursors.borrow().find(cursor)
        };
    let mut walk = if cursor == 0 {
        begin
    } else {
        known.unwrap_or(begin)
    };
    let mut found = Vec::new();
    let mut next = None;
    let is_plain = filter.pattern.is_none() && filter.key_type.is_none();
    // Small partitions share a call, within reason: a walk over few keys ends in its first call, as clients know it.
    for _ in 0..SCAN_STEPS_MAX {
        let left = count.saturating_sub(found.len());
        match scan_step(shell, &mut walk, left, &filter).await {
            Err(text) => {
                reply.error(&text);
                return;
            }
            Ok(keys) => found.extend(keys),
        }
        next = (walk.lane < shell.shared.directory.lanes()).then(|| walk.clone());
        let goes_on = walk.is_at_a_beginning() || (is_plain && found.is_empty());
        if next.is_none() || found.len() >= count || !goes_on {
            break;
        }
    }
    let cursor = next.map_or(0, |walk| shell.scan_cursors.borrow_mut().keep(shell.id(), walk));
    reply.array(2);
    reply.bulk_display(cursor);
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
}

/// One step of a walk; moves it to the next partition or lane at the end of one.
async fn scan_step(
    shell: &Rc<LaneShell>,
    walk: &mut Walk,
    count: usize,
    filter: &KeyFilter,
) -> Result<Vec<Box<[u8]>>, String> {
    let directory = &shell.shared.directory;
    while walk.lane < directory.lanes() && walk.place >= directory.plan(walk.lane).len() {
        *walk = Walk {
            lane: walk.lane + 1,
            place: 0,
            position: None,
            started_s: walk.started_s,
        };
    }
    if walk.lane >= directory.lanes() {
        return Ok(Vec::new());
    }
    let step = ScanStep {
        place: walk.place,
        position: walk.position.take(),
        count,
        filter: filter.clone(),
        started_s: walk.started_s,
    };
    match ask(shell, walk.lane, LaneRequest::Scan(step)).await {
        Answer::Keys(keys, position) => {
            if position.is_none() {
                walk.place += 1;
                while walk.lane < directory.lanes() && walk.place >= directory.plan(walk.lane).len() {
                    (walk.lane, walk.place) = (walk.lane + 1, 0);
                }
            }
            walk.position = position;
            Ok(keys)
        }
        Answer::Refused(text) => Err(text),
        _ => Err(UNEXPECTED_ANSWER.into()),
    }
}

async fn keys(shell: &Rc<LaneShell>, filter: KeyFilter, reply: &mut Reply) {
    let started_s = (shell.lane.borrow().clock.now_ms() / 1000) as u32;
    let mut walk = Walk {
        lane: 0,
        place: 0,
        position: None,
        started_s,
    };
    let mut all = std::collections::BTreeSet::new();
    while walk.lane < shell.shared.directory.lanes() {
        match scan_step(shell, &mut walk, KEYS_STEP, &filter).await {
            Ok(keys) => all.extend(keys),
            Err(text) => {
                reply.error(&text);
                return;
            }
        }
    }
    reply.array(all.len());
    all.iter().for_each(|key| reply.bulk(key));
}

async fn random_key(shell: &Rc<LaneShell>, reply: &mut Reply) {
    let reports = gather_reports(shell, ReportKinds::BASIC).await;
    let total: u64 = reports.partitions().map(|(_, partition)| partition.keys).sum();
    for _ in 0..4 {
        let mut pick = fastrand::u64(..total.max(1));
        for lane in &reports.lanes {
            for (place, partition) in lane.partitions.iter().enumerate() {
                if pick < partition.keys {
                    let request = LaneRequest::RandomKey { place };
                    if let Answer::Keys(keys, _) = ask(shell, lane.lane, request).await
                        && let Some(key) = keys.first()
                    {
                        reply.bulk(key);
                        return;
                    }
                }
                pick = pick.wrapping_sub(partition.keys);
                if pick > total {
                    break;
                }
            }
        }
    }
    reply.null();
}

async fn keys_in_slot(shell: &Rc<LaneShell>, slot: u16, limit: Option<usize>, reply: &mut Reply) {
    let answers = ask_all(shell, |_| LaneRequest::KeysInSlot { slot, limit }).await;
    let (mut count, mut all) = (0, Vec::new());
    for answer in answers {
        match answer {
            Answer::Count(found) => count += found,
            Answer::Keys(keys, _) => all.extend(keys),
            _ => {}
        }
    }
    match limit {
        None => reply.integer(count as i64),
        Some(limit) => {
            all.truncate(limit);
            reply.array(all.len());
            all.iter().for_each(|key| reply.bulk(key));
        }
    }
}

async fn flush(shell: &Rc<LaneShell>, batch: Option<BatchId>, reply: &mut Reply) -> Result<(), String> {
    for answer in ask_all(shell, |_| LaneRequest::Flush(batch)).await {
        match answer {
            Answer::Unknown(text) => return Err(text),
            Answer::Refused(text) => {
                reply.error(&text);
                return Ok(());
            }
            _ => {}
        }
    }
    reply.ok();
    Ok(())
}
