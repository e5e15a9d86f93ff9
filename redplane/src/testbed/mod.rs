//! A network on one machine: hosts, ECMP routers, switches and a store, each in a network namespace, with the kernel's own
//! TCP at the ends; and what can happen to it.

mod command;
pub mod namespace;
pub mod network;
mod process;
mod store;
pub mod topology;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::bmv2;
use crate::program::Emitted;
use crate::switch::config::{PortFile, RouteFile, StoreFile, SwitchFile};
pub use command::{Command, run};
use namespace::Namespace;
use network::{Network, PORTS, Peer, Port, mac, peer_mac, store_address, switch_address};
use process::LOOK_AGAIN;
pub use process::Process;
use store::Store;
use topology::{CableFile, DataPlane, Topology};
use wire::{Impairment, Wires};

/// How long a switch may take to start.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to stop.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Where each switch, which has a namespace of its own, shows what it counts.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

/// What keeps a testbed from running here, if anything does.
#[must_use]
pub fn missing() -> Option<String> {
    // One at a time: it makes a namespace, to see whether that can be done.
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    MISSING.get_or_init(look_for_missing).clone()
}

fn look_for_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root: network namespaces need it".to_owned());
    }
    let ip = std::process::Command::new("ip").arg("-V").output();
    if !ip.is_ok_and(|output| output.status.success()) {
        return Some("ip not found (Debian: iproute2)".to_owned());
    }
    let probe = Namespace::named(format!("try{}", std::process::id()));
    let made = probe.create();
    // What was made in part goes too.
    let made = probe.remove().and(made);
    made.err().map(|error| format!("network namespaces cannot be made here: {error:#}"))
}

/// A running testbed. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Testbed {
    topology: Topology,
    network: Network,
    folder: PathBuf,
    program: PathBuf,
    store: Store,
    switches: Vec<Option<Process>>,
    wires: Option<Wires>,
    /// The ports of each switch whose cable was taken down.
    dark: Vec<BTreeSet<u16>>,
    /// Which switches the routers send to.
    usable: Vec<bool>,
}

impl Testbed {
    /// Builds the network and starts everything in it, in the place of what is left of an earlier one. `program` is a
    /// command that was built with [`crate::cli::main`] and knows the app.
    ///
    /// # Errors
    /// If a part does not start; nothing is left then.
    pub fn start(topology: Topology, program: &Path, emitted: Emitted) -> anyhow::Result<Self> {
        if topology.data_plane == DataPlane::Bmv2 {
            bmv2::refuse_authentication(topology.authentication.is_some())?;
        }
        let network = Network::of(&topology);
        network.remove()?;
        let program = program.canonicalize().with_context(|| format!("there is no {}", program.display()))?;
        let folder = topology.folder();
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let count = usize::from(topology.switches);
        let store = Store::new(&topology, &folder, &program, emitted)?;
        let mut testbed = Testbed {
            network,
            folder,
            program,
            store,
            switches: (0..count).map(|_| None).collect(),
            wires: None,
            dark: vec![BTreeSet::new(); count],
            usable: vec![true; count],
            topology,
        };
        testbed.network.build(&testbed.topology)?;
        testbed.wires = testbed.lay_wires()?;
        if testbed.topology.data_plane == DataPlane::Bmv2 {
            // It takes frames for what was on the cable.
            testbed.network.switch_off_offloads()?;
        }
        testbed.store.start(&testbed.network.store)?;
        for switch in 0..count {
            testbed.start_switch(switch)?;
        }
        Ok(testbed)
    }

    /// What it is made of.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Its namespaces.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where its files and logs are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills a switch (SIGKILL), as if its power went: its cables go dark, and the routers, which see that, use the others.
    ///
    /// # Errors
    /// If it is not running.
    pub fn kill_switch(&mut self, switch: usize) -> anyhow::Result<()> {
        let process = self.switches[switch].take();
        let mut process = process.with_context(|| format!("switch {} is not running", switch + 1))?;
        process.kill();
        self.network.set_links(switch, None, false)?;
        self.set_usable(switch, false)
    }

    /// Starts a switch that is not running, empty; the routers use it once it is up.
    ///
    /// # Errors
    /// If it runs, or does not start.
    pub fn restart_switch(&mut self, switch: usize) -> anyhow::Result<()> {
        ensure!(self.switches[switch].is_none(), "switch {} is running", switch + 1);
        self.network.set_links(switch, None, true)?;
        self.dark[switch].clear();
        self.start_switch(switch)?;
        self.set_usable(switch, true)
    }

