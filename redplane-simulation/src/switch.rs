//! One switch in the simulation: alive or not, standing still or not, with a clock of its own.

use std::net::Ipv4Addr;

use redplane_protocol::{SwitchIdentity, Time};
use redplane_sdk::App;
use redplane_sdk::net::Clock;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{Output, Reason, StorePath, Switch, SwitchConfig};

use crate::frame::PacketId;
use crate::history::Micros;
use crate::plan::Plan;
use crate::workload::{Workload, port};

/// Frames that a switch which stands still has room for.
pub(crate) const INBOX_MAX: usize = 64;

const MTU: u16 = 1600;
const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

/// Protocol address of a switch.
pub(crate) fn address(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + at as u8)
}

/// Protocol address of a shard.
pub(crate) fn shard_address(shard: u16) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 100 + shard as u8)
}

/// A switch that stands still since then.
pub(crate) struct Pause {
    pub(crate) since: Micros,
    pub(crate) clock_stops: bool,
    pub(crate) inbox: Vec<(u16, Vec<u8>)>,
}

/// A switch.
pub(crate) struct SwitchUnit<A: App> {
    pub(crate) switch: Switch<A>,
    pub(crate) clock: Clock,
    pub(crate) alive: bool,
    pub(crate) pause: Option<Pause>,
    /// When it has something to do; never, if it is dead or stands still.
    pub(crate) deadline: Micros,
    incarnation: u16,
    at: usize,
    out: Output,
}

impl<A: App> SwitchUnit<A> {
    pub(crate) fn new<W: Workload<App = A>>(plan: &Plan, at: usize) -> Self {
        let clock = plan.switch_clocks[at];
        let switch = boot::<W>(plan, at, 1, clock, 0);
        let mut unit = SwitchUnit {
            switch,
            clock,
            alive: true,
            pause: None,
            deadline: 0,
            incarnation: 1,
            at,
            out: Output::new(),
        };
        unit.schedule(0);
        unit
    }

    /// Boots with nothing in its slots. A former life's identity is never used again, unless that is the defect.
    pub(crate) fn boot<W: Workload<App = A>>(&mut self, plan: &Plan, now: Micros, same_incarnation: bool) {
        self.incarnation += u16::from(!same_incarnation);
        self.switch = boot::<W>(plan, self.at, self.incarnation, self.clock, now);
        self.alive = true;
        self.pause = None;
        self.schedule(now);
    }

    pub(crate) fn kill(&mut self) {
        self.alive = false;
        self.pause = None;
        self.deadline = Micros::MAX;
    }

    /// Takes a frame, and says whether the handler dropped it. `Err` is what is wrong with the accounts, in words: every
    /// packet must end in exactly one way.
    pub(crate) fn process(&mut self, port: u16, frame: &[u8], now: Micros) -> Result<bool, String> {
        let (before, dropped) = (self.ends(), self.dropped_by_handler());
        self.switch.process(port, frame, self.clock.ticks(Time(now)), &mut self.out);
        let ends = self.ends() - before;
        self.schedule(now);
        let carries = port != port::STORE || PacketId::of(frame).is_some();
        let right = if carries { ends == 1 } else { ends <= 1 };
        let dropped = self.dropped_by_handler() > dropped;
        right
            .then_some(dropped)
            .ok_or_else(|| format!("a packet at switch {} ended in {ends} ways", self.at + 1))
    }

    fn dropped_by_handler(&self) -> u64 {
        self.switch.statistics().drops().skip(Reason::ALL.len()).map(|(_, count)| count).sum()
    }

    /// Every packet that left, went to the store, or was dropped for a reason.
    fn ends(&self) -> u64 {
        let statistics = self.switch.statistics();
        statistics.transmitted + statistics.suspended + statistics.held + statistics.dropped_in_all()
    }

    pub(crate) fn timeout(&mut self, now: Micros) {
        self.switch.handle_timeout(self.clock.ticks(Time(now)), &mut self.out);
        self.schedule(now);
    }

    pub(crate) fn drain(&mut self, now: Micros) {
        self.switch.release_all(self.clock.ticks(Time(now)), &mut self.out);
        self.schedule(now);
    }

    /// When its clock was changed, or it goes on.
    pub(crate) fn schedule(&mut self, now: Micros) {
        let due = self.clock.when(self.switch.poll_timeout(), Time(now));
        self.deadline = due.0.max(now + 1);
    }

    /// What it sent.
    pub(crate) fn sent(&mut self) -> Vec<(u16, Vec<u8>)> {
        let sent = self.out.iter().map(|(port, frame)| (port, frame.to_vec())).collect();
        self.out.clear();
        sent
    }
}

fn boot<W: Workload>(plan: &Plan, at: usize, incarnation: u16, clock: Clock, now: Micros) -> Switch<W::App> {
    let store = |shard| StorePath { address: shard_address(shard), mac: MAC, port: port::STORE };
    let config = SwitchConfig {
        identity: SwitchIdentity { switch: 1 + at as u16, incarnation },
        mac: MAC,
        address: address(at),
        lease: plan.lease,
        stores: (0..plan.shards).map(store).collect(),
        store_facing_ports: vec![port::STORE],
        routes: W::routes(),
        store_mtu: MTU,
        authentication: None,
    };
    Switch::new(config, W::tables(), clock.ticks(Time(now))).expect("the configuration is legal")
}
