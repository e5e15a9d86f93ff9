//! Clients and services over backends, whose set an operator changes all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};

use apps::load_balancer::{self, Backend, Pools, Service};
use backend_store::AppFactory;
use redplane_sdk::net::Random;
use redplane_sdk::packet::{PROTOCOL_TCP, PROTOCOL_UDP};
use redplane_sdk::pipeline::Route;
use redplane_sdk::{App, app};

use super::{End, Outgoing, Workload, port, route};
use crate::finding::{Check, Finding};
use crate::frame::{Datagram, PacketId, Segment, flag};
use crate::history::Micros;
use crate::plan::Plan;

const CLIENTS: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);
const FIRST_PORT: u16 = 2000;

/// The services: one for TCP, whose backends get packets translated, and one for UDP, whose backends answer themselves.
const SERVICES: [(End, u8, bool); 2] = [
    ((Ipv4Addr::new(203, 0, 113, 10), 80), PROTOCOL_TCP, false),
    ((Ipv4Addr::new(203, 0, 113, 11), 53), PROTOCOL_UDP, true),
];

/// Backends that a service may ever have, and has at the start.
const BACKENDS_MAX: u8 = 8;
const BACKENDS_FIRST: u8 = 3;
const BACKEND_PORT: u16 = 8080;

/// How often a key of the plan gets another connection, a packet is one of an older connection's, and the operator does
/// something.
const ANOTHER_PROBABILITY: f64 = 1.0 / 20.0;
const OLDER_PROBABILITY: f64 = 0.3;
const CHANGE_PROBABILITY: f64 = 1.0 / 30.0;

/// A backend: by its service, and its number there.
fn backend(service: usize, number: u8) -> End {
    (Ipv4Addr::new(10, 0, service as u8, number), BACKEND_PORT)
}

fn end(end: End, protocol: u8) -> load_balancer::Endpoint {
    load_balancer::Endpoint { addr: end.0, port: end.1, protocol }
}

/// A connection, and who was seen to serve it.
struct Connection {
    client: End,
    service: usize,
    /// By number, who may have been chosen: who had weight at some time since it came first.
    able: Option<[bool; BACKENDS_MAX as usize]>,
    backend: Option<u8>,
}

/// The hosts, the operator, and which backend was seen to serve which connection. `A` is the balancer, or one that is
/// broken on purpose.
pub struct Balance<A = load_balancer::App> {
    pools: Arc<RwLock<Pools>>,
    connections: Vec<Connection>,
    /// By key of the plan.
    current: Vec<usize>,
    by_key: BTreeMap<Vec<u8>, usize>,
    /// Whose it is, and whether it goes to the backend.
    packets: Vec<(usize, bool)>,
    probes: BTreeSet<PacketId>,
    probed: BTreeSet<usize>,
    finding: Option<Finding>,
    app: PhantomData<A>,
}

impl<A> Balance<A> {
    fn open(&mut self, key: usize, service: usize) -> usize {
        let number = self.connections.len();
        let client = (Ipv4Addr::from(u32::from(CLIENTS.0) + 1 + key as u32), FIRST_PORT + number as u16);
        let (known, protocol, _) = SERVICES[service];
        let bytes = |(addr, port): End| [&addr.octets()[..], &port.to_be_bytes()].concat();
        self.by_key.insert([bytes(client), bytes(known), vec![protocol]].concat(), number);
        self.connections.push(Connection { client, service, able: None, backend: None });
        number
    }

    fn make(&mut self, at: usize, flags: u8, to_backend: bool) -> Outgoing {
        let packet = PacketId(self.packets.len() as u32);
        self.packets.push((at, to_backend));
        let Connection { client, service, backend: serving, .. } = self.connections[at];
        let (known, protocol, direct) = SERVICES[service];
        let from = serving.filter(|_| !direct).map_or(known, |number| backend(service, number));
        let (src, dst) = if to_backend { (client, known) } else { (from, client) };
        let mark = packet.to_bytes();
        let frame = if protocol == PROTOCOL_TCP {
            Segment { src, dst, flags }.to_frame(&mark)
        } else {
            Datagram { src, dst, identification: 0 }.to_frame(&mark)
        };
        Outgoing { flow: at as u32, port: if to_backend { port::NEAR } else { port::FAR }, frame }
    }

