//! One shard's chain, and which life of each node is in it.
//!
//! Pure. Both kinds of coordination decide by it: told who is alive and what they report, it brings the chain up to that.

use std::collections::{BTreeMap, BTreeSet};

use redplane_protocol::{Configuration, NodeId};
use serde::{Deserialize, Serialize};

use super::ShardReport;
use super::status::ShardStatus;
use crate::ChainState;
use crate::coordinator::{Chain, ChainRecord};

/// For what part of the detection time it is waited for what all have to say of silent nodes, in thousandths: two
/// greetings.
pub(crate) const LINKS_SETTLE_PER_MILLE: u32 = 200;

/// A live node, as its last sign of life said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Alive {
    /// Which life it is.
    pub(crate) incarnation: u64,
    /// What it says of its shards. It takes no part in a shard of which it says nothing.
    pub(crate) reports: BTreeMap<u16, ShardReport>,
}

/// What is known of all nodes at one moment.
pub(crate) struct View<'a> {
    /// All nodes of the cluster.
    pub(crate) nodes: &'a [NodeId],
    /// Those that are alive.
    pub(crate) alive: &'a BTreeMap<NodeId, Alive>,
    /// Nobody is declared dead or let in yet: it is open who else died.
    pub(crate) hold: bool,
    /// A first chain need not wait for more nodes any longer.
    pub(crate) form_now: bool,
    /// Some nodes do not hear each other, and it was waited for what all have to say of that.
    pub(crate) links_settled: bool,
}

/// One shard's chain, and which life of each node is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Roster {
    shard: u16,
    chain: Chain,
    /// Of the members, or of those who were full members last.
    incarnations: BTreeMap<NodeId, u64>,
}

/// A [`Roster`] as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RosterRecord {
    shard: u16,
    chain: ChainRecord,
    incarnations: BTreeMap<u16, u64>,
}

impl Roster {
    /// A shard that nobody ever served.
    pub(crate) fn new(shard: u16, durable: bool) -> Self {
        Self { shard, chain: Chain::forming(durable), incarnations: BTreeMap::new() }
    }

    pub(crate) fn state(&self) -> ChainState {
        self.chain.state()
    }

    /// The lives that are in the chain; none of one that does not serve.
    pub(crate) fn members(&self) -> impl Iterator<Item = (NodeId, u64)> {
        let members = &self.chain.configuration().members;
        self.incarnations.iter().filter(|(node, _)| members.contains(node)).map(|(node, life)| (*node, *life))
    }

    /// Brings the chain up to who is alive: whether anything has changed that has to be remembered.
    pub(crate) fn reconcile(&mut self, view: &View<'_>) -> bool {
        let before = self.clone();
        self.confirm_copy(view);
        if !view.hold {
            let is_dead = |(node, incarnation): &(&NodeId, &u64)| !is_life(view, **node, **incarnation);
            let dead = self.incarnations.iter().filter(is_dead).map(|(node, _)| *node).collect();
            self.chain.remove(&dead);
            if view.links_settled {
                self.cut_off(view);
            }
            match self.chain.state() {
                ChainState::Forming => self.form(view),
                ChainState::Down | ChainState::Lost => self.go_on(view),
                ChainState::Serving => {}
            }
            self.admit(view);
            let (members, full) = (&self.chain.configuration().members, self.chain.full());
            self.incarnations.retain(|node, _| members.contains(node) || full.contains(node));
        }
        *self != before
    }

    /// What a life of a node is to hear; `None` if it is to go on by what it knows, or to wait.
    ///
    /// It hears nothing of a chain without members: it may be the one with which the chain goes on, and then it must not
    /// have forgotten anything. It hears nothing either of a chain with a former life of itself, whose records it lacks.
    pub(crate) fn configuration_for(&self, node: NodeId, incarnation: u64) -> Option<&Configuration> {
        let configuration = self.chain.configuration();
        let is_other_life = self.incarnations.get(&node).is_some_and(|member| *member != incarnation);
        let waits = matches!(self.chain.state(), ChainState::Down | ChainState::Lost);
        (configuration.epoch > 0 && !waits && !is_other_life).then_some(configuration)
    }

