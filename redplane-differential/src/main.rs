//! `differential`: `cargo xtask differential` builds and runs it.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use redplane_differential::cases::CASES;
use redplane_differential::run::{Options, report};
use redplane_differential::{breakage, cable};

/// Runs the same packets through the native handler, its IR in the interpreter, and the emitted P4 in BMv2.
#[derive(Parser)]
#[command(name = "differential", bin_name = "cargo xtask differential")]
struct Arguments {
    /// Packets and messages, of each app.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,
    /// Everything comes from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this app.
    #[arg(long)]
    app: Option<String>,
    /// Leave BMv2 out.
    #[arg(long)]
    without_bmv2: bool,
    /// Put this mistake into the P4, and see that it is found.
    #[arg(long = "break", value_parser = breakage::BREAKAGES.iter().map(|(name, ..)| *name).collect::<Vec<_>>())]
    broken: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut with_bmv2 = !arguments.without_bmv2;
    if with_bmv2 && let Some(missing) = redplane_bmv2::missing().or_else(cable::missing) {
        println!("SKIPPED: {missing}; native and IR are compared without BMv2");
        with_bmv2 = false;
    }
    if with_bmv2 {
        cable::enter_namespace()?;
    }
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let options = Options {
        packets: arguments.packets,
        seed: arguments.seed,
        broken: arguments.broken.filter(|_| with_bmv2),
        with_bmv2,
        cache: own.with_file_name("differential-p4"),
    };
    let wanted = |name: &str| arguments.app.as_deref().is_none_or(|app| app == name);
    let cases: Vec<_> = CASES.iter().filter(|(case, _)| wanted(case.name)).collect();
    ensure!(!cases.is_empty(), "no app is called `{}`", arguments.app.unwrap_or_default());
    let mut content = true;
    for (case, run) in cases {
        let outcome = run(case, &options)?;
        print!("{}", report(case, &options, &outcome));
        content &= outcome.is_content();
    }
    Ok(if content { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
