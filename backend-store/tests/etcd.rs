//! The same over a real etcd.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use backend_store::ChainState;
use backend_store::service::config::{Config, Coordination};
use backend_store::service::coordination::{CoordinationError, reset_shard, status};
use tokio::time::sleep;

use crate::coordination::{FakeNode, Folder, PATIENCE, config, run, wait_for_status, wait_until};

/// With an election timeout of 100 ms etcd gives leases of a second.
const ELECTION_MS: &str = "100";
const HEARTBEAT_MS: &str = "20";
const LEASE: Duration = Duration::from_secs(1);

/// One etcd with an empty folder, that ends with this.
struct Etcd {
    process: Child,
    endpoint: String,
    _folder: Folder,
}

impl Etcd {
    /// `None`, and says so, if there is no etcd here.
    fn start(name: &str) -> Option<Self> {
        if Command::new("etcd").arg("--version").output().is_err() {
            // Not by `println!`: the harness shows that of failed tests only.
            writeln!(std::io::stderr(), "SKIPPED: etcd not found").expect("there is somewhere to say it");
            return None;
        }
        let folder = Folder::new(name);
        let [endpoint, peer] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
        let process = Command::new("etcd")
            .args(["--name", "only", "--log-level", "error", "--data-dir"])
            .arg(folder.0.join("data"))
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("only={peer}")])
            .args(["--election-timeout", ELECTION_MS, "--heartbeat-interval", HEARTBEAT_MS])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, endpoint, _folder: folder })
    }

    fn config(&self, durable: bool) -> Config {
        config(Coordination::Etcd { endpoints: vec![self.endpoint.clone()] }, LEASE, durable)
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn formed(config: &Config) -> Vec<FakeNode> {
    let mut nodes = Vec::new();
    for node in 0..3 {
        nodes.push(FakeNode::start(config, node, u64::from(node) + 10, false).await);
    }
    wait_until(&mut nodes, "all in both chains, and serving", |nodes| {
        nodes.iter().all(|node| node.members(0).len() == 3 && node.members(1).len() == 3 && node.serves())
    })
    .await;
    wait_for_status(config, &mut nodes, |status| status.shards.iter().all(|shard| shard.joining.is_none()))
        .await;
    nodes
}

fn sorted(mut members: Vec<u16>) -> Vec<u16> {
    members.sort_unstable();
    members
}

#[test]
fn a_silent_node_stops_serving_before_the_others_go_on_and_comes_back_as_new() {
    let Some(etcd) = Etcd::start("etcd-silent") else { return };
    run(async {
        let config = etcd.config(false);
        let mut nodes = formed(&config).await;
        let mut gone = nodes.remove(0);
        let start = Instant::now();
        drop(gone.membership.take());
        let are_two = |nodes: &[FakeNode]| nodes.iter().all(|node| sorted(node.members(0)) == [1, 2]);
        wait_until(&mut nodes, "the others go on", are_two).await;
        assert!(!gone.serves(), "it stopped before its place was given away");
        assert!(start.elapsed() < LEASE * 4, "{:?}", start.elapsed());
        assert!(nodes.iter().all(FakeNode::serves));
        nodes.push(FakeNode::start(&config, 0, 99, false).await);
        wait_until(&mut nodes, "it is the tail", |nodes| {
            nodes[2].members(0).last() == Some(&0) && nodes[2].serves()
        })
        .await;
        wait_for_status(&config, &mut nodes, |status| {
            status.shards.iter().all(|shard| shard.joining.is_none())
        })
        .await;
        let leaving = nodes.remove(0);
        let start = Instant::now();
        leaving.membership.unwrap().leave().await;
        assert!(!leaving.place.serves_at(leaving.place.clock().now()));
        wait_until(&mut nodes, "a planned leave", |nodes| sorted(nodes[0].members(1)) == [0, 2]).await;
        assert!(start.elapsed() < LEASE / 2, "at once: {:?}", start.elapsed());
    });
}

#[test]
fn nobody_serves_without_etcd_and_nobody_is_dead_because_it_stood_still() {
    let Some(etcd) = Etcd::start("etcd-paused") else { return };
    run(async {
        let config = etcd.config(false);
        let mut nodes = formed(&config).await;
        let before = status(&config).await.unwrap();
        etcd.signal("STOP");
        let start = Instant::now();
        wait_until(&mut nodes, "all stop", |nodes| nodes.iter().all(|node| !node.serves())).await;
        assert!(start.elapsed() <= LEASE, "{:?}", start.elapsed());
        assert!(matches!(status(&config).await, Err(CoordinationError::Etcd { .. })));
        sleep(LEASE * 2).await;
        etcd.signal("CONT");
        wait_until(&mut nodes, "all serve", |nodes| nodes.iter().all(FakeNode::serves)).await;
        sleep(LEASE * 2).await;
        nodes.iter_mut().for_each(FakeNode::take_up);
        let after = status(&config).await.unwrap();
        assert_eq!(after.shards, before.shards);
    });
}

#[test]
fn another_process_of_a_node_takes_its_place_and_the_former_one_stops() {
    let Some(etcd) = Etcd::start("etcd-former") else { return };
    run(async {
        let config = etcd.config(false);
        let mut nodes = formed(&config).await;
        let former = nodes.remove(1);
        nodes.push(FakeNode::start(&config, 1, 500, false).await);
        wait_until(&mut nodes, "it joined", |nodes| {
            nodes[2].members(0).last() == Some(&1) && nodes[2].serves()
        })
        .await;
        let start = Instant::now();
        while former.serves() {
            assert!(start.elapsed() < PATIENCE);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(LEASE).await;
        assert!(!former.serves());
        let lives = status(&config).await.unwrap().nodes;
        assert_eq!(lives[1].incarnation, Some(500));
    });
}

#[test]
fn all_nodes_restart_from_their_journals_or_are_reset() {
    let Some(etcd) = Etcd::start("etcd-all") else { return };
    run(async {
        let config = etcd.config(true);
        let nodes = formed(&config).await;
        drop(nodes);
        // One comes back while the leases of the others still run, with its journal: it waits, and then goes on alone.
        let mut nodes = vec![FakeNode::start(&config, 1, 50, true).await];
        wait_until(&mut nodes, "it goes on", |nodes| {
            nodes[0].members(0) == [1] && nodes[0].members(1) == [1] && nodes[0].serves()
        })
        .await;
        assert!(
            matches!(reset_shard(&config, 0).await, Err(CoordinationError::NotReset { .. })),
            "it serves"
        );
        drop(nodes);
        let mut nodes = vec![FakeNode::start(&config, 0, 60, false).await];
        let down = wait_for_status(&config, &mut nodes, |status| {
            status.shards.iter().all(|shard| shard.state == ChainState::Down)
        })
        .await;
        assert_eq!(down.shards[0].waits_for, [1]);
        reset_shard(&config, 0).await.unwrap();
        let after =
            wait_for_status(&config, &mut nodes, |status| status.shards[0].state == ChainState::Serving)
                .await;
        assert_eq!((after.shards[0].members.clone(), after.shards[1].state), (vec![0], ChainState::Down));
        assert_eq!(after.shards[0].epoch, down.shards[0].epoch + 2);
        nodes.push(FakeNode::start(&config, 1, 70, true).await);
        wait_until(&mut nodes, "the other goes on", |nodes| nodes[1].members(1).first() == Some(&1)).await;
    });
}
