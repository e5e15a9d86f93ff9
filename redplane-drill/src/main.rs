//! `redplane-drill`: kernel TCP through switches that are killed, and the same done to what Linux has for it; and how fast
//! the data path is.

mod bench;
mod drill;
mod iperf;
mod picture;
mod report;
mod rivals;
mod system;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use redplane::Emitted;
use redplane::testbed::Testbed;
use redplane::testbed::topology::{DataPlane, Topology};

use drill::Blow;
use traffic::Load;

/// Kernel TCP through switches that are killed, and how fast their data path is. Needs root.
#[derive(Parser)]
struct Arguments {
    /// The `redplane` command, if it is not beside this one.
    #[arg(long, global = true)]
    program: Option<PathBuf>,
    /// As JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: What,
}

impl Arguments {
    fn program(&self) -> anyhow::Result<PathBuf> {
        match &self.program {
            Some(program) => Ok(program.clone()),
            None => Ok(std::env::current_exe().context("where is this program?")?.with_file_name("redplane")),
        }
    }
}

#[derive(Subcommand)]
enum What {
    /// Kill, and drain, switches under traffic, and say what the connections saw.
    Drill(Drill),
    /// Measure the data path with small packets.
    Datapath {
        /// Seconds of each measurement.
        #[arg(long, default_value_t = 4)]
        seconds: u64,
    },
}

#[derive(clap::Args)]
struct Drill {
    /// Which data plane; both, if nothing is said.
    #[arg(long, value_enum)]
    data_plane: Option<DataPlane>,
    /// Kills of the software switch (BMv2: two fifths of that).
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// Planned drains after them.
    #[arg(long, default_value_t = 10)]
    drains: u32,
    /// Transfers at a time.
    #[arg(long, default_value_t = 200)]
    transfers: u32,
    /// Milliseconds of a lease.
    #[arg(long, default_value_t = 100)]
    lease_ms: u64,
    /// Do the same to nftables with keepalived, with conntrackd and without.
    #[arg(long)]
    rivals: bool,
    /// Only that.
    #[arg(long, conflicts_with = "data_plane")]
    only_rivals: bool,
    /// Where the picture goes.
    #[arg(long)]
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(missing) = redplane::testbed::missing() {
        println!("SKIPPED: {missing}");
        return ExitCode::SUCCESS;
    }
    let done = match &arguments.command {
        What::Drill(drill) => run_drill(&arguments, drill),
        What::Datapath { seconds } => run_datapath(&arguments, *seconds).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

/// What of this is not on this machine.
fn missing(programs: &[&str]) -> Option<String> {
    let starts = |program: &&&str| {
        Command::new(program).arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    };
    let missing: Vec<_> = programs.iter().filter(|program| !starts(program)).copied().collect();
    (!missing.is_empty()).then(|| format!("{} not found", missing.join(", ")))
}

/// What keeps BMv2 from running here, if anything does.
fn bmv2_missing() -> Option<String> {
    redplane::bmv2::missing().or_else(|| missing(&["ethtool"]))
}

fn run_drill(arguments: &Arguments, drill: &Drill) -> anyhow::Result<ExitCode> {
    let mut reports = Vec::new();
    let planes = match drill.data_plane {
        None if drill.only_rivals => Vec::new(),
        Some(plane) => vec![plane],
        None => vec![DataPlane::Software, DataPlane::Bmv2],
    };
    for plane in planes {
        if let Some(missing) = bmv2_missing().filter(|_| plane == DataPlane::Bmv2) {
            println!("SKIPPED: BMv2: {missing}");
            continue;
        }
        let (name, kills, load) = match plane {
            DataPlane::Software => ("software switch", drill.kills, software_load(drill)),
            DataPlane::Bmv2 => ("BMv2", drill.kills * 2 / 5, bmv2_load(drill)),
        };
        let mut testbed = testbed(&arguments.program()?, plane, drill.lease_ms, 2)?;
        for (blow, blows) in [(Blow::Kill, kills), (Blow::Drain, drill.drains)] {
            if blows > 0 {
                reports.push(drill::run(
                    name,
                    &mut testbed,
                    load,
                    blow,
                    blows,
                    &mut progress(name, blow, blows),
                )?);
            }
        }
    }
    let ours = reports.len();
    if drill.rivals || drill.only_rivals {
        match missing(&rivals::PROGRAMS) {
            Some(missing) => println!("SKIPPED: rivals: {missing}"),
            None => {
                for (name, replicates) in
                    [("nftables, keepalived, conntrackd", true), ("nftables, keepalived", false)]
                {
                    let mut linux = rivals::Linux::start(replicates).context(name)?;
                    let (kills, load) = (drill.kills, software_load(drill));
                    let mut progress = progress(name, Blow::Kill, kills);
                    reports.push(drill::run(name, &mut linux, load, Blow::Kill, kills, &mut progress)?);
                }
            }
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        print!("{}", report::table(&reports));
    }
    if let Some(path) = &drill.svg {
        std::fs::write(path, picture::outages(&reports)?).with_context(|| path.display().to_string())?;
    }
    let whole = |report: &drill::Report| {
        report.broken == 0 && report.iperf.as_ref().is_none_or(|iperf| iperf.error.is_none())
    };
    Ok(if reports[..ours].iter().all(whole) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn progress(name: &str, blow: Blow, blows: u32) -> impl FnMut(u32) + use<> {
    let name = name.to_owned();
    move |at| eprintln!("{name}: {blow:?} {} of {blows}", at + 1)
}

fn run_datapath(arguments: &Arguments, seconds: u64) -> anyhow::Result<()> {
    // It also throws away what comes out, once that is counted.
    if let Some(missing) = missing(&["nft"]) {
        println!("SKIPPED: {missing}");
        return Ok(());
    }
    let rates = bench::run(&arguments.program()?, seconds)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rates)?);
    } else {
        print!("{}", report::rates(&rates));
    }
    Ok(())
}

/// A NAT between two sides.
fn testbed(program: &Path, plane: DataPlane, lease_ms: u64, switches: u8) -> anyhow::Result<Testbed> {
    let mut topology = Topology::parse(include_str!("../../redplane/examples/nat.toml"))?;
    "drill".clone_into(&mut topology.name);
    topology.data_plane = plane;
    topology.lease_ms = lease_ms;
    topology.switches = switches;
    let emitted = Emitted {
        schema: include_str!("../../p4-out/nat/schema.json"),
        v1model: include_str!("../../p4-out/nat/v1model/nat.p4"),
        entries: include_str!("../../p4-out/nat/v1model/entries.json"),
    };
    Testbed::start(topology, program, emitted).context("the testbed")
}

fn software_load(drill: &Drill) -> Load {
    Load {
        transfers: drill.transfers,
        portion: 2000,
        interval: Duration::from_millis(20),
        duration: Duration::from_secs(5),
        probes: 16,
        probe_interval: Duration::from_millis(5),
        iperf_megabits: 50,
    }
}

/// Less, for BMv2 is a reference and not made for speed.
fn bmv2_load(drill: &Drill) -> Load {
    Load {
        portion: 2000,
        interval: Duration::from_millis(500),
        probes: 8,
        probe_interval: Duration::from_millis(20),
        iperf_megabits: 1,
        ..software_load(drill)
    }
}
