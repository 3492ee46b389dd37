//! What a command has to pass before it runs or is queued, and how it is refused.

use crate::command::monitor::admit_monitor;
use crate::command::pubsub::admit_listener;
use crate::command::session::PortKind;
use crate::command::subcommand::check_call;
use crate::command::{Command, CommandId, Flags, QueuedCommand, unknown_command};
use crate::refusal::Refusal;
use crate::resp::{Args, Proto};

use super::dispatch::Section;
use super::transaction::no_business;

impl Section<'_> {
    /// What every command has to pass before it runs or is queued.
    pub(super) fn admit(&mut self, command: &Command, args: Args<'_>) -> Result<(), Refusal> {
        if !command.accepts(args.len()) {
            return Err(command.arity_error());
        }
        if !self.session.authenticated && !command.flags.has(Flags::NO_AUTH) {
            return Err(Refusal::text("NOAUTH Authentication required."));
        }
        if command.keys.first != 0 {
            self.check_keys(command, args)?;
        }
        if command.flags.has(Flags::DENY_ON_FULL) && self.shell.disk_full.get() {
            return Err(Refusal::DiskFull);
        }
        if self.session.subscriptions.is_some() && self.session.proto == Proto::Resp2 {
            check_call(command, args)?;
            admit_listener(command, args)?;
        }
        if self.is_shown && self.session.monitor.is_some() {
            admit_monitor(command)?;
        }
        if self.session.transaction.is_some() {
            check_call(command, args)?;
            if command.flags.has(Flags::NO_MULTI) {
                return Err(Refusal::text("ERR Command not allowed inside a transaction"));
            }
        }
        Ok(())
    }

    /// CLIENT PAUSE holds the command back.
    #[inline]
    pub(super) fn is_paused(&self, command: &Command) -> bool {
        let (until_ms, writes_only) = self.shell.paused.get();
        until_ms > self.now_ms
            && (!writes_only || command.flags.has(Flags::WRITE))
            && command.name != "CLIENT"
    }

    /// Every key belongs to a business that this port serves.
    #[inline]
    fn check_keys(&self, command: &Command, args: Args<'_>) -> Result<(), Refusal> {
        let PortKind::Business(business) = self.session.port else {
            return Ok(());
        };
        let directory = &self.shell.shared.directory;
        for key in command.keys.keys(args) {
            if directory.business_of(key) != Some(business) {
                let name = directory
                    .businesses()
                    .get(business)
                    .map_or("", |entry| &entry.config.name);
                return Err(Refusal::text(format!(
                    "WRONGBUSINESS this port serves only keys of the business '{name}'"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, id: CommandId, command: &Command, args: Args<'_>) {
        let max = self.shell.shared.config.wire.transaction_max;
        let unknown = command
            .keys
            .keys(args)
            .any(|key| self.shell.shared.directory.place(key).is_none());
        let Some(transaction) = &mut self.session.transaction else {
            return;
        };
        if unknown || transaction.commands.len() >= max {
            transaction.broken = true;
            let text = format!("ERR a transaction holds at most {max} commands");
            let refusal = if unknown {
                no_business()
            } else {
                Refusal::text(text)
            };
            self.fail(id, &refusal);
            return;
        }
        transaction.commands.push(QueuedCommand {
            id,
            args: args.iter().map(Box::from).collect(),
        });
        self.turn.reply.simple("QUEUED");
    }

    /// The command ran and was refused.
    pub(super) fn fail(&mut self, id: CommandId, refusal: &Refusal) {
        let before = self.turn.reply.len();
        self.turn.reply.error(refusal);
        self.lane.latency.record_failure(usize::from(id));
        self.lane.counters.error_replies += 1;
        self.shell
            .count_error(self.turn.reply.as_bytes().get(before + 1..).unwrap_or(b""));
    }

    /// The command was refused before it ran: a transaction being queued is broken by it.
    pub(super) fn reject(&mut self, id: CommandId, refusal: &Refusal) {
        let before = self.turn.reply.len();
        if self.shell.shared.commands.get(id).name == "EXEC" {
            let text = refusal.to_string();
            let reason = text.strip_prefix("ERR ").unwrap_or(&text);
            self.turn.reply.error(format_args!(
                "EXECABORT Transaction discarded because of: {reason}"
            ));
            self.session.transaction = None;
            self.session.unwatch_due = true;
        } else {
            self.turn.reply.error(refusal);
        }
        self.lane.latency.record_rejection(usize::from(id));
        self.lane.counters.error_replies += 1;
        self.shell
            .count_error(self.turn.reply.as_bytes().get(before + 1..).unwrap_or(b""));
        if let Some(transaction) = &mut self.session.transaction {
            transaction.broken = true;
        }
    }

    pub(super) fn unknown_command(&mut self, args: Args<'_>) {
        // A browser or a mail server talking to us: Redis closes too, so that no web page can be made to send commands.
        if args.name().eq_ignore_ascii_case(b"post") || args.name().eq_ignore_ascii_case(b"host:") {
            log::warn!(
                "possible cross-protocol attack from {}: connection closed",
                self.session.address
            );
            self.session.closing = true;
            return;
        }
        self.turn.reply.error(unknown_command(args));
        self.lane.counters.error_replies += 1;
        self.shell.count_error(b"ERR ");
        if let Some(transaction) = &mut self.session.transaction {
            transaction.broken = true;
        }
    }
}
