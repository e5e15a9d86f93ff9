//! Switches and a chain in one thread, under one seed and a virtual clock, on a network that misbehaves.
//!
//! The app counts: a packet increments its key's counter or reads it. What must hold is checked at every event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use redplane_protocol::wire::{Header, Kind, Message, UDP_PORT};
use redplane_protocol::*;

/// Companion of the counter `key` is the record `key + COMPANION`.
pub(crate) const COMPANION: u16 = 1000;
const LEASE: Duration = Duration::from_millis(20);
const SLOTS: u32 = 2;
const DETECTION_US: u64 = 3_000;

pub(crate) const SCHEMA: Schema = Schema { app: 1, fingerprint: 0x1234, key_len: 2, value_len: 8 };

/// SplitMix64 (Steele et al., OOPSLA 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) packet_loss_per_mille: u64,
    pub(crate) duplicate_per_mille: u64,
    /// Chance of a delay far beyond the usual, up to a lease and a half.
    pub(crate) straggler_per_mille: u64,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { packet_loss_per_mille: 0, duplicate_per_mille: 0, straggler_per_mille: 0 };
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Increment = 0,
    Read = 1,
    FindCompanion = 2,
}

#[derive(Clone, Debug)]
enum Event {
    ToSwitch(usize, Vec<u8>),
    ToService(SocketAddrV4, Vec<u8>),
    ToNode(NodeId, NodeId, Vec<u8>),
    Wake(NodeId),
    Tick(usize),
    Configure(NodeId, Configuration),
    Detect,
}

struct Switch {
    table: SlotTable<u16, u64>,
    incarnation: u16,
    clock_offset: u64,
    /// Speed of its clock in millionths.
    clock_speed: u64,
}

impl Switch {
    fn ticks(&self, now: u64) -> Ticks {
        let micros = u128::from(now) * u128::from(self.clock_speed) / 1_000_000;
        Ticks::from_micros(self.clock_offset.wrapping_add(micros as u64))
    }
}

