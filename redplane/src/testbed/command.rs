//! `redplane testbed`: a testbed in the hands of an operator.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};

use super::Testbed;
use super::network::Network;
use super::topology::{DataPlane, Topology};
use super::wire::Impairment;
use crate::Program;
use crate::cli::find;

/// What can be done with a testbed.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Build it, start everything, and take commands from standard input until it ends; then take it down.
    Run {
        /// The topology.
        topology: PathBuf,
        /// Which data plane, if not the one that the file says.
        #[arg(long, value_enum)]
        data_plane: Option<DataPlane>,
    },
    /// Take down what is left of one, after a crash.
    Down {
        /// The topology.
        topology: PathBuf,
    },
}

const HELP: &str = "\
kill sN             kill switch N (SIGKILL); its cables go dark
restart sN          start it again, empty
drain sN            take it out of service: it gives its leases back
link sN PORT up|down   a cable: PORT is inside, outside or store
impair sN PORT loss=0.01 delay_ms=5 ...   what a cable does from now on; nothing said: it is good
kill store-N, restart store-N   a node of the store
count sN            what the switch counted
exec WHERE COMMAND  run a command at inside, outside, store or sN
quit                take everything down
";

/// Runs a command.
///
/// # Errors
/// If it cannot be done.
pub fn run(command: &Command, programs: &[Box<dyn Program>]) -> anyhow::Result<()> {
    match command {
        Command::Down { topology } => Network::of(&Topology::load(topology)?).remove(),
        Command::Run { topology, data_plane } => {
            let mut topology = Topology::load(topology)?;
            topology.data_plane = data_plane.unwrap_or(topology.data_plane);
            let emitted = find(programs, &topology.app)?.emitted();
            let program = std::env::current_exe().context("where is this program?")?;
            let mut testbed = Testbed::start(topology, &program, emitted)?;
            eprintln!("the testbed is up; its files are in {}\n{HELP}", testbed.folder().display());
            converse(&mut testbed)
        }
    }
}

fn converse(testbed: &mut Testbed) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        eprint!("> ");
        std::io::stderr().flush()?;
        line.clear();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            return Ok(());
        }
        if let Err(error) = testbed.check().and_then(|()| obey(testbed, &words)) {
            eprintln!("error: {error:#}");
        }
    }
}

/// Does what a line says.
fn obey(testbed: &mut Testbed, words: &[&str]) -> anyhow::Result<()> {
    match words {
        [] => Ok(()),
        ["help"] => {
            eprint!("{HELP}");
            Ok(())
        }
        ["kill", node] if node.starts_with("store-") => testbed.kill_store_node(store_node(node)?),
        ["restart", node] if node.starts_with("store-") => testbed.restart_store_node(store_node(node)?),
        ["kill", switch] => testbed.kill_switch(number(testbed, switch)?),
        ["restart", switch] => testbed.restart_switch(number(testbed, switch)?),
        ["drain", switch] => testbed.drain_switch(number(testbed, switch)?),
        ["link", switch, port, state @ ("up" | "down")] => {
            testbed.set_link(number(testbed, switch)?, port, *state == "up")
        }
        ["impair", switch, port, words @ ..] => {
            testbed.impair(number(testbed, switch)?, port, &Impairment::parse(words)?)
        }
        ["count", switch] => {
            println!("{}", testbed.count(number(testbed, switch)?)?);
            Ok(())
        }
        ["exec", place, program, arguments @ ..] => exec(testbed, place, program, arguments),
        _ => bail!("no such command: `{}`; `help` lists them", words.join(" ")),
    }
}

fn exec(testbed: &Testbed, place: &str, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let network = testbed.network();
    let namespace = match place {
        "inside" => &network.inside,
        "outside" => &network.outside,
        "store" => &network.store,
        switch => &network.switches[number(testbed, switch)?],
    };
    let status = namespace.command(Path::new(program)).args(arguments).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

fn number(testbed: &Testbed, name: &str) -> anyhow::Result<usize> {
    let count = usize::from(testbed.topology().switches);
    let number = name.strip_prefix('s').and_then(|number| number.parse::<usize>().ok());
    match number {
        Some(number) if (1..=count).contains(&number) => Ok(number - 1),
        _ => bail!("there is no switch `{name}`; the switches are s1 to s{count}"),
    }
}

fn store_node(name: &str) -> anyhow::Result<u8> {
    name.trim_start_matches("store-").parse().with_context(|| format!("there is no store node `{name}`"))
}
