//! OBJECT and MEMORY USAGE: how a key is kept.

use crate::command::Call;
use crate::lane::keys::Value;
use crate::lane::{Handled, Partition};
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

/// Longest string that Redis keeps in one allocation with its header.
const EMBEDDED_LEN_MAX_BYTES: usize = 44;

/// Bytes of an unknown subcommand that its refusal repeats; Redis's own limit.
const QUOTED_NAME_MAX_BYTES: usize = 128;

/// There are no counts of use to show; the words are Redis's for a server that keeps none.
const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                            Please note that when switching between policies at runtime LRU and LFU data \
                            will take some time to adjust.";

pub(super) fn object(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let subcommand = call.args.get(1).to_ascii_lowercase();
    let (name, is_frequency) = match subcommand.as_slice() {
        b"encoding" => ("object|encoding", false),
        b"freq" => ("object|freq", true),
        b"idletime" => ("object|idletime", false),
        b"refcount" => ("object|refcount", false),
        b"help" => return Err(Refusal::Arity("object|help".into()).into()),
        _ => return Err(unknown_subcommand(call.args.get(1), "OBJECT").into()),
    };
    if call.args.len() != 3 {
        return Err(Refusal::Arity(name.into()).into());
    }
    let Some(place) = partition.find(call.args.get(2), call.now_ms)? else {
        reply.null();
        return Ok(());
    };
    match subcommand.as_slice() {
        _ if is_frequency => return Err(Refusal::text(NO_FREQUENCY).into()),
        b"encoding" => reply.bulk(encoding(&partition.entry(place).value).as_bytes()),
        // No time of last use is kept; this look-up is one.
        b"idletime" => reply.integer(0),
        _ => reply.integer(1),
    }
    Ok(())
}

/// The word that Redis has for a value of this kind; it knows no more of a module's values than that they are raw.
fn encoding(value: &Value) -> &'static str {
    match value {
        Value::String(value) if parse_i64(value).is_some() => "int",
        Value::String(value) if value.len() <= EMBEDDED_LEN_MAX_BYTES => "embstr",
        Value::String(_) | Value::Series(_) | Value::Absent => "raw",
    }
}

pub(super) fn memory(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let subcommand = call.args.get(1);
    if !subcommand.eq_ignore_ascii_case(b"USAGE") {
        return Err(unknown_subcommand(subcommand, "MEMORY").into());
    }
    let mut cursor = call.args.cursor(3);
    while !cursor.is_done() {
        if !cursor.take_flag(b"SAMPLES") {
            return Err(Refusal::Syntax.into());
        }
        // Every figure here is exact, so the number of samples has to be right but means nothing.
        let samples = parse_i64(cursor.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
        if samples < 0 {
            return Err(Refusal::Syntax.into());
        }
    }
    match partition.find(call.args.get(2), call.now_ms)? {
        Some(place) => reply.integer(partition.key_memory_bytes(place) as i64),
        None => reply.null(),
    }
    Ok(())
}

/// Why OBJECT or MEMORY refuses a call that has no key; `None` for other commands.
pub fn short_call_error(container: &str, subcommand: &[u8]) -> Option<Refusal> {
    let known: &[&str] = match container {
        "OBJECT" => &["encoding", "freq", "idletime", "refcount"],
        "MEMORY" => &["usage"],
        _ => return None,
    };
    let is_meant = |name: &&&str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    let container_lower = container.to_ascii_lowercase();
    Some(match known.iter().find(is_meant) {
        Some(name) => Refusal::Arity(format!("{container_lower}|{name}").into()),
        None => unknown_subcommand(subcommand, container),
    })
}

fn unknown_subcommand(name: &[u8], container: &str) -> Refusal {
    let name = String::from_utf8_lossy(name.get(..QUOTED_NAME_MAX_BYTES).unwrap_or(name));
    Refusal::text(format!("ERR unknown subcommand '{name}'. Try {container} HELP."))
}

#[cfg(test)]
mod tests {
    use super::NO_FREQUENCY;
    use crate::command::test_run::{add_series, check, run};
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
            assert_eq!(run(&mut partition, "OBJECT ENCODING k"), expected, "{value}");
        }
        check(&mut partition, &[("object encoding s", "$3 raw")]);
    }

    #[test]
    fn what_is_not_kept_is_said_as_redis_says_it() {
        let mut partition = test_partition();
        check(
            &mut partition,
            &[
                ("SET k v", "+OK"),
                ("OBJECT REFCOUNT k", ":1"),
                ("OBJECT IDLETIME k", ":0"),
                ("OBJECT FREQ k", &format!("-{NO_FREQUENCY}")),
                ("OBJECT FREQ none", "$-1"),
                ("OBJECT ENCODING none", "$-1"),
                ("OBJECT foo k", "-ERR unknown subcommand 'foo'. Try OBJECT HELP."),
                (
                    "OBJECT ENCODING k k",
                    "-ERR wrong number of arguments for 'object|encoding' command",
                ),
                (
                    "OBJECT HELP k",
                    "-ERR wrong number of arguments for 'object|help' command",
                ),
            ],
        );
    }

    #[test]
    fn memory_grows_with_the_value() {
        let mut partition = test_partition();
        add_series(&mut partition, "s");
        let bytes = |reply: String| reply.trim_start_matches(':').parse::<usize>().unwrap();
        run(&mut partition, "SET k 1");
        let short = bytes(run(&mut partition, "MEMORY USAGE k"));
        run(&mut partition, &format!("SET k {}", "x".repeat(100)));
        // The allocator takes 32 bytes for the one and 112 for the other.
        assert_eq!(bytes(run(&mut partition, "MEMORY USAGE k SAMPLES 5")), short + 80);
        assert!(bytes(run(&mut partition, "memory usage s")) > short);
        check(
            &mut partition,
            &[
                ("MEMORY USAGE none", "$-1"),
                ("MEMORY USAGE k SAMPLES -1", "-ERR syntax error"),
                ("MEMORY USAGE k SAMPLES", "-ERR syntax error"),
                (
                    "MEMORY USAGE k SAMPLES x",
                    "-ERR value is not an integer or out of range",
                ),
                ("MEMORY USAGE k foo", "-ERR syntax error"),
                ("MEMORY foo k", "-ERR unknown subcommand 'foo'. Try MEMORY HELP."),
            ],
        );
    }
}
