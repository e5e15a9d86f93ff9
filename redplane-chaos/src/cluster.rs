//! The cluster: a coordinator, nodes, the relay between them, and their files.

mod files;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use backend_store::ChainState;
use backend_store::service::config::Config;
use backend_store::service::coordination::{self, ShardStatus};
use tokio::time::{Instant, sleep};

use crate::process::Process;
use crate::relay::{Link, Relay, Rules, TcpRelay};
pub use files::Admission;

/// How long the chains of all shards may take until they are complete: a copy of 100,000 records on a busy machine takes
/// some seconds.
const COMPLETE_WITHIN: Duration = Duration::from_secs(60);

/// How often it is looked whether they are.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long etcd may take to start.
const ETCD_STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Who coordinates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coordinator {
    /// `coordinate`, one process.
    Static,
    /// etcd.
    Etcd,
}

/// etcd looks twice a second for leases that are over (`lessor.go`, `runLoop` and `expiredLeaseRetryInterval`).
const ETCD_LOOKS_EVERY: Duration = Duration::from_millis(500);

impl Coordinator {
    /// When a node is noticed to be dead whose configured detection time is this.
    #[must_use]
    pub fn detects_within(self, detection: Duration) -> Duration {
        match self {
            Self::Static => detection,
            Self::Etcd => detection + ETCD_LOOKS_EVERY,
        }
    }
}

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// How many shards.
    pub shards: u16,
    /// Who coordinates.
    pub coordinator: Coordinator,
    /// After how long without a sign of life a node is dead.
    pub detection: Duration,
    /// Whether there is a journal.
    pub durable: bool,
    /// Where each switch sends from, by its number less one.
    pub switches: Vec<SocketAddrV4>,
    /// How many new keys are let in, if not as many as come.
    pub admission: Option<Admission>,
    /// The store's program.
    pub store: PathBuf,
}

/// Where everything of a node is.
#[derive(Clone, Debug)]
struct Addresses {
    requests: Vec<SocketAddrV4>,
    chain: Vec<SocketAddrV4>,
}

/// A running cluster. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    folder: PathBuf,
    addresses: Vec<Addresses>,
    nodes: Vec<Option<Process>>,
    _coordinator: Process,
    _relay: Relay,
    _tcp_relay: Option<TcpRelay>,
    /// Which directions of the network are cut.
    pub rules: Arc<Rules>,
    config: Config,
}

impl Cluster {
    /// Starts it, with its files in `folder`.
    ///
    /// # Errors
    /// If a part of it does not start.
    pub async fn start(plan: Plan, folder: &Path) -> anyhow::Result<Self> {
        std::fs::write(folder.join("schema.json"), format!("{:#}\n", files::schema()))?;
        let rules = Arc::new(Rules::new(plan.nodes));
        let (addresses, at) = ports(&plan)?;
        let peers = peers(&plan);
        let chain_link = |(a, b, shard): &(usize, usize, usize)| Link {
            ends: [*a, *b],
            addresses: [Some(addresses[*a].chain[*shard]), Some(addresses[*b].chain[*shard])],
        };
        let mut links: Vec<_> = peers.iter().map(chain_link).collect();
        let coordinator_link = |node| Link { ends: [node, rules.coordinator()], addresses: [None, Some(at)] };
        links.extend((0..plan.nodes).map(coordinator_link));
        let relay = Relay::start(&links, Arc::clone(&rules))?;
        let mut seen: Vec<_> = (0..plan.nodes).map(|_| addresses.clone()).collect();
        for ((a, b, shard), [b_for_a, a_for_b]) in peers.iter().zip(&relay.views) {
            seen[*a][*b].chain[*shard] = *b_for_a;
            seen[*b][*a].chain[*shard] = *a_for_b;
        }
        let (etcd, tcp_relay) = match plan.coordinator {
            Coordinator::Static => (None, None),
            Coordinator::Etcd => {
                let (etcd, client) = start_etcd(folder).await?;
                (Some((etcd, client)), Some(TcpRelay::start(plan.nodes, client, &rules)?))
            }
        };
        for (node, seen) in seen.iter().enumerate() {
            let at = match &tcp_relay {
                Some(tcp_relay) => tcp_relay.views[node].to_string(),
                None => relay.views[peers.len() + node][0].to_string(),
            };
            std::fs::write(folder.join(format!("node-{node}.toml")), files::config(&plan, seen, &at))?;
        }
        let direct = match &etcd {
            Some((_, client)) => client.to_string(),
            None => at.to_string(),
        };
        let path = folder.join("cluster.toml");
        std::fs::write(&path, files::config(&plan, &addresses, &direct))?;
        let config = Config::load(&path).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let coordinator = match etcd {
            Some((etcd, _)) => etcd,
            None => {
                let mut command = Command::new(&plan.store);
                command.args(["-v", "coordinate", "--config"]).arg(&path);
                Process::start(command.current_dir(folder), &folder.join("coordinator.log"))?
            }
        };
        let mut cluster = Self {
            nodes: (0..plan.nodes).map(|_| None).collect(),
            plan,
            folder: folder.to_path_buf(),
            addresses,
            _coordinator: coordinator,
            _relay: relay,
            _tcp_relay: tcp_relay,
            rules,
            config,
        };
        for node in 0..cluster.plan.nodes {
            cluster.start_node(node)?;
        }
        cluster.complete().await?;
        Ok(cluster)
    }

