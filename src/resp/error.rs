//! Why bytes from a client are not a request; the connection answers with the text and closes.

use std::fmt;

/// Bytes that are not RESP or exceed a limit.
///
/// `Display` is the wire text behind `-ERR `, in the words of Redis 7 `networking.c`, because clients
/// and their tests match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// No end of line within `line_max_bytes` of the `*`.
    MultibulkLineTooLong {
        /// The limit that was exceeded, in bytes.
        line_max_bytes: usize,
    },
    /// The argument count is not a number, or more than `args_max`.
    InvalidMultibulkLength {
        /// The declared count, if it was a number.
        got: Option<i64>,
        /// The limit, in arguments.
        args_max: usize,
    },
    /// More arguments than a client may send before it has authenticated.
    UnauthenticatedMultibulkLength {
        /// The declared count.
        got: i64,
        /// The limit, in arguments.
        args_max: usize,
    },
    /// No end of line within `line_max_bytes` of the place where a `$` belongs.
    BulkLineTooLong {
        /// The limit that was exceeded, in bytes.
        line_max_bytes: usize,
    },
    /// An argument does not start with `$`.
    ExpectedDollar {
        /// The byte found instead.
        got: u8,
    },
    /// The length of an argument is not a number, is negative, or more than `bulk_len_max_bytes`.
    InvalidBulkLength {
        /// The declared length in bytes, if it was a number.
        got: Option<i64>,
        /// The limit, in bytes.
        bulk_len_max_bytes: usize,
    },
    /// A longer argument than a client may send before it has authenticated.
    UnauthenticatedBulkLength {
        /// The declared length in bytes.
        got: i64,
        /// The limit, in bytes.
        bulk_len_max_bytes: usize,
    },
    /// No line feed within `line_max_bytes` of the start of an inline request.
    InlineTooLong {
        /// The limit that was exceeded, in bytes.
        line_max_bytes: usize,
    },
    /// A quote in an inline request is not closed, or text follows the closing quote.
    UnbalancedQuotes,
    /// The request ends beyond 4 GiB, where spans cannot point; no sane buffer limit lets this happen.
    RequestTooLong {
        /// Where the offending argument ends, in bytes from the start of the request.
        end: usize,
    },
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match *self {
            Self::MultibulkLineTooLong { .. } => f.write_str("too big mbulk count string"),
            Self::InvalidMultibulkLength { .. } => f.write_str("invalid multibulk length"),
            Self::UnauthenticatedMultibulkLength { .. } => f.write_str("unauthenticated multibulk length"),
            Self::BulkLineTooLong { .. } => f.write_str("too big bulk count string"),
            Self::ExpectedDollar { got } => fmt_expected_dollar(f, got),
            Self::InvalidBulkLength { .. } => f.write_str("invalid bulk length"),
            Self::UnauthenticatedBulkLength { .. } => f.write_str("unauthenticated bulk length"),
            Self::InlineTooLong { .. } => f.write_str("too big inline request"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::RequestTooLong { .. } => f.write_str("too big request"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// Printable bytes as Redis shows them; line ends as the space that Redis puts there; the rest escaped,
/// because a lone byte above 127 is not text.
fn fmt_expected_dollar(f: &mut fmt::Formatter<'_>, got: u8) -> fmt::Result {
    match got {
        b'\r' | b'\n' => f.write_str("expected '$', got ' '"),
        b' '..=b'~' => write!(f, "expected '$', got '{}'", char::from(got)),
        _ => write!(f, "expected '$', got '\\x{got:02x}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_redis() {
        let text = |error: ProtocolError| error.to_string();
        assert_eq!(
            text(ProtocolError::InvalidMultibulkLength {
                got: None,
                args_max: 1
            }),
            "Protocol error: invalid multibulk length"
        );
        assert_eq!(
            text(ProtocolError::UnbalancedQuotes),
            "Protocol error: unbalanced quotes in request"
        );
        assert_eq!(
            text(ProtocolError::ExpectedDollar { got: b'x' }),
            "Protocol error: expected '$', got 'x'"
        );
        assert_eq!(
            text(ProtocolError::ExpectedDollar { got: b'\r' }),
            "Protocol error: expected '$', got ' '"
        );
        assert_eq!(
            text(ProtocolError::ExpectedDollar { got: 0xff }),
            "Protocol error: expected '$', got '\\xff'"
        );
    }
}
