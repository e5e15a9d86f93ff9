//! The deparser's checksums, against full sums over every byte that they cover.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use redplane_sdk::packet::Packet;

use super::oracle::any_frame;
use crate::frames::{Frame, icmp_error, wrong_checksums};

/// Changes to a packet's fields, each or none.
#[derive(Clone, Debug)]
struct Changes {
    src: Option<u32>,
    dst: Option<u32>,
    ttl: Option<u8>,
    dscp: Option<u8>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    word: Option<u16>,
}

fn changes() -> impl Strategy<Value = Changes> {
    // Few values, so that changes also cancel out and sums come to zero.
    let u16s = || prop::option::of(prop_oneof![any::<u16>(), Just(0), Just(0xffff)]);
    let u32s = || prop::option::of(prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)]);
    let u8s = || prop::option::of(any::<u8>());
    (u32s(), u32s(), u8s(), u8s(), u16s(), u16s(), u16s()).prop_map(
        |(src, dst, ttl, dscp, src_port, dst_port, word)| Changes {
            src,
            dst,
            ttl,
            dscp,
            src_port,
            dst_port,
            word,
        },
    )
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Changes {
    fn apply(&self, packet: &mut Packet, inner: bool) {
        let (ipv4, ports, icmp) = if inner {
            (&mut packet.inner_ipv4, &mut packet.inner_ports, &mut packet.inner_icmp)
        } else {
            (&mut packet.ipv4, &mut packet.ports, &mut packet.icmp)
        };
        let ipv4 = ipv4.as_mut().expect("IPv4");
        set(&mut ipv4.src, self.src.map(Ipv4Addr::from));
        set(&mut ipv4.dst, self.dst.map(Ipv4Addr::from));
        set(&mut ipv4.ttl, self.ttl);
        ipv4.dscp = self.dscp.map_or(ipv4.dscp, redplane_sdk::ops::cast);
        if let Some(ports) = ports {
            set(&mut ports.src, self.src_port);
            set(&mut ports.dst, self.dst_port);
        }
        if let Some(icmp) = icmp {
            set(&mut icmp.identifier, self.src_port);
            set(&mut icmp.sequence, self.word);
        }
        if let Some(tcp) = packet.tcp.as_mut().filter(|_| !inner) {
            set(&mut tcp.window, self.word);
        }
    }
}

fn deparse(packet: &Packet, frame: &[u8]) -> Vec<u8> {
    // Something lies in the buffer already: it must stay.
    let mut out = vec![0xa5; 3];
    packet.deparse(frame, &mut out);
    assert_eq!(out[..3], [0xa5; 3]);
    out.split_off(3)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn right_checksums_stay_right(frame in any_frame(), changes in changes()) {
        let bytes = frame.build();
        prop_assert_eq!(wrong_checksums(&bytes), Vec::<&str>::new());
        let mut packet = Packet::parse(&bytes).expect("etherparse made it");
        changes.apply(&mut packet, false);
        let out = deparse(&packet, &bytes);
        prop_assert_eq!(wrong_checksums(&out), Vec::<&str>::new());
        prop_assert_eq!(&out[packet.header_len()..], &bytes[packet.header_len()..], "the payload is untouched");
        if let (Some(before), Some(after)) = (packet.udp, Packet::parse(&out).expect("it was one").udp) {
            prop_assert_eq!(before.checksum == 0, after.checksum == 0, "no checksum stays none");
        }
    }

    #[test]
    fn a_quote_and_what_quotes_it_stay_right(
        quoted in any_frame(), outer in changes(), inner in changes(), most in prop_oneof![Just(28usize), 28usize..200]
    ) {
        let bytes = icmp_error(Ipv4Addr::new(192, 0, 2, 1), quoted.src, 3, &quoted.ip_packet(), most);
        let whole = most >= quoted.ip_packet().len();
        prop_assert_eq!(wrong_checksums(&bytes), Vec::<&str>::new());
        let mut packet = Packet::parse(&bytes).expect("a quote of 28 bytes is enough");
        outer.apply(&mut packet, false);
        inner.apply(&mut packet, true);
        let out = deparse(&packet, &bytes);
        let mut wrong = wrong_checksums(&out);
        if whole && quoted.payload.len() + 20 >= 20 && packet.inner_ipv4.is_some_and(|ipv4| ipv4.protocol == 6) {
            // The quoted TCP checksum is not followed: a quote need not reach so far.
            wrong.retain(|what| *what != "inner transport");
        }
        prop_assert_eq!(wrong, Vec::<&str>::new());
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_as_much(frame in any_frame(), changes in changes(), error in 1u16..0xffff) {
        let right = frame.build();
        let mut packet = Packet::parse(&right).expect("etherparse made it");
        if packet.udp.is_some_and(|udp| udp.checksum == 0) {
            return Ok(());
        }
        let at = packet.header_len() - if packet.tcp.is_some() { 4 } else if packet.icmp.is_some() { 6 } else { 2 };
        let mut wrong = right.clone();
        let bad = ones_add(u16::from_be_bytes([right[at], right[at + 1]]), error);
        wrong[at..at + 2].copy_from_slice(&bad.to_be_bytes());
        if packet.udp.is_some() && bad == 0 {
            return Ok(());
        }
        changes.apply(&mut packet, false);
        let right_out = deparse(&packet, &right);
        let mut packet = Packet::parse(&wrong).expect("only the transport checksum is wrong");
        changes.apply(&mut packet, false);
        let wrong_out = deparse(&packet, &wrong);
        let checksum = |frame: &[u8]| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let expected = ones_add(checksum(&right_out), error);
        prop_assert_eq!(checksum(&wrong_out) % 0xffff, expected % 0xffff, "0 and 0xffff are one number");
        prop_assert!(wrong_checksums(&wrong_out).contains(&"transport"));
    }
}

fn ones_add(a: u16, b: u16) -> u16 {
    let sum = u32::from(a) + u32::from(b);
    (sum + (sum >> 16)) as u16
}

#[test]
fn lengths_are_covered_too() {
    // What is cut off is zero, so that only the lengths change the sums.
    let ends = ((Ipv4Addr::LOCALHOST, 1), (Ipv4Addr::BROADCAST, 2));
    for frame in [Frame::udp(ends.0, ends.1, b"ab\0\0"), Frame::tcp(ends.0, ends.1, b"ab\0\0")] {
        let frame = frame.build();
        let mut packet = Packet::parse(&frame).expect("etherparse made it");
        packet.ipv4.as_mut().expect("IPv4").total_len -= 2;
        if let Some(udp) = &mut packet.udp {
            udp.length -= 2;
        }
        assert_eq!(wrong_checksums(&deparse(&packet, &frame)), Vec::<&str>::new());
    }
}

#[test]
fn a_header_that_was_taken_away_goes_out_as_it_came() {
    let frame = Frame::udp((Ipv4Addr::LOCALHOST, 1), (Ipv4Addr::BROADCAST, 2), b"x").build();
    let mut packet = Packet::parse(&frame).expect("etherparse made it");
    packet.ipv4 = None;
    packet.icmp = Some(Default::default());
    packet.inner_ipv4 = Some(Default::default());
    assert_eq!(deparse(&packet, &frame), frame);
    let mut packet = Packet::parse(&frame).expect("etherparse made it");
    packet.ports = None;
    packet.icmp = Some(Default::default());
    packet.inner_ipv4 = Some(Default::default());
    assert_eq!(deparse(&packet, &frame).len(), frame.len(), "no panic, no growth");
}
