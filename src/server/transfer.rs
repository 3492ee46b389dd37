//! RENAME, RENAMENX and COPY, within a partition and between partitions.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use crate::business::Place;
use crate::command::plan::TransferKind;
use crate::lane::EventClasses;
use crate::lane::journal::BatchId;
use crate::resp::Reply;

use super::hop::UNKNOWN_OUTCOME;
use super::lane_shell::LaneShell;
use super::message::{Answer, BatchStep, KeyImage, LaneRequest, UNEXPECTED_ANSWER};
use super::notices;
use super::requests::ask;
use super::rule_ends::{self, RuleEndsOfBoth, hold_with_rule_ends};
use super::transaction::{Ended, no_business};

/// Carries the plan out; `batch` is the batch that it is part of, if any.
///
/// # Errors
/// The reply, when the storage failed midway and the connection has to be closed after it.
pub async fn transfer(
    shell: &Rc<LaneShell>,
    batch: Option<BatchId>,
    (source, target): (&[u8], &[u8]),
    kind: TransferKind,
    reply: &mut Reply,
) -> Result<(), String> {
    let mut transfer = Transfer {
        shell,
        batch: batch.unwrap_or_default(),
        source,
        target,
        kind,
        ends: None,
        has_written: false,
    };
    if batch.is_some() {
        match transfer.run_in_exec(reply).await {
            Ok(true) => note(shell, (source, target), kind),
            Ok(false) => {}
            Err(error) => reply.error(&error),
        }
        return Ok(());
    }
    // As if RENAME were a command with two keys that it writes.
    let commands = &shell.shared.commands;
    let Some(id) = commands.find(b"RENAME").or_else(|| commands.find(b"COPY")) else {
        reply.error("ERR internal: RENAME and COPY are disabled");
        return Ok(());
    };
    let run = match hold_with_rule_ends(shell, id, source, target).await {
        Ok((run, ends)) => {
            transfer.batch = run.id;
            transfer.ends = Some(ends);
            run
        }
        Err(Ended::Refused(text)) => {
            reply.error(&text);
            return Ok(());
        }
        Err(_) => return Err(UNKNOWN_OUTCOME.into()),
    };
    match transfer.run(reply).await {
        Ok(true) => match run.commit(shell).await {
            Ended::Unknown(text) => return Err(text),
            _ => note(shell, (source, target), kind),
        },
        Ok(false) => run.release(shell).await,
        Err(text) => {
            if transfer.has_written {
                run.call_off(shell).await;
            } else {
                run.release(shell).await;
            }
            reply.error(&text);
        }
    }
    Ok(())
}

fn note(shell: &LaneShell, (source, target): (&[u8], &[u8]), kind: TransferKind) {
    let generic = EventClasses::GENERIC;
    if matches!(kind, TransferKind::Copy { .. }) {
        notices::note(shell, generic, "copy_to", target);
    } else {
        notices::note(shell, generic, "rename_from", source);
        notices::note(shell, generic, "rename_to", target);
    }
}

struct Transfer<'a> {
    shell: &'a Rc<LaneShell>,
    batch: BatchId,
    source: &'a [u8],
    target: &'a [u8],
    kind: TransferKind,
    /// Other ends of rules that the batch holds too; `None` if it was begun by somebody else: they are told later.
    ends: Option<RuleEndsOfBoth>,
    /// Something has been written that must not stay alone.
    has_written: bool,
}

impl Transfer<'_> {
    /// As [`Transfer::run`] inside EXEC, which holds the other ends of the rules of its keys.
    async fn run_in_exec(&mut self, reply: &mut Reply) -> Result<bool, String> {
        if self.shell.shared.rules_seen.load(Ordering::Relaxed) {
            let (ends, _) = rule_ends::find(self.shell, self.source, self.target).await?;
            self.ends = Some(ends);
        }
        self.run(reply).await
    }

    /// The transfer itself, its keys being held; true if something was written.
    async fn run(&mut self, reply: &mut Reply) -> Result<bool, String> {
        let copies = matches!(self.kind, TransferKind::Copy { .. });
        let Some(image) = self.read(self.source).await? else {
            if copies {
                reply.integer(0);
                return Ok(false);
            }
            return Err("ERR no such key".into());
        };
        let replaces = matches!(
            self.kind,
            TransferKind::Rename | TransferKind::Copy { replace: true }
        );
        if !replaces && !matches!(self.read(self.target).await, Ok(None)) {
            reply.integer(0);
            return Ok(false);
        }
        let max = crate::limits::KEY_LEN_MAX_BYTES;
        if self.target.len() > max {
            return Err(format!("ERR key is longer than {max} bytes"));
        }
        if self.source != self.target {
            self.write(image, copies).await?;
        }
        match self.kind {
            TransferKind::Rename => reply.ok(),
            _ => reply.integer(1),
        }
        Ok(self.source != self.target)
    }

    fn place(&self, key: &[u8]) -> Result<Place, String> {
        let place = self.shell.shared.directory.place(key);
        place.ok_or_else(|| no_business().to_string())
    }

    async fn read(&self, key: &[u8]) -> Result<Option<KeyImage>, String> {
        let home = self.place(key)?.home;
        let request = LaneRequest::ReadImage {
            place: home.place,
            key: key.into(),
        };
        match ask(self.shell, home.lane, request).await {
            Answer::Image(image) => Ok(image),
            Answer::Refused(text) => Err(text),
            _ => Err(UNEXPECTED_ANSWER.into()),
        }
    }

    async fn write(&mut self, mut image: KeyImage, copies: bool) -> Result<(), String> {
        let (from, to) = (self.place(self.source)?.home, self.place(self.target)?.home);
        if let Some(ends) = self.ends.as_ref().filter(|ends| !ends.is_empty()) {
            self.has_written = true;
            let keys = (self.source, self.target);
            ends.tell(self.shell, self.batch, keys, !copies).await?;
            // The two may be ends of one rule.
            let read = self.read(self.source).await?;
            image = read.ok_or("ERR no such key")?;
        }
        if from == to && !copies {
            let step = BatchStep::Rename {
                place: to.place,
                from: self.source.into(),
                to: self.target.into(),
                ends_are_told: self.ends.is_some(),
            };
            return self.ask(to.lane, LaneRequest::Batch(self.batch, step)).await;
        }
        let image = if copies { image.without_rules() } else { image };
        let write = |place, key: &[u8], image, moved_to| LaneRequest::WriteImage {
            batch: self.batch,
            place,
            key: key.into(),
            image,
            moved_to,
            ends_are_told: self.ends.is_some(),
        };
        let written = write(to.place, self.target, Some(image), None);
        let deleted = write(from.place, self.source, None, Some(self.target.into()));
        self.ask(to.lane, written).await?;
        self.has_written = true;
        if !copies {
            self.ask(from.lane, deleted).await?;
        }
        Ok(())
    }

    async fn ask(&self, lane: usize, request: LaneRequest) -> Result<(), String> {
        match ask(self.shell, lane, request).await {
            Answer::Refused(text) | Answer::Unknown(text) => Err(text),
            _ => Ok(()),
        }
    }
}
