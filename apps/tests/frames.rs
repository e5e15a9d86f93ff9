//! Frames for the tests of the apps.

use std::net::Ipv4Addr;

use etherparse::{IcmpEchoHeader, Icmpv4Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice, icmpv4};

/// Address and port.
pub(crate) type End = (Ipv4Addr, u16);

pub(crate) fn ethernet(from: Ipv4Addr, to: Ipv4Addr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4(from.octets(), to.octets(), 64)
}

pub(crate) fn udp(from: End, to: End) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet(from.0, to.0).udp(from.1, to.1).write(&mut frame, b"some payload").unwrap();
    frame
}

pub(crate) fn tcp(from: End, to: End) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet(from.0, to.0).tcp(from.1, to.1, 7, 1000).ack(9).write(&mut frame, b"some payload").unwrap();
    frame
}

pub(crate) fn icmp(from: Ipv4Addr, to: Ipv4Addr, kind: Icmpv4Type, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ethernet(from, to).icmpv4(kind).write(&mut frame, payload).unwrap();
    frame
}

pub(crate) fn ping(from: Ipv4Addr, to: Ipv4Addr, id: u16) -> Vec<u8> {
    icmp(from, to, Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq: 1 }), b"ping")
}

/// The message that `reporter` sends back about a packet that came to it.
pub(crate) fn unreachable(reporter: Ipv4Addr, about: &[u8]) -> Vec<u8> {
    let quote = &about[14..];
    let back = Ipv4Addr::from(<[u8; 4]>::try_from(&quote[12..16]).unwrap());
    let kind = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
    icmp(reporter, back, kind, quote)
}

/// Source and destination of a frame; for ICMP echo the identifier is both ports.
pub(crate) fn ends(frame: &[u8]) -> (End, End) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv4(ipv4)) = &packet.net else { panic!("not IPv4") };
    let (source, destination) = match packet.transport.unwrap() {
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
        TransportSlice::Icmpv4(icmp) => {
            let id = u16::from_be_bytes([icmp.bytes5to8()[0], icmp.bytes5to8()[1]]);
            (id, id)
        }
        other => panic!("{other:?}"),
    };
    ((ipv4.header().source_addr(), source), (ipv4.header().destination_addr(), destination))
}

/// A TCP segment with these flags: `S`, `A`, `F`, `R`, each once.
pub(crate) fn segment(from: End, to: End, flags: &str) -> Vec<u8> {
    let mut step = ethernet(from.0, to.0).tcp(from.1, to.1, 7, 1000);
    for flag in flags.chars() {
        step = match flag {
            'S' => step.syn(),
            'A' => step.ack(9),
            'F' => step.fin(),
            'R' => step.rst(),
            other => panic!("no flag {other}"),
        };
    }
    let mut frame = Vec::new();
    step.write(&mut frame, b"some payload").unwrap();
    frame
}
