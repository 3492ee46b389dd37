//! Incremental request parser: read buffer to argument spans, without copying an argument.
//!
//! What is accepted, and the words of the refusals, follow `processMultibulkBuffer` and
//! `processInlineBuffer` of Redis 7 `networking.c`. One difference: an end of line beyond the line limit
//! is refused even when it has already arrived, so that the outcome never depends on how the network cut
//! the bytes.

use std::mem;
use std::ops::Range;

use crate::resp::error::ProtocolError;
use crate::resp::inline::split_inline;
use crate::resp::number::parse_i64;

/// Longest inline request and longest `*` or `$` line: `PROTO_INLINE_MAX_SIZE` of Redis.
pub const INLINE_LEN_MAX_BYTES: usize = 64 * 1024;
/// Longest argument before authentication, as Redis since CVE-2021-32675.
pub const UNAUTHENTICATED_BULK_LEN_MAX_BYTES: usize = 16 * 1024;
/// Most arguments before authentication, as Redis since CVE-2021-32675.
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;

/// Where one argument lies: bytes `start..end` from the start of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// Behind the last byte; never below `start`.
    pub end: u32,
}

impl Span {
    /// The span of bytes `start..end`, where `start <= end`.
    ///
    /// # Errors
    /// `RequestTooLong` above 4 GiB.
    #[inline]
    pub fn new(start: usize, end: usize) -> Result<Self, ProtocolError> {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Ok(Self { start, end }),
            _ => Err(ProtocolError::RequestTooLong { end }),
        }
    }

    /// The span as an index range.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Limits of one request; the connection picks the authenticated or the unauthenticated set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest argument, in bytes.
    pub bulk_len_max_bytes: usize,
    /// Most arguments. Inline requests are bounded by their length instead.
    pub args_max: usize,
    /// Longest inline request, `*` line or `$` line, in bytes without the line end.
    pub inline_len_max_bytes: usize,
    /// Whether to answer an excess with the `unauthenticated ...` texts.
    pub unauthenticated: bool,
}

impl RequestLimits {
    /// What a client may send before it has authenticated.
    pub const UNAUTHENTICATED: Self = Self {
        bulk_len_max_bytes: UNAUTHENTICATED_BULK_LEN_MAX_BYTES,
        args_max: UNAUTHENTICATED_ARGS_MAX,
        inline_len_max_bytes: INLINE_LEN_MAX_BYTES,
        unauthenticated: true,
    };

    fn check_args(&self, got: Option<i64>) -> Result<usize, ProtocolError> {
        let args_max = self.args_max;
        match got {
            Some(count) if count <= 0 => Ok(0),
            Some(count) => match usize::try_from(count) {
                Ok(args) if args <= args_max => Ok(args),
                _ if self.unauthenticated && count <= i64::from(i32::MAX) => {
                    Err(ProtocolError::UnauthenticatedMultibulkLength { got: count, args_max })
                }
                _ => Err(ProtocolError::InvalidMultibulkLength { got, args_max }),
            },
            None => Err(ProtocolError::InvalidMultibulkLength { got, args_max }),
        }
    }

    #[inline]
    fn check_bulk(&self, got: Option<i64>) -> Result<usize, ProtocolError> {
        let bulk_len_max_bytes = self.bulk_len_max_bytes;
        match got.map(usize::try_from) {
            Some(Ok(len_bytes)) if len_bytes <= bulk_len_max_bytes => Ok(len_bytes),
            Some(Ok(_)) if self.unauthenticated => Err(ProtocolError::UnauthenticatedBulkLength {
                got: got.unwrap_or_default(),
                bulk_len_max_bytes,
            }),
            _ => Err(ProtocolError::InvalidBulkLength {
                got,
                bulk_len_max_bytes,
            }),
        }
    }
}

/// One complete request at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How many bytes it occupies; the next request starts behind them.
    pub consumed_bytes: usize,
    /// Whether the spans point into [`RequestParser::inline_bytes`] instead of the buffer.
    pub inline: bool,
}

