//! `bench`: measures a store under load.

use std::path::PathBuf;
use std::time::Duration;

use redplane_protocol::NodeId;
use serde_json::json;

use super::output::{answer, table};
use super::{CONFIG_DEFAULT, Failure, Outcome};
use crate::load::{self, BenchArguments, Report};
use crate::service::config::Config;
use crate::service::schema::AppSet;

/// Requests under way at once if nothing is said: enough that neither end waits for the other.
const WINDOW: usize = 1024;

/// What the load is. It acts as one of the configured switches and makes records of its own, so a store that is in use
/// is no place for it.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Configuration of the cluster.
    #[arg(long, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// The node that is asked: best the head.
    #[arg(long, default_value_t = 0)]
    node: u16,
    /// Name or number of the app; by default the first.
    #[arg(long)]
    app: Option<String>,
    /// Number of the switch that it acts as; by default the first.
    #[arg(long)]
    switch: Option<u16>,
    /// Keys that are kept busy.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Requests under way at once, at most; one per key at most. By default 1024, or as many as there are keys.
    #[arg(long)]
    window: Option<usize>,
    /// Requests per second, at even distances, whatever the answers do; without it the window is kept full.
    #[arg(long)]
    rate: Option<u64>,
    /// Threads that send.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Bytes of the packet that a WRITE carries.
    #[arg(long, default_value_t = 0)]
    frame_bytes: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Send without segmentation offload.
    #[arg(long)]
    no_gso: bool,
    /// The report as JSON, with the histogram.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let config = Config::load(&arguments.config)?;
    // Only the shapes of keys and values matter here, so that no app's code need be linked.
    let load = load_arguments(arguments, &config)?;
    let report = load::bench(&load).map_err(|error| Failure::Other(error.to_string()))?;
    if arguments.json {
        answer(&format!("{}\n", json!(report)))?;
    } else {
        answer(&show(&report))?;
    }
    let is_well = report.wrong == 0 && report.unanswered == 0;
    Ok(if is_well { Outcome::Well } else { Outcome::Finding })
}

fn load_arguments(arguments: &Arguments, config: &Config) -> Result<BenchArguments, Failure> {
    let Some(node) = config.nodes.get(&NodeId(arguments.node)) else {
        return Err(Failure::Usage(format!("the configuration has no node {}", arguments.node)));
    };
    let shapes = AppSet::shapes(config)?;
    let wanted = arguments.app.as_deref();
    let named =
        |name: &str, number: u16| wanted.is_none_or(|wanted| wanted == name || wanted.parse() == Ok(number));
    let Some((_, schema)) = shapes.into_iter().find(|(name, schema)| named(name, schema.app)) else {
        return Err(Failure::Usage(format!("the configuration has no app {}", wanted.unwrap_or("at all"))));
    };
    let wanted = arguments.switch;
    let switch = config.switches.iter().find(|(id, _)| wanted.is_none_or(|wanted| wanted == **id));
    let Some((switch, address)) = switch else {
        return Err(Failure::Usage("the configuration has no such switch to act as".to_owned()));
    };
    if address.port.is_some() || !config.authentication.is_empty() {
        let message = format!(
            "bench acts as a switch with ports of its own and signs nothing; give it a configuration without \
             authentication in which switch {switch} has no port"
        );
        return Err(Failure::Usage(message));
    }
    Ok(BenchArguments {
        addresses: node.requests.clone(),
        local: address.ip,
        threads: arguments.threads,
        keys: arguments.keys,
        window: arguments.window.unwrap_or(WINDOW.min(arguments.keys)),
        rate: arguments.rate,
        duration: Duration::from_secs(arguments.seconds),
        key_len: schema.key_len.into(),
        value_len: schema.value_len.into(),
        frame_len: arguments.frame_bytes,
        app: schema.app,
        fingerprint: schema.fingerprint,
        switch: *switch,
        gso: !arguments.no_gso,
        ..BenchArguments::default()
    })
}

fn show(report: &Report) -> String {
    let latency = &report.latency;
    let nacks: u64 = report.nacks.values().sum();
    let rows = [
        ("requests per second", format!("{:.0}", report.requests_per_second)),
        ("latency p50", format!("{:.0} µs", latency.p50_us)),
        ("latency p90", format!("{:.0} µs", latency.p90_us)),
        ("latency p99", format!("{:.0} µs", latency.p99_us)),
        ("latency p99.9", format!("{:.0} µs", latency.p999_us)),
        ("latency max", format!("{:.0} µs", latency.max_us)),
        ("sent again", report.retransmissions.to_string()),
        ("refused", nacks.to_string()),
        ("unanswered", report.unanswered.to_string()),
        ("wrong answers", report.wrong.to_string()),
    ];
    table(&rows.map(|(name, value)| vec![name.to_owned(), value]))
}
