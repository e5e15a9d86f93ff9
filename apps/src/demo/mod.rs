//! The demo: real TCP connections through an app on two switches, while switches and store nodes fail.

pub mod capture;
pub mod connection;
pub mod datagram;
pub mod hosts;
pub mod plot;
pub mod progress;
pub mod report;
pub mod stream;
pub mod translate;
pub mod workload;
