//! OBJECT, and what MEMORY USAGE asks of a key's owner: how a key is kept.

use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, dispatch, subcommand};
use crate::command::ts::parts::ask_keys;
use crate::command::{Call, Flags};
use crate::lane::keys::{Entry, Origin, Value};
use crate::lane::{Handled, Partition};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

/// Longest string that Redis keeps in one allocation with its header.
const EMBEDDED_LEN_MAX_BYTES: usize = 44;

/// There are no counts of use to show; the words are Redis's for a server that keeps none.
const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                            Please note that when switching between policies at runtime LRU and LFU data \
                            will take some time to adjust.";

/// The internal command that answers for OBJECT on the owner of the key.
pub const OBJECT_PART: &str = "OBJECT.PART";
/// The same for MEMORY USAGE.
pub const MEMORY_PART: &str = "MEMORY.PART";
/// Arguments of an internal command in front of the client's: its name and the key.
const OWN_ARGS: usize = 2;

/// Subcommands of OBJECT.
pub const OBJECT: &[Subcommand] = &[
    kept(
        "object|encoding",
        "Returns the word that Redis has for how a value is kept.",
    ),
    kept("object|freq", "Refuses: uses of keys are not counted."),
    kept("object|idletime", "Returns 0: times of use are not kept."),
    kept("object|refcount", "Returns 1: every value is kept once."),
];

const fn kept(full_name: &'static str, summary: &'static str) -> Subcommand {
    subcommand(full_name, 3, Flags::READONLY, |context, args, _| {
        Err(ask_owner(context, OBJECT_PART, args))
    })
    .says("2.2.3", "key", summary)
}

/// OBJECT.
pub fn object(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    dispatch(OBJECT, context, args, reply)
}

/// Has the owner of the key at argument 2 answer.
pub fn ask_owner(context: &SessionContext<'_>, part: &str, args: Args<'_>) -> SessionStop {
    ask_keys(
        context,
        part,
        std::iter::once(args.get(2)),
        args,
        |_, _, answers, reply| {
            answers.iter().for_each(|answer| reply.raw(answer));
            Ok(())
        },
    )
}

pub(super) fn object_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let subcommand = call.args.get(OWN_ARGS + 1).to_ascii_lowercase();
    let Some(place) = partition.find(call.args.get(1), call.now_ms)? else {
        if subcommand == b"object" {
            return Err(Refusal::NoSuchKey.into());
        }
        reply.null();
        return Ok(());
    };
    match subcommand.as_slice() {
        b"object" => {
            let entry = partition.entry(place);
            let length = match &entry.value {
                Value::String(value) => value.len(),
                _ => partition.key_memory_bytes(place),
            };
            // What moves or is not kept is 0, so that the line says nothing that is not so.
            reply.simple(&format!(
                "Value at:0x0 refcount:1 encoding:{} serializedlength:{length} lru:0 lru_seconds_idle:0",
                encoding(entry)
            ));
        }
        b"freq" => return Err(Refusal::text(NO_FREQUENCY).into()),
        b"encoding" => reply.bulk(encoding(partition.entry(place)).as_bytes()),
        // No time of last use is kept; this look-up is one.
        b"idletime" => reply.integer(0),
        _ => reply.integer(1),
    }
    Ok(())
}

/// The word that Redis has for a value of this kind; it knows no more of a module's values than that they are raw.
fn encoding(entry: &Entry) -> &'static str {
    match &entry.value {
        Value::String(_) if entry.origin == Origin::Patched => "raw",
        Value::String(value) if entry.origin == Origin::Set && parse_i64(value).is_some() => "int",
        Value::String(value) if value.len() <= EMBEDDED_LEN_MAX_BYTES => "embstr",
        Value::String(_) | Value::Series(_) | Value::Absent => "raw",
    }
}

pub(super) fn memory_part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    match partition.find(call.args.get(1), call.now_ms)? {
        Some(place) => reply.integer(partition.key_memory_bytes(place) as i64),
        None => reply.null(),
    }
    Ok(())
}

