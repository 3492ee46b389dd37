//! A connected client as the rest of its lane sees it.

use std::cell::{Cell, RefCell};

use crate::command::Session;

/// Kept in the lane's list of clients while the connection lives.
pub struct ClientHandle {
    /// The session; borrowed by its connection while commands run.
    pub session: RefCell<Session>,
    /// The connection has to end.
    pub killed: Cell<bool>,
    /// Unix milliseconds of the last command.
    pub last_active_ms: Cell<i64>,
    /// Name of the last command.
    pub last_command: Cell<&'static str>,
    /// File descriptor.
    pub fd: i32,
    /// Bytes read and not yet parsed.
    pub query_buffer_bytes: Cell<usize>,
    /// Bytes of replies not yet written.
    pub output_bytes: Cell<usize>,
}
