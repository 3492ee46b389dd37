//! LATENCY and SLOWLOG.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
