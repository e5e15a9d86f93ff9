//! Whatever datagrams and state files; and whatever nodes say and do, the chains stay what a chain must be.

use std::collections::BTreeMap;
use std::time::Duration;

use redplane_protocol::mac::MacKeys;
use redplane_protocol::{Configuration, NodeId, Time};

use super::state;
use super::table::{Standing, Table, TableRecord, TableSettings};
use super::wire::{Dialect, Message, WireError};
use super::{ShardReport, ShardStatus};
use crate::ChainState;
use crate::fuzzing::Input;

const CLUSTER: &str = "lab";
const NODES: u16 = 3;
const SHARDS: u16 = 2;
const DETECTION: Duration = Duration::from_millis(500);

/// Lives of a node that the table remembers at least.
const LIVES_REMEMBERED: u64 = 8;

/// The first shard is durable.
fn settings() -> TableSettings {
    TableSettings {
        cluster: CLUSTER.to_owned(),
        nodes: (0..NODES).map(NodeId).collect(),
        shards: SHARDS,
        durable: [0].into(),
        detection: DETECTION,
    }
}

/// Reads bytes as a datagram of a cluster, with and without keys.
///
/// # Panics
/// If what comes out is wrong.
pub fn dialect(bytes: &[u8]) {
    let (open, closed) =
        (Dialect::of(CLUSTER, None), Dialect::of(CLUSTER, Some(MacKeys::new([1; 16], None))));
    // A fuzzer that looks on as codes are compared finds the right one.
    let _ = closed.parse(bytes);
    let Ok(message) = open.parse(bytes) else { return };
    for dialect in [&open, &closed] {
        match dialect.to_bytes(message.clone()) {
            // What was left out is written out.
            Err(error) => assert!(matches!(error, WireError::TooLong { .. }), "{error}"),
            Ok(again) => assert!(matches!(dialect.parse(&again), Ok(same) if same == message)),
        }
    }
    if let Message::Heartbeat(heartbeat) = message {
        let mut world = World::new(Table::new(settings()));
        let (node, life) = (NodeId(heartbeat.node), heartbeat.incarnation);
        for _ in 0..3 {
            world.now = world.now.plus(DETECTION / 3);
            world.table.handle_heartbeat(node, life, heartbeat.yields, &heartbeat.reports, world.now);
            world.check();
        }
        if heartbeat.leaves {
            world.table.handle_leave(node, life, world.now);
            world.check();
        }
    }
}

/// Reads bytes as the table of a state file, makes the file's checksum right, and lets the coordinator go on from there.
///
/// # Panics
/// If what comes out is wrong.
pub fn state(bytes: &[u8]) {
    let raw = state::parse(bytes);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (table, mut rest) = (&bytes[..end], Input(&bytes[end..]));
    let Some(record) = raw.ok().or_else(|| serde_json::from_slice::<TableRecord>(table).ok()) else { return };
    let file = state::to_bytes(record.clone()).expect("it is JSON");
    assert_eq!(state::parse(&file), Ok(record.clone()));
    let (at, value) = (rest.number() as usize, rest.byte());
    let mut damaged = file.clone();
    if let Some(byte) = damaged.get_mut(at) {
        *byte = value;
    }
    if let Ok(other) = state::parse(&damaged) {
        assert_eq!(other, record, "byte {at} is {value}");
    }
    let Ok(table) = Table::from_record(settings(), &record, Time(1_000_000)) else { return };
    assert_eq!(table.to_record(), record);
    World::new(table).run(rest);
}

/// Takes bytes as what nodes, the clock and an operator do.
///
/// # Panics
/// If a chain comes out that must not be.
pub fn table(bytes: &[u8]) {
    World::new(Table::new(settings())).run(Input(bytes));
}

/// What a process of a node knows.
#[derive(Clone, Copy, Default)]
struct Life {
    incarnation: u64,
    epochs: [u64; SHARDS as usize],
    restored: bool,
    /// Whom it does not hear.
    silent: u8,
    /// It hears no answers.
    deaf: bool,
}

