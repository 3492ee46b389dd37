//! CPU time and memory of the server and of this process, from /proc.

use std::fs;

/// CPU time used so far, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// In the program.
    pub user_seconds: f64,
    /// In the kernel on its behalf.
    pub system_seconds: f64,
}

impl CpuTime {
    /// Of all threads of a process, those that have ended included. Accurate to 10 ms.
    pub fn of(pid: u32) -> Result<CpuTime, String> {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        parse_stat(&stat).ok_or_else(|| format!("{path}: unexpected content"))
    }

    /// What was used since `before`.
    pub fn since(self, before: CpuTime) -> CpuTime {
        CpuTime {
            user_seconds: self.user_seconds - before.user_seconds,
            system_seconds: self.system_seconds - before.system_seconds,
        }
    }

    /// Both together.
    pub fn total_seconds(self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// The fields utime and stime of /proc/PID/stat, which follow the name in parentheses.
fn parse_stat(stat: &str) -> Option<CpuTime> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let seconds = |field: usize| {
        fields
            .get(field)?
            .parse::<f64>()
            .ok()
            .map(|ticks| ticks / per_second)
    };
    // State, the first one after the name, is field 3 of the manual; utime is 14 and stime 15.
    Some(CpuTime {
        user_seconds: seconds(11)?,
        system_seconds: seconds(12)?,
    })
}

/// Resident memory of a process in bytes, 0 if it cannot be read.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let stat = "42 (a) b) R 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        let time = parse_stat(stat).unwrap();
        assert_eq!(
            (time.user_seconds * 5.0).round(),
            (time.system_seconds * 25.0).round()
        );
        assert!(time.user_seconds > 0.0);
        assert_eq!(parse_stat("42 (x) R 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        assert!(resident_bytes(std::process::id()) > 100_000);
        assert!(CpuTime::of(std::process::id()).unwrap().total_seconds() >= 0.0);
        assert!(CpuTime::of(0).is_err());
    }
}
