//! The guide holds together: its links lead somewhere, what it includes is there, and mdBook makes a book of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a page finds what is in the repository and not in the book: a rendered book has no sources beside it.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

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

/// What is wrong with a link, if anything is. Other places of the network are not asked.
fn broken(page: &Path, link: &str, pages: &BTreeMap<PathBuf, String>) -> Option<&'static str> {
    if let Some(place) = link.strip_prefix(REPOSITORY) {
        let path = ["/blob/main/", "/tree/main/"].iter().find_map(|start| place.strip_prefix(start));
        let path = path.map(|path| path.split('#').next().unwrap_or_default());
        let kind = if place.starts_with("/tree/") { Path::is_dir } else { Path::is_file };
        return path.is_some_and(|path| !kind(&root().join(path))).then_some("is not in the repository");
    }
    if link.contains("://") {
        return None;
    }
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(path) };
    let Ok(target) = target.canonicalize() else { return Some("leads nowhere") };
    let guide = root().join("guide/src").canonicalize().unwrap();
    if page.starts_with(&guide) && !target.starts_with(&guide) {
        return Some("leads out of the book; write its address in the repository");
    }
    let known = |text: &String| ids(text).iter().any(|id| id == fragment);
    if fragment.is_empty() || pages.get(&target).is_none_or(known) {
        None
    } else {
        Some("has no such heading")
    }
}

/// The links of a page: those in the line, and those that are defined below it.
fn links(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| {
        let defined = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
        between(line, "](", ')').chain(defined.map(|(_, link)| link.trim()))
    })
}

#[test]
fn links_lead_somewhere() {
    let root = root().canonicalize().unwrap();
    let pages: BTreeMap<_, _> =
        pages().into_iter().map(|(path, text)| (path.canonicalize().unwrap(), text)).collect();
    let mut findings = Vec::new();
    for (path, text) in &pages {
        for link in links(text) {
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
        let places = ["{{#include ", "{{#rustdoc_include "];
        for place in text.lines().flat_map(|line| places.iter().flat_map(|start| between(line, start, '}'))) {
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
        let item =
            ["pub const ", "pub fn ", "pub struct "].iter().find_map(|kind| line.strip_prefix(kind))?;
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

/// The pages of a rendered book.
fn rendered(folder: &Path) -> BTreeMap<PathBuf, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "html"));
    pages.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// Where a link of a rendered page leads to nothing, or to a place of a page that it does not have.
fn broken_in_the_book(page: &Path, link: &str, pages: &BTreeMap<PathBuf, String>) -> bool {
    let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_path_buf() } else { page.parent().unwrap().join(path) };
    let has = |text: &String| fragment.is_empty() || text.contains(&format!("id=\"{fragment}\""));
    !target.exists() || !pages.get(&target).is_none_or(has)
}

/// Builds the book with the `mdbook` that is found. It must have nothing to say but that it builds, and every link and
/// picture of what comes out must be there.
#[test]
fn the_book_is_built_without_a_warning() {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    let _ = fs::remove_dir_all(&out);
    let Ok(output) =
        Command::new("mdbook").arg("build").arg(root().join("guide")).arg("-d").arg(&out).output()
    else {
        // Not by `println!`: the harness shows that of failed tests only.
        writeln!(std::io::stderr(), "SKIPPED: mdbook not found").unwrap();
        return;
    };
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    let strange: Vec<&str> = said.lines().filter(|line| !line.contains("INFO")).collect();
    assert!(strange.is_empty(), "\n{}", strange.join("\n"));
    let pages = rendered(&out);
    let mut findings = Vec::new();
    for (path, text) in
        pages.iter().filter(|(path, _)| !path.ends_with("404.html") && !path.ends_with("print.html"))
    {
        let name = path.file_name().unwrap().to_string_lossy();
        if text.contains("{{#") {
            findings.push(format!("{name} shows a directive of mdBook"));
        }
        for link in ["href=\"", "src=\""].into_iter().flat_map(|start| between(text, start, '"')) {
            let is_elsewhere = link.contains("://") || link.starts_with("data:");
            if !is_elsewhere && broken_in_the_book(path, link, &pages) {
                findings.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    assert!(pages.len() > 10, "only {} pages", pages.len());
}
