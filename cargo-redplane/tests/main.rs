//! `cargo redplane`, from outside.

mod commands;
mod projects;
