//! ticklane: a durable time-series and key-value server that speaks the Redis protocol.
//!
//! Modules in layer order; each may use those above it:
//! - `limits`, `clock`, `config`, `refusal`, `metrics`, `preflight`: leaves.
//! - `resp`: bytes to requests and replies; knows no commands.
//! - `series`: samples, chunks, codecs; bytes and numbers only.
//! - `aggregate`: buckets, reductions and joins of samples; numbers only.
//! - `store`: RocksDB; the only module that names it.
//! - `lane`: the state one core owns; joins `series` and `store`; knows no commands.
//! - `business`: which lane owns a key.
//! - `command`: the command table and the handlers.
//! - `transfer`: import and export, a client of a running server.
//! - `cli`: the command line.
//! - `server`: threads, sockets, timers; the only module that names glommio.

pub mod aggregate;
pub mod business;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod lane;
pub mod limits;
pub mod metrics;
pub mod preflight;
pub mod refusal;
pub mod resp;
pub mod series;
pub mod server;
pub mod store;
pub mod transfer;
