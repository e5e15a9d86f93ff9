//! What one event does to a state. The switches' and nodes' part of it is the code that ships.

use std::net::SocketAddrV4;

use redplane_protocol::chain::Content;
use redplane_protocol::fixed::Fixed;
use redplane_protocol::mutant::Mutant;
use redplane_protocol::{
    ChainMessage, Configuration, Destination, DropReason, Header, Kind, Lookup, Message, NackReason, Node,
    NodeId, Reaction, Record, Serial, Settled, SlotTable,
};

use crate::history::{Operation, Output, input_frame, operation_of};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::world::{self, Datagram, SCHEMA, Sighting, Sightings, State, address, switch_at};

/// Where packets come in and leave. The protocol only echoes it.
const PORT: u16 = 7;

/// A state in the course of a step.
pub(crate) struct Step<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) state: State,
}

impl Step<'_> {
    /// A packet comes in from a host.
    pub(crate) fn inject(&mut self, switch: u8, key: u8, operation: Operation) {
        let store_clock = self.state.store_clock;
        let entry = &mut self.state.switches[usize::from(switch)];
        if entry.unused {
            entry.unused = false;
            entry.clock = store_clock;
        }
        if !self.state.histories[usize::from(key)].asked_for {
            self.state.history(key, |history| history.asked_for = true);
        }
        self.process(switch, key, &input_frame(operation));
    }

    /// A datagram arrives; one to the store at a node that takes itself for the head.
    pub(crate) fn deliver(&mut self, datagram: &Datagram, head: Option<NodeId>) {
        match datagram {
            Datagram::Answer { switch, bytes } => self.switch_receives(*switch, bytes),
            Datagram::Request { from, bytes } => {
                if let Some(head) = head {
                    self.store_receives(head, *from, bytes);
                }
            }
            Datagram::Chain { from, to, bytes } => {
                let (from, now) = (*from, self.state.store_now());
                self.with_node(*to, |node| node.handle_chain(from, bytes, now));
            }
        }
    }

    /// A timer of a node fires.
    pub(crate) fn wake(&mut self, id: NodeId) {
        let now = self.state.store_now();
        self.with_node(id, |node| node.handle_timeout(now));
    }

    /// A switch sends again what is due.
    pub(crate) fn retransmit(&mut self, switch: u8) {
        let now = self.state.switches[usize::from(switch)].now();
        while let Some((header, key, value)) = self.with_table(switch, |table| table.poll_retransmit(now)) {
            self.state.seen.add(Sighting::Retransmission);
            self.request(switch, header, key, value, &[]);
        }
    }

    /// A switch clears expired slots.
    pub(crate) fn sweep(&mut self, switch: u8) {
        let (now, slots) = (self.state.switches[usize::from(switch)].now(), self.scope.slots);
        self.with_table(switch, |table| table.sweep(slots, now));
    }

    /// A switch gives back all that it holds.
    pub(crate) fn drain(&mut self, switch: u8) {
        let now = self.state.switches[usize::from(switch)].now();
        let released: Vec<_> = self.with_table(switch, |table| table.release_all(now).collect());
        for (header, key) in released {
            self.request(switch, header, key, 0, &[]);
        }
    }

    /// A switch loses its slots and boots again.
    pub(crate) fn reboot(&mut self, switch: u8) {
        let entry = &mut self.state.switches[usize::from(switch)];
        if self.mutant != Some(Mutant::IncarnationKept) {
            entry.incarnation += 1;
        }
        entry.table = Shared::new(world::table(self.scope, switch, entry.incarnation));
        self.state.seen.add(Sighting::Reboot);
        self.state.tidy(self.mutant);
    }

    /// A switch dies for good.
    pub(crate) fn kill(&mut self, switch: u8) {
        let entry = &mut self.state.switches[usize::from(switch)];
        entry.dead = true;
        entry.table = Shared::new(world::table(self.scope, switch, entry.incarnation));
        self.state.tidy(self.mutant);
    }

    /// The coordinator takes a node out of the chain, which crashed or only seems to.
    pub(crate) fn remove(&mut self, id: NodeId, crash: bool) {
        let old = &self.state.configuration;
        let joining = old.joining.filter(|joining| *joining != id && !self.state.is_whole(*joining));
        let members = old.members.iter().copied().filter(|member| *member != id).collect();
        let configuration = Configuration { epoch: old.epoch + 1, members, joining };
        if crash {
            self.state.nodes[usize::from(id.0)] = None;
        }
        self.state.configuration = Shared::new(configuration);
        self.state.tidy(self.mutant);
    }

    /// The coordinator puts a node at the end of the chain.
    pub(crate) fn join(&mut self, id: NodeId) {
        let old = &self.state.configuration;
        let members = old.members.iter().copied().chain([id]).collect();
        let configuration = Configuration { epoch: old.epoch + 1, members, joining: Some(id) };
        self.state.configuration = Shared::new(configuration);
        let place = &mut self.state.nodes[usize::from(id.0)];
        if place.is_none() {
            *place = Some(Shared::new(world::node(self.scope, id)));
        }
    }

    /// A node hears of the latest configuration.
    pub(crate) fn configure(&mut self, id: NodeId) {
        let configuration = (*self.state.configuration).clone();
        let now = self.state.store_now();
        self.with_node(id, |node| node.reconfigure(configuration, now));
        self.state.tidy(self.mutant);
    }

    /// An outsider sends a request in the owner's generation. It knows all, but has no switch's address.
    pub(crate) fn forge(&mut self, kind: Kind, as_owner: bool) {
        const OUTSIDER: u8 = 9;
        let head = self.state.configuration.head().and_then(|head| self.state.node(head));
        let Some(record) = head.and_then(|head| head.record(SCHEMA.app, &[0])) else { return };
        let Some(owner) = record.owner else { return };
        let mut identity = owner.identity;
        if !as_owner {
            identity.switch = u16::from(OUTSIDER);
        }
        let header = Header {
            kind,
            create: false,
            reason: None,
            app: SCHEMA.app,
            fingerprint: SCHEMA.fingerprint,
            identity,
            generation: record.version.generation,
            sequence: record.version.sequence.next(),
            ticket: Serial::ZERO,
            sent_at: Default::default(),
            port: PORT,
        };
        let bytes = Message { header, key: &[0], value: &[77], frame: &[] }.to_vec();
        self.state.send(Datagram::Request { from: address(OUTSIDER), bytes }, self.mutant);
    }

    fn process(&mut self, switch: u8, key: u8, frame: &[u8]) {
        let operation = operation_of(frame);
        let now = self.state.switches[usize::from(switch)].now();
        let slot = match self.state.switches[usize::from(switch)].table.lookup(&key, now) {
            Lookup::NotHeld(slot) => {
                let header = self.with_table(switch, |table| table.lease_request(slot, true, PORT, now));
                return self.request(switch, header, key, 0, frame);
            }
            Lookup::Held(slot) => slot,
        };
        let before = self.state.switches[usize::from(switch)].table.value(slot);
        let written = (operation == Operation::Increment).then(|| before.wrapping_add(1));
        let settled = self.with_table(switch, |table| table.settle(slot, written, PORT, now));
        let value = written.unwrap_or(before);
        let mut run = 0;
        self.state.history(key, |history| run = history.begin(operation));
        let output = Output { run, value };
        match settled {
            Settled::Release { renew } => {
                self.state.history(key, |history| history.end(output));
                if let Some(header) = renew {
                    self.state.seen.add(Sighting::Renewal);
                    self.request(switch, header, key, 0, &[]);
                }
            }
            Settled::Hold(header) => self.request(switch, header, key, value, &output.to_frame()),
        }
    }

    fn request(&mut self, switch: u8, header: Header, key: u8, value: u8, frame: &[u8]) {
        let bytes = Message { header, key: &[key], value: &[value], frame }.to_vec();
        self.state.send(Datagram::Request { from: address(switch), bytes }, self.mutant);
    }

    fn switch_receives(&mut self, switch: u8, bytes: &[u8]) {
        let message = match Message::parse(bytes, &SCHEMA) {
            Ok(message) => message,
            Err(error) => panic!("the store sent what does not parse: {error}"),
        };
        let (key, value) = (u8::decode(message.key), u8::decode(message.value));
        let entry = &self.state.switches[usize::from(switch)];
        let (now, before) = (entry.now(), *entry.table.statistics());
        let reaction =
            self.with_table(switch, |table| table.handle_message(&message.header, &key, &value, now));
        let after = *self.state.switches[usize::from(switch)].table.statistics();
        if after.outdated > before.outdated {
            self.state.seen.add(Sighting::OutdatedGrant);
        }
        if after.overwritten > before.overwritten && self.write_under_way(switch, key) {
            self.state.seen.add(Sighting::EvictedWithWrite);
        }
        match reaction {
            Reaction::Reprocess { absent: false, .. } => self.process(switch, key, message.frame),
            Reaction::Reprocess { absent: true, .. } => unreachable!("every packet asks to make its record"),
            Reaction::Release { .. } => {
                if let Some(output) = Output::from_frame(message.frame) {
                    self.state.history(key, |history| history.end(output));
                }
            }
            Reaction::Reply(header) => self.request(switch, header, key, 0, &[]),
            Reaction::Drop(DropReason::LeaseStale | DropReason::StoreBusy) if !message.frame.is_empty() => {
                self.state.seen.add(Sighting::Refused);
            }
            Reaction::Drop(_) => {}
        }
    }

    /// Whether a write of this switch for another key is on its way to the store.
    fn write_under_way(&self, switch: u8, key: u8) -> bool {
        self.state.network.iter().any(|datagram| match &**datagram {
            Datagram::Request { from, bytes } if switch_at(*from) == switch => {
                let message = Message::parse(bytes, &SCHEMA).ok();
                message.is_some_and(|message| message.header.kind == Kind::Write && message.key != [key])
            }
            _ => false,
        })
    }

    fn store_receives(&mut self, head: NodeId, from: SocketAddrV4, bytes: &[u8]) {
        let now = self.state.store_now();
        if self.scope.idle_steps.is_some() {
            // A record may be deleted now, and made again by this very request: the two must not look like one.
            self.wake(head);
        }
        let (mut before, mut after) = (None, None);
        let message = match Message::parse(bytes, &SCHEMA) {
            Ok(message) => message,
            Err(error) => panic!("a switch sent what does not parse: {error}"),
        };
        self.with_node(head, |node| {
            // What is due now is due whatever comes; it must not be taken for the request's doing.
            node.handle_timeout(now);
            before = node.record(SCHEMA.app, message.key).cloned();
            node.handle_request(from, bytes, now);
            after = node.record(SCHEMA.app, message.key).cloned();
        });
        if message.header.kind != Kind::Lease && before != after {
            let is_fenced = before.as_ref().is_none_or(|before| !is_of_owner(before, &message.header, from));
            self.state.unfenced |= is_fenced;
        }
    }

    fn with_table<T>(&mut self, switch: u8, change: impl FnOnce(&mut SlotTable<u8, u8>) -> T) -> T {
        let place = &mut self.state.switches[usize::from(switch)].table;
        let mut table = (**place).clone();
        let result = change(&mut table);
        *place = Shared::new(table);
        result
    }

    fn with_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let Some(before) = self.state.node(id) else { return };
        let before = before.clone();
        let mut node = before.fork(world::apps(self.scope));
        change(&mut node);
        let transmits: Vec<_> = std::iter::from_fn(|| node.poll_transmit()).collect();
        self.observe(&before, &node);
        self.state.nodes[usize::from(id.0)] = Some(Shared::new(node));
        for transmit in transmits {
            match transmit.to {
                Destination::Node(to) => {
                    let datagram = Datagram::Chain { from: id, to, bytes: transmit.bytes };
                    self.state.send(datagram, self.mutant);
                }
                Destination::Switch(to) => {
                    sight(&mut self.state.seen, id, &before, &transmit.bytes);
                    let switch = switch_at(to);
                    if usize::from(switch) < self.state.switches.len() {
                        let datagram = Datagram::Answer { switch, bytes: transmit.bytes };
                        self.state.send(datagram, self.mutant);
                    }
                }
            }
        }
    }

    /// Notes what a node's step means beyond the node.
    fn observe(&mut self, before: &Node, after: &Node) {
        if before.is_copying() && !after.is_copying() {
            self.state.seen.add(Sighting::Joined);
        }
        if self.scope.idle_steps.is_none() || !before.is_head() || !after.is_head() {
            return;
        }
        for key in 0..self.scope.keys {
            let is_there = |node: &Node| node.record(SCHEMA.app, &[key]).is_some();
            if is_there(before) && !is_there(after) {
                self.state.seen.add(Sighting::Deletion);
                self.state.history(key, |history| {
                    history.begin(Operation::Forget);
                });
            }
        }
    }
}

