//! Frames as hosts send them.

use std::net::Ipv4Addr;

use redplane_sdk::checksum::checksum;
use redplane_sdk::packet::{PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, Packet};

/// Address and port.
pub type End = (Ipv4Addr, u16);

/// Flags of TCP (RFC 9293).
pub mod flag {
    /// The sender has said its last.
    pub const FIN: u8 = 0x01;
    /// Opens.
    pub const SYN: u8 = 0x02;
    /// Breaks off.
    pub const RST: u8 = 0x04;
    /// Acknowledges.
    pub const ACK: u8 = 0x10;
}

/// A TCP segment with so many bytes of payload.
#[must_use]
pub fn segment(from: End, to: End, flags: u8, payload: usize) -> Vec<u8> {
    let mut tcp = ports(from, to);
    tcp.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    tcp.resize(tcp.len() + payload, 0);
    packet(from.0, to.0, PROTOCOL_TCP, &tcp)
}

/// A UDP datagram.
#[must_use]
pub fn datagram(from: End, to: End) -> Vec<u8> {
    let mut udp = ports(from, to);
    udp.extend_from_slice(&[0, 12, 0, 0, 1, 2, 3, 4]);
    packet(from.0, to.0, PROTOCOL_UDP, &udp)
}

/// An ICMP message, of which `rest` is all but type, code and checksum.
#[must_use]
pub fn message(from: Ipv4Addr, to: Ipv4Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let icmp = [&[kind, 0, 0, 0], rest].concat();
    packet(from, to, PROTOCOL_ICMP, &icmp)
}

/// Source and destination of a TCP or UDP frame.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn ends(frame: &[u8]) -> (End, End) {
    let packet = Packet::parse(frame).expect("an app puts out what can be parsed");
    let (ipv4, ports) = packet.ipv4.zip(packet.ports).expect("it was TCP or UDP over IPv4");
    ((ipv4.src, ports.src), (ipv4.dst, ports.dst))
}

fn ports(from: End, to: End) -> Vec<u8> {
    [from.1.to_be_bytes(), to.1.to_be_bytes()].concat()
}

fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total_len = (20 + payload.len()) as u16;
    let mut ipv4 = vec![0x45, 0];
    ipv4.extend_from_slice(&total_len.to_be_bytes());
    ipv4.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
    ipv4.extend_from_slice(&from.octets());
    ipv4.extend_from_slice(&to.octets());
    let sum = checksum(&ipv4);
    ipv4[10..12].copy_from_slice(&sum.to_be_bytes());
    [&[2; 6][..], &[4; 6], &[0x08, 0x00], &ipv4, payload].concat()
}
