//! The compiler, from Rust source to typed program.

mod common;
mod nat;
