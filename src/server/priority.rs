//! Who gets a core that a lane shares with threads of the background: the lane, as soon as it wakes.
//!
//! Linux lets a thread wait for the end of the running one's slice, some milliseconds, unless its own slice is shorter
//! (EEVDF, from 6.12: `sched_setattr` with `sched_runtime`, see sched(7) and the kernel's sched-eevdf.rst). Kernels before
//! that ignore the wish. Threads of `SCHED_BATCH` never interrupt another one when they wake.

use std::cell::Cell;

/// The shortest slice that the kernel grants, in nanoseconds.
const LANE_SLICE_NS: u64 = 100_000;
/// That of the kernel's own choice.
const USUAL_SLICE: u64 = 0;

/// What this thread is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Lane,
    Background,
}

/// This thread is a lane's.
pub fn be_lane() {
    set(Role::Lane, own_nice());
}

/// This thread, and those that it starts, yield to lanes. `nice` is that of setpriority(2), 0 to 19.
pub fn be_background(nice: i32) {
    set(Role::Background, own_nice().max(nice));
}

/// As [`be_background`] with the niceness it has, once for each thread.
pub fn be_background_once() {
    thread_local!(static IS_DONE: Cell<bool> = const { Cell::new(false) });
    if !IS_DONE.replace(true) {
        be_background(own_nice());
    }
}

fn own_nice() -> i32 {
    // SAFETY: the call touches no memory of ours; 0 names this thread.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// A server that an operator runs under another policy, a real-time one for example, stays there.
fn set(role: Role, nice: i32) {
    // SAFETY: the call touches no memory of ours; 0 names this thread.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if policy != libc::SCHED_OTHER && policy != libc::SCHED_BATCH {
        return;
    }
    let (policy, slice_ns) = match role {
        Role::Lane => (libc::SCHED_OTHER, LANE_SLICE_NS),
        Role::Background => (libc::SCHED_BATCH, USUAL_SLICE),
    };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: policy as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: slice_ns,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `attributes` lives through the call, which reads as many bytes of it as its first field says.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        log::debug!("the scheduler does not take the wish of a {role:?} thread: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policy and niceness of this thread.
    fn of_this_thread() -> (i32, i32) {
        // SAFETY: the call touches no memory of ours; 0 names this thread.
        (unsafe { libc::sched_getscheduler(0) }, own_nice())
    }

    #[test]
    fn background_threads_yield_and_so_do_those_they_start() {
        let before = of_this_thread();
        let inner = std::thread::spawn(|| {
            be_background(3);
            std::thread::spawn(of_this_thread).join()
        });
        let inner = inner.join().unwrap().unwrap();
        assert_eq!(inner, (libc::SCHED_BATCH, before.1.max(3)));
        assert_eq!(of_this_thread(), before);
    }

    #[test]
    fn lanes_keep_their_niceness() {
        let before = of_this_thread();
        let after = std::thread::spawn(|| {
            be_lane();
            of_this_thread()
        });
        assert_eq!(after.join().unwrap(), (libc::SCHED_OTHER, before.1));
    }

    #[test]
    fn a_thread_of_the_pool_is_asked_once() {
        let thread = std::thread::spawn(|| {
            be_background_once();
            be_lane();
            be_background_once();
            of_this_thread().0
        });
        assert_eq!(thread.join().unwrap(), libc::SCHED_OTHER);
    }
}
