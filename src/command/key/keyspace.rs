//! SCAN, KEYS, DBSIZE and other commands of the whole keyspace: what they ask the server to do on every lane.

use crate::command::{Plan, PortKind, Reports, SessionContext, SessionStop};
use crate::lane::{KeyFilter, KeyType};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{ArgCursor, Args, Reply};

/// Keys of a SCAN step without COUNT.
const SCAN_KEYS_DEFAULT: usize = 10;

/// Keys of one SCAN step, whatever COUNT says: it is a hint, and a step holds a lane.
const SCAN_KEYS_MAX: usize = 10_000;

/// The options of SCAN.
#[derive(Clone, Debug, Default)]
struct ScanOptions {
    count: Option<usize>,
    filter: KeyFilter,
    /// TYPE names a type that no key has here.
    is_type_unknown: bool,
}

impl ScanOptions {
    fn parse(mut cursor: ArgCursor<'_>) -> Result<ScanOptions, Refusal> {
        let mut options = ScanOptions::default();
        while !cursor.is_done() {
            if cursor.take_flag(b"COUNT") {
                let count = parse_i64(cursor.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                options.count = Some(count.ok_or(Refusal::Syntax)?);
            } else if cursor.take_flag(b"MATCH") {
                options.filter.pattern = pattern(cursor.next().ok_or(Refusal::Syntax)?);
            } else if cursor.take_flag(b"TYPE") {
                let name = cursor.next().ok_or(Refusal::Syntax)?;
                let mut types = [KeyType::String, KeyType::Series].into_iter();
                let key_type = types.find(|key_type| key_type.name().as_bytes().eq_ignore_ascii_case(name));
                options.filter.key_type = key_type;
                options.is_type_unknown = key_type.is_none();
            } else {
                return Err(Refusal::Syntax);
            }
        }
        Ok(options)
    }
}

/// A pattern worth matching: `None` for the one that fits every key.
fn pattern(pattern: &[u8]) -> Option<Box<[u8]>> {
    (pattern != b"*").then(|| pattern.into())
}

/// A cursor as Redis has `strtoul` read it: a sign may stand in front, nothing at all is 0, and what follows a zero byte is
/// not looked at.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next()?;
    if text.is_empty() {
        return Some(0);
    }
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix(b"+").unwrap_or(text)),
    };
    // What parses an integer would take another sign.
    let digits = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.starts_with('+'))?;
    let cursor: u64 = digits.parse().ok()?;
    Some(if is_negative {
        cursor.wrapping_neg()
    } else {
        cursor
    })
}

pub(super) fn scan(_: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    match scan_plan(args)? {
        Some(plan) => Err(plan.into()),
        None => {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
            Ok(())
        }
    }
}

/// The step that a SCAN asks for, `None` if no key can be found.
fn scan_plan(args: Args<'_>) -> Result<Option<Plan>, Refusal> {
    let cursor = parse_cursor(args.get(1)).ok_or(Refusal::text("ERR invalid cursor"))?;
    let ScanOptions {
        count,
        filter,
        is_type_unknown,
    } = ScanOptions::parse(args.cursor(2))?;
    if is_type_unknown {
        return Ok(None);
    }
    let count = count.unwrap_or(SCAN_KEYS_DEFAULT).min(SCAN_KEYS_MAX);
    Ok(Some(Plan::Scan {
        cursor,
        count,
        filter,
    }))
}

pub(super) fn keys(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::Keys(KeyFilter {
        pattern: pattern(args.get(1)),
        key_type: None,
    })
    .into())
}

pub(super) fn randomkey(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::RandomKey.into())
}

pub(super) fn flush(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    check_flush(args)?;
    Err(Plan::Flush.into())
}

/// At most one option, and it changes nothing: either way everything is gone when the reply comes.
fn check_flush(args: Args<'_>) -> Result<(), Refusal> {
    let mut cursor = args.cursor(1);
    let is_known = cursor.is_done() || cursor.take_flag(b"ASYNC") || cursor.take_flag(b"SYNC");
    if is_known && cursor.is_done() {
        Ok(())
    } else {
        Err(Refusal::Syntax)
    }
}

