//! Running commands on the lane that owns their keys: shared by local turns, hops and batches.

use crate::lane::journal::BatchId;
use crate::lane::{FETCHED_KEYS_MAX, Handled, Partition, SOUGHT_KEYS_MAX, Stop, Wait};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

use super::{Call, Command, Flags, KeyCheck, KeyHandler, Merge, Run};

/// Ranges that one group may find gone from RocksDB's memory since it was found ready: the newest sample, and that at
/// its timestamp.
const READS_ON_THE_SPOT_MAX: usize = 4;

/// True if a batch other than `batch` holds a key of this command: it has to wait.
#[inline]
pub fn is_key_held(partition: &Partition, key: &[u8], batch: Option<BatchId>) -> bool {
    !partition.batches.holds_nothing() && partition.batches.is_held(key, batch)
}

/// Lets a command that makes data grow wait while its partition's checkpoint is behind. Not for who holds keys, nor for
/// deliveries: the checkpoint may be waiting for them.
///
/// # Errors
/// As [`Partition::admit_write`].
#[inline]
pub fn admit_write(partition: &mut Partition, command: &Command, now_ms: i64) -> Handled {
    match command.flags.has(Flags::DENY_ON_FULL) {
        true => partition.admit_write(now_ms),
        false => Ok(()),
    }
}

/// Runs a single-key command. A stop leaves nothing written.
///
/// # Errors
/// What the handler says; `Wait::Held` if a batch holds the key.
#[inline]
pub fn execute_one(
    partition: &mut Partition,
    (name, handler): (&str, KeyHandler),
    key: &[u8],
    call: &Call<'_>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Handled {
    if is_key_held(partition, key, batch) {
        return Err(Stop::Wait(Wait::Held));
    }
    let start = reply.len();
    match handle(partition, (name, handler), key, call, reply) {
        Ok(()) => Ok(()),
        Err(stop) => {
            reply.truncate(start);
            Err(stop)
        }
    }
}

/// As [`execute_one`], for a group of a split command all of whose groups were found ready: those before it have run,
/// so it cannot wait any more. What has left RocksDB's memory since is read on the spot.
///
/// # Errors
/// As [`execute_one`].
pub fn execute_ready(
    partition: &mut Partition,
    handler: (&str, KeyHandler),
    key: &[u8],
    call: &Call<'_>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Handled {
    for _ in 0..READS_ON_THE_SPOT_MAX {
        match execute_one(partition, handler, key, call, batch, reply) {
            Err(Stop::Wait(Wait::Warm(job))) => partition.keep_warmed(job.warm()?, call.now_ms),
            outcome => return outcome,
        }
    }
    execute_one(partition, handler, key, call, batch, reply)
}

/// Calls the handler, and notes what it has done to the key if somebody listens.
#[inline]
fn handle(
    partition: &mut Partition,
    (name, handler): (&str, KeyHandler),
    key: &[u8],
    call: &Call<'_>,
    reply: &mut Reply,
) -> Handled {
    let recorded_bytes = partition.is_listened_to().then(|| partition.recorded_bytes());
    handler(partition, call, reply)?;
    if recorded_bytes.is_some_and(|before| partition.recorded_bytes() > before) {
        super::events::note(partition, name, key, call);
    }
    Ok(())
}

/// Runs a split command all of whose keys live in `partition`, as one. A stop leaves nothing written.
///
/// # Errors
/// What the handler says of a group; `Wait::Held` if a batch holds a key; arguments that are no whole groups.
pub fn execute_split(
    partition: &mut Partition,
    command: &Command,
    call: &Call<'_>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Handled {
    let Run::Split {
        step,
        handler,
        merge,
        atomic,
        prepare,
        together,
    } = command.run
    else {
        return Err(Refusal::text("ERR internal: not a split command").into());
    };
    if !command.has_whole_groups(call.args.len()) {
        return Err(command.arity_error().into());
    }
    let groups = call.args.from(1);
    if !partition.batches.holds_nothing() {
        for index in (0..groups.len()).step_by(step) {
            if partition.batches.is_held(groups.get(index), batch) {
                return Err(Stop::Wait(Wait::Held));
            }
        }
    }
    let all = Call {
        args: groups,
        ..*call
    };
    // Whoever listens hears of every group by itself.
    if let Some(together) = together.filter(|_| !partition.is_listened_to())
        && together(partition, &all, reply)?
    {
        return Ok(());
    }
    let starts = (0..groups.len()).step_by(step).take(SOUGHT_KEYS_MAX);
    partition.fetch_keys(starts.map(|start| groups.get(start)));
    // Every group can run before the first one does: a command that stops halfway would leave a trace.
    if partition.has_stored_keys() {
        for index in (0..groups.len()).step_by(step) {
            partition.warm(groups.get(index))?;
        }
    }
    if let Some(prepare) = prepare {
        check_groups(partition, prepare, step, &all)?;
    }
    let start = reply.len();
    if let Some(check) = atomic
        && !check_groups(partition, check, step, &all)?
    {
        write_outcome(merge, false, reply);
        return Ok(());
    }
    run_groups(
        partition,
        (command.name, handler),
        (step, merge),
        &all,
        batch,
        reply,
    )
    .inspect_err(|_| reply.truncate(start))
}

