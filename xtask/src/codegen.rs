//! `cargo xtask codegen`: `apps/src/*.rs` → `p4-out/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// What a stale `p4-out/` is refreshed by.
const REFRESH: &str = "cargo xtask codegen";

/// Refreshes `p4-out/`, or with `check` only compares it.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let fresh = root.join("target/codegen");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).with_context(|| format!("cannot empty {}", fresh.display()))?;
    }
    let sources = files(&root.join("apps/src"))?;
    // The emitted `#line`s name the source as seen from the workspace's root.
    std::env::set_current_dir(root)?;
    for source in sources.keys().filter(|path| path.extension().is_some_and(|end| end == "rs")) {
        redplane_codegen::build::emit(&Path::new("apps/src").join(source), &fresh)?;
    }
    let (fresh, committed) = (files(&fresh)?, files(&root.join("p4-out"))?);
    if check { compare(&fresh, &committed) } else { replace(&root.join("p4-out"), &fresh, &committed) }
}

fn compare(fresh: &BTreeMap<PathBuf, Vec<u8>>, committed: &BTreeMap<PathBuf, Vec<u8>>) -> anyhow::Result<()> {
    if fresh.is_empty() {
        bail!("no app was found in apps/src, so there is nothing to compare");
    }
    let mut stale: Vec<_> =
        fresh.iter().filter(|(path, bytes)| committed.get(*path) != Some(bytes)).collect();
    stale.extend(committed.iter().filter(|(path, _)| !fresh.contains_key(*path)));
    if stale.is_empty() {
        println!("p4-out is fresh: {} files", fresh.len());
        return Ok(());
    }
    for (path, _) in &stale {
        eprintln!("stale: p4-out/{}", path.display());
    }
    bail!(
        "{} files of p4-out are not what the compiler emits now; refresh them with `{REFRESH}`",
        stale.len()
    )
}

fn replace(
    out: &Path,
    fresh: &BTreeMap<PathBuf, Vec<u8>>,
    committed: &BTreeMap<PathBuf, Vec<u8>>,
) -> anyhow::Result<()> {
    for path in committed.keys().filter(|path| !fresh.contains_key(*path)) {
        fs::remove_file(out.join(path))?;
        println!("removed p4-out/{}", path.display());
    }
    for (path, bytes) in fresh.iter().filter(|(path, bytes)| committed.get(*path) != Some(bytes)) {
        let target = out.join(path);
        fs::create_dir_all(target.parent().expect("a joined path has a parent"))?;
        fs::write(&target, bytes)?;
        println!("wrote p4-out/{}", path.display());
    }
    Ok(())
}

/// Every file below a folder, by its path in the folder. A folder that is not there is empty.
fn files(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(at) = open.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&at)) else { continue };
        for entry in entries {
            let entry = entry?;
            let path = at.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(entry.path())
                    .with_context(|| format!("cannot read {}", entry.path().display()))?;
                found.insert(path, bytes);
            }
        }
    }
    Ok(found)
}
