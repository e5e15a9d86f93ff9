//! What `build.rs` and `cargo xtask codegen` call.

use std::fs;
use std::path::{Path, PathBuf};

use redplane_codegen::build::{self, BuildError};

use crate::nat::NAT;

/// A folder that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("build-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("src")).unwrap();
        Scratch(path)
    }

    fn source(&self, text: &str) -> PathBuf {
        let path = self.0.join("src/nat.rs");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn unchanged_files_are_left_alone() {
    let scratch = Scratch::new("unchanged");
    let (source, out) = (scratch.source(NAT), scratch.0.join("out"));
    let written = build::emit(&source, &out).unwrap();
    assert!(written.contains(&out.join("nat/v1model/nat.p4")), "{written:?}");
    let times = |paths: &[PathBuf]| -> Vec<_> {
        paths.iter().map(|path| fs::metadata(path).unwrap().modified().unwrap()).collect()
    };
    let before = times(&written);
    assert_eq!(build::emit(&source, &out).unwrap(), written);
    assert_eq!(times(&written), before);
    fs::write(&written[0], "stale").unwrap();
    build::emit(&source, &out).unwrap();
    assert_ne!(fs::read(&written[0]).unwrap(), b"stale");
}

#[test]
fn the_source_is_named_from_the_workspace() {
    let scratch = Scratch::new("named");
    fs::write(scratch.0.join("Cargo.lock"), "").unwrap();
    let out = scratch.0.join("out");
    build::emit(&scratch.source(NAT), &out).unwrap();
    let text = fs::read_to_string(out.join("nat/v1model/nat.p4")).unwrap();
    assert!(text.contains("src/nat.rs"));
    assert!(!text.contains(&*scratch.0.to_string_lossy()));
}

#[test]
fn mistakes_name_file_line_and_column() {
    let scratch = Scratch::new("mistakes");
    let source =
        scratch.source(&NAT.replace("ip.src)", "ip.scr)").replace("slots = 65_536", "slots = 65_537"));
    let error = build::emit(&source, &scratch.0.join("out")).unwrap_err().to_string();
    let shown = source.display().to_string();
    assert_eq!(error.matches(&format!("{shown}:")).count(), 2, "{error}");
    assert!(
        error.contains("RP0010") && error.contains("RP0032") && error.contains("did you mean `src`?"),
        "{error}"
    );
    assert!(!scratch.0.join("out").exists());
}

#[test]
fn what_is_no_app_is_said() {
    let scratch = Scratch::new("no-app");
    let out = scratch.0.join("out");
    assert_eq!(build::emit(&scratch.source("pub mod plain {}"), &out).unwrap(), Vec::<PathBuf>::new());
    assert!(matches!(build::cargo(&scratch.source("fn plain() {}"), &out), Err(BuildError::NoApp(_))));
    assert!(matches!(build::emit(&scratch.source("mod {"), &out), Err(BuildError::Syntax { line: 1, .. })));
    assert!(matches!(build::emit(&scratch.0.join("absent.rs"), &out), Err(BuildError::File { .. })));
}

#[test]
fn nested_apps_are_found() {
    let scratch = Scratch::new("nested");
    let written = build::emit(
        &scratch.source(&format!("pub mod outer {{ {NAT} }}").replace("//!", "//")),
        &scratch.0.join("out"),
    );
    assert!(!written.unwrap().is_empty());
}
