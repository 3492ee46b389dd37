//! Whether a port is free to listen on.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::StartError;

/// Checks that nothing listens on `address:port` yet. Port 0 is always free.
///
/// The lanes share their ports by SO_REUSEPORT, and with it a second server of the same user would silently
/// get half of the connections; so this binds once without it. Connections of a previous run that are still
/// closing also make that fail: they do not count, only a listening socket does.
///
/// # Errors
/// `PortInUse`, `PortForbidden`, `AddressNotAvailable`, or `Socket` for anything else.
pub fn check_port_free(address: IpAddr, port: u16) -> Result<(), StartError> {
    // The kernel gives the io_uring sockets of a killed process back a moment late.
    let deadline = Instant::now() + PORT_WAIT_MAX;
    loop {
        match try_port(address, port) {
            Err(StartError::PortInUse(_)) if Instant::now() < deadline => std::thread::sleep(PORT_RETRY),
            result => return result,
        }
    }
}

/// How long a port may be in use before that counts as an error, and how often it is tried.
const PORT_WAIT_MAX: Duration = Duration::from_millis(1500);
const PORT_RETRY: Duration = Duration::from_millis(50);

fn try_port(address: IpAddr, port: u16) -> Result<(), StartError> {
    let address = SocketAddr::new(address, port);
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::AddrInUse if !has_listener(port) => return Ok(()),
            io::ErrorKind::AddrInUse => StartError::PortInUse(address),
            io::ErrorKind::PermissionDenied => StartError::PortForbidden(address),
            io::ErrorKind::AddrNotAvailable => StartError::AddressNotAvailable(address),
            _ => StartError::Socket { address, error },
        }),
    }
}

/// True if some socket listens on `port`, or if that cannot be found out. Source: proc(5), /proc/net/tcp: column 2 is
/// the local address with the port in hexadecimal, column 4 the state, 0A = LISTEN.
fn has_listener(port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let listens = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().unwrap_or("");
        local.ends_with(&wanted) && columns.nth(1) == Some("0A")
    };
    let mut tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(std::fs::read_to_string)
        .into_iter()
        .flatten()
        .peekable();
    tables.peek().is_none() || tables.any(|table| table.lines().any(listens))
}
