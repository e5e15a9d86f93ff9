//! What etherparse writes, we read; what we write, etherparse reads.

use std::net::Ipv4Addr;

use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
use proptest::prelude::*;
use redplane_sdk::packet::{MacAddr, Packet};

use crate::frames::{Frame, SWITCH_MAC, Transport, icmp_error};

pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
    let transport = prop_oneof![
        any::<(u16, u16, bool)>().prop_map(|(src, dst, checksum)| Transport::Udp { src, dst, checksum }),
        any::<(u16, u16, bool)>().prop_map(|(src, dst, syn)| Transport::Tcp { src, dst, syn }),
        any::<(bool, u16, u16)>().prop_map(|(request, identifier, sequence)| Transport::Echo {
            request,
            identifier,
            sequence
        }),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    (any::<[u8; 8]>(), any::<u8>(), prop::option::of(0u16..4096), transport, payload).prop_map(
        |(addrs, ttl, vlan, transport, payload)| {
            let [a, b, c, d, e, f, g, h] = addrs;
            let (src, dst) = (Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h));
            Frame { src, dst, ttl, vlan, transport, payload }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_field_is_the_one_that_etherparse_reads(frame in any_frame()) {
        let bytes = frame.build();
        let packet = Packet::parse(&bytes).expect("etherparse made it");
        let theirs = PacketHeaders::from_ethernet_slice(&bytes).expect("etherparse made it");
        prop_assert_eq!(packet.ethernet.dst, MacAddr::new(SWITCH_MAC));
        prop_assert_eq!(packet.vlan.map(|vlan| vlan.vid.value()), frame.vlan);
        let ours = packet.ipv4.expect("it is IPv4");
        let Some(NetHeaders::Ipv4(ip, _)) = theirs.net else { panic!("it is IPv4") };
        prop_assert_eq!((ours.src.octets(), ours.dst.octets()), (ip.source, ip.destination));
        prop_assert_eq!((ours.ttl, ours.protocol), (ip.time_to_live, ip.protocol.0));
        prop_assert_eq!((ours.total_len, ours.identification), (ip.total_len, ip.identification));
        prop_assert_eq!((ours.checksum, ours.dont_fragment), (ip.header_checksum, ip.dont_fragment));
        match theirs.transport {
            Some(TransportHeader::Udp(udp)) => {
                let ports = packet.ports.expect("UDP has ports");
                prop_assert_eq!((ports.src, ports.dst), (udp.source_port, udp.destination_port));
                let ours = packet.udp.expect("it is UDP");
                prop_assert_eq!((ours.length, ours.checksum), (udp.length, udp.checksum));
            }
            Some(TransportHeader::Tcp(tcp)) => {
                let ports = packet.ports.expect("TCP has ports");
                prop_assert_eq!((ports.src, ports.dst), (tcp.source_port, tcp.destination_port));
                let ours = packet.tcp.expect("it is TCP");
                prop_assert_eq!((ours.sequence, ours.acknowledgement), (tcp.sequence_number, tcp.acknowledgment_number));
                prop_assert_eq!((ours.syn, ours.ack, ours.fin, ours.rst), (tcp.syn, tcp.ack, tcp.fin, tcp.rst));
                prop_assert_eq!((ours.data_offset.value(), ours.window), (tcp.data_offset(), tcp.window_size));
                prop_assert_eq!((ours.checksum, ours.urgent_pointer), (tcp.checksum, tcp.urgent_pointer));
            }
            Some(TransportHeader::Icmpv4(icmp)) => {
                let ours = packet.icmp.expect("it is ICMP");
                prop_assert_eq!(ours.checksum, icmp.checksum);
                let Transport::Echo { request, identifier, sequence } = frame.transport else { panic!("an echo") };
                prop_assert_eq!((ours.kind, ours.code), (if request { 8 } else { 0 }, 0));
                prop_assert_eq!((ours.identifier, ours.sequence), (identifier, sequence));
            }
            other => panic!("{other:?} was not asked for"),
        }
    }

    #[test]
    fn a_quote_is_read_as_the_packet_was(quoted in any_frame(), kind in prop_oneof![Just(3u8), Just(11), Just(12)]) {
        let quoted_bytes = quoted.ip_packet();
        let bytes = icmp_error(Ipv4Addr::new(192, 0, 2, 1), quoted.src, kind, &quoted_bytes, 28);
        let packet = Packet::parse(&bytes).expect("a quote of 28 bytes is enough");
        let direct = Packet::parse(&Frame { vlan: None, ..quoted }.build()).expect("etherparse made it");
        prop_assert_eq!(packet.inner_ipv4, direct.ipv4);
        prop_assert_eq!(packet.inner_ports, direct.ports);
        prop_assert_eq!(packet.inner_udp, direct.udp);
        prop_assert_eq!(packet.inner_icmp, direct.icmp);
    }
}
