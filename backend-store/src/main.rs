//! `redplane-store` without any app's own code: it serves apps that have no `on_create`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backend_store::cli::main(Vec::new())
}
