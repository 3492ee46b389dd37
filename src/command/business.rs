//! BUSINESS, CLUSTER_INFO and CACHE.

use super::Command;

/// The family's table.
pub const COMMANDS: &[Command] = &[];
