//! UDP datagrams in Ethernet frames, as store and switches exchange them.

use std::net::SocketAddrV4;

use redplane_sdk::packet::{ETHERTYPE_IPV4, Packet};

/// An Ethernet address.
pub type Mac = [u8; 6];

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const PROTOCOL_UDP: u8 = 17;

/// Hops that a datagram may take.
const TTL: u8 = 64;

/// A datagram, taken out of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddrV4,
    /// To whom.
    pub to: SocketAddrV4,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Takes a datagram out of a frame; `None` if there is none.
    #[must_use]
    pub fn parse(frame: &'a [u8]) -> Option<Datagram<'a>> {
        let packet = Packet::parse(frame).ok()?;
        let (ipv4, ports, udp) = (packet.ipv4?, packet.ports?, packet.udp?);
        let start = packet.header_len();
        let payload = frame.get(start..start + usize::from(udp.length).checked_sub(UDP_LEN)?)?;
        let from = SocketAddrV4::new(ipv4.src, ports.src);
        Some(Datagram { from, to: SocketAddrV4::new(ipv4.dst, ports.dst), payload })
    }

    /// The frame that takes it from one Ethernet address to another. Without UDP checksum, as switches send it too.
    #[must_use]
    pub fn to_frame(&self, source: Mac, destination: Mac) -> Vec<u8> {
        let udp_len = UDP_LEN + self.payload.len();
        let total_len = IPV4_LEN + udp_len;
        let mut frame = Vec::with_capacity(ETHERNET_LEN + total_len);
        frame.extend_from_slice(&destination);
        frame.extend_from_slice(&source);
        frame.extend_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        let dont_fragment = 0x40;
        frame.extend_from_slice(&[0x45, 0]);
        frame.extend_from_slice(&(total_len as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 0, dont_fragment, 0, TTL, PROTOCOL_UDP, 0, 0]);
        frame.extend_from_slice(&self.from.ip().octets());
        frame.extend_from_slice(&self.to.ip().octets());
        let checksum = redplane_sdk::checksum::checksum(&frame[ETHERNET_LEN..]);
        frame[ETHERNET_LEN + 10..ETHERNET_LEN + 12].copy_from_slice(&checksum.to_be_bytes());
        for half in [self.from.port(), self.to.port(), udp_len as u16, 0] {
            frame.extend_from_slice(&half.to_be_bytes());
        }
        frame.extend_from_slice(self.payload);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redplane_sdk::protocol::wire::UDP_PORT;
    use std::net::Ipv4Addr;

    #[test]
    fn a_datagram_comes_out_as_it_went_in() {
        let end = |host| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), UDP_PORT);
        let datagram = Datagram { from: end(1), to: end(2), payload: b"payload" };
        let frame = datagram.to_frame([2; 6], [4; 6]);
        assert_eq!(Datagram::parse(&frame), Some(datagram));
        for len in 0..frame.len() {
            assert_eq!(Datagram::parse(&frame[..len]), None, "cut to {len}");
        }
    }
}
