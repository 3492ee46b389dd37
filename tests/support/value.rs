//! A reply of the server, decoded from RESP2 or RESP3, and its notation in transcripts.

use std::fmt;
use std::io::{self, BufRead, Read};

/// Longest bulk string or aggregate that a test expects; a longer declared length is a fault of the server.
const REPLY_LEN_MAX: i64 = 64 << 20;

/// One reply. Texts are bytes as they came; doubles keep the digits that were sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// `+text`
    Simple(Vec<u8>),
    /// `-text`
    Error(Vec<u8>),
    /// `:number`
    Integer(i64),
    /// `$length` and bytes
    Bulk(Vec<u8>),
    /// `$-1`, RESP2's missing string
    Nil,
    /// `*-1`, RESP2's missing array
    NilArray,
    /// `_`, RESP3's missing anything
    Null,
    /// `*count` and elements
    Array(Vec<Value>),
    /// `%count` and pairs
    Map(Vec<(Value, Value)>),
    /// `~count` and elements
    Set(Vec<Value>),
    /// `>count` and elements
    Push(Vec<Value>),
    /// `,digits`
    Double(Vec<u8>),
    /// `#t` or `#f`
    Boolean(bool),
    /// `(digits`
    BigNumber(Vec<u8>),
    /// `=length`, three bytes of format, a colon, text
    Verbatim(Vec<u8>),
}

