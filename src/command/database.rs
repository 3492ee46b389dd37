//! SELECT, MOVE and SWAPDB: there is one database, number 0, but clients name it by its number all the same.

use crate::refusal::Refusal;
use crate::resp::number::parse_i64;
use crate::resp::{Args, Reply};

use super::entry::entry;
use super::session::{PortKind, SessionContext, SessionStop};
use super::{Command, Flags, KeySpec};

const OUT_OF_RANGE: &str = "ERR DB index is out of range";

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("SELECT", 2, Flags::FAST, select)
        .of_group("connection")
        .says("1.0.0", "index", "Changes the selected database."),
    Command {
        keys: KeySpec::FIRST,
        ..entry("MOVE", 3, Flags::WRITE.and(Flags::FAST), move_key)
            .of_group("generic")
            .says(
                "1.0.0",
                "key db",
                "Refuses: there is no other database that a key could be moved to.",
            )
    },
    entry("SWAPDB", 3, Flags::WRITE.and(Flags::FAST), swap)
        .of_group("server")
        .says(
            "4.0.0",
            "index1 index2",
            "Swaps the only database with itself; refuses any other.",
        ),
];

fn select(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let index = parse_index(args.get(1))?;
    if index != 0 {
        refuse_on_lane_port(context, "SELECT")?;
    }
    check_index(index)?;
    reply.ok();
    Ok(())
}

fn move_key(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    refuse_on_lane_port(context, "MOVE")?;
    check_index(parse_index(args.get(2))?)?;
    Err(Refusal::text("ERR source and destination objects are the same").into())
}

fn swap(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    refuse_on_lane_port(context, "SWAPDB")?;
    let parse = |index, refusal| parse_index(args.get(index)).map_err(|_| Refusal::text(refusal));
    let first = parse(1, "ERR invalid first DB index")?;
    let second = parse(2, "ERR invalid second DB index")?;
    check_index(first)?;
    check_index(second)?;
    reply.ok();
    Ok(())
}

/// A node of a cluster has one database by definition.
fn refuse_on_lane_port(context: &SessionContext<'_>, name: &str) -> Result<(), Refusal> {
    match context.session.port {
        PortKind::Lane(_) => Err(Refusal::text(format!(
            "ERR {name} is not allowed in cluster mode"
        ))),
        _ => Ok(()),
    }
}

fn parse_index(number: &[u8]) -> Result<i32, Refusal> {
    let number = parse_i64(number).ok_or(Refusal::NotInteger)?;
    i32::try_from(number).map_err(|_| {
        let (min, max) = (i32::MIN, i32::MAX);
        Refusal::text(format!(
            "ERR value is out of range, value must between {min} and {max}"
        ))
    })
}

fn check_index(index: i32) -> Result<(), Refusal> {
    match index {
        0 => Ok(()),
        _ => Err(Refusal::text(OUT_OF_RANGE)),
    }
}

/// Checks that `number` means the only database.
///
/// # Errors
/// The refusals of Redis.
pub fn check_database(number: &[u8]) -> Result<(), Refusal> {
    check_index(parse_index(number)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::TestClient;

    #[test]
    fn there_is_one_database() {
        let mut client = TestClient::new();
        let (out_of_range, not_integer) = (
            format!("-{OUT_OF_RANGE}\r\n"),
            format!("-{}\r\n", Refusal::NotInteger),
        );
        let too_big = "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
        let same = "-ERR source and destination objects are the same\r\n";
        for (line, expected) in [
            (&["SELECT", "0"][..], "+OK\r\n"),
            (&["SELECT", "1"], &out_of_range),
            (&["SELECT", "x"], &not_integer),
            (&["SELECT", "3000000000"], too_big),
            (&["MOVE", "k", "0"], same),
            (&["MOVE", "k", "1"], &out_of_range),
            (&["MOVE", "k", "-1"], &out_of_range),
            (&["MOVE", "k", "x"], &not_integer),
            (&["MOVE", "k", "3000000000"], too_big),
            (&["SWAPDB", "0", "0"], "+OK\r\n"),
            (&["SWAPDB", "0", "1"], &out_of_range),
            (&["SWAPDB", "x", "y"], "-ERR invalid first DB index\r\n"),
            (&["SWAPDB", "1", "3000000000"], "-ERR invalid second DB index\r\n"),
        ] {
            assert_eq!(client.run(line), expected, "{line:?}");
        }
    }

    #[test]
    fn nodes_of_a_cluster_have_no_others() {
        let mut client = TestClient::new();
        client.session.port = PortKind::Lane(0);
        for (line, expected) in [
            (&["SELECT", "0"][..], "+OK\r\n"),
            (&["SELECT", "1"], "-ERR SELECT is not allowed in cluster mode\r\n"),
            (
                &["MOVE", "k", "x"],
                "-ERR MOVE is not allowed in cluster mode\r\n",
            ),
            (
                &["SWAPDB", "0", "0"],
                "-ERR SWAPDB is not allowed in cluster mode\r\n",
            ),
        ] {
            assert_eq!(client.run(line), expected, "{line:?}");
        }
    }
}
