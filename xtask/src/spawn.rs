//! Runs another crate of the workspace as a command.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Runs the binary of a package, optimised, with these features and arguments.
pub(crate) fn run(root: &Path, package: &str, features: &[&str], arguments: &[String]) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["run", "--quiet", "--release", "--package", package]);
    if !features.is_empty() {
        command.arg("--features").arg(features.join(","));
    }
    let status = command.arg("--").args(arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("{package} {} failed", arguments.join(" "));
    }
    Ok(())
}
