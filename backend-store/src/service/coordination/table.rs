//! Which nodes are alive, and the chains of all shards: the static coordinator without its socket and its file.
//!
//! Sans-IO. After any call with `now`, look whether [`revision`](Table::revision) has changed: then write
//! [`to_record`](Table::to_record) down before anybody is told, and ask [`poll_timeout`](Table::poll_timeout) again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use redplane_protocol::{Configuration, NodeId, Time};
use serde::{Deserialize, Serialize};

use super::ShardReport;
use super::roster::{Alive, LINKS_SETTLE_PER_MILLE, Roster, RosterRecord, View, any_broken};
use super::status::{CoordinationStatus, NodeStatus};
use crate::ChainState;
use crate::service::config::Config;

/// How many former lives of a node are remembered: datagrams of theirs may still be under way. More than a node can have
/// within the time that a datagram stays in a network.
const FORMER_LIVES_MAX: usize = 8;

/// What part of the detection time a live node may be quiet, in thousandths, without being suspected to have died at once
/// with one that did: three heartbeats.
const QUIET_PER_MILLE: u32 = 300;

/// For what part of the detection time a node says that it hears nothing until it is taken for dead, in thousandths: more
/// than the way of an answer, and of the next heartbeat.
const YIELD_HEARD_PER_MILLE: u32 = 120;

/// What a table is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableSettings {
    pub(crate) cluster: String,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) shards: u16,
    /// The shards whose members write journals.
    pub(crate) durable: BTreeSet<u16>,
    /// How long after its last sign of life a node is dead.
    pub(crate) detection: Duration,
}

impl From<&Config> for TableSettings {
    fn from(config: &Config) -> Self {
        let durable =
            config.durability.as_ref().map(|durability| durability.shards.iter().copied().collect());
        Self {
            cluster: config.cluster.clone(),
            nodes: config.nodes.keys().copied().collect(),
            shards: config.shards,
            durable: durable.unwrap_or_default(),
            detection: config.detection,
        }
    }
}

/// What a node that gave a sign of life is to the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It is alive: it may serve for as long as the detection takes.
    Counted,
    /// A newer life of the node was heard of, or it left: it may not serve.
    Former,
    /// The cluster has no such node: it may not serve.
    Stranger,
}

/// Why a shard was not reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ResetError {
    #[error("there is no shard {shard}; the last is {last}")]
    NoShard { shard: u16, last: u16 },
    #[error("shard {shard} is serving; a reset would throw away what it has, stop its nodes first")]
    Serving { shard: u16 },
}

/// A [`Table`] as it is written down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TableRecord {
    cluster: String,
    shards: Vec<RosterRecord>,
}

/// Deaths of which nothing was made yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Pending {
    /// Nodes that were heard of since then did not die with the others.
    since: Time,
    /// No more waiting.
    until: Time,
}

/// Which nodes are alive, and the chains of all shards.
pub(crate) struct Table {
    settings: TableSettings,
    rosters: Vec<Roster>,
    alive: BTreeMap<NodeId, Alive>,
    heard: BTreeMap<NodeId, Time>,
    former: BTreeMap<NodeId, VecDeque<u64>>,
    /// Since when nodes say that they hear nothing.
    yielding: BTreeMap<NodeId, Time>,
    pending: Option<Pending>,
    /// A first chain waits for more nodes until then.
    form_at: Option<Time>,
    /// When nodes that do not hear each other are taken apart.
    links_at: Option<Time>,
    /// That was so at the last look.
    links_settled: bool,
    revision: u64,
}

impl Table {
    /// A cluster that never was.
    pub(crate) fn new(settings: TableSettings) -> Self {
        let rosters =
            (0..settings.shards).map(|shard| Roster::new(shard, settings.durable.contains(&shard))).collect();
        Self::with_rosters(settings, rosters)
    }

