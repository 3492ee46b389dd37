//! TS.CREATERULE and TS.DELETERULE: both ends of a rule are changed by one batch that holds them, and with them the
//! series that the source itself is rolled up from, so that rules never form a circle.
//!
//! A rule with the aggregator `candle` is one rule per part of the candle, all made by the same batch. EXEC holds all of
//! these keys too (`exec_rules.rs`, `BatchRun::new`).

use std::rc::Rc;

use crate::aggregate::Aggregator;
use crate::command::QueuedCommand;
use crate::command::plan::NewRule;
use crate::lane::journal::BatchId;
use crate::limits::KEY_LEN_MAX_BYTES;
use crate::resp::Reply;
use crate::series::{CANDLE_PARTS, CANDLE_SUFFIX_MAX_BYTES, Label, SeriesProperties};

use super::client::ClientHandle;
use super::exec::run_one;
use super::hop::UNKNOWN_OUTCOME;
use super::lane_shell::LaneShell;
use super::rule_ends::{HOLD_TRIES_MAX, facts_of};
use super::transaction::{BatchRun, Caller, Ended};

/// Rules that may follow one another up to the source of a new one.
const LINEAGE_MAX: usize = 64;

const CIRCLE: &str = "ERR TSDB: rules must not form a circle";
const TOO_LONG: &str = "ERR TSDB: too many rules follow one another";
const CHANGING: &str = "ERR TSDB: the rules of these keys keep changing, try again later";

/// One rule, as its ends see it.
#[derive(Clone, Debug, PartialEq)]
struct Link {
    source: Box<[u8]>,
    destination: Box<[u8]>,
    aggregator: Aggregator,
}

/// What a new rule has to fit in with.
#[derive(Clone, Debug, PartialEq)]
struct Survey {
    links: Vec<Link>,
    /// The series that the sources are rolled up from, and those above.
    lineage: Vec<Box<[u8]>>,
    /// Of the destination, for series that are created beside it.
    properties: SeriesProperties,
}

/// Whom the work is for, and the batch that it is part of, if any.
#[derive(Clone, Copy)]
pub struct RuleCaller<'a> {
    /// The lane.
    pub shell: &'a Rc<LaneShell>,
    /// The client.
    pub client: &'a Rc<ClientHandle>,
    /// Of EXEC.
    pub within: Option<BatchId>,
}

/// Carries TS.CREATERULE out and writes its reply.
///
/// # Errors
/// The reply, when the storage failed midway and the connection has to be closed after it.
pub async fn create(caller: RuleCaller<'_>, new: &NewRule, reply: &mut Reply) -> Result<(), String> {
    if new.rule.aggregator == Aggregator::Candle
        && new.rule.destination.len() + CANDLE_SUFFIX_MAX_BYTES > KEY_LEN_MAX_BYTES
    {
        reply.error(format_args!("ERR key is longer than {KEY_LEN_MAX_BYTES} bytes"));
        return Ok(());
    }
    for _ in 0..HOLD_TRIES_MAX {
        let survey = match survey(caller.shell, new).await {
            Ok(survey) => survey,
            Err(text) => {
                reply.error(&text);
                return Ok(());
            }
        };
        let checks = survey.checks(caller.shell, new)?;
        let writes = survey.writes(caller.shell, new)?;
        let all = [checks.as_slice(), writes.as_slice()].concat();
        let Some((batch, run)) = hold(caller, &all, &survey.lineage, reply).await? else {
            return Ok(());
        };
        if let Some(run) = &run
            && self::survey(caller.shell, new).await.as_ref() != Ok(&survey)
        {
            run.release(caller.shell).await;
            continue;
        }
        let mut checked = run_all(caller, batch, &checks, reply).await;
        if checked == Ok(true)
            && let Some(text) = survey.refusal()
        {
            reply.error(text);
            checked = Ok(false);
        }
        if checked != Ok(true) {
            release(caller, run).await;
            return checked.map(|_| ());
        }
        return write(caller, (batch, run), &writes, reply).await;
    }
    reply.error(CHANGING);
    Ok(())
}

/// Carries TS.DELETERULE out and writes its reply.
///
/// # Errors
/// As [`create`].
pub async fn delete(
    caller: RuleCaller<'_>,
    (source, destination): (&[u8], &[u8]),
    reply: &mut Reply,
) -> Result<(), String> {
    for _ in 0..HOLD_TRIES_MAX {
        let ends = rule_links(caller.shell, (source, destination)).await;
        let links = match &ends {
            Ok(links) => links,
            Err(text) => {
                reply.error(text);
                return Ok(());
            }
        };
        let mut commands = vec![queued(caller.shell, "TS.RULE.HAS", &[source, destination])?];
        for (from, to) in links {
            commands.push(queued(caller.shell, "TS.RULE.RELINK", &[from, to])?);
            commands.push(queued(caller.shell, "TS.RULE.RELINK", &[to, from])?);
        }
        let Some((batch, run)) = hold(caller, &commands, &[], reply).await? else {
            return Ok(());
        };
        if let Some(run) = &run
            && rule_links(caller.shell, (source, destination)).await != ends
        {
            run.release(caller.shell).await;
            continue;
        }
        let check = commands.get(..1).unwrap_or(&[]);
        let checked = run_all(caller, batch, check, reply).await;
        if checked != Ok(true) {
            release(caller, run).await;
            return checked.map(|_| ());
        }
        let rest = commands.get(1..).unwrap_or(&[]);
        return write(caller, (batch, run), rest, reply).await;
    }
    reply.error(CHANGING);
    Ok(())
}

