//! Hosts inside and outside a firewall, and a stranger whom nobody asked.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::net::Ipv4Addr;

use apps::firewall;
use backend_store::AppFactory;
use redplane_sdk::net::Random;
use redplane_sdk::packet::{PROTOCOL_TCP, PROTOCOL_UDP};
use redplane_sdk::pipeline::Route;
use redplane_sdk::{App, app};

use super::phase::{Kind, Phase, Policy, Says};
use super::{End, Outgoing, Workload, port, route};
use crate::automaton::Passages;
use crate::finding::{Check, Finding};
use crate::frame::{Datagram, PacketId, Segment};
use crate::history::Micros;
use crate::plan::{Assumptions, Plan};

const INSIDE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 8);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Nobody inside may speak to it first.
const BLOCKED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
/// It speaks to everybody, and was asked by nobody.
const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 99);
/// Anybody outside may speak to this port first.
const PUBLISHED: u16 = 80;
/// The other ports follow.
const FIRST_PORT: u16 = 2000;

/// How often a key of the plan gets another flow, a packet is a stranger's, and one is of any kind.
const ANOTHER_FLOW_PROBABILITY: f64 = 1.0 / 60.0;
const STRANGER_PROBABILITY: f64 = 1.0 / 16.0;
const ANY_KIND_PROBABILITY: f64 = 1.0 / 16.0;

/// One of so many flows is the policy's.
const POLICIES_OF: u64 = 8;

/// A flow, what its hosts know, and all that became of it.
struct Flow {
    inside: End,
    outside: End,
    tcp: bool,
    policy: usize,
    passages: Passages,
    /// Somebody who may open it has asked.
    asked: bool,
    /// The ends have seen it being asked for, and answered.
    seen_asked: bool,
    seen_open: bool,
    /// And that it was broken off from inside, and not asked for again.
    seen_broken: bool,
    /// Since when it is certainly open, for a packet left that passes only then.
    open_since: Option<Micros>,
    /// Something came that may have ended it.
    closing: bool,
}

impl Flow {
    fn key(&self) -> Vec<u8> {
        let bytes = |(addr, port): End| [&addr.octets()[..], &port.to_be_bytes()].concat();
        let protocol = if self.tcp { PROTOCOL_TCP } else { PROTOCOL_UDP };
        [bytes(self.inside), bytes(self.outside), vec![protocol]].concat()
    }

    /// What its hosts say next.
    fn next(&self, policy: &Policy, writes_percent: u64, random: &mut Random) -> Kind {
        let any = random.below(2) == 0;
        let opener = policy.inside_opens || !policy.outside_opens;
        if !self.tcp {
            return Kind { outward: if self.seen_asked { any } else { opener }, says: Says::Datagram };
        }
        if random.chance(ANY_KIND_PROBABILITY) {
            let says = Says::ALL[random.below(Says::ALL.len() as u64 - 1) as usize];
            return Kind { outward: any, says };
        }
        // Nothing may get in any more, so somebody tries.
        if self.seen_broken && random.below(4) > 0 {
            return Kind { outward: false, says: Says::Data };
        }
        match (self.seen_open, self.seen_asked && any) {
            (false, false) => Kind { outward: opener, says: Says::Ask },
            (false, true) => Kind { outward: !opener, says: Says::Answer },
            // The last of a flow changes it too, but a flow has few of them.
            (true, _) if random.below(400) < writes_percent => {
                Kind { outward: any, says: [Says::Break, Says::Last][random.below(2) as usize] }
            }
            (true, _) => Kind { outward: any, says: Says::Data },
        }
    }
}

/// The hosts, and every flow that they ever had. `A` is the firewall, or one that is broken on purpose.
pub struct Guard<A = firewall::App> {
    writes_percent: u64,
    assumptions: Assumptions,
    policies: Vec<Policy>,
    flows: Vec<Flow>,
    /// By key of the plan.
    current: Vec<usize>,
    by_key: BTreeMap<Vec<u8>, usize>,
    packets: Vec<(usize, Kind)>,
    probes: BTreeSet<PacketId>,
    probed: BTreeSet<usize>,
    /// What passed though nobody had asked, and what was refused though it belonged to an open flow.
    let_in: Option<Finding>,
    refused: Option<Finding>,
    app: PhantomData<A>,
}

impl<A> Guard<A> {
    /// A flow of its own ports between these hosts.
    fn open(&mut self, key: u32, outside: Ipv4Addr, published: bool, tcp: bool) -> usize {
        let number = FIRST_PORT + self.flows.len() as u16;
        let wanted = (outside != BLOCKED, published, tcp);
        let is_wanted = |known: &Policy| (known.inside_opens, known.outside_opens, known.tcp) == wanted;
        let host = Ipv4Addr::from(u32::from(INSIDE.0) + 1 + key);
        let flow = Flow {
            inside: (host, if published { PUBLISHED } else { number }),
            outside: (outside, number),
            tcp,
            policy: self.policies.iter().position(is_wanted).expect("there is every policy"),
            passages: Passages::default(),
            asked: false,
            seen_asked: false,
            seen_open: false,
            seen_broken: false,
            open_since: None,
            closing: false,
        };
        self.by_key.insert(flow.key(), self.flows.len());
        self.flows.push(flow);
        self.flows.len() - 1
    }

