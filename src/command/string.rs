//! GET, SET and the other commands of plain values.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
