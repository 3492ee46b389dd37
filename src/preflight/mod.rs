//! Checks before anything starts: what the machine refuses is said in plain words, with an exit code.

mod error;
mod port;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::config::ServerConfig;
use crate::limits::{KIB, LANES_MAX};

pub use error::{EXIT_CODES, StartError};
pub use port::check_port_free;

/// Locked memory that one executor needs. glommio refuses to start with less; kernels up to 5.11 charge the
/// rings of all executors to this limit.
pub const MEMLOCK_PER_EXECUTOR_BYTES: u64 = 512 * KIB;

/// Since Linux 5.12 rings are charged to the memory cgroup instead of `RLIMIT_MEMLOCK`.
const RINGS_UNCHARGED_SINCE: (u32, u32) = (5, 12);

/// `IORING_FEAT_FAST_POLL`, Linux 5.7: sockets wait inside the ring. The kernels without it are too old.
const IORING_FEAT_FAST_POLL: u32 = 1 << 5;

/// Bytes read of a lock file: a process id and a newline fit many times.
const LOCK_TEXT_MAX_BYTES: u64 = 64;

/// Makes files and sockets that the process creates private to its user. Call it first.
pub fn set_umask() {
    // SAFETY: umask takes a number, cannot fail and touches no memory.
    unsafe { libc::umask(0o077) };
}

/// Checks that this process may use io_uring, which glommio would answer with a panic.
///
/// # Errors
/// `IoUring` with the kernel's answer; `IoUringTooOld`.
pub fn check_io_uring() -> Result<(), StartError> {
    const ENTRIES: libc::c_uint = 8;
    /// Index of `features` in `struct io_uring_params` as an array of u32; the struct has 120 bytes.
    const FEATURES_INDEX: usize = 5;
    let mut params = [0_u32; 30];
    // SAFETY: `params` is as long and as aligned as `struct io_uring_params`, lives through the call, and
    // zero is a valid value of each field; the kernel writes inside it only.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) };
    if result < 0 {
        return Err(StartError::IoUring {
            error: io::Error::last_os_error(),
            sysctl: io_uring_sysctl(),
        });
    }
    let ring = libc::c_int::try_from(result).expect("invariant: a file descriptor is an int");
    // SAFETY: `ring` is a descriptor that the call above opened and nothing else knows.
    unsafe { libc::close(ring) };
    if params[FEATURES_INDEX] & IORING_FEAT_FAST_POLL == 0 {
        return Err(StartError::IoUringTooOld);
    }
    Ok(())
}

/// `kernel.io_uring_disabled`, which Linux 6.6 introduced.
fn io_uring_sysctl() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Checks `RLIMIT_MEMLOCK` for `executors` executors, after raising the soft limit to the hard one.
///
/// # Errors
/// `MemLock` if even the hard limit is too small.
pub fn check_memlock(executors: usize) -> Result<(), StartError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let executors = if rings_are_charged(&release) {
        executors.max(1) as u64
    } else {
        1
    };
    let needed_bytes = MEMLOCK_PER_EXECUTOR_BYTES * executors;
    let limit_bytes = raise_to_hard(libc::RLIMIT_MEMLOCK);
    if limit_bytes < needed_bytes {
        return Err(StartError::MemLock {
            needed_bytes,
            limit_bytes,
            executors,
        });
    }
    Ok(())
}

/// Whether a kernel of this release charges rings to `RLIMIT_MEMLOCK`; an unreadable release is taken as new.
fn rings_are_charged(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < RINGS_UNCHARGED_SINCE,
        _ => false,
    }
}

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// `OpenFiles` if it is smaller than `needed`.
pub fn raise_open_files(needed: u64) -> Result<u64, StartError> {
    let limit = raise_to_hard(libc::RLIMIT_NOFILE);
    if limit < needed {
        Err(StartError::OpenFiles { needed, limit })
    } else {
        Ok(limit)
    }
}

/// Raises a soft limit as far as it goes; returns where it stands afterwards.
fn raise_to_hard(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit that lives through the call, which writes nothing else.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return 0;
    }
    let raised = libc::rlimit {
        rlim_cur: limit.rlim_max,
        rlim_max: limit.rlim_max,
    };
    // SAFETY: `raised` is a valid rlimit that the call only reads.
    let is_raised = unsafe { libc::setrlimit(resource, &raw const raised) } == 0;
    if is_raised {
        raised.rlim_cur
    } else {
        limit.rlim_cur
    }
}

