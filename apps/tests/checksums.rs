//! Every checksum of a frame, computed by etherparse.

use etherparse::{Ipv4HeaderSlice, NetSlice, SlicedPacket, TransportSlice, UdpHeader};

/// What is wrong with the checksums of an Ethernet frame.
pub(crate) fn wrong(frame: &[u8]) -> Vec<String> {
    let mut wrong = Vec::new();
    let packet = match SlicedPacket::from_ethernet(frame) {
        Ok(packet) => packet,
        Err(error) => return vec![error.to_string()],
    };
    let Some(NetSlice::Ipv4(ipv4)) = &packet.net else { return vec!["not IPv4".into()] };
    let header = ipv4.header().to_header();
    let mut expect = |what: &str, expected: u16, found: u16| {
        if expected != found {
            wrong.push(format!("{what} checksum is {found:#06x}, not {expected:#06x}"));
        }
    };
    expect("IPv4", header.calc_header_checksum(), header.header_checksum);
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload()).unwrap();
            expect("TCP", sum, tcp.checksum());
        }
        Some(TransportSlice::Udp(udp)) if udp.checksum() != 0 => {
            let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
            expect("UDP", sum, udp.checksum());
            expect("UDP, its length as", ipv4.payload().payload.len() as u16, udp.length());
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            expect("ICMP, as all summed up,", 0, sum(icmp.slice()));
            if [3, 11, 12].contains(&icmp.type_u8()) {
                wrong_in_quote(icmp.payload(), &mut expect);
            }
        }
        _ => {}
    }
    wrong
}

fn wrong_in_quote(quote: &[u8], expect: &mut impl FnMut(&str, u16, u16)) {
    // A damaged quote shows in the sum of the whole.
    let Ok(header) = Ipv4HeaderSlice::from_slice(quote) else { return };
    let header = header.to_header();
    expect("quoted IPv4", header.calc_header_checksum(), header.header_checksum);
    let segment = &quote[header.header_len()..];
    if quote.len() < usize::from(header.total_len) {
        return; // Cut short: its sum cannot be known.
    }
    if header.protocol.0 == 17 {
        let Ok((udp, payload)) = UdpHeader::from_slice(segment) else { return };
        if let Ok(sum) = udp.calc_checksum_ipv4(&header, payload) {
            expect("quoted UDP", sum, udp.checksum);
        }
    } else if header.protocol.0 == 1 {
        expect("quoted ICMP, as all summed up,", 0, sum(segment));
    }
}

fn sum(bytes: &[u8]) -> u16 {
    etherparse::checksum::Sum16BitWords::new().add_slice(bytes).ones_complement()
}

#[test]
fn the_check_finds_every_damaged_byte() {
    let frames = apps::demo::capture::read(super::run::fixture("kernel.pcap").as_ref()).unwrap();
    let frames = frames.iter().filter(|frame| frame.bytes[12..14] == [8, 0]);
    for (number, frame) in frames.enumerate() {
        assert_eq!(wrong(&frame.bytes), [] as [String; 0], "frame {number} as the kernel sent it");
        for at in 26..frame.bytes.len() {
            let mut bytes = frame.bytes.clone();
            bytes[at] ^= 1;
            assert!(!wrong(&bytes).is_empty(), "frame {number}, byte {at}");
        }
    }
}
