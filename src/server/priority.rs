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
/// What the names of RocksDB's threads begin with.
const ROCKSDB: &[u8] = b"rocksdb:";

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

/// This thread, and those that it starts, never interrupt a lane.
pub fn be_background() {
    set(Role::Background, own_nice());
}

/// As [`be_background`], once for each thread.
pub fn be_background_once() {
    thread_local!(static IS_DONE: Cell<bool> = const { Cell::new(false) });
    if !IS_DONE.replace(true) {
        be_background();
    }
}

/// Niceness of this thread.
pub fn own_nice() -> i32 {
    // SAFETY: the call touches no memory of ours; 0 names this thread.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// True if a thread that takes the niceness `nice` may go back to that of this one: `CAP_SYS_NICE` or `RLIMIT_NICE`
/// (setpriority(2)) have to allow it. A thread of its own tries.
pub fn may_return_from(nice: i32) -> bool {
    let usual = own_nice();
    let tried = std::thread::spawn(move || set_nice(0, nice) && set_nice(0, usual)).join();
    tried.is_ok_and(|permitted| permitted)
}

/// Gives RocksDB's threads, which carry its name, the niceness `nice`; those of other servers in this process too.
pub fn set_nice_of_rocksdb(nice: i32) {
    let threads = match std::fs::read_dir("/proc/self/task") {
        Ok(threads) => threads,
        Err(error) => {
            log::warn!("RocksDB's threads are not found: {error}");
            return;
        }
    };
    for thread in threads.flatten() {
        let is_rocksdb =
            std::fs::read(thread.path().join("comm")).is_ok_and(|name| name.starts_with(ROCKSDB));
        let number = thread.file_name().to_str().and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|_| is_rocksdb) {
            // A thread that has ended meanwhile needs none.
            set_nice(number, nice);
        }
    }
}

/// False if it is not permitted, or there is no such thread. 0 names this one.
fn set_nice(thread: libc::id_t, nice: i32) -> bool {
    // SAFETY: the call touches no memory of ours. Of a thread's number it sets that thread's niceness only.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) == 0 }
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
            be_background();
            std::thread::spawn(of_this_thread).join()
        });
        let inner = inner.join().unwrap().unwrap();
        assert_eq!(inner, (libc::SCHED_BATCH, before.1));
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
