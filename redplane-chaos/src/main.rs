//! `chaos`: a drill of the store; `cargo xtask chaos` builds and runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use redplane_chaos::cluster::Coordinator;
use redplane_chaos::drill::{self, Options, Scenario};
use redplane_chaos::flood;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the store as real processes, under load, while they are killed, stopped and cut off; checks all that came out.
#[derive(Parser)]
#[command(name = "chaos", bin_name = "cargo xtask chaos")]
struct Arguments {
    /// Who coordinates.
    #[arg(long, value_enum, default_value_t = CoordinationName::Static)]
    coordination: CoordinationName,
    /// For how long new faults come.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many keys are kept busy; 100000 if nothing is said, 2000 in a flood.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: Option<u32>,
    /// Faults and flows come from it, as far as real processes allow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With a journal; at the end all nodes are killed at once.
    #[arg(long)]
    durable: bool,
    /// What happens.
    #[arg(long, value_enum, default_value_t = ScenarioName::Turn)]
    scenario: ScenarioName,
    /// How many shards; each has its head on another node.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    shards: u16,
    /// After how many milliseconds without a sign of life a node is dead. Whole seconds with etcd.
    #[arg(long)]
    detection_ms: Option<u64>,
    /// How many packets are under way at most.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    window: u64,
    /// Most packets a second; 0: as many as the window lets. In a flood 5000 if nothing is said.
    #[arg(long)]
    rate: Option<u64>,
    /// New keys a second that are let in from one switch in a flood, of which ten times as many come.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    admission: u32,
    /// Lose what was written, and see whether that is found.
    #[arg(long = "break", hide = true)]
    broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CoordinationName {
    Static,
    Etcd,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScenarioName {
    /// Each fault in turn, then at random.
    Turn,
    /// Faults at random.
    Mixed,
    /// All nodes at once, again and again. Needs --durable.
    Together,
    /// Ten times the new keys that are let in, and as many from senders that nobody configured.
    Flood,
    /// No faults.
    Calm,
}

/// Detection times if nothing is said: the store's own default, and the least that etcd has.
const DETECTION_STATIC: Duration = Duration::from_millis(500);
const DETECTION_ETCD: Duration = Duration::from_secs(1);

/// Keys of established flows, if nothing is said.
const KEYS: u32 = 100_000;
const KEYS_IN_FLOOD: u32 = 2_000;

/// Packets of established flows a second in a flood, if nothing is said.
const RATE_IN_FLOOD: u64 = 5_000;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.coordination == CoordinationName::Etcd && !etcd_is_there() {
        println!("SKIPPED: etcd not found");
        return Ok(ExitCode::SUCCESS);
    }
    let options = options(&arguments)?;
    let folder =
        tempfile::Builder::new().prefix("redplane-chaos-").tempdir().context("no temporary folder")?;
    println!(
        "chaos: seed {}, {:?}, detection {} ms",
        options.seed,
        options.coordinator,
        options.detection.as_millis()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = run(&arguments, &options, folder.path()) => ended,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
        }
    });
    let content = ended.unwrap_or_else(|error| {
        println!("FAILED: {error:#}");
        false
    });
    if !content {
        println!("files and logs of the nodes: {}", folder.keep().display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether nothing was found.
async fn run(arguments: &Arguments, options: &Options, folder: &Path) -> anyhow::Result<bool> {
    if arguments.scenario == ScenarioName::Flood {
        let report = flood::run(options, arguments.admission, folder).await?;
        print!("{}", report.summary());
        return Ok(report.is_content());
    }
    let report = drill::run(options, folder, &mut |line| println!("{line}")).await?;
    print!("{}", report.summary());
    Ok(report.is_content())
}

fn options(arguments: &Arguments) -> anyhow::Result<Options> {
    let coordinator = match arguments.coordination {
        CoordinationName::Static => Coordinator::Static,
        CoordinationName::Etcd => Coordinator::Etcd,
    };
    anyhow::ensure!(
        coordinator == Coordinator::Static || cfg!(feature = "etcd"),
        "built without the feature `etcd`: `cargo xtask chaos` switches it on"
    );
    let scenario = match arguments.scenario {
        ScenarioName::Turn => Scenario::Turn,
        ScenarioName::Mixed => Scenario::Mixed,
        ScenarioName::Together => Scenario::Together,
        ScenarioName::Calm | ScenarioName::Flood => Scenario::Calm,
    };
    anyhow::ensure!(
        scenario != Scenario::Together || arguments.durable,
        "without --durable nothing outlives all nodes at once"
    );
    let default = if coordinator == Coordinator::Etcd { DETECTION_ETCD } else { DETECTION_STATIC };
    let is_flood = arguments.scenario == ScenarioName::Flood;
    Ok(Options {
        scenario,
        coordinator,
        seconds: arguments.seconds,
        keys: arguments.keys.unwrap_or(if is_flood { KEYS_IN_FLOOD } else { KEYS }),
        window: arguments.window as usize,
        rate: arguments.rate.unwrap_or(if is_flood { RATE_IN_FLOOD } else { 0 }),
        seed: arguments.seed,
        durable: arguments.durable,
        shards: arguments.shards,
        detection: arguments.detection_ms.map_or(default, Duration::from_millis),
        broken: arguments.broken,
        store: store()?,
    })
}

/// The store's program stands beside this one.
fn store() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let store = own.with_file_name("chaos-store");
    anyhow::ensure!(store.is_file(), "{} is not built; `cargo xtask chaos` builds it", store.display());
    Ok(store)
}

fn etcd_is_there() -> bool {
    let mut command = Command::new("etcd");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