    /// The table that was written down. Each node that was in a chain counts as heard of now: nobody knows for how long
    /// the coordinator was away, and whoever was answered last may serve for as long as the detection takes.
    ///
    /// # Errors
    /// If none can be like that; says why.
    pub(crate) fn from_record(
        settings: TableSettings,
        record: &TableRecord,
        now: Time,
    ) -> Result<Self, String> {
        if record.cluster != settings.cluster {
            return Err(format!("it is of cluster {:?}, not {:?}", record.cluster, settings.cluster));
        }
        if record.shards.len() != usize::from(settings.shards) {
            return Err(format!(
                "it has {} shards, the configuration {}",
                record.shards.len(),
                settings.shards
            ));
        }
        let read = |(shard, record): (u16, &RosterRecord)| {
            Roster::from_record(record, shard, settings.durable.contains(&shard))
                .map_err(|why| format!("of shard {shard}: {why}"))
        };
        let rosters = (0..).zip(&record.shards).map(read).collect::<Result<Vec<_>, _>>()?;
        let mut table = Self::with_rosters(settings, rosters);
        for (node, incarnation) in table.rosters.iter().flat_map(Roster::members) {
            table.alive.insert(node, Alive { incarnation, reports: BTreeMap::new() });
            table.heard.insert(node, now);
        }
        Ok(table)
    }

    fn with_rosters(settings: TableSettings, rosters: Vec<Roster>) -> Self {
        Self {
            settings,
            rosters,
            alive: BTreeMap::new(),
            heard: BTreeMap::new(),
            former: BTreeMap::new(),
            yielding: BTreeMap::new(),
            pending: None,
            form_at: None,
            links_at: None,
            links_settled: false,
            revision: 0,
        }
    }

    /// When a node gave a sign of life. If it `yields`, it does not hear the answers and does not serve: after some of that
    /// it is taken for dead, and it is not let in.
    pub(crate) fn handle_heartbeat(
        &mut self,
        node: NodeId,
        incarnation: u64,
        yields: bool,
        reports: &[ShardReport],
        now: Time,
    ) -> Standing {
        if !self.settings.nodes.contains(&node) {
            return Standing::Stranger;
        }
        if self.former.get(&node).is_some_and(|lives| lives.contains(&incarnation)) {
            return Standing::Former;
        }
        if let Some(before) = self.alive.get(&node).map(|alive| alive.incarnation)
            && before != incarnation
        {
            self.retire(node, before);
            self.alive.remove(&node);
            self.heard.remove(&node);
            self.note_death(now, now);
        }
        if yields {
            return self.handle_yield(node, now);
        }
        self.yielding.remove(&node);
        let reports = reports.iter().map(|report| (report.shard, *report)).collect();
        self.alive.insert(node, Alive { incarnation, reports });
        self.heard.insert(node, now);
        self.settle(now);
        Standing::Counted
    }

    fn handle_yield(&mut self, node: NodeId, now: Time) -> Standing {
        let since = *self.yielding.entry(node).or_insert(now);
        // The answer to the first of it may have been under way.
        if since.plus(self.settings.detection * YIELD_HEARD_PER_MILLE / 1000) <= now
            && self.alive.remove(&node).is_some()
        {
            self.heard.remove(&node);
            self.note_death(self.quiet_since(now), now);
        } else if let Some(heard) = self.heard.get_mut(&node) {
            *heard = now;
        }
        self.settle(now);
        Standing::Counted
    }

    /// When a node gives its place back: it does not serve any more.
    pub(crate) fn handle_leave(&mut self, node: NodeId, incarnation: u64, now: Time) {
        self.retire(node, incarnation);
        if self.alive.get(&node).is_some_and(|alive| alive.incarnation == incarnation) {
            self.alive.remove(&node);
            self.heard.remove(&node);
        }
        self.settle(now);
    }

    /// When the deadline of [`poll_timeout`](Self::poll_timeout) passed. Calling it earlier does no harm.
    ///
    /// Take in first what was received. If this is called so late that the coordinator itself must have stood still,
    /// nobody is dead: everybody gets the full detection time again.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        let detection = self.settings.detection;
        let is_late = |heard: &Time| heard.plus(detection + detection / 2) < now;
        if self.heard.values().any(is_late) {
            self.heard.values_mut().for_each(|heard| *heard = now);
        }
        let dead: Vec<_> = self
            .heard
            .iter()
            .filter(|(_, heard)| heard.plus(detection) <= now)
            .map(|(node, _)| *node)
            .collect();
        for node in &dead {
            self.heard.remove(node);
            self.alive.remove(node);
        }
        if !dead.is_empty() {
            self.note_death(self.quiet_since(now), now);
        }
        self.settle(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let death = self.heard.values().min().map(|heard| heard.plus(self.settings.detection));
        // Once they are taken apart, only other things change that.
        let links = self.links_at.filter(|_| !self.links_settled);
        [death, self.pending.map(|pending| pending.until), self.form_at, links].into_iter().flatten().min()
    }

