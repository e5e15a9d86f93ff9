//! Datagrams between nodes, coordinator and operator: JSON, one message each.

use redplane_protocol::mac::{Link, MacError, MacKeys};
use redplane_protocol::{Configuration, NodeId};
use serde::{Deserialize, Serialize};

use super::ShardReport;
use super::status::CoordinationStatus;
use super::table::Standing;
use crate::service::config::Config;
use crate::{NODES_MAX, SHARDS_MAX};

/// Longest datagram. Safely within the 65,507 bytes that UDP can carry.
pub(crate) const DATAGRAM_LEN_MAX: usize = 60_000;

/// An answer is at most so many times as long as what it answers, as in QUIC (RFC 9000, section 8): who forges the sender
/// of a message gains next to nothing.
pub(crate) const ANSWER_FACTOR: usize = 3;

/// What an answer takes for its frame, for a shard, and for a node of a shard: a third of it is what the question is
/// padded to.
const FRAME_LEN: usize = 320;
const SHARD_LEN: usize = 128;
const MEMBER_LEN: usize = 6;

/// Padding of a question whose answer speaks of `shards` shards with `nodes` nodes each.
pub(crate) fn padding(shards: u16, nodes: usize) -> String {
    // The members, or whom it waits for: never both.
    let longest = FRAME_LEN + nodes * SHARD_LEN + usize::from(shards) * (SHARD_LEN + nodes * MEMBER_LEN);
    " ".repeat(longest.div_ceil(ANSWER_FACTOR))
}

const _: () = assert!(
    FRAME_LEN
        + NODES_MAX as usize * SHARD_LEN
        + SHARDS_MAX as usize * (SHARD_LEN + NODES_MAX as usize * MEMBER_LEN)
        <= DATAGRAM_LEN_MAX,
    "the longest answer fits"
);

/// A message, and which cluster it is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) cluster: String,
    pub(crate) message: Message,
}

/// What is said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message {
    /// From a node: it is alive.
    Heartbeat(Heartbeat),
    /// To a node.
    Answer(Answer),
    /// From an operator.
    Question { token: u64, ask: Ask, padding: String },
    /// To an operator.
    Status { token: u64, status: CoordinationStatus },
    /// To an operator: whether the shard was reset, or why not.
    Reset { token: u64, refused: Option<String> },
}

/// A node's sign of life.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    pub(crate) node: u16,
    pub(crate) incarnation: u64,
    /// Comes back in the answer.
    pub(crate) sequence: u64,
    /// It gives its place back.
    pub(crate) leaves: bool,
    /// It has heard no answer for so long that it stopped serving, and takes no answer to what it said before as leave to
    /// serve, nor one to this.
    #[serde(default)]
    pub(crate) yields: bool,
    pub(crate) reports: Vec<ShardReport>,
    pub(crate) padding: String,
}

/// What a node hears.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) node: u16,
    pub(crate) incarnation: u64,
    /// Of the heartbeat that this answers; `None` if it answers none, and comes because something has changed.
    pub(crate) sequence: Option<u64>,
    pub(crate) standing: Standing,
    pub(crate) configurations: Vec<ShardConfiguration>,
}

/// What an operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Status,
    Reset { shard: u16 },
}

/// A [`Configuration`] of one shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct ShardConfiguration {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) members: Vec<u16>,
    pub(crate) joining: Option<u16>,
}

impl ShardConfiguration {
    pub(crate) fn new(shard: u16, configuration: &Configuration) -> Self {
        Self {
            shard,
            epoch: configuration.epoch,
            members: configuration.members.iter().map(|node| node.0).collect(),
            joining: configuration.joining.map(|node| node.0),
        }
    }

    pub(crate) fn to_configuration(&self) -> Configuration {
        Configuration {
            epoch: self.epoch,
            members: self.members.iter().copied().map(NodeId).collect(),
            joining: self.joining.map(NodeId),
        }
    }
}

/// Why a datagram is not heard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    #[error("{len} bytes are more than {DATAGRAM_LEN_MAX}")]
    TooLong { len: usize },
    #[error("it is no message: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(transparent)]
    Unauthenticated(#[from] MacError),
    #[error("it is about another cluster")]
    OtherCluster,
    #[error("it speaks of {count} shards, more than {SHARDS_MAX}")]
    TooManyShards { count: usize },
}

/// How the members of one cluster speak: its name is in every message, and its key's code behind each if it has keys.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    cluster: String,
    keys: Option<MacKeys>,
}

impl Dialect {
    pub(crate) fn new(config: &Config) -> Self {
        Self { cluster: config.cluster.clone(), keys: config.mac_keys() }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn of(cluster: &str, keys: Option<MacKeys>) -> Self {
        Self { cluster: cluster.to_owned(), keys }
    }

    /// Reads a datagram.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<Message, WireError> {
        if bytes.len() > DATAGRAM_LEN_MAX {
            return Err(WireError::TooLong { len: bytes.len() });
        }
        let bytes = match &self.keys {
            Some(keys) => keys.verify(Link::Coordination, bytes)?,
            None => bytes,
        };
        let envelope: Envelope = serde_json::from_slice(bytes)?;
        if envelope.cluster != self.cluster {
            return Err(WireError::OtherCluster);
        }
        let count = match &envelope.message {
            Message::Heartbeat(heartbeat) => heartbeat.reports.len(),
            Message::Answer(answer) => answer.configurations.len(),
            Message::Status { status, .. } => status.shards.len(),
            _ => 0,
        };
        if count > usize::from(SHARDS_MAX) {
            return Err(WireError::TooManyShards { count });
        }
        Ok(envelope.message)
    }

