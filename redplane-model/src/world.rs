//! The state: switches, nodes, the network between them, and the coordinator of the chain.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use redplane_protocol::chain::Content;
use redplane_protocol::create::Creator;
use redplane_protocol::mutant::Mutant;
use redplane_protocol::wire::UDP_PORT;
use redplane_protocol::{
    ChainMessage, Configuration, Creation, Header, Lookup, Node, NodeId, Record, Refusal, Schema, Serial,
    Shard, SlotTable, SwitchIdentity, Ticks, Time, TypedCreator, Version,
};

use crate::clock::{self, Pace};
use crate::history::History;
use crate::scope::Scope;
use crate::shared::Shared;

/// The state that the model's app keeps: a counter of one byte per key of one byte.
pub(crate) const SCHEMA: Schema = Schema { app: 1, fingerprint: 0x1234, key_len: 1, value_len: 1 };

/// The companion of key `n` is the key `n + COMPANION`.
pub(crate) const COMPANION: u8 = 100;

/// Something worth seeing that happened in the step to a state. No part of the state: two ways to it are one state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Sighting {
    /// The store asked for a lease back.
    Recall,
    /// The store refused a write.
    FencedWrite,
    /// A grant overwrote a slot whose write was still under way.
    EvictedWithWrite,
    /// A grant came whose ticket was no longer the slot's.
    OutdatedGrant,
    /// A switch renewed a lease.
    Renewal,
    /// A switch sent a write again.
    Retransmission,
    /// A lease ran out at the store, and somebody who waited got it.
    LeaseRanOut,
    /// A switch booted again.
    Reboot,
    /// A chain whose head was not the first granted a lease.
    Failover,
    /// A node that joined has its whole copy.
    Joined,
    /// A record was deleted.
    Deletion,
    /// A packet came back with a refusal, and was dropped.
    Refused,
}

impl Sighting {
    /// Every sighting, in order.
    pub const ALL: [Self; 12] = [
        Self::Recall,
        Self::FencedWrite,
        Self::EvictedWithWrite,
        Self::OutdatedGrant,
        Self::Renewal,
        Self::Retransmission,
        Self::LeaseRanOut,
        Self::Reboot,
        Self::Failover,
        Self::Joined,
        Self::Deletion,
        Self::Refused,
    ];
}

/// The sightings of one step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sightings(u16);

impl Sightings {
    pub(crate) fn add(&mut self, sighting: Sighting) {
        self.0 |= 1 << sighting as u16;
    }

    pub(crate) fn contains(self, sighting: Sighting) -> bool {
        self.0 & 1 << sighting as u16 != 0
    }
}

/// One switch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Switch {
    pub(crate) table: Shared<SlotTable<u8, u8>>,
    pub(crate) incarnation: u16,
    pub(crate) clock: u8,
    pub(crate) pace: Pace,
    /// No packet came in yet.
    pub(crate) unused: bool,
    pub(crate) dead: bool,
}

impl Switch {
    pub(crate) fn now(&self) -> Ticks {
        self.pace.switch_time(self.clock)
    }

    pub(crate) fn in_use(&self) -> bool {
        !self.unused && !self.dead
    }

    pub(crate) fn holds(&self, key: u8) -> bool {
        !self.dead && matches!(self.table.lookup(&key, self.now()), Lookup::Held(_))
    }
}

/// A datagram under way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Datagram {
    /// From the store to a switch.
    Answer { switch: u8, bytes: Vec<u8> },
    /// From a switch, or whoever has that address, to the store.
    Request { from: SocketAddrV4, bytes: Vec<u8> },
    /// From a node to another.
    Chain { from: NodeId, to: NodeId, bytes: Vec<u8> },
}

/// What is left of each budget, except time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Budgets {
    pub(crate) packets: u8,
    pub(crate) duplicates: u8,
    pub(crate) reboots: u8,
    pub(crate) deaths: u8,
    pub(crate) crashes: u8,
    pub(crate) suspicions: u8,
    pub(crate) joins: u8,
    pub(crate) forgeries: u8,
    pub(crate) drains: u8,
}

