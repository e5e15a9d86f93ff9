//! What fails, and how it comes back.

use redplane_protocol::{Message, Time};
use redplane_sdk::app;

use super::{Simulation, Task};
use crate::event::{PLACES, Place};
use crate::frame::Datagram;
use crate::history::Micros;
use crate::link::STRAGGLER_MAX;
use crate::plan::{Assumptions, NODES, OUTAGE_MAX};
use crate::switch::{self, Pause};
use crate::workload::{Workload, port};

/// How late the fabric hears of a switch.
const FABRIC_LATE_MAX: Micros = 20_000;

/// Longest that a switch stands still.
const PAUSE_MAX: Micros = 300_000;

/// Silence of the hosts: longer than the counter's records stay idle.
const SILENCE: Micros = 6_500_000;

/// Farthest that a switch's clock steps forward.
const STEP_MAX: u64 = 2_000_000;

/// Something that fails, or comes back.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    KillSwitch,
    BootSwitch(usize),
    FabricHears(usize),
    PauseSwitch,
    ResumeSwitch(usize),
    DrainSwitch,
    KillNode,
    JoinNode(u8),
    SuspectNode,
    ReinstateNode(u8),
    Partition,
    Heal(Vec<(Place, Place)>),
    StepClock,
    Rehash,
    Silence,
    Forge,
}

impl<W: Workload> Simulation<W> {
    pub(super) fn plan_faults(&mut self) {
        let rates = self.plan.rates;
        for (rate, fault) in [
            (rates.kill_switch, Fault::KillSwitch),
            (rates.pause_switch, Fault::PauseSwitch),
            (rates.drain_switch, Fault::DrainSwitch),
            (rates.kill_node, Fault::KillNode),
            (rates.suspect_node, Fault::SuspectNode),
            (rates.partition, Fault::Partition),
            (rates.step_clock, Fault::StepClock),
            (rates.rehash, Fault::Rehash),
            (rates.silence, Fault::Silence),
            (rates.forge, Fault::Forge),
        ] {
            self.plan_next(rate, fault);
        }
    }

    /// When a fault is to come again; the mean time is its rate.
    fn plan_next(&mut self, rate: Option<Micros>, fault: Fault) {
        if let Some(rate) = rate {
            let at = self.now + rate / 2 + self.random.below(rate);
            self.at(at, Task::Fault(fault));
        }
    }

    pub(super) fn fail(&mut self, fault: Fault) {
        let rates = self.plan.rates;
        match fault {
            // What comes back was brought back already when faults stopped.
            _ if self.calm => return,
            Fault::KillSwitch => self.kill_switch(),
            Fault::BootSwitch(at) => self.boot_switch(at),
            Fault::FabricHears(at) => self.fabric.hear(at, self.switches[at].alive),
            Fault::PauseSwitch => self.pause_switch(),
            Fault::ResumeSwitch(at) => self.resume_switch(at),
            Fault::DrainSwitch => self.drain_switch(),
            Fault::KillNode => self.lose_node(false),
            Fault::SuspectNode => self.lose_node(true),
            Fault::JoinNode(at) => self.join_node(at),
            Fault::ReinstateNode(at) => self.reinstate_node(at),
            Fault::Partition => self.partition(),
            Fault::Heal(ref ways) => self.heal(ways),
            Fault::StepClock => self.step_clock(),
            Fault::Rehash => self.fabric.rehash(&mut self.random),
            Fault::Forge => self.forge(),
            Fault::Silence => {
                self.silent_until = self.now + SILENCE;
                self.plan.duration += SILENCE;
                self.tell(Place::Hosts, "silent");
            }
        }
        let rate = match fault {
            Fault::KillSwitch => rates.kill_switch,
            Fault::PauseSwitch => rates.pause_switch,
            Fault::DrainSwitch => rates.drain_switch,
            Fault::KillNode => rates.kill_node,
            Fault::SuspectNode => rates.suspect_node,
            Fault::Partition => rates.partition,
            Fault::StepClock => rates.step_clock,
            Fault::Rehash => rates.rehash,
            Fault::Forge => rates.forge,
            _ => None,
        };
        self.plan_next(rate, fault);
    }

    fn any_switch(&mut self) -> usize {
        self.random.below(self.plan.switches as u64) as usize
    }

