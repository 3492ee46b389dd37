//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
