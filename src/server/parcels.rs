//! Rings between lanes: what a pass has for a peer goes as one parcel, and a bell is rung only for a peer that sleeps.
//!
//! One ring of parcels per ordered pair of lanes. A parcel that finds its ring full stays and grows, so that sending never
//! waits; how much can be under way is bounded by the credits of `mesh.rs`. A word of bits per lane says which peers have
//! sent something, so that looking costs one load however many peers there are.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

/// Parcels that a ring holds. More need not fit: the next parcel grows instead.
const RING_PARCELS: usize = 32;
/// A parcel of so many letters is sent at once, the others at the end of the pass.
const PARCEL_LETTERS_MAX: usize = 16;
/// Parcels opened per peer and look: the sockets have their turn in between.
const PARCELS_PER_LOOK_MAX: usize = 16;
/// Empty parcels kept per peer, and letters that one may have room for to be kept.
const SPARE_PARCELS_MAX: usize = 8;
const SPARE_PARCEL_LETTERS_MAX: usize = 256;
/// Bits in the word of a lane. With more lanes, several share a bit.
const BITS: usize = u64::BITS as usize;

/// What peers write on to tell a lane that there is something for it. In cache lines of its own.
#[repr(align(128))]
struct Doorbell {
    /// Bit `peer % BITS`: that peer has pushed a parcel since the last look.
    pending: AtomicU64,
    /// The lane sleeps, or is about to: the bell has to be rung.
    sleeping: AtomicBool,
    /// An event counter in the set that the lane sleeps in.
    bell: OwnedFd,
}

impl Doorbell {
    fn new() -> io::Result<Doorbell> {
        // SAFETY: the call takes no pointers; the descriptor it returns is new and nobody else's.
        let bell = unsafe {
            let descriptor = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if descriptor < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(descriptor)
        };
        Ok(Doorbell {
            pending: AtomicU64::new(0),
            sleeping: AtomicBool::new(false),
            bell,
        })
    }

    /// Tells the lane that `peer` has pushed a parcel.
    ///
    /// The lane raises `sleeping` before its last look at `pending`, and here it is the other way round; all four are in
    /// one order (`SeqCst`), so that one side sees what the other has written.
    fn ring(&self, peer: usize) {
        self.pending.fetch_or(1 << (peer % BITS), Ordering::SeqCst);
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) {
            let one = 1_u64;
            // SAFETY: eight bytes are read from `one`, which lives until the call returns. The write can only fail when
            // the counter is full, and then the bell has been rung.
            unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }
}

/// A lane's ends of all rings.
pub struct Post<T> {
    id: usize,
    doorbells: Arc<[Doorbell]>,
    peers: Vec<Option<PeerPost<T>>>,
    /// Peers with letters that are not in their ring yet.
    unsent: RefCell<Vec<usize>>,
    /// Has to be woken to call [`Post::send_all`]; `None` = will do so after all tasks that are ready now.
    attendant: Cell<Option<Waker>>,
}

struct PeerPost<T> {
    outgoing: RefCell<Vec<T>>,
    ring_out: RefCell<Producer<Vec<T>>>,
    ring_in: RefCell<Consumer<Vec<T>>>,
    /// Emptied parcels of the peer, to be sent back with other letters.
    spare: RefCell<Vec<Vec<T>>>,
}

/// Builds the rings of `lanes` lanes.
///
/// # Errors
/// If there are no file descriptors left.
pub fn build<T>(lanes: usize) -> io::Result<Vec<Post<T>>> {
    let doorbells: Vec<Doorbell> = (0..lanes).map(|_| Doorbell::new()).collect::<io::Result<_>>()?;
    let doorbells: Arc<[Doorbell]> = doorbells.into();
    let mut rings: Vec<Vec<_>> = (0..lanes)
        .map(|_| (0..lanes).map(|_| Some(RingBuffer::new(RING_PARCELS))).collect())
        .collect();
    let mut producers: Vec<Vec<Option<Producer<Vec<T>>>>> = Vec::new();
    let mut consumers: Vec<Vec<Option<Consumer<Vec<T>>>>> = (0..lanes).map(|_| Vec::new()).collect();
    for from in &mut rings {
        let mut out = Vec::new();
        for (to, ring) in from.iter_mut().enumerate() {
            let (producer, consumer) = ring.take().expect("invariant: every ring is taken once");
            out.push(Some(producer));
            if let Some(consumers) = consumers.get_mut(to) {
                consumers.push(Some(consumer));
            }
        }
        producers.push(out);
    }
    let posts = producers.into_iter().zip(consumers).enumerate();
    Ok(posts
        .map(|(id, (producers, consumers))| {
            let ends = producers.into_iter().zip(consumers).enumerate();
            let peer = |(peer, ends)| match ends {
                (Some(producer), Some(consumer)) if peer != id => Some(PeerPost {
                    outgoing: RefCell::default(),
                    ring_out: RefCell::new(producer),
                    ring_in: RefCell::new(consumer),
                    spare: RefCell::default(),
                }),
                _ => None,
            };
            Post {
                id,
                doorbells: doorbells.clone(),
                peers: ends.map(peer).collect(),
                unsent: RefCell::default(),
                attendant: Cell::new(None),
            }
        })
        .collect())
}

