//! What the guide shows of `cargo redplane` is what it prints.

use std::fs;
use std::path::{Path, PathBuf};

use super::commands::{redplane, root};

/// A command of a page, and the lines that are shown of its output; `...` stands for any.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands in a page's console blocks.
fn commands(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => found.push(Shown { command: command.to_owned(), output: Vec::new() }),
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
    }
    found
}

fn matches(shown: &[String], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, _) => printed.is_empty(),
        (Some((any, rest)), _) if any == "..." => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        (Some((line, shown)), Some((found, printed))) => line == found && matches(shown, printed),
        (Some(_), None) => false,
    }
}

/// Goes through a page as a reader would, from a folder without anything in it. Commands other than `cd` and
/// `cargo redplane` are not run: they build, and have tests of their own.
fn follow(page: &str) -> usize {
    let text = fs::read_to_string(root().join("guide/src").join(page)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut here: PathBuf = folder.path().to_owned();
    let mut run = 0;
    for Shown { command, output } in commands(&text) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match &words[..] {
            ["cd", "redplane-sdk"] => here = root(),
            ["cd", ".."] => here = folder.path().to_owned(),
            ["cd", name] => here.push(name),
            ["cargo", "redplane", arguments @ ..] => {
                compare(&here, &command, arguments, &output);
                run += 1;
            }
            _ => {}
        }
    }
    run
}

fn compare(here: &Path, command: &str, arguments: &[&str], shown: &[String]) {
    let output = redplane(here, arguments);
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        shown.is_empty() || matches(shown, &lines),
        "`{command}` prints\n{printed}\nnot\n{}",
        shown.join("\n")
    );
}

#[test]
fn pages_show_what_the_command_prints() {
    let pages = ["getting-started.md", "tutorial-counter.md", "tutorial-nat.md"];
    let run: usize = pages.into_iter().map(follow).sum();
    assert!(run >= 7, "only {run} commands were found");
}
