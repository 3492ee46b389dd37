//! Timing the commands of a turn, and noticing those that were slow.

use crate::command::CommandId;

use super::dispatch::{Section, Step};
use super::input::Input;

/// One run of equal commands, timed with one clock reading at each end.
pub(super) struct Timing {
    id: CommandId,
    count: u64,
    start_ns: u64,
    /// Where the last one of them begins in the input.
    last_start: usize,
}

impl Timing {
    /// No command yet, at this monotonic time.
    pub(super) fn from(start_ns: u64) -> Timing {
        Timing {
            id: 0,
            count: 0,
            start_ns,
            last_start: 0,
        }
    }
}

impl Section<'_> {
    /// Counts a command; the clock is read only when another kind of command begins.
    #[inline]
    pub(super) fn time(&mut self, id: CommandId) {
        if self.timing.count > 0 && self.timing.id == id && !self.slower_than.times_each() {
            self.timing.count += 1;
            self.timing.last_start = self.start;
            return;
        }
        let now_ns = if self.timing.count > 0 {
            self.close_timing()
        } else {
            self.timing.start_ns
        };
        self.timing = Timing {
            id,
            count: 1,
            start_ns: now_ns,
            last_start: self.start,
        };
    }

    /// Ends a run of equal commands.
    fn close_timing(&mut self) -> u64 {
        let now_ns = self.lane.clock.instant_ns();
        let (id, count) = (self.timing.id, self.timing.count);
        let each_ns = now_ns.saturating_sub(self.timing.start_ns) / count.max(1);
        self.lane
            .latency
            .record_service_n(usize::from(id), each_ns, count);
        self.turn.count(id, count);
        self.turn.ran_at_ns = now_ns;
        if let Some(took_us) = self.slower_than.if_slow(each_ns) {
            self.slow = Some((self.timing.last_start, took_us));
        }
        now_ns
    }

    /// Keeps the slow call that was found, if one was.
    #[cold]
    pub(super) fn keep_slow(&mut self, input: &Input) {
        let Some((start, took_us)) = self.slow.take() else {
            return;
        };
        let received = input.received().get(start..).unwrap_or(&[]);
        let shell = self.shell;
        shell.keep_slow_request(self.session, received, took_us, self.now_ms);
    }

    pub(super) fn finish(&mut self, input: &Input, step: &Step) {
        if self.timing.count > 0 {
            self.close_timing();
            // What is not done yet is timed when it is.
            if matches!(step, Step::NeedInput | Step::Full | Step::Paused) {
                self.keep_slow(input);
            }
        }
        self.lane.counters.commands_processed += self.commands as u64;
        self.lane.counters.turns += 1;
    }
}