/// The batch under which commands run, and that batch if it is not EXEC's; `None` if it was refused.
async fn hold(
    caller: RuleCaller<'_>,
    commands: &[QueuedCommand],
    others: &[Box<[u8]>],
    reply: &mut Reply,
) -> Result<Option<(BatchId, Option<BatchRun>)>, String> {
    if let Some(batch) = caller.within {
        return Ok(Some((batch, None)));
    }
    let mut run = match BatchRun::new(caller.shell, commands, others) {
        Ok(run) => run,
        Err(refusal) => {
            reply.error(&refusal);
            return Ok(None);
        }
    };
    match run.hold(caller.shell, None).await {
        Ended::Done(()) => Ok(Some((run.id, Some(run)))),
        Ended::Refused(text) | Ended::Unknown(text) => {
            reply.error(&text);
            Ok(None)
        }
        Ended::CalledOff => Err(UNKNOWN_OUTCOME.into()),
    }
}

/// Runs commands one after another; false if one was refused, which is the reply then.
async fn run_all(
    caller: RuleCaller<'_>,
    batch: BatchId,
    commands: &[QueuedCommand],
    reply: &mut Reply,
) -> Result<bool, String> {
    let for_whom = Caller {
        client: caller.client.session.borrow().id,
        proto: reply.proto(),
        watched: &[],
    };
    for command in commands {
        let mut part = Reply::new(reply.proto());
        run_one(caller.shell, caller.client, for_whom, batch, command, &mut part).await?;
        if part.as_bytes().first() == Some(&b'-') {
            reply.raw(part.as_bytes());
            return Ok(false);
        }
    }
    Ok(true)
}

/// Lets the keys go of a batch of its own that has written nothing.
async fn release(caller: RuleCaller<'_>, run: Option<BatchRun>) {
    if let Some(run) = run {
        run.release(caller.shell).await;
    }
}

/// Runs the commands that write, and commits, which delivers what the rules owe.
async fn write(
    caller: RuleCaller<'_>,
    (batch, run): (BatchId, Option<BatchRun>),
    commands: &[QueuedCommand],
    reply: &mut Reply,
) -> Result<(), String> {
    let written = run_all(caller, batch, commands, reply).await;
    match (written, run) {
        (Ok(true), Some(run)) => {
            if let Ended::Unknown(text) = run.commit(caller.shell).await {
                return Err(text);
            }
        }
        (Ok(true), None) => {}
        (failed, run) => {
            // Half a rule may be in memory, and on no record.
            if let Some(run) = run {
                run.call_off(caller.shell).await;
            }
            return failed.map(|_| ());
        }
    }
    reply.ok();
    Ok(())
}

fn queued(shell: &LaneShell, name: &str, args: &[&[u8]]) -> Result<QueuedCommand, String> {
    let id = shell.shared.commands.internal(name);
    let args = [&[name.as_bytes()], args].concat();
    Ok(QueuedCommand {
        id: id.map_err(|refusal| refusal.to_string())?,
        args: args.into_iter().map(Box::from).collect(),
    })
}

/// Looks at the two ends and at what is above the source.
async fn survey(shell: &Rc<LaneShell>, new: &NewRule) -> Result<Survey, String> {
    let destination = &new.rule.destination;
    let mut survey = Survey {
        links: Vec::new(),
        lineage: Vec::new(),
        properties: SeriesProperties::default(),
    };
    if new.rule.aggregator == Aggregator::Candle {
        survey.properties = facts_of(shell, destination).await?.0.unwrap_or_default();
        let of_candles = candle_source(shell, &new.source).await?.is_some();
        survey.links = CANDLE_PARTS
            .iter()
            .map(|part| Link {
                source: if of_candles {
                    part.key(&new.source)
                } else {
                    new.source.clone()
                },
                destination: part.key(destination),
                aggregator: part.aggregator(of_candles),
            })
            .collect();
    } else {
        survey.links.push(Link {
            source: new.source.clone(),
            destination: destination.clone(),
            aggregator: new.rule.aggregator,
        });
    }
    let mut sources: Vec<&[u8]> = survey.links.iter().map(|link| &*link.source).collect();
    sources.dedup();
    for source in sources {
        let mut key: Box<[u8]> = source.into();
        while let Some(above) = source_of(shell, &key).await? {
            if survey.lineage.len() >= LINEAGE_MAX * CANDLE_PARTS.len() {
                return Err(TOO_LONG.into());
            }
            survey.lineage.push(above.clone());
            key = above;
        }
    }
    Ok(survey)
}

