//! No block of the guide or of the README is without a test. Who adds one finds here what it needs.

use std::fs;
use std::path::{Path, PathBuf};

/// A fenced block.
struct Block {
    /// `README.md`, or the name of a page of the guide.
    page: String,
    line: usize,
    /// What stands behind the fence: `rust,ignore`.
    kind: String,
    text: String,
}

/// Tests of all blocks of a kind on a page: page, kind, source, function.
const WHOLE: &[(&str, &str, &str, &str)] = &[
    ("README.md", "text", "xtask/src/guide/demo.rs", "made"),
    ("tutorial-watch-it-survive.md", "text", "xtask/src/guide/demo.rs", "made"),
    ("diagnostics.md", "rust,ignore", "xtask/src/guide/diagnostics.rs", "page"),
    ("diagnostics.md", "text", "xtask/src/guide/diagnostics.rs", "page"),
    ("getting-started.md", "console", "cargo-redplane/tests/guide.rs", "getting_started"),
    ("tutorial-counter.md", "console", "cargo-redplane/tests/guide.rs", "your_first_counter"),
    ("tutorial-nat.md", "console", "cargo-redplane/tests/guide.rs", "a_nat_from_scratch"),
    ("store.md", "console", "backend-store/tests/command_line.rs", "the_guide_shows_what_happens"),
    ("store.md", "sh", "backend-store/tests/command_line.rs", "the_guide_starts_a_cluster"),
    ("interfaces.md", "toml", "redplane/tests/guide.rs", "the_switch_of_the_guide_is_one"),
    ("interfaces.md", "text", "redplane/src/testbed/command.rs", "the_guide_shows_the_testbed"),
    ("language.md", "toml", "apps/tests/tables.rs", "the_guide_shows_tables_of_the_firewall"),
];

/// Commands that other pages show, and who runs them: the command, a source, and what stands in it.
const COMMANDS: &[(&str, &str, &str)] = &[
    // With other numbers, which are CI's.
    ("cargo xtask simulate --seeds 1000", ".ci/run", "step cargo xtask simulate --seeds 2000"),
    // The demo with these options, with fewer connections.
    (
        "cargo run --release -- --seed 7 --loss 0.001",
        "apps/tests/demo.rs",
        "fn lossy_links_only_slow_it_down",
    ),
    ("cargo run --release -- --capture run.pcap", "apps/tests/demo.rs", "fn the_seed_decides_everything"),
    // The same dissector, by Wireshark's own tshark.
    (
        "wireshark -X lua_script:p4-out/nat/redplane_nat.lua run.pcap",
        "apps/tests/dissector.rs",
        "tshark_reads_every",
    ),
    // In the order in which the page of the guide has them.
    (
        "cargo install --locked --path cargo-redplane",
        "guide/src/getting-started.md",
        "$ cargo install --locked",
    ),
    ("cargo redplane new my-counter", "guide/src/getting-started.md", "$ cargo redplane new my-counter"),
    // The release build is what the drills begin with; the tests run the same program.
    ("cargo build --release -p backend-store", ".ci/run", "step cargo xtask chaos"),
    (
        "target/release/redplane-store check-config backend-store/contrib/store.toml",
        "backend-store/tests/command_line.rs",
        "fn the_example_is_accepted",
    ),
    ("cargo build --release -p redplane", ".ci/run", "step cargo xtask drill"),
    // As root, on this very topology.
    (
        "sudo target/release/redplane testbed run redplane/examples/nat.toml",
        "redplane/tests/testbed.rs",
        "include_str!(\"../examples/nat.toml\")",
    ),
    // The network's part; the book itself is built here.
    ("cargo install --locked mdbook", "xtask/tests/book.rs", "fn the_book_is_built_without_a_warning"),
    ("mdbook serve guide", "xtask/tests/book.rs", "fn the_book_is_built_without_a_warning"),
];

/// Lines of Rust that no source has, for they are mistakes: a test makes them, and looks at what the compiler says.
const MISTAKES: &[(&str, &str, &str)] =
    &[("ip.ttl = 64;\n", "cargo-redplane/tests/projects.rs", "fn a_mistake_is_shown_at_its_line")];

/// Folders whose Rust is compiled and tested.
const COMPILED: [&str; 4] =
    ["apps/src", "apps/examples", "cargo-redplane/templates", "redplane-codegen/tests/fixtures"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn blocks() -> Vec<Block> {
    let mut pages = vec![("README.md".to_owned(), root().join("README.md"))];
    for entry in fs::read_dir(root().join("guide/src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "md") {
            pages.push((path.file_name().unwrap().to_string_lossy().into_owned(), path));
        }
    }
    pages.sort();
    pages.iter().flat_map(|(page, path)| blocks_of(page, &fs::read_to_string(path).unwrap())).collect()
}

fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        // The other fence of Markdown would hide a block from here.
        assert!(!line.trim_start().starts_with("~~~"), "{page}:{}: write ``` for ~~~", index + 1);
        let Some(kind) = line.trim_start().strip_prefix("```") else { continue };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text: String = inside.flat_map(|line| [line, "\n"]).collect();
        found.push(Block { page: page.to_owned(), line: index + 1, kind: kind.trim().to_owned(), text });
    }
    found
}