    fn kill_switch(&mut self) {
        let at = self.any_switch();
        if !self.switches[at].alive {
            return;
        }
        self.sometimes.take_switch(&self.switches[at].switch);
        self.switches[at].kill();
        self.sometimes.switches_killed += 1;
        self.tell(Place::Switch(at as u8), "dies");
        let back = self.now + 1 + self.random.below(self.plan.switch_outage);
        self.at(back, Task::Fault(Fault::BootSwitch(at)));
        self.fabric_will_hear(at);
    }

    fn boot_switch(&mut self, at: usize) {
        if !self.switches[at].alive {
            self.switches[at].boot::<W>(&self.plan, self.now, self.mutant.incarnation_kept);
            self.tell(Place::Switch(at as u8), "boots");
            self.fabric_will_hear(at);
        }
    }

    fn fabric_will_hear(&mut self, at: usize) {
        let heard = self.now + self.random.below(FABRIC_LATE_MAX);
        self.at(heard, Task::Fault(Fault::FabricHears(at)));
    }

    fn pause_switch(&mut self) {
        let at = self.any_switch();
        let lease = self.plan.lease_micros();
        let until = self.now + (lease / 2 + self.random.below(lease * 5 / 2)).min(PAUSE_MAX);
        // A clock that stands still breaks what the protocol assumes of clocks: it is too slow, and by how much.
        let clock_stops = self.plan.assumptions == Assumptions::ClocksBroken && self.random.chance(0.5);
        let unit = &mut self.switches[at];
        if unit.alive && unit.pause.is_none() {
            unit.pause = Some(Pause { since: self.now, clock_stops, inbox: Vec::new() });
            unit.deadline = Micros::MAX;
            self.sometimes.switches_paused += 1;
            self.tell(
                Place::Switch(at as u8),
                if clock_stops { "stands still, its clock too" } else { "stands still" },
            );
            self.at(until, Task::Fault(Fault::ResumeSwitch(at)));
        }
    }

    fn resume_switch(&mut self, at: usize) {
        let now = self.now;
        let unit = &mut self.switches[at];
        let Some(pause) = unit.pause.take() else { return };
        if pause.clock_stops {
            let missed = unit.clock.read(Time(now)).wrapping_sub(unit.clock.read(Time(pause.since)));
            unit.clock.offset = unit.clock.offset.wrapping_sub(missed);
        }
        unit.schedule(now);
        self.tell(Place::Switch(at as u8), "goes on");
        for (port, frame) in pause.inbox {
            self.give_switch(at, port, frame);
        }
    }

    fn drain_switch(&mut self) {
        let at = self.any_switch();
        if self.switches[at].alive && self.switches[at].pause.is_none() {
            self.tell(Place::Switch(at as u8), "gives its leases back");
            self.switches[at].drain(self.now);
            self.send_of_switch(at);
        }
    }

    fn lose_node(&mut self, by_suspicion: bool) {
        let at = self.random.below(NODES as u64) as u8;
        let back = self.now + 1 + self.random.below(self.plan.node_outage);
        if !self.store.is_alive(at)
            || self.store.suspected[usize::from(at)]
            || !self.store.can_lose(at, self.now)
        {
            return;
        }
        if by_suspicion {
            self.store.suspect(at, self.now);
            self.sometimes.nodes_suspected += 1;
            self.tell(Place::Node(at), "is taken for dead");
            self.at(back, Task::Fault(Fault::ReinstateNode(at)));
        } else {
            self.store.kill(at, self.now);
            self.sometimes.nodes_killed += 1;
            self.tell(Place::Node(at), "dies");
            self.at(back, Task::Fault(Fault::JoinNode(at)));
        }
        self.send_of_store();
    }

    fn join_node(&mut self, at: u8) {
        if self.store.join(at, self.now) {
            self.tell(Place::Node(at), "joins");
        }
        self.send_of_store();
    }

    fn reinstate_node(&mut self, at: u8) {
        if self.store.suspected[usize::from(at)] {
            self.tell(Place::Node(at), "hears that it was taken for dead");
        }
        self.store.reinstate(at, self.now);
        self.send_of_store();
    }