/// A state.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) switches: Vec<Switch>,
    /// By number; `None` if it crashed, or never was.
    pub(crate) nodes: Vec<Option<Shared<Node>>>,
    pub(crate) store_clock: u8,
    pub(crate) pace: Pace,
    pub(crate) configuration: Shared<Configuration>,
    /// In order; equal ones as often as they are under way.
    pub(crate) network: Vec<Shared<Datagram>>,
    /// By key.
    pub(crate) histories: Vec<Shared<History>>,
    pub(crate) left: Budgets,
    /// A request that its sender had no right to make changed a record.
    pub(crate) unfenced: bool,
    /// What happened in the step to this state.
    pub(crate) seen: Sightings,
}

type Essence<'a> = (
    &'a [Switch],
    &'a [Option<Shared<Node>>],
    u8,
    &'a Shared<Configuration>,
    &'a [Shared<Datagram>],
    &'a [Shared<History>],
    &'a Budgets,
    bool,
);

impl State {
    fn essence(&self) -> Essence<'_> {
        (
            &self.switches,
            &self.nodes,
            self.store_clock,
            &self.configuration,
            &self.network,
            &self.histories,
            &self.left,
            self.unfenced,
        )
    }

    /// The first state of a scope: a chain that is configured, and switches that know nothing.
    pub(crate) fn new(scope: &Scope) -> Self {
        let members: Vec<NodeId> = (0..scope.nodes).map(NodeId).collect();
        let configuration = Configuration { epoch: 2, members, joining: None };
        let spare = if scope.joins > 0 && scope.nodes == 1 { 1 } else { 0 };
        let mut nodes: Vec<_> =
            (0..scope.nodes).map(|id| Some(Shared::new(first_node(scope, id, &configuration)))).collect();
        nodes.resize_with(usize::from(scope.nodes + spare), || None);
        let switches = (0..scope.switches).map(|switch| Switch {
            table: Shared::new(table(scope, switch, 0)),
            incarnation: 0,
            clock: 0,
            pace: scope.pace(),
            unused: true,
            dead: false,
        });
        Self {
            switches: switches.collect(),
            nodes,
            store_clock: 0,
            pace: scope.pace(),
            configuration: Shared::new(configuration),
            network: Vec::new(),
            histories: (0..scope.keys).map(|_| Shared::new(History::new())).collect(),
            left: Budgets {
                packets: scope.packets,
                duplicates: scope.duplicates,
                reboots: scope.reboots,
                deaths: scope.deaths,
                crashes: scope.crashes,
                suspicions: scope.suspicions,
                joins: scope.joins,
                forgeries: scope.forgeries,
                drains: scope.drains,
            },
            unfenced: false,
            seen: Sightings::default(),
        }
    }

    pub(crate) fn store_now(&self) -> Time {
        self.pace.store_time(self.store_clock)
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Shared<Node>> {
        self.nodes.get(usize::from(id.0))?.as_ref()
    }

    /// Puts a datagram on its way, unless nobody would ever take it.
    pub(crate) fn send(&mut self, datagram: Datagram, mutant: Option<Mutant>) {
        if self.is_of_use(&datagram, mutant) {
            let datagram = Shared::new(datagram);
            let at = self.network.partition_point(|other| **other < *datagram);
            self.network.insert(at, datagram);
        }
    }

    /// Forgets datagrams that nobody will take any more: with them and without them, the same follows.
    pub(crate) fn tidy(&mut self, mutant: Option<Mutant>) {
        let network = std::mem::take(&mut self.network);
        self.network = network.into_iter().filter(|datagram| self.is_of_use(datagram, mutant)).collect();
    }

    fn is_of_use(&self, datagram: &Datagram, mutant: Option<Mutant>) -> bool {
        match datagram {
            Datagram::Request { .. } => true,
            Datagram::Answer { switch, bytes } => {
                let switch = &self.switches[usize::from(*switch)];
                let Ok(header) = Header::parse(bytes) else { return false };
                let is_recall = header.kind == redplane_protocol::Kind::Recall;
                !switch.dead && (is_recall || header.identity.incarnation == switch.incarnation)
            }
            Datagram::Chain { to, bytes, .. } => {
                if mutant == Some(Mutant::StaleEpochAccepted) {
                    return true;
                }
                let Ok(message) = ChainMessage::parse(bytes) else { return false };
                // A node that starts anew starts under a later epoch.
                self.node(*to).is_some_and(|node| message.epoch >= node.configuration().epoch)
            }
        }
    }

    /// Whether a member has all that was acknowledged: one that joined does once its predecessor says so.
    pub(crate) fn is_whole(&self, id: NodeId) -> bool {
        let configuration = &self.configuration;
        let Some(at) = configuration.members.iter().position(|member| *member == id) else { return false };
        let Some(node) = self.node(id) else { return false };
        if configuration.joining != Some(id) {
            return true;
        }
        let predecessor = at.checked_sub(1).and_then(|before| self.node(configuration.members[before]));
        predecessor.is_some_and(|before| {
            before.configuration().epoch == configuration.epoch
                && node.configuration().epoch == configuration.epoch
                && !before.is_copying()
        })
    }

    pub(crate) fn history(&mut self, key: u8, change: impl FnOnce(&mut History)) {
        let history = &mut self.histories[usize::from(key)];
        let mut changed = (**history).clone();
        change(&mut changed);
        *history = Shared::new(changed);
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}

impl Eq for State {}

impl std::hash::Hash for State {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.essence().hash(state);
    }
}