/// Whether a test of all such blocks of the page is there, and reads the page.
fn is_tested_as_a_whole(block: &Block) -> bool {
    let of_this = |(page, kind, ..): &&(&str, &str, &str, &str)| *page == block.page && *kind == block.kind;
    let tests = WHOLE.iter().filter(of_this);
    tests.clone().any(|(page, _, source, function)| {
        let text = read(source);
        let whole = text.contains(&format!("fn {function}(")) && text.contains(page);
        assert!(whole, "{source} has no `{function}` that reads {page}");
        whole
    })
}

/// Rust comes by anchor, which another test looks at, or stands in a source as it is.
fn is_compiled(text: &str) -> bool {
    let mut lines = text.lines();
    if let (Some(line), None) = (lines.next(), lines.next())
        && (line.starts_with("{{#include ") || line.starts_with("{{#rustdoc_include "))
    {
        return true;
    }
    if let Some((_, source, what)) = MISTAKES.iter().find(|(mistake, ..)| *mistake == text) {
        return read(source).contains(what);
    }
    let wanted = bare(text);
    COMPILED
        .iter()
        .any(|folder| sources(&root().join(folder)).iter().any(|source| bare(source).contains(&wanted)))
}

/// Lines without their indentation, which a block need not have, and without anchors.
fn bare(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("// ANCHOR"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn sources(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// Whether CI runs a command, with more options perhaps, or somebody else does.
fn is_run(command: &str) -> bool {
    let listed = COMMANDS.iter().find(|(known, ..)| *known == command);
    if let Some((_, source, what)) = listed {
        assert!(read(source).contains(what), "{source} has no `{what}`");
        return true;
    }
    let step = format!("step {command}");
    read(".ci/run").lines().any(|line| line == step || line.starts_with(&format!("{step} ")))
}

/// What is wrong with a block.
fn findings(block: &Block) -> Vec<String> {
    if is_tested_as_a_whole(block) {
        return Vec::new();
    }
    match block.kind.as_str() {
        "rust" | "rust,ignore" if is_compiled(&block.text) => Vec::new(),
        "rust" | "rust,ignore" => {
            vec!["stands in no source that is compiled; include it from one".to_owned()]
        }
        "console" => {
            let line = |line: &str| match line.strip_prefix("$ ") {
                Some(command) if is_run(command) => None,
                Some(command) => Some(format!("nobody runs `{command}`")),
                None => Some(format!("nobody compares the output `{line}`")),
            };
            block.text.lines().filter_map(line).collect()
        }
        kind => vec![format!("nobody tests a block of the kind `{kind}` here")],
    }
}

#[test]
fn every_block_is_tested() {
    let blocks = blocks();
    assert!(blocks.len() > 50, "only {} blocks were found", blocks.len());
    let mut all = Vec::new();
    for block in &blocks {
        let place = format!("{}:{}", block.page, block.line);
        all.extend(findings(block).into_iter().map(|finding| format!("{place}: {finding}")));
    }
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// What is listed and no longer shown would cover a later block by accident.
#[test]
fn every_entry_is_needed() {
    let blocks = blocks();
    let shows = |line: &str| blocks.iter().any(|block| block.text.lines().any(|other| other == line));
    for (command, ..) in COMMANDS {
        assert!(shows(&format!("$ {command}")), "no page shows `{command}`");
    }
    for (page, kind, ..) in WHOLE {
        let is_there = blocks.iter().any(|block| block.page == *page && block.kind == *kind);
        assert!(is_there, "{page} has no block of the kind `{kind}`");
    }
    for (mistake, ..) in MISTAKES {
        assert!(blocks.iter().any(|block| block.text == *mistake), "no page shows `{mistake}`");
    }
}

#[test]
fn an_untested_block_is_found() {
    let wrong = |kind: &str, text: &str| {
        let page = format!("```{kind}\n{text}\n```\n");
        blocks_of("new.md", &page).iter().flat_map(findings).count()
    };
    assert_eq!(wrong("console", "$ cargo run --release\n$ cargo test --workspace"), 0);
    assert_eq!(wrong("console", "$ cargo run --release\n  completed 200\n$ rm -r target"), 2);
    assert_eq!(wrong("rust", "let mut sent = cx.sent.lease(Host { addr: ip.src })?; // the lease point"), 0);
    assert_eq!(wrong("rust,ignore", "let sent = nobody.wrote(this);"), 1);
    assert_eq!((wrong("toml", "a = 1"), wrong("", "what is this"), wrong("sh", "ls")), (1, 1, 1));
}
