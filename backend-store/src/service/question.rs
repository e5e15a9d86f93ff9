//! What an operator asks the worker of a shard, and what it answers. Plain data, which crosses the admin port as JSON.

use std::collections::BTreeMap;
use std::fmt::Debug;

use redplane_protocol::{Node, NodeId, Record, RecordKey, StoreStatistics};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// Questions that wait for one shard, at most. Whoever finds the queue full is told that the shard is silent: a worker
/// that is this far behind has better things to do.
pub const QUESTIONS_MAX: usize = 8;

/// Records in one answer, at most: some hundred kilobytes, and well below a millisecond of a worker's time.
pub const RECORDS_PAGE_MAX: usize = 1000;

/// Records that are looked at for one answer: a millisecond or so.
pub const PLACES_PAGE_MAX: usize = 16_384;

/// A question to the worker of a shard. Whoever asked may have gone: an answer that nobody takes is dropped.
#[derive(Debug)]
pub enum Question {
    /// How is it?
    Status(oneshot::Sender<ShardStatus>),
    /// Which records are there?
    Records {
        /// Number of the app whose records are asked for.
        app: u16,
        /// From where on: zero, or the `next` of the page before.
        from: usize,
        /// How many, at most [`RECORDS_PAGE_MAX`].
        limit: usize,
        /// Takes the answer.
        answer: oneshot::Sender<RecordsPage>,
    },
}

/// Place of this node in the chain of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardRole {
    /// Takes the requests.
    Head,
    /// Neither first nor last.
    Middle,
    /// Sends the answers.
    Tail,
    /// Head and tail in one.
    Alone,
    /// Sends the answers, and is still being sent its copy.
    Joining,
    /// In no chain of this shard.
    Outside,
}

impl ShardRole {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Head, Self::Middle, Self::Tail, Self::Alone, Self::Joining, Self::Outside];

    /// Its name, as in JSON and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Middle => "middle",
            Self::Tail => "tail",
            Self::Alone => "alone",
            Self::Joining => "joining",
            Self::Outside => "outside",
        }
    }

    fn of(node: &Node) -> Self {
        let configuration = node.configuration();
        let id = Some(node.id());
        match (configuration.head() == id, configuration.tail() == id) {
            (true, true) => Self::Alone,
            (true, false) => Self::Head,
            _ if configuration.joining == id && !node.is_complete() => Self::Joining,
            (false, true) => Self::Tail,
            _ if configuration.members.contains(&node.id()) => Self::Middle,
            _ => Self::Outside,
        }
    }
}

/// One node's replica of one shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Which shard.
    pub shard: u16,
    /// Epoch of its configuration; zero before the first.
    pub epoch: u64,
    /// Its place.
    pub role: ShardRole,
    /// Numbers of the chain's nodes, head first.
    pub members: Vec<u16>,
    /// The member that has no full copy yet, as far as this node knows: it and the node before it do.
    pub joining: Option<u16>,
    /// Whether it sends a joining successor its copy.
    pub copying: bool,
    /// Whether it may serve now: its place was not given away.
    pub serving: bool,
    /// What the protocol counts.
    pub protocol: ProtocolCounts,
    /// What crossed its sockets.
    pub network: NetworkCounts,
    /// Its journal, if it has one.
    pub journal: Option<JournalCounts>,
}

impl ShardStatus {
    /// What a replica says of itself. The network and the journal are the caller's to add.
    #[must_use]
    pub fn of(shard: u16, node: &Node, serving: bool) -> Self {
        let configuration = node.configuration();
        Self {
            shard,
            epoch: configuration.epoch,
            role: ShardRole::of(node),
            members: configuration.members.iter().map(|node| node.0).collect(),
            joining: configuration
                .joining
                .filter(|joining| is_behind(node, *joining))
                .map(|NodeId(node)| node),
            copying: node.is_copying(),
            serving,
            protocol: ProtocolCounts::from(&node.statistics()),
            network: NetworkCounts::default(),
            journal: None,
        }
    }
}

/// Whether a joining node has no full copy yet, as far as this node knows.
fn is_behind(node: &Node, joining: NodeId) -> bool {
    if joining == node.id() { !node.is_complete() } else { node.is_copying() }
}

/// [`StoreStatistics`] under the names that operators see.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ProtocolCounts {
    /// Legal requests taken, by kind.
    pub requests: BTreeMap<String, u64>,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Refusals answered, by reason.
    pub nacks: BTreeMap<String, u64>,
    /// Refusals of the apps' `on_create`, by their word.
    pub refusals: BTreeMap<String, u64>,
    /// Leases granted, repeated ones too.
    pub grants: u64,
    /// Leases granted under a new generation.
    pub generations: u64,
    /// Writes, reads and renewals acknowledged.
    pub acks: u64,
    /// Recalls sent, repeated ones too.
    pub recalls: u64,
    /// Requests passed on to the head.
    pub forwarded: u64,
    /// Creations put off because there were too many at once.
    pub creations_metered: u64,
    /// Creations put off because the shard is full.
    pub creations_full: u64,
    /// Records made, companions too.
    pub created: u64,
    /// Records deleted because idle, companions too.
    pub deleted: u64,
    /// Records held now, without tombstones.
    pub records: u64,
    /// Tombstones held now.
    pub tombstones: u64,
    /// Requests waiting now.
    pub queued: u64,
}

