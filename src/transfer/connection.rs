//! A blocking client: commands go out in bursts, replies come back in order.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::{ServerAddress, TransferError};

/// Longest silence of the server while a reply is due.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;

/// One connection; see the head of the file.
pub struct Connection {
    stream: TcpStream,
    server: String,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that are decoded already.
    decoded: usize,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If nobody answers, or the password is refused.
    pub fn open(address: &ServerAddress) -> Result<Connection, TransferError> {
        let server = format!("{}:{}", address.host, address.port);
        let stream = TcpStream::connect((address.host.as_str(), address.port)).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
            Ok(stream)
        });
        let stream = stream.map_err(|cause| TransferError::Connection {
            server: server.clone(),
            cause,
        })?;
        let mut connection = Connection {
            stream,
            server,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            decoded: 0,
        };
        if let Some(password) = &address.password {
            connection.ask(&[b"AUTH", password.as_bytes()])?;
        }
        connection.ask(&[b"PING"])?;
        Ok(connection)
    }

    fn failed(&self, cause: io::Error) -> TransferError {
        TransferError::Connection {
            server: self.server.clone(),
            cause,
        }
    }

    /// Begins a command of `arguments` words, name included; each follows with [`Connection::word`].
    pub fn begin(&mut self, arguments: usize) {
        self.outgoing
            .extend_from_slice(format!("*{arguments}\r\n").as_bytes());
    }

    /// Adds a word to the command under construction.
    pub fn word(&mut self, word: &[u8]) {
        self.outgoing
            .extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        self.outgoing.extend_from_slice(word);
        self.outgoing.extend_from_slice(b"\r\n");
    }

    /// Sends what was gathered.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn send(&mut self) -> Result<(), TransferError> {
        let sent = self.stream.write_all(&self.outgoing);
        self.outgoing.clear();
        sent.map_err(|cause| self.failed(cause))
    }

    /// Reads the next reply; error replies are replies.
    ///
    /// # Errors
    /// If the connection is broken or the answer is not of the protocol.
    pub fn read(&mut self) -> Result<OwnedFrame, TransferError> {
        loop {
            let rest = self.incoming.get(self.decoded..).unwrap_or(&[]);
            match decode(rest) {
                Ok(Some((frame, len))) => {
                    self.decoded += len;
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(error) => return Err(self.failed(io::Error::other(format!("not a reply: {error}")))),
            }
            self.incoming.drain(..self.decoded);
            self.decoded = 0;
            let start = self.incoming.len();
            // Doubling keeps decoding a long reply from its start again and again cheap.
            self.incoming.resize((start * 2).max(READ_BYTES), 0);
            let read = self
                .incoming
                .get_mut(start..)
                .map_or(Ok(0), |buffer| self.stream.read(buffer));
            self.incoming
                .truncate(start + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(cause) => return Err(self.failed(cause)),
            }
        }
    }

    /// Sends one command and returns its reply.
    ///
    /// # Errors
    /// As [`Connection::read`], and error replies.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<OwnedFrame, TransferError> {
        self.begin(words.len());
        words.iter().for_each(|word| self.word(word));
        self.send()?;
        match self.read()? {
            OwnedFrame::Error(answer) => {
                let request = words
                    .first()
                    .map_or_else(String::new, |name| String::from_utf8_lossy(name).into());
                Err(TransferError::Refused { request, answer })
            }
            frame => Ok(frame),
        }
    }
}