/// Shows the groups of `step` arguments to `see`, until it has seen enough (`Ok(false)`). What their keys touch is fetched
/// a few groups ahead.
///
/// # Errors
/// What `see` says.
#[inline]
pub fn each_group<'a>(
    partition: &mut Partition,
    groups: Args<'a>,
    step: usize,
    mut see: impl FnMut(&mut Partition, Args<'a>) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    let window = FETCHED_KEYS_MAX * step;
    for start in (0..groups.len()).step_by(window) {
        let ahead = groups.range(start..groups.len().min(start + window));
        let starts = || (0..ahead.len()).step_by(step);
        partition.fetch_keys(starts().map(|start| ahead.get(start)));
        for start in starts() {
            if !see(partition, ahead.range(start..start + step))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Runs the groups of a split command one after the other and makes one reply of theirs.
#[inline]
fn run_groups(
    partition: &mut Partition,
    handler: (&str, KeyHandler),
    (step, merge): (usize, Merge),
    call: &Call<'_>,
    batch: Option<BatchId>,
    reply: &mut Reply,
) -> Handled {
    let groups = call.args;
    let is_array = matches!(merge, Merge::Array | Merge::Each);
    if is_array {
        reply.array(groups.len() / step);
    }
    let mut sum = 0;
    for index in (0..groups.len()).step_by(step) {
        let before = reply.len();
        let args = groups.range(index..index + step);
        let group = Call { args, ..*call };
        execute_ready(partition, handler, groups.get(index), &group, batch, reply)?;
        if !is_array {
            sum += integer_reply(reply, before);
            reply.truncate(before);
        }
    }
    match merge {
        Merge::Array | Merge::Each => {}
        Merge::Sum => reply.integer(sum),
        Merge::Ok | Merge::OneIfDone => write_outcome(merge, true, reply),
    }
    Ok(())
}

/// Checks every group; `Ok(false)` if one of them calls the command off.
fn check_groups(
    partition: &mut Partition,
    check: KeyCheck,
    step: usize,
    call: &Call<'_>,
) -> Result<bool, Stop> {
    for index in (0..call.args.len()).step_by(step) {
        let args = call.args.range(index..index + step);
        if !check(partition, &Call { args, ..*call })? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The reply of an atomic split command that was applied, or called off.
pub fn write_outcome(merge: Merge, done: bool, reply: &mut Reply) {
    match (merge, done) {
        (Merge::OneIfDone, done) => reply.integer(i64::from(done)),
        _ => reply.ok(),
    }
}

/// The integer that a group's handler has replied, 0 if it replied something else.
pub fn integer_reply(reply: &Reply, start: usize) -> i64 {
    let text = reply
        .as_bytes()
        .get(start..)
        .and_then(|bytes| bytes.strip_prefix(b":"));
    let text = text.and_then(|text| text.strip_suffix(b"\r\n"));
    text.and_then(crate::resp::number::parse_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_run::run;
    use crate::lane::test_support::test_partition;
    use crate::lane::{Committed, RangeQuery};
    use crate::resp::Args;
    use crate::series::EncodeScratch;

    /// A handler that needs what is sealed of the series.
    fn look(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
        let found = partition.find_series(call.args.get(0), 0, call.now_ms)?;
        let member = found.ok_or(Refusal::NoSuchKey)?;
        let all = RangeQuery {
            from: i64::MIN,
            to: i64::MAX,
            limit: usize::MAX,
            reverse: false,
        };
        reply.integer(partition.read_samples(member, all)?.len() as i64);
        Ok(())
    }

    #[test]
    fn a_ready_group_reads_on_the_spot_what_has_left_memory_since() {
        let mut partition = test_partition();
        for timestamp in 1..=100 {
            run(&mut partition, &format!("TSDB_SET s {timestamp} 1.5"));
        }
        let member = partition.find_series(b"s", 0, 0).ok().flatten().unwrap();
        partition.request_seal(member);
        let committed = partition.commit(&mut EncodeScratch::default());
        assert!(matches!(committed, Committed::Written { .. }));
        partition.database().flush_journal().unwrap();
        let (buffer, spans) = (b"s", [crate::resp::request::Span { start: 0, end: 1 }]);
        let call = Call {
            args: Args::new(buffer, &spans),
            now_ms: 0,
            now_us: 0,
        };
        let mut reply = Reply::new(crate::resp::Proto::Resp2);
        let waits = execute_one(&mut partition, ("LOOK", look), b"s", &call, None, &mut reply);
        assert!(
            matches!(waits, Err(Stop::Wait(Wait::Warm(_)))),
            "it is on disk only"
        );
        let done = execute_ready(&mut partition, ("LOOK", look), b"s", &call, None, &mut reply);
        assert!(done.is_ok());
        assert_eq!(reply.as_bytes(), b":100\r\n");
    }
}
