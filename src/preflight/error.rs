//! StartError: why the server does not start, in words that say what to do, and the exit code of each reason.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::MEMLOCK_PER_EXECUTOR_BYTES;
use crate::config::ConfigError;
use crate::limits::KIB;

/// Exit codes and what they mean, as `--help` prints them.
pub const EXIT_CODES: [(i32, &str); 16] = [
    (0, "stopped as asked"),
    (1, "stopped by an error while running"),
    (2, "wrong command line or configuration"),
    (10, "io_uring is missing or forbidden"),
    (11, "the limit of locked memory is too small"),
    (12, "the limit of open files is too small"),
    (13, "a port is in use"),
    (14, "the data directory is used by another process"),
    (15, "the data directory has another format or partition count"),
    (16, "the data directory cannot be created, read or written"),
    (17, "the chosen cores are not available"),
    (18, "a port needs privileges that the process lacks"),
    (19, "an address to bind is not one of this machine"),
    (20, "a socket could not be opened for another reason"),
    (21, "a database could not be opened"),
    (22, "a lane's thread or executor could not be started"),
];

/// Why the server does not start.
#[derive(Debug)]
pub enum StartError {
    /// A setting is refused.
    Config(ConfigError),
    /// `io_uring_setup` failed.
    IoUring {
        error: io::Error,
        sysctl: Option<u8>,
    },
    /// The kernel has io_uring, but too old a one.
    IoUringTooOld,
    /// `RLIMIT_MEMLOCK`, in bytes.
    MemLock {
        needed_bytes: u64,
        limit_bytes: u64,
        executors: u64,
    },
    /// `RLIMIT_NOFILE`.
    OpenFiles {
        needed: u64,
        limit: u64,
    },
    PortInUse(SocketAddr),
    /// Another process holds the lock; its id, if it wrote one.
    DataDirLocked {
        data_dir: PathBuf,
        process_id: Option<u32>,
    },
    /// What is on disk was made with other settings, or by another version.
    DataDirIncompatible {
        reason: String,
    },
    DataDirPermission {
        path: PathBuf,
        error: io::Error,
    },
    /// Listed cores that the process may not use, or none at all.
    Cores {
        missing: Vec<usize>,
        allowed: Vec<usize>,
    },
    PortForbidden(SocketAddr),
    AddressNotAvailable(SocketAddr),
    Socket {
        address: SocketAddr,
        error: io::Error,
    },
    /// A database could not be opened.
    Storage {
        data_dir: PathBuf,
        reason: String,
    },
    /// A thread or its executor could not be started.
    Lane {
        lane: usize,
        reason: String,
    },
}

impl StartError {
    /// The process's exit code; `EXIT_CODES` explains each.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Config(_) => 2,
            Self::IoUring { .. } | Self::IoUringTooOld => 10,
            Self::MemLock { .. } => 11,
            Self::OpenFiles { .. } => 12,
            Self::PortInUse(_) => 13,
            Self::DataDirLocked { .. } => 14,
            Self::DataDirIncompatible { .. } => 15,
            Self::DataDirPermission { .. } => 16,
            Self::Cores { .. } => 17,
            Self::PortForbidden(_) => 18,
            Self::AddressNotAvailable(_) => 19,
            Self::Socket { .. } => 20,
            Self::Storage { .. } => 21,
            Self::Lane { .. } => 22,
        }
    }
}

impl fmt::Display for StartError {
    /// What was wrong, what is expected, what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "{error}"),
            Self::IoUring { error, sysctl } => write_io_uring(f, error, *sysctl),
            Self::IoUringTooOld => f.write_str(
                "this kernel's io_uring is too old; Linux 5.8 or later is needed: upgrade the kernel",
            ),
            Self::MemLock {
                needed_bytes,
                limit_bytes,
                executors,
            } => write!(
                f,
                "the limit of locked memory is {} KiB; {executors} executors need {} KiB. Raise it: \
                 `ulimit -l {1}`, LimitMEMLOCK=infinity in a systemd unit, \
                 --ulimit memlock=-1 for docker run",
                limit_bytes / KIB,
                needed_bytes / KIB,
            ),
            Self::OpenFiles { needed, limit } => write!(
                f,
                "at most {limit} files may be open; the configuration needs {needed} (connections and \
                 database files). Raise the hard limit: `ulimit -Hn {needed}`, LimitNOFILE={needed} in a \
                 systemd unit; or lower server.max_connections or storage.max_open_files"
            ),
            Self::PortInUse(address) => write!(
                f,
                "{address} is in use by another process; a free port is needed. See which with \
                 `ss -ltnp 'sport = :{0}'`, stop it or choose another port",
                address.port()
            ),
            Self::PortForbidden(address) => write!(
                f,
                "{address} may not be opened by this user; ports below net.ipv4.ip_unprivileged_port_start \
                 need CAP_NET_BIND_SERVICE. Choose a higher port or grant the capability"
            ),
            Self::AddressNotAvailable(address) => write!(
                f,
                "{address} cannot be bound, because {0} is not an address of this machine; `ip address` \
                 lists those that are. Correct server.bind",
                address.ip()
            ),
            Self::Socket { address, error } => write!(f, "{address} cannot be opened: {error}"),
            other => other.write_data(f),
        }
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl StartError {
    /// The half of `Display` that is about directories, cores and lanes.
    fn write_data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataDirLocked { data_dir, process_id } => {
                write!(f, "the data directory {} is used by ", data_dir.display())?;
                match process_id {
                    Some(id) => write!(f, "process {id}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; each server needs its own. Stop that process, or choose another --data-dir")
            }
            Self::DataDirIncompatible { reason } => write!(
                f,
                "{reason}. Start with the settings and version that the data was made with, or choose another \
                 --data-dir"
            ),
            Self::DataDirPermission { path, error } => write!(
                f,
                "{} cannot be used as part of the data directory: {error}. A directory is needed that this \
                 user may create, read and write; correct its owner, or choose another --data-dir",
                path.display()
            ),
            Self::Cores { missing, allowed } if missing.is_empty() => {
                write!(
                    f,
                    "no core to choose among {allowed:?}; check the process's CPU affinity (`taskset -p`)"
                )
            }
            Self::Cores { missing, allowed } => write!(
                f,
                "server.cores names {missing:?}, which this process may not use; allowed are {allowed:?}. \
                 Correct the list, or the process's CPU affinity (`taskset -p`)"
            ),
            Self::Storage { data_dir, reason } => {
                write!(
                    f,
                    "the database in {} cannot be opened: {reason}",
                    data_dir.display()
                )
            }
            Self::Lane { lane, reason } => write!(f, "lane {lane} cannot be started: {reason}"),
            _ => unreachable!("invariant: all others are written by Display"),
        }
    }
}

