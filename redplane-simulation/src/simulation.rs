//! The whole system: hosts, fabric, switches, links, store; one thread, one seed, virtual time.
//!
//! ```text
//!  hosts ── fabric ──┬── switch 1 ──┬── node 0 (head)
//!                    ├── switch 2 ──┼── node 1
//!                    └── switch 3 ──┴── node 2 (tail)
//! ```
//!
//! First hosts send and things fail; then faults stop, and what is left must be whole again. Where a packet comes to a
//! switch it goes into the history, and where it leaves one it comes out.

mod fabric;
mod fault;
mod verdict;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use redplane_protocol::ChainMessage;
use redplane_protocol::chain::Content;
use redplane_protocol::wire::Kind;
use redplane_sdk::net::Random;

use crate::event::{Event, Loss, PLACES, Place, Tap};
use crate::finding::{Check, Finding};
use crate::frame::{HEADERS_LEN, PacketId};
use crate::history::Micros;
use crate::link::{Fate, Link};
use crate::outcome::{Outcome, Sometimes};
use crate::plan::{NODES, Plan};
use crate::store::StoreUnit;
use crate::switch::{INBOX_MAX, SwitchUnit};
use crate::workload::{Outgoing, Workload, port};

use fabric::Fabric;
use fault::Fault;

/// Where a message says its kind.
const KIND_AT: usize = 1;

/// What the simulation does at its time.
enum Task {
    Arrive { from: Place, to: Place, port: u16, sent: Micros, frame: Vec<u8>, loss: Option<Loss> },
    Hosts,
    Fault(Fault),
}

struct Entry {
    at: Micros,
    order: u64,
    task: Task,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One run.
pub struct Simulation<W: Workload> {
    plan: Plan,
    mutant: Mutation,
    now: Micros,
    random: Random,
    tasks: BinaryHeap<Reverse<Entry>>,
    tasks_made: u64,
    switches: Vec<SwitchUnit<W::App>>,
    store: StoreUnit,
    fabric: Fabric,
    workload: W,
    /// How often the way from one place to another is cut.
    cuts: [[u8; PLACES]; PLACES],
    links: [Link; 3],
    /// Faults stopped.
    calm: bool,
    silent_until: Micros,
    /// From when on the clock of each node may step again.
    node_step_at: [Micros; NODES],
    /// What somebody could forge.
    last_write: Option<Vec<u8>>,
    tap: Option<Tap>,
    events: u64,
    hash: u64,
    finding: Option<Finding>,
    sometimes: Sometimes,
}

/// What a defect makes the simulation itself do wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutation {
    /// A switch that boots again keeps its incarnation.
    pub incarnation_kept: bool,
}

impl<W: Workload> Simulation<W> {
    /// The system of a plan, before anything happens.
    #[must_use]
    pub fn new(plan: Plan, mutant: Mutation) -> Self {
        let workload = W::new(&plan);
        let mut simulation = Simulation {
            now: 0,
            random: Random::new(plan.seed),
            tasks: BinaryHeap::new(),
            tasks_made: 0,
            switches: (0..plan.switches).map(|at| SwitchUnit::new::<W>(&plan, at)).collect(),
            store: StoreUnit::new(&plan, workload.factory()),
            fabric: Fabric::new(plan.switches),
            workload,
            cuts: [[0; PLACES]; PLACES],
            links: [plan.host_link, plan.store_link, plan.chain_link],
            calm: false,
            silent_until: 0,
            node_step_at: [0; NODES],
            last_write: None,
            tap: None,
            events: 0,
            hash: 0,
            finding: None,
            sometimes: Sometimes::default(),
            mutant,
            plan,
        };
        simulation.send_of_store();
        simulation.plan_faults();
        simulation.at(0, Task::Hosts);
        simulation
    }

    /// Shows every event to `tap` from now on.
    #[must_use]
    pub fn with_tap(mut self, tap: Tap) -> Self {
        self.tap = Some(tap);
        self
    }

    /// Runs to the end, and checks everything.
    #[must_use]
    pub fn run(mut self) -> (Outcome, W) {
        // A silence makes it longer.
        while self.finding.is_none() && self.now < self.plan.duration {
            self.run_until(self.plan.duration);
        }
        self.stop_faults();
        self.run_until(self.now + self.time_to_settle());
        self.probe();
        let outcome = self.judge();
        (outcome, self.workload)
    }

    fn run_until(&mut self, end: Micros) {
        while self.finding.is_none() && self.step(end) {}
        self.now = self.now.max(end);
    }

