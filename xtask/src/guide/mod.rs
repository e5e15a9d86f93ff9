//! `cargo xtask guide`: what the guide has from the code itself. The page of diagnostics comes from the compiler's table,
//! the page and the picture of the pipeline from the emitted P4, the pictures of a failover from runs of the demo.

mod demo;
mod diagnostics;
mod pipeline;
mod svg;

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

/// Where a page of the guide finds a source: a rendered book has no others beside it.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main");

/// A file, from the workspace's root on, and what belongs into it.
struct Made {
    path: &'static str,
    text: String,
}

/// Writes what is stale, or with `check` only looks for it.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let mut made = vec![Made { path: diagnostics::PAGE, text: diagnostics::page(root)? }];
    made.extend(pipeline::made(root)?);
    made.extend(demo::made(root)?);
    let is_stale = |made: &&Made| fs::read_to_string(root.join(made.path)).ok().as_ref() != Some(&made.text);
    let stale: Vec<&Made> = made.iter().filter(is_stale).collect();
    if stale.is_empty() {
        println!("the guide is fresh: {} files", made.len());
    }
    for Made { path, text } in &stale {
        if check {
            eprintln!("stale: {path}");
        } else {
            fs::write(root.join(path), text).with_context(|| format!("cannot write {path}"))?;
            println!("wrote {path}");
        }
    }
    if check && !stale.is_empty() {
        bail!("{} files are not what the code says now; refresh them with `cargo xtask guide`", stale.len());
    }
    Ok(())
}

/// A page with `fresh` between its marks.
fn between_marks(root: &Path, path: &'static str, fresh: &str) -> anyhow::Result<Made> {
    const BEGIN: &str = "<!-- cargo xtask guide: begin -->\n";
    const END: &str = "<!-- cargo xtask guide: end -->";
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))?;
    let (before, rest) =
        text.split_once(BEGIN).with_context(|| format!("{path} has no `{}`", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("{path} has no `{END}`"))?;
    Ok(Made { path, text: format!("{before}{BEGIN}{fresh}{END}{after}") })
}