    /// What it is made of.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where each node takes requests, by node and shard.
    #[must_use]
    pub fn requests(&self) -> Vec<Vec<SocketAddrV4>> {
        self.addresses.iter().map(|node| node.requests.clone()).collect()
    }

    /// Starts a node that is not running.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start_node(&mut self, node: usize) -> anyhow::Result<()> {
        let mut command = Command::new(&self.plan.store);
        command.args(["-v", "serve", "--config"]).arg(self.folder.join(format!("node-{node}.toml")));
        command.args(["--node", &node.to_string()]).current_dir(&self.folder);
        self.nodes[node] = Some(Process::start(&mut command, &self.folder.join(format!("node-{node}.log")))?);
        Ok(())
    }

    /// A running node's process.
    ///
    /// # Errors
    /// If the node is not running.
    pub fn node(&self, node: usize) -> anyhow::Result<&Process> {
        self.nodes[node].as_ref().with_context(|| format!("node {node} is not running"))
    }

    /// Kills a node.
    pub fn kill_node(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    /// What the coordinator says of the shards.
    ///
    /// # Errors
    /// If it says nothing.
    pub async fn shards(&self) -> anyhow::Result<Vec<ShardStatus>> {
        Ok(coordination::status(&self.config).await?.shards)
    }

    /// Waits until every shard has all nodes as full members.
    ///
    /// # Errors
    /// If a node ended by itself, or it takes too long.
    pub async fn complete(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + COMPLETE_WITHIN;
        let all = self.plan.nodes;
        loop {
            self.all_run()?;
            let status = self.shards().await;
            let is_complete = |shard: &ShardStatus| {
                shard.state == ChainState::Serving && shard.members.len() == all && shard.joining.is_none()
            };
            if let Ok(shards) = &status
                && shards.iter().all(is_complete)
                && shards.len() == usize::from(self.plan.shards)
            {
                return Ok(());
            }
            ensure!(
                Instant::now() < until,
                "the chains are not complete after {COMPLETE_WITHIN:?}: {status:?}"
            );
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Gives up what all shards had. Only for a drill that is to end badly.
    ///
    /// # Errors
    /// If a shard still serves.
    pub async fn reset(&self) -> anyhow::Result<()> {
        for shard in 0..self.plan.shards {
            coordination::reset_shard(&self.config, shard).await?;
        }
        Ok(())
    }

    /// Bytes of memory of each node.
    ///
    /// # Errors
    /// If one is not running.
    pub fn resident_bytes(&self) -> anyhow::Result<Vec<u64>> {
        (0..self.plan.nodes).map(|node| self.node(node)?.resident_bytes()).collect()
    }

    fn all_run(&mut self) -> anyhow::Result<()> {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if node.as_mut().is_some_and(Process::has_ended) {
                let log = std::fs::read_to_string(self.folder.join(format!("node-{number}.log")));
                let log = log.unwrap_or_default();
                bail!("node {number} ended by itself: {}", log.lines().last().unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// All pairs of nodes, in every shard.
fn peers(plan: &Plan) -> Vec<(usize, usize, usize)> {
    let mut peers = Vec::new();
    for a in 0..plan.nodes {
        for b in a + 1..plan.nodes {
            peers.extend((0..usize::from(plan.shards)).map(|shard| (a, b, shard)));
        }
    }
    peers
}

/// Addresses that nobody has now: of each node, and one more. All are held until all are found.
fn ports(plan: &Plan) -> anyhow::Result<(Vec<Addresses>, SocketAddrV4)> {
    let mut held = Vec::new();
    let mut free = || -> anyhow::Result<SocketAddrV4> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        held.push(socket);
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    };
    let mut nodes = Vec::new();
    for _ in 0..plan.nodes {
        let requests = (0..plan.shards).map(|_| free()).collect::<anyhow::Result<_>>()?;
        let chain = (0..plan.shards).map(|_| free()).collect::<anyhow::Result<_>>()?;
        nodes.push(Addresses { requests, chain });
    }
    Ok((nodes, free()?))
}

/// Starts etcd and waits until it answers; with its client address.
async fn start_etcd(folder: &Path) -> anyhow::Result<(Process, SocketAddr)> {
    let free = || std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|port| port.local_addr());
    let (client, peer) = (free()?, free()?);
    let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    command.arg("--data-dir").arg(folder.join("etcd")).args([
        "--name=chaos",
        &format!("--listen-client-urls={client_url}"),
        &format!("--advertise-client-urls={client_url}"),
        &format!("--listen-peer-urls={peer_url}"),
        &format!("--initial-advertise-peer-urls={peer_url}"),
        &format!("--initial-cluster=chaos={peer_url}"),
        "--log-level=warn",
        // The shortest lease is one and a half times the election timeout: so it is one second, not two.
        "--heartbeat-interval=50",
        "--election-timeout=500",
    ]);
    let mut etcd = Process::start(&mut command, &folder.join("etcd.log"))?;
    let until = Instant::now() + ETCD_STARTS_WITHIN;
    while tokio::net::TcpStream::connect(client).await.is_err() {
        ensure!(!etcd.has_ended(), "etcd ended by itself");
        ensure!(Instant::now() < until, "etcd does not listen after {ETCD_STARTS_WITHIN:?}");
        sleep(LOOK_AGAIN).await;
    }
    Ok((etcd, client))
}
