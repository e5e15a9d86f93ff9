//! `cargo redplane explain`: the page of a code.

use anyhow::{Result, bail};
use redplane_codegen::codes::{self, CODES, Code};

/// The page of a code, or the list of all.
pub(crate) fn explain(code: Option<&str>) -> Result<String> {
    let Some(code) = code else { return Ok(list()) };
    match codes::find(&code.to_uppercase()) {
        Some(entry) => Ok(page(entry)),
        None => bail!("there is no code `{code}`; the codes are:\n\n{}", list()),
    }
}

fn list() -> String {
    CODES.iter().map(|entry| format!("{}  {}\n", entry.code, entry.title)).collect()
}

fn page(entry: &Code) -> String {
    let Code { code, title, explanation, bad, good } = entry;
    format!("{code}: {title}\n\n{explanation}\n\nnot:\n\n{}\nbut:\n\n{}", indent(bad), indent(good))
}

fn indent(code: &str) -> String {
    code.lines().map(|line| format!("    {line}\n")).collect()
}