struct World {
    table: Table,
    lives: [Life; NODES as usize],
    now: Time,
    /// What was ever told of each shard, by epoch.
    told: BTreeMap<(u16, u64), Configuration>,
    before: Vec<ShardStatus>,
    revision: u64,
    record: TableRecord,
}

impl World {
    fn new(table: Table) -> Self {
        let now = Time(1_000_000);
        let (before, record) = (table.status(0, now).shards, table.to_record());
        let lives = [Life { incarnation: 1, ..Life::default() }; NODES as usize];
        let (told, revision) = (BTreeMap::new(), table.revision());
        Self { table, lives, now, told, before, revision, record }
    }

    fn run(mut self, mut input: Input<'_>) {
        while !input.is_empty() {
            let choice = input.byte();
            let node = choice >> 4 & 3;
            match choice & 0xf {
                0..=4 => self.heartbeat(node.into(), choice & 1 != 0),
                5 => self.cut(node.into(), &mut input),
                6 => self.forge(node.into(), &mut input),
                7 | 8 => self.restart(node.into(), choice & 1 != 0),
                9 => self.leave(node.into(), &mut input),
                10..=12 => self.pass(Duration::from_millis(u64::from(input.byte())), true),
                13 => self.pass(Duration::from_millis(u64::from(input.byte()) * 20), false),
                14 => self.reset(node.into()),
                _ => self.restart_coordinator(),
            }
            self.check();
        }
    }

    /// From a node that does what it should.
    fn heartbeat(&mut self, node: u16, copied: bool) {
        let Some(life) = self.lives.get_mut(usize::from(node)) else {
            let standing = self.table.handle_heartbeat(NodeId(node), 1, false, &[], self.now);
            return assert_eq!(standing, Standing::Stranger);
        };
        let Life { incarnation, restored, silent, deaf, .. } = *life;
        let report = |(shard, epoch)| ShardReport {
            shard,
            epoch,
            copied,
            restored,
            inherited: restored,
            silent: silent.into(),
        };
        let reports: Vec<_> = (0..).zip(life.epochs).map(report).collect();
        let standing = self.table.handle_heartbeat(NodeId(node), incarnation, deaf, &reports, self.now);
        if deaf {
            return;
        }
        if standing == Standing::Counted {
            for (shard, configuration) in self.table.configurations_for(NodeId(node), incarnation) {
                life.epochs[usize::from(shard)] = configuration.epoch;
                life.restored &= configuration.members.contains(&NodeId(node))
                    && configuration.joining != Some(NodeId(node));
            }
        } else {
            assert_eq!(self.table.configurations_for(NodeId(node), incarnation).count(), 0);
        }
    }

    /// From now on it does not hear everybody, or does again.
    fn cut(&mut self, node: u16, input: &mut Input<'_>) {
        if let Some(life) = self.lives.get_mut(usize::from(node)) {
            let choice = input.byte();
            (life.silent, life.deaf) = (choice & 7, choice & 0xc0 == 0xc0);
        }
    }

    /// From somebody who says anything, of any life.
    fn forge(&mut self, node: u16, input: &mut Input<'_>) {
        let reports: Vec<_> = (0..input.byte() % 3)
            .map(|_| {
                let flags = input.byte();
                ShardReport {
                    shard: u16::from(flags >> 6),
                    epoch: input.number(),
                    copied: flags & 1 != 0,
                    restored: flags & 2 != 0,
                    inherited: flags & 4 != 0,
                    silent: u16::from(flags >> 3 & 7),
                }
            })
            .collect();
        let (incarnation, yields) = (input.number(), input.flag());
        self.table.handle_heartbeat(NodeId(node), incarnation, yields, &reports, self.now);
    }

    fn restart(&mut self, node: u16, restored: bool) {
        if let Some(life) = self.lives.get_mut(usize::from(node)) {
            *life = Life { incarnation: life.incarnation + 1, restored, ..Life::default() };
        }
    }

