//! Who is in which chain: a static coordinator in the same process.
//!
//! Pure: it is told of deaths, joins and finished copies, and answers with configurations for the members.

use std::collections::{BTreeSet, VecDeque};

use redplane_protocol::{Configuration, NodeId};

/// Place of a node in a chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Takes the requests.
    Head,
    /// Neither first nor last.
    Middle,
    /// Sends the answers.
    Tail,
    /// Head and tail in one: the last that is left.
    Alone,
    /// Sends the answers, and is still being sent the copy of what is older than itself.
    Joining,
}

/// Why a node cannot join.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It is alive already.
    #[error("{node} is alive")]
    Alive {
        /// The node.
        node: NodeId,
    },
}

/// The coordinator's view of one shard.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    configuration: Configuration,
    /// The last member, as long as it has no full copy. It must not become the only one.
    incomplete: Option<NodeId>,
    waiting: VecDeque<NodeId>,
    lost: bool,
}

impl Chain {
    /// The chain of a shard at the start: the nodes in turn, so that each is head of some shards.
    pub(crate) fn new(shard: u16, nodes: u16) -> Self {
        let members = (0..nodes).map(|at| NodeId((shard + at) % nodes)).collect();
        let configuration = Configuration { epoch: 1, members, joining: None };
        Self { configuration, incomplete: None, waiting: VecDeque::new(), lost: false }
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether all nodes with a full copy died at once: more failures than the chain could bear.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether a node is being brought up to date, or waits for its turn.
    pub(crate) fn is_joining(&self) -> bool {
        self.incomplete.is_some() || !self.waiting.is_empty()
    }

    pub(crate) fn role(&self, node: NodeId) -> Option<Role> {
        let members = &self.configuration.members;
        let at = members.iter().position(|member| *member == node)?;
        Some(match at {
            _ if self.incomplete == Some(node) => Role::Joining,
            0 if members.len() == 1 => Role::Alone,
            0 => Role::Head,
            at if at + 1 == members.len() => Role::Tail,
            _ => Role::Middle,
        })
    }

    /// The node before the one that is being brought up to date: it knows when the copy is complete.
    pub(crate) fn copying(&self) -> Option<NodeId> {
        let incomplete = self.incomplete?;
        let members = &self.configuration.members;
        let at = members.iter().position(|member| *member == incomplete)?;
        members.get(at.checked_sub(1)?).copied()
    }

    /// When the copy is complete: the node counts from now on. Roles stay, so the members need not be told.
    pub(crate) fn completed(&mut self) {
        self.incomplete = None;
    }

    /// When deaths were noticed: whether the members changed.
    pub(crate) fn remove(&mut self, dead: &BTreeSet<NodeId>) -> bool {
        self.waiting.retain(|node| !dead.contains(node));
        let before = self.configuration.members.len();
        self.configuration.members.retain(|member| !dead.contains(member));
        let members = &self.configuration.members;
        if members.len() == before {
            return false;
        }
        self.incomplete = self.incomplete.filter(|node| members.contains(node));
        if members.is_empty() || members.first() == self.incomplete.as_ref() {
            // Serving from a partial copy would deny what was acknowledged. Better not to serve.
            self.lost = true;
            self.incomplete = None;
            self.configuration.members.clear();
        }
        self.configuration.epoch += 1;
        // A copy that was interrupted begins anew.
        self.configuration.joining = self.incomplete;
        true
    }

    pub(crate) fn ask_to_join(&mut self, node: NodeId) {
        if !self.waiting.contains(&node) {
            self.waiting.push_back(node);
        }
    }

    /// Takes in the next node that waits, at the end of the chain, if nothing is in the way: whether the members changed.
    pub(crate) fn admit(&mut self) -> bool {
        if self.lost || self.incomplete.is_some() {
            return false;
        }
        // A node that died and is back before its death was noticed waits until it was.
        let members = &self.configuration.members;
        let Some(at) = self.waiting.iter().position(|node| !members.contains(node)) else { return false };
        let Some(node) = self.waiting.remove(at) else { return false };
        self.configuration.members.push(node);
        self.configuration.epoch += 1;
        self.configuration.joining = Some(node);
        self.incomplete = Some(node);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: &[u16]) -> Vec<NodeId> {
        numbers.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn heads_are_spread_over_the_nodes() {
        assert_eq!(Chain::new(0, 3).configuration().members, ids(&[0, 1, 2]));
        assert_eq!(Chain::new(2, 3).configuration().members, ids(&[2, 0, 1]));
    }

    #[test]
    fn a_dead_head_is_followed_by_the_next() {
        let mut chain = Chain::new(0, 3);
        assert!(!chain.remove(&[NodeId(7)].into()));
        assert!(chain.remove(&[NodeId(0)].into()));
        assert_eq!(chain.configuration().members, ids(&[1, 2]));
        assert_eq!(chain.configuration().epoch, 2);
        assert_eq!((chain.role(NodeId(1)), chain.role(NodeId(2))), (Some(Role::Head), Some(Role::Tail)));
    }

    #[test]
    fn a_joining_node_counts_only_when_complete() {
        let mut chain = Chain::new(0, 1);
        chain.ask_to_join(NodeId(5));
        chain.ask_to_join(NodeId(6));
        assert!(chain.admit());
        assert!(!chain.admit(), "one at a time");
        assert_eq!((chain.role(NodeId(5)), chain.copying()), (Some(Role::Joining), Some(NodeId(0))));
        let mut unlucky = chain.clone();
        assert!(unlucky.remove(&[NodeId(0)].into()));
        assert!(unlucky.is_lost() && unlucky.configuration().members.is_empty());
        chain.completed();
        assert!(chain.remove(&[NodeId(0)].into()));
        assert_eq!((chain.is_lost(), chain.role(NodeId(5))), (false, Some(Role::Alone)));
        assert!(chain.admit());
        assert_eq!(chain.configuration().joining, Some(NodeId(6)));
    }

    #[test]
    fn a_node_that_is_back_too_early_waits() {
        let mut chain = Chain::new(0, 3);
        chain.ask_to_join(NodeId(1));
        assert!(!chain.admit());
        assert!(chain.remove(&[NodeId(1)].into()));
        chain.ask_to_join(NodeId(1));
        assert!(chain.admit());
        assert_eq!(chain.configuration().members, ids(&[0, 2, 1]));
    }
}
