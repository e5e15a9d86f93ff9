//! `cargo xtask model`: every order of events within a scope, on the protocol's own code.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Runs `redplane-model`, optimised, in a process of its own: the other chores need not be built with it.
pub(crate) fn run(root: &Path, scopes: &[String], long: bool, mutants: bool) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["run", "--release", "--quiet", "-p", "redplane-model", "--"]);
    if mutants {
        command.arg("mutants");
    } else {
        command.args(scopes.iter().flat_map(|scope| ["--scope", scope]));
        command.args(long.then_some("--long"));
    }
    let status = command.status().context("cargo run -p redplane-model")?;
    if !status.success() {
        bail!("the model found something: see above");
    }
    Ok(())
}
