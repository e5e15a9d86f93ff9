//! The compiler, from Rust source to typed program.

mod build;
mod codes;
mod common;
mod golden;
mod language;
mod nat;
mod robust;
mod tools;
