//! `cargo redplane`: makes projects, explains mistakes, checks apps, and shows the P4 of a handler.

mod expand;
mod explain;
mod project;
mod template;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use redplane_codegen::build;

/// Makes RedPlane projects, and shows what the compiler thinks of them.
#[derive(Parser)]
#[command(name = "cargo redplane", bin_name = "cargo redplane", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make a project in a new folder: an app, its demo, its tests.
    New {
        /// Name of the folder and of the package.
        name: String,
        /// What the app is at first: counter, nat, firewall or load_balancer.
        #[arg(long, default_value = "counter")]
        template: String,
        /// The checkout of the SDK that the project builds on (default: the one that this command was built from).
        #[arg(long, value_name = "PATH")]
        sdk_path: Option<PathBuf>,
    },
    /// Say what a diagnostic means, and what to write instead.
    Explain {
        /// The code, such as RP0051; without it, all codes are listed.
        code: Option<String>,
    },
    /// Show each handler of a file, and the P4 that becomes of it.
    Expand {
        /// The Rust source of an app.
        file: PathBuf,
    },
    /// Look for mistakes in the apps of a file, without a build.
    Check {
        /// The Rust source of an app.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    // cargo passes its own word for this command on.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == "redplane") {
        arguments.remove(1);
    }
    match answer(Arguments::parse_from(arguments).task) {
        Ok(text) => {
            // A reader that has seen enough is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", format!("error: {error:#}").trim_end());
            ExitCode::from(1)
        }
    }
}

/// What is printed.
fn answer(task: Task) -> Result<String> {
    match task {
        Task::New { name, template, sdk_path } => project::create(&name, &template, sdk_path),
        Task::Explain { code } => explain::explain(code.as_deref()),
        Task::Expand { file } => expand::expand(&file),
        Task::Check { file } => check(&file),
    }
}

fn check(file: &Path) -> Result<String> {
    let apps = match build::read(file) {
        Ok(apps) => apps,
        Err(build::BuildError::Mistakes(mistakes)) => {
            anyhow::bail!(
                "mistakes in {}\n\n{mistakes}\n`cargo redplane explain CODE` says more",
                file.display()
            )
        }
        Err(error) => return Err(error.into()),
    };
    if apps.is_empty() {
        return Err(build::BuildError::NoApp(file.to_owned()).into());
    }
    Ok(apps.iter().map(|app| format!("{}: no mistakes\n", app.name)).collect())
}
