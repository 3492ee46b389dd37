//! Why a command is refused. `Display` is the exact text on the wire and part of the API.

use std::borrow::Cow;
use std::fmt;

/// The reason, as the client reads it (without the leading `-`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key holds another type.
    WrongType,
    /// Options that do not fit each other or are unknown.
    Syntax,
    /// Not a 64-bit signed integer.
    NotInteger,
    /// Not a floating-point number.
    NotFloat,
    /// The key that must exist does not.
    NoSuchKey,
    /// The disk has no space for writes.
    DiskFull,
    /// Wrong number of arguments for this (lower-case) command.
    Arity(Cow<'static, str>),
    /// Anything else; the text starts with its error code.
    Text(Cow<'static, str>),
}

impl Refusal {
    /// A refusal with a text made on the spot.
    pub fn text(text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::Text(text.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Refusal::Syntax => "ERR syntax error",
            Refusal::NotInteger => "ERR value is not an integer or out of range",
            Refusal::NotFloat => "ERR value is not a valid float",
            Refusal::NoSuchKey => "ERR no such key",
            Refusal::DiskFull => {
                "MISCONF the disk is full or almost full (storage.disk_free_min): writes are refused until there is \
                 space again, reads go on"
            }
            Refusal::Arity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            Refusal::Text(text) => text,
        })
    }
}
