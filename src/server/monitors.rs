//! Showing clients under MONITOR what all lanes run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::command::monitor::{is_shown, write_line};
use crate::command::plan::{Plan, Shown};
use crate::command::{Flags, Order, QueuedCommand, Session};
use crate::limits::MESSAGES_WAITING_MAX_BYTES;
use crate::resp::Args;

use super::client::ClientHandle;
use super::dispatch::Step;
use super::event::Signal;
use super::lane_shell::LaneShell;
use super::message::LaneRequest;
use super::plans::with_args;
use super::requests::ask_all;

/// Lines of this lane that are to be handed out.
#[derive(Default)]
pub struct Monitors {
    lines: RefCell<Vec<u8>>,
    lost: Cell<bool>,
    work: Signal,
}

impl Monitors {
    fn add(&self, now_us: i64, address: &str, args: Args<'_>) {
        let mut lines = self.lines.borrow_mut();
        write_line(&mut lines, now_us, address, args);
        if lines.len() > MESSAGES_WAITING_MAX_BYTES {
            // Too many for whoever monitors anyway.
            *lines = Vec::new();
            self.lost.set(true);
        }
        self.work.raise();
    }

    /// What waits, if anything does.
    fn take(&self) -> Option<Shown> {
        let lines = self.lines.take();
        if self.lost.take() {
            return Some(Shown::Lost);
        }
        (!lines.is_empty()).then(|| Shown::Lines(lines.into()))
    }
}

/// True if somebody monitors: to be asked before anything is shown.
#[inline]
pub fn are_there(shell: &LaneShell) -> bool {
    shell.shared.connections.monitors() > 0
}

/// Shows a call that was let in, now that it has run or is about to. What is queued is shown when it runs, what has to
/// wait when it runs again, and EXEC behind what it has run.
#[cold]
pub fn show(shell: &LaneShell, session: &Session, args: Args<'_>, step: Option<&Step>, now_us: i64) {
    let waits = match step {
        Some(Step::Plan(plan)) => matches!(**plan, Plan::Transaction(_)),
        Some(Step::Wait(..) | Step::Paused | Step::Full | Step::NeedInput) => true,
        None | Some(Step::Offload(_) | Step::Report(_) | Step::AtomicSplit(_)) => false,
    };
    let command = shell.shared.commands.find(args.name());
    let Some(command) = command.map(|id| shell.shared.commands.get(id)) else {
        return;
    };
    let is_queued = session.transaction.is_some() && !command.flags.has(Flags::IN_MULTI);
    if !waits && !is_queued && is_shown(command, args) {
        shell.monitors.add(now_us, &session.address, args);
    }
}

/// Shows the commands that an EXEC has run, and EXEC itself.
pub fn show_executed(shell: &LaneShell, client: &ClientHandle, ran: &[QueuedCommand], exec: &[Box<[u8]>]) {
    if !are_there(shell) {
        return;
    }
    let now_us = shell.lane.borrow().clock.now_us();
    let session = client.session.borrow();
    for queued in ran {
        let command = shell.shared.commands.get(queued.id);
        with_args(&queued.args, |args| {
            if is_shown(command, args) {
                shell.monitors.add(now_us, &session.address, args);
            }
        });
    }
    with_args(exec, |args| shell.monitors.add(now_us, &session.address, args));
}

/// Tells every lane what this lane has run, one round after the other: runs for ever.
pub async fn monitor_loop(shell: Rc<LaneShell>) {
    loop {
        shell.monitors.work.wait().await;
        while let Some(shown) = shell.monitors.take() {
            ask_all(&shell, |_| LaneRequest::Order(Order::Show(shown.clone()))).await;
        }
    }
}

/// Hands lines to those of this lane's clients that monitor; returns how many these are.
pub fn hand_out(shell: &LaneShell, shown: &Shown) -> u64 {
    let mut count = 0;
    for client in shell.clients.borrow().values() {
        let session = client.session.borrow();
        if session.monitor.is_none() {
            continue;
        }
        count += 1;
        let is_taken = match shown {
            Shown::Lines(lines) => client.push(lines),
            Shown::Lost => {
                client.kill();
                false
            }
        };
        if !is_taken {
            log::warn!(
                "client {}: does not take what MONITOR shows, closed",
                session.address
            );
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::test_support::args_of;

    #[test]
    fn lines_that_nobody_fetches_are_bounded() {
        let monitors = Monitors::default();
        let (buffer, spans) = args_of(&["SET", "k", &"v".repeat(1 << 20)]);
        let args = Args::new(&buffer, &spans);
        monitors.add(0, "a:1", args);
        assert!(matches!(monitors.take(), Some(Shown::Lines(lines)) if lines.len() > 1 << 20));
        assert!(monitors.take().is_none());
        for _ in 0..32 {
            monitors.add(0, "a:1", args);
        }
        assert!(monitors.lines.borrow().len() <= MESSAGES_WAITING_MAX_BYTES);
        assert!(matches!(monitors.take(), Some(Shown::Lost)));
        assert!(monitors.take().is_none());
    }
}
