//! What the coordination says of itself.

use serde::{Deserialize, Serialize};

use crate::ChainState;

/// Who is alive and who is in which chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinationStatus {
    /// The cluster's name.
    pub cluster: String,
    /// All nodes of the cluster, by number.
    pub nodes: Vec<NodeStatus>,
    /// All shards, by number.
    pub shards: Vec<ShardStatus>,
    /// Datagrams that were no message, or of another cluster, since the coordinator started. Zero with etcd.
    pub refused: u64,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub node: u16,
    /// Whether it gave a sign of life within the detection time.
    pub alive: bool,
    /// Which life it is; `None` if it is not alive.
    pub incarnation: Option<u64>,
    /// Milliseconds since its last sign of life; `None` if it is not alive, or with etcd.
    pub quiet_ms: Option<u64>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// What its chain can do.
    pub state: ChainState,
    /// Number of its configuration; zero if it never had one.
    pub epoch: u64,
    /// Its members, head first.
    pub members: Vec<u16>,
    /// The member that is being brought up to date and does not count yet.
    pub joining: Option<u16>,
    /// Of a chain that is down or lost: the nodes with one of which it goes on, if that comes back with all it had.
    pub waits_for: Vec<u16>,
}
