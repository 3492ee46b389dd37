//! Accepting clients: every lane listens on every port, the kernel spreads connections over them (SO_REUSEPORT).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use glommio::net::{TcpListener, TcpStream};

use crate::command::{PortKind, Session};

use super::client::ClientHandle;
use super::connection::serve_connection;
use super::lane_shell::LaneShell;

/// Pause after a failed accept (no file descriptors left, say), so that the loop does not spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

const DENIED: &str = "DENIED ticklane is running in protected mode because no password is set. Clients from other \
                      machines are refused until one of these is done: set server.password in the configuration, or \
                      set server.protected_mode = false if the network is trusted.";

/// Binds one port on one address for this lane.
///
/// # Errors
/// What the system says.
pub fn bind(address: IpAddr, port: u16) -> Result<TcpListener, String> {
    let address = SocketAddr::new(address, port);
    TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// Accepts clients until the server stops.
pub async fn accept_loop(shell: Rc<LaneShell>, listener: TcpListener, kind: PortKind) {
    loop {
        match listener.accept().await {
            Ok(stream) if shell.stopping.get() => drop(stream),
            Ok(stream) => admit(&shell, stream, kind),
            Err(error) => {
                log::warn!("accepting a client failed: {error}");
                glommio::timer::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn admit(shell: &Rc<LaneShell>, stream: TcpStream, kind: PortKind) {
    let shared = &shell.shared;
    let settings = shared.settings();
    let peer = stream.peer_addr().ok();
    let is_local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if settings.protected_mode && settings.password.is_empty() && !is_local {
        glommio::spawn_local(async move { refuse(stream, DENIED).await }).detach();
        return;
    }
    let business = port_business(kind);
    let business_limit = business.and_then(|business| {
        let entry = shared.directory.businesses().get(business)?;
        Some((business, entry.config.max_connections))
    });
    if !shared
        .connections
        .try_add(settings.max_connections, business_limit)
    {
        shell.lane.borrow_mut().counters.connections_rejected += 1;
        glommio::spawn_local(async move { refuse(stream, "ERR max number of clients reached").await })
            .detach();
        return;
    }
    let stream = match watched(&stream) {
        Ok(stream) => stream,
        Err(error) => {
            log::warn!("a client cannot be served: {error}");
            shell.lane.borrow_mut().counters.connections_rejected += 1;
            shared.connections.remove(business);
            return;
        }
    };
    shell.lane.borrow_mut().counters.connections_received += 1;
    configure(&stream, shared.config.server.tcp_keepalive);
    let now_ms = shell.lane.borrow().clock.now_ms();
    let text = |address: Option<SocketAddr>| {
        address.map_or_else(|| "?:0".to_string(), |address| address.to_string())
    };
    let id = shared.connections.next_client();
    let mut session = Session::new(id, kind, text(peer), text(stream.local_addr().ok()), now_ms);
    session.authenticated = settings.password.is_empty();
    session.file_descriptor = stream.as_raw_fd();
    let client = Rc::new(ClientHandle::new(session, stream.as_raw_fd()));
    let socket_place = match shell.sockets.add(stream.as_raw_fd(), client.clone()) {
        Ok(place) => place,
        Err(error) => {
            log::warn!("a client cannot be served: {error}");
            shared.connections.remove(business);
            return;
        }
    };
    shell.clients.borrow_mut().insert(id, client.clone());
    let shell = shell.clone();
    glommio::spawn_local(async move {
        serve_connection(shell.clone(), client, stream).await;
        shell.sockets.remove(socket_place);
        shell.clients.borrow_mut().remove(&id);
        shell.lane.borrow_mut().counters.connections_closed += 1;
        shell.shared.connections.remove(business);
    })
    .detach();
}

/// The accepted socket without glommio's own polls: readiness comes from [`super::sockets`].
fn watched(stream: &TcpStream) -> io::Result<std::net::TcpStream> {
    // SAFETY: the descriptor is open as long as `stream` lives, which is longer than this borrow.
    let borrowed = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    let stream = std::net::TcpStream::from(borrowed.try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn configure(stream: &std::net::TcpStream, keepalive: Duration) {
    // A reply must not wait for more data to come; failing to say so costs latency, not correctness.
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("TCP_NODELAY: {error}");
    }
    if keepalive.is_zero() {
        return;
    }
    let socket = stream.as_raw_fd();
    let seconds = libc::c_int::try_from(keepalive.as_secs())
        .unwrap_or(libc::c_int::MAX)
        .max(1);
    set_option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds);
    set_option(
        socket,
        libc::IPPROTO_TCP,
        libc::TCP_KEEPINTVL,
        (seconds / 3).max(1),
    );
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
}

fn set_option(socket: i32, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `socket` is an open socket that the caller holds, and the option's value is an integer of the given
    // length that lives until the call returns.
    let result = unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), len) };
    if result != 0 {
        log::debug!("setsockopt({level}, {name}): {}", std::io::Error::last_os_error());
    }
}

/// Tells a client why it cannot be served, without waiting for it.
async fn refuse(mut stream: TcpStream, text: &str) {
    let line = format!("-{text}\r\n");
    let _ = futures_lite::AsyncWriteExt::write_all(&mut stream, line.as_bytes()).await;
}

/// The business whose own port a client came in by.
fn port_business(port: PortKind) -> Option<usize> {
    match port {
        PortKind::Business(business) => Some(business),
        _ => None,
    }
}
