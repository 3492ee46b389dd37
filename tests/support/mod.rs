//! What the integration tests share: a server process, a blocking client, reply values, transcripts.

#![allow(
    dead_code,
    unused_imports,
    reason = "every test binary compiles this and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail loudly"
)]

mod client;
mod pattern;
mod rollup;
mod server;
mod transcript;
mod value;

pub use client::{Client, encode};
pub use pattern::matches;
pub use rollup::{Point, is_near, is_same, looks_beside, rolled_up};
pub use server::{Program, Server, ServerOptions, run_to_exit};
pub use transcript::{Failure, Run, run_file};
pub use value::{Value, escape, unescape};

/// The seed of this run from `SEED` in the environment: a number, `random` for one drawn now, else the same one every
/// time. A failing test prints it.
pub fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(text) if text == "random" => fastrand::u64(..1 << 48),
        Ok(text) => text.parse().expect("SEED is a number or `random`"),
        Err(_) => 1,
    }
}

/// Raises this process's soft limit on open files to the hard one; children inherit it.
///
/// Returns the limit that now holds.
pub fn raise_open_file_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a pointer to a live, properly typed `rlimit` and touch nothing else.
    unsafe {
        assert_eq!(
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit),
            0,
            "getrlimit"
        );
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit),
            0,
            "setrlimit"
        );
    }
    limit.rlim_cur
}