impl From<&StoreStatistics> for ProtocolCounts {
    fn from(statistics: &StoreStatistics) -> Self {
        let drops = statistics.dropped.iter().map(|(reason, count)| (reason.name().to_owned(), *count));
        let refusals = statistics.refusals.iter().map(|(word, count)| ((*word).to_owned(), *count));
        Self {
            requests: named(&statistics.requests),
            dropped: drops.collect(),
            nacks: named(&statistics.nacks),
            refusals: refusals.collect(),
            grants: statistics.grants,
            generations: statistics.generations,
            acks: statistics.acks,
            recalls: statistics.recalls,
            forwarded: statistics.forwarded,
            creations_metered: statistics.creations_metered,
            creations_full: statistics.creations_full,
            created: statistics.created,
            deleted: statistics.deleted,
            records: statistics.records as u64,
            tombstones: statistics.tombstones as u64,
            queued: statistics.queued as u64,
        }
    }
}

/// Counters by the names of variants, in snake_case.
fn named<K: Debug>(counts: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    let name = |key: &K| {
        let mut name = String::new();
        for letter in format!("{key:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    };
    counts.iter().map(|(key, count)| (name(key), *count)).collect()
}

/// What crossed the sockets of one shard of one node, since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NetworkCounts {
    /// Datagrams that came.
    pub received_datagrams: u64,
    /// Bytes in them.
    pub received_bytes: u64,
    /// System calls that brought them.
    pub receive_calls: u64,
    /// Datagrams that left.
    pub sent_datagrams: u64,
    /// Bytes in them.
    pub sent_bytes: u64,
    /// System calls that took them.
    pub send_calls: u64,
    /// Datagrams that the system did not take.
    pub send_failures: u64,
    /// Datagrams that were kept from the protocol, by reason: unknown senders, wrong codes, no place in the cluster.
    pub gate_drops: BTreeMap<String, u64>,
}

/// What the journal of one shard did since the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct JournalCounts {
    /// Changes written.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Times that it was waited for the disk: a group commit each.
    pub commits: u64,
    /// Batches that wait to be written now.
    pub queued_batches: u64,
}

/// A page of the records of one app in one shard, in no order that means anything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecordsPage {
    /// The records. May be none though there are more.
    pub records: Vec<(RecordKey, Record)>,
    /// Where the next page begins, if there may be more.
    pub next: Option<usize>,
}

impl RecordsPage {
    /// The first `limit` records of an app from a place on, of at most [`PLACES_PAGE_MAX`] that are looked at. A record
    /// that stays while page after page is read is in exactly one of them.
    pub fn of(node: &Node, app: u16, from: usize, limit: usize) -> Self {
        let limit = limit.clamp(1, RECORDS_PAGE_MAX);
        let mut page = Self::default();
        for (next, key, record) in node.records_from(from) {
            if key.app() == app {
                page.records.push((*key, record.clone()));
            }
            if page.records.len() == limit || next >= from.saturating_add(PLACES_PAGE_MAX) {
                page.next = Some(next);
                break;
            }
        }
        page
    }
}

/// A node, as its admin port shows it under `/status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its cluster.
    pub cluster: String,
    /// Its number.
    pub node: u16,
    /// Version of the program.
    pub version: String,
    /// Seconds since it started.
    pub uptime_seconds: u64,
    /// Whether it has its place in the cluster.
    pub ready: bool,
    /// Its replicas.
    pub shards: Vec<ShardStatus>,
    /// Shards whose worker did not answer within a second.
    pub silent: Vec<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use redplane_protocol::{Configuration, Kind, Lease, NackReason, Shard, StoreDrop, Time};

    #[test]
    fn counters_have_names() {
        let statistics = StoreStatistics {
            requests: [(Kind::Lease, 5)].into(),
            dropped: [(StoreDrop::UnknownApp, 1)].into(),
            nacks: [(NackReason::Stale, 2)].into(),
            refusals: [("exhausted", 3)].into(),
            records: 7,
            ..StoreStatistics::default()
        };
        let counts = ProtocolCounts::from(&statistics);
        assert_eq!((counts.requests["lease"], counts.dropped["unknown_app"]), (5, 1));
        assert_eq!((counts.nacks["stale"], counts.refusals["exhausted"], counts.records), (2, 3, 7));
    }

    #[test]
    fn a_replica_says_its_place() {
        let mut node = Node::new(NodeId(2), Shard { index: 0, count: 1 }, Lease::default(), Vec::new());
        assert_eq!(ShardStatus::of(0, &node, false).role, ShardRole::Outside);
        let chains: [(&[u16], Option<u16>, ShardRole); 5] = [
            (&[2], None, ShardRole::Alone),
            (&[2, 1], None, ShardRole::Head),
            (&[1, 2, 3], None, ShardRole::Middle),
            (&[1, 2], None, ShardRole::Tail),
            (&[1, 2], Some(2), ShardRole::Joining),
        ];
        for (epoch, (members, joining, role)) in (1..).zip(chains) {
            let members: Vec<NodeId> = members.iter().copied().map(NodeId).collect();
            node.reconfigure(Configuration { epoch, members, joining: joining.map(NodeId) }, Time::ZERO);
            let status = ShardStatus::of(0, &node, true);
            assert_eq!((status.role, status.epoch, status.joining), (role, epoch, joining));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }
}
