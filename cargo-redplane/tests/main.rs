//! `cargo redplane`, from outside.

mod commands;
mod guide;
mod projects;
