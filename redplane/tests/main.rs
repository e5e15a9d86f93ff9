//! Switches on Linux.

mod configuration;
mod offload;
mod testbed;
