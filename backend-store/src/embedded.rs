//! All nodes of all chains in one process, under virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddrV4;

use redplane_protocol::fixed::shard_of;
use redplane_protocol::wire::{HEADER_LEN, Header};
use redplane_protocol::{
    ChainMessage, Destination, Node, NodeId, Record, Schema, Shard, StoreStatistics, Time,
};

use crate::clock::NodeClock;
use crate::coordinator::{Chain, JoinError, Role};
use crate::settings::{AppFactory, Delivery, SettingsError, StoreSettings};
use crate::statistics::EmbeddedStatistics;

/// Where a [`StoreTransmit`] goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StoreDestination {
    /// To a switch.
    Switch(SocketAddrV4),
    /// To another node; only under [`Delivery::Caller`].
    Node(NodeId),
}

/// A datagram that a node of the store sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreTransmit {
    /// The node that sends it.
    pub from: NodeId,
    /// Where it goes.
    pub to: StoreDestination,
    /// Its payload.
    pub bytes: Vec<u8>,
}

/// A message from node to node under way, by the time it arrives.
type Parcel = (NodeId, NodeId, Vec<u8>);

/// All nodes of all chains in one process, and their coordinator.
///
/// Switches send to the address of a shard; the caller brings that to [`head`](Self::head), or leaves it to
/// [`handle_request`](Self::handle_request). After any call with `now`, call [`poll_transmit`](Self::poll_transmit)
/// until it yields `None`, then ask [`poll_timeout`](Self::poll_timeout).
pub struct EmbeddedStore {
    settings: StoreSettings,
    apps: Vec<AppFactory>,
    schemas: BTreeMap<u16, Schema>,
    /// One replica per shard at each node that is alive.
    nodes: BTreeMap<NodeId, Vec<Node>>,
    /// Clocks of nodes, dead ones too, that differ from the caller's.
    clocks: BTreeMap<NodeId, NodeClock>,
    chains: Vec<Chain>,
    /// Nodes that are alive and taken for dead: nobody tells them anything.
    suspected: BTreeSet<NodeId>,
    /// Deaths that the coordinator has not noticed yet.
    deaths: BTreeSet<(Time, NodeId)>,
    parcels: BTreeMap<(Time, u64), Parcel>,
    parcel_count: u64,
    transmits: VecDeque<StoreTransmit>,
    /// Counters of replicas that are gone.
    retired: StoreStatistics,
    statistics: EmbeddedStatistics,
}

impl EmbeddedStore {
    /// A store whose nodes are all up, keeping the state of `apps`.
    ///
    /// # Errors
    /// If the settings have no or too many nodes or shards.
    ///
    /// # Panics
    /// If two apps have the same number.
    pub fn new(settings: StoreSettings, apps: Vec<AppFactory>, now: Time) -> Result<Self, SettingsError> {
        settings.check()?;
        let schemas = apps.iter().map(|app| app().schema()).map(|schema| (schema.app, schema)).collect();
        let chains = (0..settings.shards).map(|shard| Chain::new(shard, settings.nodes)).collect();
        let mut store = Self {
            apps,
            schemas,
            nodes: BTreeMap::new(),
            clocks: BTreeMap::new(),
            chains,
            suspected: BTreeSet::new(),
            deaths: BTreeSet::new(),
            parcels: BTreeMap::new(),
            parcel_count: 0,
            transmits: VecDeque::new(),
            retired: StoreStatistics::default(),
            statistics: EmbeddedStatistics::default(),
            settings,
        };
        for id in (0..store.settings.nodes).map(NodeId) {
            let replicas = store.new_replicas(id);
            store.nodes.insert(id, replicas);
        }
        for shard in 0..store.settings.shards {
            store.configure(shard, now);
        }
        Ok(store)
    }

    /// What was chosen.
    #[must_use]
    pub const fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// The node that takes the requests of a shard; `None` if there is no such shard or nobody serves it any more. It
    /// may be dead already, if the coordinator has not noticed.
    #[must_use]
    pub fn head(&self, shard: u16) -> Option<NodeId> {
        self.chains.get(usize::from(shard))?.configuration().head()
    }