impl Value {
    /// Reads one reply.
    ///
    /// # Errors
    /// What the reader reports (a closed connection is `UnexpectedEof`), or `InvalidData` for bytes that are
    /// not RESP.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Value> {
        let line = read_line(reader)?;
        let (&kind, text) = line.split_first().ok_or_else(|| invalid("empty line"))?;
        match kind {
            b'+' => Ok(Value::Simple(text.to_vec())),
            b'-' => Ok(Value::Error(text.to_vec())),
            b':' => Ok(Value::Integer(number(text)?)),
            b',' => Ok(Value::Double(text.to_vec())),
            b'(' => Ok(Value::BigNumber(text.to_vec())),
            b'_' if text.is_empty() => Ok(Value::Null),
            b'#' if text == b"t" || text == b"f" => Ok(Value::Boolean(text == b"t")),
            b'$' | b'=' => match number(text)? {
                -1 if kind == b'$' => Ok(Value::Nil),
                length if kind == b'$' => Ok(Value::Bulk(read_bulk(reader, length)?)),
                length => Ok(Value::Verbatim(read_bulk(reader, length)?)),
            },
            b'*' if text == b"-1" => Ok(Value::NilArray),
            b'*' => Ok(Value::Array(read_values(reader, number(text)?)?)),
            b'~' => Ok(Value::Set(read_values(reader, number(text)?)?)),
            b'>' => Ok(Value::Push(read_values(reader, number(text)?)?)),
            b'%' => Ok(Value::Map(read_pairs(reader, number(text)?)?)),
            _ => Err(invalid(&format!("unknown reply line {}", escape(&line)))),
        }
    }

    /// The reply's text or digits; `None` for aggregates and missing values.
    pub fn text(&self) -> Option<String> {
        match self {
            Value::Integer(number) => Some(number.to_string()),
            Value::Simple(bytes)
            | Value::Error(bytes)
            | Value::Bulk(bytes)
            | Value::Double(bytes)
            | Value::BigNumber(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Value::Verbatim(bytes) => Some(String::from_utf8_lossy(bytes.get(4..)?).into_owned()),
            _ => None,
        }
    }

    /// The reply as a number, whichever way it was sent.
    pub fn float(&self) -> Option<f64> {
        self.text()?.parse().ok()
    }

    /// The reply as an integer, whichever way it was sent.
    pub fn integer(&self) -> Option<i64> {
        self.text()?.parse().ok()
    }

    /// The elements of an array, set or push; empty for everything else.
    pub fn elements(&self) -> &[Value] {
        match self {
            Value::Array(values) | Value::Set(values) | Value::Push(values) => values,
            _ => &[],
        }
    }

    /// Whether this is the simple string `OK`.
    pub fn is_ok(&self) -> bool {
        matches!(self, Value::Simple(text) if text == b"OK")
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The same reply with every array sorted, for replies whose order means nothing.
    #[must_use]
    pub fn sorted(&self) -> Value {
        match self {
            Value::Array(values) => {
                let mut values: Vec<Value> = values.iter().map(Value::sorted).collect();
                values.sort();
                Value::Array(values)
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) if is_plain_word(text) => out.write_str(&String::from_utf8_lossy(text)),
            Value::Simple(text) => write!(out, "+\"{}\"", escape(text)),
            Value::Error(text) => write!(out, "!\"{}\"", escape(text)),
            Value::Integer(number) => write!(out, "{number}"),
            Value::Bulk(text) => write!(out, "\"{}\"", escape(text)),
            Value::Nil => out.write_str("nil"),
            Value::NilArray => out.write_str("nil[]"),
            Value::Null => out.write_str("null"),
            Value::Array(values) => write_list(out, "[", values),
            Value::Set(values) => write_list(out, "set[", values),
            Value::Push(values) => write_list(out, "push[", values),
            Value::Map(pairs) => {
                out.write_str("{")?;
                for (index, (key, value)) in pairs.iter().enumerate() {
                    write!(out, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                out.write_str("}")
            }
            Value::Double(text) => write!(out, ",{}", escape(text)),
            Value::Boolean(true) => out.write_str("#t"),
            Value::Boolean(false) => out.write_str("#f"),
            Value::BigNumber(text) => write!(out, "({}", escape(text)),
            Value::Verbatim(text) => write!(out, "=\"{}\"", escape(text)),
        }
    }
}

fn write_list(out: &mut fmt::Formatter<'_>, open: &str, values: &[Value]) -> fmt::Result {
    out.write_str(open)?;
    for (index, value) in values.iter().enumerate() {
        write!(out, "{}{value}", if index == 0 { "" } else { ", " })?;
    }
    out.write_str("]")
}

/// Whether a simple string can stand in a transcript without quotes: `nil` and `null` mean something else.
fn is_plain_word(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _-".contains(byte);
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(plain)
        && text != b"nil"
        && text != b"null"
}

/// Bytes as printable ASCII: `\\ \" \n \r \t` and `\xNN` for the rest.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'"' => text.push_str("\\\""),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// The reverse of [`escape`].
///
/// # Panics
/// If an escape is not one that [`escape`] writes.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&code, after) = rest.split_first().expect("a character after the backslash");
        rest = after;
        match code {
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'\\' | b'"' => bytes.push(code),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).expect("two hex digits after \\x");
                bytes.push(u8::from_str_radix(digits, 16).expect("two hex digits after \\x"));
                rest = &rest[2..];
            }
            other => panic!("unknown escape \\{} in {text}", char::from(other)),
        }
    }
    bytes
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server closed the connection",
        ));
    }
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None => Err(invalid(&format!("line without CRLF: {}", escape(&line)))),
    }
}

fn read_bulk(reader: &mut impl BufRead, length: i64) -> io::Result<Vec<u8>> {
    let length = checked_length(length)?;
    let mut bytes = vec![0; length + 2];
    reader.read_exact(&mut bytes)?;
    match bytes.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None => Err(invalid("bulk string without CRLF")),
    }
}

fn read_values(reader: &mut impl BufRead, count: i64) -> io::Result<Vec<Value>> {
    (0..checked_length(count)?).map(|_| Value::read(reader)).collect()
}

fn read_pairs(reader: &mut impl BufRead, count: i64) -> io::Result<Vec<(Value, Value)>> {
    (0..checked_length(count)?)
        .map(|_| Ok((Value::read(reader)?, Value::read(reader)?)))
        .collect()
}

fn checked_length(length: i64) -> io::Result<usize> {
    if !(0..=REPLY_LEN_MAX).contains(&length) {
        return Err(invalid(&format!("declared length {length}")));
    }
    Ok(length as usize)
}

fn number(text: &[u8]) -> io::Result<i64> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| invalid(&format!("not a number: {}", escape(text))))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
