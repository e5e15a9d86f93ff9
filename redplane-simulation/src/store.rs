//! The store in the simulation: all nodes of its chains, each with its own links and its own clock.

use std::net::SocketAddrV4;

use backend_store::{AppFactory, Delivery, EmbeddedStore, NodeClock, Role, StoreDestination, StoreSettings};
use redplane_protocol::chain::Content;
use redplane_protocol::{ChainMessage, NodeId, Serial, Time};

use crate::event::Place;
use crate::frame::Datagram;
use crate::history::Micros;
use crate::plan::{NODES, Plan, SWITCHES_MAX};
use crate::switch;

/// How long a node that came back may still be listed as what it was, beyond the time of detection.
const LISTED: Micros = 1000;

/// Generations that are left until their number wraps, in a store that is old.
const UNTIL_WRAP: u32 = 40;

/// The store.
pub(crate) struct StoreUnit {
    pub(crate) store: EmbeddedStore,
    /// When it has something to do.
    pub(crate) deadline: Micros,
    pub(crate) suspected: [bool; NODES],
    died_at: [Option<Micros>; NODES],
    detection: Micros,
}

impl StoreUnit {
    pub(crate) fn new(plan: &Plan, factory: AppFactory) -> StoreUnit {
        let settings = StoreSettings {
            nodes: NODES as u16,
            shards: plan.shards,
            lease: plan.lease,
            detection: plan.detection,
            delivery: Delivery::Caller,
        };
        let mut store =
            EmbeddedStore::new(settings, vec![factory], Time::ZERO).expect("the settings are legal");
        for (node, clock) in plan.node_clocks.into_iter().enumerate() {
            store.set_clock(NodeId(node as u16), clock, Time::ZERO);
        }
        let mut unit = StoreUnit {
            store,
            deadline: 0,
            suspected: [false; NODES],
            died_at: [None; NODES],
            detection: plan.detection.as_micros() as Micros,
        };
        if plan.aged {
            unit.age(plan.shards);
        }
        unit.schedule(0);
        unit
    }

    pub(crate) fn receive_from_switch(&mut self, node: u8, frame: &[u8], now: Micros) {
        if let Some((datagram, payload)) = Datagram::parse(frame) {
            let from = SocketAddrV4::new(datagram.src.0, datagram.src.1);
            self.store.handle(NodeId(node.into()), from, payload, Time(now));
        }
        self.schedule(now);
    }

    pub(crate) fn receive_from_node(&mut self, node: u8, from: u8, bytes: &[u8], now: Micros) {
        self.store.handle_chain(NodeId(node.into()), NodeId(from.into()), bytes, Time(now));
        self.schedule(now);
    }

    pub(crate) fn timeout(&mut self, now: Micros) {
        self.store.handle_timeout(Time(now));
        self.schedule(now);
    }

    /// When it did something.
    fn schedule(&mut self, now: Micros) {
        // What happened at one moment is over before the next.
        self.deadline = self.store.poll_timeout().map_or(Micros::MAX, |due| due.0.max(now + 1));
    }

    /// A node's clock steps forward.
    pub(crate) fn step_clock(&mut self, node: u8, step: u64, now: Micros) {
        let id = NodeId(node.into());
        let clock = self.store.clock(id);
        self.store.set_clock(id, NodeClock { offset: clock.offset + step, ..clock }, Time(now));
        self.schedule(now);
    }

    /// What its nodes sent.
    pub(crate) fn sent(&mut self) -> Option<(Place, Place, Vec<u8>)> {
        let transmit = self.store.poll_transmit()?;
        let from = Place::Node(transmit.from.0 as u8);
        let (to, bytes) = match transmit.to {
            StoreDestination::Node(to) => (Place::Node(to.0 as u8), transmit.bytes),
            StoreDestination::Switch(to) => {
                let at =
                    (0..SWITCHES_MAX).find(|at| switch::address(*at) == *to.ip()).unwrap_or(SWITCHES_MAX);
                let src = (switch::shard_address(0), to.port());
                let datagram = Datagram { src, dst: (*to.ip(), to.port()), identification: 0 };
                (Place::Switch(at as u8), datagram.to_frame(&transmit.bytes))
            }
        };
        Some((from, to, bytes))
    }

    /// Whether the store can do without a node: another full copy is alive in every chain.
    pub(crate) fn can_lose(&self, node: u8, now: Micros) -> bool {
        (0..self.store.settings().shards).all(|shard| {
            let others = (0..NODES as u8).filter(|other| *other != node);
            others.into_iter().any(|other| self.is_full(shard, other, now))
        })
    }

    fn is_full(&self, shard: u16, node: u8, now: Micros) -> bool {
        let died_lately =
            self.died_at[usize::from(node)].is_some_and(|at| now < at + self.detection + LISTED);
        let id = NodeId(node.into());
        let role = self.store.role(shard, id);
        let serves = role.is_some_and(|role| role != Role::Joining);
        serves && self.store.is_alive(id) && !self.suspected[usize::from(node)] && !died_lately
    }

    pub(crate) fn is_alive(&self, node: u8) -> bool {
        self.store.is_alive(NodeId(node.into()))
    }

    pub(crate) fn kill(&mut self, node: u8, now: Micros) {
        self.store.kill(NodeId(node.into()), Time(now));
        self.died_at[usize::from(node)] = Some(now);
        self.suspected[usize::from(node)] = false;
        self.schedule(now);
    }

    /// Whether it was dead.
    pub(crate) fn join(&mut self, node: u8, now: Micros) -> bool {
        let joins = self.store.join(NodeId(node.into()), Time(now)).is_ok();
        self.schedule(now);
        joins
    }

    pub(crate) fn suspect(&mut self, node: u8, now: Micros) {
        self.suspected[usize::from(node)] = self.store.suspect(NodeId(node.into()), Time(now));
        self.schedule(now);
    }

    pub(crate) fn reinstate(&mut self, node: u8, now: Micros) {
        if std::mem::take(&mut self.suspected[usize::from(node)]) {
            self.store.reinstate(NodeId(node.into()), Time(now));
        }
        self.schedule(now);
    }

    /// Gives all nodes a past: so many generations were given that their number is about to wrap.
    ///
    /// Every chain message tells the generation, and a node takes over what is later. Half way round is as far as one
    /// message can take it, and the head is told by nobody: so it dies, and comes back.
    fn age(&mut self, shards: u16) {
        for shard in 0..shards {
            let members = self.store.members(shard).to_vec();
            for generation in [u32::MAX / 2, u32::MAX - UNTIL_WRAP] {
                let content = Content::Update { confirm: 0, records: Vec::new(), reply: None };
                let message =
                    ChainMessage { shard, epoch: 1, generation: Serial(generation), content }.to_vec();
                for pair in members.windows(2) {
                    self.store.handle_chain(pair[1], pair[0], &message, Time::ZERO);
                }
            }
        }
        while self.store.poll_transmit().is_some() {}
        // The heads of two shards are two nodes: one full copy is left.
        for shard in 0..shards {
            self.kill(self.store.members(shard)[0].0 as u8, 0);
        }
        for node in 0..NODES as u8 {
            self.join(node, 0);
        }
    }
}