    /// Gives up what a chain that does not serve had. Whether it did not serve.
    pub(crate) fn reset(&mut self, alive: &BTreeMap<NodeId, Alive>) -> bool {
        let reports = alive.values().filter_map(|alive| alive.reports.get(&self.shard));
        let told = reports.map(|report| report.epoch).max().unwrap_or(0);
        let done = self.chain.reset(told);
        if done {
            self.incarnations.clear();
        }
        done
    }

    pub(crate) fn status(&self) -> ShardStatus {
        let configuration = self.chain.configuration();
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        ShardStatus {
            shard: self.shard,
            state: self.chain.state(),
            epoch: configuration.epoch,
            members: numbers(&configuration.members),
            joining: self.chain.incomplete().map(|node| node.0),
            waits_for: numbers(self.chain.full()),
        }
    }

    pub(crate) fn to_record(&self) -> RosterRecord {
        let incarnations =
            self.incarnations.iter().map(|(node, incarnation)| (node.0, *incarnation)).collect();
        RosterRecord { shard: self.shard, chain: self.chain.to_record(), incarnations }
    }

    /// The roster of shard `shard` that was written down.
    ///
    /// # Errors
    /// If none can be like that; says why.
    pub(crate) fn from_record(
        record: &RosterRecord,
        shard: u16,
        durable: bool,
    ) -> Result<Self, &'static str> {
        if record.shard != shard {
            return Err("it is of another shard");
        }
        let chain = Chain::from_record(&record.chain, durable)?;
        let concerned: BTreeSet<u16> =
            record.chain.members.iter().chain(&record.chain.full).copied().collect();
        if !record.incarnations.keys().eq(&concerned) {
            return Err("it does not say which life of each node it means");
        }
        let incarnations = record.incarnations.iter().map(|(node, life)| (NodeId(*node), *life)).collect();
        Ok(Self { shard, chain, incarnations })
    }

    fn report<'a>(&self, view: &View<'a>, node: NodeId) -> Option<&'a ShardReport> {
        view.alive.get(&node)?.reports.get(&self.shard)
    }

    /// The joining node counts as soon as its predecessor has nothing left to send, and itself has heard that it joined:
    /// of a shard without records there is nothing to send, and the node may still have those of a former life.
    fn confirm_copy(&mut self, view: &View<'_>) {
        let epoch = self.chain.configuration().epoch;
        let is_told = |node: NodeId| {
            let is_member = self.incarnations.get(&node).is_some_and(|life| is_life(view, node, *life));
            self.report(view, node).filter(|report| is_member && report.epoch == epoch)
        };
        let sender = self.chain.copying().and_then(is_told);
        let joining = self.chain.incomplete().and_then(is_told);
        if sender.is_some_and(|report| report.copied) && joining.is_some() {
            self.chain.completed();
        }
    }

    /// Only nodes without records may begin: in the first epoch those that never had any, after a reset those that heard
    /// of it.
    fn form(&mut self, view: &View<'_>) {
        let epoch = self.chain.configuration().epoch;
        let has_history = |report: &ShardReport| report.epoch > 0 || report.inherited;
        if epoch == 0 && view.nodes.iter().filter_map(|node| self.report(view, *node)).any(has_history) {
            return;
        }
        let is_ready = |node: &NodeId| self.report(view, *node).is_some_and(|report| report.epoch == epoch);
        let members: Vec<_> = self.in_turn(view).filter(is_ready).collect();
        if (members.len() == view.nodes.len() || view.form_now) && self.chain.form(members) {
            self.remember_members(view);
        }
    }

    fn go_on(&mut self, view: &View<'_>) {
        let is_down = self.chain.state() == ChainState::Down;
        let is_back = |node: &NodeId| {
            // A life that was out of reach has forgotten nothing, for nobody told it that it was out.
            let is_same = self.incarnations.get(node).is_some_and(|life| is_life(view, *node, *life));
            is_same || (is_down && self.report(view, *node).is_some_and(|report| report.restored))
        };
        let back = self.chain.full().iter().copied().filter(is_back).collect();
        if self.chain.go_on(&back) {
            self.remember_members(view);
        }
    }

    /// Takes out whoever does not hear, or is not heard by, the most other members; of equals the one that is not complete,
    /// then the later one. So it is not two that leave for one, and a full member stays.
    fn cut_off(&mut self, view: &View<'_>) {
        loop {
            let (members, incomplete) = (&self.chain.configuration().members, self.chain.incomplete());
            let broken =
                |node: &NodeId| members.iter().filter(|other| self.is_broken(view, *node, **other)).count();
            let worst = (0..)
                .zip(members)
                .map(|(at, node)| (broken(node), Some(*node) == incomplete, at, *node))
                .max();
            let Some((1.., _, _, node)) = worst else { return };
            self.chain.remove(&[node].into());
        }
    }

    /// Whether one of two live nodes does not hear the other.
    fn is_broken(&self, view: &View<'_>, a: NodeId, b: NodeId) -> bool {
        does_not_hear(view, self.report(view, a), b) || does_not_hear(view, self.report(view, b), a)
    }

    fn admit(&mut self, view: &View<'_>) {
        let members = &self.chain.configuration().members;
        let can_join = |node: &NodeId| {
            self.report(view, *node).is_some()
                && !members.iter().any(|other| self.is_broken(view, *node, *other))
        };
        let wants: Vec<_> = self.in_turn(view).filter(can_join).collect();
        wants.into_iter().for_each(|node| self.chain.ask_to_join(node));
        if self.chain.admit() {
            self.remember_members(view);
        }
        self.chain.forget_waiting();
    }

    /// All nodes, beginning with another one in each shard, so that the heads are spread.
    fn in_turn<'a>(&self, view: &View<'a>) -> impl Iterator<Item = NodeId> + use<'a> {
        let nodes = view.nodes;
        let first = usize::from(self.shard);
        (0..nodes.len()).map(move |at| nodes[(first + at) % nodes.len()])
    }

    fn remember_members(&mut self, view: &View<'_>) {
        for node in &self.chain.configuration().members {
            if let Some(alive) = view.alive.get(node) {
                self.incarnations.insert(*node, alive.incarnation);
            }
        }
    }
}

