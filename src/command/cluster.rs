//! CLUSTER, READONLY, READWRITE: the cores as cluster nodes.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