/// Holds a data directory for this process until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    /// The lock belongs to this open file.
    _file: File,
}

/// Creates the data directory if needed (mode 0700) and takes its lock.
///
/// # Errors
/// `DataDirPermission`; `DataDirLocked` with the holder's process id.
pub fn lock_data_dir(data_dir: &Path) -> Result<DataDirLock, StartError> {
    create_private_dir(data_dir)?;
    let path = data_dir.join("LOCK");
    let refuse = |error: io::Error| StartError::DataDirPermission {
        path: path.clone(),
        error,
    };
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(&path).map_err(refuse)?;
    // SAFETY: the descriptor is open for as long as `file` lives; flock touches no memory.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(refuse(error));
        }
        let mut text = String::new();
        let process_id = file.take(LOCK_TEXT_MAX_BYTES).read_to_string(&mut text).ok();
        let process_id = process_id.and_then(|_| text.trim().parse().ok());
        return Err(StartError::DataDirLocked {
            data_dir: data_dir.to_owned(),
            process_id,
        });
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(refuse)?;
    writeln!(file, "{}", std::process::id()).map_err(refuse)?;
    Ok(DataDirLock { _file: file })
}

/// Creates a directory and its parents, private to the user (mode 0700); one that exists is left as it is.
///
/// # Errors
/// `DataDirPermission`, also if something else has that name.
pub fn create_private_dir(path: &Path) -> Result<(), StartError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder
        .create(path)
        .map_err(|error| StartError::DataDirPermission {
            path: path.to_owned(),
            error,
        })
}

/// Where the lanes run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreChoice {
    /// The core of each lane, by lane number.
    pub lanes: Vec<usize>,
    /// Allowed cores without a lane: for background threads and blocking pools.
    pub spare: Vec<usize>,
    /// Something that works but that the operator may not have wanted.
    pub warning: Option<String>,
}

/// Chooses a core for each lane: the configured ones, or all that this process may use.
///
/// # Errors
/// `Cores` if a listed core is not allowed.
pub fn choose_cores(config: &ServerConfig) -> Result<CoreChoice, StartError> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    choose_among(config, ids.into_iter().map(|core| core.id).collect())
}

