//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use crate::refusal::Refusal;
use crate::resp::{Args, Reply};

use super::plan::Plan;
use super::session::{SessionContext, SessionStop, Transaction};
use super::{Command, Flags, KeySpec, Run};

/// The family's table.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "MULTI",
        arity: 1,
        flags: Flags::FAST.and(Flags::IN_MULTI),
        keys: KeySpec::NONE,
        group: "transactions",
        since: "1.2.0",
        syntax: "",
        summary: "Starts a transaction.",
        run: Run::Session(multi),
    },
    Command {
        name: "EXEC",
        arity: 1,
        flags: Flags::IN_MULTI,
        keys: KeySpec::NONE,
        group: "transactions",
        since: "1.2.0",
        syntax: "",
        summary: "Executes all commands in a transaction, all or nothing, also across lanes and crashes.",
        run: Run::Session(exec),
    },
    Command {
        name: "DISCARD",
        arity: 1,
        flags: Flags::FAST.and(Flags::IN_MULTI),
        keys: KeySpec::NONE,
        group: "transactions",
        since: "2.0.0",
        syntax: "",
        summary: "Discards a transaction.",
        run: Run::Session(discard),
    },
    Command {
        name: "WATCH",
        arity: -2,
        flags: Flags::FAST.and(Flags::IN_MULTI),
        keys: KeySpec::ALL,
        group: "transactions",
        since: "2.2.0",
        syntax: "key [key ...]",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        run: Run::Session(watch),
    },
    Command {
        name: "UNWATCH",
        arity: 1,
        flags: Flags::FAST,
        keys: KeySpec::NONE,
        group: "transactions",
        since: "2.2.0",
        syntax: "",
        summary: "Forgets about watched keys of a transaction.",
        run: Run::Session(unwatch),
    },
];

fn multi(context: &mut SessionContext<'_>, _: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if context.session.transaction.is_some() {
        return Err(Refusal::text("ERR MULTI calls can not be nested").into());
    }
    context.session.transaction = Some(Transaction::default());
    reply.ok();
    Ok(())
}

fn exec(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let Some(transaction) = context.session.transaction.take() else {
        return Err(Refusal::text("ERR EXEC without MULTI").into());
    };
    if transaction.broken {
        context.session.unwatch_due = true;
        return Err(Refusal::text("EXECABORT Transaction discarded because of previous errors.").into());
    }
    Err(Plan::Transaction(transaction.commands).into())
}

fn discard(context: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    if context.session.transaction.take().is_none() {
        return Err(Refusal::text("ERR DISCARD without MULTI").into());
    }
    Err(Plan::Unwatch.into())
}

fn watch(context: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    if context.session.transaction.is_some() {
        return Err(Refusal::text("ERR WATCH inside MULTI is not allowed").into());
    }
    let keys = args.from(1).iter().map(Box::from).collect();
    Err(Plan::Watch(keys).into())
}

fn unwatch(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::Unwatch.into())
}
