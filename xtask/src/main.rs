//! The project's own chores: `cargo xtask <chore>`.

mod apps;
mod bench;
mod chaos;
mod codegen;
mod differential;
mod drill;
mod guide;
mod model;
mod simulate;
mod spawn;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Try the apps, count what they take, and write the table in the guide.
    Apps,
    /// Refresh `p4-out/` from `apps/src/`.
    Codegen {
        /// Write nothing; fail if a file of `p4-out/` is not what the compiler emits now.
        #[arg(long)]
        check: bool,
    },
    /// Refresh what the guide has from the code: the page of diagnostics, the pipeline, and the demo's pictures.
    Guide {
        /// Write nothing; fail if something is not what the code says now.
        #[arg(long)]
        check: bool,
    },
    /// Search every state of the replication protocol within bounds.
    Model {
        /// Only this scope; may be repeated. `cargo run --release -p redplane-model -- scopes` lists them.
        #[arg(long)]
        scope: Vec<String>,
        /// The long scopes too.
        #[arg(long)]
        long: bool,
        /// Instead, switch each known defect on, and look whether it is found.
        #[arg(long, conflicts_with_all = ["scope", "long"])]
        mutants: bool,
    },
    /// Run the whole system from seeds, and check everything that comes out.
    #[command(disable_help_flag = true)]
    Simulate {
        /// For the simulation; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Let the simulation find every defect that is put into the protocol.
    #[command(disable_help_flag = true)]
    Mutants {
        /// For the simulation's `mutants`; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill, stop and cut off a store of real processes under load, and check everything that comes out.
    #[command(disable_help_flag = true)]
    Chaos {
        /// For the drill; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the same packets through the native handlers, their IR, and the emitted P4 in BMv2.
    #[command(disable_help_flag = true)]
    Differential {
        /// For the comparison; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill switches under kernel TCP, and do the same to what Linux has for it. Needs root.
    #[command(disable_help_flag = true)]
    Drill {
        /// For the drill; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure, on this machine.
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// The data path on veth: the software switch against BMv2, nftables and a bridge. Needs root.
    #[command(disable_help_flag = true)]
    Datapath {
        /// For the measurement; `--help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The store as real processes, against a bare echo, Redis and memcached, in one run.
    Store {
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
        seconds: u64,
        /// As JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Apps => apps::run(&root()?),
        Chore::Chaos { arguments } => chaos::run(&root()?, &arguments),
        Chore::Codegen { check } => codegen::run(&root()?, check),
        Chore::Differential { arguments } => differential::run(&root()?, &arguments),
        Chore::Drill { arguments } => drill::run(&root()?, "drill", &arguments),
        Chore::Bench { what: Bench::Datapath { arguments } } => drill::run(&root()?, "datapath", &arguments),
        Chore::Guide { check } => guide::run(&root()?, check),
        Chore::Simulate { arguments } => simulate::run(&root()?, &arguments),
        Chore::Mutants { arguments } => simulate::mutants(&root()?, &arguments),
        Chore::Bench { what: Bench::Store { seconds, json } } => bench::store(&root()?, seconds, json),
        Chore::Model { scope, long, mutants } => model::run(&root()?, &scope, long, mutants),
    }
}

/// The workspace's root.
fn root() -> anyhow::Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).context("the xtask crate stands in a folder of the workspace")
}
