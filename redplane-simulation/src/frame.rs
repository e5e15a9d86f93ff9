//! Frames as the hosts and the store write them, and the mark by which a packet is known again.
//!
//! Every packet of a host ends with eight bytes of its own. Whatever carries it carries it last: a message of the
//! protocol, or an update within the chain. So the last eight bytes of anything under way say whose packet it is.

use std::fmt;
use std::net::Ipv4Addr;

use redplane_sdk::checksum::checksum;
use redplane_sdk::packet::{PROTOCOL_TCP, PROTOCOL_UDP};

/// Bytes of Ethernet, IPv4 and UDP.
pub const HEADERS_LEN: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const TCP_LEN: usize = 20;

/// Upper bits of every mark.
const MARK: u64 = 0x51d5 << 48;

/// Number of a packet that a host sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u32);

impl PacketId {
    /// The packet that is, or is carried in, these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<PacketId> {
        let mark = u64::from_be_bytes(*bytes.last_chunk()?);
        (mark & !u64::from(u32::MAX) == MARK).then_some(PacketId(mark as u32))
    }

    /// The eight bytes at its end.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        (MARK | u64::from(self.0)).to_be_bytes()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "packet {}", self.0)
    }
}

/// Addresses and ports of a UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datagram {
    /// Who sent it.
    pub src: (Ipv4Addr, u16),
    /// To whom.
    pub dst: (Ipv4Addr, u16),
    /// IPv4 identification.
    pub identification: u16,
}

impl Datagram {
    /// The frame with this payload. The UDP checksum is zero, which means none (RFC 768).
    #[must_use]
    pub fn to_frame(&self, payload: &[u8]) -> Vec<u8> {
        let udp_len = UDP_LEN + payload.len();
        let mut frame = to_ipv4(self.src.0, self.dst.0, PROTOCOL_UDP, self.identification, udp_len);
        for word in [self.src.1, self.dst.1, udp_len as u16, 0] {
            frame.extend(word.to_be_bytes());
        }
        frame.extend(payload);
        frame
    }

    /// Reads a frame back, with its payload; `None` if it is no such datagram, or is cut short.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<(Datagram, &[u8])> {
        let headers: &[u8; HEADERS_LEN] = frame.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([headers[at], headers[at + 1]]);
        let address =
            |at: usize| Ipv4Addr::new(headers[at], headers[at + 1], headers[at + 2], headers[at + 3]);
        if word(12) != 0x0800 || headers[14] != 0x45 || headers[23] != PROTOCOL_UDP {
            return None;
        }
        let (total_len, udp_len) = (usize::from(word(16)), usize::from(word(38)));
        if total_len != udp_len + IPV4_LEN {
            return None;
        }
        let payload = frame.get(HEADERS_LEN..ETHERNET_LEN + total_len)?;
        let datagram =
            Datagram { src: (address(26), word(34)), dst: (address(30), word(36)), identification: word(18) };
        Some((datagram, payload))
    }
}

/// Ethernet and IPv4, before so many bytes.
fn to_ipv4(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, identification: u16, len: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET_LEN + IPV4_LEN + len);
    frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00]);
    let mut ipv4 = [0; IPV4_LEN];
    ipv4[0] = 0x45;
    ipv4[2..4].copy_from_slice(&((IPV4_LEN + len) as u16).to_be_bytes());
    ipv4[4..6].copy_from_slice(&identification.to_be_bytes());
    ipv4[8] = 64;
    ipv4[9] = protocol;
    ipv4[12..16].copy_from_slice(&src.octets());
    ipv4[16..20].copy_from_slice(&dst.octets());
    let sum = checksum(&ipv4);
    ipv4[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ipv4);
    frame
}

/// TCP's flags (RFC 9293, section 3.1).
pub mod flag {
    /// The last.
    pub const FIN: u8 = 1;
    /// The first.
    pub const SYN: u8 = 2;
    /// Broken off.
    pub const RST: u8 = 4;
    /// Something is acknowledged.
    pub const ACK: u8 = 16;
}

/// Addresses, ports and flags of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// Who sent it.
    pub src: (Ipv4Addr, u16),
    /// To whom.
    pub dst: (Ipv4Addr, u16),
    /// [`flag`].
    pub flags: u8,
}

impl Segment {
    /// The frame with this payload. Sequence numbers and checksum are zero: nobody here looks at them.
    #[must_use]
    pub fn to_frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = to_ipv4(self.src.0, self.dst.0, PROTOCOL_TCP, 0, TCP_LEN + payload.len());
        frame.extend(self.src.1.to_be_bytes());
        frame.extend(self.dst.1.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    /// Reads a frame back; `None` if it is no such segment, or is cut short.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Segment> {
        let headers: &[u8; ETHERNET_LEN + IPV4_LEN + TCP_LEN] = frame.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([headers[at], headers[at + 1]]);
        let address =
            |at: usize| Ipv4Addr::new(headers[at], headers[at + 1], headers[at + 2], headers[at + 3]);
        let legal = word(12) == 0x0800 && headers[14] == 0x45 && headers[23] == PROTOCOL_TCP;
        let whole = frame.len() >= ETHERNET_LEN + usize::from(word(16));
        let segment =
            Segment { src: (address(26), word(34)), dst: (address(30), word(36)), flags: headers[47] };
        (legal && whole).then_some(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_and_a_cut_one_is_not() {
        let datagram = Datagram {
            src: (Ipv4Addr::new(10, 0, 0, 1), 7),
            dst: (Ipv4Addr::new(10, 0, 0, 2), 8),
            identification: 9,
        };
        let frame = datagram.to_frame(&PacketId(77).to_bytes());
        assert_eq!(Datagram::parse(&frame), Some((datagram, &PacketId(77).to_bytes()[..])));
        assert_eq!(PacketId::of(&frame), Some(PacketId(77)));
        for len in 0..frame.len() {
            assert_eq!(
                (Datagram::parse(&frame[..len]), PacketId::of(&frame[..len])),
                (None, None),
                "cut at {len}"
            );
        }
        let packet = redplane_sdk::packet::Packet::parse(&frame).expect("a legal frame");
        assert_eq!(packet.ports.map(|ports| (ports.src, ports.dst)), Some((7, 8)));
    }
    #[test]
    fn a_segment_is_read_back_and_a_cut_one_is_not() {
        let (src, dst) = ((Ipv4Addr::new(10, 0, 0, 1), 7), (Ipv4Addr::new(10, 0, 0, 2), 8));
        let segment = Segment { src, dst, flags: flag::SYN | flag::ACK };
        let frame = segment.to_frame(&PacketId(77).to_bytes());
        assert_eq!((Segment::parse(&frame), PacketId::of(&frame)), (Some(segment), Some(PacketId(77))));
        assert_eq!(Datagram::parse(&frame), None);
        assert!((0..frame.len()).all(|len| Segment::parse(&frame[..len]).is_none()));
        let packet = redplane_sdk::packet::Packet::parse(&frame).expect("a legal frame");
        assert!(packet.tcp.is_some_and(|tcp| tcp.syn && tcp.ack && !tcp.fin && !tcp.rst));
    }
}
