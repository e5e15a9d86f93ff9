//! `chaos`: a drill of the store; `cargo xtask chaos` builds and runs it.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use redplane_chaos::cluster::Coordinator;
use redplane_chaos::drill::{self, Options, Scenario};
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
    /// How many keys are kept busy.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    keys: u32,
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
    /// Most packets a second; 0: as many as the window lets.
    #[arg(long, default_value_t = 0)]
    rate: u64,
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
    /// No faults.
    Calm,
}

/// Detection times if nothing is said: the store's own default, and the least that etcd has.
const DETECTION_STATIC: Duration = Duration::from_millis(500);
const DETECTION_ETCD: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.coordination == CoordinationName::Etcd && !etcd_is_there() {
        println!("SKIPPED: etcd not found");
        return Ok(ExitCode::SUCCESS);
    }
    let options = options(&arguments)?;
    let folder = tempfile::Builder::new().prefix("redplane-chaos-").tempdir().context("no temporary folder")?;
    println!("chaos: seed {}, {:?}, detection {} ms", options.seed, options.coordinator, options.detection.as_millis());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tell = |line: &str| println!("{line}");
        tokio::select! {
            ended = drill::run(&options, folder.path(), &mut tell) => ended,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
        }
    });
    let content = match ended {
        Ok(report) => {
            print!("{}", report.summary());
            report.is_content()
        }
        Err(error) => {
            println!("FAILED: {error:#}");
            false
        }
    };
    if !content {
        println!("files and logs of the nodes: {}", folder.keep().display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
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
        ScenarioName::Calm => Scenario::Calm,
    };
    anyhow::ensure!(
        scenario != Scenario::Together || arguments.durable,
        "without --durable nothing outlives all nodes at once"
    );
    let default = if coordinator == Coordinator::Etcd { DETECTION_ETCD } else { DETECTION_STATIC };
    Ok(Options {
        scenario,
        coordinator,
        seconds: arguments.seconds,
        keys: arguments.keys,
        window: arguments.window as usize,
        rate: arguments.rate,
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
