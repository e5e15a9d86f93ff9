//! Nodes' sides and a coordinator over real sockets: who is in the chain, and who may serve.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backend_store::ChainState;
use backend_store::service::clock::Clock;
use backend_store::service::config::{Config, Coordination, Durability, NodeAddresses};
use backend_store::service::coordination::{
    CoordinationError, CoordinationStatus, Membership, MembershipEvent, Place, ShardReport, coordinate,
    reset_shard, status,
};
use redplane_protocol::{Configuration, Lease, NodeId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Generous: the machine may be busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const DETECTION: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(5);

/// A cluster of three nodes and two shards.
pub(crate) fn config(coordination: Coordination, detection: Duration, durable: bool) -> Config {
    let address = |port| vec![SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)];
    let node =
        |id| NodeAddresses { requests: address(21_000 + id), chain: address(22_000 + id), admin: None };
    Config {
        cluster: "lab".to_owned(),
        shards: 2,
        lease: Lease::default(),
        coordination,
        detection,
        nodes: (0..3).map(|id| (NodeId(id), node(id))).collect(),
        threads: 1,
        gso: true,
        durability: durable.then(|| Durability { path: PathBuf::from("unused"), shards: vec![0, 1] }),
        apps: Vec::new(),
        records_per_shard: 1000,
        switches: BTreeMap::new(),
        authentication: Vec::new(),
    }
}

/// A node without replicas: it takes up what it hears, and says so.
pub(crate) struct FakeNode {
    pub(crate) membership: Option<Membership>,
    pub(crate) place: Arc<Place>,
    reports: watch::Sender<Vec<ShardReport>>,
    told: BTreeMap<u16, Configuration>,
    events: mpsc::Receiver<MembershipEvent>,
}

impl FakeNode {
    pub(crate) async fn start(config: &Config, node: u16, incarnation: u64, restored: bool) -> Self {
        let report =
            |shard| ShardReport { shard, epoch: 0, copied: true, restored, inherited: restored, silent: 0 };
        let (reports, seen) = watch::channel((0..config.shards).map(report).collect());
        let (sender, events) = mpsc::channel(4);
        let place = Arc::new(Place::new(Clock::start()));
        let membership =
            Membership::start(config, NodeId(node), incarnation, seen, sender, Arc::clone(&place))
                .await
                .unwrap();
        Self { membership: Some(membership), place, reports, told: BTreeMap::new(), events }
    }

    pub(crate) fn serves(&self) -> bool {
        self.place.serves_at(self.place.clock().now())
    }

    pub(crate) fn members(&self, shard: u16) -> Vec<u16> {
        let told = self.told.get(&shard);
        told.map_or_else(Vec::new, |told| told.members.iter().map(|node| node.0).collect())
    }

    /// Takes up what has come.
    pub(crate) fn take_up(&mut self) {
        while let Ok(MembershipEvent::Configured { shard, configuration }) = self.events.try_recv() {
            let before = self.told.get(&shard).map_or(0, |told| told.epoch);
            assert!(configuration.epoch > before, "only news");
            self.reports.send_modify(|reports| reports[usize::from(shard)].epoch = configuration.epoch);
            self.told.insert(shard, configuration);
        }
    }
}

/// Lets all nodes take up what they hear until `is_so`.
pub(crate) async fn wait_until(
    nodes: &mut [FakeNode],
    what: &str,
    mut is_so: impl FnMut(&[FakeNode]) -> bool,
) {
    let start = Instant::now();
    loop {
        nodes.iter_mut().for_each(FakeNode::take_up);
        if is_so(nodes) {
            return;
        }
        let told: Vec<_> = nodes.iter().map(|node| &node.told).collect();
        assert!(start.elapsed() < PATIENCE, "never: {what}; told: {told:?}");
        sleep(STEP).await;
    }
}

/// Asks until the answer is as it should be, while all nodes take up what they hear.
pub(crate) async fn wait_for_status(
    config: &Config,
    nodes: &mut [FakeNode],
    mut is_so: impl FnMut(&CoordinationStatus) -> bool,
) -> CoordinationStatus {
    let start = Instant::now();
    loop {
        nodes.iter_mut().for_each(FakeNode::take_up);
        let status = status(config).await.unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "it stays {status:?}");
        sleep(STEP).await;
    }
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// A folder that is gone when this is.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("redplane-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn free_address() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port())
}

fn static_config(folder: &Folder, durable: bool) -> Config {
    let state = folder.0.join("coordinator.json");
    config(Coordination::Static { address: free_address(), state }, DETECTION, durable)
}

/// A coordinator on the test's own runtime.
struct Coordinator {
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Result<(), CoordinationError>>,
}

