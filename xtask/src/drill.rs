//! `cargo xtask drill` and `cargo xtask bench datapath`: switches on this machine's kernel, optimised.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::spawn;

/// Builds the switches, and runs a command of the drill.
pub(crate) fn run(root: &Path, command: &str, arguments: &[String]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--quiet", "--release", "--package", "redplane"]);
    if !build.status().context("cannot run cargo")?.success() {
        bail!("redplane does not build");
    }
    let arguments: Vec<_> = std::iter::once(command.to_owned()).chain(arguments.iter().cloned()).collect();
    spawn::run(root, "redplane-drill", &[], &arguments)
}
