//! A switch without replication: the same app, no store.

use redplane_sdk::packet::Packet;
use redplane_sdk::pipeline::{Output, Switch};
use redplane_sdk::protocol::Ticks;

use super::counter::{Counter, OUT, port};
use super::rig::*;
use crate::frames::Frame;
use crate::nat;

fn send<A: redplane_sdk::App>(
    switch: &mut Switch<A>,
    port: u16,
    frame: &[u8],
    now: Ticks,
) -> Vec<(u16, Packet)> {
    let mut out = Output::new();
    switch.process(port, frame, now, &mut out);
    out.iter().map(|(port, frame)| (port, Packet::parse(frame).expect("a packet"))).collect()
}

#[test]
fn it_translates_both_ways_at_once() {
    let mut config = config();
    config.stores.clear();
    let pool = nat::Pool { first_port: 5000, last_port: 5002, ..pool() };
    let mut switch =
        Switch::<nat::App>::without_replication(config, tables(), pool, Ticks(0)).expect("legal");
    let out = Frame::udp((CLIENT, 5000), (SERVER, 53), b"").build();
    let sent = send(&mut switch, INSIDE_PORT, &out, Ticks(0));
    let [(OUTSIDE_PORT, packet)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(
        (packet.ipv4.unwrap().src, packet.ports.unwrap().src),
        (PUBLIC, 5000),
        "the same port is free"
    );
    let back = Frame::udp((SERVER, 53), (PUBLIC, 5000), b"").build();
    let sent = send(&mut switch, OUTSIDE_PORT, &back, Ticks(1));
    let [(INSIDE_PORT, packet)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((packet.ipv4.unwrap().dst, packet.ports.unwrap().dst), (CLIENT, 5000));

    // The port is taken: another of the same parity.
    let out = Frame::udp((CLIENT_2, 5000), (SERVER, 53), b"").build();
    let sent = send(&mut switch, INSIDE_PORT, &out, Ticks(2));
    assert_eq!(sent[0].1.ports.unwrap().src, 5002);

    // A hairpin, both passes at once, and after its leases are over.
    let hairpin = Frame::udp((CLIENT_2, 5000), (PUBLIC, 5000), b"").build();
    for now in [Ticks(3), Ticks(100_000)] {
        let sent = send(&mut switch, INSIDE_PORT, &hairpin, now);
        let [(INSIDE_PORT, packet)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((packet.ipv4.unwrap().src, packet.ports.unwrap().src), (PUBLIC, 5002));
        assert_eq!((packet.ipv4.unwrap().dst, packet.ports.unwrap().dst), (CLIENT, 5000));
    }

    let stray = Frame::udp((SERVER, 53), (PUBLIC, 6000), b"").build();
    assert!(send(&mut switch, OUTSIDE_PORT, &stray, Ticks(100_000)).is_empty());
    let last = Frame::udp((CLIENT, 7), (SERVER, 53), b"").build();
    assert_eq!(send(&mut switch, INSIDE_PORT, &last, Ticks(100_000))[0].1.ports.unwrap().src, 5001);
    let refused = Frame::udp((CLIENT, 666), (SERVER, 53), b"").build();
    assert!(send(&mut switch, INSIDE_PORT, &refused, Ticks(100_000)).is_empty());
    let statistics = switch.statistics();
    assert_eq!((statistics.dropped("unsolicited"), statistics.dropped("lease_refused")), (1, 1));
    assert_eq!((statistics.dropped_in_all(), statistics.requests), (2, 0));
}

#[test]
fn it_keeps_what_was_written() {
    let mut switch = Switch::<Counter>::without_replication(config(), (), (), Ticks(0)).expect("legal");
    let frame = |dst| Frame::udp((CLIENT, 1), (SERVER, dst), b"").build();
    let mut now = Ticks(0);
    for (dst, expected) in [
        (port::READ, 100),
        (port::COUNT, 101),
        (port::COUNT, 102),
        (port::COUNT_AND_RECIRCULATE, 103),
        (port::READ, 103),
    ] {
        let sent = send(&mut switch, INSIDE_PORT, &frame(dst), now);
        let [(OUT, packet)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(packet.ports.unwrap().src, expected);
        now = now.plus(10_000);
    }
    let mut out = Output::new();
    switch.handle_timeout(now, &mut out);
    switch.release_all(now, &mut out);
    assert!(out.is_empty(), "it has nobody to tell");
}