fn is_of_owner(record: &Record, header: &Header, from: SocketAddrV4) -> bool {
    record.version.generation == header.generation
        && record.owner.is_some_and(|owner| owner.identity == header.identity && owner.address == from)
}

/// Notes what an answer says.
fn sight(seen: &mut Sightings, node: NodeId, before: &Node, bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    match (header.kind, header.reason) {
        (Kind::Recall, _) => seen.add(Sighting::Recall),
        (Kind::Nack, Some(NackReason::Stale)) => seen.add(Sighting::FencedWrite),
        (Kind::Grant, _) => {
            let configuration = before.configuration();
            if configuration.head() != Some(NodeId(0)) {
                seen.add(Sighting::Failover);
            }
            let owner = before.record(SCHEMA.app, &[0]).and_then(|record| record.owner);
            let is_other = owner.is_some_and(|owner| owner.identity.switch != header.identity.switch);
            if is_other && before.poll_timeout().is_some() && configuration.head() == Some(node) {
                seen.add(Sighting::LeaseRanOut);
            }
        }
        _ => {}
    }
}

/// The answer that an update carries, if any.
pub(crate) fn reply_of(bytes: &[u8]) -> Option<Vec<u8>> {
    match ChainMessage::parse(bytes).ok()?.content {
        Content::Update { reply, .. } => reply.map(|reply| reply.bytes),
        _ => None,
    }
}
