//! A chain of three survives any requests, chain messages, configurations and restarts, and what it tells a journal is
//! what it holds.
//!
//! The input is the limits (one byte), and then a sequence of steps: which, with what its bits mean there, and its bytes.

#![no_main]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use redplane_protocol::chain::{Content, Reply};
use redplane_protocol::create::{Created, Creator, Records};
use redplane_protocol::{
    AdmissionRates, ChainMessage, Configuration, Creation, Destination, Header, Kind, Lease, Message, Node,
    NodeId, NodeLimits, Owner, PrefixRate, Record, RecordChange, RecordKey, Refusal, Schema, Serial, Shard,
    SwitchIdentity, Ticks, Time, TypedCreator, Value, Version,
};

const NODES: u16 = 3;
const SHARD: Shard = Shard { index: 0, count: 1 };

/// An app with two schemas, and one with one.
const OLD: Schema = Schema { app: 1, fingerprint: 2, key_len: 2, value_len: 4 };
const NEW: Schema = Schema { app: 1, fingerprint: 3, key_len: 2, value_len: 6 };
const SMALL: Schema = Schema { app: 2, fingerprint: 2, key_len: 2, value_len: 4 };
const SCHEMAS: [Schema; 3] = [OLD, NEW, SMALL];

fn on_create(key: &u16, records: &mut Creation<'_, u16, u32>) -> Result<u32, Refusal> {
    match key % 4 {
        0 => return Err(Refusal("unlucky")),
        1 => records.companion(key.wrapping_add(1), 1),
        _ => {}
    }
    Ok(u32::from(*key))
}

/// Makes values of the newer schema, with up to two companions, and at times what is not legal.
struct Upgraded;

impl Creator for Upgraded {
    fn create(&mut self, key: &[u8], records: &dyn Records) -> Result<Created, Refusal> {
        let low = key.last().copied().unwrap_or_default();
        let len = if low == 7 { 3 } else { usize::from(NEW.value_len) };
        let companion = |step: u8| (vec![0, low.wrapping_add(step)], vec![step; 6]);
        let companions =
            (1..=low % 3).map(companion).filter(|(key, _)| low == 6 || records.is_free(key)).collect();
        Ok(Created { value: vec![low; len], companions })
    }

    fn schema(&self) -> Schema {
        NEW
    }

    fn accepted(&self) -> Vec<Schema> {
        vec![OLD, NEW]
    }

    fn idle(&self, _: &[u8], value: &[u8]) -> Duration {
        Duration::from_millis(value.last().copied().unwrap_or_default().into())
    }
}

fn blank(id: u16, limited: bool) -> Node {
    let small = TypedCreator::new(SMALL, |key: &_, value: &_| Duration::from_millis((*key as u64) ^ (*value as u64)), on_create);
    let node = Node::new(NodeId(id), SHARD, Lease::default(), vec![Box::new(Upgraded), Box::new(small)]);
    let mut node = if limited {
        let per_prefix = Some(PrefixRate { rate: 3, bits: 4..13 });
        let admission = [(1, AdmissionRates { per_switch: 4, per_prefix })].into();
        node.with_limits(NodeLimits { records_max: 9, admission, hash_seeds: [id.into(), 2, 3, 4] })
    } else {
        node
    };
    node.want_changes();
    node
}

/// Takes numbers off the input, and zeros when there are none left.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or_default()
    }

    /// Around zero and around the wrap.
    fn serial(&mut self) -> Serial {
        Serial(i32::from(self.byte() as i8) as u32)
    }

    fn schema(&mut self) -> Schema {
        SCHEMAS[usize::from(self.byte()) % SCHEMAS.len()]
    }

    fn owner(&mut self) -> Owner {
        let byte = self.byte();
        let (switch, incarnation) = (u16::from(byte & 3), u16::from(byte >> 2 & 1));
        Owner { identity: SwitchIdentity { switch, incarnation }, address: address(byte & 3) }
    }
}

fn address(switch: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, switch), 21072)
}

type Journal = BTreeMap<RecordKey, Record>;

struct World {
    nodes: Vec<Node>,
    journals: [Journal; NODES as usize],
    limited: bool,
    configuration: Configuration,
    now: Time,
    /// Somebody made chain messages up: answers may be anything.
    forged: bool,
}

impl World {
    fn new(limited: bool) -> Self {
        let members = (0..NODES).map(NodeId).collect();
        let configuration = Configuration { epoch: 1, members, joining: None };
        let mut nodes: Vec<Node> = (0..NODES).map(|id| blank(id, limited)).collect();
        nodes.iter_mut().for_each(|node| node.reconfigure(configuration.clone(), Time(0)));
        Self { nodes, journals: Default::default(), limited, configuration, now: Time(0), forged: false }
    }