impl Coordinator {
    fn start(config: &Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let config = config.clone();
        let done = tokio::spawn(async move { coordinate(&config, stopped).await });
        Self { stop: Some(stop), done }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.done.await.unwrap().unwrap();
    }
}

async fn three(config: &Config, restored: bool) -> Vec<FakeNode> {
    let mut nodes = Vec::new();
    for node in 0..3 {
        nodes.push(FakeNode::start(config, node, u64::from(node) + 10, restored).await);
    }
    nodes
}

async fn formed(config: &Config) -> Vec<FakeNode> {
    let mut nodes = three(config, false).await;
    wait_until(&mut nodes, "all in both chains, and serving", |nodes| {
        nodes.iter().all(|node| node.members(0) == [0, 1, 2] && node.members(1) == [1, 2, 0] && node.serves())
    })
    .await;
    nodes
}

#[test]
fn a_silent_node_stops_serving_before_the_others_go_on_and_comes_back_as_new() {
    run(async {
        let folder = Folder::new("silent");
        let config = static_config(&folder, false);
        let coordinator = Coordinator::start(&config);
        let mut nodes = formed(&config).await;
        let mut gone = nodes.remove(0);
        let silent_from = Instant::now();
        drop(gone.membership.take());
        wait_until(&mut nodes, "the others go on", |nodes| {
            nodes.iter().all(|node| node.members(0) == [1, 2])
        })
        .await;
        assert!(!gone.serves(), "it stopped before its place was given away");
        assert!(silent_from.elapsed() < DETECTION * 4, "{:?}", silent_from.elapsed());
        assert!(nodes.iter().all(FakeNode::serves));
        nodes.push(FakeNode::start(&config, 0, 99, false).await);
        wait_for_status(&config, &mut nodes, |status| {
            status.shards.iter().all(|shard| shard.members.len() == 3 && shard.joining.is_none())
        })
        .await;
        wait_until(&mut nodes, "it serves", |nodes| nodes[2].members(0) == [1, 2, 0] && nodes[2].serves())
            .await;
        coordinator.stop().await;
    });
}

#[test]
fn a_node_that_leaves_is_out_at_once() {
    run(async {
        let folder = Folder::new("leave");
        let mut config = static_config(&folder, false);
        // So long that nothing here can be noticed by it.
        config.detection = PATIENCE * 2;
        let coordinator = Coordinator::start(&config);
        let mut nodes = formed(&config).await;
        let mut leaving = nodes.remove(1);
        let start = Instant::now();
        leaving.membership.take().unwrap().leave().await;
        assert!(start.elapsed() < Duration::from_millis(900), "it was heard: {:?}", start.elapsed());
        assert!(!leaving.serves());
        wait_until(&mut nodes, "the others go on", |nodes| {
            nodes.iter().all(|node| node.members(1) == [2, 0])
        })
        .await;
        coordinator.stop().await;
    });
}

#[test]
fn a_node_serves_only_with_what_it_has_taken_up() {
    run(async {
        let folder = Folder::new("lazy");
        let config = static_config(&folder, false);
        let coordinator = Coordinator::start(&config);
        let mut nodes = three(&config, false).await;
        // The first hears of the chains and does not act on it.
        let mut others = nodes.split_off(1);
        wait_until(&mut others, "the others serve", |nodes| nodes.iter().all(FakeNode::serves)).await;
        sleep(DETECTION).await;
        assert!(!nodes[0].serves());
        wait_until(&mut nodes, "it serves when it has", |nodes| nodes[0].serves()).await;
        coordinator.stop().await;
    });
}

#[test]
fn a_restarted_coordinator_knows_who_was_in_the_chains() {
    run(async {
        let folder = Folder::new("restart");
        let config = static_config(&folder, true);
        let coordinator = Coordinator::start(&config);
        let mut nodes = formed(&config).await;
        coordinator.stop().await;
        assert!(matches!(status(&config).await, Err(CoordinationError::NoAnswer { .. })));
        assert!(nodes.iter().all(|node| !node.serves()), "their places ran out while nobody answered");
        let coordinator = Coordinator::start(&config);
        wait_until(&mut nodes, "they serve again", |nodes| nodes.iter().all(FakeNode::serves)).await;
        let status = status(&config).await.unwrap();
        assert!(status.shards.iter().all(|shard| shard.epoch == 1), "nothing happened meanwhile: {status:?}");
        coordinator.stop().await;
        // All nodes die with the coordinator, and come back with their journals.
        drop(nodes);
        let coordinator = Coordinator::start(&config);
        wait_for_status(&config, &mut [], |status| {
            status.shards.iter().all(|shard| shard.state == ChainState::Down && shard.waits_for.len() == 3)
        })
        .await;
        let mut nodes = vec![FakeNode::start(&config, 2, 77, true).await];
        wait_until(&mut nodes, "it goes on", |nodes| nodes[0].members(0) == [2] && nodes[0].serves()).await;
        assert_eq!(nodes[0].members(1), [2]);
        coordinator.stop().await;
    });
}