    fn open_any(&mut self, key: u32, random: &mut Random) -> usize {
        let (outside, published) = match random.below(POLICIES_OF) {
            0 => (BLOCKED, false),
            1 => (SERVER, true),
            2 => (BLOCKED, true),
            _ => (SERVER, false),
        };
        self.open(key, outside, published, random.below(4) > 0)
    }

    fn make(&mut self, flow: usize, kind: Kind) -> Outgoing {
        let packet = PacketId(self.packets.len() as u32);
        self.packets.push((flow, kind));
        let Flow { inside, outside, .. } = self.flows[flow];
        let (src, dst) = if kind.outward { (inside, outside) } else { (outside, inside) };
        let mark = packet.to_bytes();
        let frame = match kind.says.flags() {
            Some(flags) => Segment { src, dst, flags }.to_frame(&mark),
            None => Datagram { src, dst, identification: 0 }.to_frame(&mark),
        };
        Outgoing { flow: flow as u32, port: if kind.outward { port::NEAR } else { port::FAR }, frame }
    }

    /// What must pass whatever happened to a flow.
    fn must_pass(&self, flow: &Flow) -> Vec<Kind> {
        let policy = &self.policies[flow.policy];
        let asks = if flow.tcp { Says::Ask } else { Says::Datagram };
        let goes_on = if flow.tcp { Says::Data } else { Says::Datagram };
        let is_open = flow.open_since.is_some() && !flow.closing;
        let both = [true, false];
        let asked = both.into_iter().filter(|outward| policy.opens(*outward));
        let asked = asked.map(|outward| Kind { outward, says: asks });
        let held = both.into_iter().filter(|_| is_open).map(|outward| Kind { outward, says: goes_on });
        asked.chain(held).collect()
    }

    fn kind_of(&self, packet: PacketId) -> Option<(usize, Kind)> {
        self.packets.get(packet.0 as usize).copied()
    }

    fn packet_of(&self, frame: &[u8]) -> Option<(PacketId, usize, Kind)> {
        let packet = PacketId::of(frame)?;
        let (at, kind) = self.kind_of(packet)?;
        Some((packet, at, kind))
    }

    fn check_flow(&self, flow: &Flow) -> Option<Finding> {
        let policy = &self.policies[flow.policy];
        let violation = flow.passages.explain(&policy.automaton, Phase::New as u8).err()?;
        let (_, kind) = self.kind_of(violation.packet)?;
        let phases: Vec<_> = violation.states.into_iter().filter_map(Phase::of).collect();
        let (packet, inside, outside) = (violation.packet, flow.inside, flow.outside);
        let text = format!(
            "{packet}, {kind:?}, passed between {inside:?} and {outside:?}, of which only {phases:?} is explained"
        );
        Some(Finding { check: Check::Linearizable, at: violation.at, text })
    }
}

