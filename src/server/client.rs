//! A connected client as the rest of its lane sees it.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use crate::command::Session;

use crate::limits::MESSAGES_WAITING_MAX_BYTES;

use super::sockets::Readiness;

/// Kept in the lane's list of clients while the connection lives.
pub struct ClientHandle {
    /// The session; borrowed by its connection while commands run, never across an await.
    pub session: RefCell<Session>,
    /// The connection has to end.
    pub killed: Cell<bool>,
    /// CLIENT UNBLOCK was called for it; true if its command has to end in an error.
    pub unblocked: Cell<Option<bool>>,
    /// Unix milliseconds of the last command.
    pub last_active_ms: Cell<i64>,
    /// Name of the last command.
    pub last_command: Cell<&'static str>,
    /// File descriptor.
    pub file_descriptor: i32,
    /// Bytes read and not yet parsed.
    pub query_buffer_bytes: Cell<usize>,
    /// Bytes of replies not yet written.
    pub output_bytes: Cell<usize>,
    /// Commands of a turn are under way.
    pub busy: Cell<bool>,
    /// What its socket is ready for.
    pub readiness: Readiness,
    /// Messages that the connection is to write behind the replies of its turn.
    messages: RefCell<Vec<u8>>,
    waker: RefCell<Option<Waker>>,
    /// The connection's task sleeps until its socket is ready or [`ClientHandle::wake`].
    waiting: Cell<bool>,
}

impl ClientHandle {
    /// A client that has just connected.
    pub fn new(session: Session, file_descriptor: i32) -> ClientHandle {
        ClientHandle {
            last_active_ms: Cell::new(session.connected_ms),
            session: RefCell::new(session),
            killed: Cell::new(false),
            unblocked: Cell::new(None),
            last_command: Cell::new("NULL"),
            file_descriptor,
            query_buffer_bytes: Cell::new(0),
            output_bytes: Cell::new(0),
            busy: Cell::new(false),
            readiness: Readiness::default(),
            messages: RefCell::default(),
            waker: RefCell::new(None),
            waiting: Cell::new(false),
        }
    }

    /// Remembers the task if it waits for input or for room to write.
    #[inline]
    pub fn wait_if<T>(&self, context: &Context<'_>, polled: Poll<T>) -> Poll<T> {
        self.waiting.set(polled.is_pending());
        if polled.is_pending() {
            self.wait_here(context);
        }
        polled
    }

    fn wait_here(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
    }

    /// Adds messages to be written; false, and the connection ends, if it does not take those it has.
    pub fn push(&self, messages: &[u8]) -> bool {
        let mut waiting = self.messages.borrow_mut();
        if waiting.len() + messages.len() > MESSAGES_WAITING_MAX_BYTES {
            waiting.clear();
            drop(waiting);
            self.kill();
            return false;
        }
        waiting.extend_from_slice(messages);
        drop(waiting);
        self.wake();
        true
    }

    /// True if there are messages to be written.
    #[inline]
    pub fn has_messages(&self) -> bool {
        !self.messages.borrow().is_empty()
    }

    /// The messages to be written.
    pub fn take_messages(&self) -> Vec<u8> {
        self.messages.take()
    }

    /// Ends the connection after its present turn.
    pub fn kill(&self) {
        self.killed.set(true);
        self.wake();
    }

    /// The socket is ready: wakes the task if that is what it waits for.
    #[inline]
    pub fn wake_waiting(&self) {
        if self.waiting.get() {
            self.wake();
        }
    }

    /// Makes the waiting task look around.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
