//! How fast the software switch is on one core, on 64-byte packets (60 bytes without the frame check sequence).
//!
//! `nat_hit` is the whole way of a packet whose flow is leased; `parse_deparse` is the part that no app can do without;
//! `copy` is the frame copied and nothing else.

#![allow(missing_docs, reason = "divan's attribute makes public items")]

#[path = "../../apps/src/nat.rs"]
#[expect(unreachable_pub, reason = "the app is written as a library would write it")]
mod nat_app;

use std::hint::black_box;
use std::net::Ipv4Addr;

use divan::Bencher;
use divan::counter::ItemsCount;
use nat_app::nat;
use redplane_sdk::packet::{MacAddr, Packet};
use redplane_sdk::pipeline::{NextHop, Output, Route, Switch, SwitchConfig};
use redplane_sdk::protocol::{Lease, SwitchIdentity, Ticks};

/// Packets in one sample, as many as a driver would take from a queue at once.
const BATCH: usize = 64;

/// Bytes of the smallest Ethernet frame without its check sequence.
const FRAME_LEN: usize = 60;

fn main() {
    divan::main();
}

fn frames(flows: usize) -> Vec<Vec<u8>> {
    let frame = |flow: usize| {
        let mut frame = Vec::new();
        let [high, low] = (flow as u16 % 4096).to_be_bytes();
        etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4([10, (flow / 4096) as u8, high, low], [198, 51, 100, 9], 64)
            .udp(40_000, 53)
            .write(&mut frame, b"query")
            .expect("it fits");
        frame.resize(FRAME_LEN, 0);
        frame
    };
    (0..flows).map(frame).collect()
}

fn switch() -> Switch<nat::App> {
    let next_hop = NextHop {
        port: 2,
        source: MacAddr::new([2, 0, 0, 0, 0, 2]),
        destination: MacAddr::new([2, 0, 0, 0, 0, 3]),
    };
    let config = SwitchConfig {
        identity: SwitchIdentity { switch: 1, incarnation: 1 },
        mac: next_hop.source,
        address: Ipv4Addr::new(172, 16, 0, 1),
        lease: Lease::default(),
        stores: Vec::new(),
        store_facing_ports: vec![3],
        routes: vec![Route { prefix: Ipv4Addr::UNSPECIFIED, length: 0, next_hop }],
        store_mtu: 1700,
        authentication: None,
    };
    let mut tables = nat::Tables::default();
    tables.inside.insert(Ipv4Addr::new(10, 0, 0, 0), 8, true).expect("room");
    tables.public.insert(Ipv4Addr::new(192, 0, 2, 0), 24, true).expect("room");
    let pool = nat::Pool {
        addresses: (0..=255).map(|host| Ipv4Addr::new(192, 0, 2, host)).collect(),
        first_port: 1024,
        last_port: 65_535,
    };
    Switch::without_replication(config, tables, pool, Ticks(0)).expect("legal")
}

#[divan::bench(args = [1, 64, 16_384])]
fn nat_hit(bencher: Bencher, flows: usize) {
    let frames = frames(flows);
    let mut switch = switch();
    let mut out = Output::new();
    // Twice, so that of the keys that share a slot one stays; those that share one are left out.
    for frame in frames.iter().chain(&frames) {
        switch.process(1, frame, Ticks(0), &mut out);
        out.clear();
    }
    let suspended = |switch: &mut Switch<nat::App>, out: &mut Output, frame: &Vec<u8>| {
        let before = switch.slots().statistics().installed;
        switch.process(1, frame, Ticks(0), out);
        out.clear();
        switch.slots().statistics().installed != before
    };
    let hits: Vec<_> =
        frames.iter().filter(|frame| !suspended(&mut switch, &mut out, frame)).cloned().collect();
    let mut next = hits.iter().cycle();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        for frame in next.by_ref().take(BATCH) {
            switch.process(1, black_box(frame), Ticks(0), &mut out);
        }
        black_box(&out).len()
    });
}

#[divan::bench(args = [1, 64, 16_384])]
fn parse_deparse(bencher: Bencher, flows: usize) {
    let frames = frames(flows);
    let mut out = Vec::new();
    let mut next = frames.iter().cycle();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        for frame in next.by_ref().take(BATCH) {
            if let Ok(packet) = Packet::parse(black_box(frame)) {
                black_box(&packet).deparse(frame, &mut out);
            }
        }
        black_box(&out).len()
    });
}

#[divan::bench(args = [1, 64, 16_384])]
fn copy(bencher: Bencher, flows: usize) {
    let frames = frames(flows);
    let mut out = Vec::new();
    let mut next = frames.iter().cycle();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        for frame in next.by_ref().take(BATCH) {
            out.extend_from_slice(black_box(frame));
        }
        black_box(&out).len()
    });
}
