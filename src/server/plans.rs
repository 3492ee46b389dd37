//! Carrying out what session handlers have planned.

use std::rc::Rc;
use std::time::Duration;

use crate::command::plan::{OrderAnswer, Plan};
use crate::command::{Order, Render, ReportKinds, Reports, Session, SessionContext};
use crate::lane::EventClasses;
use crate::lane::journal::BatchId;
use crate::resp::{Args, Reply, Span};

use super::client::ClientHandle;
use super::exec::{batch_flush, transaction, unwatch, watch};
use super::lane_shell::LaneShell;
use super::message::{Answer, LaneRequest};
use super::requests::ask_all;
use super::rule_plans::{self, RuleCaller};
use super::{dumps, follow, gather, lifecycle, notices, transfer, walks};

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
    let caller = RuleCaller {
        shell,
        client,
        within: batch,
    };
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
            return transfer::transfer(shell, batch, (&source, &target), kind, reply).await;
        }
        Plan::Scan {
            cursor,
            count,
            filter,
        } => walks::scan(shell, cursor, count, filter, reply).await,
        Plan::Keys(filter) => walks::keys(shell, filter, reply).await,
        Plan::RandomKey => walks::random_key(shell, reply).await,
        Plan::KeysInSlot { slot, count_max } => walks::keys_in_slot(shell, slot, count_max, reply).await,
        Plan::Flush => return flush(shell, batch, reply).await,
        Plan::Order { order, answer } => give_order(shell, order, answer, reply).await,
        Plan::Save { background } => save(shell, background, reply).await,
        Plan::Report { kinds, render } => {
            let reports = gather_reports(shell, kinds).await;
            render_now(shell, client, args, &reports, render, reply);
        }
        Plan::Gather(plan) => return gather::gather(shell, client, plan, args, batch, reply).await,
        Plan::CreateRule(new) => {
            rule_plans::create(caller, &new, reply).await?;
            note_rule(shell, args, reply);
        }
        Plan::DeleteRule { source, destination } => {
            rule_plans::delete(caller, (&source, &destination), reply).await?;
            note_rule(shell, args, reply);
        }
        Plan::Follow(plan) => return follow::follow(shell, client, plan, batch, reply).await,
        Plan::DumpLatency => dump_latency(shell, reply).await,
        Plan::Shutdown => shut_down(client, reply),
        Plan::Sleep { milliseconds } => {
            glommio::timer::sleep(Duration::from_millis(milliseconds)).await;
            reply.ok();
        }
    }
    Ok(())
}

/// Gives every lane an order, and answers as it wants.
async fn give_order(shell: &Rc<LaneShell>, order: Order, answer: OrderAnswer, reply: &mut Reply) {
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

/// SAVE, BGSAVE: a checkpoint of everything.
async fn save(shell: &Rc<LaneShell>, background: bool, reply: &mut Reply) {
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

fn shut_down(client: &ClientHandle, reply: &mut Reply) {
    lifecycle::request_stop();
    client.session.borrow_mut().closing = true;
    reply.ok();
}

async fn dump_latency(shell: &Rc<LaneShell>, reply: &mut Reply) {
    match dumps::dump(shell).await {
        Ok(files) => reply.bulk(files.as_bytes()),
        Err(error) => reply.error(format_args!("ERR latency dump failed: {error}")),
    }
}

/// Deletes everything, everywhere.
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

/// Shows owned arguments as a handler sees them.
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

/// Shows a session as its handlers see it.
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
    })
}

/// Has a report command make its reply of what the lanes have reported.
pub(super) fn render_now(
    shell: &Rc<LaneShell>,
    client: &ClientHandle,
    args: &[Box<[u8]>],
    reports: &Reports,
    render: Render,
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
