//! `cargo run --release`: an app on two switches, with its state in a store of three nodes, through their failures.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use apps::demo::workload::CONNECTIONS_MAX;
use apps::demo::{AppName, Options, run, translate};
use clap::Parser;

/// Longest lease that the demo takes: with a longer one nothing would be left of the run to see.
const LEASE_MS_MAX: u64 = 2_000;

/// Runs an app on two software switches while a switch and a store node fail, and reports what became of the
/// connections through it. Or, with --pcap, runs a capture through the NAT.
#[derive(Parser)]
#[command(name = "apps", version, about)]
struct Arguments {
    /// Which app: nat, firewall or load_balancer.
    #[arg(default_value = "nat")]
    app: String,
    /// Keep the state in each switch alone, to see what breaks.
    #[arg(long)]
    no_replication: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// TCP connections to open.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u32,
    /// Lease of the state, in milliseconds.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=LEASE_MS_MAX))]
    lease_ms: u64,
    /// Probability that a link loses a frame.
    #[arg(long, default_value_t = 0.0, value_parser = probability)]
    loss: f64,
    /// Where the picture goes (default: redplane-APP.svg, or redplane-APP-no-replication.svg).
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Write every frame at the first switch, protocol messages too, to this pcap file.
    #[arg(long, value_name = "PATH")]
    capture: Option<PathBuf>,
    /// Instead of the demo, run this capture (pcap or pcapng) through the app.
    #[arg(long, value_name = "IN", requires = "out")]
    pcap: Option<PathBuf>,
    /// Where the translated capture goes.
    #[arg(long, value_name = "OUT", requires = "pcap")]
    out: Option<PathBuf>,
    /// Prefixes that are inside, with --pcap; may be repeated.
    #[arg(long, value_name = "CIDR", requires = "pcap", default_values = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])]
    inside: Vec<String>,
    /// Public address of the NAT, with --pcap.
    #[arg(long, value_name = "ADDRESS", requires = "pcap", default_value = "203.0.113.1")]
    public: Ipv4Addr,
}

fn main() -> ExitCode {
    match answer(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether what was asked for went well.
fn answer(arguments: &Arguments) -> Result<bool> {
    let asked = arguments.app.replace('-', "_");
    let Some((_, app)) = AppName::ALL.into_iter().find(|(name, _)| *name == asked) else {
        let names = AppName::ALL.map(|(name, _)| name).join(", ");
        bail!("there is no app `{}`; the apps are: {names}", arguments.app);
    };
    if arguments.pcap.is_some() && app != AppName::Nat {
        bail!("a capture can be run through the NAT only");
    }
    if let (Some(input), Some(output)) = (&arguments.pcap, &arguments.out) {
        let counts = translate::run(input, output, &arguments.inside, arguments.public)?;
        print(arguments.json, &counts)?;
        return Ok(true);
    }
    let options = Options {
        replication: !arguments.no_replication,
        seed: arguments.seed,
        connections: arguments.connections,
        lease: std::time::Duration::from_millis(arguments.lease_ms),
        loss: arguments.loss,
        capture: arguments.capture.clone(),
    };
    let outcome = run(app, &options)?;
    let path = arguments.svg.clone().unwrap_or_else(|| default_picture(arguments).into());
    std::fs::write(&path, &outcome.picture)?;
    print(arguments.json, &outcome.report)?;
    eprintln!("picture: {}", path.display());
    Ok(arguments.no_replication || outcome.report.is_whole())
}

fn default_picture(arguments: &Arguments) -> String {
    let mode = if arguments.no_replication { "-no-replication" } else { "" };
    format!("redplane-{}{mode}.svg", arguments.app)
}

fn print(json: bool, answer: &(impl serde::Serialize + std::fmt::Display)) -> Result<()> {
    use std::io::Write;
    let text = if json { serde_json::to_string_pretty(answer)? } else { answer.to_string() };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(())
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=0.5).contains(&value) => Ok(value),
        _ => Err("a probability between 0 and 0.5".into()),
    }
}
