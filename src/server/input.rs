//! The bytes that a connection has received, and where in them the next requests begin.

use std::ops::Range;

use crate::business::Place;
use crate::command::CommandId;
use crate::lane::FETCHED_KEYS_MAX;
use crate::resp::{Args, RequestLimits, RequestParser, Span, complete_request};

/// Requests that are parsed before the first of them runs, so that their keys come into the cache together.
const AHEAD_REQUESTS_MAX: usize = FETCHED_KEYS_MAX;
/// No further request is parsed ahead behind so many arguments.
const AHEAD_ARGS_MAX: usize = 256;

/// A request that is complete and has not run yet.
struct Parsed {
    /// Its arguments among the spans.
    spans: Range<usize>,
    consumed_bytes: usize,
    known: Known,
}

/// What is known of a request before it runs.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    /// The command, if clients may call it.
    pub(super) id: Option<CommandId>,
    /// Where its first argument lives, if it is a key.
    pub(super) place: Option<Place>,
}

/// Bytes received and not yet run.
#[derive(Default)]
pub struct Input {
    /// Received bytes.
    pub bytes: Vec<u8>,
    pub(super) position: usize,
    pub(super) parser: RequestParser,
    /// Arguments of the last request and of those parsed ahead, each from the start of its request.
    pub(super) spans: Vec<Span>,
    /// Which of them are those of the last request.
    current: Range<usize>,
    /// Parsed ahead; those before `next_ahead` have been taken.
    ahead: Vec<Parsed>,
    next_ahead: usize,
    /// Length of the request that stopped the section, to be consumed when it is done.
    pub(super) pending: usize,
    /// The last request was an inline one.
    pub(super) inline: bool,
}

impl Input {
    /// The request that stopped the section is done.
    pub fn consume_pending(&mut self) {
        self.position += std::mem::take(&mut self.pending);
    }

    /// Drops what has run.
    pub fn compact(&mut self) {
        if self.position == self.bytes.len() {
            self.bytes.clear();
        } else if self.position > 0 {
            self.bytes.drain(..self.position);
        }
        self.position = 0;
    }

    /// Bytes not yet run.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Bytes that at least have to come before the next request is complete.
    pub fn missing_bytes(&self) -> usize {
        self.parser.missing_bytes()
    }

    /// True if the next request has been parsed ahead.
    #[inline]
    pub(super) fn has_ahead(&self) -> bool {
        self.next_ahead < self.ahead.len()
    }

    /// Parses the complete requests that come next, as far as it is worth while, and shows them to `see`, unless there is
    /// only one. What is wrong or incomplete is left to [`RequestParser::parse`].
    #[inline]
    pub(super) fn look_ahead(&mut self, limits: &RequestLimits, mut see: impl FnMut(Args<'_>) -> Known) {
        self.forget_ahead();
        if self.parser.is_midway() {
            return;
        }
        self.spans.clear();
        let mut start = self.position;
        while self.ahead.len() < AHEAD_REQUESTS_MAX && self.spans.len() < AHEAD_ARGS_MAX {
            let waiting = self.bytes.get(start..).unwrap_or(&[]);
            let first_span = self.spans.len();
            let Some(consumed_bytes) = complete_request(waiting, limits, &mut self.spans) else {
                self.spans.truncate(first_span);
                break;
            };
            start += consumed_bytes;
            self.ahead.push(Parsed {
                spans: first_span..self.spans.len(),
                consumed_bytes,
                known: Known::default(),
            });
        }
        if self.ahead.len() < 2 {
            return;
        }
        start = self.position;
        for parsed in &mut self.ahead {
            let bytes = self.bytes.get(start..).unwrap_or(&[]);
            let spans = self.spans.get(parsed.spans.clone()).unwrap_or(&[]);
            parsed.known = see(Args::new(bytes, spans));
            start += parsed.consumed_bytes;
        }
    }

    /// Makes the next request that was parsed ahead the current one, and returns its length and what `see` said of it.
    #[inline]
    pub(super) fn take_ahead(&mut self) -> Option<(usize, Known)> {
        let parsed = self.ahead.get(self.next_ahead)?;
        self.next_ahead += 1;
        self.current = parsed.spans.clone();
        Some((parsed.consumed_bytes, parsed.known))
    }

    /// What was parsed ahead will be parsed again; the current request stays.
    #[inline]
    pub(super) fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.next_ahead = 0;
    }

    /// The last request was parsed into all the spans there are.
    #[inline]
    pub(super) fn set_current(&mut self) {
        self.current = 0..self.spans.len();
    }

    fn args_at(&self, start: usize) -> Args<'_> {
        let bytes = if self.inline {
            self.parser.inline_bytes()
        } else {
            self.bytes.get(start..).unwrap_or(&[])
        };
        Args::new(bytes, self.spans.get(self.current.clone()).unwrap_or(&[]))
    }

    /// Arguments of the request that was taken last and is not consumed yet.
    #[inline]
    pub(super) fn current_args(&self) -> Args<'_> {
        self.args_at(self.position)
    }

    /// Arguments of the request that stopped the section.
    pub fn pending_args(&self) -> Args<'_> {
        self.args_at(self.position)
    }
}