fn write_io_uring(f: &mut fmt::Formatter<'_>, error: &io::Error, sysctl: Option<u8>) -> fmt::Result {
    match (error.raw_os_error(), sysctl) {
        (Some(libc::EPERM | libc::EACCES), Some(setting @ (1 | 2))) => write!(
            f,
            "io_uring is forbidden by `sysctl kernel.io_uring_disabled` = {setting}; it must be 0: run \
             `sysctl -w kernel.io_uring_disabled=0` as root{}",
            if setting == 1 {
                ", or put this user's group into kernel.io_uring_group"
            } else {
                ""
            }
        ),
        (Some(libc::EPERM | libc::EACCES), _) => f.write_str(
            "io_uring is blocked, most likely by a container's seccomp filter (Docker 25 and later block \
             it by default); io_uring_setup, io_uring_enter and io_uring_register must be allowed: run \
             with `--security-opt seccomp=PROFILE`, where PROFILE allows these three",
        ),
        (Some(libc::ENOSYS), _) => f.write_str(
            "this kernel has no io_uring (too old, or built without CONFIG_IO_URING); Linux 5.8 or later \
             is needed: upgrade the kernel",
        ),
        (Some(libc::ENOMEM), _) => write!(
            f,
            "the kernel has no locked memory left for io_uring; {} KiB per lane are needed: raise `ulimit \
             -l`, or LimitMEMLOCK in a systemd unit",
            MEMLOCK_PER_EXECUTOR_BYTES / KIB
        ),
        _ => write!(
            f,
            "io_uring_setup failed: {error}; Linux 5.8 or later with io_uring is needed"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_uring(errno: i32, sysctl: Option<u8>) -> String {
        StartError::IoUring {
            error: io::Error::from_raw_os_error(errno),
            sysctl,
        }
        .to_string()
    }

    #[test]
    fn io_uring_messages_name_the_obstacle() {
        assert!(io_uring(libc::EPERM, Some(0)).contains("seccomp=PROFILE"));
        assert!(io_uring(libc::EACCES, None).contains("seccomp=PROFILE"));
        assert!(io_uring(libc::EPERM, Some(1)).contains("io_uring_disabled` = 1"));
        assert!(io_uring(libc::EPERM, Some(1)).contains("kernel.io_uring_group"));
        assert!(io_uring(libc::EPERM, Some(2)).contains("io_uring_disabled` = 2"));
        assert!(!io_uring(libc::EPERM, Some(2)).contains("kernel.io_uring_group"));
        assert!(io_uring(libc::ENOSYS, None).contains("Linux 5.8 or later"));
        assert!(io_uring(libc::ENOMEM, None).contains("512 KiB per lane"));
        assert!(io_uring(libc::EMFILE, None).contains("os error 24"));
    }

    #[test]
    fn every_error_has_an_explained_code_and_a_message_of_one_line() {
        let address: SocketAddr = "127.0.0.1:6379".parse().unwrap();
        let path = || PathBuf::from("/data");
        let error = || io::Error::from_raw_os_error(libc::EACCES);
        let config = crate::config::Config::load(None, &[("a".to_owned(), String::new())]).unwrap_err();
        let text = || "text".to_owned();
        let errors = [
            StartError::Config(config),
            StartError::IoUring {
                error: error(),
                sysctl: None,
            },
            StartError::IoUringTooOld,
            StartError::MemLock {
                needed_bytes: 1 << 20,
                limit_bytes: 64 << 10,
                executors: 2,
            },
            StartError::OpenFiles {
                needed: 20_000,
                limit: 1_024,
            },
            StartError::PortInUse(address),
            StartError::DataDirLocked {
                data_dir: path(),
                process_id: Some(7),
            },
            StartError::DataDirIncompatible { reason: text() },
            StartError::DataDirPermission {
                path: path(),
                error: error(),
            },
            StartError::Cores {
                missing: vec![9],
                allowed: vec![0, 1],
            },
            StartError::Cores {
                missing: vec![],
                allowed: vec![],
            },
            StartError::PortForbidden(address),
            StartError::AddressNotAvailable(address),
            StartError::Socket {
                address,
                error: error(),
            },
            StartError::Storage {
                data_dir: path(),
                reason: text(),
            },
            StartError::Lane {
                lane: 3,
                reason: text(),
            },
        ];
        for error in &errors {
            let code = error.exit_code();
            assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{code}");
            let text = error.to_string();
            assert!(
                !text.is_empty() && !text.contains('\n') && !text.contains("  "),
                "{text:?}"
            );
        }
        assert_eq!(
            errors[3].to_string(),
            "the limit of locked memory is 64 KiB; 2 executors need 1024 KiB. Raise it: `ulimit -l 1024`, \
             LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for docker run"
        );
    }
}
