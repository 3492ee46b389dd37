//! The arguments of one request as a view into the bytes they arrived in, and a cursor over them.

use std::ops::Range;

use crate::resp::request::Span;

/// The arguments of one request, the command's name first.
///
/// A copyable view; `spans[i]` is argument `i` in `buf`.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Joins the bytes of a request with the spans that the parser found in them.
    #[inline]
    pub fn new(buf: &'a [u8], spans: &'a [Span]) -> Self {
        Self { buf, spans }
    }

    /// Number of arguments, the name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument, not even a name.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index`.
    ///
    /// # Panics
    /// If there is no such argument: the arity check in front of every handler has failed its duty.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.try_get(index)
            .expect("invariant: arity was checked and spans lie inside the request")
    }

    /// Argument `index`, or `None` if there are fewer.
    #[inline]
    pub fn try_get(&self, index: usize) -> Option<&'a [u8]> {
        self.buf.get(self.spans.get(index)?.range())
    }

    /// The command's name as the client spelled it.
    ///
    /// # Panics
    /// If the request is empty; empty requests never reach a command.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.get(0)
    }

    /// All arguments in order, the name included.
    #[inline]
    pub fn iter(&self) -> ArgCursor<'a> {
        self.cursor(0)
    }

    /// The arguments from `index` on; empty when there are fewer.
    #[inline]
    pub fn from(&self, index: usize) -> Args<'a> {
        Args {
            buf: self.buf,
            spans: self.spans.get(index..).unwrap_or_default(),
        }
    }

    /// The arguments in `range`, which becomes argument 0 and on.
    ///
    /// # Panics
    /// If `range` is not inside the arguments.
    #[inline]
    pub fn range(&self, range: Range<usize>) -> Args<'a> {
        let spans = self
            .spans
            .get(range)
            .expect("invariant: range lies inside the arguments");
        Args { buf: self.buf, spans }
    }

    /// Appends the arguments to a buffer and their places in it to `spans`, with what lies between them: one copy.
    ///
    /// # Panics
    /// If the buffer would hold 4 GiB.
    #[inline]
    pub fn append_to(&self, buffer: &mut Vec<u8>, spans: &mut Vec<Span>) {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return;
        };
        let received = self
            .buf
            .get(first.start as usize..last.end as usize)
            .unwrap_or(&[]);
        let start = u32::try_from(buffer.len()).expect("invariant: buffers of requests are below 4 GiB");
        buffer.extend_from_slice(received);
        assert!(
            u32::try_from(buffer.len()).is_ok(),
            "invariant: buffers of requests are below 4 GiB"
        );
        let moved = |span: &Span| Span {
            start: span.start - first.start + start,
            end: span.end - first.start + start,
        };
        spans.extend(self.spans.iter().map(moved));
    }

    /// A cursor that stands in front of argument `index`.
    #[inline]
    pub fn cursor(&self, index: usize) -> ArgCursor<'a> {
        ArgCursor {
            args: self.from(index),
        }
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgCursor<'a>;

    #[inline]
    fn into_iter(self) -> ArgCursor<'a> {
        self.cursor(0)
    }
}

/// Reads arguments one after the other; an iterator with a look ahead.
#[derive(Clone, Copy, Debug)]
pub struct ArgCursor<'a> {
    /// What has not been read.
    args: Args<'a>,
}

impl<'a> ArgCursor<'a> {
    /// The next argument, without taking it.
    #[inline]
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.try_get(0)
    }

    /// Takes the next argument if it is `word` in any ASCII case.
    #[inline]
    pub fn take_flag(&mut self, word: &[u8]) -> bool {
        let taken = self.peek().is_some_and(|arg| arg.eq_ignore_ascii_case(word));
        if taken {
            self.args = self.args.from(1);
        }
        taken
    }

    /// How many arguments are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.args.len()
    }

    /// The arguments that are left.
    #[inline]
    pub fn rest(&self) -> Args<'a> {
        self.args
    }

    /// Whether all arguments have been taken.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.args.is_empty()
    }
}

impl<'a> Iterator for ArgCursor<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let arg = self.peek()?;
        self.args = self.args.from(1);
        Some(arg)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

impl ExactSizeIterator for ArgCursor<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    const BUF: &[u8] = b"SETkvNX";
    const SPANS: &[Span] = &[
        Span { start: 0, end: 3 },
        Span { start: 3, end: 4 },
        Span { start: 4, end: 5 },
        Span { start: 5, end: 7 },
    ];

    #[test]
    fn views_by_index() {
        let args = Args::new(BUF, SPANS);
        assert_eq!(
            (args.len(), args.name(), args.get(3)),
            (4, &b"SET"[..], &b"NX"[..])
        );
        assert_eq!(args.try_get(4), None);
        assert_eq!(args.from(2).iter().collect::<Vec<_>>(), [&b"v"[..], b"NX"]);
        assert!(args.from(9).is_empty());
        assert_eq!(args.range(1..3).iter().collect::<Vec<_>>(), [&b"k"[..], b"v"]);
    }

    #[test]
    fn appended_arguments_are_the_same() {
        let received = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
        let spans = [
            Span { start: 8, end: 11 },
            Span { start: 17, end: 18 },
            Span { start: 24, end: 24 },
        ];
        let (mut bytes, mut places) = (b"before".to_vec(), vec![Span { start: 0, end: 6 }]);
        Args::new(received, &spans).append_to(&mut bytes, &mut places);
        Args::new(received, &[]).append_to(&mut bytes, &mut places);
        let all: Vec<&[u8]> = Args::new(&bytes, &places).iter().collect();
        assert_eq!(all, [&b"before"[..], b"SET", b"k", b""]);
    }

    #[test]
    fn cursor_takes_in_order() {
        let mut cursor = Args::new(BUF, SPANS).cursor(1);
        assert_eq!(cursor.next(), Some(&b"k"[..]));
        assert_eq!((cursor.peek(), cursor.remaining()), (Some(&b"v"[..]), 2));
        assert!(!cursor.take_flag(b"nx"));
        assert_eq!(cursor.next(), Some(&b"v"[..]));
        assert!(cursor.take_flag(b"nx"));
        assert!(cursor.is_done() && cursor.rest().is_empty());
        assert_eq!((cursor.next(), cursor.take_flag(b"nx")), (None, false));
    }

    #[test]
    fn spans_outside_the_bytes_are_no_argument() {
        assert_eq!(Args::new(b"ab", &[Span { start: 1, end: 3 }]).try_get(0), None);
    }
}