pub(super) fn dbsize(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    let partitions = reports.partitions();
    let counted = partitions.map(|(lane, partition)| (lane, partition.business, partition.keys));
    reply.integer(count_keys(counted, context.session.port) as i64);
    Ok(())
}

/// Keys that a client of this port can name; a lane port counts those of its lane, as a cluster node does.
/// `partitions` are lane, business and keys of each.
fn count_keys(partitions: impl Iterator<Item = (usize, usize, u64)>, port: PortKind) -> u64 {
    let counted = partitions.filter(|(lane, business, _)| match port {
        PortKind::Main => true,
        PortKind::Business(own) => *business == own,
        PortKind::Lane(own) => *lane == own,
    });
    counted.map(|(_, _, keys)| keys).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_run::with_args;

    fn scan_text(line: &str) -> String {
        with_args(line, |args| match scan_plan(args) {
            Ok(Some(Plan::Scan {
                cursor,
                count,
                filter,
            })) => {
                let pattern = filter
                    .pattern
                    .map(|pattern| String::from_utf8_lossy(&pattern).into_owned());
                format!("{cursor} {count} {pattern:?} {:?}", filter.key_type)
            }
            Ok(_) => "nothing".to_string(),
            Err(refusal) => refusal.to_string(),
        })
    }

    #[test]
    fn scan_options() {
        assert_eq!(scan_text("SCAN 0"), "0 10 None None");
        assert_eq!(
            scan_text("SCAN 18446744073709551615 count 7 match a* TYPE STRING"),
            "18446744073709551615 7 Some(\"a*\") Some(String)"
        );
        assert_eq!(
            scan_text("SCAN 3 MATCH * TYPE tsdb-type"),
            "3 10 None Some(Series)"
        );
        assert_eq!(
            scan_text("SCAN 0 COUNT 999999999999"),
            format!("0 {SCAN_KEYS_MAX} None None")
        );
        assert_eq!(scan_text("SCAN 0 TYPE hash"), "nothing");
        assert_eq!(scan_text("SCAN -1"), "18446744073709551615 10 None None");
        assert_eq!(scan_text("SCAN +7"), "7 10 None None");
        assert_eq!(scan_text("SCAN \"\""), "0 10 None None");
        assert_eq!(scan_text("SCAN -18446744073709551615"), "1 10 None None");
        for line in [
            "SCAN x",
            "SCAN 1x",
            "SCAN 0x10",
            "SCAN -",
            "SCAN ++1",
            "SCAN -+1",
            "SCAN 18446744073709551616",
            "SCAN -18446744073709551616",
        ] {
            assert_eq!(scan_text(line), "ERR invalid cursor", "{line}");
        }
        for line in [
            "SCAN 0 COUNT 0",
            "SCAN 0 COUNT -1",
            "SCAN 0 COUNT",
            "SCAN 0 MATCH",
            "SCAN 0 foo 1",
        ] {
            assert_eq!(scan_text(line), "ERR syntax error", "{line}");
        }
        assert_eq!(
            scan_text("SCAN 0 COUNT x"),
            "ERR value is not an integer or out of range"
        );
    }

    #[test]
    fn a_port_counts_the_keys_that_it_serves() {
        let partitions = [(0, 0, 1), (0, 1, 20), (1, 0, 300), (1, 1, 4000)];
        assert_eq!(count_keys(partitions.into_iter(), PortKind::Main), 4321);
        assert_eq!(count_keys(partitions.into_iter(), PortKind::Business(1)), 4020);
        assert_eq!(count_keys(partitions.into_iter(), PortKind::Lane(1)), 4300);
    }

    #[test]
    fn flush_takes_one_option_at_most() {
        let check = |line| with_args(line, check_flush);
        for line in ["FLUSHALL", "FLUSHALL async", "FLUSHDB SYNC"] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
        for line in ["FLUSHALL foo", "FLUSHALL SYNC ASYNC", "FLUSHALL SYNC SYNC"] {
            assert_eq!(check(line), Err(Refusal::Syntax), "{line}");
        }
    }
}
