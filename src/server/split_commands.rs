//! Commands of many keys (MGET, DEL, MSET, ...): run as one where all keys live together, else cut into groups.

use crate::business::Home;
use crate::command::{
    Command, CommandId, KeyCheck, KeyHandler, QueuedCommand, Run, admit_write, execute_ready, execute_split,
    is_key_held,
};
use crate::lane::{Stop, Wait};
use crate::refusal::Refusal;
use crate::resp::Args;

use super::dispatch::{Section, Step};
use super::transaction::no_business;

impl Section<'_> {
    /// Runs a command of many keys; `None` if it is done.
    pub(super) fn split(&mut self, id: CommandId, command: &Command, args: Args<'_>) -> Option<Step> {
        if !command.has_whole_groups(args.len()) {
            self.time(id);
            self.fail(id, &command.arity_error());
            return None;
        }
        let Some((home, together)) = self.homes(command, args) else {
            self.reject(id, &no_business());
            return None;
        };
        if together && home.lane == self.shell.id() {
            return self.run_here(home.place, (id, command), args, |partition, call, reply| {
                execute_split(partition, command, call, None, reply)
            });
        }
        if together {
            self.run_elsewhere(home, id, command, args);
            return None;
        }
        self.time(id);
        if matches!(command.run, Run::Split { atomic: Some(_), .. }) {
            return Some(Step::AtomicSplit(QueuedCommand {
                id,
                args: args.iter().map(Box::from).collect(),
            }));
        }
        self.scatter(id, command, args)
    }

    /// Where the first key lives, and whether all others live there too; `None` if no business serves one of them.
    #[inline]
    fn homes(&self, command: &Command, args: Args<'_>) -> Option<(Home, bool)> {
        let directory = &self.shell.shared.directory;
        let first = directory.place(args.get(1))?;
        let mut together = true;
        for key in command.keys.keys(args) {
            together &= directory.lives_at(first, key)?;
        }
        Some((first.home, together))
    }

    /// Runs the groups of a split command where their keys live; nothing runs before all local keys are warm.
    fn scatter(&mut self, id: CommandId, command: &Command, args: Args<'_>) -> Option<Step> {
        let Run::Split {
            step,
            handler,
            merge,
            prepare,
            ..
        } = command.run
        else {
            return None;
        };
        let all = args.from(1);
        let starts = || (0..all.len()).step_by(step);
        let groups = || starts().map(|start| all.range(start..start + step));
        for group in groups() {
            let home = self.shell.shared.directory.place(group.get(0))?.home;
            if home.lane == self.shell.id()
                && let Err(stop) = self.make_ready(home.place, command, group, prepare)
            {
                return self.stopped(id, home.place, stop);
            }
        }
        self.turn.place_join(merge, starts().len());
        for group in groups() {
            let home = self.shell.shared.directory.place(group.get(0))?.home;
            if home.lane == self.shell.id() {
                self.run_group(home.place, command, handler, group);
            } else {
                self.push_hop(home, id, true, group);
                self.turn.note_elsewhere(command);
            }
        }
        None
    }

    /// Makes sure that a group, whose key lives in this partition, can run without waiting.
    fn make_ready(
        &mut self,
        place: usize,
        command: &Command,
        group: Args<'_>,
        prepare: Option<KeyCheck>,
    ) -> Result<(), Stop> {
        let call = self.call(group);
        let partition = self.lane.partition(place)?;
        admit_write(partition, command, call.now_ms)?;
        partition.warm(group.get(0))?;
        if is_key_held(partition, group.get(0), None) {
            return Err(Stop::Wait(Wait::Held));
        }
        match prepare {
            Some(prepare) => prepare(partition, &call).map(drop),
            None => Ok(()),
        }
    }

    /// Runs a group that was found ready; its reply is a piece of the turn's.
    fn run_group(&mut self, place: usize, command: &Command, handler: KeyHandler, group: Args<'_>) {
        let call = self.call(group);
        let outcome = self.with_partition(place, command, |partition, reply| {
            let handler = (command.name, handler);
            execute_ready(partition, handler, group.get(0), &call, None, reply)
        });
        if let Err(stop) = outcome {
            let refusal = match stop {
                Stop::Refused(refusal) => refusal,
                _ => Refusal::text("ERR internal: a warm key had to wait"),
            };
            self.turn.reply.error(&refusal);
        }
        self.turn.place_local();
    }
}
