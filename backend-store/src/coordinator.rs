//! Who is in which chain. The embedded store and every kind of coordination decide by this one.
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

/// More configurations than a chain can have had: a million a second for more than a hundred thousand years. So a number
/// that somebody made up leaves room to count on.
#[cfg(feature = "service")]
const EPOCH_MAX: u64 = 1 << 62;

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

/// What a chain can do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(
    feature = "service",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ChainState {
    /// It has no members yet and nothing to lose: it waits for its first nodes.
    Forming,
    /// It has a member with every acknowledged write.
    Serving,
    /// All members with every acknowledged write are gone, and their journals have the records: it waits for one of them.
    Down,
    /// All members with every acknowledged write are gone, and no journal has the records.
    Lost,
}

/// The coordinator's view of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Chain {
    configuration: Configuration,
    /// The last member, as long as it has no full copy. It must not become the only one.
    incomplete: Option<NodeId>,
    waiting: VecDeque<NodeId>,
    state: ChainState,
    /// Of a chain that is down or lost: who had every acknowledged write, head first. Otherwise empty.
    full: Vec<NodeId>,
    /// Whether the members write a journal.
    durable: bool,
}

impl Chain {
    /// The chain of a shard at the start: the nodes in turn, so that each is head of some shards.
    pub(crate) fn new(shard: u16, nodes: u16) -> Self {
        let members = (0..nodes).map(|at| NodeId((shard + at) % nodes)).collect();
        let configuration = Configuration { epoch: 1, members, joining: None };
        Self { configuration, state: ChainState::Serving, ..Self::blank(false) }
    }