#[test]
fn nobody_hears_of_what_could_not_be_written_down() {
    run(async {
        let folder = Folder::new("unwritable");
        let config = static_config(&folder, false);
        let coordinator = Coordinator::start(&config);
        let mut nodes = formed(&config).await;
        std::fs::remove_dir_all(&folder.0).unwrap();
        nodes.remove(0).membership.unwrap().leave().await;
        let error = coordinator.done.await.unwrap().unwrap_err();
        assert!(matches!(error, CoordinationError::StateUnwritable { .. }), "{error}");
        sleep(DETECTION).await;
        nodes.iter_mut().for_each(FakeNode::take_up);
        assert!(nodes.iter().all(|node| node.members(0) == [0, 1, 2] && !node.serves()));
    });
}

#[test]
fn a_state_file_that_is_damaged_or_anothers_is_refused() {
    run(async {
        let folder = Folder::new("corrupt");
        let config = static_config(&folder, false);
        let Coordination::Static { state, .. } = config.coordination.clone() else { unreachable!() };
        let coordinator = Coordinator::start(&config);
        drop(formed(&config).await);
        coordinator.stop().await;
        let good = std::fs::read(&state).unwrap();
        let over = std::future::ready(());
        coordinate(&config, over.clone()).await.unwrap();
        let text = String::from_utf8(good.clone()).unwrap();
        let epoch = text.replace("\"epoch\": 1", "\"epoch\": 3");
        assert_ne!(epoch, text);
        let mut damaged: Vec<Vec<u8>> =
            (0..good.len() - 1).step_by(97).map(|len| good[..len].to_vec()).collect();
        damaged.push(epoch.into_bytes());
        damaged.push(vec![0; good.len()]);
        damaged.push(vec![b' '; 2 << 20]);
        for bytes in damaged {
            std::fs::write(&state, &bytes).unwrap();
            let error = coordinate(&config, over.clone()).await.unwrap_err();
            assert!(matches!(error, CoordinationError::StateCorrupt { .. }), "{error}");
            assert_eq!(std::fs::read(&state).unwrap(), bytes, "it is left for whoever repairs it");
        }
        std::fs::write(&state, &good).unwrap();
        let more = Config { shards: 3, ..config.clone() };
        assert!(coordinate(&more, over.clone()).await.unwrap_err().to_string().contains("2 shards"));
        let other = Config { cluster: "bal".to_owned(), ..config.clone() };
        assert!(coordinate(&other, over.clone()).await.unwrap_err().to_string().contains("lab"));
        std::fs::remove_dir_all(&folder.0).unwrap();
        let error = coordinate(&config, over).await.unwrap_err();
        assert!(matches!(error, CoordinationError::StateUnwritable { .. }), "{error}");
    });
}

#[test]
fn whatever_comes_in_is_counted_and_answers_are_short_and_a_lost_shard_is_reset_once() {
    run(async {
        let folder = Folder::new("noise");
        let config = static_config(&folder, false);
        let Coordination::Static { address, .. } = config.coordination else { unreachable!() };
        let coordinator = Coordinator::start(&config);
        let mut nodes = formed(&config).await;
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let other =
            br#"{"cluster":"bal","message":{"kind":"question","token":1,"ask":"status","padding":""}}"#;
        let short =
            br#"{"cluster":"lab","message":{"kind":"question","token":1,"ask":"status","padding":""}}"#;
        for noise in [&b""[..], b"{", &[0xff; 60_000], &[b'['; 60_000], other, short] {
            socket.send_to(noise, address).await.unwrap();
        }
        let seen = wait_for_status(&config, &mut nodes, |status| status.refused >= 5).await;
        assert_eq!(seen.refused, 5);
        assert!(socket.try_recv(&mut [0; 100]).is_err(), "an answer would be longer than three questions");
        assert!(
            matches!(reset_shard(&config, 0).await, Err(CoordinationError::NotReset { .. })),
            "it serves"
        );
        drop(nodes);
        let lost =
            |status: &CoordinationStatus| status.shards.iter().all(|shard| shard.state == ChainState::Lost);
        let before = wait_for_status(&config, &mut [], lost).await.shards[0].epoch;
        let mut nodes = vec![FakeNode::start(&config, 1, 50, false).await];
        reset_shard(&config, 0).await.unwrap();
        let serves = |status: &CoordinationStatus| status.shards[0].state == ChainState::Serving;
        let after = wait_for_status(&config, &mut nodes, serves).await;
        assert_eq!((after.shards[0].epoch, after.shards[1].state), (before + 2, ChainState::Lost));
        coordinator.stop().await;
    });
}
