//! Every way of a packet between switch and store.

use std::net::Ipv4Addr;

use redplane_sdk::packet::{MacAddr, Packet};
use redplane_sdk::pipeline::{ConfigError, Reason, StorePath, Switch, SwitchConfig};
use redplane_sdk::protocol::mac::MacKeys;
use redplane_sdk::protocol::wire::PORT_RECIRCULATE;
use redplane_sdk::protocol::{Fixed, Header, Kind, NackReason, Serial, SwitchIdentity, Ticks, fixed};

use super::counter::{Count, Counter, Flow, OUT, port};
use super::rig::*;
use crate::frames::{Frame, HOST_MAC, icmp_error, wrong_checksums};
use crate::nat::{self, Binding, Endpoint};

const UDP: u8 = 17;

fn udp_out(source: u16) -> Vec<u8> {
    Frame::udp((CLIENT, source), (SERVER, 53), b"query").build()
}

fn udp_in(destination: u16) -> Vec<u8> {
    Frame::udp((SERVER, 53), (PUBLIC, destination), b"answer").build()
}

/// The NAT with a lease in each direction: client port 5000 is public port 6000.
fn leased_nat() -> Rig<nat::App> {
    let mut rig = nat();
    let request = rig.ask(INSIDE_PORT, &udp_out(5000));
    rig.grant(&request, 1, Binding { addr: PUBLIC, port: 6000 });
    let request = rig.ask(OUTSIDE_PORT, &udp_in(6000));
    rig.grant(&request, 2, Binding { addr: CLIENT, port: 5000 });
    rig
}

#[track_caller]
fn one(sent: Vec<(u16, Vec<u8>)>, port: u16) -> (Packet, Vec<u8>) {
    let [(to, frame)] = &sent[..] else { panic!("not one frame: {sent:02x?}") };
    assert_eq!(*to, port);
    assert_eq!(wrong_checksums(frame), Vec::<&str>::new());
    (Packet::parse(frame).expect("a packet"), frame.clone())
}

#[test]
fn a_first_packet_goes_to_the_store_untouched_and_comes_back_with_the_lease() {
    let mut rig = nat();
    let frame = udp_out(5000);
    let request = rig.ask(INSIDE_PORT, &frame);
    assert_eq!((request.header.kind, request.header.create), (Kind::Lease, true));
    assert_eq!((request.header.port, request.header.sent_at), (INSIDE_PORT, rig.now));
    assert_eq!(request.key, Endpoint { addr: CLIENT, port: 5000, protocol: UDP });
    assert_eq!(request.value, Binding::zero());
    assert_eq!(request.frame, frame);

    let sent = rig.grant(&request, 1, Binding { addr: PUBLIC, port: 6000 });
    let (packet, out) = one(sent, OUTSIDE_PORT);
    let (ipv4, ports) = (packet.ipv4.unwrap(), packet.ports.unwrap());
    assert_eq!((ipv4.src, ipv4.dst, ports.src, ports.dst), (PUBLIC, SERVER, 6000, 53));
    assert_eq!((ipv4.ttl, packet.ethernet.src, packet.ethernet.dst), (63, SWITCH_MAC, ROUTER_MAC));
    assert_eq!(out[42..], *b"query");

    // The second packet finds the lease.
    one(rig.send(INSIDE_PORT, &udp_out(5000)), OUTSIDE_PORT);
    let statistics = rig.switch.statistics();
    assert_eq!((statistics.suspended, statistics.resumed, statistics.transmitted), (1, 1, 2));
    assert_eq!((statistics.received, statistics.messages, statistics.requests), (3, 1, 1));
    rig.assert_dropped("", 0);
}

