//! The page of all diagnostics, from the compiler's table and from what rustc shows of the fixtures.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use redplane_codegen::codes::{CODES, Code};

/// Where the page is.
pub(super) const PAGE: &str = "guide/src/diagnostics.md";
/// Where the fixtures are: `rp0012_name.rs`, and beside it what rustc shows.
const FIXTURES: &str = "redplane-macros/tests/ui";

const INTRODUCTION: &str = "\
# Diagnostics

<!-- Made by `cargo xtask guide`; do not edit. -->

What a switch cannot do is an error of the compiler at your line, with the way out. Each kind has a code, which is never used
for another. `cargo redplane explain RP0051` shows its entry, and `cargo redplane check FILE` all mistakes of a file.

Below each stands what not to write, what to write, and what rustc shows for an example, line numbers and all.

";

/// The page as the compiler has it now.
pub(super) fn page(root: &Path) -> anyhow::Result<String> {
    let fixtures = fixtures(&root.join(FIXTURES))?;
    let mut page = String::from(INTRODUCTION);
    page.push_str("| code | mistake |\n| --- | --- |\n");
    for Code { code, title, .. } in CODES {
        writeln!(page, "| [{code}](#{}) | {title} |", code.to_lowercase())?;
    }
    for entry in CODES {
        let start = format!("{}_", entry.code.to_lowercase());
        let fixture = fixtures
            .iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&start)));
        let fixture = fixture.with_context(|| format!("{FIXTURES} has nothing for {}", entry.code))?;
        let shown = fs::read_to_string(fixture)?;
        page.push_str(&section(entry, shown.split("\n\n").next().unwrap_or_default()));
    }
    Ok(page)
}

/// What rustc shows, of all fixtures, in order.
fn fixtures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|end| end == "stderr"));
    paths.sort();
    Ok(paths)
}

fn section(entry: &Code, shown: &str) -> String {
    let Code { code, title, explanation, bad, good } = entry;
    format!(
        "\n## {code}\n\n**{}.** {explanation}\n\nNot:\n\n```rust,ignore\n{bad}\n```\n\nBut:\n\n```rust,ignore\n{good}\n```\n\n\
         ```text\n{}\n```\n",
        upper_first(title),
        shown.trim_end()
    )
}

pub(super) fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
