//! Writes what the compiler makes of the app to `p4-out/`, and the proof that the macro saw the same program.

use std::path::Path;
use std::{env, fs, process};

use redplane_codegen::build::{self, BuildError};

fn main() {
    match build::cargo(Path::new("src/lib.rs"), Path::new("p4-out")) {
        Ok(_) => {}
        // The compiler shows these mistakes better, at their tokens: nothing may keep it from coming so far.
        Err(BuildError::Mistakes(_) | BuildError::Syntax { .. }) => {
            let out = env::var_os("OUT_DIR").expect("cargo says where");
            fs::write(Path::new(&out).join("template_agreement.rs"), "").expect("cargo's folder takes files");
        }
        Err(error) => {
            eprintln!("{error}");
            process::exit(1);
        }
    }
}
