//! The command line of a store, for whoever links apps into it.

use std::process::ExitCode;

use crate::AppFactory;

/// An app whose `on_create` is linked in.
pub struct Registration {
    /// Its number, as in its schema.
    pub app: u16,
    /// Makes its creator, once per node and shard.
    pub factory: AppFactory,
}

/// Runs the command line.
#[must_use]
pub fn main(_apps: Vec<Registration>) -> ExitCode {
    ExitCode::SUCCESS
}