/// One run of a handler.
#[derive(Clone, Copy, Debug)]
struct Execution {
    operation: Operation,
    key: u16,
    value: u64,
    /// Largest value of the key that anybody had seen when it ran.
    floor: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    seed: u64,
    events: BTreeMap<(u64, u64), Event>,
    event_count: u64,
    switches: Vec<Switch>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) configuration: Configuration,
    wake_at: BTreeMap<NodeId, u64>,
    next_node: u16,
    executions: Vec<Execution>,
    released_max: BTreeMap<u16, u64>,
    incremented: BTreeMap<(u16, u64), usize>,
    pub(crate) released: BTreeSet<u64>,
    /// Packets that came in for a companion after its maker was seen.
    companion_promised: BTreeSet<u64>,
    keys: BTreeSet<u16>,
    pub(crate) seen: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let mut world = Self {
            now: 1_000_000,
            random: Random(seed),
            faults: Faults::NONE,
            seed,
            events: BTreeMap::new(),
            event_count: 0,
            switches: Vec::new(),
            nodes: BTreeMap::new(),
            configuration: Configuration::default(),
            wake_at: BTreeMap::new(),
            next_node: 0,
            companion_promised: BTreeSet::new(),
            executions: Vec::new(),
            released_max: BTreeMap::new(),
            incremented: BTreeMap::new(),
            released: BTreeSet::new(),
            keys: BTreeSet::new(),
            seen: BTreeMap::new(),
        };
        for index in 0..2 {
            // The clock of each switch wraps in the course of the run.
            let clock_offset = (1_u64 << 42) - world.now - world.random.below(200_000);
            let clock_speed = 996_000 + world.random.below(8_000);
            let table = table(index, 0);
            world.switches.push(Switch { table, incarnation: 0, clock_offset, clock_speed });
            world.after(1_000, Event::Tick(index));
        }
        let members = (0..3).map(|_| world.new_node()).collect();
        world.configure(members, None);
        world.run_until(world.now + 10_000);
        world.faults = faults;
        world
    }

    /// Lets the packet in by a switch.
    pub(crate) fn inject(&mut self, switch: usize, key: u16, operation: Operation) -> u64 {
        let packet = self.event_count;
        self.event_count += 1;
        self.keys.insert(key);
        let mut frame = packet.to_be_bytes().to_vec();
        frame.push(operation as u8);
        if operation == Operation::FindCompanion && self.released_max.contains_key(&(key - COMPANION)) {
            self.companion_promised.insert(packet);
        }
        self.process(switch, key, &frame);
        packet
    }

    pub(crate) fn reboot(&mut self, switch: usize) {
        let state = &mut self.switches[switch];
        state.incarnation += 1;
        state.table = table(switch, state.incarnation);
        self.see("reboot");
    }

    /// Crashes a member; the survivors hear of it later, each at its own time.
    pub(crate) fn crash(&mut self, at: usize) {
        let node = self.configuration.members[at];
        self.nodes.remove(&node);
        self.see(match at {
            0 => "crash of the head",
            at if at + 1 == self.configuration.members.len() => "crash of the tail",
            _ => "crash in the middle",
        });
        self.after(DETECTION_US, Event::Detect);
    }

    /// Takes a member out that is only slow: it goes on under the configuration that it knows.
    pub(crate) fn suspect(&mut self, at: usize) {
        let mut members = self.configuration.members.clone();
        members.remove(at);
        self.configure(members, None);
        self.see("false suspicion");
    }

    pub(crate) fn join(&mut self) {
        let node = self.new_node();
        let mut members = self.configuration.members.clone();
        members.push(node);
        self.configure(members, Some(node));
        self.see("join");
    }

    /// Whether every member has all that was acknowledged.
    pub(crate) fn is_whole(&self) -> bool {
        self.configuration.members.iter().all(|node| {
            self.nodes.get(node).is_some_and(|node| {
                node.configuration().epoch == self.configuration.epoch && !node.is_copying()
            })
        })
    }

    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.handle(event);
            self.check_holders();
        }
        self.now = end;
    }

    /// The largest counter that any packet showed.
    pub(crate) fn largest_released(&self, key: u16) -> u64 {
        self.released_max.get(&key).copied().unwrap_or(0)
    }

    pub(crate) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn fail(&self, what: &str) -> ! {
        panic!("seed {}, at {} µs: {what}", self.seed, self.now)
    }

    fn new_node(&mut self) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        let lease = Lease::new(LEASE, 10).unwrap();
        let creator = TypedCreator::new(SCHEMA, |_: &_, _: &_| Duration::from_secs(3600), on_create);
        let node = Node::new(id, Shard { index: 0, count: 1 }, lease, vec![Box::new(creator)]);
        self.nodes.insert(id, node);
        id
    }

    fn configure(&mut self, members: Vec<NodeId>, joining: Option<NodeId>) {
        self.configuration = Configuration { epoch: self.configuration.epoch + 1, members, joining };
        for node in self.configuration.members.clone() {
            let delay = self.random.below(1_500);
            self.after(delay, Event::Configure(node, self.configuration.clone()));
        }
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.event_count += 1;
        self.events.insert((self.now + delay, self.event_count), event);
    }

    fn send(&mut self, event: Event) {
        let copies = if self.random.chance(self.faults.packet_loss_per_mille) {
            0
        } else if self.random.chance(self.faults.duplicate_per_mille) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut delay = 20 + self.random.below(200);
            if self.random.chance(self.faults.straggler_per_mille) {
                delay = self.random.below(LEASE.as_micros() as u64 * 3 / 2);
            }
            self.after(delay, event.clone());
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Time(self.now);
        match event {
            Event::ToSwitch(switch, bytes) => self.switch_receives(switch, &bytes),
            Event::ToService(from, bytes) => {
                let Some(head) = self.configuration.head() else { return };
                self.with_node(head, |node| node.handle_request(from, &bytes, now));
            }
            Event::ToNode(from, to, bytes) => self.with_node(to, |node| node.handle_chain(from, &bytes, now)),
            Event::Wake(node) => {
                self.wake_at.remove(&node);
                self.with_node(node, |node| node.handle_timeout(now));
            }
            Event::Configure(node, configuration) => {
                self.with_node(node, |node| node.reconfigure(configuration, now));
            }
            Event::Detect => {
                let members = &self.configuration.members;
                let left = members.iter().copied().filter(|node| self.nodes.contains_key(node)).collect();
                self.configure(left, None);
            }
            Event::Tick(switch) => {
                let ticks = self.switches[switch].ticks(self.now);
                while let Some((header, key, value)) = self.switches[switch].table.poll_retransmit(ticks) {
                    self.see("retransmission");
                    self.send_request(switch, header, key, value, &[]);
                }
                let table = &mut self.switches[switch].table;
                table.sweep(1, ticks);
                let slots = (0..SLOTS).filter_map(|index| table.registers(index));
                let held = slots.filter(|slot| slot.generation != Serial::ZERO).count();
                assert_eq!(table.occupied(), held, "what is counted as held is held");
                self.after(1_000, Event::Tick(switch));
            }
        }
    }

    fn with_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        change(node);
        let mut out = Vec::new();
        while let Some(transmit) = node.poll_transmit() {
            out.push(transmit);
        }
        let wake_at = node.poll_timeout().map(|at| at.0.max(self.now + 1));
        if let Some(at) = wake_at.filter(|at| self.wake_at.get(&id).is_none_or(|old| at < old)) {
            self.wake_at.insert(id, at);
            self.after(at - self.now, Event::Wake(id));
        }
        for transmit in out {
            match transmit.to {
                Destination::Node(to) => self.send(Event::ToNode(id, to, transmit.bytes)),
                Destination::Switch(address) => {
                    let switch = usize::from(address.ip().octets()[3]);
                    self.see_message(&transmit.bytes);
                    self.send(Event::ToSwitch(switch, transmit.bytes));
                }
            }
        }
    }

    fn see_message(&mut self, bytes: &[u8]) {
        let header = Header::parse(bytes).unwrap_or_else(|error| self.fail(&error.to_string()));
        self.see(match (header.kind, header.reason) {
            (Kind::Recall, _) => "recall",
            (_, Some(NackReason::Stale)) => "stale",
            (_, Some(NackReason::Absent)) => "absent",
            (Kind::Grant, _) => "grant",
            _ => "other answer",
        });
    }

    fn process(&mut self, switch: usize, key: u16, frame: &[u8]) {
        let operation = operation(frame);
        let state = &mut self.switches[switch];
        let ticks = state.ticks(self.now);
        let slot = match state.table.lookup(&key, ticks) {
            Lookup::NotHeld(slot) => {
                let create = operation != Operation::FindCompanion;
                let header = state.table.lease_request(slot, create, 7, ticks);
                return self.send_request(switch, header, key, 0, frame);
            }
            Lookup::Held(slot) => slot,
        };
        let value = state.table.value(slot);
        let written = (operation == Operation::Increment).then_some(value + 1);
        let settled = state.table.settle(slot, written, 9, ticks);
        let value = written.unwrap_or(value);
        let floor = self.largest_released(key);
        let execution = self.executions.len();
        self.executions.push(Execution { operation, key, value, floor });
        let output = [frame, &(execution as u64).to_be_bytes()].concat();
        match settled {
            Settled::Release { renew } => {
                self.release(&output);
                if let Some(header) = renew {
                    self.see("renewal");
                    self.send_request(switch, header, key, 0, &[]);
                }
            }
            Settled::Hold(header) => {
                self.see(if header.kind == Kind::Read { "held read" } else { "held write" });
                self.send_request(switch, header, key, written.unwrap_or(0), &output);
            }
        }
    }

    fn send_request(&mut self, switch: usize, header: Header, key: u16, value: u64, frame: &[u8]) {
        let bytes = Message { header, key: &key.to_be_bytes(), value: &value.to_be_bytes(), frame }.to_vec();
        self.send(Event::ToService(address(switch), bytes));
    }

    fn switch_receives(&mut self, switch: usize, bytes: &[u8]) {
        let message = match Message::parse(bytes, &SCHEMA) {
            Ok(message) => message,
            Err(error) => self.fail(&format!("the store sent what does not parse: {error}")),
        };
        let (key, value) = (u16::decode(message.key), u64::decode(message.value));
        let state = &mut self.switches[switch];
        let ticks = state.ticks(self.now);
        match state.table.handle_message(&message.header, &key, &value, ticks) {
            Reaction::Reprocess { absent: false, port } => {
                assert_eq!(port, 7);
                self.process(switch, key, message.frame);
            }
            Reaction::Reprocess { absent: true, .. } => self.find_none(key, message.frame),
            Reaction::Release { .. } if message.frame.is_empty() => {}
            Reaction::Release { port } => {
                assert_eq!(port, 9);
                self.release(message.frame);
            }
            Reaction::Reply(header) => self.send_request(switch, header, key, 0, &[]),
            Reaction::Drop(_) => {}
        }
    }

    /// A packet leaves that shows what its execution saw.
    fn release(&mut self, output: &[u8]) {
        let (frame, index) = output.split_at(9);
        let index = u64::decode(index) as usize;
        let execution = self.executions[index];
        let Execution { operation, key, value, floor } = execution;
        self.released.insert(u64::decode(&frame[..8]));
        match operation {
            Operation::Increment => {
                let other = *self.incremented.entry((key, value)).or_insert(index);
                if other != index {
                    self.fail(&format!("two increments of {key} showed {value}"));
                }
                if value <= floor {
                    self.fail(&format!("an increment of {key} showed {value} after {floor} was seen"));
                }
            }
            Operation::Read if value < floor => {
                self.fail(&format!("a read of {key} showed {value} after {floor} was seen"));
            }
            Operation::Read => {}
            Operation::FindCompanion => {
                if value != companion_value(key - COMPANION) {
                    self.fail(&format!("the companion {key} showed {value}"));
                }
            }
        }
        self.check_durable(key, value);
        let largest = self.released_max.entry(key).or_default();
        *largest = value.max(*largest);
    }

    fn find_none(&mut self, key: u16, frame: &[u8]) {
        let packet = u64::decode(&frame[..8]);
        self.released.insert(packet);
        if self.companion_promised.contains(&packet) {
            self.fail(&format!("the companion {key} is absent though its maker was seen"));
        }
    }

    /// What a packet shows is at every member that is not joining.
    fn check_durable(&self, key: u16, value: u64) {
        let members = self.configuration.members.iter();
        for id in members.filter(|id| Some(**id) != self.configuration.joining) {
            let Some(node) = self.nodes.get(id) else { continue };
            let stored = node.record(SCHEMA.app, &key.to_be_bytes()).map(|record| u64::decode(&record.value));
            if stored.is_none_or(|stored| stored < value) {
                self.fail(&format!("{key} showed {value}, but {id} has {stored:?}"));
            }
        }
    }

    fn check_holders(&self) {
        for key in &self.keys {
            let holders = self
                .switches
                .iter()
                .filter(|switch| matches!(switch.table.lookup(key, switch.ticks(self.now)), Lookup::Held(_)));
            if holders.count() > 1 {
                self.fail(&format!("two switches hold {key}"));
            }
        }
    }
}

fn table(switch: usize, incarnation: u16) -> SlotTable<u16, u64> {
    let identity = SwitchIdentity { switch: switch as u16, incarnation };
    SlotTable::new(identity, SCHEMA, SLOTS, Lease::new(LEASE, 10).unwrap())
}

fn address(switch: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, switch as u8), UDP_PORT)
}

fn operation(frame: &[u8]) -> Operation {
    match frame[8] {
        0 => Operation::Increment,
        1 => Operation::Read,
        _ => Operation::FindCompanion,
    }
}

fn companion_value(key: u16) -> u64 {
    5000 + u64::from(key)
}

fn on_create(key: &u16, records: &mut Creation<'_, u16, u64>) -> Result<u64, Refusal> {
    if *key < COMPANION && records.is_free(&(key + COMPANION)) {
        records.companion(key + COMPANION, companion_value(*key));
    }
    Ok(0)
}
