//! A thread that wakes every lane now and then, whatever its executor believes.
//!
//! glommio 0.9 can put an executor to sleep although a task is ready to run (see ARCHITECTURE.md). A timer does not
//! help for certain: when the timer's own task is the one that is ready, nothing is armed any more, and the lane sleeps
//! until the network wakes it, or for ever. Found here as clients with unread bytes under `redis-benchmark --cluster`.
//! A wake from another thread goes through the executor's event descriptor and always works.

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

/// After so long, a lane that has not begun to serve is thought to sleep in front of its first task.
const STARTING_MAX: Duration = Duration::from_millis(50);

thread_local! {
    static AWAKE: Cell<usize> = const { Cell::new(0) };
}

/// While one lives, this thread's lane has more to do than to wait for clients.
#[derive(Debug)]
pub struct Awake(());

impl Awake {
    /// Work begins.
    #[inline]
    pub fn begin() -> Awake {
        AWAKE.set(AWAKE.get() + 1);
        Awake(())
    }

    /// While the result lives, this work waits for something that wakes the lane out of any sleep, and does not count.
    #[inline]
    pub fn pause(&self) -> Paused<'_> {
        AWAKE.set(AWAKE.get() - 1);
        Paused(self)
    }

    /// True if any work is under way.
    #[inline]
    pub fn anyone() -> bool {
        AWAKE.get() > 0
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        AWAKE.set(AWAKE.get() - 1);
    }
}

/// See [`Awake::pause`].
#[derive(Debug)]
pub struct Paused<'a>(
    /// What goes on afterwards.
    #[expect(dead_code, reason = "keeps the work alive")]
    &'a Awake,
);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        AWAKE.set(AWAKE.get() + 1);
    }
}

/// What the waking thread knows of a lane.
#[derive(Default)]
enum Slot {
    /// Its first task has not run yet.
    #[default]
    Starting,
    /// It serves.
    Serving(Waker),
    /// Its executor has ended, or is about to.
    Gone,
}

/// One waker per lane.
#[derive(Clone)]
pub struct LaneWakers {
    slots: Arc<Vec<Mutex<Slot>>>,
}

impl LaneWakers {
    /// Room for so many lanes.
    pub fn new(lanes: usize) -> LaneWakers {
        LaneWakers {
            slots: Arc::new((0..lanes).map(|_| Mutex::default()).collect()),
        }
    }

    /// Registers the calling lane; the future never ends and does nothing when woken but run.
    pub async fn stay_awake(self, lane: usize) {
        poll_fn::<(), _>(|context| {
            if let Some(Ok(mut slot)) = self.slots.get(lane).map(Mutex::lock)
                && matches!(*slot, Slot::Starting)
            {
                *slot = Slot::Serving(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Wakes all lanes every `beat` until the process ends.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(&self, beat: Duration) -> std::io::Result<()> {
        let slots = self.slots.clone();
        std::thread::Builder::new()
            .name("lane-waker".into())
            .spawn(move || {
                let mut starting = Duration::ZERO;
                loop {
                    std::thread::sleep(beat);
                    if !wake_all(&slots) {
                        continue;
                    }
                    starting += beat;
                    if starting >= STARTING_MAX {
                        ring_executors();
                    }
                }
            })?;
        Ok(())
    }

    /// The lane's executor is about to end: nobody wakes it any more.
    pub fn leave(&self, lane: usize) {
        if let Some(Ok(mut slot)) = self.slots.get(lane).map(Mutex::lock) {
            *slot = Slot::Gone;
        }
    }
}

/// Wakes the lanes that serve; true if some have not begun to.
fn wake_all(slots: &[Mutex<Slot>]) -> bool {
    let mut is_starting = false;
    for slot in slots.iter().flat_map(Mutex::lock) {
        match &*slot {
            Slot::Starting => is_starting = true,
            Slot::Serving(waker) => waker.wake_by_ref(),
            Slot::Gone => {}
        }
    }
    is_starting
}

/// Writes to every event descriptor of this process: those of the executors end their sleep, and to no other does it
/// make a difference.
///
/// An executor that has been off its core for a millisecond just before its first task can go to sleep in front of it.
/// There is no waker of it yet, and its descriptor is known to nobody else.
fn ring_executors() {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = descriptors
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    for descriptor in numbers.filter(|descriptor| is_event_descriptor(*descriptor)) {
        // SAFETY: the call takes no pointers; what it returns is new and nobody else's.
        let copy = unsafe {
            let copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0);
            if copy < 0 {
                continue;
            }
            OwnedFd::from_raw_fd(copy)
        };
        // Asked again of the copy: the number may have been given to a file meanwhile.
        if is_event_descriptor(copy.as_raw_fd()) {
            let one = 1_u64;
            // SAFETY: eight bytes are read from `one`, which lives until the call returns.
            unsafe { libc::write(copy.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }
}

fn is_event_descriptor(descriptor: RawFd) -> bool {
    std::fs::read_link(format!("/proc/self/fd/{descriptor}"))
        .is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_descriptors_are_rung_and_nothing_else_is_written_to() {
        // SAFETY: the call takes no pointers; the descriptor it returns is new and nobody else's.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) };
        let file = tempfile::tempfile().unwrap();
        assert!(is_event_descriptor(event.as_raw_fd()));
        assert!(!is_event_descriptor(file.as_raw_fd()));
        ring_executors();
        let mut count = 0_u64;
        // SAFETY: at most eight bytes are written to `count`, which lives until the call returns.
        let read = unsafe { libc::read(event.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        assert_eq!((read, count), (8, 1));
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
