//! Each code has a fixture, and each fixture exactly the mistakes that its `//~ ^^^ RP0000` lines mark.
//!
//! The fixtures are those of the macro crate, where rustc shows them to the author.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use redplane_codegen::codes::{self, CODES};

/// Line, column, code.
type Mistake = (usize, usize, String);

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../redplane-macros/tests/ui");
    let files = fs::read_dir(folder).expect("the fixtures are there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a readable folder").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths
}

/// What the `//~` lines say about the line above them.
fn marked(source: &str) -> Vec<Mistake> {
    let mut line = 0;
    let mut mistakes = Vec::new();
    for (index, text) in source.lines().enumerate() {
        if !text.starts_with("//~") {
            line = index + 1;
            continue;
        }
        let code = text.split_whitespace().last().expect("a code at the end").to_owned();
        let column = if text.contains("^<") { 0 } else { text.find('^').expect("a caret under the token") };
        mistakes.push((line, column, code));
    }
    mistakes
}

/// The `compile_error!`s in what the macro gives back.
fn reported(source: &str) -> Vec<Mistake> {
    let file = syn::parse_file(source).expect("the fixture is Rust");
    let expanded = file.items.iter().find_map(expanded).expect("the fixture has an app");
    let mut mistakes = Vec::new();
    collect(expanded, &mut mistakes);
    mistakes.sort();
    mistakes
}

fn expanded(item: &syn::Item) -> Option<TokenStream> {
    let mut item = item.clone();
    let attributes = match &mut item {
        syn::Item::Mod(item) => &mut item.attrs,
        syn::Item::Struct(item) => &mut item.attrs,
        _ => return None,
    };
    let attribute = (!attributes.is_empty()).then(|| attributes.remove(0))?;
    let name = attribute.path().segments.last()?.ident.to_string();
    let arguments = match &attribute.meta {
        syn::Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    Some(match name.as_str() {
        "app" => redplane_codegen::expand(arguments, item.to_token_stream()),
        role => redplane_codegen::outside(role, item.to_token_stream()),
    })
}

fn collect(tokens: TokenStream, mistakes: &mut Vec<Mistake>) {
    let mut place = None;
    for tree in tokens {
        match tree {
            TokenTree::Ident(name) if name == "compile_error" => place = Some(name.span().start()),
            TokenTree::Group(group) => match place.take() {
                Some(start) => {
                    let text = group.stream().to_string();
                    let code = text.trim_start_matches('"').split(':').next().unwrap_or_default();
                    mistakes.push((start.line, start.column, code.to_owned()));
                }
                None => collect(group.stream(), mistakes),
            },
            _ => {}
        }
    }
}

#[test]
fn fixtures_report_what_they_mark() {
    let mut wrong = Vec::new();
    for path in fixtures() {
        let source = fs::read_to_string(&path).unwrap();
        let (mut expected, mut found) = (marked(&source), reported(&source));
        if expected.iter().any(|(_, _, code)| code == codes::OUTSIDE) {
            // The macro's own place, which only rustc knows.
            expected.iter_mut().chain(&mut found).for_each(|mistake| (mistake.0, mistake.1) = (0, 0));
        }
        expected.sort();
        if expected != found {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            wrong.push(format!("{name}\n  marked   {expected:?}\n  reported {found:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.concat());
}

#[test]
fn every_code_has_a_fixture() {
    let marked: BTreeSet<String> = fixtures()
        .iter()
        .flat_map(|path| marked(&fs::read_to_string(path).unwrap()))
        .map(|(_, _, code)| code)
        .collect();
    let all: BTreeSet<String> = CODES.iter().map(|entry| entry.code.to_owned()).collect();
    assert_eq!(all, marked);
}

#[test]
fn one_build_reports_all_mistakes_of_a_module() {
    let path = fixtures().into_iter().find(|path| path.ends_with("five_mistakes.rs")).expect("the fixture");
    assert_eq!(reported(&fs::read_to_string(path).unwrap()).len(), 5);
}

#[test]
fn codes_are_in_order_and_said_in_full() {
    for (index, entry) in CODES.iter().enumerate() {
        assert_eq!(entry.code, format!("RP{:04}", index + 1));
        assert!(codes::find(entry.code).is_some_and(|found| found.title == entry.title));
        for text in [entry.title, entry.explanation, entry.bad, entry.good] {
            assert!(!text.is_empty(), "{}", entry.code);
        }
    }
}