#[test]
fn the_way_back_is_found_or_dropped() {
    let mut rig = leased_nat();
    let (packet, _) = one(rig.send(OUTSIDE_PORT, &udp_in(6000)), INSIDE_PORT);
    let (ipv4, ports) = (packet.ipv4.unwrap(), packet.ports.unwrap());
    assert_eq!((ipv4.dst, ports.dst, ipv4.ttl), (CLIENT, 5000, 63));

    let frame = udp_in(7000);
    let request = rig.ask(OUTSIDE_PORT, &frame);
    assert_eq!((request.header.kind, request.header.create), (Kind::Lease, false), "find does not create");
    assert_eq!(request.frame, frame);
    assert!(rig.nack(&request, NackReason::Absent).is_empty());
    rig.assert_dropped("unsolicited", 1);
}

#[test]
fn absence_of_one_key_says_nothing_of_another() {
    let mut rig = nat();
    let request = rig.ask(OUTSIDE_PORT, &udp_in(7000));
    let other =
        Request { key: Endpoint { port: 7001, ..request.key }, frame: request.frame.clone(), ..request };
    let again = rig.nack(&other, NackReason::Absent);
    assert_eq!(rig.request(&again).key, request.key, "asked anew for what it is about");
    rig.assert_dropped("", 0);
}

#[test]
fn refusals_have_their_reasons() {
    for (answer, reason) in [
        (NackReason::Refused, "lease_refused"),
        (NackReason::Busy, "store_busy"),
        (NackReason::Stale, "lease_stale"),
    ] {
        let mut rig = nat();
        let request = rig.ask(INSIDE_PORT, &udp_out(5000));
        assert!(rig.nack(&request, answer).is_empty());
        rig.assert_dropped(reason, 1);
    }
}

#[test]
fn an_outdated_grant_asks_again() {
    let mut rig = nat();
    let request = rig.ask(INSIDE_PORT, &udp_out(5000));
    rig.grant(&request, 1, Binding { addr: PUBLIC, port: 6000 });
    rig.now = rig.now.plus(5000);
    let again = rig.grant(&request, 1, Binding { addr: PUBLIC, port: 6000 });
    assert_eq!(
        rig.request(&again).header.ticket,
        Serial(1),
        "the ticket moved on: the late grant is not installed"
    );
}

#[test]
fn a_hairpin_takes_two_passes() {
    let mut rig = leased_nat();
    let request = rig.ask(INSIDE_PORT, &Frame::udp((CLIENT_2, 9), (PUBLIC, 6000), b"hi").build());
    let sent = rig.grant(&request, 3, Binding { addr: PUBLIC, port: 6002 });
    let (packet, _) = one(sent, INSIDE_PORT);
    let (ipv4, ports) = (packet.ipv4.unwrap(), packet.ports.unwrap());
    assert_eq!((ipv4.src, ports.src, ipv4.dst, ports.dst), (PUBLIC, 6002, CLIENT, 5000));
    assert_eq!(ipv4.ttl, 63, "one hop");
    assert_eq!(rig.switch.statistics().recirculated, 1);
}

#[test]
fn a_hairpin_whose_second_pass_waits_carries_the_first_passs_work() {
    let mut rig = nat();
    let request = rig.ask(INSIDE_PORT, &Frame::udp((CLIENT_2, 9), (PUBLIC, 6000), b"hi").build());
    let sent = rig.grant(&request, 3, Binding { addr: PUBLIC, port: 6002 });
    let request = rig.request(&sent);
    assert_eq!(request.header.port, PORT_RECIRCULATE);
    assert_eq!(wrong_checksums(&request.frame), Vec::<&str>::new());
    let sent = rig.grant(&request, 4, Binding { addr: CLIENT, port: 5000 });
    let (packet, _) = one(sent, INSIDE_PORT);
    assert_eq!(packet.ipv4.unwrap().src, PUBLIC);
    assert_eq!(packet.ipv4.unwrap().dst, CLIENT);
}

