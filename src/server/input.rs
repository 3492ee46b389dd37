//! The bytes that a connection has received, and where in them the next requests begin.
//!
//! What was just read stays in the lane's read buffer, which the input borrows for a synchronous section: nearly all
//! requests are complete and run there. Only what is left then is copied to a buffer of the connection's own.

use std::io;
use std::ops::Range;
use std::task::Poll;

use crate::business::Place;
use crate::command::CommandId;
use crate::lane::FETCHED_KEYS_MAX;
use crate::resp::{ArgHeaders, Args, ProtocolError, RequestLimits, RequestParser, Span, complete_request};

use super::lane_shell::LaneShell;

/// Room made for a large request at a time, so that a declared length alone costs nothing.
const READ_STEP_MAX_BYTES: usize = 1 << 20;

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
    /// Starts with the received bytes: the lane's read buffer while it is lent, else nothing but them.
    buffer: Vec<u8>,
    /// How many bytes of the buffer were received.
    received_bytes: usize,
    /// The buffer is the lane's.
    is_lent: bool,
    pub(super) position: usize,
    parser: RequestParser,
    headers: ArgHeaders,
    /// Arguments of the last request and of those parsed ahead, each from the start of its request.
    spans: Vec<Span>,
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

    /// Drops what has run. An input without bytes holds no buffer afterwards.
    pub fn compact(&mut self, shell: &LaneShell) {
        self.give_back(shell);
        if self.position == self.received_bytes {
            if self.buffer.capacity() > 0 {
                shell.give_buffer(std::mem::take(&mut self.buffer));
            }
        } else if self.position > 0 {
            self.buffer.drain(..self.position);
        }
        self.position = 0;
        self.received_bytes = self.buffer.len();
    }

    /// Bytes not yet run.
    pub fn waiting_bytes(&self) -> usize {
        self.received_bytes - self.position
    }

    /// All received bytes.
    #[inline]
    pub(super) fn received(&self) -> &[u8] {
        self.buffer.get(..self.received_bytes).unwrap_or(&[])
    }

    /// Reads what `read` has for it, behind what waits; after [`Input::compact`]. The bytes are in the lane's read buffer
    /// then, if they have room there: whoever waits for anything calls [`Input::give_back`] before.
    pub fn read_with(
        &mut self,
        shell: &LaneShell,
        read: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut shared = shell.read_buffer.borrow_mut();
        if shared.is_empty() {
            // Whoever had it last was dropped with it.
            shared.resize(shell.shared.config.wire.read_buffer_bytes, 0);
        }
        let waiting = self.received_bytes;
        let room = shared.len() / 2;
        // Where nothing waits, what was missing once has come.
        if waiting == 0 || (waiting <= room && self.missing_bytes() <= room) {
            let (start, rest) = shared.split_at_mut(waiting);
            start.copy_from_slice(self.received());
            let polled = read(rest);
            if let Poll::Ready(Ok(len @ 1..)) = polled {
                let own = std::mem::replace(&mut self.buffer, std::mem::take(&mut shared));
                shell.give_buffer(own);
                self.received_bytes = waiting + len;
                self.is_lent = true;
            }
            return polled;
        }
        let room = self.missing_bytes().clamp(room, READ_STEP_MAX_BYTES);
        self.buffer.resize(waiting + room, 0);
        let polled = read(self.buffer.get_mut(waiting..).unwrap_or(&mut []));
        if let Poll::Ready(Ok(len)) = polled {
            self.received_bytes += len;
        }
        self.buffer.truncate(self.received_bytes);
        polled
    }

    /// Gives the lane's read buffer back, if it is lent; what has not run moves to a buffer of the input's own.
    #[inline]
    pub fn give_back(&mut self, shell: &LaneShell) {
        if !std::mem::take(&mut self.is_lent) {
            return;
        }
        let mut own = Vec::new();
        if self.waiting_bytes() > 0 {
            own = shell.take_buffer();
            own.extend_from_slice(self.received().get(self.position..).unwrap_or(&[]));
        }
        self.position = 0;
        self.received_bytes = own.len();
        let lent = std::mem::replace(&mut self.buffer, own);
        *shell.read_buffer.borrow_mut() = lent;
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
            let received = self.buffer.get(..self.received_bytes).unwrap_or(&[]);
            let waiting = received.get(start..).unwrap_or(&[]);
            let first_span = self.spans.len();
            let spans = &mut self.spans;
            let Some(consumed_bytes) = complete_request(waiting, limits, spans, &mut self.headers) else {
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
            let bytes = self.buffer.get(start..).unwrap_or(&[]);
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

    /// Parses the next request, whatever it is, makes it the current one and returns its length; `None` if it is not
    /// complete.
    ///
    /// # Errors
    /// As [`RequestParser::parse`].
    pub(super) fn parse(&mut self, limits: &RequestLimits) -> Result<Option<usize>, ProtocolError> {
        let received = self.buffer.get(..self.received_bytes).unwrap_or(&[]);
        let waiting = received.get(self.position..).unwrap_or(&[]);
        let parsed = self.parser.parse(waiting, limits, &mut self.spans)?;
        Ok(parsed.map(|request| {
            self.inline = request.inline;
            self.current = 0..self.spans.len();
            request.consumed_bytes
        }))
    }

    fn args_at(&self, start: usize) -> Args<'_> {
        let bytes = if self.inline {
            self.parser.inline_bytes()
        } else {
            self.received().get(start..).unwrap_or(&[])
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
