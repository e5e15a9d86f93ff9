//! Emits every app for every target into `p4-out/`, and the proof that the macro saw the same program.
//!
//! `cargo xtask codegen` does the same without building the apps; with `--check` it tells whether a commit forgot to.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use redplane_codegen::build::{self, BuildError};

/// Every app of this crate.
const APPS: [&str; 3] = ["firewall", "load_balancer", "nat"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // Outside of the workspace, there is no folder that is the project's own.
    let shown = Path::new("../p4-out");
    let emitted = if shown.is_dir() { shown.to_owned() } else { out.join("p4") };
    for app in APPS {
        let source = Path::new("src").join(app).with_extension("rs");
        match build::cargo(&source, &emitted) {
            Ok(_) => {}
            // The compiler shows these mistakes better, at their tokens: nothing may keep it from coming so far.
            Err(BuildError::Mistakes(_) | BuildError::Syntax { .. }) => {
                fs::write(out.join(format!("{app}_agreement.rs")), "")
                    .unwrap_or_else(|error| fail(app, &error));
            }
            Err(error) => fail(app, &error),
        }
    }
}

fn fail(app: &str, error: &dyn Display) {
    eprintln!("app `{app}` was not emitted: {error}");
    process::exit(1);
}
