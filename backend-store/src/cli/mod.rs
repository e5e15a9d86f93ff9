//! The command line of a store, for whoever links apps into it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::AppFactory;
use crate::service::config::ConfigError;
use crate::service::schema::SchemaError;

mod bench;
mod check;
mod client;
mod dump;
mod logging;
mod output;
mod serve;
mod status;
mod top;

/// Where the configuration is if nothing is said: where the systemd units look too.
const CONFIG_DEFAULT: &str = "/etc/redplane/store.toml";

/// An app whose `on_create` is linked in.
pub struct Registration {
    /// Its number, as in its schema.
    pub app: u16,
    /// Makes its creator, once per node and shard.
    pub factory: AppFactory,
}

/// The RedPlane state store.
#[derive(Debug, Parser)]
#[command(
    name = "redplane-store",
    version,
    after_help = "Exit status: 0 all is well, 1 something is not, 2 wrong usage."
)]
struct Arguments {
    /// More about what it does, on standard error; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// How that is written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node of a cluster until it is told to stop.
    Serve {
        #[command(flatten)]
        config: ConfigArgument,
        /// Number of the node.
        #[arg(long)]
        node: u16,
    },
    /// Run the coordinator of a cluster whose configuration says `kind = "static"`.
    Coordinate {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Say how a cluster is; exit status 1 if anything is not as it should be.
    Status {
        #[command(flatten)]
        nodes: client::NodesArgument,
        /// As JSON, an object a node.
        #[arg(long)]
        json: bool,
    },
    /// Watch a cluster; without a terminal, or with --once, a table and out.
    Top {
        #[command(flatten)]
        nodes: client::NodesArgument,
        /// One table of plain text, with rates of one second.
        #[arg(long)]
        once: bool,
    },
    /// Write out the records that are acknowledged, a line of JSON each.
    Dump {
        #[command(flatten)]
        nodes: client::NodesArgument,
        /// Only of this app: its name or number.
        #[arg(long)]
        app: Option<String>,
        /// Only of this shard.
        #[arg(long)]
        shard: Option<u16>,
        /// At most so many.
        #[arg(long)]
        limit: Option<u64>,
    },
    /// Measure a store under load.
    Bench(bench::Arguments),
    /// Give up what a shard had that lost all its copies, or whose journals will not come back: it begins anew, empty.
    Reset {
        #[command(flatten)]
        config: ConfigArgument,
        /// Number of the shard.
        #[arg(long)]
        shard: u16,
    },
    /// Say what a configuration means, or everything that is wrong with it.
    CheckConfig {
        /// The file.
        #[arg(default_value = CONFIG_DEFAULT)]
        config: PathBuf,
        /// As JSON, mistakes too.
        #[arg(long)]
        json: bool,
    },
}

/// Which cluster.
#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// Configuration of the cluster.
    #[arg(long, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
}

/// How a command ended, if it did what was asked.
enum Outcome {
    /// All is well.
    Well,
    /// Something is not, which was said already.
    Finding,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Other(String),
}

/// Runs the command line. `apps` are those whose `on_create` is linked into this program; an app without one needs no
/// registration.
#[must_use]
pub fn main(apps: Vec<Registration>) -> ExitCode {
    main_from(std::env::args_os(), apps)
}

/// As [`main`], with these arguments; the first one is the program's name.
#[must_use]
pub fn main_from(arguments: impl IntoIterator<Item = OsString>, apps: Vec<Registration>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers; everything else is wrong usage.
            let code = if error.use_stderr() { 2 } else { 0 };
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::from(2) };
        }
    };
    logging::start(arguments.verbose, arguments.log_format);
    match run(arguments.command, apps) {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Finding) => ExitCode::from(1),
        // Whoever reads has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(command: Command, apps: Vec<Registration>) -> Result<Outcome, Failure> {
    match command {
        Command::Serve { config, node } => serve::serve(&config.config, node, apps),
        Command::Coordinate { config } => serve::coordinate(&config.config),
        Command::Status { nodes, json } => status::run(&nodes, json),
        Command::Top { nodes, once } => top::run(&nodes, once),
        Command::Dump { nodes, app, shard, limit } => dump::run(&nodes, app.as_deref(), shard, limit),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Reset { config, shard } => serve::reset(&config.config, shard),
        Command::CheckConfig { config, json } => check::run(&config, json, apps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
