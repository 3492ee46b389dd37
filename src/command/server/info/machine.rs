//! What the kernel says about this process and this machine.

use std::fs;

/// Size of a page in `/proc/self/statm`, in bytes; the same on all machines that this is made for.
const PAGE_BYTES: u64 = 4096;

/// Bytes of this process in memory; 0 if the kernel does not say.
pub fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.map_or(0, |pages| pages * PAGE_BYTES)
}

/// Most bytes of this process in memory since it started; 0 if the kernel does not say.
pub fn resident_peak_bytes() -> u64 {
    field_kib("/proc/self/status", "VmHWM:") * 1024
}

/// Memory of the machine in bytes; 0 if the kernel does not say.
pub fn memory_bytes() -> u64 {
    field_kib("/proc/meminfo", "MemTotal:") * 1024
}

fn field_kib(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Kernel name, release and machine, as `uname -srm` prints them.
pub fn system_name() -> String {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_owned()
    };
    format!(
        "{} {} {}",
        read("ostype"),
        read("osrelease"),
        std::env::consts::ARCH
    )
}

/// Processor time in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessorTime {
    /// In the kernel.
    pub system_s: f64,
    /// In the program.
    pub user_s: f64,
}

/// Whose processor time.
#[derive(Clone, Copy, Debug)]
pub enum Whose {
    /// All threads of the process.
    Process,
    /// The calling lane.
    Thread,
}

/// Processor time since the start; zero if the kernel does not say.
pub fn processor_time(whose: Whose) -> ProcessorTime {
    let who = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Thread => libc::RUSAGE_THREAD,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is valid for writes of one `rusage`, which is all that getrusage writes.
    let result = unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
    if result != 0 {
        return ProcessorTime::default();
    }
    // SAFETY: `rusage` consists of integers, for which the zeroes it was made of are valid, as is what was
    // written.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    ProcessorTime {
        system_s: seconds(usage.ru_stime),
        user_s: seconds(usage.ru_utime),
    }
}

/// Bytes as INFO shows them to people: `967.34K`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, char); 4] = [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.iter().find(|(factor, _)| bytes >= *factor) {
        Some((factor, unit)) => format!("{:.2}{unit}", bytes as f64 / *factor as f64),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_plausible_figures() {
        let resident = resident_bytes();
        assert!(resident > 1 << 20 && resident < memory_bytes());
        assert!(resident_peak_bytes() >= resident / 2);
        assert!(system_name().starts_with("Linux "));
        let process = processor_time(Whose::Process);
        assert!(process.user_s + process.system_s >= processor_time(Whose::Thread).user_s / 2.0);
    }

    #[test]
    fn bytes_for_people_are_those_of_redis() {
        assert_eq!(human_bytes(0), "0B");
        assert_eq!(human_bytes(990_560), "967.34K");
        assert_eq!(human_bytes(6_877_184), "6.56M");
        assert_eq!(human_bytes(25_276_502_016), "23.54G");
    }
}
