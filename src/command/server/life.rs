//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN, DEBUG SLEEP: what concerns the process as a whole.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::command::Flags;
use crate::command::key::inspect::{OBJECT_PART, ask_owner};
use crate::command::plan::Plan;
use crate::command::report::{ReportKinds, Reports};
use crate::command::session::{SessionContext, SessionStop};
use crate::command::subcommand::{Subcommand, dispatch, find, subcommand, unknown_or_wrong_count};
use crate::refusal::Refusal;
use crate::resp::number::{parse_f64, parse_u64};
use crate::resp::{Args, Reply};

const DEBUG_REFUSED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
    \"local\", you can run it from a local connection, otherwise you need to set this option in the \
    configuration file, and then restart the server.";

/// Longest DEBUG SLEEP, in seconds: a connection that sleeps longer is taken for dead.
const SLEEP_MAX_S: f64 = 3_600.0;

/// Longest DEBUG CHECKPOINT-DELAY, in milliseconds.
const CHECKPOINT_DELAY_MAX_MS: u64 = 3_600_000;

/// All but HELP.
pub const DEBUG: &[Subcommand] = &[
    subcommand("debug|checkpoint-delay", 3, Flags::ADMIN, delay_checkpoints).says(
        "1.0.0",
        "milliseconds",
        "Holds up the writing of each checkpoint for so long, as a slow disk would, until it is 0 again.",
    ),
    subcommand("debug|object", 3, Flags::ADMIN, |context, args, _| {
        Err(ask_owner(context, OBJECT_PART, args))
    })
    .says(
        "1.0.0",
        "key",
        "Tells how a key is kept, as OBJECT and MEMORY do.",
    ),
    subcommand("debug|set-active-expire", 3, Flags::ADMIN, |_, _, reply| {
        reply.ok();
        Ok(())
    })
    .says(
        "1.0.0",
        "<0 | 1>",
        "Does nothing: a key that has expired is never seen, whether it is still there or not.",
    ),
    subcommand("debug|sleep", 3, Flags::ADMIN, sleep).says(
        "1.0.0",
        "seconds",
        "Answers after so many seconds, decimals allowed; other connections go on.",
    ),
];

/// As Redis with `enable-debug-command local`.
pub fn debug(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    let address = context.session.address.parse::<SocketAddr>();
    if !address.is_ok_and(|address| address.ip().to_canonical().is_loopback()) {
        return Err(Refusal::text(DEBUG_REFUSED).into());
    }
    let name = args.try_get(1).unwrap_or_default();
    let is_help = name.eq_ignore_ascii_case(b"HELP") && args.len() == 2;
    if !is_help && find(DEBUG, name).is_none_or(|_| args.len() != 3) {
        return Err(unknown_or_wrong_count("DEBUG", name).into());
    }
    dispatch(DEBUG, context, args, reply)
}

fn sleep(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let seconds = parse_f64(args.get(2)).ok_or(Refusal::NotFloat)?;
    // The cast saturates, and what is not a number sleeps for no time.
    let milliseconds = (seconds.min(SLEEP_MAX_S) * 1_000.0) as u64;
    Err(Plan::Sleep { milliseconds }.into())
}

fn delay_checkpoints(
    context: &mut SessionContext<'_>,
    args: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    let milliseconds = parse_u64(args.get(2)).ok_or(Refusal::NotInteger)?;
    let milliseconds = milliseconds.min(CHECKPOINT_DELAY_MAX_MS);
    let delay = &context.shared.checkpoint_delay_ms;
    delay.store(milliseconds, Ordering::Relaxed);
    reply.ok();
    Ok(())
}

/// BGSAVE.
pub fn save_in_background(
    _: &mut SessionContext<'_>,
    args: Args<'_>,
    _: &mut Reply,
) -> Result<(), SessionStop> {
    let is_schedule = args
        .try_get(1)
        .is_none_or(|option| option.eq_ignore_ascii_case(b"SCHEDULE"));
    if args.len() > 2 || !is_schedule {
        return Err(Refusal::Syntax.into());
    }
    Err(Plan::Save { background: true }.into())
}

/// SAVE.
pub fn save(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::Save { background: false }.into())
}

/// BGREWRITEAOF: there is nothing to start, checkpoints shorten the journal all the time.
pub fn rewrite_journal(
    _: &mut SessionContext<'_>,
    _: Args<'_>,
    reply: &mut Reply,
) -> Result<(), SessionStop> {
    reply.simple("Background append only file rewriting started");
    Ok(())
}

/// LASTSAVE.
pub fn last_save(_: &mut SessionContext<'_>, _: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    Err(Plan::report(ReportKinds::BASIC, render_last_save).into())
}

fn render_last_save(
    context: &mut SessionContext<'_>,
    _: Args<'_>,
    reports: &Reports,
    reply: &mut Reply,
) -> Result<(), Refusal> {
    reply.integer(last_save_s(reports, context.shared.started_ms));
    Ok(())
}

