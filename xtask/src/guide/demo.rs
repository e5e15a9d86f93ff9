//! The demo's pictures and the parts of its reports that the README and the guide show, from runs with the default seed.
//! The same seed gives the same bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::Made;

/// A run: what is asked for, and the picture that it makes.
struct Run {
    arguments: &'static [&'static str],
    picture: &'static str,
}

const REPLICATED: Run = Run { arguments: &[], picture: "guide/src/images/nat-replicated.svg" };
const NOT_REPLICATED: Run =
    Run { arguments: &["--no-replication"], picture: "guide/src/images/nat-not-replicated.svg" };

/// Pages that show reports of these runs in `text` blocks, and of which.
const PAGES: [(&str, &[&Run]); 2] = [
    ("README.md", &[&REPLICATED]),
    ("guide/src/tutorial-watch-it-survive.md", &[&REPLICATED, &NOT_REPLICATED]),
];

/// The pictures of today.
///
/// # Errors
/// If a run fails, or a page shows what a run does not print.
pub(super) fn made(root: &Path) -> anyhow::Result<Vec<Made>> {
    let mut pictures = Vec::new();
    for run in [&REPLICATED, &NOT_REPLICATED] {
        let (report, picture) = go(root, run)?;
        for (page, runs) in PAGES {
            let text = fs::read_to_string(root.join(page)).with_context(|| format!("cannot read {page}"))?;
            let blocks: Vec<&str> = text.split("```text\n").skip(1).collect();
            ensure!(blocks.len() == runs.len(), "{page} shows {} reports, not {}", blocks.len(), runs.len());
            for (block, _) in blocks.iter().zip(runs).filter(|(_, shown)| shown.picture == run.picture) {
                compare(page, block.split("```").next().unwrap_or_default(), &report)?;
            }
        }
        if run.picture == NOT_REPLICATED.picture {
            say_the_same(root, &report)?;
        }
        pictures.push(Made { path: run.picture, text: picture });
    }
    Ok(pictures)
}

/// What a run prints, and its picture.
fn go(root: &Path, run: &Run) -> anyhow::Result<(String, String)> {
    let folder = root.join("target/guide");
    fs::create_dir_all(&folder)?;
    let path = folder.join("run.svg");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "apps",
        "--bin",
        "apps",
        "--",
    ]);
    let output = command.args(run.arguments).arg("--svg").arg(&path).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the demo failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((String::from_utf8(output.stdout)?, fs::read_to_string(&path)?))
}

/// Every line that is shown must be printed, in this order. Lines between them may be left out.
fn compare(page: &str, shown: &str, printed: &str) -> anyhow::Result<()> {
    let mut printed_lines = printed.lines();
    for line in shown.lines().filter(|line| !line.is_empty()) {
        ensure!(
            printed_lines.any(|other| other == line),
            "{page} shows a line that the demo does not print there:\n{line}\nIt prints\n{printed}"
        );
    }
    Ok(())
}

/// What the README says in words of the run without replication.
fn say_the_same(root: &Path, report: &str) -> anyhow::Result<()> {
    let number = |what: &str| {
        let words = report.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut lines = words.filter(|words| words.contains(&what));
        lines.find_map(|words| words.last().map(ToString::to_string)).unwrap_or_default()
    };
    let words = format!("{} of the {} connections are reset", number("reset"), number("opened"));
    let readme = fs::read_to_string(root.join("README.md"))?;
    ensure!(readme.contains(&words), "README.md does not say that {words}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_be_left_out_and_not_changed() {
        let printed = "  opened   200\n  completed   200\n  reset   0\n";
        assert!(compare("p", "  opened   200\n\n  reset   0\n", printed).is_ok());
        assert!(compare("p", "  reset   1\n", printed).is_err());
        assert!(compare("p", "  reset   0\n  opened   200\n", printed).is_err());
    }
}
