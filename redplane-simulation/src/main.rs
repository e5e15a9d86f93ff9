//! `simulate`: runs seeds, replays one, and hunts defects.

mod replay;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use redplane_protocol::mutant::Mutant;
use redplane_simulation::defects::{self, Verdict};
use redplane_simulation::run::{AppName, Setting, Summary, run_many, run_one};
use redplane_simulation::{Assumptions, Outcome};

/// Runs the whole system from seeds, and checks everything that comes out.
#[derive(Parser)]
#[command(name = "simulate", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    runs: Runs,
}

#[derive(Subcommand)]
enum Command {
    /// Run every defect of the protocol until a check finds it. Needs the feature `mutants`.
    Mutants {
        /// Most seeds for one defect.
        #[arg(long, default_value_t = defects::SEEDS_MAX)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Only this defect.
        #[arg(long, value_parser = mutant)]
        only: Option<Mutant>,
        /// Threads; each hunts whole defects.
        #[arg(long, default_value_t = 1)]
        jobs: usize,
    },
}

#[derive(Args)]
struct Runs {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads; each runs whole seeds.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// What the network and the clocks are allowed to do.
    #[arg(long, value_enum, default_value_t = AssumptionsName::Kept)]
    assumptions: AssumptionsName,
    /// Which app runs: counter, nat, firewall, or load-balancer. Without it the seed says.
    #[arg(long, value_parser = app)]
    app: Option<AppName>,
    /// Run with this defect. Needs the feature `mutants`.
    #[arg(long, value_parser = mutant)]
    mutant: Option<Mutant>,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    replay: replay::Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum AssumptionsName {
    Kept,
    ClocksBroken,
    BitsFlipped,
}

fn app(name: &str) -> Result<AppName, String> {
    let names = AppName::ALL.map(AppName::name).join(", ");
    AppName::by_name(name).ok_or_else(|| format!("no app has this name; there are {names}"))
}

fn mutant(name: &str) -> Result<Mutant, String> {
    if !cfg!(feature = "mutants") {
        return Err("defects need the feature `mutants`: `cargo xtask simulate` switches it on".to_owned());
    }
    Mutant::by_name(name).ok_or_else(|| {
        let names: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("no defect has this name; there are {}", names.join(", "))
    })
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command, runs } = Arguments::parse();
    let passed = match command {
        Some(Command::Mutants { seeds, from, only, jobs }) => hunt(from, seeds, only, jobs)?,
        None => simulate(&runs)?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nothing was found.
fn simulate(runs: &Runs) -> anyhow::Result<bool> {
    let setting = Setting {
        assumptions: match runs.assumptions {
            AssumptionsName::Kept => Assumptions::Kept,
            AssumptionsName::ClocksBroken => Assumptions::ClocksBroken,
            AssumptionsName::BitsFlipped => Assumptions::BitsFlipped,
        },
        app: runs.app,
        mutant: runs.mutant,
    };
    if runs.replay.is_asked() {
        anyhow::ensure!(runs.seeds == 1, "a replay is of one seed: add `--seeds 1`");
        let outcome = runs.replay.run(&setting, runs.from)?;
        print_finding(runs, &outcome);
        return Ok(outcome.finding.is_none());
    }
    let start = Instant::now();
    let summary = run_many(&setting, runs.from, runs.seeds, runs.jobs, false);
    let seconds = start.elapsed().as_secs_f64();
    if runs.json {
        println!("{}", json(&summary, seconds));
    } else {
        for (seed, _) in &summary.failures {
            print_finding(runs, &run_one(&setting, *seed, None));
        }
        print_summary(&summary, seconds);
    }
    Ok(summary.failures.is_empty())
}

fn print_finding(runs: &Runs, outcome: &Outcome) {
    if let Some(stale) = &outcome.stale_read {
        println!("seed {}: stale read, as is to be expected of such clocks: {stale}", outcome.seed);
    }
    let Some(finding) = &outcome.finding else { return };
    let mut options = String::new();
    if let Some(name) = runs.assumptions.to_possible_value().filter(|name| name.get_name() != "kept") {
        options.push_str(&format!(" --assumptions {}", name.get_name()));
    }
    if let Some(app) = runs.app {
        options.push_str(&format!(" --app {}", app.name()));
    }
    if let Some(mutant) = runs.mutant {
        options.push_str(&format!(" --mutant {}", mutant.name()));
    }
    println!("seed {}: {finding}", outcome.seed);
    println!("  replay: cargo xtask simulate --from {} --seeds 1{options} --trace", outcome.seed);
}

fn print_summary(summary: &Summary, seconds: f64) {
    let happened: Vec<_> =
        summary.sometimes.all().into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("{}", happened.join(", ").replace('_', " "));
    println!(
        "{} seeds, {} events, {:.1} virtual seconds, {:.0} events per second, {} stale reads, {} failures",
        summary.seeds,
        summary.events,
        summary.micros as f64 / 1e6,
        summary.events as f64 / seconds,
        summary.stale_reads,
        summary.failures.len()
    );
}

fn json(summary: &Summary, seconds: f64) -> serde_json::Value {
    let failures: Vec<_> = summary
        .failures
        .iter()
        .map(|(seed, found)| {
            serde_json::json!({ "seed": seed, "check": found.check.name(), "at_us": found.at, "text": found.text })
        })
        .collect();
    let sometimes: serde_json::Map<_, _> =
        summary.sometimes.all().into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    serde_json::json!({
        "seeds": summary.seeds,
        "events": summary.events,
        "virtual_seconds": summary.micros as f64 / 1e6,
        "events_per_second": summary.events as f64 / seconds,
        "stale_reads": summary.stale_reads,
        "failures": failures,
        "sometimes": sometimes,
    })
}

/// Whether every defect that can be found was.
fn hunt(from: u64, seeds: u64, only: Option<Mutant>, jobs: usize) -> anyhow::Result<bool> {
    anyhow::ensure!(cfg!(feature = "mutants"), "built without the feature `mutants`");
    let wanted: Vec<_> =
        Mutant::ALL.into_iter().filter(|mutant| only.is_none_or(|only| only == *mutant)).collect();
    let verdicts = defects::hunt_all(&wanted, from, seeds, jobs);
    println!("{:32} {:>6}  {:13} check", "defect", "seeds", "app");
    for (mutant, verdict) in &verdicts {
        let (seeds, app, words) = match verdict {
            Verdict::Found { check, app, seeds } => (seeds.to_string(), app.name(), check.name()),
            Verdict::Survived(seeds) => (seeds.to_string(), "", "SURVIVED"),
            Verdict::NotApplicable(reason) => ("-".to_owned(), "", *reason),
        };
        println!("{:32} {seeds:>6}  {app:13} {words}", mutant.name());
    }
    let found = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Found { .. })).count();
    let survivors = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Survived(_))).count();
    let median = defects::median(&verdicts).map_or("-".to_owned(), |median| median.to_string());
    println!("{found} of {} found, median {median} seeds, {survivors} survivors", found + survivors);
    Ok(survivors == 0 && defects::median(&verdicts).is_none_or(|median| median <= defects::MEDIAN_MAX))
}
