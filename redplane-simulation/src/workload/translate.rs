//! Hosts inside and outside a NAT whose pool is too small for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use apps::nat;
use backend_store::AppFactory;
use redplane_sdk::app;
use redplane_sdk::net::Random;
use redplane_sdk::pipeline::Route;

use super::{End, Outgoing, Workload, port, route};
use crate::finding::{Check, Finding};
use crate::frame::{Datagram, PacketId};
use crate::history::Micros;
use crate::plan::Plan;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 53);

/// Endpoints that the pool has room for. The plans have up to twice as many inside.
const POOL: u16 = 4;
const FIRST_PORT: u16 = 4000;

/// Inside endpoints a key of the plan stands for.
const ENDPOINTS_PER_KEY: u32 = 2;

/// The hosts, and which endpoint was seen to stand for which.
pub struct Translate {
    endpoints: u32,
    writes_percent: u64,
    /// The inside endpoint that sent the packet, or the public one that it was sent to.
    packets: Vec<End>,
    public: BTreeMap<End, End>,
    inside: BTreeMap<End, End>,
    probes: BTreeSet<PacketId>,
    finding: Option<Finding>,
}

impl Translate {
    fn endpoint(number: u32) -> End {
        (Ipv4Addr::from(u32::from(INSIDE) + 1 + number), 1000 + number as u16)
    }

    fn make(&mut self, src: End, dst: End, known_by: End, port: u16) -> Outgoing {
        let packet = PacketId(self.packets.len() as u32);
        self.packets.push(known_by);
        let frame = Datagram { src, dst, identification: 0 }.to_frame(&packet.to_bytes());
        Outgoing { flow: u32::from(known_by.0) ^ u32::from(known_by.1), port, frame }
    }

    fn outward(&mut self, number: u32) -> Outgoing {
        let endpoint = Translate::endpoint(number);
        self.make(endpoint, SERVER, endpoint, port::NEAR)
    }

    fn inward(&mut self, public: End) -> Outgoing {
        self.make(SERVER, public, public, port::FAR)
    }

    /// When one was seen to stand for the other: nobody else ever may.
    fn see(&mut self, inside: End, public: End, now: Micros) {
        let other = *self.public.entry(inside).or_insert(public);
        let owner = *self.inside.entry(public).or_insert(inside);
        if (other, owner) != (public, inside) && self.finding.is_none() {
            let text = format!(
                "{public:?} stands for {inside:?}, though {public:?} stood for {owner:?} and {other:?} for {inside:?}"
            );
            self.finding = Some(Finding { check: Check::Mapping, at: now, text });
        }
    }
}

impl Workload for Translate {
    type App = nat::App;
    const NAME: &'static str = "nat";

    fn new(plan: &Plan) -> Self {
        Translate {
            endpoints: plan.keys * ENDPOINTS_PER_KEY,
            writes_percent: plan.writes_percent,
            packets: Vec::new(),
            public: BTreeMap::new(),
            inside: BTreeMap::new(),
            probes: BTreeSet::new(),
            finding: None,
        }
    }

    fn tables() -> nat::Tables {
        let mut tables = nat::Tables::default();
        tables.inside.insert(INSIDE, 8, true).expect("there is room for one prefix");
        tables.public.insert(PUBLIC, 32, true).expect("there is room for one address");
        tables
    }

    fn factory(&self) -> AppFactory {
        let pool =
            nat::Pool { addresses: vec![PUBLIC], first_port: FIRST_PORT, last_port: FIRST_PORT + POOL - 1 };
        Box::new(move || app::creator::<nat::App>(pool.clone()))
    }

    fn routes() -> Vec<Route> {
        vec![route(INSIDE, 8, port::NEAR, 0), route(Ipv4Addr::UNSPECIFIED, 0, port::FAR, 0)]
    }

    fn packet(&mut self, random: &mut Random) -> Outgoing {
        if random.below(100) < self.writes_percent {
            let number = random.below(u64::from(self.endpoints)) as u32;
            return self.outward(number);
        }
        self.inward((PUBLIC, FIRST_PORT + random.below(u64::from(POOL) + 1) as u16))
    }

    fn probes(&mut self) -> Vec<Vec<Outgoing>> {
        // Only an endpoint that was let in before must be served: the pool may be exhausted.
        let known: Vec<_> = (0..self.endpoints)
            .filter(|number| self.public.contains_key(&Translate::endpoint(*number)))
            .collect();
        let public: Vec<_> = self.inside.keys().copied().collect();
        let mut made: Vec<_> = known.into_iter().map(|number| self.outward(number)).collect();
        made.extend(public.into_iter().map(|public| self.inward(public)));
        self.probes.extend(made.iter().filter_map(|made| PacketId::of(&made.frame)));
        made.into_iter().map(|made| vec![made]).collect()
    }

    fn entered(&mut self, _: u16, _: &[u8], _: Micros) {}

    fn repeated(&mut self, _: PacketId) {}

    fn left(&mut self, port: u16, frame: &[u8], now: Micros) {
        let (Some((datagram, _)), Some(packet)) = (Datagram::parse(frame), PacketId::of(frame)) else {
            return;
        };
        let Some(known_by) = self.packets.get(packet.0 as usize).copied() else { return };
        self.probes.remove(&packet);
        if port == port::FAR {
            self.see(known_by, datagram.src, now);
        } else {
            self.see(datagram.dst, known_by, now);
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        let endpoints = self.public.iter().chain(&self.inside).map(|(key, _)| *key);
        let bytes = |(addr, port): End| [&addr.octets()[..], &port.to_be_bytes(), &[17]].concat();
        endpoints.map(bytes).collect()
    }

    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String> {
        let (addr, port) = key.split_at_checked(4)?;
        let addr = Ipv4Addr::from(<[u8; 4]>::try_from(addr).ok()?);
        let endpoint = (addr, u16::from_be_bytes([*port.first()?, *port.get(1)?]));
        let other = self.public.get(&endpoint).or_else(|| self.inside.get(&endpoint))?;
        let expected = [&other.0.octets()[..], &other.1.to_be_bytes()].concat();
        (value != Some(&expected)).then(|| format!("{endpoint:?} was {other:?}, {value:?} is kept"))
    }

    fn unanswered(&self) -> Option<String> {
        let first = self.probes.first()?;
        let about = self.packets.get(first.0 as usize)?;
        Some(format!(
            "{} packets did not get out though nothing failed, {first} about {about:?} first",
            self.probes.len()
        ))
    }

    fn check(&self, _: &Plan) -> Option<Finding> {
        self.finding.clone()
    }

    fn check_writes(&self, _: &Plan) -> Option<Finding> {
        self.finding.clone()
    }
}
