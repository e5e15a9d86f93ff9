//! Who is in which chain: what a node tells, and what it is told.
//!
//! A node tells whoever coordinates, by [`Membership`], that it is alive and how far each of its shards is, and hears who
//! is in each chain. There are two kinds: [`coordinate`], one process that all nodes send heartbeats to, and etcd, where
//! each node holds a lease and whichever node notices something first writes the new chain. Both decide by the same rules.
//!
//! # Safety
//!
//! Two fences keep a node that was taken for dead from doing harm.
//!
//! - *Epochs.* Every chain message bears the epoch of its sender's configuration, and a node refuses others'. Nothing is
//!   answered before it went through the whole chain, so who is out of the chain gets nothing acknowledged. No clock is
//!   involved: this holds even if a process is stopped (SIGSTOP, a paused machine) between looking at the clock and
//!   sending, and goes on an hour later.
//! - The [`Place`]. A node may serve only for the detection time, shortened by the drift margin, from the *sending* of the
//!   last heartbeat that was answered; whoever coordinates counts the detection time from its *receipt*. So a node that is
//!   cut off stops before its place is given away, and does not go on to take packets that will never be answered. This
//!   fence leans on clocks that run at the same speed within the margin.
//!
//! A node that lives but is out of its peers' reach is taken out on what all replicas say they hear; its place may not be over
//! then, and the epochs alone keep it from doing harm. A node that gets no answers gives its place up by itself and says so.
//!
//! A node's place is extended only by an answer of which the node had already taken up every configuration when it asked.
//! A node that was cut off therefore never serves by what it knew before: it hears first, forgets what it must, and then
//! serves again.

mod client;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod place;
mod roster;
mod server;
mod session;
mod state;
mod status;
mod table;
mod wire;

use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redplane_protocol::{Configuration, NodeId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

pub use place::Place;
pub use server::coordinate;
pub use session::HEARTBEAT_MIN;
pub use status::{CoordinationStatus, NodeStatus, ShardStatus};

use session::Session;

use super::config::{Config, Coordination};

/// For how long a node that leaves waits for whoever coordinates to say that it heard. Then it leaves all the same, and is
/// noticed like a dead one.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// What a node tells of one shard with each heartbeat. It takes no part in a shard of which it tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReport {
    /// Which shard.
    pub shard: u16,
    /// Epoch of the configuration that its replica works under; zero if it heard of none.
    pub epoch: u64,
    /// It has no copy under way to a joining successor at this epoch.
    pub copied: bool,
    /// This process started with the shard's records of its journal, complete, and has not joined as new since. An empty
    /// journal of a shard without records is complete too.
    pub restored: bool,
    /// The journal with which this process started held records, or a generation: the shard has a history. Where nothing
    /// is known of it, because the coordinator's own state is gone, no chain is formed, and nothing is thrown away.
    pub inherited: bool,
    /// The other nodes that its replica does not hear: bit *n* is the *n*-th of all nodes, in the order of their numbers.
    /// Two nodes of which one does not hear the other cannot be in one chain.
    #[serde(default)]
    pub silent: u16,
}

/// What a node hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipEvent {
    /// Who is in a chain from now on. It has a later epoch than the last one of the shard. A replica that is not in it
    /// forgets everything ([`Node::reconfigure`](redplane_protocol::Node::reconfigure) does).
    Configured {
        /// Which shard.
        shard: u16,
        /// Its chain.
        configuration: Configuration,
    },
}

/// A node's side of the coordination.
///
/// It runs on a thread of its own, so that load on shards never delays a heartbeat. If it is dropped without
/// [`leave`](Self::leave), or the other end of `reports` or `events` is, the node falls silent, as if it had died.
#[derive(Debug)]
pub struct Membership {
    leave: mpsc::Sender<oneshot::Sender<()>>,
    place: Arc<Place>,
}

impl Membership {
    /// Begins to tell that `node` is alive, in a life that `incarnation` names: no two lives of a node may have the same.
    ///
    /// `reports` is what is told of the shards: each change is told at once. `events` gets each configuration; if it is
    /// full, only the newest of each shard is kept until there is room. `place` is extended as long as the node counts as
    /// alive. Whoever coordinates need not be there yet.
    ///
    /// # Errors
    /// If the configuration has no such node, no socket or thread can be had, or etcd is asked for and not built in.
    pub async fn start(
        config: &Config,
        node: NodeId,
        incarnation: u64,
        reports: watch::Receiver<Vec<ShardReport>>,
        events: mpsc::Sender<MembershipEvent>,
        place: Arc<Place>,
    ) -> Result<Self, CoordinationError> {
        if !config.nodes.contains_key(&node) {
            return Err(CoordinationError::UnknownNode { node, count: config.nodes.len() });
        }
        let (leave, leaves) = mpsc::channel(1);
        let session = Session::new(config, node, incarnation, reports, events, Arc::clone(&place), leaves);
        match &config.coordination {
            Coordination::Static { address, .. } => client::start(session, *address).await?,
            #[cfg(feature = "etcd")]
            Coordination::Etcd { endpoints } => etcd::start(session, endpoints.clone())?,
            #[cfg(not(feature = "etcd"))]
            Coordination::Etcd { .. } => return Err(CoordinationError::NoEtcd),
        }
        Ok(Self { leave, place })
    }

