//! EXPIRE and its relatives.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
