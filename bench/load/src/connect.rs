//! Opens connections: tens of thousands of them, from several source addresses where ports would run out.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};

use crate::reply::ReplyScanner;
use crate::template::push_argument;

/// Connections from one source address: Linux has 28,232 ephemeral ports unless told otherwise.
const CONNECTIONS_PER_SOURCE: usize = 20_000;
/// Descriptors besides the connections.
const DESCRIPTORS_SPARE: u64 = 200;
/// How long the server may take for the replies before the run.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where and how to connect.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// Sent with AUTH if there is one.
    pub password: Option<String>,
}

/// Raises the soft limit on open files so that `connections` fit.
pub fn raise_descriptor_limit(connections: usize) -> Result<(), String> {
    let needed = connections as u64 + DESCRIPTORS_SPARE;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    // Raising the hard limit as well takes a privilege; without it the soft one may still do.
    let attempts = [
        Rlimit {
            current: Some(needed),
            maximum,
        },
        Rlimit {
            current: Some(needed),
            ..limit
        },
    ];
    let raised = attempts
        .into_iter()
        .any(|limit| rustix::process::setrlimit(Resource::Nofile, limit).is_ok());
    match raised {
        true => Ok(()),
        false => Err(format!(
            "{connections} connections need `ulimit -n {needed}`; now it is {limit:?}"
        )),
    }
}

impl Target {
    /// Opens connection number `index` of the process and authenticates it.
    pub fn connect(&self, index: usize) -> Result<TcpStream, String> {
        let mut stream = open(self.address, index)
            .map_err(|error| format!("connection {} to {}: {error}", index + 1, self.address))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        if let Some(password) = &self.password {
            let reply = self.ask(&mut stream, &["AUTH", password])?;
            if reply.starts_with(b"-") {
                return Err(String::from_utf8_lossy(&reply).trim().to_string());
            }
        }
        Ok(stream)
    }

    /// Sends one command over a blocking connection; returns the bytes of its reply.
    pub fn ask(&self, stream: &mut TcpStream, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
        arguments
            .iter()
            .for_each(|argument| push_argument(&mut request, argument.as_bytes()));
        let failed = |error: std::io::Error| format!("{} to {}: {error}", arguments[0], self.address);
        stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).map_err(failed)?;
        stream.write_all(&request).map_err(failed)?;
        let (mut scanner, mut bytes, mut piece) = (ReplyScanner::default(), Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut piece).map_err(failed)?;
            if read == 0 {
                return Err(format!(
                    "{} closed the connection after {}",
                    self.address, arguments[0]
                ));
            }
            bytes.extend_from_slice(&piece[..read]);
            let (_, reply) = scanner.scan(&piece[..read]).map_err(|malformed| malformed.0)?;
            if reply.is_some() {
                return Ok(bytes);
            }
        }
    }
}

/// A blocking connection; on the loopback network the source address depends on the number.
fn open(address: SocketAddr, index: usize) -> std::io::Result<TcpStream> {
    let source = index / CONNECTIONS_PER_SOURCE;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() && source > 0 => {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + source as u32);
            let socket = rustix::net::socket_with(
                AddressFamily::INET,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
            rustix::net::connect(&socket, &address)?;
            Ok(TcpStream::from(socket))
        }
        _ => TcpStream::connect(address),
    }
}

/// Connections that send nothing and are to stay open.
#[derive(Debug, Default)]
pub struct IdleConnections(Vec<TcpStream>);

impl IdleConnections {
    /// Opens `count` of them, numbered from `first` on.
    pub fn open(target: &Target, first: usize, count: usize) -> Result<IdleConnections, String> {
        (first..first + count)
            .map(|index| target.connect(index))
            .collect::<Result<_, _>>()
            .map(IdleConnections)
    }

    /// Asks each for a sign of life; returns how many the server has given up.
    pub fn lost(&mut self, target: &Target) -> usize {
        let dead = |stream: &mut TcpStream| match target.ask(stream, &["PING"]) {
            Ok(bytes) => bytes.first() != Some(&b'+'),
            Err(_) => true,
        };
        self.0.iter_mut().map(dead).filter(|dead| *dead).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_source_address_changes_before_ports_run_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for (index, source) in [
            (0, "127.0.0.1"),
            (19_999, "127.0.0.1"),
            (20_000, "127.0.0.2"),
            (59_999, "127.0.0.3"),
        ] {
            let stream = open(address, index).unwrap();
            assert_eq!(
                stream.local_addr().unwrap().ip().to_string(),
                source,
                "connection {index}"
            );
        }
    }

    #[test]
    fn a_closed_connection_counts_as_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            address: listener.local_addr().unwrap(),
            password: None,
        };
        let mut idle = IdleConnections::open(&target, 0, 2).unwrap();
        let (mut kept, _) = listener.accept().unwrap();
        drop(listener.accept().unwrap());
        kept.write_all(b"+PONG\r\n").unwrap();
        assert_eq!(idle.lost(&target), 1);
    }
}