/// Address of a switch.
pub(crate) fn address(switch: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, switch), UDP_PORT)
}

/// The switch at an address.
pub(crate) fn switch_at(address: SocketAddrV4) -> u8 {
    address.ip().octets()[3]
}

/// The empty slots of a switch that has just booted.
pub(crate) fn table(scope: &Scope, switch: u8, incarnation: u16) -> SlotTable<u8, u8> {
    let identity = SwitchIdentity { switch: u16::from(switch), incarnation };
    SlotTable::new(identity, SCHEMA, scope.slots, clock::lease())
}

/// An empty node that waits for its configuration.
pub(crate) fn node(scope: &Scope, id: NodeId) -> Node {
    Node::new(id, Shard { index: 0, count: 1 }, clock::lease(), apps(scope))
}

/// The store's side of the model's app.
pub(crate) fn apps(scope: &Scope) -> Vec<Box<dyn Creator>> {
    // Forever is the largest time, whenever one adds it: no moment of traffic leaves a trace in the state.
    let idle =
        scope.idle_steps.map_or(Duration::from_micros(u64::MAX), |steps| scope.pace().store_steps(steps));
    let on_create: OnCreate = if scope.companions { create_with_companion } else { create };
    vec![Box::new(TypedCreator::new(SCHEMA, move |_: &_, _: &_| idle, on_create))]
}

type OnCreate = fn(&u8, &mut Creation<'_, u8, u8>) -> Result<u8, Refusal>;

fn create(_: &u8, _: &mut Creation<'_, u8, u8>) -> Result<u8, Refusal> {
    Ok(0)
}

fn create_with_companion(key: &u8, records: &mut Creation<'_, u8, u8>) -> Result<u8, Refusal> {
    records.companion(key + COMPANION, *key);
    Ok(0)
}

/// A node of the first chain. Near the wrap it took over a record from a node that is no longer there.
fn first_node(scope: &Scope, id: u16, configuration: &Configuration) -> Node {
    const FORMER: NodeId = NodeId(99);
    let mut node = node(scope, NodeId(id));
    let now = scope.pace().store_time(0);
    if scope.near_wrap {
        let members = vec![FORMER, NodeId(id)];
        node.reconfigure(Configuration { epoch: 1, members, joining: None }, now);
        let version = Version { generation: Serial(u32::MAX), sequence: Serial(u32::MAX) };
        let idle = Duration::from_micros(u64::MAX);
        let record = Record {
            version,
            value: [0][..].into(),
            deleted: false,
            idle,
            ..Record::tombstone(Serial::ZERO)
        };
        let name = redplane_protocol::RecordKey::new(SCHEMA.app, &[0]);
        let records = name.map(|name| (name, record)).into_iter().collect();
        let content = Content::Update { confirm: 0, records, reply: None };
        let message = ChainMessage { shard: 0, epoch: 1, generation: version.generation, content };
        node.handle_chain(FORMER, &message.to_vec(), now);
    }
    node.reconfigure(configuration.clone(), now);
    while node.poll_transmit().is_some() {}
    node
}
