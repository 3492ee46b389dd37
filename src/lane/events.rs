//! Keyspace events: what has happened to keys, for clients that listen (`notify-keyspace-events`).

use std::sync::atomic::Ordering;

use super::partition::Partition;

/// Classes of events, and the two ways to hear of them; a bit set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventClasses(pub u32);

/// Letters of the classes in the order in which Redis shows them.
const LETTERS: [(u8, EventClasses); 14] = [
    (b'g', EventClasses::GENERIC),
    (b'$', EventClasses::STRING),
    (b'l', EventClasses(1 << 4)),
    (b's', EventClasses(1 << 5)),
    (b'h', EventClasses(1 << 6)),
    (b'z', EventClasses(1 << 7)),
    (b'x', EventClasses::EXPIRED),
    (b'e', EventClasses(1 << 9)),
    (b't', EventClasses(1 << 10)),
    (b'd', EventClasses::MODULE),
    (b'n', EventClasses(1 << 12)),
    (b'K', EventClasses::KEYSPACE),
    (b'E', EventClasses::KEYEVENT),
    (b'm', EventClasses(1 << 13)),
];

impl EventClasses {
    /// Messages `__keyspace@0__:key` with the event.
    pub const KEYSPACE: EventClasses = EventClasses(1);
    /// Messages `__keyevent@0__:event` with the key.
    pub const KEYEVENT: EventClasses = EventClasses(1 << 1);
    /// `g`: DEL, EXPIRE, RENAME and others of any type.
    pub const GENERIC: EventClasses = EventClasses(1 << 2);
    /// `$`: strings.
    pub const STRING: EventClasses = EventClasses(1 << 3);
    /// `x`: keys whose time has come.
    pub const EXPIRED: EventClasses = EventClasses(1 << 8);
    /// `d`: time series.
    pub const MODULE: EventClasses = EventClasses(1 << 11);
    /// `A`: all but `n` and `m`. There are no events of `l`, `s`, `h`, `z`, `e`, `t`, `n` and `m` here.
    const ALL: EventClasses = EventClasses(0xffc);

    /// True if all of `other` are set.
    pub const fn has(self, other: EventClasses) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads letters, such as `KEA`.
    pub fn parse(text: &str) -> Option<EventClasses> {
        let class = |letter: u8| match letter {
            b'A' => Some(EventClasses::ALL),
            letter => LETTERS
                .iter()
                .find(|known| known.0 == letter)
                .map(|known| known.1),
        };
        let mut classes = 0;
        for letter in text.bytes() {
            classes |= class(letter)?.0;
        }
        Some(EventClasses(classes))
    }

    /// The letters, as CONFIG GET shows them.
    pub fn letters(self) -> String {
        let is_all = self.has(EventClasses::ALL);
        let mut text = String::from(if is_all { "A" } else { "" });
        for (letter, class) in LETTERS {
            if self.has(class) && !(is_all && EventClasses::ALL.has(class)) {
                text.push(char::from(letter));
            }
        }
        text
    }
}

/// Something that has happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// Of this name, such as `set`.
    pub name: &'static str,
    /// To this key.
    pub key: Box<[u8]>,
}

impl Partition {
    /// True if somebody may listen to events.
    #[inline]
    pub fn is_listened_to(&self) -> bool {
        self.settings.event_classes.load(Ordering::Relaxed) != 0
    }

    /// Length of what the open record, or the running batch's part, holds: it grows if a command changes anything.
    #[inline]
    pub fn recorded_bytes(&self) -> usize {
        self.journal.bytes().len()
    }

    /// True if the key is there and in memory, which it is right after it was changed.
    pub fn is_in_memory(&self, key: &[u8]) -> bool {
        let place = self.keys.find(key);
        place.is_some_and(|place| self.keys.at(place).is_present())
    }

    /// Notes an event if it is listened to; it is told when the open record is written.
    pub fn note_event(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        let wanted = EventClasses(self.settings.event_classes.load(Ordering::Relaxed));
        if wanted.has(class) {
            self.events.push(KeyEvent {
                name,
                key: key.into(),
            });
        }
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<KeyEvent> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_letters() {
        for (text, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("EK", "KE"),
            ("Kx", "xK"),
            ("g$lshzxetd", "A"),
            ("Knm", "nKm"),
            ("dgE", "gdE"),
            ("KAnm", "AnKm"),
        ] {
            assert_eq!(
                EventClasses::parse(text).map(EventClasses::letters).as_deref(),
                Some(shown)
            );
        }
        for text in ["y", "K E", "a", "é"] {
            assert_eq!(EventClasses::parse(text), None, "{text}");
        }
    }
}
