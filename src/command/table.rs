//! The one list of commands, and the look-up of names on the hot path.

use super::Command;

/// Index of a command in the table.
pub type CommandId = u16;

/// One line per family.
const FAMILIES: &[&[Command]] = &[
    super::connection::COMMANDS,
    super::string::COMMANDS,
    super::key::COMMANDS,
    super::expire::COMMANDS,
    super::transaction::COMMANDS,
    super::tsdb::COMMANDS,
    super::ts::create::COMMANDS,
    super::ts::write::COMMANDS,
    super::ts::delete::COMMANDS,
    super::ts::read::COMMANDS,
    super::ts::info::COMMANDS,
    super::ts::label_index::COMMANDS,
    super::ts::multi::COMMANDS,
    super::ts::several::COMMANDS,
    super::ts::follow::COMMANDS,
    super::ts::rules::COMMANDS,
    super::pubsub::COMMANDS,
    super::server::COMMANDS,
    super::latency::COMMANDS,
    super::business::COMMANDS,
    super::cluster::COMMANDS,
];

/// Names are found by an open-addressed table of this many places.
const PLACES: usize = 1024;
/// Longest name.
pub const NAME_LEN_MAX_BYTES: usize = 32;

/// All commands, found by name.
pub struct CommandTable {
    commands: Vec<Command>,
    places: Vec<CommandId>,
}

const EMPTY: CommandId = CommandId::MAX;

impl Default for CommandTable {
    fn default() -> Self {
        CommandTable::new(&[])
    }
}

impl CommandTable {
    /// Builds the table without the commands named in `disabled` (upper case).
    pub fn new(disabled: &[String]) -> CommandTable {
        let commands: Vec<Command> = FAMILIES
            .iter()
            .flat_map(|family| family.iter().copied())
            .collect();
        let mut places = vec![EMPTY; PLACES];
        for (id, command) in commands.iter().enumerate() {
            if disabled.iter().any(|name| name == command.name) {
                continue;
            }
            let mut place = hash(command.name.as_bytes()) % PLACES;
            while places.get(place).is_some_and(|taken| *taken != EMPTY) {
                place = (place + 1) % PLACES;
            }
            if let Some(free) = places.get_mut(place) {
                *free = id as CommandId;
            }
        }
        CommandTable { commands, places }
    }

    /// The command of this name, in any case; not one that is disabled.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        if name.len() > NAME_LEN_MAX_BYTES {
            return None;
        }
        let mut place = hash(name) % PLACES;
        loop {
            let id = *self.places.get(place)?;
            if id == EMPTY {
                return None;
            }
            if self.get(id).name.as_bytes().eq_ignore_ascii_case(name) {
                return Some(id);
            }
            place = (place + 1) % PLACES;
        }
    }

    /// The command with this id.
    #[inline]
    pub fn get(&self, id: CommandId) -> &Command {
        self.commands
            .get(usize::from(id))
            .expect("invariant: ids come from this table")
    }

    /// The command with this name, as an entry.
    pub fn named(&self, name: &str) -> Option<&Command> {
        self.find(name.as_bytes()).map(|id| self.get(id))
    }

    /// All commands that clients may call and that are not disabled, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &Command)> {
        let enabled = |command: &Command| {
            !command.flags.has(super::Flags::INTERNAL) && self.find(command.name.as_bytes()).is_some()
        };
        let commands = self
            .commands
            .iter()
            .enumerate()
            .map(|(id, command)| (id as CommandId, command));
        commands.filter(move |(_, command)| enabled(command))
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Names by id.
    pub fn names(&self) -> Vec<&'static str> {
        self.commands.iter().map(|command| command.name).collect()
    }
}

/// FNV-1a over the letters in lower case.
#[inline]
fn hash(name: &[u8]) -> usize {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(byte | 0x20)).wrapping_mul(0x0100_0000_01b3);
    }
    (hash ^ (hash >> 29)) as usize
}

/// The table as text, a line per command: `ticklane commands`.
pub fn render_table() -> String {
    let table = CommandTable::default();
    let mut lines: Vec<String> = table
        .iter()
        .filter(|(_, command)| !command.flags.has(super::Flags::INTERNAL))
        .map(|(_, command)| {
            format!(
                "{:<16} {:<12} {}  — {}",
                command.name, command.group, command.syntax, command.summary
            )
        })
        .collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Run;

    #[test]
    fn every_entry_is_complete() {
        let table = CommandTable::default();
        let mut names = table.names();
        names.sort_unstable();
        assert!(
            names.windows(2).all(|pair| pair[0] != pair[1]),
            "names are unique"
        );
        assert!(table.len() < PLACES / 2);
        for (id, command) in table.iter() {
            assert_eq!(command.name, command.name.to_ascii_uppercase());
            assert!(command.name.len() <= NAME_LEN_MAX_BYTES);
            assert!(
                command.summary.ends_with('.'),
                "{}: the summary is a sentence",
                command.name
            );
            let arity_min = usize::from(command.arity.unsigned_abs());
            match command.run {
                Run::Owner { key, .. } => {
                    assert!(key < arity_min && command.keys.first == key, "{}", command.name)
                }
                Run::Split { step, .. } => {
                    assert!(command.keys.step == step && arity_min > step, "{}", command.name)
                }
                _ => {}
            }
            assert_eq!(table.find(command.name.to_ascii_lowercase().as_bytes()), Some(id));
        }
        assert_eq!(table.find(b"nope"), None);
        assert!(CommandTable::new(&["GET".into()]).find(b"get").is_none());
    }
}
