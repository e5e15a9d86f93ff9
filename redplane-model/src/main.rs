//! Searches the protocol's states: `cargo run --release -p redplane-model -- --help`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use redplane_model::{Hunt, Limits, Order, SCOPES, Scope, by_name, hunt, run};
use redplane_protocol::mutant::Mutant;

/// Searches every state of the replication protocol within a scope.
#[derive(Parser)]
#[command(name = "redplane-model")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Only this scope; may be repeated. Without it, all that are not long.
    #[arg(long)]
    scope: Vec<String>,
    /// The long scopes too, and ten times as long.
    #[arg(long)]
    long: bool,
    /// With this defect.
    #[arg(long)]
    mutant: Option<String>,
    /// Give up on a scope after so many seconds.
    #[arg(long, global = true)]
    seconds: Option<u64>,
    /// Give up on a scope after so many states.
    #[arg(long)]
    states: Option<usize>,
    /// Farthest states first: less memory, longer paths.
    #[arg(long)]
    depth_first: bool,
    /// Print the path to everything that must happen somewhere.
    #[arg(long)]
    paths: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the scopes.
    Scopes,
    /// Switches each known defect on, and looks whether it is found.
    Mutants,
}

/// What a search may take, in seconds, if nothing else is said.
const SECONDS: u64 = 300;
/// The same for long searches.
const SECONDS_LONG: u64 = 600;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let seconds = arguments.seconds.unwrap_or(if arguments.long { SECONDS_LONG } else { SECONDS });
    let time = Duration::from_secs(seconds);
    match arguments.command {
        Some(Command::Scopes) => {
            SCOPES.iter().for_each(|scope| println!("{:14} {}", scope.name, scope.about));
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Mutants) => Ok(mutants(time)),
        None => search(&arguments, time),
    }
}

fn search(arguments: &Arguments, time: Duration) -> anyhow::Result<ExitCode> {
    let scopes: Vec<&Scope> = if arguments.scope.is_empty() {
        SCOPES.iter().filter(|scope| arguments.long || !scope.long).collect()
    } else {
        let scope = |name: &String| by_name(name).ok_or_else(|| anyhow::anyhow!("no scope is called {name}"));
        arguments.scope.iter().map(scope).collect::<anyhow::Result<_>>()?
    };
    let mutant = arguments
        .mutant
        .as_deref()
        .map(|name| Mutant::by_name(name).ok_or_else(|| anyhow::anyhow!("no defect is called {name}")));
    let mutant = mutant.transpose()?;
    let mut good = true;
    let mut states = 0;
    let begin = Instant::now();
    for scope in scopes {
        let order = if arguments.depth_first || scope.long { Order::Depth } else { Order::Breadth };
        let states_max = arguments.states.unwrap_or(usize::MAX);
        let report = run(scope, mutant, order, Limits { deadline: Instant::now() + time, states_max });
        println!("{report}");
        if arguments.paths {
            for finding in report.findings.iter().filter(|finding| !finding.always) {
                println!("  {}:", finding.property);
                finding.path.iter().flatten().for_each(|event| println!("    {event}"));
            }
        }
        good &= report.is_good() && (report.complete || scope.long);
        states += report.states;
    }
    println!("{states} states in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mutants(time: Duration) -> ExitCode {
    let mut survivors = 0;
    println!("| defect | found by | scope | states | steps | seconds |");
    println!("| --- | --- | --- | ---: | ---: | ---: |");
    for mutant in Mutant::ALL {
        let name = mutant.name();
        match hunt(mutant, time) {
            Hunt::Found(report) => {
                let failure = report.failure();
                let property = failure.map_or("", |failure| failure.property);
                let steps = failure.and_then(|failure| failure.path.as_ref()).map_or(0, Vec::len);
                let states = report.states_to_failure.unwrap_or(report.states);
                let seconds = report.time.as_secs_f64();
                println!("| {name} | {property} | {} | {states} | {steps} | {seconds:.1} |", report.scope);
            }
            Hunt::Survived(reports) => {
                survivors += 1;
                let states: usize = reports.iter().map(|report| report.states).sum();
                let names: Vec<_> = reports.iter().map(|report| report.scope).collect();
                println!("| {name} | **survived** | {} | {states} | | |", names.join(", "));
            }
            Hunt::NotHere(reason) => println!("| {name} | not applicable: {reason} | | | | |"),
        }
    }
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
