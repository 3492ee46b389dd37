//! RocksDB's threads yield to the lanes by `background_nice`, unless they fall behind: then they run as lanes do.
//!
//! A thread of its own looks how much waits for them. It ends as soon as the server is asked to stop, so that no look
//! keeps a database open, and the last checkpoint has what it needs.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::command::Shared;
use crate::store::SharedResources;

use super::{lifecycle, priority};

/// Time between looks while little waits, and else. Five buffers of 16 MiB have to fill up before RocksDB holds writes
/// up, which takes longer; a lane that is held up nevertheless ends the wait.
const CALM_INTERVAL: Duration = Duration::from_millis(100);
const CLOSE_INTERVAL: Duration = Duration::from_millis(50);
/// Backlog from which on the threads are behind: two full buffers of a family, or two thirds of the journal's.
const BEHIND_PERMILLE: u64 = 400;
/// Backlog up to which they have caught up: the one buffer that each flush makes, and four files that are being merged.
const CAUGHT_UP_PERMILLE: u64 = 200;
/// So many looks in a row must have found them so: a checkpoint fills buffers in bursts.
const CALM_LOOKS: u32 = 10;

/// Whether the threads hurry, and for how many looks there has been no reason to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    hurries: bool,
    calm_looks: u32,
}

impl Pace {
    /// The pace after a look. `held_up`: a lane had to wait for the threads since the last one.
    fn after(self, backlog_permille: u64, held_up: bool) -> Pace {
        let calm_looks = if held_up || backlog_permille > CAUGHT_UP_PERMILLE {
            0
        } else {
            (self.calm_looks + 1).min(CALM_LOOKS)
        };
        let is_behind = held_up || backlog_permille >= BEHIND_PERMILLE;
        Pace {
            hurries: is_behind || (self.hurries && calm_looks < CALM_LOOKS),
            calm_looks,
        }
    }

    /// Time until the next look.
    fn interval(self) -> Duration {
        if self.hurries || self.calm_looks == 0 {
            CLOSE_INTERVAL
        } else {
            CALM_INTERVAL
        }
    }
}

/// The thread that looks; none if there is nothing to be set.
pub struct Watch(Option<JoinHandle<()>>);

impl Watch {
    /// Starts it.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn start(shared: &Arc<Shared>, resources: &SharedResources) -> std::io::Result<Watch> {
        let usual = priority::own_nice();
        let yielding = usual.max(shared.config.storage.background_nice);
        shared.background.set_nice(usual);
        if yielding == usual {
            return Ok(Watch(None));
        }
        if !priority::may_return_from(yielding) {
            log::info!(
                "RocksDB's threads keep the niceness {usual}, background_nice does not apply: this process may not take \
                 a niceness of {yielding} back when they fall behind (that needs CAP_SYS_NICE, or a limit as LimitNICE={} \
                 of systemd sets it)",
                format_args!("{usual:+}")
            );
            return Ok(Watch(None));
        }
        let (shared, resources) = (shared.clone(), resources.clone());
        let thread = std::thread::Builder::new()
            .name("background".into())
            .spawn(move || watch(&shared, &resources, usual, yielding))?;
        Ok(Watch(Some(thread)))
    }

    /// Waits for its end, which the order to stop has brought about.
    pub fn join(self) {
        if let Some(thread) = self.0 {
            thread.join().expect("invariant: a panic ends the process");
        }
    }
}

/// Sets the niceness by need until the server is asked to stop.
fn watch(shared: &Shared, resources: &SharedResources, usual: i32, yielding: i32) {
    let background = &shared.background;
    background.watch();
    let set = |nice: i32| {
        priority::set_nice_of_rocksdb(nice);
        background.set_nice(nice);
    };
    set(yielding);
    let mut pace = Pace::default();
    while !lifecycle::stop_requested() {
        std::thread::park_timeout(pace.interval());
        let before = pace;
        let (backlog_permille, held_up) = (resources.backlog_permille(), background.take_held_up());
        pace = before.after(backlog_permille, held_up);
        if pace.hurries == before.hurries {
            continue;
        }
        if pace.hurries {
            background.count_hurry();
            log::debug!(
                "RocksDB's threads are behind: {backlog_permille} permille, lanes held up: {held_up}"
            );
        }
        set(if pace.hurries { usual } else { yielding });
    }
    set(usual);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The looks after which the threads hurry.
    fn hurries(looks: &[(u64, bool)]) -> Vec<bool> {
        let mut pace = Pace::default();
        let after = looks.iter().map(|(backlog_permille, held_up)| {
            pace = pace.after(*backlog_permille, *held_up);
            pace.hurries
        });
        after.collect()
    }

    #[test]
    fn threads_hurry_from_the_first_look_that_finds_them_behind() {
        assert_eq!(hurries(&[(0, false), (399, false), (333, false)]), [false; 3]);
        assert_eq!(hurries(&[(200, false), (400, false)]), [false, true]);
        assert_eq!(hurries(&[(0, true)]), [true]);
        assert_eq!(hurries(&[(u64::MAX, false)]), [true]);
    }

    #[test]
    fn threads_yield_again_after_half_a_second_without_a_reason() {
        let mut looks = vec![(1_000, false)];
        looks.extend([(200, false); 10]);
        let mut expected = vec![true; 10];
        expected.push(false);
        assert_eq!(hurries(&looks), expected);
    }

    #[test]
    fn what_is_between_the_bounds_changes_nothing_but_begins_the_half_second_anew() {
        let mut looks = vec![(600, false)];
        looks.extend([(0, false); 9]);
        looks.push((201, false));
        looks.extend([(0, false); 10]);
        let hurried = hurries(&looks);
        assert!(hurried[..20].iter().all(|hurries| *hurries));
        assert!(!hurried[20]);
        assert_eq!(hurries(&[(300, false); 20]), [false; 20]);
    }

    #[test]
    fn looks_are_rarer_while_little_waits() {
        let calm = Pace::default().after(200, false);
        assert_eq!(calm.interval(), CALM_INTERVAL);
        assert_eq!(calm.after(201, false).interval(), CLOSE_INTERVAL);
        let hurrying = calm.after(400, false).after(0, false);
        assert_eq!(hurrying.interval(), CLOSE_INTERVAL);
    }

    #[test]
    fn calm_before_does_not_end_a_hurry_early() {
        let mut looks = vec![(0, false); 30];
        looks.push((500, false));
        looks.push((0, false));
        assert!(hurries(&looks)[31]);
    }
}
