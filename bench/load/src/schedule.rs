//! Open loop: when each batch is due, so that a slow server cannot delay the clock that judges it.

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A fixed arrival rate, dealt out to the threads in turn.
///
/// Latency is counted from the due time, not from the moment of sending: a stall of the server delays what
/// would have been sent during it, and all of these commands show it (no coordinated omission).
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start_nanos: u64,
    commands_per_second: u64,
    batch: u64,
    thread: u64,
    threads: u64,
    next: u64,
}

impl Schedule {
    /// `batch` commands fall due together, `commands_per_second / batch` times a second over all threads.
    pub fn new(
        start_nanos: u64,
        commands_per_second: u64,
        batch: u64,
        thread: u64,
        threads: u64,
    ) -> Schedule {
        Schedule {
            start_nanos,
            commands_per_second,
            batch,
            thread,
            threads,
            next: 0,
        }
    }

    /// When this thread's next batch is due.
    pub fn due_nanos(&self) -> u64 {
        // From the number of the batch, not by adding up: rounding does not accumulate over hours.
        let number = u128::from(self.next * self.threads + self.thread);
        let offset =
            number * u128::from(self.batch) * NANOS_PER_SECOND / u128::from(self.commands_per_second);
        self.start_nanos + offset as u64
    }

    /// Takes the next batch if it is due at `now_nanos`; returns its due time.
    pub fn take(&mut self, now_nanos: u64) -> Option<u64> {
        let due = self.due_nanos();
        (due <= now_nanos).then(|| {
            self.next += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_rate_evenly() {
        let threads = 3;
        let mut due: Vec<u64> = (0..threads)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(500, 1_000_000, 1, thread, threads);
                std::iter::from_fn(move || schedule.take(500 + 9_999)).collect::<Vec<_>>()
            })
            .collect();
        due.sort_unstable();
        assert_eq!(due, (0..10).map(|number| 500 + number * 1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut schedule = Schedule::new(0, 3, 1, 0, 1);
        for _ in 0..3_000_000 {
            schedule.take(u64::MAX);
        }
        assert_eq!(schedule.due_nanos(), 1_000_000 * 1_000_000_000);
    }

    #[test]
    fn a_stall_is_charged_to_every_command_that_fell_due_in_it() {
        // 1,000 commands a second; the server answers at once but stands still from 1 s to 2 s.
        let mut schedule = Schedule::new(0, 1000, 1, 0, 1);
        let mut latencies = Vec::new();
        let mut now = 0;
        while now < 3_000_000_000u64 {
            while let Some(due) = schedule.take(now) {
                latencies.push(now - due);
            }
            now = if now == 1_000_000_000 {
                2_000_000_000
            } else {
                now + 1_000_000
            };
        }
        assert_eq!(latencies.len(), 3000);
        let slow = latencies
            .iter()
            .filter(|latency| **latency >= 500_000_000)
            .count();
        // Half of the thousand commands of that second waited for half a second or more.
        assert_eq!(slow, 500);
        assert_eq!(latencies.iter().max(), Some(&999_000_000));
    }

    #[test]
    fn batches_fall_due_together() {
        let mut schedule = Schedule::new(0, 64_000, 64, 0, 1);
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!(schedule.take(1_000_000), Some(1_000_000));
    }
}
