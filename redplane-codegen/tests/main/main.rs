//! The compiler, from Rust source to typed program.

mod bmv2;
mod build;
mod codes;
mod common;
mod golden;
mod language;
mod nat;
mod robust;
mod tools;