#[test]
fn icmp_errors_are_translated_with_their_quotes() {
    let mut rig = leased_nat();
    // From outside: a router complains about what the client sent, as it left the NAT.
    let quoted = Frame::udp((PUBLIC, 6000), (SERVER, 53), b"query").ip_packet();
    let router = Ipv4Addr::new(198, 51, 100, 1);
    let sent = rig.send(OUTSIDE_PORT, &icmp_error(router, PUBLIC, 11, &quoted, 28));
    let (packet, _) = one(sent, INSIDE_PORT);
    assert_eq!((packet.ipv4.unwrap().src, packet.ipv4.unwrap().dst), (router, CLIENT));
    assert_eq!((packet.inner_ipv4.unwrap().src, packet.inner_ipv4.unwrap().dst), (CLIENT, SERVER));
    assert_eq!(packet.inner_ports.unwrap().src, 5000);

    // From inside: the client complains about what came to it.
    let quoted = Frame::udp((SERVER, 53), (CLIENT, 5000), b"answer").ip_packet();
    let sent = rig.send(INSIDE_PORT, &icmp_error(CLIENT, SERVER, 3, &quoted, 28));
    let (packet, _) = one(sent, OUTSIDE_PORT);
    assert_eq!((packet.ipv4.unwrap().src, packet.ipv4.unwrap().dst), (PUBLIC, SERVER));
    assert_eq!((packet.inner_ipv4.unwrap().src, packet.inner_ipv4.unwrap().dst), (SERVER, PUBLIC));
    assert_eq!(packet.inner_ports.unwrap().dst, 6000);
}

#[test]
fn echo_and_tcp_are_translated() {
    let mut rig = nat();
    let request = rig.ask(INSIDE_PORT, &Frame::echo(CLIENT, SERVER, true, 77).build());
    assert_eq!(request.key, Endpoint { addr: CLIENT, port: 77, protocol: 1 });
    let (packet, _) = one(rig.grant(&request, 1, Binding { addr: PUBLIC, port: 2077 }), OUTSIDE_PORT);
    assert_eq!(packet.icmp.unwrap().identifier, 2077);

    let request = rig.ask(INSIDE_PORT, &Frame::tcp((CLIENT, 77), (SERVER, 80), b"GET").build());
    let (packet, _) = one(rig.grant(&request, 2, Binding { addr: PUBLIC, port: 3077 }), OUTSIDE_PORT);
    assert_eq!((packet.ports.unwrap().src, packet.tcp.unwrap().sequence), (3077, 0x0102_0304));
}

#[test]
fn what_cannot_be_routed_is_dropped() {
    let mut rig = leased_nat();
    let elsewhere = Ipv4Addr::new(203, 0, 113, 1);
    assert!(rig.send(INSIDE_PORT, &Frame::udp((CLIENT, 5000), (elsewhere, 53), b"").build()).is_empty());
    rig.assert_dropped("no_route", 1);

    let mut rig = leased_nat();
    for ttl in [0, 1] {
        let frame = Frame { ttl, ..Frame::udp((CLIENT, 5000), (SERVER, 53), b"") };
        assert!(rig.send(INSIDE_PORT, &frame.build()).is_empty());
    }
    rig.assert_dropped("ttl_expired", 2);
}

#[test]
fn a_packet_too_large_to_carry_is_dropped() {
    let mut rig = nat();
    // 28 bytes of IPv4 and UDP, 30 of header, 7 of key, 6 of value, 42 of the packet's own headers.
    let most = 1700 - 28 - 30 - 7 - 6 - 42;
    let sent = rig.send(INSIDE_PORT, &Frame::udp((CLIENT, 5000), (SERVER, 53), &vec![0; most]).build());
    assert_eq!(sent[0].1.len(), 1714);
    let sent = rig.send(INSIDE_PORT, &Frame::udp((CLIENT, 5000), (SERVER, 53), &vec![0; most + 1]).build());
    assert!(sent.is_empty());
    rig.assert_dropped("store_mtu", 1);
}

fn count(dst_port: u16) -> Vec<u8> {
    Frame::udp((CLIENT, 1), (SERVER, dst_port), b"x").build()
}

fn leased_counter() -> Rig<Counter> {
    let mut rig = Rig::with(config(), ());
    let request = rig.ask(INSIDE_PORT, &count(port::READ));
    let sent = rig.grant(&request, 5, Count { packets: 10 });
    assert_eq!(one(sent, OUT).0.ports.unwrap().src, 10);
    rig
}

