//! RENAME and COPY of series with rollup rules: the batch holds the other ends of the rules too, and tells them.
//!
//! Told later, both ends could be renamed at the same time and lose each other.

use std::rc::Rc;
use std::time::Duration;

use crate::command::{CommandId, QueuedCommand};
use crate::lane::journal::BatchId;
use crate::resp::Proto;
use crate::series::SeriesProperties;

use super::lane_shell::LaneShell;
use super::message::{Answer, Hop, LaneRequest, UNEXPECTED_ANSWER};
use super::requests::ask;
use super::transaction::{BatchRun, Ended, no_business};

/// Attempts to hold the keys while their rules stay the same and nothing is on its way to them.
pub const HOLD_TRIES_MAX: usize = 1_000;
/// Wait between them, once the rules are known.
pub const HOLD_RETRY: Duration = Duration::from_millis(5);

type Keys = Vec<Box<[u8]>>;

/// The other ends of the rules of two keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleEndsOfBoth {
    source: Keys,
    target: Keys,
}

/// Holds `source`, `target` and the other ends of their rules. `rename` is a command with two keys that it writes.
///
/// # Errors
/// How it ended otherwise.
pub async fn hold_with_rule_ends(
    shell: &Rc<LaneShell>,
    rename: CommandId,
    source: &[u8],
    target: &[u8],
) -> Result<(BatchRun, RuleEndsOfBoth), Ended<()>> {
    let mut ends = RuleEndsOfBoth::default();
    for _ in 0..HOLD_TRIES_MAX {
        let mut commands = vec![command(rename, &[b"RENAME", source, target])];
        let others = ends.source.iter().chain(&ends.target);
        let relink = relink_command(shell).map_err(Ended::Refused)?;
        commands.extend(others.map(|end| command(relink, &[b"TS.RULE.RELINK", end, b""])));
        let run = BatchRun::new(shell, &commands, &[]);
        let mut run = run.map_err(|refusal| Ended::Refused(refusal.to_string()))?;
        match run.hold(shell, None).await {
            Ended::Done(()) => {}
            other => return Err(other),
        }
        let (found, is_quiet) = match find(shell, source, target).await {
            Ok(found) => found,
            Err(text) => {
                run.release(shell).await;
                return Err(Ended::Refused(text));
            }
        };
        if found == ends && is_quiet {
            return Ok((run, ends));
        }
        run.release(shell).await;
        if found == ends {
            glommio::timer::sleep(HOLD_RETRY).await;
        }
        ends = found;
    }
    let text = "ERR rollups from or to this key are delayed, try again later";
    Err(Ended::Refused(text.into()))
}

fn command(id: CommandId, args: &[&[u8]]) -> QueuedCommand {
    let args = args.iter().map(|arg| Box::from(*arg)).collect();
    QueuedCommand { id, args }
}

fn relink_command(shell: &LaneShell) -> Result<CommandId, String> {
    let found = shell.shared.commands.internal("TS.RULE.RELINK");
    found.map_err(|refusal| refusal.to_string())
}

/// The ends, and whether nothing is on its way from or to any of the keys.
///
/// # Errors
/// The reply, if a partition does not serve.
pub async fn find(
    shell: &Rc<LaneShell>,
    source: &[u8],
    target: &[u8],
) -> Result<(RuleEndsOfBoth, bool), String> {
    let (source, source_is_quiet) = ends_of(shell, source).await?;
    let (target, target_is_quiet) = ends_of(shell, target).await?;
    let mut is_quiet = source_is_quiet && target_is_quiet;
    for end in source.iter().chain(&target) {
        is_quiet = is_quiet && ends_of(shell, end).await?.1;
    }
    Ok((RuleEndsOfBoth { source, target }, is_quiet))
}

async fn ends_of(shell: &Rc<LaneShell>, key: &[u8]) -> Result<(Keys, bool), String> {
    let (properties, is_quiet) = facts_of(shell, key).await?;
    let ends = properties.map_or_else(Vec::new, |properties| properties.rule_ends());
    // An end whose business is not configured any more cannot be told.
    let placed = ends
        .into_iter()
        .filter(|end| shell.shared.directory.place(end).is_some());
    Ok((placed.collect(), is_quiet))
}

/// Properties of a key, if it has any, and whether nothing that names it is on its way from its partition.
///
/// # Errors
/// The reply, if its partition does not serve.
pub async fn facts_of(shell: &Rc<LaneShell>, key: &[u8]) -> Result<(Option<SeriesProperties>, bool), String> {
    let place = shell.shared.directory.place(key);
    let place = place.ok_or_else(|| no_business().to_string())?;
    let request = LaneRequest::RuleFacts {
        place: place.home.place,
        key: key.into(),
    };
    match ask(shell, place.home.lane, request).await {
        Answer::RuleFacts { properties, is_quiet } => Ok((properties.map(|found| *found), is_quiet)),
        Answer::Refused(text) => Err(text),
        _ => Err(UNEXPECTED_ANSWER.into()),
    }
}

impl RuleEndsOfBoth {
    /// True if nobody has to be told.
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.target.is_empty()
    }

    /// Tells the other ends, as part of `batch`, that what is at `target` goes away and, if it `moves`, that `source` has
    /// that name from now on.
    ///
    /// # Errors
    /// The reply, if one of them cannot be told.
    pub async fn tell(
        &self,
        shell: &Rc<LaneShell>,
        batch: BatchId,
        (source, target): (&[u8], &[u8]),
        moves: bool,
    ) -> Result<(), String> {
        for end in &self.target {
            tell_one(shell, batch, end, &[target]).await?;
        }
        for end in self.source.iter().filter(|_| moves) {
            tell_one(shell, batch, end, &[source, target]).await?;
        }
        Ok(())
    }
}

async fn tell_one(shell: &Rc<LaneShell>, batch: BatchId, end: &[u8], names: &[&[u8]]) -> Result<(), String> {
    let Some(place) = shell.shared.directory.place(end) else {
        return Ok(());
    };
    let mut hop = Hop::new(0, Proto::Resp2, Some(batch));
    let args = [&b"TS.RULE.RELINK"[..], end];
    let args = args.into_iter().chain(names.iter().copied());
    hop.push(relink_command(shell)?, place.home.place, false, args);
    match ask(shell, place.home.lane, LaneRequest::Execute(hop)).await {
        Answer::Parts(parts) => match parts.get(0).strip_prefix(b"-") {
            // A string has taken the place of the series: nobody is there to be told.
            Some(error) if !error.starts_with(b"WRONGTYPE") => {
                Err(String::from_utf8_lossy(error).trim_end().to_owned())
            }
            _ => Ok(()),
        },
        Answer::Refused(text) | Answer::Unknown(text) => Err(text),
        _ => Err(UNEXPECTED_ANSWER.into()),
    }
}