    fn able(&self, service: usize) -> [bool; BACKENDS_MAX as usize] {
        let pools = self.pools.read().expect("nobody panics while changing it");
        let weighs =
            |end: End| pools.services[service].backends.iter().any(|b| b.addr == end.0 && b.weight > 0);
        std::array::from_fn(|number| weighs(backend(service, number as u8)))
    }

    /// The operator adds a backend, drains one, removes one, or weighs it anew.
    fn change(&mut self, random: &mut Random) {
        let service = random.below(SERVICES.len() as u64) as usize;
        let (addr, port) = backend(service, random.below(BACKENDS_MAX.into()) as u8);
        let weight = random.below(4) as u8;
        let mut pools = self.pools.write().expect("nobody panics while changing it");
        let backends = &mut pools.services[service].backends;
        backends.retain(|known| known.addr != addr);
        if random.below(4) > 0 {
            backends.push(Backend { addr, port, weight });
        }
        drop(pools);
        let able = self.able(service);
        for connection in self.connections.iter_mut().filter(|known| known.service == service) {
            for (could, can) in connection.able.iter_mut().flatten().zip(able) {
                *could |= can;
            }
        }
    }

    /// When a packet came out towards a backend: nobody else may ever get one of its connection.
    fn see(&mut self, at: usize, number: u8, now: Micros) {
        let connection = &mut self.connections[at];
        let first = *connection.backend.get_or_insert(number);
        let able = connection.able.is_some_and(|able| able.get(usize::from(number)) == Some(&true));
        let client = connection.client;
        if first != number {
            self.found(now, format!("backend {number} got a packet of {client:?}, whom {first} serves"));
        } else if !able {
            self.found(now, format!("backend {number} serves {client:?}, but had no weight since it came"));
        }
    }

    fn found(&mut self, at: Micros, text: String) {
        self.finding.get_or_insert(Finding { check: Check::Mapping, at, text });
    }

    fn packet_of(&self, frame: &[u8]) -> Option<(PacketId, usize, bool)> {
        let packet = PacketId::of(frame)?;
        let (at, to_backend) = *self.packets.get(packet.0 as usize)?;
        Some((packet, at, to_backend))
    }
}

/// The ends of a packet.
fn ends(frame: &[u8]) -> Option<(End, End)> {
    let datagram = || Datagram::parse(frame).map(|(datagram, _)| (datagram.src, datagram.dst));
    Segment::parse(frame).map(|segment| (segment.src, segment.dst)).or_else(datagram)
}