#[test]
fn a_write_holds_its_packet_until_it_is_durable() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    assert_eq!((write.header.kind, write.header.port), (Kind::Write, OUT));
    assert_eq!((write.header.generation, write.header.sequence), (Serial(5), Serial(1)));
    assert_eq!((write.key, write.value), (Flow { dst: SERVER }, Count { packets: 11 }));
    assert_eq!(Packet::parse(&write.frame).unwrap().ports.unwrap().src, 11, "the output packet is carried");

    let read = rig.ask(INSIDE_PORT, &count(port::READ));
    assert_eq!(
        (read.header.kind, read.header.sequence),
        (Kind::Read, Serial(1)),
        "it read what is not durable"
    );

    assert_eq!(rig.ack(&write), [(OUT, write.frame.clone())]);
    assert_eq!(rig.ack(&read), [(OUT, read.frame.clone())]);
    assert_eq!(one(rig.send(INSIDE_PORT, &count(port::READ)), OUT).0.ports.unwrap().src, 11, "now it is");
    let statistics = rig.switch.statistics();
    assert_eq!((statistics.held, statistics.released), (2, 2));
}

#[test]
fn an_unacknowledged_write_is_sent_again_without_its_packet() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    let due = rig.switch.poll_timeout();
    assert!(rig.wait(1).is_empty());
    let sent = rig.wait(due.0 - rig.now.0);
    let again = rig.request(&sent);
    assert_eq!((again.header.kind, again.header.sequence), (Kind::Write, Serial(1)));
    assert_eq!((again.value, again.frame.len()), (Count { packets: 11 }, 0));
    assert!(rig.ack(&again).is_empty(), "it carries nothing to release");
    assert_eq!(rig.ack(&write).len(), 1, "the packet itself is durable now, whoever says so");
    for _ in 0..20 {
        assert!(rig.wait(10).is_empty(), "acknowledged: the copy dies");
    }
    assert_eq!(rig.switch.statistics().retransmitted, 1);
}

#[test]
fn a_dropped_packets_write_still_becomes_durable() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_DROP));
    assert_eq!((write.header.kind, write.value, write.frame.len()), (Kind::Write, Count { packets: 11 }, 0));
    assert!(rig.ack(&write).is_empty());
    rig.assert_dropped("asked_to", 1);

    assert_eq!(
        rig.ask(INSIDE_PORT, &Frame::udp((CLIENT, 1), (SERVER, 99), b"").build()).value,
        Count { packets: 12 }
    );
    assert_eq!(rig.switch.statistics().dropped("undeclared"), 1);
}

#[test]
fn a_written_packet_too_large_to_carry_is_dropped_and_its_write_kept() {
    let mut rig = leased_counter();
    let frame = Frame::udp((CLIENT, 1), (SERVER, port::COUNT), &[0; 1680]).build();
    let write = rig.ask(INSIDE_PORT, &frame);
    assert_eq!((write.header.kind, write.header.port, write.frame.len()), (Kind::Write, 0, 0));
    assert_eq!(write.value, Count { packets: 11 });
    rig.assert_dropped("store_mtu", 1);
    assert!(rig.ack(&write).is_empty());
    assert_eq!(one(rig.send(INSIDE_PORT, &count(port::READ)), OUT).0.ports.unwrap().src, 11);
    assert_eq!(rig.switch.statistics().held, 0);
}

#[test]
fn a_written_packet_without_route_is_dropped_and_its_write_kept() {
    let mut config = config();
    config.routes.clear();
    let mut rig = Rig::<Counter>::with(config, ());
    let request = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_FORWARD));
    let sent = rig.grant(&request, 5, Count { packets: 10 });
    let write = rig.request(&sent);
    assert_eq!((write.header.kind, write.value, write.frame.len()), (Kind::Write, Count { packets: 11 }, 0));
    rig.assert_dropped("no_route", 1);
}

