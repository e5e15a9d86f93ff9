//! RedPlane switches on Linux: software switches on interfaces, BMv2, and a testbed of network namespaces for both.
//!
//! An author's own command is three lines: [`cli::main`] with the apps that it is to know.

pub mod authentication;
pub mod bmv2;
pub mod cli;
pub mod linux;
mod program;
pub mod switch;
pub mod testbed;

pub use program::{Emitted, Program, program};
