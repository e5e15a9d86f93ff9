//! The guide holds together: its links lead somewhere, and what it includes is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Pages of the guide and of the root, by path.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for folder in [root(), root().join("guide/src")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.insert(path, text);
            }
        }
    }
    pages
}

/// The lines outside of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// What stands between `start` and `end`, wherever it does.
fn between<'a>(line: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    line.split(start).skip(1).filter_map(move |rest| rest.split_once(end).map(|(inside, _)| inside))
}

/// The ids that mdBook gives to headings.
fn ids(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let id = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().chars().filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter if letter.is_alphanumeric() || letter == '-' || letter == '_' => Some(letter),
            _ => None,
        });
        kept.collect::<String>().to_lowercase()
    };
    headings.map(id).collect()
}

fn broken(page: &Path, link: &str, pages: &BTreeMap<PathBuf, String>) -> Option<&'static str> {
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(path) };
    let Ok(target) = target.canonicalize() else { return Some("leads nowhere") };
    let known = |text: &String| ids(text).iter().any(|id| id == fragment);
    if fragment.is_empty() || pages.get(&target).is_none_or(known) {
        None
    } else {
        Some("has no such heading")
    }
}

#[test]
fn links_lead_somewhere() {
    let root = root().canonicalize().unwrap();
    let pages: BTreeMap<_, _> =
        pages().into_iter().map(|(path, text)| (path.canonicalize().unwrap(), text)).collect();
    let mut findings = Vec::new();
    for (path, text) in &pages {
        for link in prose(text).flat_map(|line| between(line, "](", ')')) {
            if link.contains("://") {
                continue;
            }
            if let Some(why) = broken(path, link, &pages) {
                findings.push(format!("{}: ({link}) {why}", path.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn what_is_included_is_there() {
    let mut findings = Vec::new();
    let mut included = 0;
    for (page, text) in pages() {
        for place in text.lines().flat_map(|line| between(line, "{{#include ", '}')) {
            included += 1;
            let (path, anchor) = place.split_once(':').unwrap_or((place, ""));
            let source = fs::read_to_string(page.parent().unwrap().join(path)).unwrap_or_default();
            let has = |mark: &str| source.lines().any(|line| line.trim() == format!("// {mark}: {anchor}"));
            let whole =
                if anchor.is_empty() { !source.is_empty() } else { has("ANCHOR") && has("ANCHOR_END") };
            if !whole {
                findings.push(format!("{}: {place}", page.display()));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    assert!(included > 0, "the tutorials include code");
}

#[test]
fn the_library_is_in_the_guide() {
    let page = fs::read_to_string(root().join("guide/src/language.md")).unwrap();
    let items = redplane_codegen::library::SOURCE.lines().filter_map(|line| {
        let item = line.strip_prefix("pub fn ").or_else(|| line.strip_prefix("pub struct "))?;
        item.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    });
    let missing: Vec<&str> = items
        .filter(|item| !page.contains(&format!("`{item}`")) && !page.contains(&format!("`{item}(")))
        .collect();
    assert!(missing.is_empty(), "guide/src/language.md does not tell of {missing:?}");
}

#[test]
fn every_page_is_in_the_summary() {
    let folder = root().join("guide/src");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    for path in pages().keys().filter(|path| path.starts_with(&folder)) {
        let name = path.file_name().unwrap().to_string_lossy();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
}
