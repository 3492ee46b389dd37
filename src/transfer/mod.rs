//! Copying samples between text files and a running server: `ticklane import` and `ticklane export`.
//!
//! Both are clients like any other: they speak the Redis protocol, so they work on another machine's server, keep to
//! its passwords and limits, and see what every client sees.

mod connection;
mod export;
mod import;
pub mod row;

use std::fmt;
use std::path::PathBuf;

pub use export::{ExportCounts, ExportFormat, ExportOptions, export};
pub use import::{ImportCounts, ImportFormat, ImportOptions, import};

/// Which server, and how to log in.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Name or address.
    pub host: String,
    /// Port of all businesses or of one.
    pub port: u16,
    /// Sent with AUTH if given.
    pub password: Option<String>,
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a transfer ended before its end.
#[derive(Debug)]
pub enum TransferError {
    /// The file cannot be read or written.
    File {
        /// Which one; `-` is standard input or output.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The server cannot be reached, or went away.
    Connection {
        /// `host:port`.
        server: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The server answered with an error or with something unexpected.
    Refused {
        /// What was asked.
        request: String,
        /// What it said.
        answer: String,
    },
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::File { path, cause } => write!(f, "{}: {cause}", path.display()),
            TransferError::Connection { server, cause } => write!(f, "server {server}: {cause}"),
            TransferError::Refused { request, answer } => write!(f, "{request}: {answer}"),
        }
    }
}

impl std::error::Error for TransferError {}
