//! Messages with a code behind them: the switch signs its own, and listens only to signed ones.

use redplane_sdk::pipeline::SwitchConfig;
use redplane_sdk::protocol::mac::{Link, MAC_LEN, MacKeys};
use redplane_sdk::protocol::{Header, Kind, Serial};

use super::counter::{Count, Counter, port};
use super::rig::*;
use crate::frames::Frame;
use crate::nat::{self, Binding};

const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 16] = [2; 16];

fn signing(keys: MacKeys) -> SwitchConfig {
    SwitchConfig { authentication: Some(keys), ..config() }
}

fn count(payload: &[u8]) -> Vec<u8> {
    Frame::udp((CLIENT, 1), (SERVER, port::COUNT), payload).build()
}

fn query() -> Vec<u8> {
    Frame::udp((CLIENT, 5000), (SERVER, 53), b"query").build()
}

#[test]
fn every_message_is_signed_and_every_answer_checked() {
    let mut rig = Rig::<Counter>::with(signing(MacKeys::new(OLD, None)), ());
    // The rig verifies and strips the code of each request, and signs each answer.
    let lease = rig.ask(INSIDE_PORT, &count(b"x"));
    assert_eq!((lease.header.kind, &lease.frame), (Kind::Lease, &count(b"x")));
    let sent = rig.grant(&lease, 5, Count { packets: 10 });
    let write = rig.request(&sent);
    assert_eq!((write.header.kind, write.value), (Kind::Write, Count { packets: 11 }));
    assert_eq!(rig.ack(&write).len(), 1, "the packet leaves");
    let recall = Header { kind: Kind::Recall, ..write.header };
    let sent = rig.message(recall, write.key, write.value, &[]);
    assert_eq!(rig.request(&sent).header.kind, Kind::Release);
    assert_eq!(rig.switch.statistics().dropped_in_all(), 0);
}

#[test]
fn the_code_comes_after_the_frame_and_counts_in_every_length() {
    let plain = nat().send(INSIDE_PORT, &query());
    let keys = MacKeys::new(OLD, None);
    let signed = Rig::<nat::App>::with(signing(keys), tables()).send(INSIDE_PORT, &query());
    let ([(_, plain)], [(_, signed)]) = (&plain[..], &signed[..]) else { panic!("one request each") };
    assert_eq!(signed.len(), plain.len() + MAC_LEN);
    assert_eq!(signed[42..plain.len()], plain[42..], "the message is the same");
    assert_eq!(signed[plain.len()..], keys.code(LINK, &plain[42..]));
    let length = |frame: &[u8], at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    for (at, around) in [(16, 14), (38, 34)] {
        assert_eq!(length(signed, at), signed.len() - around, "IPv4 and UDP length");
    }
}

#[test]
fn a_message_without_a_right_code_changes_nothing() {
    let mut rig = Rig::<nat::App>::with(signing(MacKeys::new(OLD, None)), tables());
    let request = rig.ask(INSIDE_PORT, &query());
    let header = Header { kind: Kind::Grant, create: false, generation: Serial(1), ..request.header };
    let value = Binding { addr: PUBLIC, port: 6000 };
    let message = message_bytes(&header, &request.key, &value, &request.frame);
    let with_code = |keys: MacKeys, link: Link| {
        let mut bytes = message.clone();
        keys.sign(link, &mut bytes);
        bytes
    };
    let other_switch = Link::Switch("172.16.0.2:21072".parse().unwrap());
    let mut flipped = with_code(MacKeys::new(OLD, None), LINK);
    flipped[12] ^= 1;
    let forged = [
        message.clone(),
        message[..7].to_vec(),
        Vec::new(),
        with_code(MacKeys::new(NEW, None), LINK),
        with_code(MacKeys::new(OLD, None), other_switch),
        flipped,
    ];
    for (count, bytes) in forged.iter().enumerate() {
        assert!(rig.send(STORE_PORT, &datagram(bytes)).is_empty());
        rig.assert_dropped("protocol_unauthenticated", count as u64 + 1);
    }
    assert_eq!(rig.switch.slots().statistics().installed, 0);
    assert_eq!(rig.grant(&request, 1, value).len(), 1, "the right one still counts");
    assert_eq!(rig.switch.slots().statistics().installed, 1);
}

#[test]
fn a_second_key_is_listened_to_and_does_not_sign() {
    let mut rig = Rig::<nat::App>::with(signing(MacKeys::new(NEW, Some(OLD))), tables());
    let sent = rig.send(INSIDE_PORT, &query());
    assert!(MacKeys::new(NEW, None).verify(LINK, &sent[0].1[42..]).is_ok());
    let request = rig.request(&sent);
    let header = Header { kind: Kind::Grant, create: false, generation: Serial(1), ..request.header };
    let mut message =
        message_bytes(&header, &request.key, &Binding { addr: PUBLIC, port: 6000 }, &request.frame);
    MacKeys::new(OLD, None).sign(LINK, &mut message);
    assert_eq!(rig.send(STORE_PORT, &datagram(&message)).len(), 1);
}

#[test]
fn a_packet_that_fits_only_without_the_code_does_not_fit() {
    // 28 bytes of IPv4 and UDP, 30 of header, 7 of key, 6 of value, 42 of the packet's own headers.
    let most = 1700 - 28 - 30 - 7 - 6 - 42;
    let packet = |len: usize| Frame::udp((CLIENT, 5000), (SERVER, 53), &vec![0; len]).build();
    assert_eq!(nat().send(INSIDE_PORT, &packet(most)).len(), 1);
    let mut rig = Rig::<nat::App>::with(signing(MacKeys::new(OLD, None)), tables());
    let sent = rig.send(INSIDE_PORT, &packet(most - MAC_LEN));
    assert_eq!(sent[0].1.len(), 1714);
    assert!(rig.send(INSIDE_PORT, &packet(most - MAC_LEN + 1)).is_empty());
    rig.assert_dropped("store_mtu", 1);
}
