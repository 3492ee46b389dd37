//! What internal commands answer: for each series a key and some bytes, made into one reply by the connection's lane.

use crate::aggregate::Rows;
use crate::command::plan::{Collect, KeysOfRounds, Rounds};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::{Gather, GatherRequest, GatherTarget, Plan, QueuedCommand};
use crate::resp::{Args, Reply};

/// First byte of every answer: a refusal begins with a minus sign.
const MARK: u8 = b'.';
/// Arguments of an internal command before those of the command it belongs to: its name, its key.
pub const OWN_ARGS: usize = 2;

/// Begins an answer.
pub fn begin(reply: &mut Reply) {
    reply.raw(&[MARK]);
}

/// Adds one series to an answer.
pub fn push(reply: &mut Reply, key: &[u8], bytes: &[u8]) {
    for each in [key, bytes] {
        let len = u32::try_from(each.len()).expect("invariant: answers are below 4 GiB");
        reply.raw(&len.to_le_bytes());
        reply.raw(each);
    }
}

/// Where the bytes of a series begin that is written in place.
pub struct Opened {
    entry_start: usize,
    bytes_start: usize,
}

/// Begins one series of an answer, whose bytes follow until it is closed.
pub fn open(reply: &mut Reply, key: &[u8]) -> Opened {
    let entry_start = reply.len();
    push(reply, key, b"");
    Opened {
        entry_start,
        bytes_start: reply.len(),
    }
}

impl Opened {
    /// Ends the series.
    pub fn close(self, reply: &mut Reply) {
        let len = u32::try_from(reply.len() - self.bytes_start).expect("invariant: answers are below 4 GiB");
        reply.overwrite(self.bytes_start - size_of::<u32>(), &len.to_le_bytes());
    }

    /// Takes the series back.
    pub fn discard(self, reply: &mut Reply) {
        reply.truncate(self.entry_start);
    }
}

/// The series of an answer, in its order.
pub fn entries(answer: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = answer.get(1..).unwrap_or(b"");
    let mut take = move || {
        let (len, behind) = rest.split_first_chunk::<4>()?;
        let (bytes, behind) = behind.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        rest = behind;
        Some(bytes)
    };
    std::iter::from_fn(move || Some((take()?, take()?)))
}

/// The series of all answers, by key.
pub fn sorted<'a>(answers: &[&'a [u8]]) -> Vec<(&'a [u8], &'a [u8])> {
    let mut all: Vec<_> = answers.iter().flat_map(|answer| entries(answer)).collect();
    all.sort_unstable_by_key(|entry| entry.0);
    all
}

/// Appends rows: width, count, timestamps, values; all little-endian.
pub fn put_rows(rows: &Rows, out: &mut Vec<u8>) {
    out.extend_from_slice(&(rows.width as u32).to_le_bytes());
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    rows.timestamps
        .iter()
        .for_each(|timestamp| out.extend_from_slice(&timestamp.to_le_bytes()));
    rows.values
        .iter()
        .for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
}

/// Inverse of [`put_rows`]; no rows if the bytes are something else.
pub fn get_rows(bytes: &[u8]) -> Rows {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    };
    let (width, len) = (word(0), word(4));
    let (timestamps, values) = bytes
        .get(8..)
        .and_then(|bytes| bytes.split_at_checked(8 * len))
        .unwrap_or_default();
    let words = |bytes: &[u8]| -> Vec<u64> {
        let words = bytes.chunks_exact(8).map(|word| word.try_into());
        words.map(|word| word.map_or(0, u64::from_le_bytes)).collect()
    };
    Rows {
        timestamps: words(timestamps).into_iter().map(|word| word as i64).collect(),
        width,
        values: words(values).into_iter().map(f64::from_bits).collect(),
    }
}

/// Runs the internal command `name` with `args` behind its own in every partition.
pub fn ask_every_partition(
    context: &SessionContext<'_>,
    name: &str,
    args: Args<'_>,
    collect: Collect,
) -> SessionStop {
    ask(
        context,
        name,
        &[(GatherTarget::EveryPartition, b"")],
        args,
        collect,
    )
}

