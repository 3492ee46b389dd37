//! Threads, sockets, timers: the only module that names glommio.

mod blocking;
mod checkpoints;
mod client;
mod commit;
mod connection;
mod deliveries;
mod dispatch;
mod dumps;
mod event;
mod follow;
mod gather;
mod hop;
mod inbox;
mod lane_shell;
mod lifecycle;
mod listener;
mod mesh;
mod message;
mod orders;
mod plans;
mod rates;
mod reports;
mod requests;
mod rewrites;
mod rule_ends;
mod run_lane;
mod scan_cursors;
mod sockets;
mod start;
mod supervisor;
mod timers;
mod transaction;
mod transfer;
mod turn;
mod waking;

pub use start::serve;
