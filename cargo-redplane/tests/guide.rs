//! The pages that a reader follows with `cargo redplane`, followed: every command of their console blocks in order, from a
//! folder without anything in it, and what is shown of the output compared with what is printed.

use std::fs;
use std::path::{Path, PathBuf};

use super::commands::{redplane, root};
use super::projects::{get_a_quota, run};

/// A command of a page, and the lines that are shown of its output; `...` stands for any.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// A page's console blocks.
fn blocks(page: &str) -> Vec<Vec<Shown>> {
    page.split("```console\n").skip(1).map(|block| commands(block.split("```").next().unwrap())).collect()
}

fn commands(block: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push(Shown { command: command.to_owned(), output: Vec::new() }),
            (None, Some(last)) => last.output.push(line.to_owned()),
            (None, None) => panic!("output without a command: {line}"),
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

/// A reader: where he began, and where he is.
struct Reader {
    start: PathBuf,
    here: PathBuf,
}

impl Reader {
    fn at(folder: &Path) -> Self {
        Self { start: folder.to_owned(), here: folder.to_owned() }
    }

    /// Does what a line says. What is not known here has no test, and is a failure.
    fn obey(&mut self, Shown { command, output }: &Shown) {
        let words: Vec<&str> = command.split_whitespace().collect();
        match &words[..] {
            ["cd", "redplane-sdk"] => self.here = root(),
            ["cd", ".."] => self.here = self.start.clone(),
            ["cd", name] => self.here.push(name),
            ["cargo", "redplane", arguments @ ..] => {
                self.compare(command, output, &redplane(&self.here, arguments));
            }
            ["cargo", what @ ("test" | "run")] if self.here != root() => {
                self.compare(command, output, &run(&self.here, &[what]));
            }
            _ => {
                assert!(output.is_empty(), "nobody compares what `{command}` prints");
                assert!(is_tested_elsewhere(command, &self.here), "nobody tests `{command}`");
            }
        }
    }

    fn compare(&self, command: &str, shown: &[String], output: &std::process::Output) {
        // Tests build at once, and cargo says when it waits for another build.
        let printed = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
        let lines: Vec<&str> = printed.lines().filter(|line| !line.trim().starts_with("Blocking")).collect();
        assert!(output.status.success(), "`{command}` in {} fails:\n{printed}", self.here.display());
        assert!(
            shown.is_empty() || matches(shown, &lines),
            "`{command}` prints\n{printed}\nnot\n{}",
            shown.join("\n")
        );
    }
}

/// What takes the network or minutes. Its parts are checked, and it is run elsewhere.
fn is_tested_elsewhere(command: &str, here: &Path) -> bool {
    let file = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    match command {
        // The address is the workspace's own, and the tests run in a checkout.
        "git clone https://github.com/redplane-sdk/redplane-sdk" => {
            let address = command.split(' ').next_back().unwrap();
            file("Cargo.toml").contains(&format!("repository = \"{address}\""))
        }
        // It builds the program that the tests run.
        "cargo install --locked --path cargo-redplane" => {
            here == root() && file("cargo-redplane/Cargo.toml").contains("name = \"cargo-redplane\"")
        }
        command => here == root() && file(".ci/run").lines().any(|line| line == format!("step {command}")),
    }
}

/// Follows a page. `change` is what the reader does to his project before the last block.
fn follow(page: &str, change: impl Fn(&Path)) {
    let text = fs::read_to_string(root().join("guide/src").join(page)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::at(folder.path());
    let blocks = blocks(&text);
    assert!(!blocks.is_empty(), "{page} has no console block");
    for (index, block) in blocks.iter().enumerate() {
        if index + 1 == blocks.len() {
            change(&reader.here);
        }
        block.iter().for_each(|shown| reader.obey(shown));
    }
}

#[test]
fn getting_started() {
    follow("getting-started.md", |_| ());
}

#[test]
fn your_first_counter() {
    follow("tutorial-counter.md", get_a_quota);
}

#[test]
fn a_nat_from_scratch() {
    follow("tutorial-nat.md", |_| ());
}

#[test]
fn an_untested_command_is_found() {
    let untested = |command: &str| !is_tested_elsewhere(command, &root());
    assert!(untested("cargo run --release -- --surprise") && untested("git clone https://example.org/it"));
    assert!(!untested("cargo run --release"));
    let shown = ["a", "...", "d"].map(str::to_owned);
    assert!(matches(&shown, &["a", "b", "c", "d"]) && matches(&shown, &["a", "d"]));
    assert!(!matches(&shown, &["a", "b"]) && !matches(&shown, &["a", "d", "e"]));
}
