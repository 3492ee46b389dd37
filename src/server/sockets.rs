//! Readiness of client sockets: one epoll set per lane, looked at once per pass, instead of one io_uring poll per read.
//!
//! A poll of its own per read cost an allocation, a submission, a completion and an interrupt of the lane each time.
//! Here a socket is registered once, edge-triggered; every pass asks for all that became ready with one system call
//! and wakes their connections. The lane sleeps on the set itself; other lanes ring a bell that is in it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::io::AsyncRead;

use super::client::ClientHandle;
use super::inbox;
use super::lane_shell::LaneShell;
use super::waking::Awake;

/// Sockets that one look reports; the others come with the next one.
const EVENTS_MAX: usize = 256;
/// Looks in a row without a visit to the executor's own loop, where timers and the blocking pool are noticed.
const PASSES_MAX: usize = 32;
/// What the set reports when another lane has rung.
const DOORBELL: u64 = u64::MAX;
/// Pause when the process has no file descriptor left to wait with.
const RETRY: Duration = Duration::from_millis(1);

/// Looks in vain while turns are under way: what they wait for may be done by the tasks that run in between.
const IDLE_PASSES_MAX: usize = 3;
/// Longest sleep in the set itself, in milliseconds: timers and the blocking pool are not noticed meanwhile.
const SLEEP_MS: i32 = 1;

const INTEREST: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
const READABLE: i32 = libc::EPOLLIN | ENDED;
const ENDED: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;

/// What is known of a socket without asking it.
#[derive(Debug)]
pub struct Readiness {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// The other side has closed, or the connection broke: reading says so, and there will be no further event.
    ended: Cell<bool>,
}

impl Default for Readiness {
    fn default() -> Self {
        Readiness {
            readable: Cell::new(false),
            writable: Cell::new(true),
            ended: Cell::new(false),
        }
    }
}

impl Readiness {
    fn note(&self, events: i32) {
        if events & READABLE != 0 {
            self.readable.set(true);
        }
        if events & ENDED != 0 {
            self.ended.set(true);
        }
        if events & (libc::EPOLLOUT | ENDED) != 0 {
            self.writable.set(true);
        }
    }

    /// True if reading may find something.
    #[inline]
    pub fn may_read(&self) -> bool {
        self.readable.get()
    }

