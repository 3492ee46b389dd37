//! RENAME, RENAMENX and COPY: what they ask the server to do with two keys that may live apart.

use crate::command::database::check_database;
use crate::command::plan::TransferKind;
use crate::command::{Plan, SessionContext, SessionStop};
use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

pub(super) fn rename(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(transfer(args, TransferKind::Rename).into())
}

pub(super) fn renamenx(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(transfer(args, TransferKind::RenameIfAbsent).into())
}

pub(super) fn copy(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let replace = parse_copy(args)?;
    Err(transfer(args, TransferKind::Copy { replace }).into())
}

fn transfer(args: Args<'_>, kind: TransferKind) -> Plan {
    Plan::Transfer {
        source: args.get(1).into(),
        target: args.get(2).into(),
        kind,
    }
}

/// Checks the options of COPY and returns whether an existing target is to be replaced.
fn parse_copy(args: Args<'_>) -> Result<bool, Refusal> {
    let mut cursor = args.cursor(3);
    let mut replace = false;
    while !cursor.is_done() {
        if cursor.take_flag(b"REPLACE") {
            replace = true;
        } else if cursor.take_flag(b"DB") {
            check_database(cursor.next().ok_or(Refusal::Syntax)?)?;
        } else {
            return Err(Refusal::Syntax);
        }
    }
    if args.get(1) == args.get(2) {
        return Err(Refusal::text("ERR source and destination objects are the same"));
    }
    Ok(replace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_run::with_args;

    fn copy_text(line: &str) -> String {
        with_args(line, |args| match parse_copy(args) {
            Ok(replace) => format!("replace {replace}"),
            Err(refusal) => refusal.to_string(),
        })
    }

    #[test]
    fn copy_options() {
        assert_eq!(copy_text("COPY a b"), "replace false");
        assert_eq!(copy_text("COPY a b replace DB 0 REPLACE"), "replace true");
        assert_eq!(
            copy_text("COPY a a"),
            "ERR source and destination objects are the same"
        );
        assert_eq!(copy_text("COPY a b DB 1"), "ERR DB index is out of range");
        assert_eq!(copy_text("COPY a b DB -1"), "ERR DB index is out of range");
        assert_eq!(
            copy_text("COPY a b DB x"),
            "ERR value is not an integer or out of range"
        );
        assert_eq!(
            copy_text("COPY a a DB 99999999999"),
            "ERR value is out of range, value must between -2147483648 and 2147483647"
        );
        for line in ["COPY a b DB", "COPY a b foo", "COPY a a REPLACE foo"] {
            assert_eq!(copy_text(line), "ERR syntax error", "{line}");
        }
    }

    #[test]
    fn a_transfer_names_both_keys() {
        let plan = with_args("RENAME from to", |args| transfer(args, TransferKind::Rename));
        let Plan::Transfer { source, target, kind } = plan else {
            panic!("another plan")
        };
        assert_eq!(
            (&*source, &*target, kind),
            (&b"from"[..], &b"to"[..], TransferKind::Rename)
        );
    }
}