/// Parses requests of one connection; remembers how far it got into an incomplete one.
///
/// Lives on: one per connection. Memory beyond a few bytes is taken only for arguments that have arrived,
/// never for announced ones.
#[derive(Debug, Default)]
pub struct RequestParser {
    progress: Progress,
    /// The spans of an incomplete request, so that connections may share the vector they pass in.
    partial_spans: Vec<Span>,
    /// Unescaped arguments of the last inline request, back to back.
    inline_bytes: Vec<u8>,
    missing_bytes: usize,
}

/// How far into the request at the start of the buffer the parser got.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Everything in front of this byte is done with.
    position: usize,
    /// How many bytes from `position` on are known to hold no end of line.
    scanned_bytes: usize,
    /// How many arguments are still to come; 0 while the first line is incomplete.
    args_left: usize,
    /// The length of the argument at `position`, once its `$` line is complete.
    bulk_len_bytes: Option<usize>,
}

impl RequestParser {
    /// A parser at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the request at the start of `buf`.
    ///
    /// `spans` is replaced by one span per argument, relative to the start of `buf`, or of
    /// [`inline_bytes`](Self::inline_bytes) when the request is inline. Requests without arguments
    /// (`\r\n`, `*0\r\n`, `*-1\r\n`) have none and are to be ignored.
    ///
    /// `Ok(None)`: incomplete, call again with the same bytes plus more; the buffer may have moved, the
    /// contents of `spans` do not matter. Progress is remembered, so a request that arrives in many
    /// pieces costs no more than in one.
    ///
    /// # Errors
    /// The bytes are not RESP or exceed `limits`; the connection is to be closed.
    #[inline]
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
        spans: &mut Vec<Span>,
    ) -> Result<Option<Request>, ProtocolError> {
        if self.progress.args_left == 0 {
            spans.clear();
        } else {
            mem::swap(spans, &mut self.partial_spans);
        }
        let mut progress = self.progress;
        let (inline, outcome) = match buf.first() {
            Some(b'*') => {
                let mut headers = ArgHeaders::default();
                let outcome = read_multibulk(buf, limits, spans, &mut progress, &mut headers);
                (false, outcome)
            }
            Some(_) => (true, self.read_inline(buf, limits, spans, &mut progress)),
            None => (false, Ok(Step::Missing(1))),
        };
        match outcome {
            Ok(Step::Complete) => {
                self.progress = Progress::default();
                Ok(Some(Request {
                    consumed_bytes: progress.position,
                    inline,
                }))
            }
            Ok(Step::Missing(bytes)) => {
                self.progress = progress;
                self.missing_bytes = bytes;
                mem::swap(spans, &mut self.partial_spans);
                spans.clear();
                Ok(None)
            }
            Err(error) => {
                self.progress = Progress::default();
                spans.clear();
                Err(error)
            }
        }
    }

    /// True if [`RequestParser::parse`] has seen the beginning of a request whose rest is still to come.
    #[inline]
    pub fn is_midway(&self) -> bool {
        self.progress.args_left > 0 || self.progress.scanned_bytes > 0
    }

    /// The bytes that the spans of the last inline request point into.
    pub fn inline_bytes(&self) -> &[u8] {
        &self.inline_bytes
    }

    /// After `Ok(None)`: how many more bytes are needed at least, 1 if unknown.
    ///
    /// At most the longest argument: a client may announce that much without sending it, so growing the
    /// buffer by this at once is the reader's choice.
    pub fn missing_bytes(&self) -> usize {
        self.missing_bytes
    }

    #[cold]
    fn read_inline(
        &mut self,
        buf: &[u8],
        limits: &RequestLimits,
        spans: &mut Vec<Span>,
        progress: &mut Progress,
    ) -> Result<Step, ProtocolError> {
        let line_max_bytes = limits.inline_len_max_bytes;
        let line = match find_line(buf, b'\n', line_max_bytes, progress) {
            Line::Complete(line) => line,
            Line::Incomplete => return Ok(Step::Missing(1)),
            Line::TooLong => return Err(ProtocolError::InlineTooLong { line_max_bytes }),
        };
        progress.position = line.len() + 1;
        split_inline(
            line.strip_suffix(b"\r").unwrap_or(line),
            &mut self.inline_bytes,
            spans,
        )?;
        Ok(Step::Complete)
    }
}

