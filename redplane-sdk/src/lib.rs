//! Write a switch program in Rust; its state survives the switch.
//!
//! An app is one module under `#[app]`: see [`mod@app`] for what it becomes, [`prelude`] for what it may use.
//! [`pipeline::Switch`] runs it natively; [`net`] is a simulated network to run it in.

#![forbid(unsafe_code)]

pub mod app;
pub mod checksum;
pub mod field;
mod idle;
pub mod net;
pub mod ops;
pub mod packet;
pub mod pipeline;
pub mod prelude;
pub mod table;

pub use app::{App, Handled, StateHandle, StateRef, Suspend, Verdict};
pub use field::{Bits, Field};
pub use idle::idle_of;
pub use redplane_macros::{app, config, handler, header, key, on_create, packet, state, table};
pub use redplane_protocol as protocol;
#[doc(hidden)]
pub use serde;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
