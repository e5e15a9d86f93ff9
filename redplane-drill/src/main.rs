//! `redplane-drill`: kernel TCP through switches that are killed, and the same done to what Linux has for it.

mod drill;
mod system;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use redplane::testbed::Testbed;
use redplane::testbed::topology::{DataPlane, Topology};

use drill::{Blow, Report, quantile};
use traffic::Load;

/// Kills switches under traffic and says what the connections saw.
#[derive(Parser)]
struct Arguments {
    /// Which data plane.
    #[arg(long, value_enum, default_value = "software")]
    data_plane: DataPlane,
    /// How many kills.
    #[arg(long, default_value_t = 50)]
    kills: u32,
    /// How many planned drains after them.
    #[arg(long, default_value_t = 10)]
    drains: u32,
    /// Transfers at a time.
    #[arg(long, default_value_t = 200)]
    transfers: u32,
    /// Milliseconds of a lease.
    #[arg(long, default_value_t = 100)]
    lease_ms: u64,
    /// The `redplane` command.
    #[arg(long)]
    program: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut topology = Topology::parse(include_str!("../../redplane/examples/nat.toml"))?;
    topology.name = "drill".to_owned();
    topology.data_plane = arguments.data_plane;
    topology.lease_ms = arguments.lease_ms;
    let load = load(arguments);
    let emitted = redplane::Emitted {
        schema: include_str!("../../p4-out/nat/schema.json"),
        v1model: include_str!("../../p4-out/nat/v1model/nat.p4"),
        entries: include_str!("../../p4-out/nat/v1model/entries.json"),
    };
    let mut testbed = Testbed::start(topology, &arguments.program, emitted).context("the testbed")?;
    let mut reports = Vec::new();
    for (blow, blows) in [(Blow::Kill, arguments.kills), (Blow::Drain, arguments.drains)] {
        if blows > 0 {
            let name = format!("{:?}, {blow:?}", arguments.data_plane);
            let mut progress = |at: u32| eprintln!("{name} {}/{blows}", at + 1);
            reports.push(drill::run(&name, &mut testbed, load, blow, blows, &mut progress)?);
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    } else {
        reports.iter().for_each(print);
    }
    let broken: u32 = reports.iter().map(|report| report.broken).sum();
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(arguments: &Arguments) -> Load {
    match arguments.data_plane {
        DataPlane::Software => Load {
            transfers: arguments.transfers,
            portion: 2000,
            interval: Duration::from_millis(20),
            duration: Duration::from_secs(5),
            probes: 16,
            probe_interval: Duration::from_millis(5),
        },
        DataPlane::Bmv2 => Load {
            transfers: arguments.transfers,
            portion: 400,
            interval: Duration::from_millis(200),
            duration: Duration::from_secs(5),
            probes: 8,
            probe_interval: Duration::from_millis(20),
        },
    }
}

fn print(report: &Report) {
    println!("{}: {} blows, {:?}, broken {}", report.system, report.blows, report.transfers, report.broken);
    for (what, values) in [
        ("probes", &report.probe_outages_ms),
        ("transfers", &report.transfer_outages_ms),
        ("return, probes", &report.return_outages_ms),
    ] {
        let of = |share| quantile(values, share);
        println!("  {what}: outage p50 {:.0} p99 {:.0} max {:.0} ms", of(0.5), of(0.99), of(1.0));
    }
    println!("  probes lost {} of {}", report.probes_lost, report.probes_sent);
}