    /// A message as a datagram.
    pub(crate) fn to_bytes(&self, message: Message) -> Result<Vec<u8>, WireError> {
        let mut bytes = serde_json::to_vec(&Envelope { cluster: self.cluster.clone(), message })?;
        if let Some(keys) = &self.keys {
            keys.sign(Link::Coordination, &mut bytes);
        }
        if bytes.len() > DATAGRAM_LEN_MAX {
            return Err(WireError::TooLong { len: bytes.len() });
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{NodeStatus, ShardStatus};
    use super::*;
    use crate::ChainState;

    fn lab(key: Option<u8>) -> Dialect {
        Dialect::of("lab", key.map(|key| MacKeys::new([key; 16], None)))
    }

    #[test]
    fn only_who_has_the_key_is_heard() {
        let question = || Message::Question { token: 1, ask: Ask::Status, padding: String::new() };
        let bytes = lab(Some(1)).to_bytes(question()).unwrap();
        assert_eq!(lab(Some(1)).parse(&bytes).unwrap(), question());
        for (speaker, hearer) in [(None, Some(1)), (Some(2), Some(1))] {
            let bytes = lab(speaker).to_bytes(question()).unwrap();
            let error = lab(hearer).parse(&bytes).unwrap_err();
            assert!(matches!(error, WireError::Unauthenticated(_)), "{error}");
        }
        assert!(lab(None).parse(&bytes).is_err());
    }

    #[test]
    fn the_longest_question_gets_its_answer() {
        let members: Vec<u16> = (0..NODES_MAX).map(|node| u16::MAX - node).collect();
        for (shards, nodes) in [(1, 1), (2, 3), (SHARDS_MAX, usize::from(NODES_MAX))] {
            let members = &members[..nodes];
            let numbers = || (0..shards).map(|shard| u16::MAX - shard);
            let configurations = numbers().map(|shard| ShardConfiguration {
                shard,
                epoch: u64::from(u32::MAX),
                members: members.to_vec(),
                joining: members.first().copied(),
            });
            let answer = Message::Answer(Answer {
                node: u16::MAX,
                incarnation: u64::MAX,
                sequence: Some(u64::MAX),
                standing: Standing::Counted,
                configurations: configurations.collect(),
            });
            let status = CoordinationStatus {
                cluster: "lab".to_owned(),
                nodes: members
                    .iter()
                    .map(|node| NodeStatus {
                        node: *node,
                        alive: true,
                        incarnation: Some(u64::MAX),
                        quiet_ms: Some(u64::from(u32::MAX)),
                    })
                    .collect(),
                shards: numbers()
                    .map(|shard| ShardStatus {
                        shard,
                        state: ChainState::Serving,
                        epoch: u64::from(u32::MAX),
                        members: members.to_vec(),
                        joining: members.first().copied(),
                        waits_for: Vec::new(),
                    })
                    .collect(),
                refused: u64::MAX,
            };
            let status = Message::Status { token: u64::MAX, status };
            let padding = padding(shards, nodes);
            let question = Message::Question { token: 1, ask: Ask::Status, padding: padding.clone() };
            let heartbeat = Message::Heartbeat(Heartbeat {
                node: 0,
                incarnation: 1,
                sequence: 1,
                leaves: false,
                yields: false,
                reports: Vec::new(),
                padding,
            });
            for (asked, answered) in [(question, status), (heartbeat, answer)] {
                let asked = lab(None).to_bytes(asked).unwrap();
                let bytes = lab(None).to_bytes(answered.clone()).unwrap();
                assert!(bytes.len() <= ANSWER_FACTOR * asked.len(), "{} for {}", bytes.len(), asked.len());
                assert_eq!(lab(None).parse(&bytes).unwrap(), answered);
            }
        }
    }

    #[test]
    fn what_is_no_message_of_the_cluster_is_an_error() {
        let question = Message::Question { token: 1, ask: Ask::Reset { shard: 0 }, padding: String::new() };
        let bytes = lab(None).to_bytes(question).unwrap();
        assert!(lab(None).parse(&bytes).is_ok());
        assert!(matches!(Dialect::of("bal", None).parse(&bytes), Err(WireError::OtherCluster)));
        for len in 0..bytes.len() {
            assert!(matches!(lab(None).parse(&bytes[..len]), Err(WireError::Malformed(_))), "cut at {len}");
        }
        let long = vec![b' '; DATAGRAM_LEN_MAX + 1];
        assert!(matches!(lab(None).parse(&long), Err(WireError::TooLong { .. })));
        let deep = "[".repeat(DATAGRAM_LEN_MAX);
        assert!(matches!(lab(None).parse(deep.as_bytes()), Err(WireError::Malformed(_))));
    }
}
