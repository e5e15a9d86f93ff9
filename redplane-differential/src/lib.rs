//! One app three ways: its native handler in the software switch, its IR in the interpreter within the same switch, and the
//! emitted P4 in BMv2. All get the same packets and the same messages of a store, one at a time; every frame that comes
//! out, every drop counter, and the registers of every slot that was touched must be equal after each.
//!
//! [`compare`] says what may differ. Everything comes from a seed, so a difference can be played again.

#![deny(unsafe_code)]

pub mod breakage;
pub mod cable;
pub mod cases;
pub mod compare;
pub mod emulator;
pub mod generate;
pub mod graph;
pub mod interpreted;
pub mod reach;
pub mod round;
pub mod run;
mod samples;
pub mod setting;
pub mod store;
pub mod subject;
pub mod values;