#[test]
fn the_number_that_says_recirculate_is_no_port() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_SEND_NOWHERE));
    assert_eq!((write.header.kind, write.header.port, write.frame.len()), (Kind::Write, 0, 0));
    assert!(rig.ack(&write).is_empty());
    rig.assert_dropped("no_route", 1);
}

#[test]
fn ports_end_at_510_as_in_the_emitted_p4() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_SEND_BEYOND));
    assert_eq!((write.header.kind, write.header.port, write.frame.len()), (Kind::Write, 0, 0));
    rig.assert_dropped("no_route", 1);
    let mut write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    write.header.port = 511;
    assert!(rig.ack(&write).is_empty());
    rig.assert_dropped("no_route", 2);
}

#[test]
fn a_reply_turns_round() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_REPLY));
    assert_eq!(write.header.port, INSIDE_PORT);
    let (packet, _) = one(rig.ack(&write), INSIDE_PORT);
    assert_eq!(packet.ethernet.dst, MacAddr::new(HOST_MAC));
    assert_eq!(packet.ipv4.unwrap().ttl, 64);
}

#[test]
fn a_write_that_recirculates_goes_on_when_it_is_durable() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT_AND_RECIRCULATE));
    assert_eq!(write.header.port, PORT_RECIRCULATE);
    let (packet, _) = one(rig.ack(&write), OUT);
    assert_eq!(packet.ports.unwrap().src, 11, "the second pass reads what the first wrote");
}

#[test]
fn a_loop_ends() {
    let mut rig = leased_counter();
    assert!(rig.send(INSIDE_PORT, &count(port::RECIRCULATE)).is_empty());
    rig.assert_dropped("recirculation_limit", 1);
    assert_eq!(rig.switch.statistics().recirculated, 3, "four passes");
}

#[test]
fn a_recirculated_packet_came_in_nowhere_that_one_could_reply_to() {
    let mut rig = leased_counter();
    assert!(rig.send(INSIDE_PORT, &count(port::REPLY_ON_THE_SECOND_PASS)).is_empty());
    rig.assert_dropped("no_route", 1);
}

#[test]
fn reading_renews_the_lease_now_and_then() {
    let mut rig = leased_counter();
    rig.now = rig.now.plus(rig.switch.config().lease.renew_ticks());
    let sent = rig.send(INSIDE_PORT, &count(port::READ));
    let [renew, packet] = &sent[..] else { panic!("RENEW and packet: {sent:?}") };
    let renew = rig.request(std::slice::from_ref(renew));
    assert_eq!((renew.header.kind, renew.header.generation, renew.frame.len()), (Kind::Renew, Serial(5), 0));
    assert_eq!(packet.0, OUT);
    assert_eq!(rig.send(INSIDE_PORT, &count(port::READ)).len(), 1, "not per packet");
    assert!(rig.ack(&renew).is_empty());
    rig.now = rig.now.plus(rig.switch.config().lease.ticks() - 1);
    assert!(rig.send(INSIDE_PORT, &count(port::READ)).iter().any(|(port, _)| *port == OUT), "extended");
    rig.now = rig.now.plus(1);
    assert_eq!(rig.ask(INSIDE_PORT, &count(port::READ)).header.kind, Kind::Lease, "over");
}

#[test]
fn recall_gives_the_lease_back() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    let recall = Header { kind: Kind::Recall, ..write.header };
    let wrong = Header { generation: Serial(4), ..recall };
    assert!(rig.message(wrong, write.key, Count::zero(), &[]).is_empty());
    rig.assert_dropped("no_lease", 1);
    let sent = rig.message(recall, write.key, Count::zero(), &[]);
    let release = rig.request(&sent);
    assert_eq!((release.header.kind, release.header.sequence), (Kind::Release, Serial(1)));
    assert_eq!(rig.ack(&write).len(), 1, "the late acknowledgement releases its packet");
    assert_eq!(rig.ask(INSIDE_PORT, &count(port::READ)).header.kind, Kind::Lease, "and revives nothing");
}

