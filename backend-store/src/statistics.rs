//! What the embedded store counts.

use redplane_protocol::StoreStatistics;

/// Counters since the store started, and what it holds now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EmbeddedStatistics {
    /// Sum over all nodes, dead ones too. `records`, `tombstones` and `queued` are those of the heads, so that replicas
    /// do not count twice.
    pub protocol: StoreStatistics,
    /// Nodes alive now.
    pub nodes_alive: usize,
    /// Configurations made since the start, over all shards.
    pub configurations: u64,
    /// Times that a shard got another head.
    pub promotions: u64,
    /// Copies for joining nodes that were completed, over all shards.
    pub copies_completed: u64,
    /// Shards that lost all full copies, and do not serve any more.
    pub shards_lost: usize,
    /// Datagrams for nodes that were dead.
    pub undeliverable: u64,
}
