//! A blocking RESP client with its own socket, so that no library stands between a test and the wire.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::Value;

/// How long a reply may take before the test gives up: far above any honest latency on a loaded machine.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects to `port` on loopback.
    ///
    /// # Panics
    /// If nobody listens there.
    pub fn connect(port: u16) -> Client {
        Client::try_connect(port).unwrap_or_else(|error| panic!("connect to port {port}: {error}"))
    }

    /// Connects to `port` on loopback.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Client {
            reader: BufReader::with_capacity(64 << 10, stream),
        })
    }

    /// Sends one command and reads its reply.
    ///
    /// # Panics
    /// If the connection breaks or answers with bytes that are not RESP.
    pub fn command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Value {
        self.try_command(arguments)
            .unwrap_or_else(|error| panic!("{}: {error}", describe(arguments)))
    }

    /// Sends one command and reads its reply.
    ///
    /// # Errors
    /// A broken connection, or bytes that are not RESP.
    pub fn try_command<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Value> {
        self.send(&encode(arguments))?;
        self.read()
    }

    /// Sends all commands at once and reads one reply for each.
    ///
    /// # Errors
    /// A broken connection, or bytes that are not RESP.
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<Vec<Value>> {
        let bytes: Vec<u8> = commands.iter().flat_map(|arguments| encode(arguments)).collect();
        self.send(&bytes)?;
        commands.iter().map(|_| self.read()).collect()
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// A broken connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// A broken connection, silence for half a minute, or bytes that are not RESP.
    pub fn read(&mut self) -> io::Result<Value> {
        Value::read(&mut self.reader)
    }

    /// Whether the server has closed the connection, with nothing unread before the end.
    pub fn is_closed_by_server(&mut self) -> bool {
        let mut byte = [0; 1];
        match self.reader.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Closes the sending side; the server sees the end of the input and may still answer.
    pub fn finish_sending(&mut self) {
        self.reader
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("shutdown of the sending side");
    }

    /// A second handle of the socket, so that one thread can send while another reads.
    pub fn sender(&self) -> TcpStream {
        self.reader
            .get_ref()
            .try_clone()
            .expect("a second handle of the socket")
    }

    /// Walks SCAN from cursor 0 back to 0 with `options` and returns the sorted keys without duplicates.
    ///
    /// # Errors
    /// A broken connection, an error reply, or a cursor that never comes back to 0.
    pub fn scan<A: AsRef<[u8]>>(&mut self, options: &[A]) -> io::Result<Vec<Value>> {
        let mut cursor = Value::Bulk(b"0".to_vec());
        let mut keys = Vec::new();
        for _ in 0..1_000_000 {
            let cursor_text = cursor.text().unwrap_or_default();
            let mut arguments = vec![b"SCAN".to_vec(), cursor_text.into_bytes()];
            arguments.extend(options.iter().map(|option| option.as_ref().to_vec()));
            match self.try_command(&arguments)? {
                Value::Array(mut parts) if parts.len() == 2 => {
                    keys.extend(parts.remove(1).elements().iter().cloned());
                    cursor = parts.remove(0);
                }
                other => return Err(io::Error::other(format!("SCAN answered {other}"))),
            }
            if cursor.text().as_deref() == Some("0") {
                keys.sort();
                keys.dedup();
                return Ok(keys);
            }
        }
        Err(io::Error::other("SCAN did not end after a million calls"))
    }
}

/// One command as a RESP array of bulk strings.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn describe<A: AsRef<[u8]>>(arguments: &[A]) -> String {
    let words: Vec<String> = arguments
        .iter()
        .map(|argument| super::escape(argument.as_ref()))
        .collect();
    words.join(" ")
}