    /// Frames and faults go before deadlines, switches before the store.
    fn step(&mut self, end: Micros) -> bool {
        let task = self.tasks.peek().map_or(Micros::MAX, |Reverse(entry)| entry.at);
        let switch = self.switches.iter().map(|unit| unit.deadline).min().unwrap_or(Micros::MAX);
        let next = task.min(switch).min(self.store.deadline);
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        self.events += 1;
        if next == task {
            if let Some(Reverse(entry)) = self.tasks.pop() {
                self.perform(entry.task);
            }
        } else if next == switch {
            let due = self.switches.iter().position(|unit| unit.deadline == next).unwrap_or(0);
            self.note(0x7177_0000 + due as u64);
            self.switches[due].timeout(self.now);
            self.send_of_switch(due);
        } else {
            self.note(0x7173);
            self.store.timeout(self.now);
            self.send_of_store();
        }
        true
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::Arrive { from, to, port, sent, frame, loss } => {
                self.arrive(from, to, port, sent, frame, loss);
            }
            Task::Hosts => self.hosts(),
            Task::Fault(fault) => self.fail(fault),
        }
    }

    fn at(&mut self, at: Micros, task: Task) {
        self.tasks_made += 1;
        self.tasks.push(Reverse(Entry { at, order: self.tasks_made, task }));
    }

    fn hosts(&mut self) {
        if self.calm {
            return;
        }
        let gap = 1 + self.random.below(2 * self.plan.gap);
        self.at((self.now + gap).max(self.silent_until), Task::Hosts);
        let outgoing = self.workload.packet(&mut self.random);
        let anywhere = self.random.below(100) < self.plan.spray_percent;
        let to = if anywhere {
            self.random.below(self.plan.switches as u64) as usize
        } else {
            self.fabric.switch_of(outgoing.flow)
        };
        self.send_of_hosts(outgoing, to);
    }

    fn send_of_hosts(&mut self, outgoing: Outgoing, switch: usize) {
        self.send(Place::Hosts, Place::Switch(switch as u8), outgoing.port, outgoing.frame);
    }

    fn send_of_switch(&mut self, at: usize) {
        for (port, frame) in self.switches[at].sent() {
            if port != port::STORE {
                self.show(Place::Switch(at as u8), Place::Hosts, self.now, None, &frame);
                self.workload.left(port, &frame, self.now);
                continue;
            }
            let shard = self.store.store.shard_of_message(frame.get(HEADERS_LEN..).unwrap_or_default());
            let from = Place::Switch(at as u8);
            match self.store.store.head(shard) {
                None => self.show(from, Place::Node(0), self.now, Some(Loss::NoHead), &frame),
                Some(head) => {
                    // A switch may not have heard of a new head yet.
                    let late = !self.calm && self.random.below(20) == 0;
                    if self.plan.rates.forge.is_some()
                        && frame.get(HEADERS_LEN + KIND_AT) == Some(&(Kind::Write as u8))
                    {
                        self.last_write = Some(frame.clone());
                    }
                    let node = if late { self.random.below(NODES as u64) as u8 } else { head.0 as u8 };
                    self.send(from, Place::Node(node), port::STORE, frame);
                }
            }
        }
    }

    fn send_of_store(&mut self) {
        while let Some((from, to, frame)) = self.store.sent() {
            match to {
                Place::Switch(at) if usize::from(at) >= self.switches.len() => {
                    self.show(from, Place::Hosts, self.now, Some(Loss::NoSuchAddress), &frame);
                }
                _ => self.send(from, to, port::STORE, frame),
            }
        }
    }

    fn send(&mut self, from: Place, to: Place, port: u16, frame: Vec<u8>) {
        if self.cuts[from.index()][to.index()] > 0 {
            return self.show(from, to, self.now, Some(Loss::Partitioned), &frame);
        }
        let link = match (from, to) {
            (Place::Hosts, _) | (_, Place::Hosts) => self.links[0],
            (Place::Node(_), Place::Node(_)) => self.links[2],
            _ => self.links[1],
        };
        if link.repeats(&mut self.random) {
            if let Some(packet) = carried_input(from, to, &frame) {
                self.workload.repeated(packet);
            }
            self.carry(&link, from, to, port, frame.clone());
        }
        self.carry(&link, from, to, port, frame);
    }

    fn carry(&mut self, link: &Link, from: Place, to: Place, port: u16, mut frame: Vec<u8>) {
        match link.carry(&mut frame, &mut self.random) {
            Fate::Lost => self.show(from, to, self.now, Some(Loss::Chance), &frame),
            Fate::Corrupt => {
                let loss = Some(Loss::Corrupt);
                self.at(self.now + link.delay, Task::Arrive { from, to, port, sent: self.now, frame, loss });
            }
            Fate::Arrives(after) => {
                self.at(self.now + after, Task::Arrive { from, to, port, sent: self.now, frame, loss: None });
            }
        }
    }

    fn arrive(
        &mut self,
        from: Place,
        to: Place,
        port: u16,
        sent: Micros,
        frame: Vec<u8>,
        loss: Option<Loss>,
    ) {
        let dead = match to {
            Place::Switch(at) => !self.switches[usize::from(at)].alive,
            Place::Node(at) => !self.store.is_alive(at),
            Place::Hosts => false,
        };
        let cut = self.cuts[from.index()][to.index()] > 0;
        let loss = loss.or(cut.then_some(Loss::Partitioned)).or(dead.then_some(Loss::Dead));
        self.show(from, to, sent, loss, &frame);
        match (loss, to, from) {
            (Some(_), ..) | (None, Place::Hosts, _) => {}
            (None, Place::Switch(at), _) => self.give_switch(usize::from(at), port, frame),
            (None, Place::Node(at), Place::Node(from)) => {
                self.store.receive_from_node(at, from, &frame, self.now);
                self.send_of_store();
            }
            (None, Place::Node(at), _) => {
                self.store.receive_from_switch(at, &frame, self.now);
                self.send_of_store();
            }
        }
    }

    fn give_switch(&mut self, at: usize, port: u16, frame: Vec<u8>) {
        let now = self.now;
        if let Some(pause) = &mut self.switches[at].pause {
            if pause.inbox.len() < INBOX_MAX {
                pause.inbox.push((port, frame));
            } else {
                self.show(Place::Hosts, Place::Switch(at as u8), now, Some(Loss::QueueFull), &frame);
            }
            return;
        }
        if port != port::STORE {
            self.workload.entered(port, &frame, now);
        }
        match (self.switches[at].process(port, &frame, now), PacketId::of(&frame)) {
            (Err(text), _) => self.found(Check::Accounted, text),
            (Ok(true), Some(packet)) => self.workload.dropped(packet, now),
            (Ok(_), _) => {}
        }
        self.send_of_switch(at);
    }

    fn found(&mut self, check: Check, text: String) {
        let at = self.now;
        self.finding.get_or_insert(Finding { check, at, text });
    }

    fn show(&mut self, from: Place, to: Place, sent: Micros, loss: Option<Loss>, frame: &[u8]) {
        let places = (from.index() * PLACES + to.index()) as u64;
        let loss_number = loss.map_or(0, |loss| 1 + loss as u64);
        self.note(u64::from(crc32fast::hash(frame)) << 16 | places << 8 | loss_number);
        if let Some(tap) = &mut self.tap {
            tap(self.now, &Event::Frame { sent, from, to, loss, frame });
        }
    }

    fn tell(&mut self, place: Place, text: &str) {
        self.note(u64::from(crc32fast::hash(text.as_bytes())));
        if let Some(tap) = &mut self.tap {
            tap(self.now, &Event::Fault { place, text });
        }
    }

    /// Every event goes into the run's hash: FNV-1a by words.
    fn note(&mut self, what: u64) {
        for word in [self.now, what] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }
}

/// The input packet that would be dealt with once more if this message came twice. Output packets that come twice show
/// the same twice.
fn carried_input(from: Place, to: Place, frame: &[u8]) -> Option<PacketId> {
    let message_kind = |message: &[u8]| message.get(KIND_AT).copied();
    let kind = match (from, to) {
        // Another packet that looks the same: it comes in twice, and is counted when it does.
        (Place::Hosts, _) | (_, Place::Hosts) => return None,
        (Place::Node(_), Place::Node(_)) => match ChainMessage::parse(frame).ok()?.content {
            Content::Update { reply: Some(reply), .. } => message_kind(&reply.bytes),
            Content::Forwarded { bytes, .. } => message_kind(&bytes),
            _ => None,
        },
        _ => message_kind(frame.get(HEADERS_LEN..)?),
    }?;
    let input = [Kind::Lease, Kind::Grant, Kind::Nack].iter().any(|input| *input as u8 == kind);
    input.then(|| PacketId::of(frame)).flatten()
}
