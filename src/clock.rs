//! Clock: the only reader of time. The system's, or one that tests move by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NANOSECONDS_PER_MICROSECOND: i64 = 1_000;
const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

/// Tells unix time and monotonic time. Clones read the same time, on whichever lane they are.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System {
        /// Zero of the monotonic time.
        base: Instant,
    },
    Manual {
        /// Unix time in nanoseconds.
        now_ns: Arc<AtomicI64>,
        /// Unix time in nanoseconds at creation: zero of the monotonic time.
        start_ns: i64,
    },
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System { base: Instant::now() },
        }
    }

    /// A clock that stands at `start_ms` (unix time, milliseconds) until it is moved.
    #[must_use]
    pub fn manual(start_ms: i64) -> Self {
        let start_ns = start_ms.saturating_mul(NANOSECONDS_PER_MILLISECOND);
        Self {
            source: Source::Manual {
                now_ns: Arc::new(AtomicI64::new(start_ns)),
                start_ns,
            },
        }
    }

    /// Moves a manual clock, and all its clones, forward.
    ///
    /// # Panics
    /// If this is the system's clock.
    pub fn advance(&self, by: Duration) {
        let Source::Manual { now_ns, .. } = &self.source else {
            panic!("invariant: only a manual clock is moved")
        };
        let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        now_ns.fetch_add(by_ns, Ordering::SeqCst);
    }

    /// Unix time in nanoseconds; holds until the year 2262.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        match &self.source {
            Source::System { .. } => match SystemTime::now().duration_since(UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
                Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
            },
            Source::Manual { now_ns, .. } => now_ns.load(Ordering::SeqCst),
        }
    }

    /// Unix time in microseconds.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        self.now_ns().div_euclid(NANOSECONDS_PER_MICROSECOND)
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ns().div_euclid(NANOSECONDS_PER_MILLISECOND)
    }

    /// Nanoseconds since this clock was made. Never goes back, so only differences mean something.
    #[must_use]
    pub fn instant_ns(&self) -> u64 {
        match &self.source {
            Source::System { base } => u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual { now_ns, start_ns } => {
                let passed_ns = now_ns.load(Ordering::SeqCst).saturating_sub(*start_ns);
                u64::try_from(passed_ns).unwrap_or(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_agree_on_a_manual_clock() {
        let clock = Clock::manual(1_700_000_000_123);
        assert_eq!(clock.now_ms(), 1_700_000_000_123);
        assert_eq!(clock.now_us(), 1_700_000_000_123_000);
        assert_eq!(clock.now_ns(), 1_700_000_000_123_000_000);
        assert_eq!(clock.instant_ns(), 0);
    }

    #[test]
    fn clones_move_together_also_on_another_thread() {
        let clock = Clock::manual(1_000);
        let clone = clock.clone();
        let seen_ms = std::thread::spawn(move || {
            clone.advance(Duration::from_millis(250));
            clone.now_ms()
        });
        assert_eq!(seen_ms.join().unwrap(), 1_250);
        assert_eq!(clock.now_ms(), 1_250);
        assert_eq!(clock.instant_ns(), 250_000_000);
    }

    #[test]
    fn time_before_1970_rounds_down() {
        let clock = Clock::manual(-1);
        assert_eq!(clock.now_ms(), -1);
    }

    #[test]
    fn system_clock_is_today_and_moves_forward() {
        let clock = Clock::system();
        let year_2020_ms = 1_577_836_800_000;
        assert!(clock.now_ms() > year_2020_ms);
        let first_ns = clock.instant_ns();
        let second_ns = clock.clone().instant_ns();
        assert!(first_ns <= second_ns);
    }
}
