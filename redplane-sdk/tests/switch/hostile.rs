//! Whatever comes in goes out or is dropped for a reason; nothing panics.

use proptest::prelude::*;
use redplane_sdk::App;
use redplane_sdk::pipeline::{Output, Statistics, Switch};
use redplane_sdk::protocol::{Header, Kind, NackReason, Serial, Ticks};

use super::counter::Counter;
use super::rig::*;
use crate::frames::{Frame, icmp_error};
use crate::nat;
use crate::packet::oracle::any_frame;

/// Each frame that came in left by a port, went to the store, was a message without packet, or was dropped.
fn accounted(statistics: &Statistics) -> bool {
    statistics.received
        == statistics.transmitted + statistics.suspended + statistics.held + statistics.dropped_in_all()
            - (statistics.resumed + statistics.released)
            + (statistics.messages
                - statistics.dropped("protocol_malformed")
                - statistics.dropped("protocol_stranger"))
}

fn dropped_for(frame: &[u8]) -> Option<&'static str> {
    let mut rig = nat();
    let sent = rig.send(INSIDE_PORT, frame);
    let drops: Vec<_> = rig.switch.statistics().drops().filter(|(_, count)| *count > 0).collect();
    match (&sent[..], &drops[..]) {
        ([_], []) => None,
        ([], [(reason, 1)]) => Some(reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_cut_at_every_byte() {
    for frame in [
        Frame::udp((CLIENT, 1), (SERVER, 2), b"").build(),
        Frame::tcp((CLIENT, 1), (SERVER, 2), b"").build(),
        Frame::echo(CLIENT, SERVER, true, 1).build(),
        Frame { vlan: Some(7), ..Frame::udp((CLIENT, 1), (SERVER, 2), b"payload") }.build(),
        icmp_error(CLIENT, SERVER, 3, &Frame::udp((SERVER, 1), (CLIENT, 2), b"").ip_packet(), 28),
    ] {
        for len in 0..frame.len() {
            let reason = dropped_for(&frame[..len]);
            assert!(matches!(reason, Some("parse_error" | "ipv4_malformed")), "{len}: {reason:?}");
        }
        assert_eq!(dropped_for(&frame), None);
    }
}

/// A UDP frame with one byte of its IPv4 header changed and the header's checksum right again.
fn with_ip_byte(at: usize, byte: u8) -> Vec<u8> {
    let mut frame = Frame::udp((CLIENT, 1), (SERVER, 2), b"payload!").build();
    frame[14 + at] = byte;
    frame[24..26].fill(0);
    let checksum = redplane_sdk::checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn malformed_packets_have_their_reasons() {
    assert_eq!(dropped_for(&with_ip_byte(0, 0x55)), Some("ipv4_malformed"), "version");
    assert_eq!(dropped_for(&with_ip_byte(0, 0x44)), Some("ipv4_malformed"), "header length");
    assert_eq!(dropped_for(&with_ip_byte(3, 19)), Some("ipv4_malformed"), "shorter than its header");
    assert_eq!(dropped_for(&with_ip_byte(3, 37)), Some("ipv4_malformed"), "longer than the frame");
    assert_eq!(dropped_for(&with_ip_byte(3, 36)), None);
    let mut frame = with_ip_byte(3, 36);
    frame[24] ^= 1;
    assert_eq!(dropped_for(&frame), Some("ipv4_checksum"));
}

#[test]
fn what_the_nat_does_not_know_has_its_reason() {
    assert_eq!(dropped_for(&with_ip_byte(6, 0x20)), Some("fragment"), "first");
    assert_eq!(dropped_for(&with_ip_byte(7, 5)), Some("fragment"), "later");
    assert_eq!(dropped_for(&with_ip_byte(0, 0x46)), Some("not_translatable"), "options hide the ports");
    assert_eq!(dropped_for(&with_ip_byte(9, 47)), Some("not_translatable"), "GRE");
    assert_eq!(
        dropped_for(&icmp_error(CLIENT, SERVER, 5, &[0; 28], 28)),
        Some("not_translatable"),
        "redirect"
    );
    let mut quote = Frame::udp((SERVER, 1), (CLIENT, 2), b"").ip_packet();
    quote[9] = 47;
    assert_eq!(dropped_for(&icmp_error(CLIENT, SERVER, 3, &quote, 28)), Some("not_translatable"));
    assert_eq!(dropped_for(&icmp_error(CLIENT, SERVER, 3, &quote, 12)), Some("parse_error"), "a short quote");
    for ether_type in [[0x08, 0x06], [0x86, 0xdd], [0, 40]] {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&ether_type);
        assert_eq!(dropped_for(&frame), Some("not_ipv4"));
    }
}

/// Bytes, packets with a few bytes changed, and messages of the store with a few bytes changed.
fn hostile<A: App>() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let bytes = prop::collection::vec(any::<u8>(), 0..200).boxed();
    let packet = any_frame().prop_map(|frame| frame.build()).boxed();
    let inside = any_frame().prop_map(|frame| Frame { src: CLIENT, dst: SERVER, ..frame }.build()).boxed();
    let error = (any_frame(), any::<u8>())
        .prop_map(|(quoted, kind)| icmp_error(CLIENT, SERVER, kind % 16, &quoted.ip_packet(), 40))
        .boxed();
    let kinds = prop::sample::select(Kind::ALL.to_vec());
    let reasons = prop::sample::select(NackReason::ALL.to_vec());
    let carried = prop_oneof![Just(Vec::new()).boxed(), inside.clone(), bytes.clone()];
    let port = prop_oneof![Just(0xfffeu16), 0u16..4];
    let message = (kinds, reasons, any::<[u8; 2]>(), carried, port)
        .prop_map(|(kind, reason, [generation, sequence], carried, port)| {
            let header = Header {
                kind,
                create: false,
                reason: (kind == Kind::Nack).then_some(reason),
                app: A::ID,
                fingerprint: A::FINGERPRINT,
                identity: IDENTITY,
                generation: Serial(u32::from(generation % 4)),
                sequence: Serial(u32::from(sequence % 4)),
                ticket: Serial(u32::from(generation % 4)),
                sent_at: Ticks(1000),
                port,
            };
            let key = <A::Key as redplane_sdk::protocol::Fixed>::decode(&[198; 64][..key_len::<A>()]);
            let value = <A::State as redplane_sdk::protocol::Fixed>::zero();
            message_frame(&header, &key, &value, &carried)
        })
        .boxed();
    let frame = prop_oneof![1 => bytes, 2 => packet, 3 => inside, 2 => error, 4 => message];
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (0u16..4, frame, flips, any::<bool>()).prop_map(|(port, mut frame, flips, repair)| {
        for (at, byte) in flips {
            if !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
        }
        if repair && frame.len() >= 34 {
            frame[24..26].fill(0);
            let checksum = redplane_sdk::checksum::checksum(&frame[14..34]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        (if frame.len() > 42 && frame[36..38] == [0x52, 0x50] { STORE_PORT } else { port }, frame)
    })
}

fn key_len<A: App>() -> usize {
    <A::Key as redplane_sdk::protocol::Fixed>::LEN
}

fn survive<A: App>(
    mut switch: Switch<A>,
    frames: &[(u16, Vec<u8>)],
    replicated: bool,
) -> Result<(), TestCaseError> {
    let mut out = Output::new();
    for (index, (port, frame)) in frames.iter().enumerate() {
        let now = Ticks(1000 + index as u32 * 3);
        switch.process(*port, frame, now, &mut out);
        switch.handle_timeout(now, &mut out);
        if replicated {
            let statistics = switch.statistics();
            let empty = statistics.messages;
            // A message may be an answer without a packet, which is then nowhere.
            let least =
                statistics.transmitted + statistics.suspended + statistics.held + statistics.dropped_in_all();
            prop_assert!(least + empty >= statistics.received, "{:?}", statistics);
            prop_assert!(least <= statistics.received + statistics.requests, "{:?}", statistics);
        }
    }
    switch.release_all(Ticks(5000), &mut out);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_nat_survives(frames in prop::collection::vec(hostile::<nat::App>(), 1..24)) {
        survive(nat().switch, &frames, true)?;
        let local = Switch::<nat::App>::without_replication(config(), tables(), pool(), Ticks(1000));
        survive(local.expect("legal"), &frames, false)?;
    }

    #[test]
    fn the_counter_survives(frames in prop::collection::vec(hostile::<Counter>(), 1..24)) {
        survive(Rig::<Counter>::with(config(), ()).switch, &frames, true)?;
        let local = Switch::<Counter>::without_replication(config(), (), (), Ticks(1000));
        survive(local.expect("legal"), &frames, false)?;
    }

    #[test]
    fn every_packet_is_accounted_for(frames in prop::collection::vec((1u16..3, any_frame()), 1..16)) {
        let mut rig = nat();
        for (port, frame) in frames {
            rig.send(port, &Frame { src: CLIENT, ..frame }.build());
            prop_assert!(accounted(rig.switch.statistics()), "{:?}", rig.switch.statistics());
        }
    }
}
