//! Switches on Linux.

mod configuration;
mod guide;
mod offload;
mod testbed;
