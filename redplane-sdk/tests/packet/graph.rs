//! The headers and the parse graph are those that the emitted P4 has.

use proptest::prelude::*;
use redplane_codegen::packet::HEADERS;
use redplane_sdk::packet::{Ethernet, Icmp, Ipv4, Ipv6, Layout, Packet, ParseError, Ports, Tcp, Udp, Vlan};

fn layout(ty: &str) -> Layout {
    match ty {
        "Ethernet" => Ethernet::LAYOUT,
        "Vlan" => Vlan::LAYOUT,
        "Ipv4" => Ipv4::LAYOUT,
        "Ipv6" => Ipv6::LAYOUT,
        "Ports" => Ports::LAYOUT,
        "Tcp" => Tcp::LAYOUT,
        "Udp" => Udp::LAYOUT,
        "Icmp" => Icmp::LAYOUT,
        other => panic!("the sdk has no header {other}"),
    }
}

#[test]
fn headers_have_the_fields_of_the_table() {
    for header in HEADERS {
        let fields: Vec<_> = header.fields.iter().map(|(name, ty)| (*name, usize::from(ty.bits()))).collect();
        assert_eq!(layout(header.ty), fields, "{}", header.name);
    }
}

/// Presence of each header in the table's order; a field that is missing or too many does not compile.
fn present(packet: &Packet) -> Vec<(&'static str, bool)> {
    let Packet {
        ethernet: _,
        vlan,
        ipv4,
        ipv6,
        ports,
        tcp,
        udp,
        icmp,
        inner_ipv4,
        inner_ports,
        inner_udp,
        inner_icmp,
        ..
    } = packet;
    vec![
        ("ethernet", true),
        ("vlan", vlan.is_some()),
        ("ipv4", ipv4.is_some()),
        ("ipv6", ipv6.is_some()),
        ("ports", ports.is_some()),
        ("tcp", tcp.is_some()),
        ("udp", udp.is_some()),
        ("icmp", icmp.is_some()),
        ("inner_ipv4", inner_ipv4.is_some()),
        ("inner_ports", inner_ports.is_some()),
        ("inner_udp", inner_udp.is_some()),
        ("inner_icmp", inner_icmp.is_some()),
    ]
}

#[test]
fn packets_have_the_headers_of_the_table() {
    let names: Vec<_> = present(&Packet::default()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, HEADERS.iter().map(|header| header.name).collect::<Vec<_>>());
    assert!(HEADERS[0].always);
}

/// Walks the table over a frame: where each header lies, or the one that does not fit.
fn interpret(frame: &[u8]) -> Result<Vec<Option<usize>>, &'static str> {
    let mut starts: Vec<Option<usize>> = vec![None; HEADERS.len()];
    let mut at = 0;
    for (id, header) in HEADERS.iter().enumerate() {
        let reached = header.always
            || header.after.iter().any(|after| {
                let before = HEADERS.iter().position(|header| header.name == after.header).expect("named");
                let Some(start) = starts[before] else { return false };
                after.when.iter().all(|(name, values)| {
                    let mut bit = start * 8;
                    for (field, ty) in HEADERS[before].fields {
                        if field == name {
                            return values.contains(&bits(frame, bit, usize::from(ty.bits())));
                        }
                        bit += usize::from(ty.bits());
                    }
                    panic!("{} has no field {name}", after.header)
                })
            });
        if reached {
            let len = header.fields.iter().map(|(_, ty)| usize::from(ty.bits())).sum::<usize>() / 8;
            if at + len > frame.len() {
                return Err(header.name);
            }
            starts[id] = Some(at);
            at += len;
        }
    }
    Ok(starts)
}

fn bits(frame: &[u8], at: usize, width: usize) -> u64 {
    (at..at + width).fold(0, |value, bit| value << 1 | u64::from(frame[bit / 8] >> (7 - bit % 8) & 1))
}

/// Frames that take every edge of the graph often, and miss it narrowly often.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let ether_type = prop_oneof![4 => Just(0x0800u16), 1 => Just(0x86dd), 1 => any::<u16>()];
    let first = || prop_oneof![6 => Just(0x45u8), 1 => Just(0x46), 1 => Just(0x55), 1 => Just(0x60)];
    let protocol = || prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()];
    let fragment = || prop_oneof![6 => Just(0u16), 1 => any::<u16>()];
    let icmp = prop_oneof![Just(3u8), Just(11), Just(12), Just(8), any::<u8>()];
    let outer = (first(), fragment(), protocol());
    let inner = (first(), fragment(), protocol());
    (any::<bool>(), ether_type, outer, icmp, inner, prop::collection::vec(any::<u8>(), 0..140)).prop_map(
        |(vlan, ether_type, outer, icmp, inner, mut bytes)| {
            let mut set = |at: usize, new: &[u8]| {
                if let Some(old) = bytes.get_mut(at..at + new.len()) {
                    old.copy_from_slice(new);
                }
            };
            let l3 = if vlan { 18 } else { 14 };
            set(12, &0x8100u16.to_be_bytes());
            set(l3 - 2, &ether_type.to_be_bytes());
            for (at, (first, fragment, protocol)) in [(l3, outer), (l3 + 28, inner)] {
                set(at, &[first]);
                set(at + 6, &[(fragment >> 8) as u8, fragment as u8, 9, protocol]);
            }
            set(l3 + 20, &[icmp]);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_follows_the_graph(frame in frames()) {
        let expected = interpret(&frame);
        match (Packet::parse(&frame), expected) {
            (Ok(packet), Ok(starts)) => {
                let headers: Vec<_> = present(&packet).into_iter().map(|(_, present)| present).collect();
                prop_assert_eq!(headers, starts.iter().map(Option::is_some).collect::<Vec<_>>());
                let len: usize = HEADERS.iter().zip(&starts).filter(|(_, start)| start.is_some())
                    .map(|(header, _)| header.fields.iter().map(|(_, ty)| usize::from(ty.bits())).sum::<usize>() / 8)
                    .sum();
                prop_assert_eq!(packet.header_len(), len);
            }
            (Err(ParseError::Truncated { header, .. }), Err(expected)) => prop_assert_eq!(header, expected),
            (Err(error), Ok(starts)) => {
                prop_assert!(starts[2].is_some(), "{} without IPv4", error);
                prop_assert!(matches!(error.reason().name(), "ipv4_malformed" | "ipv4_checksum"));
            }
            (parsed, expected) => prop_assert!(false, "{:?} but {:?}", parsed, expected),
        }
    }

    #[test]
    fn what_nobody_changed_goes_out_as_it_came(frame in frames()) {
        if let Ok(packet) = Packet::parse(&frame) {
            let mut out = Vec::new();
            packet.deparse(&frame, &mut out);
            prop_assert_eq!(out, frame);
        }
    }
}