fn choose_among(config: &ServerConfig, allowed: Vec<usize>) -> Result<CoreChoice, StartError> {
    let missing: Vec<usize> = config
        .cores
        .iter()
        .copied()
        .filter(|core| !allowed.contains(core))
        .collect();
    if !missing.is_empty() || allowed.is_empty() {
        return Err(StartError::Cores { missing, allowed });
    }
    let chosen = if config.cores.is_empty() {
        &allowed
    } else {
        &config.cores
    };
    let count = if config.lanes == 0 {
        chosen.len().min(LANES_MAX)
    } else {
        config.lanes
    };
    let lanes: Vec<usize> = chosen.iter().copied().cycle().take(count).collect();
    let spare = allowed
        .iter()
        .copied()
        .filter(|core| !lanes.contains(core))
        .collect();
    let warning = (count > chosen.len()).then(|| {
        format!(
            "{count} lanes share {} cores {chosen:?}; one lane per core is fastest (see server.lanes)",
            chosen.len()
        )
    });
    Ok(CoreChoice {
        lanes,
        spare,
        warning,
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Config;

    fn server(lanes: usize, cores: &[usize]) -> ServerConfig {
        ServerConfig {
            lanes,
            cores: cores.to_vec(),
            ..Config::default().server
        }
    }

    #[test]
    fn every_core_gets_a_lane_by_default() {
        let choice = choose_among(&server(0, &[]), vec![0, 1, 4]).unwrap();
        assert_eq!(
            choice,
            CoreChoice {
                lanes: vec![0, 1, 4],
                spare: vec![],
                warning: None
            }
        );
    }

    #[test]
    fn listed_cores_are_taken_in_order_and_the_rest_is_spare() {
        let choice = choose_among(&server(0, &[4, 1]), vec![0, 1, 2, 4]).unwrap();
        assert_eq!(
            choice,
            CoreChoice {
                lanes: vec![4, 1],
                spare: vec![0, 2],
                warning: None
            }
        );
        let choice = choose_among(&server(1, &[4, 1]), vec![0, 1, 4]).unwrap();
        assert_eq!((choice.lanes, choice.spare), (vec![4], vec![0, 1]));
    }

    #[test]
    fn more_lanes_than_cores_wrap_around_with_a_warning() {
        let choice = choose_among(&server(5, &[]), vec![0, 1]).unwrap();
        assert_eq!(choice.lanes, [0, 1, 0, 1, 0]);
        assert!(
            choice
                .warning
                .unwrap()
                .starts_with("5 lanes share 2 cores [0, 1]")
        );
    }

    #[test]
    fn cores_that_are_not_allowed_are_refused() {
        let error = choose_among(&server(0, &[0, 7]), vec![0, 1]).unwrap_err();
        assert_eq!(error.exit_code(), 17);
        assert!(error.to_string().contains("names [7]"), "{error}");
        assert!(choose_among(&server(0, &[]), vec![]).is_err());
    }

    #[test]
    fn real_machine_has_what_a_lane_needs() {
        check_io_uring().unwrap();
        check_memlock(1).unwrap();
        assert!(!choose_cores(&server(0, &[])).unwrap().lanes.is_empty());
        let limit = raise_open_files(16).unwrap();
        assert!(limit >= 16);
        let error = raise_open_files(u64::MAX).unwrap_err();
        assert!(matches!(error, StartError::OpenFiles { needed: u64::MAX, .. }) || limit == u64::MAX);
    }

    #[test]
    fn kernel_releases() {
        for (release, is_charged) in [
            ("5.10.0-30-amd64", true),
            ("5.11.22", true),
            ("5.12.0", false),
            ("6.1.0-18", false),
            ("", false),
        ] {
            assert_eq!(rings_are_charged(release), is_charged, "{release:?}");
        }
    }

    #[test]
    fn second_holder_of_a_directory_is_told_the_first_ones_process_id() {
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("a/b");
        let lock = lock_data_dir(&data_dir).unwrap();
        let error = lock_data_dir(&data_dir).unwrap_err();
        assert_eq!(error.exit_code(), 14);
        assert!(
            error
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        drop(lock_data_dir(&data_dir).unwrap());
    }

    #[test]
    fn data_directory_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let data_dir = parent.path().join("data");
        let _lock = lock_data_dir(&data_dir).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data_dir), 0o700);
        assert_eq!(mode(&data_dir.join("LOCK")), 0o600);
    }

    #[test]
    fn data_directory_that_is_a_file_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, "x").unwrap();
        assert_eq!(lock_data_dir(&path).unwrap_err().exit_code(), 16);
        assert_eq!(lock_data_dir(&path.join("below")).unwrap_err().exit_code(), 16);
    }

    #[test]
    fn ports_in_use_and_foreign_addresses_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = check_port_free(address.ip(), address.port()).unwrap_err();
        assert!(
            matches!(error, StartError::PortInUse(found) if found == address),
            "{error}"
        );
        drop(listener);
        check_port_free(address.ip(), address.port()).unwrap();
        // 192.0.2.0/24 is reserved for documentation (RFC 5737).
        let error = check_port_free("192.0.2.1".parse().unwrap(), address.port()).unwrap_err();
        assert!(matches!(error, StartError::AddressNotAvailable(_)), "{error}");
    }

    /// Makes `io_uring_setup` answer EPERM in the calling thread, as container runtimes do.
    fn forbid_io_uring_in_this_thread() {
        let statement = |code: u32, k: u32| libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf: 0,
            k,
        };
        let setup = u32::try_from(libc::SYS_io_uring_setup).unwrap();
        let mut equal = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, setup);
        equal.jf = 1;
        let mut filter = [
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
            equal,
            statement(
                libc::BPF_RET | libc::BPF_K,
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
            ),
            statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: `program` points to `len` statements, both live through the calls; prctl only reads them.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            assert_eq!(
                libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program
                ),
                0
            );
        }
    }

    #[test]
    fn forbidden_io_uring_is_found_before_any_executor_starts() {
        let refused = std::thread::spawn(|| {
            forbid_io_uring_in_this_thread();
            check_io_uring().unwrap_err()
        });
        let error = refused.join().unwrap();
        assert_eq!(error.exit_code(), 10);
        let StartError::IoUring { error, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}
