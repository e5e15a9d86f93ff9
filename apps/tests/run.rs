//! Runs the program as its user does.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs it in a directory of its own, where its files stay.
pub(crate) fn program(directory: &str, arguments: &[&str]) -> (PathBuf, Output) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(directory);
    std::fs::create_dir_all(&path).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_apps")).args(arguments).current_dir(&path).output().unwrap();
    (path, output)
}

/// A file that is kept with the tests.
pub(crate) fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Whether an outside tool is there; says so if not, and why that matters.
pub(crate) fn is_there(tool: &str, arguments: &[&str]) -> bool {
    let found = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    if !found {
        // Not by `println!`: the harness shows that of failed tests only.
        let said = writeln!(std::io::stderr(), "SKIPPED: {tool} {} not found", arguments.join(" "));
        said.expect("there is somewhere to say it");
    }
    found
}

/// Standard output as text.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