    fn run(&mut self, input: &mut Input<'_>) {
        while !input.0.is_empty() {
            let step = input.byte();
            let at = usize::from(step >> 4 & 3) % self.nodes.len();
            match step & 0xf {
                0..=5 => self.request(at, input),
                6 => {
                    let (len, from) = (usize::from(input.byte()), address(step >> 6));
                    let bytes = input.bytes(len);
                    self.nodes[at].anticipate_requests(std::iter::once(bytes));
                    self.nodes[at].handle_request(from, bytes, self.now);
                }
                7 => self.garbled_chain_message(at, input),
                8 => self.forged_chain_message(at, input),
                9..=11 => self.pass(input),
                12 | 13 => self.reconfigure(input),
                _ => self.restart(at),
            }
            self.deliver(step & 0x40 != 0, step & 0x80 != 0);
        }
        (0..self.nodes.len()).for_each(|at| self.check_journal(at));
    }

    /// A legal request, that often fits what the node holds.
    fn request(&mut self, at: usize, input: &mut Input<'_>) {
        let (schema, sender) = (input.schema(), input.owner());
        let (choice, key) = (input.byte(), [0, input.byte() & 0xf]);
        let held = self.nodes[at].record(schema.app, &key);
        let mut version = held.map(|record| record.version).unwrap_or_default();
        version.sequence.0 = version.sequence.0.wrapping_add(u32::from(choice >> 5));
        if choice & 0x10 != 0 {
            version = Version { generation: input.serial(), sequence: input.serial() };
        }
        let kind = Kind::ALL[usize::from(choice & 0xf) % Kind::ALL.len()];
        let value = [input.byte(); 6];
        let header = Header {
            kind,
            create: kind == Kind::Lease && choice & 0x20 != 0,
            reason: (kind == Kind::Nack).then_some(redplane_protocol::NackReason::Busy),
            app: schema.app,
            fingerprint: schema.fingerprint,
            identity: sender.identity,
            generation: version.generation,
            sequence: version.sequence,
            ticket: input.serial(),
            sent_at: Ticks(7),
            port: 1,
        };
        let value = &value[..usize::from(schema.value_len)];
        let message = Message { header, key: &key, value, frame: &key[..usize::from(choice & 1)] };
        self.nodes[at].handle_request(sender.address, &message.to_vec(), self.now);
    }

    /// Any bytes, with an envelope that is listened to.
    fn garbled_chain_message(&mut self, at: usize, input: &mut Input<'_>) {
        let (from, len) = (u16::from(input.byte()) % NODES, usize::from(input.byte()));
        let mut bytes = input.bytes(len).to_vec();
        if let Some(head) = bytes.get_mut(..12) {
            let kind = 1 + head[1] % 5;
            head[..4].copy_from_slice(&[1, kind, 0, 0]);
            head[4..].copy_from_slice(&self.nodes[at].configuration().epoch.to_be_bytes());
        }
        self.forged = true;
        self.nodes[at].anticipate_chain(std::iter::once(&bytes[..]));
        self.nodes[at].handle_chain(NodeId(from), &bytes, self.now);
    }

    fn forged_chain_message(&mut self, at: usize, input: &mut Input<'_>) {
        let (from, choice) = (u16::from(input.byte()) % NODES, input.byte());
        let records = (0..choice >> 6).map(|_| record(input)).collect();
        let number = u64::from(choice >> 3 & 7);
        let content = match choice & 7 {
            0 | 1 => Content::Copy { portion: number, records },
            2 => Content::Confirmed { confirm: number },
            3 => Content::Copied { portion: number },
            4 => Content::Forwarded { from: address(choice >> 6), bytes: input.bytes(40).to_vec() },
            _ => {
                let reply =
                    (choice & 1 != 0).then(|| Reply { to: address(0), bytes: input.bytes(4).to_vec() });
                Content::Update { confirm: number, records, reply }
            }
        };
        let epoch = self.nodes[at].configuration().epoch;
        let message = ChainMessage { shard: 0, epoch, generation: input.serial(), content };
        self.forged = true;
        self.nodes[at].handle_chain(NodeId(from), &message.to_vec(), self.now);
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let micros = u64::from(input.byte()) << (input.byte() % 24);
        self.now = self.now.plus(Duration::from_micros(micros));
        for node in &mut self.nodes {
            node.handle_timeout(self.now);
            assert!(node.poll_timeout().is_none_or(|due| due > self.now), "it spins: {node:?}");
        }
    }

