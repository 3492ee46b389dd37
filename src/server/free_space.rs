//! Refusing writes while a disk that holds data is almost full, before a commit or a checkpoint finds no space.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::lane_shell::LaneShell;
use super::{blocking, lifecycle};

/// A disk fills up no faster than this, so much is assumed: the nearer the limit, the sooner the next look.
const FILLING_BYTES_PER_MS: u64 = 1 << 20;
const LOOK_MS_MIN: u64 = 20;
const LOOK_MS_MAX: u64 = 1_000;
/// Writes go on when there is so much more than the least as a part of it: else they would be let in and refused again
/// with every table file that is written and removed.
const RELIEF_PART: u64 = 4;

/// Watches the free space until the server is asked to stop.
pub async fn watch_loop(shell: Rc<LaneShell>) {
    let min_bytes = shell.shared.config.storage.disk_free_min_bytes;
    while !lifecycle::stop_requested() {
        let free_bytes = free_bytes_min(&shell).await;
        note(&shell, free_bytes, min_bytes);
        glommio::timer::sleep(until_next_look(free_bytes, min_bytes)).await;
    }
}

fn until_next_look(free_bytes: u64, min_bytes: u64) -> Duration {
    let room_ms = free_bytes.saturating_sub(min_bytes) / FILLING_BYTES_PER_MS;
    Duration::from_millis(room_ms.clamp(LOOK_MS_MIN, LOOK_MS_MAX))
}

fn is_almost_full(free_bytes: u64, min_bytes: u64, was_full: bool) -> bool {
    let relief_bytes = if was_full { min_bytes / RELIEF_PART } else { 0 };
    free_bytes < min_bytes.saturating_add(relief_bytes)
}

fn note(shell: &LaneShell, free_bytes: u64, min_bytes: u64) {
    let was_full = shell.disk_full.get();
    let full = shell.lane.borrow().is_out_of_space() || is_almost_full(free_bytes, min_bytes, was_full);
    shell.disk_full.set(full);
    if full == was_full || shell.id() != 0 {
        return;
    }
    if full {
        log::error!(
            "a data directory has {free_bytes} bytes free, less than disk_free_min: writes are refused"
        );
    } else {
        log::info!("the data directories have space again: writes go on");
    }
}

/// Free bytes of the fullest disk that holds data; `u64::MAX` if no disk can be asked.
pub async fn free_bytes_min(shell: &Rc<LaneShell>) -> u64 {
    let config = &shell.shared.config;
    let mut directories = vec![config.server.data_dir.clone()];
    for business in &config.businesses {
        directories.push(business.data_dir.clone());
        directories.extend(business.cold_dir.clone());
    }
    let least = move || {
        directories
            .iter()
            .filter_map(|directory| free_bytes(directory))
            .min()
    };
    blocking::run(least).await.unwrap_or(u64::MAX)
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let path = std::ffi::CString::new(directory.as_os_str().as_bytes()).ok()?;
    let mut figures = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path is a NUL-terminated string and the struct is large enough for what the call writes; it is read
    // only when the call says that it has written it, and all-zero bytes are a valid value of it anyway.
    let figures = unsafe {
        if libc::statvfs(path.as_ptr(), figures.as_mut_ptr()) != 0 {
            return None;
        }
        figures.assume_init()
    };
    Some(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_next_look_comes_before_the_limit() {
        assert_eq!(until_next_look(u64::MAX, 0), Duration::from_secs(1));
        assert_eq!(until_next_look(164 * MIB, 64 * MIB), Duration::from_millis(100));
        assert_eq!(until_next_look(65 * MIB, 64 * MIB), Duration::from_millis(20));
        assert_eq!(until_next_look(0, 64 * MIB), Duration::from_millis(20));
    }

    #[test]
    fn writes_go_on_when_there_is_some_more_than_the_least() {
        assert!(!is_almost_full(64 * MIB, 64 * MIB, false));
        assert!(is_almost_full(64 * MIB - 1, 64 * MIB, false));
        assert!(is_almost_full(79 * MIB, 64 * MIB, true));
        assert!(!is_almost_full(80 * MIB, 64 * MIB, true));
        assert!(!is_almost_full(0, 0, true));
    }

    #[test]
    fn disks_are_asked() {
        assert!(free_bytes(Path::new("/")).is_some_and(|bytes| bytes > 0));
        assert_eq!(free_bytes(Path::new("/nowhere/at/all")), None);
    }
}