/// Whether a live node says that it does not hear another live node.
fn does_not_hear(view: &View<'_>, report: Option<&ShardReport>, other: NodeId) -> bool {
    let place = view.nodes.iter().position(|node| *node == other).and_then(|place| u32::try_from(place).ok());
    let bit = place.and_then(|place| 1u16.checked_shl(place)).unwrap_or(0);
    report.is_some_and(|report| report.silent & bit != 0) && view.alive.contains_key(&other)
}

/// Whether any two live nodes do not hear each other.
pub(crate) fn any_broken(nodes: &[NodeId], alive: &BTreeMap<NodeId, Alive>) -> bool {
    let view = View { nodes, alive, hold: false, form_now: false, links_settled: false };
    let mut reports = alive.values().flat_map(|alive| alive.reports.values());
    reports.any(|report| {
        report.silent != 0 && nodes.iter().any(|node| does_not_hear(&view, Some(report), *node))
    })
}

fn is_life(view: &View<'_>, node: NodeId, incarnation: u64) -> bool {
    view.alive.get(&node).is_some_and(|alive| alive.incarnation == incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let mut roster = Roster::new(0, true);
        let nodes = [NodeId(0), NodeId(1)];
        let report =
            ShardReport { shard: 0, epoch: 0, copied: true, restored: false, inherited: false, silent: 0 };
        let alive = |incarnation| Alive { incarnation, reports: [(0, report)].into() };
        let alive = BTreeMap::from([(NodeId(0), alive(7)), (NodeId(1), alive(8))]);
        assert!(roster.reconcile(&View {
            nodes: &nodes,
            alive: &alive,
            hold: false,
            form_now: false,
            links_settled: false
        }));
        let good = roster.to_record();
        assert_eq!(Roster::from_record(&good, 0, true), Ok(roster));
        assert!(Roster::from_record(&good, 1, true).is_err());
        let breaks: [fn(&mut RosterRecord); 7] = [
            |record| record.chain.members.push(0),
            |record| record.chain.members.clear(),
            |record| record.chain.full.push(1),
            |record| record.chain.joining = Some(9),
            |record| record.chain.incomplete = Some(0),
            |record| record.chain.epoch = 0,
            |record| record.incarnations.clear(),
        ];
        for (at, change) in breaks.iter().enumerate() {
            let mut record = good.clone();
            change(&mut record);
            assert!(Roster::from_record(&record, 0, true).is_err(), "break {at}");
        }
    }
}
