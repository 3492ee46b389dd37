//! PING, HELLO, AUTH, CLIENT and other commands about the connection itself.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
