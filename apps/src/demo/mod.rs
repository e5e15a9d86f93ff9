//! The demo: real TCP connections through an app on two switches, while switches and store nodes fail.

pub mod capture;
pub mod connection;
pub mod hosts;
pub mod plot;
pub mod progress;
pub mod report;
mod run;
pub mod scenario;
pub mod script;
pub mod store;
pub mod stranger;
pub mod stream;
pub mod topology;
pub mod translate;
pub mod workload;

pub use redplane_lab::{datagram, place};
pub use run::{AppName, Options, Outcome, run};
