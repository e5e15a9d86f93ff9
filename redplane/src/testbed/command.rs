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
        let order = Order::parse(testbed.topology(), &words);
        if matches!(order, Ok(Order::Quit)) {
            return Ok(());
        }
        if let Err(error) = testbed.check().and_then(|()| order?.obey(testbed)) {
            eprintln!("error: {error:#}");
        }
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
enum Order<'a> {
    Nothing,
    Help,
    Quit,
    KillSwitch(usize),
    RestartSwitch(usize),
    DrainSwitch(usize),
    KillStoreNode(u8),
    RestartStoreNode(u8),
    Link { switch: usize, port: &'a str, up: bool },
    Impair { switch: usize, port: &'a str, impairment: Impairment },
    Count(usize),
    Exec { place: Place, program: &'a str, arguments: &'a [&'a str] },
}

/// A namespace in which a program can be run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Inside,
    Outside,
    Store,
    Switch(usize),
}

impl<'a> Order<'a> {
    fn parse(topology: &Topology, words: &'a [&'a str]) -> anyhow::Result<Self> {
        let number = |switch: &str| number(topology, switch);
        Ok(match words {
            [] => Order::Nothing,
            ["help"] => Order::Help,
            ["quit"] => Order::Quit,
            ["kill", node] if node.starts_with("store-") => Order::KillStoreNode(store_node(node)?),
            ["restart", node] if node.starts_with("store-") => Order::RestartStoreNode(store_node(node)?),
            ["kill", switch] => Order::KillSwitch(number(switch)?),
            ["restart", switch] => Order::RestartSwitch(number(switch)?),
            ["drain", switch] => Order::DrainSwitch(number(switch)?),
            ["link", switch, port, state @ ("up" | "down")] => {
                Order::Link { switch: number(switch)?, port, up: *state == "up" }
            }
            ["impair", switch, port, words @ ..] => {
                Order::Impair { switch: number(switch)?, port, impairment: Impairment::parse(words)? }
            }
            ["count", switch] => Order::Count(number(switch)?),
            ["exec", place, program, arguments @ ..] => {
                let place = match *place {
                    "inside" => Place::Inside,
                    "outside" => Place::Outside,
                    "store" => Place::Store,
                    switch => Place::Switch(number(switch)?),
                };
                Order::Exec { place, program, arguments }
            }
            _ => bail!("no such command: `{}`; `help` lists them", words.join(" ")),
        })
    }

    /// Does it. To quit is the caller's business.
    fn obey(&self, testbed: &mut Testbed) -> anyhow::Result<()> {
        match self {
            Order::Nothing | Order::Quit => Ok(()),
            Order::Help => {
                eprint!("{HELP}");
                Ok(())
            }
            Order::KillStoreNode(node) => testbed.kill_store_node(*node),
            Order::RestartStoreNode(node) => testbed.restart_store_node(*node),
            Order::KillSwitch(switch) => testbed.kill_switch(*switch),
            Order::RestartSwitch(switch) => testbed.restart_switch(*switch),
            Order::DrainSwitch(switch) => testbed.drain_switch(*switch),
            Order::Link { switch, port, up } => testbed.set_link(*switch, port, *up),
            Order::Impair { switch, port, impairment } => testbed.impair(*switch, port, impairment),
            Order::Count(switch) => {
                println!("{}", testbed.count(*switch)?);
                Ok(())
            }
            Order::Exec { place, program, arguments } => exec(testbed, *place, program, arguments),
        }
    }
}

fn exec(testbed: &Testbed, place: Place, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let network = testbed.network();
    let namespace = match place {
        Place::Inside => &network.inside,
        Place::Outside => &network.outside,
        Place::Store => &network.store,
        Place::Switch(switch) => &network.switches[switch],
    };
    let status = namespace.command(Path::new(program)).args(arguments).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("{program}: {status}");
    }
    Ok(())
}

fn number(topology: &Topology, name: &str) -> anyhow::Result<usize> {
    let count = usize::from(topology.switches);
    let number = name.strip_prefix('s').and_then(|number| number.parse::<usize>().ok());
    match number {
        Some(number) if (1..=count).contains(&number) => Ok(number - 1),
        _ => bail!("there is no switch `{name}`; the switches are s1 to s{count}"),
    }
}

fn store_node(name: &str) -> anyhow::Result<u8> {
    name.trim_start_matches("store-").parse().with_context(|| format!("there is no store node `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../examples/nat.toml");
    /// What an operator reads, from the workspace's root on.
    const PAGE: &str = "guide/src/interfaces.md";

    fn page() -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        std::fs::read_to_string(root.join(PAGE)).expect("the guide has the page")
    }

    /// The page's drawing has the example's namespaces, and each line at its prompt is an order.
    #[test]
    fn the_guide_shows_the_testbed() {
        let topology = Topology::parse(EXAMPLE).expect("the example is sound");
        let page = page();
        let blocks: Vec<&str> =
            page.split("```text\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let [drawing, prompt] = blocks[..] else { panic!("{PAGE} has {} drawings", blocks.len()) };
        let network = Network::of(&topology);
        let words: Vec<&str> = drawing.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
        let hosts = [&network.inside, &network.outside, &network.store].into_iter();
        for namespace in hosts.chain(network.routers()).chain(&network.switches) {
            let name = namespace.name().rsplit('-').next().expect("a name");
            assert!(words.contains(&name), "the drawing lacks {name}");
        }
        let nodes = ["no", "one", "two", "three", "four"][usize::from(topology.store_nodes)];
        assert!(drawing.contains(&format!("({nodes} nodes")), "{drawing}");
        for line in prompt.lines() {
            let order = line.strip_prefix("> ").and_then(|line| line.split("  ").next());
            let words: Vec<&str> = order.expect("a line at the prompt").split_whitespace().collect();
            if let Err(error) = Order::parse(&topology, &words) {
                panic!("{line}: {error:#}");
            }
        }
    }

    #[test]
    fn an_order_is_what_is_said() {
        let topology = Topology::parse(EXAMPLE).expect("the example is sound");
        let parse = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            Order::parse(&topology, &words)
                .map_or_else(|error| error.to_string(), |order| format!("{order:?}"))
        };
        assert_eq!(parse("link s2 store down"), r#"Link { switch: 1, port: "store", up: false }"#);
        assert_eq!(parse("kill store-2"), "KillStoreNode(2)");
        assert_eq!(parse("kill s3"), "there is no switch `s3`; the switches are s1 to s2");
        assert_eq!(parse("kill store-x"), "there is no store node `store-x`");
        assert_eq!(parse("exec north ls"), "there is no switch `north`; the switches are s1 to s2");
        assert_eq!(parse("link s1 store"), "no such command: `link s1 store`; `help` lists them");
    }
}