/// Unix seconds up to which every partition is saved; the start of the server counts, as in Redis.
pub fn last_save_s(reports: &Reports, started_ms: i64) -> i64 {
    let saved_ms = reports
        .partitions()
        .map(|(_, partition)| partition.last_checkpoint_ms.max(started_ms));
    saved_ms.min().unwrap_or(started_ms) / 1_000
}

/// SHUTDOWN: whatever is asked for, everything acknowledged is on disk before the end.
pub fn shutdown(_: &mut SessionContext<'_>, args: Args<'_>, _: &mut Reply) -> Result<(), SessionStop> {
    let (mut save, mut no_save, mut abort) = (false, false, false);
    for option in args.from(1) {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => no_save = true,
            b"ABORT" => abort = true,
            b"NOW" | b"FORCE" => {}
            _ => return Err(Refusal::Syntax.into()),
        }
    }
    if (save && no_save) || (abort && args.len() > 2) {
        return Err(Refusal::Syntax.into());
    }
    if abort {
        return Err(Refusal::text("ERR No shutdown in progress.").into());
    }
    Err(Plan::Shutdown.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::{NOW_MS, TestClient, reports};

    #[test]
    fn shutdown_options_are_checked() {
        let mut client = TestClient::new();
        for line in [
            &["SHUTDOWN"][..],
            &["SHUTDOWN", "nosave"],
            &["SHUTDOWN", "SAVE", "NOW", "FORCE"],
        ] {
            assert!(matches!(client.plan(line), Plan::Shutdown));
        }
        assert_eq!(
            client.run(&["SHUTDOWN", "NOSAVE", "SAVE"]),
            "-ERR syntax error\r\n"
        );
        assert_eq!(client.run(&["SHUTDOWN", "BOGUS"]), "-ERR syntax error\r\n");
        assert_eq!(
            client.run(&["SHUTDOWN", "ABORT"]),
            "-ERR No shutdown in progress.\r\n"
        );
    }

    #[test]
    fn debug_is_for_clients_of_this_machine() {
        let mut client = TestClient::new();
        assert!(matches!(
            client.plan(&["DEBUG", "SLEEP", "0.25"]),
            Plan::Sleep { milliseconds: 250 }
        ));
        assert!(matches!(
            client.plan(&["DEBUG", "SLEEP", "-1"]),
            Plan::Sleep { milliseconds: 0 }
        ));
        assert!(matches!(
            client.plan(&["DEBUG", "SLEEP", "1e300"]),
            Plan::Sleep {
                milliseconds: 3_600_000
            }
        ));
        client.session.address = "10.0.0.1:5000".into();
        assert_eq!(
            client.run(&["DEBUG", "SLEEP", "0"]),
            format!("-{DEBUG_REFUSED}\r\n")
        );
        client.session.address = "[::1]:5000".into();
        assert!(matches!(
            client.plan(&["DEBUG", "SLEEP", "0"]),
            Plan::Sleep { milliseconds: 0 }
        ));
    }

    #[test]
    fn checkpoints_can_be_held_up() {
        let mut client = TestClient::new();
        let delay_ms = |client: &TestClient| client.shared.checkpoint_delay_ms.load(Ordering::Relaxed);
        assert_eq!(client.run(&["DEBUG", "CHECKPOINT-DELAY", "1500"]), "+OK\r\n");
        assert_eq!(delay_ms(&client), 1_500);
        assert!(
            client
                .run(&["DEBUG", "CHECKPOINT-DELAY", "-1"])
                .starts_with("-ERR value is not")
        );
        client.run(&["DEBUG", "CHECKPOINT-DELAY", "99999999999"]);
        assert_eq!(delay_ms(&client), CHECKPOINT_DELAY_MAX_MS);
        client.session.address = "10.0.0.1:5000".into();
        client.run(&["DEBUG", "CHECKPOINT-DELAY", "0"]);
        assert_eq!(delay_ms(&client), CHECKPOINT_DELAY_MAX_MS, "not from elsewhere");
    }

    #[test]
    fn saves_are_plans_and_the_oldest_counts() {
        let mut client = TestClient::new();
        assert!(matches!(client.plan(&["SAVE"]), Plan::Save { background: false }));
        assert!(matches!(
            client.plan(&["BGSAVE", "schedule"]),
            Plan::Save { background: true }
        ));
        assert_eq!(client.run(&["BGSAVE", "x"]), "-ERR syntax error\r\n");
        let mut reports = reports(&client.shared);
        for lane in &mut reports.lanes {
            for partition in &mut lane.partitions {
                partition.last_checkpoint_ms = NOW_MS;
            }
        }
        reports.lanes[1].partitions[2].last_checkpoint_ms = NOW_MS - 5_000;
        assert_eq!(client.render(&["LASTSAVE"], &reports), ":1699999995\r\n");
    }
}
