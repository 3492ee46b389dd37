//! Splits an inline command (a line typed into telnet) into arguments, with quotes and escapes.

use crate::resp::error::ProtocolError;
use crate::resp::request::Span;

/// Splits `line`, without its line end, into arguments; replaces the contents of `bytes` and `spans`.
///
/// `bytes` gets the unescaped arguments back to back, `spans[i]` is argument `i` in it.
/// Double quotes know `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and any other byte as itself; single quotes
/// know `\'` only. A closing quote must be followed by a blank or the end of the line.
///
/// # Errors
/// `UnbalancedQuotes` for an open quote or text behind a closing one; `RequestTooLong` above 4 GiB.
///
/// Source: the behaviour of `sdssplitargs` in Redis 7 `sds.c`.
pub fn split_inline(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), ProtocolError> {
    bytes.clear();
    spans.clear();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = bytes.len();
        rest = read_argument(rest, bytes)?;
        spans.push(Span::new(start, bytes.len())?);
        rest = skip_blanks(rest);
    }
    Ok(())
}

fn skip_blanks(mut rest: &[u8]) -> &[u8] {
    while let [first, tail @ ..] = rest
        && is_blank(*first)
    {
        rest = tail;
    }
    rest
}

/// C's `isspace` in the default locale; Rust's `is_ascii_whitespace` lacks the vertical tab.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Appends one argument to `bytes` and returns what follows it.
fn read_argument<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            // Form feed and vertical tab separate arguments only in front of one, as in Redis.
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', tail @ ..] => return read_double_quoted(tail, bytes),
            [b'\'', tail @ ..] => return read_single_quoted(tail, bytes),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

fn read_double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', tail @ ..] => return after_closing_quote(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescape(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn read_single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', tail @ ..] => return after_closing_quote(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn after_closing_quote(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of an ASCII hexadecimal digit.
fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let (mut bytes, mut spans) = (vec![1, 2, 3], Vec::new());
        split_inline(line, &mut bytes, &mut spans)?;
        Ok(spans.iter().map(|span| bytes[span.range()].to_vec()).collect())
    }

    fn owned(args: &[&[u8]]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        Ok(args.iter().map(|arg| arg.to_vec()).collect())
    }

    #[test]
    fn splits_on_blanks() {
        assert_eq!(split(b""), owned(&[]));
        assert_eq!(split(b" \t\x0b\x0c "), owned(&[]));
        assert_eq!(split(b"  SET  a\tb "), owned(&[b"SET", b"a", b"b"]));
        assert_eq!(split(b"a\x0bb"), owned(&[b"a\x0bb"]));
    }

    #[test]
    fn double_quotes_know_escapes() {
        assert_eq!(
            split(br#""\x41\n\r\t\b\a\q\"\\""#),
            owned(&[b"A\n\r\t\x08\x07q\"\\"])
        );
        assert_eq!(split(br#""\xZZ\x4""#), owned(&[b"xZZx4"]));
        assert_eq!(split(br#""\xfF\xAb""#), owned(&[b"\xff\xab"]));
        assert_eq!(split(br#"SET k "" "a b""#), owned(&[b"SET", b"k", b"", b"a b"]));
        assert_eq!(split(br#"foo"bar""#), owned(&[b"foobar"]));
    }

    #[test]
    fn single_quotes_know_one_escape() {
        assert_eq!(split(br"'a\'b\n'"), owned(&[br"a'b\n"]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&br#""a"#[..], br#"""a"#, b"'a", b"'a'b", br#""a\"#, br#"a"b"c"#] {
            assert_eq!(split(line), Err(ProtocolError::UnbalancedQuotes), "{line:?}");
        }
    }
}
