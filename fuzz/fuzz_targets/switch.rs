//! Whatever comes in by whatever port, packets and forged messages of the store: the switch goes on, and accounts for it.
//!
//! The input is a sequence of frames, each after its port (one byte), how many ticks pass (one byte) and its length
//! (two bytes). The port's high bit keeps a wrong IPv4 checksum.

#![no_main]

use std::marker::PhantomData;
use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use redplane_sdk::App;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Output, Route, StorePath, Switch, SwitchConfig};
use redplane_sdk::prelude::{Creation, Duration, Handled, Packet, Refusal, StateHandle};
use redplane_sdk::protocol::{Lease, SwitchIdentity, Ticks};

#[path = "../../redplane-codegen/tests/fixtures/cache/input.rs"]
mod cache_app;
mod mend;
#[path = "../../apps/src/nat.rs"]
mod nat_app;

use cache_app::cache;
use nat_app::nat;

/// An app in a switch with so few slots that keys push each other out.
struct Small<A>(PhantomData<A>);

impl<A: App> App for Small<A> {
    type Key = A::Key;
    type State = A::State;
    type Tables = A::Tables;
    type Config = A::Config;

    const NAME: &'static str = A::NAME;
    const ID: u16 = A::ID;
    const FINGERPRINT: u16 = A::FINGERPRINT;
    const IR_HASH: u64 = A::IR_HASH;
    const SLOTS: u32 = 4;
    const REASONS: &'static [&'static str] = A::REASONS;

    fn handle<'a>(
        packet: &mut Packet,
        state: StateHandle<'a, A::Key, A::State>,
        tables: &'a A::Tables,
        ingress_port: u16,
    ) -> Handled {
        A::handle(packet, state, tables, ingress_port)
    }

    fn own_headers(packet: &Packet, bytes: &[u8]) -> Option<usize> {
        A::own_headers(packet, bytes)
    }

    fn idle(key: &A::Key, state: &A::State) -> Duration {
        A::idle(key, state)
    }

    fn create(
        key: &A::Key,
        records: &mut Creation<'_, A::Key, A::State>,
        config: &A::Config,
    ) -> Result<A::State, Refusal> {
        A::create(key, records, config)
    }
}

fn config() -> SwitchConfig {
    let next_hop = NextHop { port: 2, source: MacAddr::default(), destination: MacAddr::BROADCAST };
    SwitchConfig {
        identity: SwitchIdentity { switch: 0, incarnation: 0 },
        mac: MacAddr::default(),
        address: Ipv4Addr::UNSPECIFIED,
        lease: Lease::default(),
        stores: vec![StorePath { address: Ipv4Addr::UNSPECIFIED, mac: MacAddr::default(), port: 3 }; 3],
        store_facing_ports: vec![3],
        routes: vec![Route { prefix: Ipv4Addr::UNSPECIFIED, length: 0, next_hop }],
        store_mtu: 1500,
        authentication: None,
    }
}

fn tables() -> nat::Tables {
    let mut tables = nat::Tables::default();
    // Every bit pattern that a fuzzer likes is inside, outside or public.
    tables.inside.insert(Ipv4Addr::UNSPECIFIED, 2, true).expect("room");
    tables.public.insert(Ipv4Addr::new(64, 0, 0, 0), 2, true).expect("room");
    tables
}

fn drive<A: App>(mut switch: Switch<Small<A>>, mut input: &[u8]) {
    let (mut now, mut out) = (Ticks(0), Output::new());
    while let Some(([port, ticks, high, low], rest)) = input.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        input = rest;
        now = now.plus(u32::from(*ticks));
        let mut frame = frame.to_vec();
        if port & 0x80 == 0 {
            mend::mend(&mut frame);
        }
        switch.process(u16::from(port & 0x7f), &frame, now, &mut out);
        switch.handle_timeout(now, &mut out);
        assert!(out.iter().count() == out.len());
        out.clear();
        let statistics = switch.statistics();
        let came_to_something =
            statistics.transmitted + statistics.suspended + statistics.held + statistics.dropped_in_all();
        assert!(came_to_something + statistics.messages + statistics.resumed >= statistics.received);
    }
    switch.release_all(now, &mut out);
}

fuzz_target!(|input: &[u8]| {
    drive::<nat::App>(Switch::new(config(), tables(), Ticks(0)).expect("legal"), input);
    let pool = nat::Pool { addresses: vec![Ipv4Addr::new(64, 0, 0, 1)], first_port: 1, last_port: 64 };
    drive::<nat::App>(Switch::without_replication(config(), tables(), pool, Ticks(0)).expect("legal"), input);
    let none = cache::Tables::default;
    drive::<cache::App>(Switch::new(config(), none(), Ticks(0)).expect("legal"), input);
    drive::<cache::App>(Switch::without_replication(config(), none(), (), Ticks(0)).expect("legal"), input);
});
