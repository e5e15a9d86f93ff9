//! `cargo xtask simulate` and `cargo xtask mutants`: the simulation, optimised.

use std::path::Path;

use crate::spawn;

const PACKAGE: &str = "redplane-simulation";

/// Runs seeds. What is simulated is what ships, unless a defect is asked for.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let asks_for_defects = |argument: &String| argument == "mutants" || argument.starts_with("--mutant");
    let features: &[&str] = if arguments.iter().any(asks_for_defects) { &["mutants"] } else { &[] };
    spawn::run(root, PACKAGE, features, arguments)
}

/// Hunts every defect.
pub(crate) fn mutants(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let arguments: Vec<_> = ["mutants".to_owned()].into_iter().chain(arguments.iter().cloned()).collect();
    run(root, &arguments)
}