    /// Reads if there may be something; `Pending` = an event will come. The caller is woken through its
    /// [`ClientHandle`].
    pub fn poll_read(&self, mut stream: &TcpStream, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.readable.get() {
            match stream.read(buffer) {
                Ok(len) => {
                    // Less than asked for was all there was; what comes later is a new edge.
                    self.readable.set(len == buffer.len() || self.ended.get());
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable.set(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// As [`Readiness::poll_read`], for writing.
    pub fn poll_write(&self, mut stream: &TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.writable.get() {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable.set(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
        Poll::Pending
    }
}

/// The client sockets of a lane.
pub struct Sockets {
    set: OwnedFd,
    clients: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    taken: Vec<Option<Rc<ClientHandle>>>,
    free: Vec<usize>,
}

impl Sockets {
    /// A set without clients; `bell` becomes ready when another lane rings.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(bell: RawFd) -> io::Result<Sockets> {
        // SAFETY: the call takes no pointers; the descriptor it returns is new and nobody else's.
        let set = unsafe {
            let set = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if set < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(set)
        };
        let sockets = Sockets {
            set,
            clients: RefCell::default(),
        };
        // Edge-triggered: every ring is reported once, and nobody has to read the counter.
        sockets.watch(bell, libc::EPOLLIN | libc::EPOLLET, DOORBELL)?;
        Ok(sockets)
    }

    fn watch(&self, file: RawFd, interest: i32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest as u32,
            u64: token,
        };
        // SAFETY: the set is open, and the event lives until the call returns; a bad `file` is an error, nothing worse.
        match unsafe { libc::epoll_ctl(self.set.as_raw_fd(), libc::EPOLL_CTL_ADD, file, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// From now on `client` is told of the readiness of `socket`, until it is removed or the socket closed. Returns
    /// its place.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, socket: RawFd, client: Rc<ClientHandle>) -> io::Result<usize> {
        let mut clients = self.clients.borrow_mut();
        let place = clients.free.pop().unwrap_or(clients.taken.len());
        if let Err(error) = self.watch(socket, INTEREST, place as u64) {
            clients.free.push(place);
            return Err(error);
        }
        if place >= clients.taken.len() {
            clients.taken.resize_with(place + 1, || None);
        }
        if let Some(slot) = clients.taken.get_mut(place) {
            *slot = Some(client);
        }
        Ok(place)
    }

    /// The client at `place` goes, and closes its socket, which takes it out of the set.
    pub fn remove(&self, place: usize) {
        let mut clients = self.clients.borrow_mut();
        if clients.taken.get_mut(place).and_then(Option::take).is_some() {
            clients.free.push(place);
        }
    }

    /// Tells the clients whose sockets have become ready, waiting so long for the first. Returns how many.
    fn look(&self, events: &mut [MaybeUninit<libc::epoll_event>; EVENTS_MAX], timeout_ms: i32) -> usize {
        // SAFETY: the array has room for as many events as are asked for.
        let found = unsafe {
            libc::epoll_wait(
                self.set.as_raw_fd(),
                events.as_mut_ptr().cast(),
                EVENTS_MAX as i32,
                timeout_ms,
            )
        };
        let found = usize::try_from(found).unwrap_or(0);
        let clients = self.clients.borrow();
        for event in events.iter().take(found) {
            // SAFETY: the call has filled the first `found` events.
            let event = unsafe { event.assume_init_read() };
            // A place may have been given to another client meanwhile: that one looks once in vain.
            if let Some(Some(client)) = clients.taken.get(event.u64 as usize) {
                client.readiness.note(event.events as i32);
                client.wake_waiting();
            }
        }
        found
    }

    fn begin_waiting(&self) -> io::Result<glommio::net::TcpStream> {
        let copy = self.set.try_clone()?;
        // SAFETY: the descriptor is owned, and ownership goes to the stream, which closes it. That it is no socket
        // makes its reads fail; they are only made to learn whether the poll that the stream begins with has fired.
        Ok(unsafe { glommio::net::TcpStream::from_raw_fd(copy.into_raw_fd()) })
    }
}

/// Wakes connections whose sockets are ready and serves other lanes, until the server stops.
pub async fn watch_loop(shell: Rc<LaneShell>) {
    let post = &shell.mesh.post;
    let mut events = [MaybeUninit::uninit(); EVENTS_MAX];
    let mut armed = None;
    let (mut passes, mut idle_passes) = (0, 0);
    loop {
        // All tasks that were ready have run: what they have for other lanes goes now.
        post.send_all();
        let heard = inbox::open_all(&shell);
        post.send_all();
        // Nothing else is to be done on this lane: sleep here, where waking up costs least.
        let may_sleep = heard == 0
            && passes > 0
            && !Awake::anyone()
            && shell.commits.is_idle()
            && !post.has_unsent()
            && post.prepare_to_sleep();
        let found = shell
            .sockets
            .look(&mut events, if may_sleep { SLEEP_MS } else { 0 });
        if may_sleep {
            post.wake_up();
        }
        passes += 1;
        let goes_on = match heard + found {
            0 if may_sleep => false,
            0 => {
                idle_passes += 1;
                idle_passes <= IDLE_PASSES_MAX || post.has_unsent()
            }
            _ => {
                idle_passes = 0;
                true
            }
        };
        if goes_on && passes <= PASSES_MAX {
            glommio::executor().yield_now().await;
            continue;
        }
        (passes, idle_passes) = (0, 0);
        if armed.is_none() {
            match shell.sockets.begin_waiting() {
                Ok(waiting) => armed = Some(waiting),
                Err(error) => {
                    log::warn!("cannot wait for clients: {error}");
                    glommio::timer::sleep(RETRY).await;
                    continue;
                }
            }
        }
        if !post.prepare_to_sleep() {
            glommio::executor().yield_now().await;
            continue;
        }
        poll_fn(|context| {
            if post.has_unsent() {
                return Poll::Ready(());
            }
            post.set_attendant(Some(context.waker().clone()));
            poll_fired(&mut armed, context)
        })
        .await;
        post.set_attendant(None);
        post.wake_up();
    }
}

/// Ready, and nothing armed any more, once the set has something to report.
fn poll_fired(armed: &mut Option<glommio::net::TcpStream>, context: &mut Context<'_>) -> Poll<()> {
    let Some(waiting) = armed else {
        return Poll::Ready(());
    };
    // The stream reads when its poll has fired, and fails, as the set is no socket.
    if Pin::new(waiting).poll_read(context, &mut [0]).is_pending() {
        return Poll::Pending;
    }
    *armed = None;
    Poll::Ready(())
}

/// True if the other side has closed its half of the connection and nothing is left to be read.
pub fn is_closed(socket: i32) -> bool {
    let mut byte = 0_u8;
    // SAFETY: one byte may be written to `byte`, which lives until the call returns; a bad `socket` is an error.
    let peeked = unsafe {
        libc::recv(
            socket,
            (&raw mut byte).cast(),
            1,
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    };
    peeked == 0
}