    /// Grows whenever there is something new to write down and to tell.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// What a node is to hear.
    pub(crate) fn configurations_for(
        &self,
        node: NodeId,
        incarnation: u64,
    ) -> impl Iterator<Item = (u16, &Configuration)> {
        let heard_of = self.alive.get(&node).is_some_and(|alive| alive.incarnation == incarnation);
        let rosters = (0..).zip(&self.rosters).filter(move |_| heard_of);
        rosters.filter_map(move |(shard, roster)| Some((shard, roster.configuration_for(node, incarnation)?)))
    }

    /// An operator gives up what a shard that does not serve had.
    pub(crate) fn reset(&mut self, shard: u16, now: Time) -> Result<(), ResetError> {
        let last = self.settings.shards.saturating_sub(1);
        let roster = self.rosters.get_mut(usize::from(shard)).ok_or(ResetError::NoShard { shard, last })?;
        if !roster.reset(&self.alive) {
            return Err(ResetError::Serving { shard });
        }
        self.revision += 1;
        self.form_at = None;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn to_record(&self) -> TableRecord {
        let shards = self.rosters.iter().map(Roster::to_record).collect();
        TableRecord { cluster: self.settings.cluster.clone(), shards }
    }

    pub(crate) fn status(&self, refused: u64, now: Time) -> CoordinationStatus {
        let node_status = |node: &NodeId| NodeStatus {
            node: node.0,
            alive: self.alive.contains_key(node),
            incarnation: self.alive.get(node).map(|alive| alive.incarnation),
            quiet_ms: self.heard.get(node).map(|heard| now.since(*heard).as_millis() as u64),
        };
        CoordinationStatus {
            cluster: self.settings.cluster.clone(),
            nodes: self.settings.nodes.iter().map(node_status).collect(),
            shards: self.rosters.iter().map(Roster::status).collect(),
            refused,
        }
    }

    fn retire(&mut self, node: NodeId, incarnation: u64) {
        if !self.settings.nodes.contains(&node) {
            return;
        }
        let lives = self.former.entry(node).or_default();
        if !lives.contains(&incarnation) {
            lives.push_back(incarnation);
        }
        if lives.len() > FORMER_LIVES_MAX {
            lives.pop_front();
        }
    }

    fn quiet_since(&self, now: Time) -> Time {
        let quiet = self.settings.detection * QUIET_PER_MILLE / 1000;
        Time(now.0.saturating_sub(Time::ZERO.plus(quiet).0))
    }

    /// What died together is to be taken out together: were the last of three that all lost power within one heartbeat
    /// taken out alone, the chain could only go on with that one. So a death waits until all others were heard of.
    fn note_death(&mut self, since: Time, now: Time) {
        let until = self.pending.map_or(now.plus(self.settings.detection), |pending| pending.until);
        let since = self.pending.map_or(since, |pending| pending.since.max(since));
        self.pending = Some(Pending { since, until });
    }

    fn settle(&mut self, now: Time) {
        let is_settled = |pending: &Pending| {
            now >= pending.until || self.heard.values().all(|heard| *heard >= pending.since)
        };
        if self.pending.as_ref().is_some_and(is_settled) {
            self.pending = None;
        }
        let forming = self.rosters.iter().any(|roster| roster.state() == ChainState::Forming);
        let form_now = forming && self.form_at.is_some_and(|at| at <= now);
        self.settle_links(now);
        let view = View {
            nodes: &self.settings.nodes,
            alive: &self.alive,
            hold: self.pending.is_some(),
            form_now,
            links_settled: self.links_settled,
        };
        let changes =
            self.rosters.iter_mut().map(|roster| roster.reconcile(&view)).filter(|changed| *changed);
        self.revision += changes.count() as u64;
        let forming = self.rosters.iter().any(|roster| roster.state() == ChainState::Forming);
        // The deadline has done its work; if nobody is ready, there is another one.
        self.form_at = self.form_at.filter(|at| forming && *at > now);
        if forming && !self.alive.is_empty() && self.form_at.is_none() {
            self.form_at = Some(now.plus(self.settings.detection));
        }
    }

    /// The first that says whom it does not hear may be the one that nobody hears: a little later all have said so.
    fn settle_links(&mut self, now: Time) {
        if !any_broken(&self.settings.nodes, &self.alive) {
            (self.links_at, self.links_settled) = (None, false);
            return;
        }
        let wait = self.settings.detection * LINKS_SETTLE_PER_MILLE / 1000;
        let at = *self.links_at.get_or_insert(now.plus(wait));
        self.links_settled = at <= now;
    }
}

#[cfg(test)]
mod tests;
