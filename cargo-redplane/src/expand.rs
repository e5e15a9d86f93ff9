//! `cargo redplane expand`: a handler, and its P4.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use redplane_codegen::build::{self, BuildError};
use redplane_codegen::ir::App;
use redplane_codegen::target::v1model;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

/// Begins each section of the emitted P4; the handler's too.
const SECTION: &str = "\n/* ---- ";

/// Each handler of a file, with the controls that it becomes.
pub(crate) fn expand(file: &Path) -> Result<String> {
    let apps = build::read(file)?;
    if apps.is_empty() {
        return Err(BuildError::NoApp(file.to_owned()).into());
    }
    let source = fs::read_to_string(file)?;
    let shown = file.to_string_lossy();
    let mut text = String::new();
    for app in &apps {
        let (start, rust) = rust_of(app, &source).context("the handler is not where the compiler saw it")?;
        let p4 = p4_of(&v1model::render(app, &shown)).context("the emitted P4 has no handler")?;
        text.push_str(&format!("// {shown}:{start}\n\n{rust}\n\n// {}.p4\n\n{p4}\n", app.name));
    }
    Ok(text)
}

/// First line and text of an app's handler, its docs and attributes included.
fn rust_of(app: &App, source: &str) -> Option<(usize, String)> {
    let mut search = Search { line: app.handler.span.start().line, found: None };
    search.visit_file(&syn::parse_file(source).ok()?);
    let (start, end) = search.found?;
    let lines: Vec<&str> = source.lines().skip(start - 1).take(end + 1 - start).collect();
    let margin = lines.first().map_or(0, |line| line.len() - line.trim_start().len());
    let text = lines.iter().map(|line| line.get(margin..).unwrap_or_default()).collect::<Vec<_>>().join("\n");
    Some((start, text))
}

/// Finds the function whose name stands in a line.
struct Search {
    line: usize,
    found: Option<(usize, usize)>,
}

impl<'ast> Visit<'ast> for Search {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if function.sig.ident.span().start().line == self.line {
            let span = function.span();
            self.found = Some((span.start().line, span.end().line));
        }
        visit::visit_item_fn(self, function);
    }
}

/// The section of the handler, without the lines that tie it to its source.
fn p4_of(program: &str) -> Option<String> {
    let start = program.find(&format!("{SECTION}the handler"))? + 1;
    let len = program[start..].find(SECTION)?;
    let lines = program[start..start + len].lines().filter(|line| !line.starts_with("#line"));
    Some(lines.collect::<Vec<_>>().join("\n").trim_end().to_owned())
}
