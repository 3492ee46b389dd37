//! INFO, CONFIG, COMMAND and other commands of the whole server.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
