//! A thread that wakes every lane now and then, whatever its executor believes.
//!
//! glommio 0.9 can put an executor to sleep although a task is ready to run (see ARCHITECTURE.md). A timer does not
//! help for certain: when the timer's own task is the one that is ready, nothing is armed any more, and the lane sleeps
//! until the network wakes it, or for ever. Found here as clients with unread bytes under `redis-benchmark --cluster`.
//! A wake from another thread goes through the executor's event descriptor and always works.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

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

/// One waker per lane.
#[derive(Clone)]
pub struct LaneWakers {
    slots: Arc<Vec<Mutex<Option<Waker>>>>,
}

impl LaneWakers {
    /// Room for so many lanes.
    pub fn new(lanes: usize) -> LaneWakers {
        LaneWakers {
            slots: Arc::new((0..lanes).map(|_| Mutex::new(None)).collect()),
        }
    }

    /// Registers the calling lane; the future never ends and does nothing when woken but run.
    pub async fn stay_awake(self, lane: usize) {
        poll_fn::<(), _>(|context| {
            if let Some(Ok(mut slot)) = self.slots.get(lane).map(Mutex::lock) {
                slot.get_or_insert_with(|| context.waker().clone());
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
                loop {
                    std::thread::sleep(beat);
                    for slot in slots.iter() {
                        if let Ok(slot) = slot.lock()
                            && let Some(waker) = slot.as_ref()
                        {
                            waker.wake_by_ref();
                        }
                    }
                }
            })?;
        Ok(())
    }

    /// The lane's executor is about to end: nobody wakes it any more.
    pub fn leave(&self, lane: usize) {
        if let Some(Ok(mut slot)) = self.slots.get(lane).map(Mutex::lock) {
            *slot = None;
        }
    }
}
