//! LCS: the longest common subsequence of two strings, which may live on different lanes.

use crate::command::entry::internal;
use crate::command::session::{SessionContext, SessionStop};
use crate::command::ts::parts::ask_keys;
use crate::command::{Call, Command, Flags, KeySpec, Run};
use crate::lane::{Handled, Partition, Stop};
use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

/// The internal command that reads one of the strings on its owner.
const PART: &str = "LCS.PART";

/// Largest table of lengths, in bytes: two strings of 4 KiB, some 20 ms of the lane.
const TABLE_MAX_BYTES: usize = 64 << 20;

const TYPE_REFUSED: Refusal = text("ERR The specified keys must contain string values");
const TOO_LARGE: Refusal =
    text("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
const BOTH_FORMS: Refusal = text("ERR If you want both the length and indexes, please just use IDX.");

const fn text(text: &'static str) -> Refusal {
    Refusal::Text(std::borrow::Cow::Borrowed(text))
}

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "LCS",
        arity: -3,
        flags: Flags::READONLY,
        keys: KeySpec::TWO,
        group: "string",
        since: "7.0.0",
        syntax: "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        summary: "Finds the longest common subsequence of two strings.",
        run: Run::Session(|context, args, _| Err(lcs(context, args))),
    },
    internal(PART, "string", Flags::READONLY, part),
];

/// What to show of a match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    length_only: bool,
    positions: bool,
    length_min: usize,
    with_lengths: bool,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Options, Refusal> {
        let mut options = Options::default();
        let mut words = args.cursor(3);
        while !words.is_done() {
            if words.take_flag(b"IDX") {
                options.positions = true;
            } else if words.take_flag(b"LEN") {
                options.length_only = true;
            } else if words.take_flag(b"WITHMATCHLEN") {
                options.with_lengths = true;
            } else if words.take_flag(b"MINMATCHLEN") {
                let length = parse_i64(words.next().ok_or(Refusal::Syntax)?).ok_or(Refusal::NotInteger)?;
                options.length_min = usize::try_from(length).unwrap_or(0);
            } else {
                return Err(Refusal::Syntax);
            }
        }
        if options.length_only && options.positions {
            return Err(BOTH_FORMS);
        }
        Ok(options)
    }
}

/// Neighbouring bytes of both strings that belong to the subsequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    left: usize,
    right: usize,
    length: usize,
}

fn lcs(context: &SessionContext<'_>, args: Args<'_>) -> SessionStop {
    let keys = [args.get(1), args.get(2)].into_iter();
    // The options are looked at last: a key of another type is refused before they are.
    ask_keys(context, PART, keys, args, |_, args, answers, reply| {
        let options = Options::parse(args)?;
        match answers {
            [left, right] => write(&options, bytes_of(left), bytes_of(right), reply),
            _ => Ok(()),
        }
    })
}

fn part(partition: &mut Partition, call: &Call<'_>, reply: &mut Reply) -> Handled {
    let value = match partition.string(call.args.get(1), call.now_ms) {
        Ok(value) => value.unwrap_or_default(),
        Err(Stop::Refused(Refusal::WrongType)) => return Err(TYPE_REFUSED.into()),
        Err(stop) => return Err(stop),
    };
    // In front of the bytes stands what no error begins with.
    reply.raw(b"+");
    reply.raw(value);
    Ok(())
}

fn bytes_of(answer: &[u8]) -> &[u8] {
    answer.get(1..).unwrap_or_default()
}

fn write(options: &Options, left: &[u8], right: &[u8], reply: &mut Reply) -> Result<(), Refusal> {
    let matches = matches(left, right)?;
    let length: usize = matches.iter().map(|found| found.length).sum();
    if options.length_only {
        reply.integer(length as i64);
        return Ok(());
    }
    if !options.positions {
        let mut common = Vec::with_capacity(length);
        for found in matches.iter().rev() {
            common.extend_from_slice(
                left.get(found.left..found.left + found.length)
                    .unwrap_or_default(),
            );
        }
        reply.bulk(&common);
        return Ok(());
    }
    let is_long = |found: &&Match| found.length >= options.length_min;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(matches.iter().filter(is_long).count());
    for found in matches.iter().filter(is_long) {
        reply.array(2 + usize::from(options.with_lengths));
        for start in [found.left, found.right] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + found.length) as i64 - 1);
        }
        if options.with_lengths {
            reply.integer(found.length as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(length as i64);
    Ok(())
}

/// The matches of one longest common subsequence, the last one first. Where there are several, it is the one that
/// Redis shows: from the ends, the right string is shortened unless shortening the left one leaves more.
fn matches(left: &[u8], right: &[u8]) -> Result<Vec<Match>, Refusal> {
    let width = right.len() + 1;
    let cells = (left.len() + 1).saturating_mul(width);
    if cells.saturating_mul(size_of::<u32>()) > TABLE_MAX_BYTES {
        return Err(TOO_LARGE);
    }
    let mut lengths = vec![0u32; cells];
    for (row, byte) in left.iter().enumerate() {
        let (above, below) = lengths.split_at_mut((row + 1) * width);
        let above = above.get(row * width..).unwrap_or_default();
        let mut before = 0;
        let columns = above
            .iter()
            .zip(above.iter().skip(1))
            .zip(below.iter_mut().skip(1));
        for (((corner, over), cell), other) in columns.zip(right) {
            before = if byte == other {
                corner + 1
            } else {
                before.max(*over)
            };
            *cell = before;
        }
    }
    let length = |row: usize, column: usize| lengths.get(row * width + column).copied().unwrap_or(0);
    let (mut row, mut column) = (left.len(), right.len());
    let mut matches: Vec<Match> = Vec::new();
    while row > 0 && column > 0 {
        if left.get(row - 1) == right.get(column - 1) {
            match matches.last_mut() {
                Some(last) if last.left == row && last.right == column => {
                    *last = Match {
                        left: row - 1,
                        right: column - 1,
                        length: last.length + 1,
                    };
                }
                _ => matches.push(Match {
                    left: row - 1,
                    right: column - 1,
                    length: 1,
                }),
            }
            (row, column) = (row - 1, column - 1);
        } else if length(row - 1, column) > length(row, column - 1) {
            row -= 1;
        } else {
            column -= 1;
        }
    }
    Ok(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(left: &str, right: &str) -> Vec<(usize, usize, usize)> {
        let found = matches(left.as_bytes(), right.as_bytes()).unwrap();
        found
            .iter()
            .map(|found| (found.left, found.right, found.length))
            .collect()
    }

    #[test]
    fn matches_are_runs_from_the_end() {
        assert_eq!(common("ohmytext", "mynewtext"), [(4, 5, 4), (2, 0, 2)]);
        assert_eq!(common("", "abc"), []);
        assert_eq!(common("abc", ""), []);
        assert_eq!(common("abc", "xyz"), []);
        assert_eq!(common("abc", "abc"), [(0, 0, 3)]);
        assert_eq!(common("ab", "ba"), [(1, 0, 1)]);
    }

    #[test]
    fn tables_that_would_take_too_much_are_refused() {
        let long = vec![b'x'; 1 << 13];
        assert_eq!(
            matches(&long, &long).map_err(|refusal| refusal.to_string()),
            Err(TOO_LARGE.to_string())
        );
    }
}
