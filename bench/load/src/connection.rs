//! A connection: its socket, what is unsent and what is unanswered.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use crate::commander::Commander;
use crate::prepare::Preloader;
use crate::reply::ReplyScanner;

/// Capacity above which an empty buffer of unsent bytes is given back.
const UNSENT_KEPT_BYTES: usize = 64 << 10;

/// Where a connection's commands come from.
#[derive(Debug)]
pub enum Source {
    /// The workload, without end.
    Mix(Box<Commander>),
    /// What has to be there before the run.
    Preload(Box<Preloader>),
}

/// Commands of one kind that were sent together and are not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// When they were due or sent.
    pub since_nanos: u64,
    /// How many are unanswered.
    pub count: u32,
    /// The number of their kind in the mix.
    pub kind: u8,
}

/// One connection to the server.
#[derive(Debug)]
pub struct Connection {
    /// The socket, not blocking.
    pub stream: TcpStream,
    /// Reads replies.
    pub scanner: ReplyScanner,
    /// Writes commands.
    pub source: Source,
    /// What is unanswered, in order.
    pub flights: VecDeque<Flight>,
    unsent: Vec<u8>,
    unsent_from: usize,
    /// The source has no more commands.
    pub exhausted: bool,
}

impl Connection {
    /// A connection on which nothing has been sent.
    pub fn new(stream: TcpStream, source: Source) -> Connection {
        Connection {
            stream,
            scanner: ReplyScanner::default(),
            source,
            flights: VecDeque::new(),
            unsent: Vec::new(),
            unsent_from: 0,
            exhausted: false,
        }
    }

    /// Notes one more command in flight.
    #[inline]
    pub fn note_sent(&mut self, kind: u8, since_nanos: u64) {
        match self.flights.back_mut() {
            Some(last) if last.kind == kind && last.since_nanos == since_nanos => last.count += 1,
            _ => self.flights.push_back(Flight {
                since_nanos,
                count: 1,
                kind,
            }),
        }
    }

    /// Writes `bytes`, or keeps what the socket does not take; true if it has just begun to keep.
    pub fn write(&mut self, bytes: &[u8]) -> Result<bool, String> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(false);
        }
        let written = write_some(&mut self.stream, bytes)?;
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(!self.unsent.is_empty())
    }

    /// Goes on with what was kept; true if there is still something left.
    pub fn write_rest(&mut self) -> Result<bool, String> {
        self.unsent_from += write_some(&mut self.stream, &self.unsent[self.unsent_from..])?;
        if self.unsent_from < self.unsent.len() {
            return Ok(true);
        }
        self.unsent_from = 0;
        self.unsent.clear();
        if self.unsent.capacity() > UNSENT_KEPT_BYTES {
            self.unsent = Vec::new();
        }
        Ok(false)
    }
}

fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize, String> {
    match stream.write(bytes) {
        Ok(written) => Ok(written),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(format!("writing: {error}")),
    }
}