    /// Takes a switch out of service: the routers stop sending to it, then it gives its leases back and ends. Its cables stay
    /// up, so that what is under way arrives.
    ///
    /// # Errors
    /// If it is not running, or does not end.
    pub fn drain_switch(&mut self, switch: usize) -> anyhow::Result<()> {
        self.set_usable(switch, false)?;
        let process = self.switches[switch].take();
        let mut process = process.with_context(|| format!("switch {} is not running", switch + 1))?;
        let status = process.terminate(STOPS_WITHIN)?;
        ensure!(
            status.success(),
            "switch {} ended with {status}: see {}",
            switch + 1,
            self.log(switch).display()
        );
        Ok(())
    }

    /// Takes a cable of a switch down or up; both ends see it. The routers use the switch while it runs and all its cables
    /// are up.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn set_link(&mut self, switch: usize, port: &str, up: bool) -> anyhow::Result<()> {
        let number = Port::named(port)?.number;
        self.network.set_links(switch, Some(port), up)?;
        let dark = &mut self.dark[switch];
        if up {
            dark.remove(&number);
        } else {
            dark.insert(number);
        }
        let usable = dark.is_empty() && self.switches[switch].is_some();
        self.set_usable(switch, usable)
    }

    /// Changes what a cable does to frames, in either direction.
    ///
    /// # Errors
    /// If the topology does not have it among its cables.
    pub fn impair(&self, switch: usize, port: &str, impairment: &Impairment) -> anyhow::Result<()> {
        let is_it = |cable: &CableFile| usize::from(cable.switch) == switch + 1 && cable.port == port;
        ensure!(
            self.topology.cable.iter().any(is_it),
            "the cable of s{} at {port} does not run through this program: add [[cable]] switch = {}, port = \"{port}\"",
            switch + 1,
            switch + 1
        );
        let wires = self.wires.as_ref().context("there are no such cables")?;
        wires.set((switch, Port::named(port)?.number), impairment.link()?)
    }

    fn lay_wires(&self) -> anyhow::Result<Option<Wires>> {
        let cable = |cable: &CableFile| {
            let at = (usize::from(cable.switch) - 1, Port::named(&cable.port)?.number);
            anyhow::Ok((at, (network::wire_interfaces(at), cable.impairment.link()?)))
        };
        let cables: BTreeMap<_, _> = self.topology.cable.iter().map(cable).collect::<Result<_, _>>()?;
        if cables.is_empty() {
            return Ok(None);
        }
        Wires::start(&self.network.wire, cables).map(Some)
    }

    /// Kills a node of the store (SIGKILL). Switches that sent to it send to another one from now on.
    ///
    /// # Errors
    /// If it is not running, or it was the last one.
    pub fn kill_store_node(&mut self, node: u8) -> anyhow::Result<()> {
        self.store.kill(node)?;
        let contact = self.store.contact()?;
        for switch in 0..self.switches.len() {
            if self.switches[switch].is_some() {
                self.set_store(switch, contact)?;
            }
        }
        Ok(())
    }

    /// Starts a node of the store that is not running.
    ///
    /// # Errors
    /// If it runs, or does not start.
    pub fn restart_store_node(&mut self, node: u8) -> anyhow::Result<()> {
        self.store.start_node(&self.network.store, node)
    }

    /// Whether every process that should run does.
    ///
    /// # Errors
    /// The first one that ended by itself, with its log.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for (index, switch) in self.switches.iter_mut().enumerate() {
            if switch.as_mut().is_some_and(Process::has_ended) {
                bail!("switch {} ended by itself: see its log in {}", index + 1, self.folder.display());
            }
        }
        self.store.check()
    }

    /// What a software switch counted.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn count(&self, switch: usize) -> anyhow::Result<serde_json::Value> {
        self.order(switch, &serde_json::json!({ "order": "count" }))
    }

    /// The process of a switch, if it is running.
    #[must_use]
    pub fn switch(&self, switch: usize) -> Option<&Process> {
        self.switches[switch].as_ref()
    }

    /// Whether the routers send to a switch.
    #[must_use]
    pub fn is_usable(&self, switch: usize) -> bool {
        self.usable[switch]
    }

    /// Lets the routers send to a switch, or not.
    ///
    /// # Errors
    /// If a router does not take it.
    pub fn set_usable(&mut self, switch: usize, usable: bool) -> anyhow::Result<()> {
        self.usable[switch] = usable;
        self.network.route(&self.usable)
    }

    fn set_store(&self, switch: usize, node: u8) -> anyhow::Result<()> {
        let (address, mac) = (store_address(node), peer_mac(switch, 3));
        for shard in 0..store::SHARDS {
            let order = serde_json::json!({
                "order": "set_store", "shard": shard, "address": address, "mac": mac, "port": 3,
            });
            self.order(switch, &order)?;
        }
        Ok(())
    }

    fn control(&self, switch: usize) -> PathBuf {
        self.folder.join(format!("s{}.sock", switch + 1))
    }

    fn log(&self, switch: usize) -> PathBuf {
        self.folder.join(format!("s{}.log", switch + 1))
    }

    fn order(&self, switch: usize, order: &serde_json::Value) -> anyhow::Result<serde_json::Value> {
        use std::io::{BufRead, BufReader, Write};
        let path = self.control(switch);
        let what = || format!("switch {} does not answer at {}", switch + 1, path.display());
        let mut stream = std::os::unix::net::UnixStream::connect(&path).with_context(what)?;
        stream.set_read_timeout(Some(STOPS_WITHIN))?;
        stream.write_all(format!("{order}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).with_context(what)?;
        let answer: serde_json::Value = serde_json::from_str(&line).with_context(what)?;
        match answer.get("error") {
            Some(error) => bail!("switch {}: {error}", switch + 1),
            None => Ok(answer),
        }
    }

    fn start_switch(&mut self, switch: usize) -> anyhow::Result<()> {
        let path = self.folder.join(format!("s{}.toml", switch + 1));
        write(&path, &toml::to_string(&self.switch_file(switch)?)?)?;
        // The socket of an earlier one would answer nobody.
        let _ = std::fs::remove_file(self.control(switch));
        let mut command = self.network.switches[switch].command(&self.program);
        command.arg("switch").arg("--config").arg(&path).arg("--folder").arg(&self.folder);
        command.args(["--data-plane", self.topology.data_plane.name()]);
        let mut process = Process::start(&mut command, &self.log(switch))?;
        let end = Instant::now() + STARTS_WITHIN;
        while self.count(switch).is_err() {
            let log = self.log(switch);
            ensure!(!process.has_ended(), "switch {} did not start: see {}", switch + 1, log.display());
            ensure!(Instant::now() < end, "switch {} is not up after {STARTS_WITHIN:?}", switch + 1);
            std::thread::sleep(LOOK_AGAIN);
        }
        self.switches[switch] = Some(process);
        Ok(())
    }

    fn switch_file(&self, switch: usize) -> anyhow::Result<SwitchFile> {
        let topology = &self.topology;
        let port = |port: &Port| PortFile {
            number: port.number,
            interface: port.interface.to_owned(),
            tap: false,
            store_facing: port.peer == Peer::Store,
        };
        let route = |prefix: &str, port: u16| RouteFile {
            prefix: prefix.to_owned(),
            port,
            source: mac(switch, port),
            destination: peer_mac(switch, port),
        };
        let store =
            StoreFile { address: store_address(self.store.contact()?), mac: peer_mac(switch, 3), port: 3 };
        Ok(SwitchFile {
            app: topology.app.clone(),
            id: switch as u16 + 1,
            address: switch_address(switch),
            mac: mac(switch, 3),
            lease_ms: topology.lease_ms,
            drift_margin_per_mille: 10,
            control: Some(self.control(switch)),
            metrics: Some(METRICS),
            metrics_public: false,
            port: PORTS.iter().map(port).collect(),
            store: vec![store; usize::from(store::SHARDS)],
            route: vec![route(&topology.inside.network, 1), route("0.0.0.0/0", 2)],
            authentication: topology.authentication.clone(),
            tables: topology.tables.clone(),
        })
    }
}

/// Writes a file that may have keys in it: nobody else reads it.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // One that is there would keep its permissions.
    let _ = std::fs::remove_file(path);
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.switches.clear();
        self.wires = None;
        self.store.stop();
        if let Err(error) = self.network.remove() {
            tracing::error!("the testbed is not gone: {error:#}");
        }
    }
}