impl<A> Workload for Guard<A>
where
    A: App<Tables = firewall::Tables, Config = ()>,
{
    type App = A;
    const NAME: &'static str = "firewall";

    fn new(plan: &Plan) -> Self {
        let mut guard = Guard {
            writes_percent: plan.writes_percent,
            assumptions: plan.assumptions,
            policies: Policy::all(),
            flows: Vec::new(),
            current: Vec::new(),
            by_key: BTreeMap::new(),
            packets: Vec::new(),
            probes: BTreeSet::new(),
            probed: BTreeSet::new(),
            let_in: None,
            refused: None,
            app: PhantomData,
        };
        guard.current = (0..plan.keys).map(|key| guard.open(key, SERVER, false, true)).collect();
        guard
    }

    fn tables() -> firewall::Tables {
        let mut tables = firewall::Tables::default();
        tables.inside.insert(port::NEAR, true).expect("there is room for one port");
        let (blocked, published) = (BLOCKED.to_string(), PUBLISHED.to_string());
        tables.blocked.add(&[("dst", &blocked)], true).expect("there is room for one row");
        tables.published.add(&[("dst_port", &published)], true).expect("there is room for one row");
        tables
    }

    fn factory(&self) -> AppFactory {
        Box::new(|| app::creator::<A>(()))
    }

    fn routes() -> Vec<Route> {
        vec![route(INSIDE.0, INSIDE.1, port::NEAR, 0), route(Ipv4Addr::UNSPECIFIED, 0, port::FAR, 0)]
    }

    fn packet(&mut self, random: &mut Random) -> Outgoing {
        let key = random.below(self.current.len() as u64) as usize;
        if random.chance(ANOTHER_FLOW_PROBABILITY) {
            self.current[key] = self.open_any(key as u32, random);
        }
        let mut at = self.current[key];
        let mut kind =
            self.flows[at].next(&self.policies[self.flows[at].policy], self.writes_percent, random);
        if random.chance(STRANGER_PROBABILITY) {
            let published = self.flows[at].inside.1 == PUBLISHED;
            at = self.open(key as u32, STRANGER, published, self.flows[at].tcp);
            kind.outward = false;
        }
        self.make(at, kind)
    }

    fn probes(&mut self) -> Vec<Vec<Outgoing>> {
        let kinds: Vec<_> = self.current.iter().map(|at| (*at, self.must_pass(&self.flows[*at]))).collect();
        self.probed.extend(kinds.iter().filter(|(_, kinds)| !kinds.is_empty()).map(|(at, _)| *at));
        let mut make =
            |(at, kinds): (usize, Vec<Kind>)| kinds.into_iter().map(|kind| self.make(at, kind)).collect();
        let made: Vec<Vec<_>> = kinds.into_iter().map(&mut make).collect();
        self.probes.extend(made.iter().flatten().filter_map(|made| PacketId::of(&made.frame)));
        made
    }

    fn entered(&mut self, _: u16, frame: &[u8], now: Micros) {
        let Some((packet, at, kind)) = self.packet_of(frame) else { return };
        let flow = &mut self.flows[at];
        let policy = &self.policies[flow.policy];
        flow.passages.enter(packet, kind.number(), now);
        flow.asked |= policy.opens(kind.outward) && matches!(kind.says, Says::Ask | Says::Datagram);
        flow.closing |= policy.ends(kind);
    }

    fn repeated(&mut self, packet: PacketId) {
        if let Some((at, _)) = self.kind_of(packet) {
            self.flows[at].passages.repeat(packet);
        }
    }

    fn left(&mut self, _: u16, frame: &[u8], now: Micros) {
        let Some((packet, at, kind)) = self.packet_of(frame) else { return };
        self.probes.remove(&packet);
        let flow = &mut self.flows[at];
        flow.passages.leave(packet, now);
        if self.policies[flow.policy].only_if_open(kind) && !flow.closing {
            flow.open_since.get_or_insert(now);
        }
        match kind.says {
            Says::Ask | Says::Datagram => (flow.seen_asked, flow.seen_broken) = (true, false),
            Says::Answer => flow.seen_open = true,
            Says::Break => {
                (flow.seen_asked, flow.seen_open, flow.seen_broken) = (false, false, kind.outward);
            }
            Says::Data | Says::Last => {}
        }
        if !flow.asked {
            let (inside, outside) = (flow.inside, flow.outside);
            let text =
                format!("{packet}, {kind:?}, passed, but nobody who may opened {inside:?} to {outside:?}");
            self.let_in.get_or_insert(Finding { check: Check::Guarded, at: now, text });
        }
    }

    fn dropped(&mut self, packet: PacketId, now: Micros) {
        let Some((at, kind)) = self.kind_of(packet) else { return };
        let flow = &self.flows[at];
        let entered = flow.passages.entered(packet);
        let was_open = flow.open_since.is_some_and(|since| entered.is_some_and(|entered| since <= entered));
        if was_open && !flow.closing && self.policies[flow.policy].passes_open(kind) {
            let (inside, outside) = (flow.inside, flow.outside);
            let text = format!("{packet}, {kind:?}, was refused, but {inside:?} to {outside:?} is open");
            self.refused.get_or_insert(Finding { check: Check::Guarded, at: now, text });
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        self.by_key.keys().cloned().collect()
    }

    fn is_probed(&self, key: &[u8]) -> bool {
        self.by_key.get(key).is_some_and(|at| self.probed.contains(at))
    }

    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String> {
        let flow = &self.flows[*self.by_key.get(key)?];
        let phase = match value {
            None => Phase::New,
            Some([phase]) => Phase::of(*phase)?,
            Some(_) => return Some(format!("{value:?} is kept")),
        };
        if value.is_some() && !flow.asked {
            return Some(format!("nobody who may has asked, and {phase:?} is kept"));
        }
        // A stale read explains nothing.
        if self.assumptions != Assumptions::Kept {
            return None;
        }
        let automaton = &self.policies[flow.policy].automaton;
        let possible = flow.passages.explain(automaton, Phase::New as u8).ok()?;
        let possible: BTreeSet<_> = possible.into_iter().filter_map(Phase::of).collect();
        // Of a flow that is over nothing need be kept: it may begin anew.
        let over =
            phase == Phase::New && (possible.contains(&Phase::Closed) || possible.contains(&Phase::Reset));
        (!over && !possible.contains(&phase)).then(|| format!("it is one of {possible:?}, {phase:?} is kept"))
    }

    fn unanswered(&self) -> Option<String> {
        let first = self.probes.first()?;
        let (at, kind) = self.kind_of(*first)?;
        let (count, flow) = (self.probes.len(), &self.flows[at]);
        Some(format!(
            "{count} packets did not get out though nothing failed, {first}, {kind:?} between {:?} and {:?}, first",
            flow.inside, flow.outside
        ))
    }

    fn check(&self, _: &Plan) -> Option<Finding> {
        let of_flows = self.flows.iter().filter_map(|flow| self.check_flow(flow));
        let seen = [&self.let_in, &self.refused].into_iter().flatten().cloned();
        seen.chain(of_flows).min_by_key(|found| found.at)
    }

    fn check_writes(&self, _: &Plan) -> Option<Finding> {
        self.let_in.clone()
    }
}
