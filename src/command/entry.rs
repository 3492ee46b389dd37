//! What entries of the command table have in common; a table says the rest.

use super::{Command, Flags, KeyHandler, KeySpec, Run, SessionHandler};

/// A command without keys that runs on the connection's lane; [`Command::of_group`] and [`Command::says`] complete it.
pub const fn entry(name: &'static str, arity: i16, flags: Flags, handler: SessionHandler) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: KeySpec::NONE,
        group: "",
        since: "",
        syntax: "",
        summary: "",
        run: Run::Session(handler),
    }
}

/// An internal command, one owner's share of a command that begins on the client's lane: its name, its key (empty where
/// it means a whole partition), then what the client has sent.
pub const fn internal(name: &'static str, group: &'static str, flags: Flags, handler: KeyHandler) -> Command {
    Command {
        name,
        arity: -3,
        flags: flags.and(Flags::INTERNAL),
        keys: KeySpec::FIRST,
        group,
        since: "1.0.0",
        syntax: "key command",
        summary: "Internal: one owner's share of a command that begins on the client's lane.",
        run: Run::Owner { key: 1, handler },
    }
}

impl Command {
    /// Puts the entry into a group of COMMAND DOCS.
    pub const fn of_group(self, group: &'static str) -> Command {
        Command { group, ..self }
    }

    /// Fills in what COMMAND DOCS tells.
    pub const fn says(self, since: &'static str, syntax: &'static str, summary: &'static str) -> Command {
        Command {
            since,
            syntax,
            summary,
            ..self
        }
    }
}
