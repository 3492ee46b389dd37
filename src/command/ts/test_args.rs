//! Arguments of the tests, out of text.

use crate::config::TimeUnit;
use crate::resp::{Args, Span};

use super::timestamp::Now;

/// The present of the tests.
pub const NOW: Now = Now {
    timestamp: 10_000_000,
    unit: TimeUnit::Milliseconds,
};

/// Calls `read` with the words of `line`; `''` is an empty word.
pub fn with_args<T>(line: &str, read: impl FnOnce(Args<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for word in line.split(' ') {
        let start = bytes.len();
        if word != "''" {
            bytes.extend_from_slice(word.as_bytes());
        }
        spans.push(Span {
            start: start as u32,
            end: bytes.len() as u32,
        });
    }
    read(Args::new(&bytes, &spans))
}
