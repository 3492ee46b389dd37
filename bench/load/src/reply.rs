//! Counts and classifies replies on the wire without keeping them, across any split of the stream into reads.

/// Longest line of a reply (status, error, number, header) that is accepted.
const LINE_BYTES_MAX: usize = 64 << 10;
/// What is kept of an error's text.
const ERROR_TEXT_BYTES_MAX: usize = 300;

/// What a reply is at its top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplyKind {
    /// `+OK` and the like.
    Simple = 1,
    /// `-ERR ...`, also in bulk form.
    Error = 2,
    /// `:1`.
    Integer = 4,
    /// A string of known length.
    Bulk = 8,
    /// Nothing, in any of its three spellings.
    Null = 16,
    /// An array, set or map.
    Array = 32,
    /// A double, boolean or big number of RESP3.
    Other = 64,
}

/// One complete reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its type at the top level.
    pub kind: ReplyKind,
    /// Elements of an array, bytes of a bulk string, otherwise 0.
    pub length: u64,
    /// Errors in it, at any depth.
    pub errors: u32,
}

/// The bytes are not replies of the Redis protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

/// The state between two reads of one connection.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// Bytes of a bulk string and its line end that are still to come.
    skip: u64,
    /// Elements of the current reply that are still to come, itself included.
    open: u64,
    /// The current reply as far as it is known.
    current: Option<Reply>,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The text of the last error line, cut to a few hundred bytes.
    error_text: String,
}

impl ReplyScanner {
    /// Scans up to the end of one reply or of `bytes`; returns the bytes consumed and the reply if complete.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<(usize, Option<Reply>), Malformed> {
        let mut at = 0;
        loop {
            if self.skip > 0 {
                let step = self.skip.min((bytes.len() - at) as u64);
                at += step as usize;
                self.skip -= step;
                if self.skip > 0 {
                    return Ok((at, None));
                }
                if let Some(reply) = self.element_done() {
                    return Ok((at, Some(reply)));
                }
            }
            if self.current.is_some() && self.partial.is_empty() {
                while let Some((element_bytes, elements)) = short_element(&bytes[at..]) {
                    at += element_bytes;
                    self.open += elements;
                    if let Some(reply) = self.element_done() {
                        return Ok((at, Some(reply)));
                    }
                }
            }
            let rest = &bytes[at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                if self.partial.len() + rest.len() > LINE_BYTES_MAX {
                    return Err(Malformed("a line has no end".into()));
                }
                self.partial.extend_from_slice(rest);
                return Ok((bytes.len(), None));
            };
            at += end + 1;
            let done = if self.partial.is_empty() {
                self.line(&rest[..end])?
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&rest[..end]);
                let done = self.line(&line)?;
                line.clear();
                self.partial = line;
                done
            };
            if let Some(reply) = done {
                return Ok((at, Some(reply)));
            }
        }
    }

    /// The text of the error that was seen last.
    pub fn error_text(&self) -> &str {
        &self.error_text
    }

    /// Takes in one line without its line feed.
    #[inline]
    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, Malformed> {
        let [first, body @ .., b'\r'] = line else {
            return Err(malformed(line));
        };
        match first {
            b'+' => self.open_element(ReplyKind::Simple, 0),
            b':' => self.open_element(ReplyKind::Integer, 0),
            b'-' => {
                self.open_element(ReplyKind::Error, 0);
                self.note_error(body);
            }
            b'$' | b'=' | b'!' => match length(body).ok_or_else(|| malformed(line))? {
                Some(bytes) => {
                    let kind = if *first == b'!' {
                        ReplyKind::Error
                    } else {
                        ReplyKind::Bulk
                    };
                    self.open_element(kind, bytes);
                    if *first == b'!' {
                        self.note_error(b"error in bulk form");
                    }
                    self.skip = bytes + 2;
                    return Ok(None);
                }
                None => self.open_element(ReplyKind::Null, 0),
            },
            b'*' | b'~' | b'%' => match length(body).ok_or_else(|| malformed(line))? {
                Some(elements) => {
                    self.open_element(ReplyKind::Array, elements);
                    self.open += if *first == b'%' { 2 * elements } else { elements };
                }
                None => self.open_element(ReplyKind::Null, 0),
            },
            b'_' => self.open_element(ReplyKind::Null, 0),
            b'#' | b',' | b'(' => self.open_element(ReplyKind::Other, 0),
            _ => return Err(malformed(line)),
        }
        Ok(self.element_done())
    }

    /// Notes the top level of a reply; elements further in change nothing.
    #[inline]
    fn open_element(&mut self, kind: ReplyKind, length: u64) {
        if self.current.is_none() {
            self.current = Some(Reply {
                kind,
                length,
                errors: 0,
            });
            self.open = 1;
        }
    }

    fn note_error(&mut self, text: &[u8]) {
        if let Some(reply) = &mut self.current {
            reply.errors += 1;
        }
        self.error_text = String::from_utf8_lossy(&text[..text.len().min(ERROR_TEXT_BYTES_MAX)]).into_owned();
    }

    #[inline]
    fn element_done(&mut self) -> Option<Reply> {
        self.open -= 1;
        if self.open == 0 { self.current.take() } else { None }
    }
}