impl<A> Workload for Balance<A>
where
    A: App<Tables = load_balancer::Tables, Config = Pools>,
{
    type App = A;
    const NAME: &'static str = "load-balancer";

    fn new(plan: &Plan) -> Self {
        let service = |(at, ((addr, port), protocol, direct)): (usize, (End, u8, bool))| {
            let backends = (0..BACKENDS_FIRST).map(|number| backend(at, number));
            let backends = backends.map(|(addr, port)| Backend { addr, port, weight: 1 }).collect();
            Service { addr, port, protocol, direct, backends }
        };
        let services = SERVICES.into_iter().enumerate().map(service).collect();
        let mut balance = Balance {
            pools: Arc::new(RwLock::new(Pools { services })),
            connections: Vec::new(),
            current: Vec::new(),
            by_key: BTreeMap::new(),
            packets: Vec::new(),
            probes: BTreeSet::new(),
            probed: BTreeSet::new(),
            finding: None,
            app: PhantomData,
        };
        balance.current =
            (0..plan.keys as usize).map(|key| balance.open(key, key % SERVICES.len())).collect();
        balance
    }

    fn tables() -> load_balancer::Tables {
        let mut tables = load_balancer::Tables::default();
        for (at, (service, protocol, direct)) in SERVICES.into_iter().enumerate() {
            tables.services.insert(end(service, protocol), true).expect("there is room for the services");
            for number in (0..BACKENDS_MAX).filter(|_| !direct) {
                let (backend, service) = (end(backend(at, number), protocol), end(service, protocol));
                tables.fronts.insert(backend, service).expect("there is room for the backends");
            }
        }
        tables
    }

    fn factory(&self) -> AppFactory {
        let pools = Arc::clone(&self.pools);
        Box::new(move || app::live_creator::<A>(Arc::clone(&pools)))
    }

    fn routes() -> Vec<Route> {
        let numbers = (0..SERVICES.len()).flat_map(|at| (0..BACKENDS_MAX).map(move |number| (at, number)));
        let backends = numbers.map(|(at, number)| route(backend(at, number).0, 32, port::FAR, number));
        [route(CLIENTS.0, CLIENTS.1, port::NEAR, 0)].into_iter().chain(backends).collect()
    }

    fn packet(&mut self, random: &mut Random) -> Outgoing {
        if random.chance(CHANGE_PROBABILITY) {
            self.change(random);
        }
        let key = random.below(self.current.len() as u64) as usize;
        if random.chance(ANOTHER_PROBABILITY) {
            self.current[key] = self.open(key, random.below(SERVICES.len() as u64) as usize);
        }
        let older = random.below(self.connections.len() as u64) as usize;
        let at = if random.chance(OLDER_PROBABILITY) { older } else { self.current[key] };
        let is_served = self.connections[at].backend.is_some();
        // A client that was served goes on, and sometimes asks once more: its packet was late.
        let flags = if is_served && random.below(8) > 0 { flag::ACK } else { flag::SYN };
        self.make(at, flags, !is_served || random.below(3) > 0)
    }

    fn probes(&mut self) -> Vec<Vec<Outgoing>> {
        let oldest = self.connections.iter().position(|connection| connection.backend.is_some());
        let probed: BTreeSet<usize> = self.current.iter().copied().chain(oldest).collect();
        // Who was not served before need not be: there may be nobody to choose.
        let served = probed.into_iter().filter(|at| self.connections[*at].backend.is_some());
        let served: Vec<_> = served.collect();
        self.probed.extend(&served);
        let made: Vec<Vec<_>> = (served.into_iter())
            .map(|at| [true, false].map(|to_backend| self.make(at, flag::ACK, to_backend)).into())
            .collect();
        self.probes.extend(made.iter().flatten().filter_map(|made| PacketId::of(&made.frame)));
        made
    }

    fn entered(&mut self, _: u16, frame: &[u8], _: Micros) {
        let Some((_, at, _)) = self.packet_of(frame) else { return };
        let able = self.able(self.connections[at].service);
        self.connections[at].able.get_or_insert(able);
    }

    fn repeated(&mut self, _: PacketId) {}

    fn left(&mut self, out: u16, frame: &[u8], now: Micros) {
        let Some((packet, at, to_backend)) = self.packet_of(frame) else { return };
        let (Some((src, dst)), Some(number)) = (ends(frame), frame.get(5).copied()) else { return };
        self.probes.remove(&packet);
        let Connection { client, service, .. } = self.connections[at];
        let (known, _, direct) = SERVICES[service];
        let right = if to_backend {
            self.see(at, number, now);
            let receiver = if direct { known } else { backend(service, number) };
            (src, dst, out) == (client, receiver, port::FAR)
        } else {
            (src, dst, out) == (known, client, port::NEAR)
        };
        if !right {
            self.found(now, format!("{packet} of {client:?} left from {src:?} to {dst:?} by port {out}"));
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        self.by_key.keys().cloned().collect()
    }

    fn is_probed(&self, key: &[u8]) -> bool {
        self.by_key.get(key).is_some_and(|at| self.probed.contains(at))
    }

    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String> {
        let Connection { client, service, able, backend: serving } =
            &self.connections[*self.by_key.get(key)?];
        let (_, _, direct) = SERVICES[*service];
        let bytes = |number: u8| {
            let (addr, port) = backend(*service, number);
            [&addr.octets()[..], &port.to_be_bytes(), &[u8::from(direct)]].concat()
        };
        let able = able.unwrap_or_default();
        let right = match serving {
            Some(number) => value == Some(&bytes(*number)),
            None => value.is_none_or(|value| (0..).zip(able).any(|(at, able)| able && value == bytes(at))),
        };
        (!right).then(|| format!("{serving:?} serves {client:?}, {value:?} is kept"))
    }

    fn unanswered(&self) -> Option<String> {
        let first = self.probes.first()?;
        let (at, _) = self.packets.get(first.0 as usize)?;
        let (count, client) = (self.probes.len(), self.connections[*at].client);
        Some(format!("{count} packets did not get out though nothing failed, {first} of {client:?} first"))
    }

    fn check(&self, _: &Plan) -> Option<Finding> {
        self.finding.clone()
    }

    fn check_writes(&self, _: &Plan) -> Option<Finding> {
        self.finding.clone()
    }
}
