//! What the invariants of ARCHITECTURE.md and the style ask for, and a machine can count.

use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Characters in a line of Rust: the width of rustfmt.toml, and room for comments and strings, which it does not break.
const LINE_MAX: usize = 130;
/// Lines in a function: what one screen shows.
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every tracked kind of text file below the root, without build output.
fn texts(endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with(".git") {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push((
                    path.strip_prefix(root()).unwrap().to_path_buf(),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no file ends in {endings:?}");
    found
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn lines_fit_the_screen_and_hold_no_leftovers() {
    // Spelled in two halves so that this file does not find itself.
    let leftovers = [
        concat!("dbg", "!("),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut findings = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        for (index, line) in text.lines().enumerate() {
            if line.chars().count() > LINE_MAX {
                findings.push(format!(
                    "{}:{}: {} characters, at most {LINE_MAX}",
                    path.display(),
                    index + 1,
                    line.chars().count()
                ));
            }
            for leftover in leftovers.iter().filter(|leftover| line.contains(**leftover)) {
                findings.push(format!("{}:{}: `{leftover}`", path.display(), index + 1));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn no_file_names_a_path_of_some_machine() {
    let homes =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/opt/p4", "build")];
    let mut findings = Vec::new();
    for (path, text) in texts(&[".rs", ".md", ".toml", ".p4", ".json", ".lua", ".py", ".stderr"]) {
        for (index, line) in text.lines().enumerate() {
            for home in homes.iter().filter(|home| line.contains(**home)) {
                findings.push(format!("{}:{}: `{home}`", path.display(), index + 1));
            }
        }
    }
    assert_none(&findings);
}

struct Functions<'a> {
    path: &'a Path,
    findings: Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
        let lines = block.span().end().line - block.span().start().line + 1;
        if lines > FUNCTION_LINES_MAX {
            let start = name.span().start().line;
            self.findings.push(format!(
                "{}:{start}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}",
                self.path.display()
            ));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.check(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.check(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
}

#[test]
fn functions_fit_the_screen() {
    let mut findings = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        // Some fixtures are wrong on purpose.
        let Ok(file) = syn::parse_file(&text) else { continue };
        let mut functions = Functions { path: &path, findings: Vec::new() };
        functions.visit_file(&file);
        findings.append(&mut functions.findings);
    }
    assert_none(&findings);
}

#[test]
fn the_protocol_has_no_io_no_clock_and_no_runtime() {
    let banned = [
        "std::net::UdpSocket",
        "std::net::Tcp",
        "UdpSocket",
        "Instant::now",
        "SystemTime",
        "std::fs",
        "std::thread",
        "tokio",
        "unsafe ",
    ];
    let mut findings = Vec::new();
    for (path, text) in texts(&[".rs"]) {
        if !path.starts_with("redplane-protocol/src") {
            continue;
        }
        let code = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (index, line) in code {
            for word in banned.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{}:{}: `{word}`", path.display(), index + 1));
            }
        }
    }
    assert_none(&findings);
    let crate_root = fs::read_to_string(root().join("redplane-protocol/src/lib.rs")).unwrap();
    assert!(crate_root.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn dependencies_point_one_way() {
    let ours = [
        "redplane-protocol",
        "redplane-codegen",
        "redplane-macros",
        "redplane-sdk",
        "backend-store",
        "redplane-bmv2",
        "redplane-differential",
        "redplane-lab",
        "apps",
        "cargo-redplane",
        "xtask",
    ];
    let allowed: &[(&str, &[&str])] = &[
        ("redplane-protocol", &[]),
        ("redplane-codegen", &[]),
        ("redplane-macros", &["redplane-codegen"]),
        ("redplane-sdk", &["redplane-macros", "redplane-protocol"]),
        ("backend-store", &["redplane-protocol"]),
        ("redplane-bmv2", &["redplane-sdk"]),
        ("redplane-lab", &["redplane-sdk", "backend-store"]),
        ("cargo-redplane", &["redplane-codegen"]),
    ];
    let mut findings = Vec::new();
    for (name, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            // Tests may look at both sides of a seam.
            if section != "[dependencies]" {
                continue;
            }
            for other in ours.iter().filter(|other| line.starts_with(**other) && !allowed.contains(other)) {
                findings.push(format!("{name} must not depend on {other}"));
            }
        }
    }
    assert_none(&findings);
}