/// Reads what stands behind the key of MEMORY USAGE.
///
/// # Errors
/// Options that Redis would refuse.
pub fn check_usage_options(args: Args<'_>) -> Result<(), Refusal> {
    let mut cursor = args.cursor(3);
    while !cursor.is_done() {
        if !cursor.take_flag(b"SAMPLES") {
            return Err(Refusal::Syntax);
        }
        // Every figure here is exact, so the number of samples has to be right but means nothing.
        let samples = parse_i64(cursor.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
        if samples < 0 {
            return Err(Refusal::Syntax);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_run::{add_series, check, run, with_args};
    use crate::lane::test_support::test_partition;

    #[test]
    fn encodings_are_those_of_redis() {
        let mut partition = test_partition();
        add_series(&mut partition, "s");
        let (embedded, raw) = ("x".repeat(44), "x".repeat(45));
        for (value, expected) in [
            ("10", "$3 int"),
            ("-9223372036854775808", "$3 int"),
            ("9223372036854775808", "$6 embstr"),
            ("010", "$6 embstr"),
            ("\"\"", "$6 embstr"),
            (&*embedded, "$6 embstr"),
            (&*raw, "$3 raw"),
        ] {
            run(&mut partition, &format!("SET k {value}"));
            assert_eq!(
                run(&mut partition, "OBJECT.PART k OBJECT ENCODING k"),
                expected,
                "{value}"
            );
        }
        check(
            &mut partition,
            &[
                ("OBJECT.PART s object encoding s", "$3 raw"),
                ("SET k 1", "+OK"),
                ("APPEND k 2", ":2"),
                ("OBJECT.PART k OBJECT ENCODING k", "$3 raw"),
                ("INCR k", ":13"),
                ("OBJECT.PART k OBJECT ENCODING k", "$3 int"),
                ("SETRANGE k 0 4", ":2"),
                ("OBJECT.PART k OBJECT ENCODING k", "$3 raw"),
                ("SET k 44", "+OK"),
                ("OBJECT.PART k OBJECT ENCODING k", "$3 int"),
                ("INCRBYFLOAT k 1", "$2 45"),
                ("OBJECT.PART k OBJECT ENCODING k", "$6 embstr"),
                ("INCR k", ":46"),
                ("OBJECT.PART k OBJECT ENCODING k", "$3 int"),
                ("INCRBYFLOAT sum 1", "$1 1"),
                ("OBJECT.PART sum OBJECT ENCODING sum", "$6 embstr"),
                ("APPEND new 4", ":1"),
                ("OBJECT.PART new OBJECT ENCODING new", "$3 int"),
            ],
        );
    }

    #[test]
    fn what_is_not_kept_is_said_as_redis_says_it() {
        let mut partition = test_partition();
        check(
            &mut partition,
            &[
                ("SET k v", "+OK"),
                ("OBJECT.PART k OBJECT REFCOUNT k", ":1"),
                ("OBJECT.PART k OBJECT IDLETIME k", ":0"),
                ("OBJECT.PART k OBJECT FREQ k", &format!("-{NO_FREQUENCY}")),
                ("OBJECT.PART none OBJECT FREQ none", "$-1"),
                ("OBJECT.PART none OBJECT ENCODING none", "$-1"),
            ],
        );
    }

    #[test]
    fn memory_grows_with_the_value() {
        let mut partition = test_partition();
        add_series(&mut partition, "s");
        let bytes = |reply: String| reply.trim_start_matches(':').parse::<usize>().unwrap();
        run(&mut partition, "SET k 1");
        let short = bytes(run(&mut partition, "MEMORY.PART k MEMORY USAGE k"));
        run(&mut partition, &format!("SET k {}", "x".repeat(100)));
        // The allocator takes 32 bytes for the one and 112 for the other.
        assert_eq!(
            bytes(run(&mut partition, "MEMORY.PART k MEMORY USAGE k")),
            short + 80
        );
        assert!(bytes(run(&mut partition, "MEMORY.PART s memory usage s")) > short);
        check(&mut partition, &[("MEMORY.PART none MEMORY USAGE none", "$-1")]);
        for (line, expected) in [
            ("MEMORY USAGE k", None),
            ("MEMORY USAGE k SAMPLES 5", None),
            ("MEMORY USAGE k SAMPLES -1", Some("ERR syntax error")),
            ("MEMORY USAGE k SAMPLES", Some("ERR syntax error")),
            (
                "MEMORY USAGE k SAMPLES x",
                Some("ERR value is not an integer or out of range"),
            ),
            ("MEMORY USAGE k foo", Some("ERR syntax error")),
        ] {
            let refusal = with_args(line, check_usage_options)
                .err()
                .map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), expected, "{line}");
        }
    }
}
