//! The bytes that a connection has received, and where in them the next request begins.

use crate::resp::{Args, RequestParser, Span};

/// Bytes received and not yet run.
#[derive(Default)]
pub struct Input {
    /// Received bytes.
    pub bytes: Vec<u8>,
    pub(super) position: usize,
    pub(super) parser: RequestParser,
    pub(super) spans: Vec<Span>,
    /// Length of the request that stopped the section, to be consumed when it is done.
    pub(super) pending: usize,
    /// Where the last request began, and whether it was an inline one.
    pub(super) last_start: usize,
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

    /// Arguments of the last request that was run, as long as no other has been parsed.
    pub(super) fn last_args(&self) -> Args<'_> {
        let bytes = if self.inline {
            self.parser.inline_bytes()
        } else {
            self.bytes.get(self.last_start..).unwrap_or(&[])
        };
        Args::new(bytes, &self.spans)
    }

    /// Arguments of the request that stopped the section.
    pub fn pending_args(&self) -> Args<'_> {
        let bytes = if self.inline {
            self.parser.inline_bytes()
        } else {
            self.bytes.get(self.position..).unwrap_or(&[])
        };
        Args::new(bytes, &self.spans)
    }
}