    /// Gives the place back: the chains go on without the node as soon as this is heard, not after the detection time.
    /// Waits for that, a second at most. Until then the node serves, so that what is under way in its chains arrives; then
    /// it does not any more.
    pub async fn leave(self) {
        let (done, is_done) = oneshot::channel();
        if self.leave.send(done).await.is_ok() {
            // Either it was heard, or the thread is gone, or nobody is there to hear: the node is leaving anyway.
            let _ = tokio::time::timeout(LEAVE_WAIT, is_done).await;
        }
        self.place.end();
    }
}

/// Who is alive and in which chain.
///
/// # Errors
/// If whoever coordinates does not answer.
pub async fn status(config: &Config) -> Result<CoordinationStatus, CoordinationError> {
    match &config.coordination {
        Coordination::Static { address, .. } => client::status(config, *address).await,
        #[cfg(feature = "etcd")]
        Coordination::Etcd { endpoints } => etcd::status(config, endpoints).await,
        #[cfg(not(feature = "etcd"))]
        Coordination::Etcd { .. } => Err(CoordinationError::NoEtcd),
    }
}

/// An operator gives up what a shard had that is down, lost, or without a known history: it begins anew, with no records,
/// from the nodes that are alive. Their journals of it are emptied.
///
/// # Errors
/// If the shard is serving, there is no such shard, or whoever coordinates does not answer.
pub async fn reset_shard(config: &Config, shard: u16) -> Result<(), CoordinationError> {
    match &config.coordination {
        Coordination::Static { address, .. } => client::reset_shard(config, *address, shard).await,
        #[cfg(feature = "etcd")]
        Coordination::Etcd { endpoints } => etcd::reset_shard(config, endpoints, shard).await,
        #[cfg(not(feature = "etcd"))]
        Coordination::Etcd { .. } => Err(CoordinationError::NoEtcd),
    }
}

/// Why there is no coordination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoordinationError {
    /// The configuration lists no such node.
    #[error(
        "the configuration has no {node} among its {count}; add a [[node]] with this id or start with another --node"
    )]
    UnknownNode {
        /// The node.
        node: NodeId,
        /// How many it has.
        count: usize,
    },
    /// A coordinator process is for `kind = "static"`.
    #[error(
        "the configuration leaves coordination to etcd; `coordinate` is only for [coordination] kind = \"static\""
    )]
    NotStatic,
    /// This program was built without etcd.
    #[error(
        "this program was built without etcd; build it with `--features etcd` or choose [coordination] kind = \"static\""
    )]
    NoEtcd,
    /// The coordinator cannot listen, or a node or operator cannot open a socket towards it.
    #[error("cannot open a UDP socket for the coordination at {address}: {source}")]
    Socket {
        /// Where the coordinator listens.
        address: SocketAddrV4,
        /// Why.
        source: io::Error,
    },
    /// The thread that tells that the node is alive cannot run.
    #[error("cannot start the thread for the coordination: {source}")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// The coordinator's state is there and cannot be read.
    #[error("cannot read the coordinator's state {}: {source}", path.display())]
    StateUnreadable {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The coordinator's state cannot be kept. Nobody was told what is not kept.
    #[error(
        "cannot write the coordinator's state {}: {source}; make room or name another file in [coordination] state",
        path.display()
    )]
    StateUnwritable {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The coordinator's state is not what the coordinator writes, or not this cluster's.
    #[error(
        "the coordinator's state {} is unusable: {why}; bring back a copy of its last version, or, if every node is stopped \
         and no journal is needed, remove it",
        path.display()
    )]
    StateCorrupt {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Nobody answers.
    #[error(
        "no answer from the coordinator at {address} within {waited:?}; is `redplane-store coordinate` running, \
         for the same cluster?"
    )]
    NoAnswer {
        /// Where it should be.
        address: SocketAddrV4,
        /// For how long it was asked.
        waited: Duration,
    },
    /// A shard was not reset.
    #[error("not reset: {why}")]
    NotReset {
        /// Why not.
        why: String,
    },
    /// etcd does not do what it is asked for.
    #[cfg(feature = "etcd")]
    #[error(
        "etcd at {endpoints} failed to {doing}: {source}; check [coordination] endpoints and `etcdctl endpoint health`"
    )]
    Etcd {
        /// Where it should be.
        endpoints: String,
        /// What was asked for.
        doing: &'static str,
        /// Why.
        source: Box<etcd_client::Error>,
    },
    /// What is in etcd is not what a node of this cluster writes.
    #[cfg(feature = "etcd")]
    #[error(
        "the key {key} in etcd is unusable: {why}; if every node is stopped and no journal is needed, remove it"
    )]
    EtcdCorrupt {
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
}
