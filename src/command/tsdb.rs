//! TSDB_SET, TSDB_GET, TSDB_MSET and the BATCH commands.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
