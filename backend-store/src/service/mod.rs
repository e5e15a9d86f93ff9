//! The store as processes: sockets, threads, coordination, journal, and what an operator sees.

pub mod admin;
pub mod clock;
pub mod config;
pub mod coordination;
mod durable;
pub mod gate;
pub mod journal;
mod links;
pub mod metrics;
pub mod question;
pub mod schema;
pub mod server;
pub mod shard;
pub mod supervisor;
pub mod udp;
