//! TS.READ: reading a series from a point on, and waiting at its owner until there is more.
//!
//! The connection's lane asks; the owner's lane waits, a second at a time, so that a client that goes away leaves
//! nothing waiting for long.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::business::Place;
use crate::command::plan::FollowPlan;
use crate::command::{CommandId, decode_cursor, decode_read};
use crate::lane::journal::BatchId;
use crate::resp::Reply;

use super::client::ClientHandle;
use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest};
use super::requests::{ask, with_partition};
use super::sockets;
use super::transaction::no_business;

/// The owner waits so long before it answers that nothing has changed.
const WAIT_MS_MAX: u64 = 1_000;

/// What CLIENT UNBLOCK ... ERROR makes of a waiting command.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// Where the connection and the series are.
struct Follower<'a> {
    shell: &'a Rc<LaneShell>,
    client: u64,
    batch: Option<BatchId>,
    place: Place,
    plan: &'a FollowPlan,
}

/// Carries the plan out and writes its reply.
///
/// # Errors
/// The reply, when the storage failed midway and the connection has to be closed after it.
pub async fn follow(
    shell: &Rc<LaneShell>,
    client: &Rc<ClientHandle>,
    plan: FollowPlan,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Result<(), String> {
    let Some(place) = shell.shared.directory.place(&plan.key) else {
        reply.error(no_business());
        return Ok(());
    };
    let follower = Follower {
        shell,
        client: client.session.borrow().id,
        batch,
        place,
        plan: &plan,
    };
    let outcome = follower.run(client, reply).await;
    client.session.borrow_mut().blocked = false;
    client.unblocked.set(None);
    match outcome {
        Ok(()) => Ok(()),
        Err(Failure::Refused(text)) => {
            reply.raw(&text);
            Ok(())
        }
        Err(Failure::Unknown(text)) => Err(text),
    }
}

enum Failure {
    /// This is the reply.
    Refused(Vec<u8>),
    /// The connection has to be closed after this reply.
    Unknown(String),
}

impl Follower<'_> {
    async fn run(&self, client: &ClientHandle, reply: &mut Reply) -> Result<(), Failure> {
        let cursor = self
            .execute(self.plan.resolve, &[&self.plan.cursor], reply)
            .await?;
        let (from, mut was_there) = decode_cursor(&cursor).unwrap_or((0, false));
        let (wait_ms, count_min) = self.plan.wait.unwrap_or((0, 0));
        let now_ms = || self.shell.lane.borrow().clock.now_ms();
        let deadline_ms = match (self.plan.wait, wait_ms) {
            (Some(_), 0) => i64::MAX,
            _ => now_ms().saturating_add(wait_ms as i64),
        };
        let mut blocked = None;
        loop {
            let count = self.plan.count_max.to_string();
            let args = [from.to_string().into_bytes(), count.into_bytes()];
            let answer = self.execute(self.plan.read, &[&args[0], &args[1]], reply).await?;
            let (count, found) = decode_read(&answer).unwrap_or((None, b"*0\r\n"));
            let is_gone = was_there && count.is_none();
            was_there = was_there || count.is_some();
            let left_ms = deadline_ms.saturating_sub(now_ms());
            let is_enough = self.plan.wait.is_none() || count.is_some_and(|count| count >= count_min);
            // Only a read that would have to wait is refused in a transaction.
            if !is_enough && self.batch.is_some() {
                reply.error(crate::command::READ_DENIED);
                return Ok(());
            }
            let unblocked = client.unblocked.take();
            if unblocked == Some(true) {
                reply.error(UNBLOCKED);
                return Ok(());
            }
            if is_enough
                || is_gone
                || unblocked.is_some()
                || left_ms <= 0
                || self.shell.stopping.get()
                || client.killed.get()
                || sockets::is_closed(client.file_descriptor)
            {
                reply.raw(found);
                return Ok(());
            }
            let request = LaneRequest::AwaitChange {
                place: self.place.home.place,
                key: self.plan.key.clone(),
                seen: count.map(|count| count as u64),
                from,
                wait_ms: (left_ms as u64).min(WAIT_MS_MAX),
            };
            blocked.get_or_insert_with(|| self.shell.shared.connections.block());
            client.session.borrow_mut().blocked = true;
            self.await_change_or_order(client, request).await;
        }
    }

    /// Waits until the owner has answered, or until the client is to wait no longer: then the answer is left to itself.
    async fn await_change_or_order(&self, client: &ClientHandle, request: LaneRequest) {
        let (shell, lane) = (self.shell.clone(), self.place.home.lane);
        let asked = glommio::spawn_local(async move {
            ask(&shell, lane, request).await;
        });
        let answered = asked.detach();
        let ordered = poll_fn(|context| {
            let is_over = client.unblocked.get().is_some() || client.killed.get();
            let polled = if is_over { Poll::Ready(()) } else { Poll::Pending };
            client.wait_if(context, polled)
        });
        let answered = async {
            answered.await;
        };
        futures_lite::future::or(answered, ordered).await;
    }

    /// Runs an internal command on the owner of the key.
    async fn execute(&self, id: CommandId, args: &[&[u8]], reply: &Reply) -> Result<Vec<u8>, Failure> {
        let mut hop = Hop::new(self.client, reply.proto(), self.batch);
        let args = [&b"TS.READ"[..], &self.plan.key]
            .into_iter()
            .chain(args.iter().copied());
        hop.push(id, self.place.home.place, false, args);
        match ask(self.shell, self.place.home.lane, LaneRequest::Execute(hop)).await {
            Answer::Parts(parts) if parts.get(0).first() == Some(&b'-') => {
                Err(Failure::Refused(parts.get(0).to_vec()))
            }
            Answer::Parts(parts) => Ok(parts.get(0).to_vec()),
            Answer::Unknown(text) => Err(Failure::Unknown(text)),
            Answer::Refused(text) => Err(Failure::Refused(format!("-{text}\r\n").into_bytes())),
            _ => Err(Failure::Refused(b"-ERR internal: unexpected answer\r\n".to_vec())),
        }
    }
}

/// Waits until the series at `key` has been written, created or deleted, or for `wait_ms`.
pub async fn await_change(
    shell: &Rc<LaneShell>,
    place: usize,
    key: &[u8],
    (seen, from): (Option<u64>, i64),
    wait_ms: u64,
) -> Answer {
    let state = |shell: &Rc<LaneShell>| {
        let mut lane = shell.lane.borrow_mut();
        let now_ms = lane.clock.now_ms();
        let partition = lane.partition(place).ok()?;
        let (_, member) = partition.find_plain_series(key, now_ms).ok()??;
        let series = partition.series_at(member);
        Some((series.id, series.sample_count(), series.newest_timestamp()))
    };
    // What has been written since the client's lane looked counts at once.
    let found = with_partition(shell, place, |partition, now_ms| {
        let Some((_, member)) = partition.find_plain_series(key, now_ms)? else {
            return Ok(None);
        };
        let newer = crate::lane::RangeQuery {
            from,
            to: i64::MAX,
            limit: seen.map_or(1, |seen| seen.saturating_add(1)) as usize,
            reverse: false,
        };
        Ok(Some(partition.read_samples(member, newer)?.len() as u64))
    });
    if found.await.is_ok_and(|found| found != seen) {
        return Answer::Flag(true);
    }
    let before = state(shell);
    let timer = glommio::timer::sleep(Duration::from_millis(wait_ms));
    let changed = shell.commits.wait_until(|| state(shell) != before);
    futures_lite::future::or(timer, changed).await;
    Answer::Flag(true)
}
