//! DEL, EXISTS, TYPE, SCAN and other commands of any key.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
