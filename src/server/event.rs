//! Waking tasks of the same executor.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Many tasks wait for something to change; each looks for itself whether it has.
#[derive(Default)]
pub struct Event {
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    /// Wakes every task that waits.
    pub fn wake_all(&self) {
        // Woken tasks may wait again at once: take the list first.
        let mut wakers = self.wakers.take();
        for waker in wakers.drain(..) {
            waker.wake();
        }
        let mut current = self.wakers.borrow_mut();
        if current.is_empty() {
            *current = wakers;
        }
    }

    /// Waits until `is_ready` says so; it is asked now and after every [`Event::wake_all`].
    pub async fn wait_until(&self, mut is_ready: impl FnMut() -> bool) {
        poll_fn(|context| {
            if is_ready() {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// One task waits to be told that there is work.
#[derive(Default)]
pub struct Signal {
    raised: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    /// There is work.
    #[inline]
    pub fn raise(&self) {
        if !self.raised.replace(true)
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    /// Waits until the signal is raised, and lowers it.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.raised.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