async fn source_of(shell: &Rc<LaneShell>, key: &[u8]) -> Result<Option<Box<[u8]>>, String> {
    let (properties, _) = facts_of(shell, key).await?;
    Ok(properties.and_then(|properties| properties.source))
}

/// What the candle at `key` is rolled up from, and whether that is a candle itself; `None` if the key is no candle.
async fn candle_source(shell: &Rc<LaneShell>, key: &[u8]) -> Result<Option<(Box<[u8]>, bool)>, String> {
    let Some(source) = source_of(shell, key).await? else {
        return Ok(None);
    };
    let (mut of_samples, mut of_candles) = (true, true);
    for part in &CANDLE_PARTS {
        let found = source_of(shell, &part.key(key)).await?;
        of_samples = of_samples && found.as_ref() == Some(&source);
        of_candles = of_candles && found == Some(part.key(&source));
        if !of_samples && !of_candles {
            return Ok(None);
        }
    }
    Ok(Some((source, of_candles)))
}

/// Source and destination of every rule that the rule between these two consists of.
async fn rule_links(
    shell: &Rc<LaneShell>,
    (source, destination): (&[u8], &[u8]),
) -> Result<Vec<(Box<[u8]>, Box<[u8]>)>, String> {
    let candle = candle_source(shell, destination).await?;
    Ok(match candle.filter(|(found, _)| **found == *source) {
        None => vec![(source.into(), destination.into())],
        Some((_, of_candles)) => CANDLE_PARTS
            .iter()
            .map(|part| {
                let from = if of_candles {
                    part.key(source)
                } else {
                    source.into()
                };
                (from, part.key(destination))
            })
            .collect(),
    })
}

impl Survey {
    /// Why there is no such rule, if nothing is wrong with its ends.
    fn refusal(&self) -> Option<&'static str> {
        let is_above = |link: &Link| self.lineage.contains(&link.destination);
        self.links.iter().any(is_above).then_some(CIRCLE)
    }

    /// Commands that only look whether the others may run.
    fn checks(&self, shell: &LaneShell, new: &NewRule) -> Result<Vec<QueuedCommand>, String> {
        let mut checks = Vec::with_capacity(2 * self.links.len());
        for link in &self.links {
            checks.push(queued(shell, "TS.RULE.CHECK", &[&link.source, b"source"])?);
        }
        for link in &self.links {
            let is_named = link.destination == new.rule.destination;
            let end: &[u8] = if is_named { b"destination" } else { b"part" };
            checks.push(queued(shell, "TS.RULE.CHECK", &[&link.destination, end])?);
        }
        Ok(checks)
    }

    fn writes(&self, shell: &LaneShell, new: &NewRule) -> Result<Vec<QueuedCommand>, String> {
        let rule = &new.rule;
        let mut writes = Vec::with_capacity(3 * self.links.len());
        for (link, part) in self.links.iter().zip(&CANDLE_PARTS) {
            let (source, destination) = (&*link.source, &*link.destination);
            if let Some(label) = part.label().filter(|_| self.links.len() > 1) {
                writes.push(self.create_part(shell, link, label)?);
            }
            writes.push(queued(shell, "TS.RULE.SOURCE", &[destination, source])?);
            let [bucket, align] = [rule.bucket, rule.align].map(|number| number.to_string());
            let aggregator = link.aggregator.name();
            let args = [
                source,
                destination,
                aggregator.as_bytes(),
                bucket.as_bytes(),
                align.as_bytes(),
                &rule.calendar.0,
                &rule.calendar.1,
                if new.backfill { b"1" } else { b"0" },
            ];
            writes.push(queued(shell, "TS.RULE.ADD", &args)?);
        }
        Ok(writes)
    }

    /// The series of a part of a candle is created unless it is there: like that of the closes, with one label more.
    fn create_part(&self, shell: &LaneShell, link: &Link, label: Label) -> Result<QueuedCommand, String> {
        let retention = self.properties.retention.map(|retention| retention.to_string());
        let retention = retention.unwrap_or_default();
        let mut args: Vec<&[u8]> = vec![&link.destination, &link.source, retention.as_bytes()];
        let others = self.properties.labels.iter().filter(|other| other.0 != label.0);
        for (name, value) in others.chain([&label]) {
            args.extend([&**name, &**value]);
        }
        queued(shell, "TS.RULE.DEST", &args)
    }
}
