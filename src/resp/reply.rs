//! Typed encoder of replies into one byte buffer, in RESP2 or RESP3.

use std::fmt::{self, Display, Write};
use std::mem;

use crate::resp::number::F64Buffer;

/// The dialect that a connection has agreed on with HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proto {
    /// What every client understands; the state of a new connection.
    #[default]
    Resp2,
    /// With maps, sets, doubles, booleans, nulls and pushes.
    Resp3,
}

/// Replies in the order they were written, encoded.
///
/// Each method appends one value, or the head of an aggregate whose values the caller appends next.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    buf: Vec<u8>,
    proto: Proto,
}

impl Reply {
    /// An empty reply.
    pub fn new(proto: Proto) -> Self {
        Self {
            buf: Vec::new(),
            proto,
        }
    }

    /// An empty reply that reuses the memory of `buf`.
    pub fn with_buffer(mut buf: Vec<u8>, proto: Proto) -> Self {
        buf.clear();
        Self { buf, proto }
    }

    /// The dialect of what is written next.
    #[inline]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Changes the dialect of what is written next; HELLO does, in the middle of a pipeline.
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A short text without line ends; any in `text` become spaces.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.buf.push(b'+');
        self.one_line(text);
        self.line_end();
    }

    /// An error. `text` begins with its code (`ERR ...`); line ends in it become spaces, so that text taken
    /// from a request cannot forge a second reply.
    #[inline]
    pub fn error(&mut self, text: impl Display) {
        self.write_error(&text);
    }

    #[cold]
    fn write_error(&mut self, text: &dyn Display) {
        self.buf.push(b'-');
        self.display(text, |reply, start| {
            for byte in reply.buf.iter_mut().skip(start) {
                replace_line_end(byte);
            }
        });
        self.line_end();
    }

    /// A whole number.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.buf.extend_from_slice(b":0\r\n"),
            1 => self.buf.extend_from_slice(b":1\r\n"),
            _ => self.line(b':', itoa::Buffer::new().format(value)),
        }
    }

    /// A byte string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + LINE_BYTES_MAX);
        self.head(b'$', bytes.len());
        self.buf.extend_from_slice(bytes);
        self.line_end();
    }

    /// A byte string with the text of `value`.
    pub fn bulk_display(&mut self, value: impl Display) {
        self.display(&value, |reply, start| {
            let text_bytes = reply.buf.len() - start;
            reply.head(b'$', text_bytes);
            // The length is known after the text but stands in front of it.
            if let Some(tail) = reply.buf.get_mut(start..) {
                tail.rotate_left(text_bytes);
            }
        });
        self.line_end();
    }

    /// A byte string with the decimal digits of `value`.
    #[inline]
    pub fn bulk_i64(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// No value: the null byte string of RESP2, the null of RESP3.
    #[inline]
    pub fn null(&mut self) {
        match self.proto {
            Proto::Resp2 => self.buf.extend_from_slice(b"$-1\r\n"),
            Proto::Resp3 => self.buf.extend_from_slice(b"_\r\n"),
        }
    }

    /// No array: the null array of RESP2, the null of RESP3.
    #[inline]
    pub fn null_array(&mut self) {
        match self.proto {
            Proto::Resp2 => self.buf.extend_from_slice(b"*-1\r\n"),
            Proto::Resp3 => self.buf.extend_from_slice(b"_\r\n"),
        }
    }

    /// The head of an array; `len` values follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// The head of a map; `len` pairs of values follow. In RESP2 an array of both.
    #[inline]
    pub fn map(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.head(b'*', len * 2),
            Proto::Resp3 => self.head(b'%', len),
        }
    }

    /// The head of a set; `len` values follow. In RESP2 an array.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.head_by_proto(b'*', b'~', len);
    }

    /// The head of a message that answers no request; `len` values follow. In RESP2 an array.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.head_by_proto(b'*', b'>', len);
    }

    /// A floating point number with the shortest digits that read back the same; in RESP2 a byte string.
    #[inline]
    pub fn double(&mut self, value: f64) {
        let mut buffer = F64Buffer::new();
        let text = buffer.format(value);
        match self.proto {
            Proto::Resp2 => self.bulk(text.as_bytes()),
            Proto::Resp3 => self.line(b',', text),
        }
    }

    /// A truth value; in RESP2 the integer 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        match self.proto {
            Proto::Resp2 => self.integer(i64::from(value)),
            Proto::Resp3 => self
                .buf
                .extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// Text for people, `format` being three letters such as `txt`; in RESP2 a byte string.
    ///
    /// # Panics
    /// If `format` has not three bytes.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        assert_eq!(
            format.len(),
            3,
            "invariant: the format of a verbatim string has three bytes"
        );
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                self.head(b'=', text.len() + format.len() + 1);
                self.buf.extend_from_slice(format.as_bytes());
                self.buf.push(b':');
                self.buf.extend_from_slice(text);
                self.line_end();
            }
        }
    }

    /// Values that are already encoded, in this dialect.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.buf.extend_from_slice(encoded);
    }

    /// Appends what `write` has written into room for `bytes_max` bytes; it returns how many there are.
    #[inline]
    pub fn fill(&mut self, bytes_max: usize, write: impl FnOnce(&mut [u8]) -> usize) {
        let start = self.buf.len();
        self.buf.resize(start + bytes_max, 0);
        let written = write(self.buf.get_mut(start..).unwrap_or_default());
        self.buf.truncate(start + written.min(bytes_max));
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.buf.reserve(bytes);
    }

    /// Writes over what was written at `start`; what does not fit is left out.
    pub fn overwrite(&mut self, start: usize, bytes: &[u8]) {
        let written = self.buf.iter_mut().skip(start);
        written.zip(bytes).for_each(|(old, new)| *old = *new);
    }

    /// Bytes written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing has been written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Takes back everything written since [`len`](Self::len) was `len`.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.buf.truncate(len);
    }

    /// Everything written so far.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Forgets everything written and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.buf.clear();
    }

    /// Hands out everything written and leaves an empty reply.
    #[inline]
    pub fn take(&mut self) -> Vec<u8> {
        mem::take(&mut self.buf)
    }

    #[inline]
    fn head_by_proto(&mut self, resp2: u8, resp3: u8, len: usize) {
        let kind = match self.proto {
            Proto::Resp2 => resp2,
            Proto::Resp3 => resp3,
        };
        self.head(kind, len);
    }

    #[inline]
    fn head(&mut self, kind: u8, len: usize) {
        match u8::try_from(len) {
            Ok(len @ 0..=9) => self.buf.extend_from_slice(&[kind, b'0' + len, b'\r', b'\n']),
            _ => self.line(kind, itoa::Buffer::new().format(len)),
        }
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &str) {
        self.buf.reserve(text.len() + 3);
        self.buf.push(kind);
        self.buf.extend_from_slice(text.as_bytes());
        self.line_end();
    }

    #[inline]
    fn line_end(&mut self) {
        self.buf.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn one_line(&mut self, text: &str) {
        let start = self.buf.len();
        self.buf.extend_from_slice(text.as_bytes());
        for byte in self.buf.iter_mut().skip(start) {
            replace_line_end(byte);
        }
    }

    /// Appends the text of `value`, then lets `finish` see where it starts.
    fn display(&mut self, value: &dyn Display, finish: impl FnOnce(&mut Self, usize)) {
        let start = self.buf.len();
        // The writer never fails, and a `Display` that does still leaves a reply that is well-formed.
        let _ = write!(Appender(&mut self.buf), "{value}");
        finish(self, start);
    }
}

/// Room for the longest `$` line and the line end behind the bytes.
const LINE_BYTES_MAX: usize = 25;

#[inline]
fn replace_line_end(byte: &mut u8) {
    if matches!(*byte, b'\r' | b'\n') {
        *byte = b' ';
    }
}

/// Lets formatted text go to bytes.
struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