    fn blank(durable: bool) -> Self {
        Self {
            configuration: Configuration::default(),
            incomplete: None,
            waiting: VecDeque::new(),
            state: ChainState::Forming,
            full: Vec::new(),
            durable,
        }
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether all nodes with a full copy died at once: more failures than the chain could bear.
    pub(crate) fn is_lost(&self) -> bool {
        self.state == ChainState::Lost
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
        let before = self.configuration.members.clone();
        self.configuration.members.retain(|member| !dead.contains(member));
        let members = &self.configuration.members;
        if members.len() == before.len() {
            return false;
        }
        let was_incomplete = self.incomplete;
        self.incomplete = self.incomplete.filter(|node| members.contains(node));
        if members.is_empty() || members.first() == self.incomplete.as_ref() {
            // Serving from a partial copy would deny what was acknowledged. Better not to serve.
            self.state = if self.durable { ChainState::Down } else { ChainState::Lost };
            self.full = before.into_iter().filter(|node| Some(*node) != was_incomplete).collect();
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
        if self.state != ChainState::Serving || self.incomplete.is_some() {
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

/// What only a coordinator of processes needs.
#[cfg(feature = "service")]
impl Chain {
    /// A chain without members or history.
    pub(crate) fn forming(durable: bool) -> Self {
        Self::blank(durable)
    }

    pub(crate) fn state(&self) -> ChainState {
        self.state
    }

    /// Of a chain that is down or lost: who had every acknowledged write, head first. Otherwise empty.
    pub(crate) fn full(&self) -> &[NodeId] {
        &self.full
    }

    /// The last member, if its copy is not complete.
    pub(crate) fn incomplete(&self) -> Option<NodeId> {
        self.incomplete
    }

    /// The first members, head first, who have no records: whether the chain waited for them.
    pub(crate) fn form(&mut self, members: Vec<NodeId>) -> bool {
        if self.state != ChainState::Forming || members.is_empty() {
            return false;
        }
        self.begin(members);
        true
    }

    /// Of those who had every acknowledged write, these are back with all of it: whether the chain goes on with them, in
    /// their old order. Later ones have missed what those do from now on, and join as new.
    pub(crate) fn go_on(&mut self, back: &BTreeSet<NodeId>) -> bool {
        let members: Vec<_> = self.full.iter().copied().filter(|node| back.contains(node)).collect();
        if members.is_empty() {
            return false;
        }
        self.begin(members);
        true
    }

    /// An operator gives up what a chain that does not serve had: it forms anew, in an epoch after `told`, the last that
    /// any node has heard of, if that can be: whoever says that it heard of one beyond [`EPOCH_MAX`] did not. Whether it did
    /// not serve.
    pub(crate) fn reset(&mut self, told: u64) -> bool {
        if self.state == ChainState::Serving {
            return false;
        }
        let epoch = self.configuration.epoch.max(told.min(EPOCH_MAX)) + 1;
        *self = Self::blank(self.durable);
        self.configuration.epoch = epoch;
        true
    }

    /// Nobody waits any more: who is alive asks again.
    pub(crate) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    fn begin(&mut self, members: Vec<NodeId>) {
        let epoch = self.configuration.epoch + 1;
        self.configuration = Configuration { epoch, members, joining: None };
        self.full.clear();
        self.state = ChainState::Serving;
    }

    /// What a coordinator has to remember of it.
    pub(crate) fn to_record(&self) -> ChainRecord {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        ChainRecord {
            state: self.state,
            epoch: self.configuration.epoch,
            members: numbers(&self.configuration.members),
            joining: self.configuration.joining.map(|node| node.0),
            incomplete: self.incomplete.map(|node| node.0),
            full: numbers(&self.full),
        }
    }

    /// The chain that was remembered.
    ///
    /// # Errors
    /// If no chain can be like that; says why.
    pub(crate) fn from_record(record: &ChainRecord, durable: bool) -> Result<Self, &'static str> {
        let distinct = |nodes: &[u16]| nodes.iter().collect::<BTreeSet<_>>().len() == nodes.len();
        let serving = record.state == ChainState::Serving;
        let waits_for_full = matches!(record.state, ChainState::Down | ChainState::Lost);
        if !distinct(&record.members) || !distinct(&record.full) {
            return Err("a node is in it twice");
        }
        if serving == record.members.is_empty() || waits_for_full == record.full.is_empty() {
            return Err("its members do not fit its state");
        }
        if record.joining.is_some_and(|node| !record.members.contains(&node)) {
            return Err("the joining node is no member");
        }
        if record.incomplete.is_some()
            && (record.incomplete != record.members.last().copied() || record.members.len() == 1)
        {
            return Err("the node without a full copy is not behind one that has it");
        }
        if record.epoch > 2 * EPOCH_MAX {
            return Err("its epoch is one that no chain can have come to");
        }
        if record.epoch == 0 && record.state != ChainState::Forming {
            return Err("it has an epoch of zero");
        }
        let ids = |numbers: &[u16]| numbers.iter().copied().map(NodeId).collect();
        Ok(Self {
            configuration: Configuration {
                epoch: record.epoch,
                members: ids(&record.members),
                joining: record.joining.map(NodeId),
            },
            incomplete: record.incomplete.map(NodeId),
            state: record.state,
            full: ids(&record.full),
            ..Self::blank(durable)
        })
    }
}

/// A [`Chain`] as a coordinator writes it down.
#[cfg(feature = "service")]
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChainRecord {
    pub(crate) state: ChainState,
    pub(crate) epoch: u64,
    pub(crate) members: Vec<u16>,
    pub(crate) joining: Option<u16>,
    pub(crate) incomplete: Option<u16>,
    pub(crate) full: Vec<u16>,
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

    #[cfg(feature = "service")]
    #[test]
    fn an_epoch_that_somebody_made_up_does_not_stop_the_count() {
        let mut chain = Chain::forming(false);
        assert!(chain.reset(u64::MAX));
        assert!(chain.form(ids(&[0, 1])));
        assert!(chain.remove(&[NodeId(0)].into()));
        assert_eq!(chain.configuration().epoch, EPOCH_MAX + 3);
        let record = chain.to_record();
        assert_eq!(Chain::from_record(&record, false), Ok(chain));
        assert!(Chain::from_record(&ChainRecord { epoch: u64::MAX, ..record }, false).is_err());
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
