//! Runs commands on one partition, as a connection would, for the tests of the command families.

use crate::lane::{Partition, Stop};
use crate::resp::{Args, Proto, Reply, Span};
use crate::series::{DEFAULT_QUALITY, Sample};

use super::{Call, CommandTable, Run, execute_one, execute_split};

/// Unix milliseconds at which [`run`] runs.
pub const NOW_MS: i64 = 1_700_000_000_000;

/// Runs `line` at [`NOW_MS`]; see [`run_at`].
pub fn run(partition: &mut Partition, line: &str) -> String {
    run_at(partition, NOW_MS, line)
}

/// Runs the words of `line` (`""` is the empty one) at `now_ms` and returns the RESP2 reply, with blanks for
/// line ends.
pub fn run_at(partition: &mut Partition, now_ms: i64, line: &str) -> String {
    let words = line
        .split_ascii_whitespace()
        .map(|word| if word == "\"\"" { "" } else { word });
    run_args(partition, now_ms, &words.map(str::as_bytes).collect::<Vec<_>>())
}

/// Splits `line` as [`run_at`] does and hands the arguments on.
pub fn with_args<T>(line: &str, use_args: impl FnOnce(Args<'_>) -> T) -> T {
    with_words(&words(line), use_args)
}

fn words(line: &str) -> Vec<&[u8]> {
    let words = line
        .split_ascii_whitespace()
        .map(|word| if word == "\"\"" { "" } else { word });
    words.map(str::as_bytes).collect()
}

fn with_words<T>(words: &[&[u8]], use_args: impl FnOnce(Args<'_>) -> T) -> T {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(word);
        spans.push(Span {
            start,
            end: bytes.len() as u32,
        });
    }
    use_args(Args::new(&bytes, &spans))
}

/// Runs these arguments at `now_ms`; see [`run_at`].
pub fn run_args(partition: &mut Partition, now_ms: i64, words: &[&[u8]]) -> String {
    with_words(words, |args| run_command(partition, now_ms, args))
}

fn run_command(partition: &mut Partition, now_ms: i64, args: Args<'_>) -> String {
    let table = CommandTable::default();
    let command = table.get(table.find(args.name()).expect("the table has the command"));
    let mut reply = Reply::new(Proto::Resp2);
    let call = Call {
        args,
        now_ms,
        now_us: now_ms * 1000,
    };
    let handled = match command.run {
        _ if !command.accepts(args.len()) => Err(command.arity_error().into()),
        Run::Owner { key, handler } => execute_one(
            partition,
            (command.name, handler),
            args.get(key),
            &call,
            None,
            &mut reply,
        ),
        Run::Split { .. } => execute_split(partition, command, &call, None, &mut reply),
        _ => panic!("{} does not run on a partition", command.name),
    };
    match handled {
        Ok(()) => {}
        Err(Stop::Refused(refusal)) => {
            assert!(reply.is_empty(), "a refused command has no reply");
            reply.error(refusal);
        }
        Err(Stop::Wait(_)) => panic!("{} has to wait", command.name),
        Err(Stop::Offload(job)) => job(&mut reply),
    }
    String::from_utf8_lossy(reply.as_bytes())
        .replace("\r\n", " ")
        .trim_end()
        .to_string()
}

/// Runs each line and compares its reply with what stands behind it.
pub fn check(partition: &mut Partition, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(run(partition, line), *expected, "{line}");
    }
}

/// Makes `key` a series with one sample.
pub fn add_series(partition: &mut Partition, key: &str) {
    let sample = Sample {
        timestamp: 1,
        value: 1.5,
        quality: DEFAULT_QUALITY,
    };
    assert!(partition.add_sample(key.as_bytes(), 0, sample, NOW_MS).is_ok());
}