    /// Cuts a switch or a node off from some or all others, in one direction or both.
    fn partition(&mut self) {
        let switch = self.any_switch() as u8;
        let node = self.random.below(NODES as u64) as u8;
        let whom = if self.random.chance(0.6) { Place::Switch(switch) } else { Place::Node(node) };
        let (there, back) = [(true, true), (true, false), (false, true)][self.random.below(3) as usize];
        let from_all = self.random.chance(0.6);
        let nodes = (0..NODES as u8).map(Place::Node);
        let switches = (0..self.plan.switches as u8).map(Place::Switch);
        let mut ways = Vec::new();
        for other in nodes.chain(switches) {
            let store_is_between = matches!((whom, other), (Place::Switch(_), Place::Switch(_)));
            if other == whom || store_is_between || !(from_all || self.random.chance(0.5)) {
                continue;
            }
            ways.extend(there.then_some((whom, other)));
            ways.extend(back.then_some((other, whom)));
        }
        for (from, to) in &ways {
            self.cuts[from.index()][to.index()] += 1;
        }
        let text = match (there, back) {
            (true, true) => "is cut off",
            (true, false) => "is not heard",
            _ => "hears nothing",
        };
        self.sometimes.partitions += 1;
        self.tell(whom, text);
        let healed = self.now + 1 + self.random.below(OUTAGE_MAX);
        self.at(healed, Task::Fault(Fault::Heal(ways)));
    }

    fn heal(&mut self, ways: &[(Place, Place)]) {
        for (from, to) in ways {
            self.cuts[from.index()][to.index()] -= 1;
        }
        if let Some((from, _)) = ways.first() {
            self.tell(*from, "links are whole again");
        }
    }

    /// What a switch wrote last comes once more, from another switch, as a later write of another value.
    fn forge(&mut self) {
        let Some(frame) = self.last_write.take() else { return };
        let Some((datagram, payload)) = Datagram::parse(&frame) else { return };
        let Ok(message) = Message::parse(payload, &app::schema::<W::App>()) else { return };
        let at = self.any_switch();
        if usize::from(message.header.identity.switch) == 1 + at {
            return;
        }
        let mut header = message.header;
        header.identity.switch = 1 + at as u16;
        header.sequence = header.sequence.next();
        let value: Vec<u8> = message.value.iter().map(|byte| byte ^ 0x55).collect();
        let forged = Message { header, key: message.key, value: &value, frame: &[] }.to_vec();
        let datagram = Datagram { src: (switch::address(at), datagram.src.1), ..datagram };
        if let Some(head) = self.store.store.head(self.store.store.shard_of_message(&forged)) {
            self.sometimes.forged += 1;
            let (from, to) = (Place::Switch(at as u8), Place::Node(head.0 as u8));
            self.send(from, to, port::STORE, datagram.to_frame(&forged));
        }
    }

    /// A switch's clock may step as it likes, forward: its leases end early. A step of a node's is drift.
    fn step_clock(&mut self) {
        let at = self.random.below((self.plan.switches + NODES) as u64) as usize;
        if let Some(unit) = self.switches.get_mut(at) {
            unit.clock.offset = unit.clock.offset.wrapping_add(1 + self.random.below(STEP_MAX));
            if unit.alive && unit.pause.is_none() {
                unit.schedule(self.now);
            }
            self.sometimes.clocks_stepped += 1;
            return self.tell(Place::Switch(at as u8), "clock steps forward");
        }
        let node = at - self.switches.len();
        let most = match self.plan.assumptions {
            Assumptions::ClocksBroken => self.plan.lease_micros(),
            // Half of the margin is the speed's: see `plan`. Steps of one clock come no closer than two leases.
            _ if self.now >= self.node_step_at[node] => self.plan.lease_micros() / 100,
            _ => return,
        };
        self.node_step_at[node] = self.now + 2 * self.plan.lease_micros();
        let step = 1 + self.random.below(most);
        self.store.step_clock(node as u8, step, self.now);
        self.sometimes.node_clocks_stepped += 1;
        self.tell(Place::Node(node as u8), "clock steps forward");
        self.send_of_store();
    }

    /// Nothing fails from now on, and all that failed comes back.
    pub(super) fn stop_faults(&mut self) {
        for at in 0..self.switches.len() {
            self.resume_switch(at);
            self.boot_switch(at);
            self.fabric.hear(at, true);
        }
        for at in 0..NODES as u8 {
            self.join_node(at);
            self.reinstate_node(at);
        }
        self.calm = true;
        self.cuts = [[0; PLACES]; PLACES];
        self.links = self.links.map(|link| link.healthy());
        self.tell(Place::Hosts, "silent; no more faults");
    }

    /// In what time everything is whole again: what is late has come, every lease is over, every dead node was noticed
    /// and its successor has a copy, every write was sent again.
    pub(super) fn time_to_settle(&self) -> Micros {
        STRAGGLER_MAX + 4 * self.plan.lease_micros() + 2 * self.plan.detection.as_micros() as Micros + 400_000
    }
}
