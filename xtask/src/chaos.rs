//! `cargo xtask chaos`: a drill of the store as real processes, optimised.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::spawn;

const PACKAGE: &str = "redplane-chaos";

/// Builds the drill and its store, with etcd if that is asked for and there, and runs it.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let asks_for_etcd =
        arguments.iter().any(|argument| argument == "etcd" || argument == "--coordination=etcd");
    // Without it the drill says that it is skipped, and needs nothing of its client.
    let features: &[&str] = if asks_for_etcd && is_there("etcd") { &["etcd"] } else { &[] };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--quiet", "--release", "--package", PACKAGE, "--bins"]);
    if !features.is_empty() {
        build.arg("--features").arg(features.join(","));
    }
    if !build.status().context("cannot run cargo")?.success() {
        bail!("{PACKAGE} does not build");
    }
    spawn::run(root, PACKAGE, features, arguments)
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