    /// The members of a shard's chain, head first.
    #[must_use]
    pub fn members(&self, shard: u16) -> &[NodeId] {
        self.chains.get(usize::from(shard)).map_or(&[], |chain| &chain.configuration().members)
    }

    /// A node's place in the chain of a shard, if it has one.
    #[must_use]
    pub fn role(&self, shard: u16, node: NodeId) -> Option<Role> {
        self.chains.get(usize::from(shard))?.role(node)
    }

    /// Whether a node is alive.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether every chain has noticed all deaths, and all nodes that joined have full copies.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.deaths.is_empty() && !self.chains.iter().any(Chain::is_joining)
    }

    /// The shard that a switch's message belongs to. What cannot be read belongs to the first, which will count it.
    #[must_use]
    pub fn shard_of_message(&self, bytes: &[u8]) -> u16 {
        let key = Header::parse(bytes).ok().and_then(|header| {
            let key_len = usize::from(self.schemas.get(&header.app)?.key_len);
            bytes.get(HEADER_LEN..HEADER_LEN + key_len)
        });
        key.map_or(0, |key| self.shard_of_key(key))
    }

    /// The shard of a key's wire bytes.
    #[must_use]
    pub fn shard_of_key(&self, key: &[u8]) -> u16 {
        shard_of(crc32fast::hash(key), self.settings.shards)
    }

    /// The record that a node has of an app's key, for inspection.
    #[must_use]
    pub fn record(&self, node: NodeId, app: u16, key: &[u8]) -> Option<&Record> {
        self.nodes.get(&node)?.get(usize::from(self.shard_of_key(key)))?.record(app, key)
    }

    /// When a datagram from a switch came to a node.
    pub fn handle(&mut self, node: NodeId, from: SocketAddrV4, bytes: &[u8], now: Time) {
        self.handle_timeout(now);
        let shard = self.shard_of_message(bytes);
        self.with_replica(node, shard, now, |replica, now| replica.handle_request(from, bytes, now));
    }

    /// When a datagram from a switch came to the address of its shard: brings it to the head.
    pub fn handle_request(&mut self, from: SocketAddrV4, bytes: &[u8], now: Time) {
        match self.head(self.shard_of_message(bytes)) {
            Some(head) => self.handle(head, from, bytes, now),
            None => self.statistics.undeliverable += 1,
        }
    }

    /// When a datagram came from node to node. Only under [`Delivery::Caller`].
    pub fn handle_chain(&mut self, node: NodeId, from: NodeId, bytes: &[u8], now: Time) {
        self.handle_timeout(now);
        self.deliver(from, node, bytes, now);
    }

    /// When the deadline of [`poll_timeout`](Self::poll_timeout) passed. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        // In order of time, so that a caller who is late sees the same as one who is punctual.
        while let Some(at) = self.next_deadline().filter(|at| *at <= now) {
            while let Some(entry) = self.parcels.first_entry().filter(|entry| entry.key().0 <= at) {
                let (from, to, bytes) = entry.remove();
                self.deliver(from, to, &bytes, at);
            }
            self.notice_deaths(at);
            for (node, shard) in self.overdue(at) {
                self.with_replica(node, shard, at, Node::handle_timeout);
            }
        }
    }

    /// The next datagram to send.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<StoreTransmit> {
        self.transmits.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next_deadline()
    }

    /// A node dies: its replicas are gone, and what is sent to it is lost. The coordinator notices after
    /// [`StoreSettings::detection`]. Whether the node was alive.
    pub fn kill(&mut self, node: NodeId, now: Time) -> bool {
        self.handle_timeout(now);
        let Some(replicas) = self.nodes.remove(&node) else { return false };
        for replica in &replicas {
            self.retired.add(&replica.statistics());
        }
        self.suspected.remove(&node);
        self.deaths.insert((now.plus(self.settings.detection), node));
        true
    }

    /// A node, new or dead before, comes in empty: in every shard it answers at the end of the chain, and gets a copy
    /// while updates flow to it. Until that is complete it does not count.
    ///
    /// # Errors
    /// If it is alive.
    pub fn join(&mut self, node: NodeId, now: Time) -> Result<(), JoinError> {
        self.handle_timeout(now);
        if self.is_alive(node) {
            return Err(JoinError::Alive { node });
        }
        let replicas = self.new_replicas(node);
        self.nodes.insert(node, replicas);
        for chain in &mut self.chains {
            chain.ask_to_join(node);
        }
        for shard in 0..self.settings.shards {
            self.admit(shard, now);
        }
        Ok(())
    }

    /// The coordinator takes a live node for dead, as when it does not hear of it any more. Every chain goes on without
    /// it; the node hears nothing of that, and goes on by its last configuration. Whether it was alive and trusted.
    pub fn suspect(&mut self, node: NodeId, now: Time) -> bool {
        self.handle_timeout(now);
        if !self.is_alive(node) || !self.suspected.insert(node) {
            return false;
        }
        self.leave(&[node].into(), now);
        true
    }

    /// A node that was [suspected](Self::suspect) joins again. It goes on by its last configuration until it hears of one
    /// in which it is the joining one, and then it begins empty.
    pub fn reinstate(&mut self, node: NodeId, now: Time) {
        self.handle_timeout(now);
        if !self.suspected.remove(&node) {
            return;
        }
        for shard in 0..self.settings.shards {
            self.chains[usize::from(shard)].ask_to_join(node);
            self.admit(shard, now);
        }
    }

    /// A node's own clock; the caller's, if it was not [changed](Self::set_clock).
    #[must_use]
    pub fn clock(&self, node: NodeId) -> NodeClock {
        self.clocks.get(&node).copied().unwrap_or_default()
    }

    /// From now on a node, alive or not, has this clock. It must not show less than the one before showed, for a
    /// node's time never goes back; it may step forward. The coordinator and the delivery go by the caller's clock.
    pub fn set_clock(&mut self, node: NodeId, clock: NodeClock, now: Time) {
        self.handle_timeout(now);
        self.clocks.insert(node, clock);
        // What a step forward made due is due now: at the moment of its deadline the clock was still another.
        for shard in 0..self.settings.shards {
            if self.is_alive(node) {
                self.with_replica(node, shard, now, Node::handle_timeout);
            }
        }
    }

    /// Counters, and how much is held now. Looks at every record.
    #[must_use]
    pub fn statistics(&self) -> EmbeddedStatistics {
        let mut protocol = self.retired.clone();
        for replica in self.nodes.values().flatten() {
            protocol.add(&replica.statistics());
        }
        (protocol.records, protocol.tombstones, protocol.queued) = (0, 0, 0);
        for shard in 0..self.settings.shards {
            let head = self.head(shard).and_then(|head| self.nodes.get(&head)?.get(usize::from(shard)));
            if let Some(held) = head.map(Node::statistics) {
                protocol.records += held.records;
                protocol.tombstones += held.tombstones;
                protocol.queued += held.queued;
            }
        }
        EmbeddedStatistics {
            protocol,
            nodes_alive: self.nodes.len(),
            shards_lost: self.chains.iter().filter(|chain| chain.is_lost()).count(),
            ..self.statistics.clone()
        }
    }

    fn new_replicas(&self, id: NodeId) -> Vec<Node> {
        let count = self.settings.shards;
        let replica = |index| {
            let apps = self.apps.iter().map(|app| app()).collect();
            Node::new(id, Shard { index, count }, self.settings.lease, apps)
        };
        (0..count).map(replica).collect()
    }

    fn next_deadline(&self) -> Option<Time> {
        let parcel = self.parcels.first_key_value().map(|((at, _), _)| *at);
        let death = self.deaths.first().map(|(at, _)| *at);
        let replica = self.nodes.iter().filter_map(|(id, replicas)| {
            let due = replicas.iter().filter_map(Node::poll_timeout).min()?;
            Some(self.clock(*id).when(due))
        });
        [parcel, death, replica.min()].into_iter().flatten().min()
    }

    fn overdue(&self, at: Time) -> Vec<(NodeId, u16)> {
        let replicas = self.nodes.iter().flat_map(|(id, replicas)| {
            let shown = self.clock(*id).read(at);
            let is_due = move |replica: &Node| replica.poll_timeout().is_some_and(|due| due <= shown);
            let due = replicas.iter().enumerate().filter(move |(_, replica)| is_due(replica));
            due.map(|(shard, _)| (*id, shard as u16))
        });
        replicas.collect()
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, bytes: &[u8], now: Time) {
        // A message too short to name a shard is counted by the first.
        let shard =
            ChainMessage::peek_shard(bytes).filter(|shard| *shard < self.settings.shards).unwrap_or(0);
        self.with_replica(to, shard, now, |replica, now| replica.handle_chain(from, bytes, now));
    }

    /// Changes a replica by its node's clock, and sends what comes of it.
    fn with_replica(&mut self, id: NodeId, shard: u16, now: Time, change: impl FnOnce(&mut Node, Time)) {
        let shown = self.clock(id).read(now);
        let Some(replica) = self.nodes.get_mut(&id).and_then(|node| node.get_mut(usize::from(shard))) else {
            self.statistics.undeliverable += 1;
            return;
        };
        change(replica, shown);
        while let Some(transmit) = replica.poll_transmit() {
            match (transmit.to, self.settings.delivery) {
                (Destination::Node(to), Delivery::Internal(delay)) => {
                    self.parcel_count += 1;
                    self.parcels.insert((now.plus(delay), self.parcel_count), (id, to, transmit.bytes));
                }
                (Destination::Node(to), Delivery::Caller) => {
                    let to = StoreDestination::Node(to);
                    self.transmits.push_back(StoreTransmit { from: id, to, bytes: transmit.bytes });
                }
                (Destination::Switch(address), _) => {
                    let to = StoreDestination::Switch(address);
                    self.transmits.push_back(StoreTransmit { from: id, to, bytes: transmit.bytes });
                }
            }
        }
        // A node that came back early has copied nothing: it does not even know the configuration.
        let chain = &self.chains[usize::from(shard)];
        let is_told = replica.configuration().epoch == chain.configuration().epoch;
        if chain.copying() == Some(id) && is_told && !replica.is_copying() {
            self.chains[usize::from(shard)].completed();
            self.statistics.copies_completed += 1;
            self.admit(shard, now);
        }
    }

    fn notice_deaths(&mut self, now: Time) {
        let mut dead = BTreeSet::new();
        while self.deaths.first().is_some_and(|(at, _)| *at <= now) {
            dead.extend(self.deaths.pop_first().map(|(_, node)| node));
        }
        if !dead.is_empty() {
            self.leave(&dead, now);
        }
    }

    /// Takes nodes out of every chain.
    fn leave(&mut self, gone: &BTreeSet<NodeId>, now: Time) {
        for shard in 0..self.settings.shards {
            let chain = &mut self.chains[usize::from(shard)];
            let head = chain.configuration().head();
            let changed = chain.remove(gone);
            // Who came back before its death was noticed still wants to join.
            let trusted = |node: &NodeId| self.nodes.contains_key(node) && !self.suspected.contains(node);
            let back = gone.iter().copied().filter(trusted);
            back.for_each(|node| chain.ask_to_join(node));
            if changed {
                self.statistics.promotions +=
                    u64::from(chain.configuration().head() != head && !chain.is_lost());
                self.configure(shard, now);
            }
            self.admit(shard, now);
        }
    }

    fn admit(&mut self, shard: u16, now: Time) {
        if self.chains[usize::from(shard)].admit() {
            self.configure(shard, now);
        }
    }

    fn configure(&mut self, shard: u16, now: Time) {
        let configuration = self.chains[usize::from(shard)].configuration().clone();
        self.statistics.configurations += 1;
        // The successor must know of an epoch before the predecessor's messages in it arrive: tail first.
        for member in configuration.members.iter().rev() {
            // A node that came back before its death was noticed is still a member, and empty: told so, it would serve.
            let is_back_early = self.deaths.iter().any(|(_, dead)| dead == member);
            if self.nodes.contains_key(member) && !is_back_early {
                let configuration = configuration.clone();
                self.with_replica(*member, shard, now, |replica, now| {
                    replica.reconfigure(configuration, now);
                });
            }
        }
    }
}
