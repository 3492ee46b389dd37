//! The one list of commands, and the look-up of names on the hot path.

use crate::refusal::Refusal;
use crate::resp::Args;

use super::{Command, Flags};

/// Index of a command in the table.
pub type CommandId = u16;

/// One line per family.
const FAMILIES: &[&[Command]] = &[
    super::connection::COMMANDS,
    super::database::COMMANDS,
    super::string::COMMANDS,
    super::string::lcs::COMMANDS,
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
    super::ts::mget::COMMANDS,
    super::ts::multi::COMMANDS,
    super::ts::several::COMMANDS,
    super::ts::follow::COMMANDS,
    super::ts::rules::COMMANDS,
    super::pubsub::COMMANDS,
    super::server::COMMANDS,
    super::latency::COMMANDS,
    super::monitor::COMMANDS,
    super::business::COMMANDS,
    super::cluster::COMMANDS,
];

/// Names are found by an open-addressed table of so many places.
const PLACES: usize = 1 << PLACES_BITS;
const PLACES_BITS: u32 = 10;
/// Longest name.
pub const NAME_LEN_MAX_BYTES: usize = size_of::<Packed>();

/// A name in upper case as one number, zeros behind it: no name has a zero byte.
type Packed = u128;

/// All commands, found by name.
pub struct CommandTable {
    commands: Vec<Command>,
    places: Vec<(Packed, CommandId)>,
}

/// Packed name of an empty place.
const EMPTY: Packed = 0;

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
        let mut places = vec![(EMPTY, 0); PLACES];
        for (id, command) in commands.iter().enumerate() {
            if disabled.iter().any(|name| name == command.name) {
                continue;
            }
            let name = packed(command.name.as_bytes()).expect("invariant: names of commands are short");
            let mut place = first_place(name);
            while places.get(place).is_some_and(|(taken, _)| *taken != EMPTY) {
                place = (place + 1) % PLACES;
            }
            if let Some(free) = places.get_mut(place) {
                *free = (name, id as CommandId);
            }
        }
        CommandTable { commands, places }
    }

    /// The command of this name, in any case; not one that is disabled.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<CommandId> {
        let name = packed(name)?;
        let mut place = first_place(name);
        loop {
            match *self.places.get(place)? {
                (EMPTY, _) => return None,
                (found, id) if found == name => return Some(id),
                _ => place = (place + 1) % PLACES,
            }
        }
    }

    /// As [`CommandTable::find`], of those that clients may call.
    #[inline]
    pub fn callable(&self, name: &[u8]) -> Option<CommandId> {
        self.find(name)
            .filter(|id| !self.get(*id).flags.has(Flags::INTERNAL))
    }

    /// The command with this id.
    #[inline]
    pub fn get(&self, id: CommandId) -> &Command {
        self.commands
            .get(usize::from(id))
            .expect("invariant: ids come from this table")
    }

    /// The internal command with this name.
    ///
    /// # Errors
    /// If it is disabled.
    pub fn internal(&self, name: &str) -> Result<CommandId, Refusal> {
        self.find(name.as_bytes())
            .ok_or_else(|| Refusal::text("ERR internal: no such internal command"))
    }

    /// All commands that clients may call and that are not disabled, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &Command)> {
        let enabled = |command: &Command| {
            !command.flags.has(Flags::INTERNAL) && self.find(command.name.as_bytes()).is_some()
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

/// What Redis says to a command that it does not know.
pub fn unknown_command(args: Args<'_>) -> String {
    let shown = |bytes: &[u8], max: usize| {
        // As C prints it: up to the first NUL.
        let len = memchr::memchr(0, bytes).unwrap_or(bytes.len()).min(max);
        String::from_utf8_lossy(bytes.get(..len).unwrap_or(b"")).into_owned()
    };
    let mut list = String::new();
    for arg in args.from(1).iter() {
        if list.len() >= 128 {
            break;
        }
        list.push_str(&format!("'{}' ", shown(arg, 128 - list.len())));
    }
    let name = shown(args.name(), 128);
    format!("ERR unknown command '{name}', with args beginning with: {list}")
}

/// Packs a name; `None` if it is longer than any, empty, or ends like the zeros behind a name.
#[inline]
fn packed(name: &[u8]) -> Option<Packed> {
    const HALF: usize = NAME_LEN_MAX_BYTES / 2;
    if *name.last()? == 0 {
        return None;
    }
    let padded = |bytes: &[u8]| {
        let mut word = [0; HALF];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    };
    let (low, high) = match (name.first_chunk::<HALF>(), name.last_chunk::<HALF>()) {
        // The last bytes overlap the first ones, which are shifted out.
        (Some(first), Some(last)) if name.len() <= NAME_LEN_MAX_BYTES => {
            let last = u128::from(u64::from_le_bytes(*last)) << (8 * (name.len() - HALF));
            (u64::from_le_bytes(*first), (last >> (8 * HALF)) as u64)
        }
        (None, None) => (padded(name), 0),
        _ => return None,
    };
    Some(Packed::from(upper(low)) | Packed::from(upper(high)) << (8 * HALF))
}

/// Eight characters in upper case: all at once, by the carries that `a` and what follows `z` cause in the top bit of each.
#[inline]
fn upper(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let rest = word & !TOPS;
    let from_a = rest + ONES * u64::from(0x80 - b'a');
    let behind_z = rest + ONES * u64::from(0x7f - b'z');
    let lower = (from_a ^ behind_z) & !word & TOPS;
    word ^ (lower >> 2)
}

/// Where to look for a name first: the top bits of a product, which depend on all of it.
#[inline]
fn first_place(name: Packed) -> usize {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (low, high) = (name as u64, (name >> 64) as u64);
    let mixed = (low ^ high.rotate_left(23)).wrapping_mul(ODD);
    (mixed >> (u64::BITS - PLACES_BITS)) as usize
}

/// The table as text, a line per command: `ticklane commands`.
pub fn render_table() -> String {
    let table = CommandTable::default();
    let mut lines: Vec<String> = table
        .iter()
        .filter(|(_, command)| !command.flags.has(Flags::INTERNAL))
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
    fn letters_and_nothing_else_change_case() {
        for byte in 0..=u8::MAX {
            for shift in 0..8 {
                let word = u64::from(byte) << (8 * shift);
                assert_eq!(
                    upper(word),
                    u64::from(byte.to_ascii_uppercase()) << (8 * shift),
                    "{byte}"
                );
            }
        }
    }

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
            assert!(!command.group.is_empty(), "{}", command.name);
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
        for unknown in [
            &b"nope"[..],
            b"",
            b"GE",
            b"GETT",
            b"GET\0",
            b"[ET",
            b"TS.QUERYLABELS__",
            b"TS.QUERYLABELS___",
        ] {
            assert_eq!(table.find(unknown), None, "{unknown:?}");
        }
        assert!(CommandTable::new(&["GET".into()]).find(b"get").is_none());
    }
}