impl<T> Post<T> {
    /// This lane.
    pub fn id(&self) -> usize {
        self.id
    }

    fn peer(&self, lane: usize) -> &PeerPost<T> {
        self.peers
            .get(lane)
            .and_then(Option::as_ref)
            .expect("invariant: letters go to other lanes that exist")
    }

    fn doorbell(&self, lane: usize) -> &Doorbell {
        self.doorbells
            .get(lane)
            .expect("invariant: every lane has a doorbell")
    }

    /// The descriptor that becomes ready (edge-triggered) when the bell is rung.
    pub fn bell(&self) -> RawFd {
        self.doorbell(self.id).bell.as_raw_fd()
    }

    /// Who calls [`Post::send_all`]: a task to be woken for it, or (`None`) one that will run after those that are ready.
    pub fn set_attendant(&self, attendant: Option<Waker>) {
        self.attendant.set(attendant);
    }

    /// Puts a letter into the parcel for `lane`.
    #[inline]
    pub fn put(&self, lane: usize, letter: T) {
        let letters = {
            let mut outgoing = self.peer(lane).outgoing.borrow_mut();
            outgoing.push(letter);
            outgoing.len()
        };
        if letters == 1 {
            self.unsent.borrow_mut().push(lane);
            if let Some(attendant) = self.attendant.take() {
                attendant.wake();
            }
        }
        if letters >= PARCEL_LETTERS_MAX {
            self.send_all();
        }
    }

    /// Sends what has been put; what finds its ring full stays.
    #[inline]
    pub fn send_all(&self) {
        if !self.unsent.borrow().is_empty() {
            self.unsent.borrow_mut().retain(|lane| !self.send(*lane));
        }
    }

    fn send(&self, lane: usize) -> bool {
        let peer = self.peer(lane);
        let mut outgoing = peer.outgoing.borrow_mut();
        let parcel = std::mem::take(&mut *outgoing);
        match peer.ring_out.borrow_mut().push(parcel) {
            Ok(()) => {
                *outgoing = peer.spare.borrow_mut().pop().unwrap_or_default();
                self.doorbell(lane).ring(self.id);
                true
            }
            Err(PushError::Full(parcel)) => {
                *outgoing = parcel;
                false
            }
        }
    }

