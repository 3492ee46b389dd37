//! Finds where an encoded reply ends, so that replies can be cut apart and joined.

use crate::resp::number::parse_i64;

/// Length in bytes of the first complete value in `bytes`, nested values included.
///
/// `None` when the value is incomplete or not RESP2 or RESP3; streamed values (`$?`), which our encoder
/// never writes, count as not RESP. An attribute (`|`) belongs to the value behind it. Runs in constant
/// space however deep the nesting is.
pub fn skip_value(bytes: &[u8]) -> Option<usize> {
    let mut position = 0_usize;
    let mut values_left = 1_u64;
    while values_left > 0 {
        let line_end = position.checked_add(memchr::memchr(b'\r', bytes.get(position..)?)?)?;
        let (kind, text) = bytes.get(position..line_end)?.split_first()?;
        position = skip_line_end(bytes, line_end)?;
        values_left -= 1;
        match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
            b'$' | b'!' | b'=' => {
                if let Some(len) = length_or_null(text)? {
                    position = skip_line_end(bytes, position.checked_add(usize::try_from(len).ok()?)?)?;
                }
            }
            b'*' | b'~' | b'>' => {
                values_left = values_left.checked_add(length_or_null(text)?.unwrap_or(0))?
            }
            b'%' => values_left = values_left.checked_add(length_or_null(text)??.checked_mul(2)?)?,
            b'|' => {
                let attributes = length_or_null(text)??.checked_mul(2)?;
                values_left = values_left.checked_add(attributes)?.checked_add(1)?;
            }
            _ => return None,
        }
    }
    Some(position)
}

fn skip_line_end(bytes: &[u8], position: usize) -> Option<usize> {
    bytes.get(position..)?.starts_with(b"\r\n").then(|| position + 2)
}

/// `Some(None)` for the nulls of RESP2, `$-1` and `*-1`.
fn length_or_null(text: &[u8]) -> Option<Option<u64>> {
    match parse_i64(text)? {
        -1 => Some(None),
        length => Some(Some(u64::try_from(length).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_skipped_and_no_prefix_is() {
        let values: &[&[u8]] = &[
            b"+OK\r\n",
            b"-ERR x\r\n",
            b":-5\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"$0\r\n\r\n",
            b"$3\r\na\rb\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            b"_\r\n",
            b"#t\r\n",
            b",1.5\r\n",
            b"(123\r\n",
            b"!3\r\nERR\r\n",
            b"=6\r\ntxt:ab\r\n",
            b"%1\r\n+a\r\n*1\r\n:1\r\n",
            b"~2\r\n:1\r\n:2\r\n",
            b">1\r\n+a\r\n",
            b"|1\r\n+ttl\r\n:1\r\n*1\r\n:2\r\n",
        ];
        for value in values {
            let mut followed = value.to_vec();
            followed.extend_from_slice(b"+NEXT\r\n");
            assert_eq!(
                skip_value(&followed),
                Some(value.len()),
                "{}",
                value.escape_ascii()
            );
            for cut in 0..value.len() {
                assert_eq!(
                    skip_value(&value[..cut]),
                    None,
                    "{} cut at {cut}",
                    value.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn nonsense_is_no_value() {
        for bytes in [
            &b"x\r\n"[..],
            b"\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"*9223372036854775807\r\n*1\r\n",
            b"+a\rb",
        ] {
            assert_eq!(skip_value(bytes), None, "{}", bytes.escape_ascii());
        }
        assert_eq!(
            skip_value(b"%9223372036854775807\r\n%9223372036854775807\r\n"),
            None
        );
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let mut bytes = b"*1\r\n".repeat(1_000_000);
        bytes.extend_from_slice(b":1\r\n");
        assert_eq!(skip_value(&bytes), Some(bytes.len()));
    }
}
