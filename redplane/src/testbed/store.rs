//! The store of a testbed: a coordinator and nodes, in one namespace.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::namespace::Namespace;
use super::network::{store_address, switch_address};
use super::process::{LOOK_AGAIN, Process};
use super::topology::Topology;
use crate::program::Emitted;

/// Shards of the store.
pub(super) const SHARDS: u16 = 1;

/// How long the chain may take until it is complete.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// The processes of a store.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    program: PathBuf,
    has_apps: bool,
    nodes: Vec<Option<Process>>,
    coordinator: Option<Process>,
}

impl Store {
    /// Writes the files of a store.
    pub(super) fn new(
        topology: &Topology,
        folder: &Path,
        program: &Path,
        emitted: Emitted,
    ) -> anyhow::Result<Self> {
        std::fs::write(folder.join("schema.json"), emitted.schema)?;
        super::write(&folder.join("store.toml"), &configuration(topology)?)?;
        if let Some(config) = &topology.config {
            let apps = toml::Table::from_iter([(topology.app.clone(), config.clone())]);
            std::fs::write(folder.join("apps.toml"), toml::to_string(&apps)?)?;
        }
        Ok(Store {
            folder: folder.to_owned(),
            program: program.to_owned(),
            has_apps: topology.config.is_some(),
            nodes: (0..topology.store_nodes).map(|_| None).collect(),
            coordinator: None,
        })
    }

    /// Starts all of it, and waits until the chain is complete.
    pub(super) fn start(&mut self, namespace: &Namespace) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(self.folder.join("coordinator.json"));
        let mut command = self.command(namespace);
        command.args(["coordinate", "--config"]).arg(self.folder.join("store.toml"));
        self.coordinator = Some(Process::start(&mut command, &self.folder.join("coordinator.log"))?);
        for node in 0..self.nodes.len() {
            self.start_node(namespace, node as u8)?;
        }
        let end = Instant::now() + COMPLETE_WITHIN;
        loop {
            self.check()?;
            let mut status = self.command(namespace);
            status.args(["status", "--config"]).arg(self.folder.join("store.toml"));
            if status.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
                return Ok(());
            }
            ensure!(Instant::now() < end, "the store's chain is not complete after {COMPLETE_WITHIN:?}");
            std::thread::sleep(LOOK_AGAIN * 10);
        }
    }

    pub(super) fn start_node(&mut self, namespace: &Namespace, node: u8) -> anyhow::Result<()> {
        let slot =
            self.nodes.get(usize::from(node)).with_context(|| format!("the store has no node {node}"))?;
        ensure!(slot.is_none(), "store node {node} is running");
        let mut command = self.command(namespace);
        command.args(["serve", "--config"]).arg(self.folder.join("store.toml"));
        command.args(["--node", &node.to_string()]);
        let log = self.folder.join(format!("store-{node}.log"));
        self.nodes[usize::from(node)] = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    pub(super) fn kill(&mut self, node: u8) -> anyhow::Result<()> {
        let process = self.nodes.get_mut(usize::from(node)).and_then(Option::take);
        process.with_context(|| format!("store node {node} is not running"))?.kill();
        Ok(())
    }

    /// A node that switches may send to: whichever it is, it passes requests on to the head.
    pub(super) fn contact(&self) -> anyhow::Result<u8> {
        let node = self.nodes.iter().position(Option::is_some).context("no store node is running")?;
        Ok(node as u8)
    }

    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if self.coordinator.as_mut().is_some_and(Process::has_ended) {
            bail!("the coordinator ended by itself: see coordinator.log in {}", self.folder.display());
        }
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if node.as_mut().is_some_and(Process::has_ended) {
                bail!("store node {number} ended by itself: see its log in {}", self.folder.display());
            }
        }
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.nodes.clear();
        self.coordinator = None;
    }

    fn command(&self, namespace: &Namespace) -> std::process::Command {
        let mut command = namespace.command(&self.program);
        command.arg("store").current_dir(&self.folder);
        if self.has_apps {
            command.arg("--apps").arg(self.folder.join("apps.toml"));
        }
        command
    }
}

fn configuration(topology: &Topology) -> anyhow::Result<String> {
    let mut text = format!(
        "cluster = \"{}\"\nshards = {SHARDS}\nlease = \"{}ms\"\ndrift_margin_per_mille = 10\n\n[coordination]\n\
         kind = \"static\"\naddress = \"127.0.0.1:21100\"\nstate = \"coordinator.json\"\ndetection = \"500ms\"\n\n\
         [workers]\nthreads = 1\n\n[[app]]\nschema = [\"schema.json\"]\n",
        topology.name, topology.lease_ms,
    );
    for node in 0..topology.store_nodes {
        let (address, loopback) = (store_address(node), format!("127.0.0.{}", node + 1));
        let _ = write!(
            text,
            "\n[[node]]\nid = {node}\nrequests = \"{address}:21072\"\nchain = \"{loopback}:22072\"\n\
             admin = \"{loopback}:9090\"\n",
        );
    }
    for switch in 0..topology.switches {
        let address = switch_address(usize::from(switch));
        let _ = write!(text, "\n[[switch]]\nid = {}\naddress = \"{address}\"\n", switch + 1);
    }
    if let Some(authentication) = &topology.authentication {
        let _ = write!(text, "\n[authentication]\n{}", toml::to_string(authentication)?);
    }
    Ok(text)
}