#[test]
fn a_drain_gives_every_lease_back() {
    let mut rig = leased_nat();
    let mut out = redplane_sdk::pipeline::Output::new();
    rig.switch.release_all(rig.now, &mut out);
    let mut generations = Vec::new();
    for (port, frame) in out.iter() {
        let request = rig.request(&[(port, frame.to_vec())]);
        assert_eq!((request.header.kind, request.frame.len()), (Kind::Release, 0));
        generations.push(request.header.generation.0);
    }
    generations.sort_unstable();
    assert_eq!(generations, [1, 2]);
    assert_eq!(rig.switch.slots().occupied(), 0);
}

#[test]
fn a_message_is_one_only_from_the_stores_side_and_to_the_switch() {
    let mut rig = leased_nat();
    let request = rig.ask(INSIDE_PORT, &udp_out(5001));
    let grant = Header { kind: Kind::Grant, create: false, generation: Serial(9), ..request.header };
    let frame = message_frame(&grant, &request.key, &Binding { addr: SERVER, port: 1 }, &request.frame);
    assert!(rig.send(OUTSIDE_PORT, &frame).is_empty(), "traffic from outside");
    rig.assert_dropped("not_ours", 1);
    assert_eq!(rig.switch.statistics().messages, 2);
}

#[test]
fn strangers_and_malformed_messages_change_nothing() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    let ack = Header { kind: Kind::Ack, ..write.header };
    let other_life = SwitchIdentity { incarnation: 4, ..IDENTITY };
    for stranger in [
        Header { identity: other_life, ..ack },
        Header { identity: SwitchIdentity { switch: 8, ..IDENTITY }, ..ack },
        Header { app: 1, ..ack },
        Header { fingerprint: 1, ..ack },
    ] {
        assert!(rig.message(stranger, write.key, write.value, &write.frame).is_empty());
    }
    rig.assert_dropped("protocol_stranger", 4);

    let mut rig = leased_counter();
    let good = message_frame(&ack, &write.key, &write.value, &[]);
    assert!(rig.message(Header { kind: Kind::Write, ..ack }, write.key, write.value, &[]).is_empty());
    let mut bad = 1;
    for (at, byte) in [(42, 2), (43, 99), (39, 30), (39, 7), (38, 0xff)] {
        let mut frame = good.clone();
        frame[at] = byte;
        assert!(rig.send(STORE_PORT, &frame).is_empty());
        bad += 1;
    }
    rig.assert_dropped("protocol_malformed", bad);
    let sent = rig.send(INSIDE_PORT, &count(port::READ));
    assert_eq!(one(sent, OUT).0.ports.unwrap().src, 10, "the state is as it was");
}

#[test]
fn a_fragment_and_a_datagram_of_another_length_than_its_packet_are_no_message() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    let ack = Header { kind: Kind::Ack, ..write.header };
    let frame = message_frame(&ack, &write.key, &write.value, &write.frame);
    let with_udp_length = |change: i16| {
        let mut frame = frame.clone();
        let len = u16::from_be_bytes([frame[38], frame[39]]).wrapping_add_signed(change);
        frame[38..40].copy_from_slice(&len.to_be_bytes());
        frame
    };
    let padded = [frame.clone(), vec![0; 8]].concat();
    for wrong in [with_udp_length(8), with_udp_length(-8), padded] {
        assert!(rig.send(STORE_PORT, &wrong).is_empty());
    }
    rig.assert_dropped("protocol_malformed", 3);

    let mut fragment = frame.clone();
    fragment[20] |= 0x20;
    fragment[24..26].fill(0);
    let checksum = redplane_sdk::checksum::checksum(&fragment[14..34]);
    fragment[24..26].copy_from_slice(&checksum.to_be_bytes());
    let messages = rig.switch.statistics().messages;
    rig.send(STORE_PORT, &fragment);
    assert_eq!(rig.switch.statistics().messages, messages, "traffic");

    assert_eq!(rig.send(STORE_PORT, &frame), [(OUT, write.frame)]);
}

