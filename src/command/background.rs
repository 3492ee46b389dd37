//! What lanes and INFO know of RocksDB's threads: their niceness, and whether a lane has to wait for them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::Thread;

/// See the head of the file. Written by the thread that sets the niceness, but for [`BackgroundThreads::note_held_up`].
#[derive(Debug, Default)]
pub struct BackgroundThreads {
    nice: AtomicI32,
    hurries: AtomicU64,
    held_up: AtomicBool,
    watcher: OnceLock<Thread>,
}

impl BackgroundThreads {
    /// The calling thread is the one that sets the niceness: it is unparked when a lane is held up.
    pub fn watch(&self) {
        // It is set once in a process; a second watcher would only be late.
        let _ = self.watcher.set(std::thread::current());
    }

    /// A lane could not write because RocksDB or a checkpoint had to catch up.
    pub fn note_held_up(&self) {
        if !self.held_up.swap(true, Ordering::Relaxed)
            && let Some(watcher) = self.watcher.get()
        {
            watcher.unpark();
        }
    }

    /// True once after a lane was held up.
    pub fn take_held_up(&self) -> bool {
        self.held_up.swap(false, Ordering::Relaxed)
    }

    /// The threads have this niceness from now on.
    pub fn set_nice(&self, nice: i32) {
        self.nice.store(nice, Ordering::Relaxed);
    }

    /// Niceness of the threads.
    pub fn nice(&self) -> i32 {
        self.nice.load(Ordering::Relaxed)
    }

    /// They have fallen behind and stop yielding.
    pub fn count_hurry(&self) {
        self.hurries.fetch_add(1, Ordering::Relaxed);
    }

    /// How often they have fallen behind since the start.
    pub fn hurries(&self) -> u64 {
        self.hurries.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lane_that_is_held_up_wakes_the_watcher_and_is_told_of_once() {
        let threads = Arc::new(BackgroundThreads::default());
        threads.note_held_up();
        assert!(threads.take_held_up());
        let watched = threads.clone();
        let watcher = std::thread::spawn(move || {
            watched.watch();
            while !watched.take_held_up() {
                std::thread::park_timeout(Duration::from_secs(60));
            }
            watched.take_held_up()
        });
        while threads.watcher.get().is_none() {
            std::thread::yield_now();
        }
        threads.note_held_up();
        assert!(!watcher.join().unwrap());
    }
}