/// Appends the spans of the request at the start of `buf` and returns its length; nothing is remembered but `headers`, for
/// the request behind it.
///
/// `None` leaves some spans behind: the request is inline, incomplete or wrong, for [`RequestParser::parse`] to deal
/// with.
#[inline]
pub fn complete_request(
    buf: &[u8],
    limits: &RequestLimits,
    spans: &mut Vec<Span>,
    headers: &mut ArgHeaders,
) -> Option<usize> {
    if buf.first() != Some(&b'*') {
        return None;
    }
    let mut progress = Progress::default();
    match read_multibulk(buf, limits, spans, &mut progress, headers) {
        Ok(Step::Complete) => Some(progress.position),
        _ => None,
    }
}

/// Headers of arguments that were seen last, by the argument's number in its request.
///
/// Where an argument ends says where the next one begins, so reading lengths digit by digit is one chain of steps, each of
/// which waits for the one before. Pipelines repeat themselves, and so do the groups of TSDB_MSET (of three arguments) and
/// MSET (of two): where a header is the one that was seen there before, its length is known already, and the processor,
/// which guesses that it is, goes on without having read it.
#[derive(Debug, Default)]
pub struct ArgHeaders {
    seen: [ArgHeader; ARG_HEADERS],
    next: usize,
}

/// A multiple of the lengths of groups.
const ARG_HEADERS: usize = 6;

/// A header of one or two digits. Its first four bytes tell it: `$7\r\n`, or `$13\r` and what is taken for the line feed.
#[derive(Clone, Copy, Debug, Default)]
struct ArgHeader {
    start: [u8; ARG_HEADER_START_BYTES],
    header_bytes: u8,
    len_bytes: u8,
}

const ARG_HEADER_START_BYTES: usize = 4;

impl ArgHeaders {
    /// A request begins.
    #[inline(always)]
    fn begin(&mut self) {
        self.next = 0;
    }

    /// Reads the header at `position` and returns the argument's length and where it begins, as [`read_short_header`].
    #[inline(always)]
    fn read(&mut self, buf: &[u8], position: usize) -> Option<(usize, usize)> {
        let start = *buf.get(position..)?.first_chunk()?;
        let header = self.seen.get_mut(self.next)?;
        self.next = (self.next + 1) % ARG_HEADERS;
        if header.start == start {
            return Some((
                usize::from(header.len_bytes),
                position + usize::from(header.header_bytes),
            ));
        }
        let (len_bytes, next) = read_short_header(buf, position, b'$')?;
        if start.contains(&b'\r') {
            *header = ArgHeader {
                start,
                header_bytes: (next - position) as u8,
                len_bytes: len_bytes as u8,
            };
        }
        Some((len_bytes, next))
    }
}

/// How an attempt to read a request ended.
enum Step {
    Complete,
    /// At least so many more bytes are needed.
    Missing(usize),
}

/// Reads on from `progress`; `buf` starts with `*`.
#[inline]
fn read_multibulk(
    buf: &[u8],
    limits: &RequestLimits,
    spans: &mut Vec<Span>,
    progress: &mut Progress,
    headers: &mut ArgHeaders,
) -> Result<Step, ProtocolError> {
    headers.begin();
    if progress.args_left == 0 {
        let (args, next) = match read_short_header(buf, 0, b'*') {
            Some((args, next)) if args <= limits.args_max => (args, next),
            _ => match read_multibulk_header(buf, limits, progress)? {
                Some(header) => header,
                None => return Ok(Step::Missing(1)),
            },
        };
        *progress = Progress {
            position: next,
            args_left: args,
            ..Progress::default()
        };
    }
    while progress.args_left > 0 {
        let len_bytes = match progress.bulk_len_bytes {
            Some(len_bytes) => len_bytes,
            None => {
                let (len_bytes, next) = match headers.read(buf, progress.position) {
                    Some((len_bytes, next)) if len_bytes <= limits.bulk_len_max_bytes => (len_bytes, next),
                    _ => match read_bulk_header(buf, limits, progress)? {
                        Some(header) => header,
                        None => return Ok(Step::Missing(1)),
                    },
                };
                progress.position = next;
                progress.scanned_bytes = 0;
                len_bytes
            }
        };
        // Cannot overflow: a buffer position plus a length, both far below 2^62, and two.
        let end = progress.position.saturating_add(len_bytes);
        let next = end.saturating_add(2);
        // Like Redis, the two bytes behind an argument are taken for CR LF unseen.
        if next > buf.len() {
            progress.bulk_len_bytes = Some(len_bytes);
            return Ok(Step::Missing(next - buf.len()));
        }
        spans.push(Span::new(progress.position, end)?);
        progress.bulk_len_bytes = None;
        progress.position = next;
        progress.args_left -= 1;
    }
    Ok(Step::Complete)
}