/// Runs the internal command `name` with `args` behind its own behind a gathering, on the owners of the keys that its
/// answers say: round by round.
pub fn followed_by(
    context: &SessionContext<'_>,
    mut stop: SessionStop,
    name: &str,
    args: Args<'_>,
    keys: KeysOfRounds,
) -> SessionStop {
    let id = match context.shared.commands.internal(name) {
        Ok(id) => id,
        Err(refusal) => return refusal.into(),
    };
    if let SessionStop::Plan(plan) = &mut stop
        && let Plan::Gather(gather) = &mut **plan
    {
        let args = [name.as_bytes()].into_iter().chain(args.iter());
        let args = args.map(Box::from).collect();
        let command = QueuedCommand { id, args };
        gather.then = Some(Rounds { keys, command });
    }
    stop
}

/// Runs the internal command `name` with `args` behind its own on the owner of each key.
pub fn ask_keys<'a>(
    context: &SessionContext<'_>,
    name: &str,
    keys: impl Iterator<Item = &'a [u8]>,
    args: Args<'_>,
    collect: Collect,
) -> SessionStop {
    let targets: Vec<_> = keys.map(|key| (GatherTarget::Key(key.into()), key)).collect();
    ask(context, name, &targets, args, collect)
}

/// Adds to each request of a gathering its number, as the last argument.
pub fn numbered(mut stop: SessionStop) -> SessionStop {
    if let SessionStop::Plan(plan) = &mut stop
        && let Plan::Gather(gather) = &mut **plan
    {
        for (number, request) in gather.requests.iter_mut().enumerate() {
            request.command.args.push(number.to_string().into_bytes().into());
        }
    }
    stop
}

fn ask(
    context: &SessionContext<'_>,
    name: &str,
    targets: &[(GatherTarget, &[u8])],
    args: Args<'_>,
    collect: Collect,
) -> SessionStop {
    let id = match context.shared.commands.internal(name) {
        Ok(id) => id,
        Err(refusal) => return refusal.into(),
    };
    let requests = targets.iter().map(|(target, key)| GatherRequest {
        target: target.clone(),
        command: QueuedCommand {
            id,
            args: [name.as_bytes(), key]
                .into_iter()
                .chain(args.iter())
                .map(Box::from)
                .collect(),
        },
    });
    Plan::Gather(Gather {
        requests: requests.collect(),
        then: None,
        collect,
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Proto;

    #[test]
    fn answers_come_back_sorted() {
        let answer = |pairs: &[(&str, &str)]| {
            let mut reply = Reply::new(Proto::Resp2);
            begin(&mut reply);
            for (key, bytes) in pairs {
                push(&mut reply, key.as_bytes(), bytes.as_bytes());
            }
            reply.take()
        };
        let answers = [
            answer(&[("b", "1"), ("d", "")]),
            answer(&[]),
            answer(&[("a", "3")]),
        ];
        let expected: [(&[u8], &[u8]); 3] = [(b"a", b"3"), (b"b", b"1"), (b"d", b"")];
        let answers: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
        assert_eq!(sorted(&answers), expected);
    }

    #[test]
    fn series_written_in_place_are_those_that_are_pushed() {
        let (mut pushed, mut written) = (Reply::new(Proto::Resp2), Reply::new(Proto::Resp2));
        begin(&mut pushed);
        push(&mut pushed, b"a", b"12345");
        push(&mut pushed, b"c", b"");
        begin(&mut written);
        let opened = open(&mut written, b"a");
        written.raw(b"123");
        written.raw(b"45");
        opened.close(&mut written);
        let opened = open(&mut written, b"b");
        written.raw(b"nothing");
        opened.discard(&mut written);
        open(&mut written, b"c").close(&mut written);
        assert_eq!(written.as_bytes(), pushed.as_bytes());
    }

    #[test]
    fn rows_come_back() {
        let rows = Rows {
            timestamps: vec![-1, 7],
            width: 2,
            values: vec![1.0, f64::INFINITY, -0.0, 2.5],
        };
        let mut bytes = Vec::new();
        put_rows(&rows, &mut bytes);
        assert_eq!(get_rows(&bytes), rows);
        assert!(get_rows(&bytes[..9]).is_empty());
    }
}
