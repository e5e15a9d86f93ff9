//! What an operator writes into the TOML file of a cluster.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use redplane_protocol::mac::MacKeys;
use redplane_protocol::{Lease, NodeId};

mod apps;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mistake;
mod nodes;
mod read;
mod table;
#[cfg(test)]
mod tests;

pub use mistake::{ConfigError, Mistake, without_keys};
pub use read::{CONFIG_BYTES_MAX, RECORDS_PER_SHARD_DEFAULT, THREADS_MAX};

/// A cluster, as all of its nodes and its coordinator know it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name: journals and messages of another cluster are refused.
    pub cluster: String,
    /// How many shards there are.
    pub shards: u16,
    /// For how long a switch may act on a key.
    pub lease: Lease,
    /// Who decides which nodes form a chain.
    pub coordination: Coordination,
    /// How long after its last sign of life a node is dead.
    pub detection: Duration,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, NodeAddresses>,
    /// Threads that serve shards, in one node.
    pub threads: usize,
    /// Whether runs of equally long datagrams leave as one send that the kernel or the network card segments.
    pub gso: bool,
    /// The journal, if there is one.
    pub durability: Option<Durability>,
    /// The apps whose state is kept.
    pub apps: Vec<AppConfig>,
    /// Most records that a shard takes in.
    pub records_per_shard: usize,
    /// The switches that are served, by number. Empty only with authentication.
    pub switches: BTreeMap<u16, SwitchAddress>,
    /// Keys of the message authentication code, 16 bytes each, the first of which signs. Empty: none.
    pub authentication: Vec<[u8; 16]>,
}

impl Config {
    /// The keys of the message authentication code, if there are any.
    #[must_use]
    pub fn mac_keys(&self) -> Option<MacKeys> {
        let (signing, others) = self.authentication.split_first()?;
        Some(MacKeys::new(*signing, others.first().copied()))
    }
}

/// Who decides which nodes form a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordination {
    /// `redplane-store coordinate`, one process.
    Static {
        /// Where it listens (UDP).
        address: SocketAddrV4,
        /// Where it keeps the chains across its own restart.
        state: PathBuf,
    },
    /// etcd.
    Etcd {
        /// Its client addresses.
        endpoints: Vec<String>,
    },
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddresses {
    /// For switches, one address a shard.
    pub requests: Vec<SocketAddrV4>,
    /// For the other nodes, one address a shard.
    pub chain: Vec<SocketAddrV4>,
    /// For the operator.
    pub admin: Option<SocketAddr>,
}

/// Where the journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// Folder; node `n` writes into `node-n` in it.
    pub path: PathBuf,
    /// The shards that are written.
    pub shards: Vec<u16>,
}

/// One app.
#[derive(Clone, Debug, PartialEq)]
pub struct AppConfig {
    /// Its schemas as `cargo build` emitted them, the newest last.
    pub schemas: Vec<PathBuf>,
    /// Idle time, instead of the schema's.
    pub idle: Option<Duration>,
    /// How many new keys are let in.
    pub admission: Option<Admission>,
}

/// How many new keys are let in, per second; as many at once after a quiet second.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// From one switch.
    pub per_switch: u32,
    /// With one prefix of the key.
    pub per_prefix: Option<PrefixAdmission>,
}

/// Admission by a prefix of the key.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixAdmission {
    /// New keys per second.
    pub rate: u32,
    /// Field of the key whose first bits count.
    pub field: String,
    /// How many bits.
    pub bits: u16,
}

/// From where a switch sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchAddress {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its port, if only one is right.
    pub port: Option<u16>,
}
