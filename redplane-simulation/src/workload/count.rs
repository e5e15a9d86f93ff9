//! Hosts that have their packets counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use backend_store::AppFactory;
use redplane_sdk::net::Random;
use redplane_sdk::{App, app};

use super::{Outgoing, Workload, port};
use crate::app::counter;
use crate::checker::{self, Violation};
use crate::finding::{Check, Finding};
use crate::frame::{Datagram, PacketId};
use crate::history::{History, Intent, Micros, Shown};
use crate::link::STRAGGLER_MAX;
use crate::plan::Plan;

/// UDP destination ports: what a packet asks for. `counter` has the same.
mod ask {
    pub(super) const COUNT: u16 = 1;
    pub(super) const SHOW: u16 = 2;
    pub(super) const PEEK: u16 = 3;
    pub(super) const COUNT_AND_DROP: u16 = 4;
    pub(super) const COUNT_AND_SHOW_AGAIN: u16 = 5;
}

/// The first key; the others follow.
const FIRST_KEY: u32 = u32::from_be_bytes([10, 1, 0, 1]);

const HOST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);

/// Source port of every packet: not zero, which says that there is no record.
const SOURCE_PORT: u16 = 9;

/// Some per mille by which the store's clock may run ahead of ours, and its steps.
const IDLE_SLACK: u64 = 50;

/// Hosts that send packets to a handful of receivers, and each receiver's history.
pub struct Count {
    keys: u32,
    writes_percent: u64,
    packets: u32,
    histories: BTreeMap<u32, History>,
    probes: BTreeSet<PacketId>,
    key_of: Vec<u32>,
}

impl Count {
    /// The history of every key.
    #[must_use]
    pub fn histories(&self) -> &BTreeMap<u32, History> {
        &self.histories
    }

    fn make(&mut self, key: u32, ask: u16) -> Outgoing {
        let packet = PacketId(self.packets);
        self.packets += 1;
        self.key_of.push(key);
        let datagram = Datagram {
            src: (HOST, SOURCE_PORT),
            dst: (Ipv4Addr::from(FIRST_KEY + key), ask),
            identification: 0,
        };
        Outgoing { flow: key, port: port::NEAR, frame: datagram.to_frame(&packet.to_bytes()) }
    }

    fn check_each(&self, plan: &Plan, check: Check, pick: impl Fn(&History) -> History) -> Option<Finding> {
        // A local read shows life to the store only within a lease, and what left may have waited on its way.
        let any = (counter::Receiver { addr: Ipv4Addr::UNSPECIFIED }, counter::Count { packets: 0 });
        let idle = counter::App::idle(&any.0, &any.1).as_micros() as Micros;
        let under_way = idle * IDLE_SLACK / 1000 + plan.lease_micros() + 4 * STRAGGLER_MAX;
        let quiet =
            idle.checked_sub(under_way).expect("nothing is under way for as long as a record stays idle");
        self.histories.iter().find_map(|(key, history)| {
            let Violation { at, text, .. } = checker::check(&pick(history), quiet).err()?;
            Some(Finding { check, at, text: format!("key {}: {text}", Ipv4Addr::from(FIRST_KEY + key)) })
        })
    }

    fn key(key: &[u8]) -> u32 {
        key.try_into().map_or(u32::MAX, u32::from_be_bytes).wrapping_sub(FIRST_KEY)
    }
}

impl Workload for Count {
    type App = counter::App;
    const NAME: &'static str = "counter";

    fn new(plan: &Plan) -> Self {
        Count {
            keys: plan.keys,
            writes_percent: plan.writes_percent,
            packets: 0,
            histories: (0..plan.keys).map(|key| (key, History::default())).collect(),
            probes: BTreeSet::new(),
            key_of: Vec::new(),
        }
    }

    fn tables() -> counter::Tables {
        counter::Tables::default()
    }

    fn factory(&self) -> AppFactory {
        Box::new(|| app::creator::<counter::App>(()))
    }

    fn packet(&mut self, random: &mut Random) -> Outgoing {
        let key = random.below(u64::from(self.keys)) as u32;
        let ask = if random.below(100) < self.writes_percent {
            match random.below(10) {
                0 => ask::COUNT_AND_DROP,
                1 => ask::COUNT_AND_SHOW_AGAIN,
                _ => ask::COUNT,
            }
        } else {
            [ask::SHOW, ask::SHOW, ask::PEEK][random.below(3) as usize]
        };
        self.make(key, ask)
    }

    fn probes(&mut self) -> Vec<Vec<Outgoing>> {
        let asks = [ask::COUNT, ask::SHOW, ask::PEEK, ask::COUNT_AND_SHOW_AGAIN];
        let made: Vec<Vec<_>> =
            (0..self.keys).map(|key| asks.iter().map(|ask| self.make(key, *ask)).collect()).collect();
        self.probes.extend(made.iter().flatten().filter_map(|made| PacketId::of(&made.frame)));
        made
    }

    fn entered(&mut self, _: u16, frame: &[u8], now: Micros) {
        let (Some((datagram, _)), Some(packet)) = (Datagram::parse(frame), PacketId::of(frame)) else {
            return;
        };
        let ask = datagram.dst.1;
        let intent = Intent { creates: ask != ask::PEEK, writes: ask != ask::PEEK && ask != ask::SHOW };
        if let Some(history) = self.histories.get_mut(&u32::from(datagram.dst.0).wrapping_sub(FIRST_KEY)) {
            history.enter(packet, now, intent);
        }
    }

    fn repeated(&mut self, packet: PacketId) {
        let key = self.key_of.get(packet.0 as usize);
        if let Some(history) = key.and_then(|key| self.histories.get_mut(key)) {
            history.repeat(packet);
        }
    }

    fn left(&mut self, _: u16, frame: &[u8], now: Micros) {
        let (Some((datagram, _)), Some(packet)) = (Datagram::parse(frame), PacketId::of(frame)) else {
            return;
        };
        let value = (datagram.src.1 != 0).then_some(u32::from(datagram.identification));
        let shown = Shown { packet, at: now, value, wrote: datagram.dst.1 == ask::COUNT };
        if let Some(history) = self.histories.get_mut(&u32::from(datagram.dst.0).wrapping_sub(FIRST_KEY)) {
            history.show(shown);
        }
        self.probes.remove(&packet);
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        (0..self.keys).map(|key| (FIRST_KEY + key).to_be_bytes().to_vec()).collect()
    }

    fn durable(&self, key: &[u8], value: Option<&[u8]>) -> Option<String> {
        let shown = self.histories.get(&Count::key(key))?.shown.last()?.value;
        let held =
            value.and_then(|value| value.try_into().ok()).map(|value| u32::from(u16::from_be_bytes(value)));
        (held < shown).then(|| format!("{shown:?} was shown last, {held:?} is kept"))
    }

    fn unanswered(&self) -> Option<String> {
        let first = self.probes.first()?;
        let key = Ipv4Addr::from(FIRST_KEY + self.key_of.get(first.0 as usize)?);
        Some(format!(
            "{} packets did not get out though nothing failed, {first} to {key} first",
            self.probes.len()
        ))
    }

    fn check(&self, plan: &Plan) -> Option<Finding> {
        self.check_each(plan, Check::Linearizable, History::clone)
    }

    fn check_writes(&self, plan: &Plan) -> Option<Finding> {
        self.check_each(plan, Check::NoWriteLost, History::writes_only)
    }
}
