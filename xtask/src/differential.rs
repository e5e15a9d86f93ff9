//! `cargo xtask differential`: the native handlers, their IR, and the emitted P4 in BMv2, on the same packets.

use std::path::Path;

use crate::spawn;

pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    spawn::run(root, "redplane-differential", &[], arguments)
}
