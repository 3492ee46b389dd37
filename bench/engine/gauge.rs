//! What a run costs: wall and CPU time, bytes written, bytes on disk, memory.

use std::path::Path;
use std::time::Instant;

/// Wall time, CPU time of this thread and of the process, and bytes written, from a start to now.
pub struct Gauge {
    begin: Instant,
    thread_s: f64,
    process_s: f64,
    written_bytes: u64,
}

fn cpu_seconds(who: libc::c_int) -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct is large enough for what the call writes, and all-zero bytes are a valid value of it.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Seconds by the clock and of this thread's CPU time, of stretches of some microseconds: reads no file.
pub struct Stopwatch {
    begin: Instant,
    thread_s: f64,
}

fn thread_clock_s() -> f64 {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the struct is large enough for what the call writes, and all-zero bytes are a valid value of it.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch {
            thread_s: thread_clock_s(),
            begin: Instant::now(),
        }
    }

    /// Seconds since the start, by the clock and of CPU time.
    pub fn seconds(&self) -> [f64; 2] {
        let wall_s = self.begin.elapsed().as_secs_f64();
        [wall_s, thread_clock_s() - self.thread_s]
    }
}

/// A field of a file of `/proc/self`, as a number.
fn proc_number(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Largest resident size of this process so far, in MiB.
pub fn peak_memory_mib() -> u64 {
    proc_number("status", "VmHWM:") >> 10
}

/// Resident size of this process, in MiB.
pub fn memory_mib() -> u64 {
    proc_number("status", "VmRSS:") >> 10
}

/// Bytes of all files below `directory`.
pub fn disk_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

impl Gauge {
    /// Starts now.
    pub fn start() -> Gauge {
        Gauge {
            begin: Instant::now(),
            thread_s: cpu_seconds(libc::RUSAGE_THREAD),
            process_s: cpu_seconds(libc::RUSAGE_SELF),
            written_bytes: proc_number("io", "write_bytes:"),
        }
    }

    /// Wall seconds.
    pub fn wall_s(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// CPU seconds of this thread.
    pub fn thread_s(&self) -> f64 {
        cpu_seconds(libc::RUSAGE_THREAD) - self.thread_s
    }

    /// CPU seconds of the process, its background threads included.
    pub fn process_s(&self) -> f64 {
        cpu_seconds(libc::RUSAGE_SELF) - self.process_s
    }

    /// Bytes that this process has sent to the disk (`write_bytes` of `/proc/self/io`).
    pub fn written_bytes(&self) -> u64 {
        proc_number("io", "write_bytes:") - self.written_bytes
    }
}