/// Length of the number, status, string of up to nine bytes or header of up to nine elements that `bytes` begin with, and
/// how many elements follow inside it; `None` for all else, and near the end of what was read. Most elements of big replies
/// are such: going through them line by line would take the load generator as long as the server takes to write them.
#[inline]
fn short_element(bytes: &[u8]) -> Option<(usize, u64)> {
    let start = bytes.first_chunk::<SHORT_ELEMENT_ROOM_BYTES>()?;
    match start {
        [kind @ (b'*' | b'$'), digit @ b'0'..=b'9', b'\r', b'\n', ..] => {
            let number = digit - b'0';
            Some(match kind {
                b'*' => (4, u64::from(number)),
                _ => (4 + usize::from(number) + 2, 0),
            })
        }
        [b':' | b'+' | b',', ..] => {
            let (words, _) = start.as_chunks::<8>();
            let mut offset = 0;
            for word in words {
                // The lowest of the top bits that are set is that of the first line feed.
                let differing = u64::from_le_bytes(*word) ^ (LOW_BITS * u64::from(b'\n'));
                let found = differing.wrapping_sub(LOW_BITS) & !differing & (LOW_BITS << 7);
                if found != 0 {
                    let end = offset + found.trailing_zeros() as usize / 8;
                    return (start.get(end.wrapping_sub(1)) == Some(&b'\r')).then_some((end + 1, 0));
                }
                offset += word.len();
            }
            None
        }
        _ => None,
    }
}

/// Bytes that are looked at at once; no short element is longer.
const SHORT_ELEMENT_ROOM_BYTES: usize = 32;
/// The lowest bit of each byte.
const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// A header's number: `Some(None)` for -1, `None` if it is not one.
#[inline]
fn length(digits: &[u8]) -> Option<Option<u64>> {
    if digits == b"-1" {
        return Some(None);
    }
    if digits.is_empty() || digits.len() > 12 {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(Some(number))
}

#[cold]
fn malformed(line: &[u8]) -> Malformed {
    Malformed(format!(
        "not a reply: {}",
        line[..line.len().min(80)].escape_ascii()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reply of `bytes`, fed in pieces of `piece` bytes.
    fn replies(bytes: &[u8], piece: usize) -> Vec<Reply> {
        let mut scanner = ReplyScanner::default();
        let mut found = Vec::new();
        for chunk in bytes.chunks(piece) {
            let mut at = 0;
            while at < chunk.len() {
                let (used, reply) = scanner.scan(&chunk[at..]).unwrap();
                assert!(used > 0, "no progress at {at}");
                at += used;
                found.extend(reply);
            }
        }
        found
    }

    #[test]
    fn every_split_finds_the_same_replies() {
        let bytes =
            b"+OK\r\n:12\r\n$5\r\na\r\nb\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n*2\r\n*2\r\n:1\r\n+2.5\r\n*0\r\n\
            -ERR no\r\n*3\r\n:1\r\n-WRONG\r\n$1\r\nx\r\n%1\r\n+k\r\n,1.5\r\n_\r\n#t\r\n";
        let whole = replies(bytes, bytes.len());
        let kinds: Vec<_> = whole
            .iter()
            .map(|reply| (reply.kind, reply.length, reply.errors))
            .collect();
        assert_eq!(
            kinds,
            [
                (ReplyKind::Simple, 0, 0),
                (ReplyKind::Integer, 0, 0),
                (ReplyKind::Bulk, 5, 0),
                (ReplyKind::Bulk, 0, 0),
                (ReplyKind::Null, 0, 0),
                (ReplyKind::Null, 0, 0),
                (ReplyKind::Array, 0, 0),
                (ReplyKind::Array, 2, 0),
                (ReplyKind::Error, 0, 1),
                (ReplyKind::Array, 3, 1),
                (ReplyKind::Array, 1, 0),
                (ReplyKind::Null, 0, 0),
                (ReplyKind::Other, 0, 0),
            ]
        );
        for piece in 1..bytes.len() {
            assert_eq!(replies(bytes, piece), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn short_elements_are_found_as_those_of_lines_are() {
        let mut bytes = Vec::new();
        for number in 0..400_u64 {
            // Each line of a sample with the line feed at another place, and strings that hold what looks like one.
            let text = "9".repeat(number as usize % 21);
            bytes.extend(format!("*4\r\n:{text}\r\n+{text}\r\n*0\r\n").into_bytes());
            let string = "\n:1\r\n*3\r\n".repeat(2);
            let string = &string[..number as usize % 19];
            bytes.extend(format!("${}\r\n{string}\r\n:5\r\n", string.len()).into_bytes());
        }
        let whole = replies(&bytes, bytes.len());
        assert_eq!(whole, replies(&bytes, 1));
        assert_eq!(whole.len(), 800);
        bytes.extend_from_slice(b"*2\r\n:1\n                                ");
        let mut scanner = ReplyScanner::default();
        let mut at = 0;
        let refused = loop {
            match scanner.scan(&bytes[at..]) {
                Ok((used, _)) => at += used,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, malformed(b":1"));
    }

    #[test]
    fn the_text_of_an_error_is_kept() {
        let mut scanner = ReplyScanner::default();
        scanner
            .scan(b"*2\r\n+a\r\n-ERR TSDB: the key does not exist\r\n")
            .unwrap();
        assert_eq!(scanner.error_text(), "ERR TSDB: the key does not exist");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400\r\n"[..],
            b"+OK\n",
            b"$x\r\n",
            b"*\r\n",
            b"$1234567890123\r\n",
            b"\r\n",
        ] {
            assert!(
                ReplyScanner::default().scan(bytes).is_err(),
                "{}",
                bytes.escape_ascii()
            );
        }
        let endless = vec![b'+'; LINE_BYTES_MAX + 1];
        assert!(ReplyScanner::default().scan(&endless).is_err());
    }
}