#[test]
fn a_lease_long_over_does_not_come_back_when_the_clock_wraps() {
    let mut rig = leased_counter();
    assert_eq!(rig.switch.slots().occupied(), 1);
    let kinds: Vec<_> = rig.switch.statistics().kinds().filter(|(_, count)| *count > 0).collect();
    assert_eq!(kinds, [(Kind::Lease, 1), (Kind::Grant, 1)]);
    let mut waited = 0;
    while rig.switch.slots().occupied() > 0 {
        let due = rig.switch.poll_timeout().0.wrapping_sub(rig.now.0);
        waited += due;
        rig.wait(due);
        assert!(waited < 10_000, "a small table is swept within seconds");
    }
    rig.now = rig.now.plus(u32::MAX - waited + 1);
    assert_eq!(rig.ask(INSIDE_PORT, &count(port::READ)).header.kind, Kind::Lease);
}

#[test]
fn a_key_goes_to_its_shard() {
    let mut config = config();
    let store =
        |shard: u8| StorePath { address: Ipv4Addr::new(172, 16, 1, shard), mac: STORE_MAC, port: STORE_PORT };
    config.stores = (0..4).map(store).collect();
    let mut rig = Rig::<nat::App>::with(config, tables());
    let shard_of_sent = |rig: &mut Rig<nat::App>, source| {
        let sent = rig.send(INSIDE_PORT, &udp_out(source));
        let to = Packet::parse(&sent[0].1).expect("a message").ipv4.expect("IPv4").dst;
        to.octets()[3]
    };
    let mut seen = [0; 4];
    for source in 0..100 {
        let key = Endpoint { addr: CLIENT, port: source, protocol: UDP };
        let shard = fixed::shard_of(fixed::key_hash(&key), 4) as u8;
        assert_eq!(shard_of_sent(&mut rig, source), shard);
        seen[usize::from(shard)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");

    let moved = StorePath { address: Ipv4Addr::new(172, 16, 1, 77), ..store(0) };
    (0..4).for_each(|shard| rig.switch.set_store(shard, moved));
    assert_eq!(shard_of_sent(&mut rig, 5), 77, "the new head");
}

#[test]
fn a_carried_packet_is_never_taken_for_a_message() {
    let mut rig = leased_counter();
    let write = rig.ask(INSIDE_PORT, &count(port::COUNT));
    let ack = Header { kind: Kind::Ack, port: STORE_PORT, ..write.header };
    let inner = message_frame(&ack, &write.key, &write.value, &write.frame);
    let grant = Header { kind: Kind::Grant, port: STORE_PORT, ..write.header };
    let messages = rig.switch.statistics().messages;
    rig.message(grant, write.key, write.value, &inner);
    assert_eq!(rig.switch.statistics().messages, messages + 1);
}

#[test]
fn configurations_that_cannot_be() {
    let error = |change: fn(&mut SwitchConfig)| {
        let mut config = config();
        change(&mut config);
        Switch::<nat::App>::new(config, tables(), Ticks(0)).err().expect("refused")
    };
    assert_eq!(error(|config| config.stores.clear()), ConfigError::NoStore);
    assert_eq!(error(|config| config.store_mtu = 70), ConfigError::StoreMtu { found: 70, needed: 71 });
    let signed = |config: &mut SwitchConfig| {
        config.authentication = Some(MacKeys::new([1; 16], None));
        config.store_mtu = 78;
    };
    assert_eq!(error(signed), ConfigError::StoreMtu { found: 78, needed: 79 });
    assert!(matches!(error(|config| config.routes[0].length = 33), ConfigError::Route(_)));
}

#[test]
fn the_emitted_p4_counts_the_same_reasons() {
    let emitted = redplane_codegen::target::DROP_REASONS.iter().map(|(name, _)| *name);
    assert_eq!(
        Reason::ALL.iter().map(|reason| reason.name()).collect::<Vec<_>>(),
        emitted.collect::<Vec<_>>()
    );
}
