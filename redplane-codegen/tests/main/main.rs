//! The compiler, from Rust source to typed program.

mod codes;
mod common;
mod golden;
mod nat;