    /// The present life, or one that went before it.
    fn leave(&mut self, node: u16, input: &mut Input<'_>) {
        let present = self.lives.get(usize::from(node)).map_or(1, |life| life.incarnation);
        let ago = u64::from(input.byte()) % LIVES_REMEMBERED;
        let incarnation = present.saturating_sub(ago);
        self.table.handle_leave(NodeId(node), incarnation, self.now);
        let told = self.table.configurations_for(NodeId(node), incarnation).count();
        assert_eq!(told, 0, "who left hears nothing");
        if NodeId(node) < NodeId(NODES) {
            let standing = self.table.handle_heartbeat(NodeId(node), incarnation, false, &[], self.now);
            assert_eq!(standing, Standing::Former);
        }
    }

    /// With the deadlines in between, or with one look at the end of it.
    fn pass(&mut self, duration: Duration, in_time: bool) {
        let end = self.now.plus(duration);
        while let Some(due) = self.table.poll_timeout().filter(|due| in_time && *due <= end) {
            self.table.handle_timeout(due);
            assert!(self.table.poll_timeout().is_none_or(|again| again > due), "it spins");
            self.now = self.now.max(due);
            self.check();
        }
        self.now = end;
        self.table.handle_timeout(end);
        assert!(self.table.poll_timeout().is_none_or(|again| again > end), "it spins");
    }

    fn reset(&mut self, shard: u16) {
        let served = self.before.get(usize::from(shard)).map(|status| status.state == ChainState::Serving);
        assert_eq!(self.table.reset(shard, self.now).is_ok(), served == Some(false));
    }

    /// Whatever it has come to, its own file brings it back there.
    fn restart_coordinator(&mut self) {
        let record = self.table.to_record();
        let file = state::to_bytes(record.clone()).expect("it is JSON");
        let read = state::parse(&file).expect("it was written so");
        self.table = Table::from_record(settings(), &read, self.now).expect("its own record is legal");
        assert_eq!(self.table.to_record(), record);
        self.revision = self.table.revision();
    }

    fn check(&mut self) {
        let (record, revision) = (self.table.to_record(), self.table.revision());
        assert!(record == self.record || revision > self.revision, "a change that nobody writes down");
        (self.record, self.revision) = (record, revision);
        let shards = self.table.status(0, self.now).shards;
        for (status, before) in shards.iter().zip(&self.before) {
            assert!(status.epoch >= before.epoch, "an epoch goes back: {before:?}, {status:?}");
            check_chain(status);
        }
        for node in 0..NODES {
            let life = self.lives[usize::from(node)].incarnation;
            for (shard, configuration) in self.table.configurations_for(NodeId(node), life) {
                let status = &shards[usize::from(shard)];
                assert_eq!(configuration.epoch, status.epoch);
                let told =
                    self.told.entry((shard, configuration.epoch)).or_insert_with(|| configuration.clone());
                assert_eq!(told, configuration, "one epoch, two configurations");
            }
        }
        self.before = shards;
    }
}

fn check_chain(status: &ShardStatus) {
    let ShardStatus { state, epoch, members, joining, waits_for, .. } = status;
    let are_nodes = |nodes: &[u16]| nodes.iter().enumerate().all(|(at, node)| !nodes[..at].contains(node));
    assert!(are_nodes(members) && are_nodes(waits_for), "{status:?}");
    assert_eq!(members.is_empty(), *state != ChainState::Serving, "{status:?}");
    assert_eq!(waits_for.is_empty(), !matches!(state, ChainState::Down | ChainState::Lost), "{status:?}");
    assert!(*epoch > 0 || *state == ChainState::Forming, "{status:?}");
    if joining.is_some() {
        assert!(
            members.len() > 1 && members.last() == joining.as_ref(),
            "only behind a whole one: {status:?}"
        );
    }
}
