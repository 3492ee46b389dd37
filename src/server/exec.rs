//! EXEC, BATCH_FLUSH and WATCH: commands that were gathered, run as one.

use std::rc::Rc;

use crate::command::{Merge, QueuedCommand, Run, SessionHandler, SessionStop, write_outcome};
use crate::lane::journal::BatchId;
use crate::resp::Reply;

use super::client::ClientHandle;
use super::exec_rules::{deliver_within, hold_with_ends, may_chain};
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest, UNEXPECTED_ANSWER};
use super::monitors;
use super::plans::{self, gather_reports, render_now, with_args, with_context};
use super::requests::{ask, ask_all};
use super::transaction::{
    BatchRun, Caller, Ended, is_key_command, no_business, run_groups, run_in_one_place, run_split,
};
use super::turn::join;

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

/// Has the lanes of `keys` watch them for a client, which has `watched` others already.
pub(super) async fn watch(
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

/// Runs the commands of a transaction, begun by `exec`, and writes the reply of it.
///
/// # Errors
/// As [`plans::run`].
pub(super) async fn transaction(
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
///
/// # Errors
/// As [`plans::run`].
pub(super) async fn run_one(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
    reply: &mut Reply,
) -> Result<(), String> {
    let entry = shell.shared.commands.get(command.id);
    if !entry.has_whole_groups(command.args.len()) {
        reply.error(entry.arity_error());
        return Ok(());
    }
    match entry.run {
        Run::Owner { key, .. } => run_on_owner(shell, caller, batch, command, key, reply).await?,
        Run::Split {
            atomic: Some(_),
            merge,
            ..
        } => match run_groups(shell, caller, batch, command).await {
            Ended::Done(()) => write_outcome(merge, true, reply),
            Ended::CalledOff => write_outcome(merge, false, reply),
            Ended::Refused(text) => reply.error(&text),
            Ended::Unknown(text) => return Err(text),
        },
        Run::Split { step, merge, .. } => {
            run_each_group(shell, caller, batch, command, (step, merge), reply).await?;
        }
        Run::Report { kinds, render } => {
            let reports = gather_reports(shell, kinds).await;
            render_now(shell, client, &command.args, &reports, render, reply);
        }
        Run::Session(handler) => run_session(shell, client, batch, command, handler, reply).await?,
    }
    Ok(())
}

/// A command of one key, whose index is `key`.
async fn run_on_owner(
    shell: &Rc<LaneShell>,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
    key: usize,
    reply: &mut Reply,
) -> Result<(), String> {
    let key = command.args.get(key).map_or(&[][..], |key| key);
    let Some(place) = shell.shared.directory.place(key) else {
        reply.error(no_business());
        return Ok(());
    };
    let mut hop = Hop::new(caller.client, reply.proto(), Some(batch));
    let args = command.args.iter().map(|arg| &**arg);
    hop.push(command.id, place.home.place, false, args);
    match ask(shell, place.home.lane, LaneRequest::Execute(hop)).await {
        Answer::Parts(parts) => reply.raw(parts.get(0)),
        Answer::Unknown(text) => return Err(text),
        _ => reply.error(UNEXPECTED_ANSWER),
    }
    Ok(())
}

/// A split command that is not atomic by itself: group by group.
async fn run_each_group(
    shell: &Rc<LaneShell>,
    caller: Caller<'_>,
    batch: BatchId,
    command: &QueuedCommand,
    (step, merge): (usize, Merge),
    reply: &mut Reply,
) -> Result<(), String> {
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
    join(merge, &group, &mut joined);
    reply.raw(&joined);
    Ok(())
}

/// A command that touches no key, or ends in a plan that does.
async fn run_session(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    batch: BatchId,
    command: &QueuedCommand,
    handler: SessionHandler,
    reply: &mut Reply,
) -> Result<(), String> {
    let handled = {
        let mut session = client.session.borrow_mut();
        with_context(shell, &mut session, |context| {
            with_args(&command.args, |args| handler(context, args, reply))
        })
    };
    match handled {
        Ok(()) => Ok(()),
        Err(SessionStop::Refused(refusal)) => {
            reply.error(&refusal);
            Ok(())
        }
        Err(SessionStop::Plan(plan)) => {
            let (args, mut watched) = (&command.args, Vec::new());
            let run = plans::run(shell, client, *plan, args, &mut watched, Some(batch), reply);
            Box::pin(run).await
        }
    }
}

/// Writes gathered triples, all or none.
///
/// # Errors
/// As [`plans::run`].
pub(super) async fn batch_flush(
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
