//! Write a switch program in Rust; its state survives the switch.
#![forbid(unsafe_code)]

pub mod app;
pub mod checksum;
pub mod field;
pub mod ops;
pub mod packet;
pub mod table;

pub use app::{App, Handled, StateHandle, StateRef, Suspend, Verdict};
pub use field::{Bits, Field};
pub use redplane_protocol as protocol;