    /// Something is left because its ring is full: the lane must look again soon.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.borrow().is_empty()
    }

    /// Opens the parcels that have come and hands their letters over. Returns how many.
    #[inline]
    pub fn open_all(&self, take: impl FnMut(usize, T)) -> usize {
        let pending = &self.doorbell(self.id).pending;
        if pending.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.open_pending(pending.swap(0, Ordering::SeqCst), take)
    }

    fn open_pending(&self, mut bits: u64, mut take: impl FnMut(usize, T)) -> usize {
        let mut letters = 0;
        while bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            for lane in (bit..self.peers.len()).step_by(BITS) {
                let Some(Some(peer)) = self.peers.get(lane) else {
                    continue;
                };
                letters += self.open(lane, peer, &mut take);
            }
        }
        letters
    }

    fn open(&self, lane: usize, peer: &PeerPost<T>, take: &mut impl FnMut(usize, T)) -> usize {
        let mut letters = 0;
        for _ in 0..PARCELS_PER_LOOK_MAX {
            let Ok(mut parcel) = peer.ring_in.borrow_mut().pop() else {
                return letters;
            };
            letters += parcel.len();
            parcel.drain(..).for_each(|letter| take(lane, letter));
            let mut spare = peer.spare.borrow_mut();
            if spare.len() < SPARE_PARCELS_MAX && parcel.capacity() <= SPARE_PARCEL_LETTERS_MAX {
                spare.push(parcel);
            }
        }
        // There may be more: look again.
        let again = 1 << (lane % BITS);
        self.doorbell(self.id).pending.fetch_or(again, Ordering::SeqCst);
        letters
    }

    /// True if nothing has come: from now on the bell is rung for what comes. To be followed by [`Post::wake_up`].
    pub fn prepare_to_sleep(&self) -> bool {
        let own = self.doorbell(self.id);
        own.sleeping.store(true, Ordering::SeqCst);
        let is_quiet = own.pending.load(Ordering::SeqCst) == 0;
        if !is_quiet {
            self.wake_up();
        }
        is_quiet
    }

    /// The lane looks by itself again.
    pub fn wake_up(&self) {
        self.doorbell(self.id).sleeping.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(post: &Post<u64>) -> bool {
        let mut count = 0_u64;
        // SAFETY: at most eight bytes are written to `count`, which lives until the call returns.
        let read = unsafe { libc::read(post.bell(), (&raw mut count).cast(), size_of::<u64>()) };
        read == 8 && count > 0
    }

    fn letters(post: &Post<u64>) -> Vec<(usize, u64)> {
        let mut found = Vec::new();
        post.open_all(|lane, letter| found.push((lane, letter)));
        found
    }

    #[test]
    fn a_pass_is_one_parcel_and_only_sleepers_are_rung() {
        let posts = build::<u64>(3).unwrap();
        let (a, b) = (&posts[0], &posts[1]);
        a.put(1, 7);
        a.put(1, 8);
        assert_eq!(letters(b), []);
        a.send_all();
        assert!(!rung(b));
        assert_eq!(letters(b), [(0, 7), (0, 8)]);
        assert!(b.prepare_to_sleep());
        a.put(1, 9);
        a.put(1, 10);
        a.send_all();
        assert!(rung(b) && !rung(&posts[2]));
        assert!(!b.prepare_to_sleep());
        assert_eq!(letters(b), [(0, 9), (0, 10)]);
    }

    #[test]
    fn an_attendant_is_woken_once_and_full_parcels_go_at_once() {
        let posts = build::<u64>(2).unwrap();
        let wakes = Arc::new(Wakes(AtomicU64::new(0)));
        posts[0].set_attendant(Some(wakes.clone().into()));
        (0..PARCEL_LETTERS_MAX as u64).for_each(|letter| {
            assert_eq!(letters(&posts[1]), []);
            posts[0].put(1, letter);
        });
        assert_eq!(letters(&posts[1]).len(), PARCEL_LETTERS_MAX);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    }

    struct Wakes(AtomicU64);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn full_rings_keep_letters_in_order() {
        let posts = build::<u64>(2).unwrap();
        let sent = (RING_PARCELS * 3) as u64;
        (0..sent).for_each(|letter| {
            posts[0].put(1, letter);
            posts[0].send_all();
        });
        assert!(posts[0].has_unsent());
        let mut found = Vec::new();
        while found.len() < sent as usize {
            let more = letters(&posts[1]);
            assert!(!more.is_empty());
            found.extend(more.into_iter().map(|(_, letter)| letter));
            posts[0].send_all();
        }
        assert!(found.into_iter().eq(0..sent));
        assert!(!posts[0].has_unsent());
    }

    #[test]
    fn lanes_that_share_a_bit_are_all_heard() {
        let posts = build::<u64>(BITS + 3).unwrap();
        posts[1].put(0, 1);
        posts[BITS + 1].put(0, 2);
        posts[1].send_all();
        posts[BITS + 1].send_all();
        assert_eq!(letters(&posts[0]), [(1, 1), (BITS + 1, 2)]);
    }

    #[test]
    fn nothing_is_missed_between_threads() {
        const LETTERS: u64 = 200_000;
        let mut posts = build::<u64>(2).unwrap();
        let (receiver, sender) = (posts.pop().unwrap(), posts.pop().unwrap());
        let sending = std::thread::spawn(move || {
            for letter in 0..LETTERS {
                sender.put(1, letter);
                if letter % 7 == 0 {
                    sender.send_all();
                    std::thread::yield_now();
                }
            }
            while sender.has_unsent() {
                sender.send_all();
            }
        });
        let mut next = 0;
        while next < LETTERS {
            let heard = receiver.open_all(|_, letter| {
                assert_eq!(letter, next);
                next += 1;
            });
            if heard == 0 && receiver.prepare_to_sleep() {
                let mut event = libc::pollfd {
                    fd: receiver.bell(),
                    events: libc::POLLIN,
                    revents: 0,
                };
                // SAFETY: one entry, which lives until the call returns.
                let polled = unsafe { libc::poll(&raw mut event, 1, 10_000) };
                assert!(polled == 1 || next == LETTERS, "a sleeping lane was not rung");
                rung(&receiver);
                receiver.wake_up();
            }
        }
        sending.join().unwrap();
    }
}
