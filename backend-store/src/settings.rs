//! What an operator chooses.

use std::time::Duration;

use redplane_protocol::{Creator, Lease};

/// Makes a [`Creator`]: called once per node and shard, and again for each node that joins.
pub type AppFactory = Box<dyn Fn() -> Box<dyn Creator> + Send>;

/// Most nodes at the start. A chain that long would be slower than any failure it could survive is likely.
pub const NODES_MAX: u16 = 16;

/// Most shards. Each node keeps a replica of each.
pub const SHARDS_MAX: u16 = 256;

/// Who carries messages from node to node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The store itself, without loss, each after this delay.
    Internal(Duration),
    /// The caller: messages between nodes come out of
    /// [`poll_transmit`](crate::EmbeddedStore::poll_transmit) too, and go back in through
    /// [`handle_chain`](crate::EmbeddedStore::handle_chain). It may delay, lose, duplicate and reorder them.
    Caller,
}

/// What an operator chooses about an [`EmbeddedStore`](crate::EmbeddedStore).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// Nodes at the start, numbered from zero. Every shard has a replica at each: state survives the loss of all but
    /// one. Three by default, as in the paper (section 5.1.1).
    pub nodes: u16,
    /// Shards, by a hash of the key. Each has its own chain, and the heads are spread over the nodes. One by default.
    pub shards: u16,
    /// For how long a switch may act on a key.
    pub lease: Lease,
    /// How long after a node's death the coordinator notices and makes a new configuration.
    pub detection: Duration,
    /// Who carries messages from node to node.
    pub delivery: Delivery,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            nodes: 3,
            shards: 1,
            lease: Lease::default(),
            // Some missed heartbeats of 10 ms: how fast a coordinator in the same data centre can be sure.
            detection: Duration::from_millis(50),
            // Half of a round trip within a rack.
            delivery: Delivery::Internal(Duration::from_micros(10)),
        }
    }
}

/// Why settings cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No nodes, or too many.
    #[error("{nodes} nodes, not 1 to {NODES_MAX}")]
    Nodes {
        /// What was asked for.
        nodes: u16,
    },
    /// No shards, or too many.
    #[error("{shards} shards, not 1 to {SHARDS_MAX}")]
    Shards {
        /// What was asked for.
        shards: u16,
    },
}

impl StoreSettings {
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if !(1..=NODES_MAX).contains(&self.nodes) {
            return Err(SettingsError::Nodes { nodes: self.nodes });
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(SettingsError::Shards { shards: self.shards });
        }
        Ok(())
    }
}
