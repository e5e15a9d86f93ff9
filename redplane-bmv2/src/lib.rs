//! BMv2's `simple_switch` from Rust.
//!
//! [`Runtime`] speaks its control interface. [`load`] fills a switch from the `entries.json` that the compiler emits and
//! from what an operator decides ([`Operator`]), and gives a [`Loaded`], by which routes and stores change later.
//! [`compile`] makes a program of the emitted P4, and [`Process`] is a running switch.
//!
//! Nothing here needs BMv2 to be built, and nothing needs root until a [`Process`] is started.

#![forbid(unsafe_code)]

mod compile;
mod entries;
mod error;
mod load;
mod operator;
mod process;
mod runtime;
mod tables;
mod thrift;

pub use compile::{CompileError, Program, Register, compile};
pub use entries::{Entries, EntriesError};
pub use error::RuntimeError;
pub use load::{LoadError, Loaded, load};
pub use operator::{Operator, number};
pub use process::{Launch, Process, ProcessError, missing};
pub use runtime::{CounterValue, EntryHandle, MatchKey, Runtime};