/// Reads `kind`, one to three digits and CR LF at `position`: nearly every header there is.
///
/// Returns the number and the position behind the line, or `None` for the careful path to decide.
#[inline(always)]
fn read_short_header(buf: &[u8], position: usize, kind: u8) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    match *buf.get(position..)? {
        [first, a, b'\r', b'\n', ..] if first == kind && digit(a) <= 9 => Some((digit(a), position + 4)),
        [first, a, b, b'\r', b'\n', ..] if first == kind && matches!(digit(a), 1..=9) && digit(b) <= 9 => {
            Some((digit(a) * 10 + digit(b), position + 5))
        }
        [first, a, b, c, b'\r', b'\n', ..]
            if first == kind && matches!(digit(a), 1..=9) && digit(b) <= 9 && digit(c) <= 9 =>
        {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), position + 6))
        }
        _ => None,
    }
}

/// The number of arguments and the position behind the line; `None` when the line is incomplete.
#[cold]
fn read_multibulk_header(
    buf: &[u8],
    limits: &RequestLimits,
    progress: &mut Progress,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let line_max_bytes = limits.inline_len_max_bytes;
    match find_line(buf, b'\r', line_max_bytes, progress) {
        Line::Complete(line) => {
            let args = limits.check_args(line.get(1..).and_then(parse_i64))?;
            Ok(Some((args, line.len() + 2)))
        }
        Line::Incomplete => Ok(None),
        Line::TooLong => Err(ProtocolError::MultibulkLineTooLong { line_max_bytes }),
    }
}

/// The length of the next argument and the position behind the line; `None` when the line is incomplete.
#[cold]
fn read_bulk_header(
    buf: &[u8],
    limits: &RequestLimits,
    progress: &mut Progress,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let line_max_bytes = limits.inline_len_max_bytes;
    match find_line(buf, b'\r', line_max_bytes, progress) {
        Line::Complete(line) => match line.split_first() {
            Some((b'$', digits)) => {
                let len_bytes = limits.check_bulk(parse_i64(digits))?;
                Ok(Some((len_bytes, progress.position + line.len() + 2)))
            }
            // An empty line: what stands in the place of the `$` is the CR.
            other => Err(ProtocolError::ExpectedDollar {
                got: other.map_or(b'\r', |(first, _)| *first),
            }),
        },
        Line::Incomplete => Ok(None),
        Line::TooLong => Err(ProtocolError::BulkLineTooLong { line_max_bytes }),
    }
}

/// What stands at `progress.position`.
enum Line<'a> {
    /// A line without its end.
    Complete(&'a [u8]),
    Incomplete,
    /// More than the limit without an end.
    TooLong,
}

/// Looks for `end` (CR, which needs one more byte behind it, or LF) from where the last look stopped.
fn find_line<'a>(buf: &'a [u8], end: u8, line_max_bytes: usize, progress: &mut Progress) -> Line<'a> {
    let rest = buf.get(progress.position..).unwrap_or_default();
    let window_bytes = rest.len().min(line_max_bytes.saturating_add(1));
    let window = rest.get(progress.scanned_bytes..window_bytes).unwrap_or_default();
    match memchr::memchr(end, window) {
        Some(offset) => {
            let line_bytes = progress.scanned_bytes + offset;
            if end == b'\r' && rest.len() < line_bytes + 2 {
                progress.scanned_bytes = line_bytes;
                return Line::Incomplete;
            }
            Line::Complete(rest.get(..line_bytes).unwrap_or_default())
        }
        None if rest.len() > line_max_bytes => Line::TooLong,
        None => {
            progress.scanned_bytes = rest.len();
            Line::Incomplete
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