    /// Other members in another order, the last of whom may join as new. Not all need hear of it.
    fn reconfigure(&mut self, input: &mut Input<'_>) {
        let (choice, told) = (input.byte(), input.byte());
        let first = u16::from(choice & 3);
        let members: Vec<NodeId> = (0..NODES)
            .filter(|at| choice >> (2 + at) & 1 == 0)
            .map(|at| NodeId((first + at) % NODES))
            .collect();
        let joining = members.last().copied().filter(|_| members.len() > 1 && choice & 0x40 != 0);
        let epoch = self.configuration.epoch + 1;
        self.configuration = Configuration { epoch, members, joining };
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(at, _)| told >> at & 1 == 0) {
            node.reconfigure(self.configuration.clone(), self.now);
            assert!(!node.is_complete() || self.configuration.members.contains(&NodeId(at as u16)));
        }
    }

    /// With what its journal kept.
    fn restart(&mut self, at: usize) {
        self.check_journal(at);
        let old = std::mem::replace(&mut self.nodes[at], blank(at as u16, self.limited));
        let kept = std::mem::take(&mut self.journals[at]);
        let left_out = self.nodes[at].restore(old.generation(), kept.clone(), self.now);
        assert_eq!(left_out, 0, "it kept what it does not serve");
        assert!(holds(&self.nodes[at], &kept));
        self.check_journal(at);
        assert_eq!(self.journals[at], kept, "restored records are told again");
    }

    fn deliver(&mut self, mut lost: bool, look: bool) {
        for at in (0..self.nodes.len()).chain(0..self.nodes.len()) {
            if look {
                self.check_journal(at);
            }
            while let Some(transmit) = self.nodes[at].poll_transmit() {
                lost = !lost;
                match transmit.to {
                    Destination::Node(to) => {
                        let message = ChainMessage::parse(&transmit.bytes).expect("what is sent is legal");
                        assert_eq!(message.to_vec(), transmit.bytes);
                        if let Some(node) = self.nodes.get_mut(usize::from(to.0)).filter(|_| look || !lost) {
                            node.handle_chain(NodeId(at as u16), &transmit.bytes, self.now);
                        }
                    }
                    Destination::Switch(_) => assert!(self.forged || is_answer(&transmit.bytes)),
                }
            }
        }
    }

    /// Takes what a node tells its journal: then both hold the same.
    fn check_journal(&mut self, at: usize) {
        let (node, journal) = (&mut self.nodes[at], &mut self.journals[at]);
        node.take_changes(|change| match change {
            RecordChange::Cleared => journal.clear(),
            RecordChange::Removed(key) => drop(journal.remove(key)),
            RecordChange::Present(key, record) => drop(journal.insert(*key, record.clone())),
        });
        assert!(!node.has_changes());
        assert!(holds(node, journal), "{node:?} is not {journal:?}");
    }
}

fn holds(node: &Node, journal: &Journal) -> bool {
    let statistics = node.statistics();
    statistics.records + statistics.tombstones == journal.len()
        && statistics.records == journal.values().filter(|record| !record.deleted).count()
        && node.records().all(|(key, record)| journal.get(key) == Some(record))
}

fn is_answer(bytes: &[u8]) -> bool {
    SCHEMAS
        .iter()
        .any(|schema| Message::parse(bytes, schema).is_ok_and(|message| !message.header.kind.is_request()))
}

fn record(input: &mut Input<'_>) -> (RecordKey, Record) {
    let schema = input.schema();
    let (choice, key) = (input.byte(), input.byte());
    let name = |number: u8| RecordKey::new(schema.app, &[0, number & 0xf]).expect("it is short");
    let deleted = choice & 1 != 0;
    let len = if deleted { 0 } else { usize::from(schema.value_len) - usize::from(choice >> 3 & 1) };
    let record = Record {
        version: Version { generation: input.serial(), sequence: input.serial() },
        owner: (choice & 2 != 0).then(|| input.owner()),
        ticket: input.serial(),
        value: Value::from_elem(choice, len),
        deleted,
        idle: Duration::from_micros(if choice & 4 == 0 { 1 << (choice >> 2) } else { u64::MAX }),
        companions: (0..choice >> 6).map(|step| name(key.wrapping_add(step))).collect(),
    };
    (name(key), record)
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let limited = input.byte() & 1 != 0;
    World::new(limited).run(&mut input);
});
