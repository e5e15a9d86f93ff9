//! The store as real processes on loopback, under load, while they are killed, stopped and cut off; and a check of all that
//! came out.
//!
//! Real nodes and a real coordinator (or etcd), software switches with the real slot table, UDP sockets between them. What
//! decides is the checker of `redplane-simulation`, which knows only what went in and what came out. The simulation
//! itself has one thread and no clock but its own; this is its opposite, so it is a crate of its own.
//!
//! No privileges are needed: a network that can be cut is made of ports, see [`relay`].

#![forbid(unsafe_code)]

mod app;
pub mod clock;
pub mod cluster;
pub mod drill;
pub mod fault;
pub mod flood;
pub mod gaps;
mod io;
pub mod load;
pub mod log;
pub mod process;
pub mod relay;
pub mod report;
pub mod verdict;

use std::time::Duration;

pub use app::tally;

/// For how long a switch may act on a key by itself; the store's own default.
pub const LEASE: Duration = Duration::from_secs(1);

/// By how much clocks may differ in speed. Here all are the same.
pub const DRIFT_MARGIN_PER_MILLE: u16 = 10;
