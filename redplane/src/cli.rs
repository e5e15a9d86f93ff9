//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::switch::config::SwitchFile;
use crate::testbed::{self, topology::DataPlane};
use crate::{Program, bmv2};

/// Switches of RedPlane on Linux.
#[derive(Debug, Parser)]
#[command(name = "redplane", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a switch on Linux interfaces until SIGTERM; then it gives its leases back. Needs CAP_NET_RAW and CAP_NET_ADMIN.
    Switch {
        /// Which data plane.
        #[arg(long, value_enum, default_value = "software")]
        data_plane: DataPlane,
        /// Where BMv2's program and log go.
        #[arg(long, default_value = ".")]
        folder: PathBuf,
        /// Its configuration.
        #[arg(long, default_value = "/etc/redplane/switch.toml")]
        config: PathBuf,
    },
    /// Run a part of the state store, with the apps of this command linked in.
    Store {
        /// Configuration of the apps' `on_create`: a table for each app.
        #[arg(long)]
        apps: Option<PathBuf>,
        /// As for `redplane-store`: `serve --config F --node N`, `status`, ...
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// A network of namespaces with hosts, switches and a store, on this machine. Needs root.
    #[command(subcommand)]
    Testbed(testbed::Command),
}

/// Runs the command line, for these apps.
#[must_use]
pub fn main(programs: Vec<Box<dyn Program>>) -> ExitCode {
    let arguments = Arguments::parse();
    // The store has a log of its own.
    if !matches!(arguments.command, Command::Store { .. }) {
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    }
    let done = match arguments.command {
        Command::Switch { data_plane, folder, config } => {
            switch(data_plane, &folder, &config, &programs).map(|()| ExitCode::SUCCESS)
        }
        Command::Store { apps, arguments } => store(apps, arguments, &programs),
        Command::Testbed(command) => testbed::run(&command, &programs).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// The program of this name.
///
/// # Errors
/// If no such app is linked in; the message lists those that are.
pub fn find<'a>(programs: &'a [Box<dyn Program>], name: &str) -> anyhow::Result<&'a dyn Program> {
    match programs.iter().find(|program| program.name() == name) {
        Some(program) => Ok(&**program),
        None => {
            let names: Vec<_> = programs.iter().map(|program| program.name()).collect();
            bail!("there is no app `{name}` in this program; it has {}", names.join(", "))
        }
    }
}

fn switch(
    data_plane: DataPlane,
    folder: &Path,
    path: &Path,
    programs: &[Box<dyn Program>],
) -> anyhow::Result<()> {
    let file = SwitchFile::load(path)?;
    let program = find(programs, &file.app)?;
    let counters = match data_plane {
        DataPlane::Software => program.run(&file)?,
        DataPlane::Bmv2 => bmv2::run(program, &file, folder)?,
    };
    println!("{}", serde_json::to_string(&counters)?);
    Ok(())
}

fn store(
    apps: Option<PathBuf>,
    arguments: Vec<OsString>,
    programs: &[Box<dyn Program>],
) -> anyhow::Result<ExitCode> {
    let mut registrations = Vec::new();
    if let Some(path) = apps {
        let what = || format!("cannot read {}", path.display());
        let text = std::fs::read_to_string(&path).with_context(what)?;
        let table: toml::Table = toml::from_str(&text).with_context(what)?;
        for (name, config) in table {
            registrations.push(find(programs, &name)?.registration(config).with_context(what)?);
        }
    }
    let arguments = std::iter::once(OsString::from("redplane store")).chain(arguments);
    Ok(backend_store::cli::main_from(arguments, registrations))
}
