//! Frames to test with, made by etherparse: none of our code takes part.

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};
use std::net::Ipv4Addr;

pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SWITCH_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xff];

/// What a frame carries after its IPv4 header.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Udp { src: u16, dst: u16, checksum: bool },
    Tcp { src: u16, dst: u16, syn: bool },
    Echo { request: bool, identifier: u16, sequence: u16 },
}

/// One IPv4 frame; the checksums are right.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) ttl: u8,
    pub(crate) vlan: Option<u16>,
    pub(crate) transport: Transport,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn udp(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), payload: &[u8]) -> Self {
        let transport = Transport::Udp { src: src.1, dst: dst.1, checksum: true };
        Frame { src: src.0, dst: dst.0, ttl: 64, vlan: None, transport, payload: payload.to_vec() }
    }

    pub(crate) fn tcp(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), payload: &[u8]) -> Self {
        let transport = Transport::Tcp { src: src.1, dst: dst.1, syn: false };
        Frame { src: src.0, dst: dst.0, ttl: 64, vlan: None, transport, payload: payload.to_vec() }
    }

    pub(crate) fn echo(src: Ipv4Addr, dst: Ipv4Addr, request: bool, identifier: u16) -> Self {
        let transport = Transport::Echo { request, identifier, sequence: 7 };
        Frame { src, dst, ttl: 64, vlan: None, transport, payload: b"ping".to_vec() }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(HOST_MAC, SWITCH_MAC);
        match self.vlan {
            Some(vid) => {
                let vid = VlanId::try_new(vid & 0xfff).expect("twelve bits");
                self.finish(ethernet.single_vlan(vid).ipv4(self.src.octets(), self.dst.octets(), self.ttl))
            }
            None => self.finish(ethernet.ipv4(self.src.octets(), self.dst.octets(), self.ttl)),
        }
    }

    /// The IPv4 packet without its Ethernet header.
    pub(crate) fn ip_packet(&self) -> Vec<u8> {
        let untagged = Frame { vlan: None, ..self.clone() };
        untagged.build()[14..].to_vec()
    }

    fn finish(&self, ip: PacketBuilderStep<etherparse::IpHeaders>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.transport {
            Transport::Udp { src, dst, checksum } => {
                ip.udp(src, dst).write(&mut bytes, &self.payload).expect("it fits");
                if !checksum {
                    let at = if self.vlan.is_some() { 44 } else { 40 };
                    bytes[at..at + 2].fill(0);
                }
            }
            Transport::Tcp { src, dst, syn } => {
                let tcp = ip.tcp(src, dst, 0x0102_0304, 4096).ack(0x0506_0708);
                let tcp = if syn { tcp.syn() } else { tcp };
                tcp.write(&mut bytes, &self.payload).expect("it fits");
            }
            Transport::Echo { request: true, identifier, sequence } => {
                let icmp = ip.icmpv4_echo_request(identifier, sequence);
                icmp.write(&mut bytes, &self.payload).expect("it fits");
            }
            Transport::Echo { request: false, identifier, sequence } => {
                ip.icmpv4_echo_reply(identifier, sequence).write(&mut bytes, &self.payload).expect("it fits");
            }
        }
        bytes
    }
}

/// An ICMP error from `src` to `dst` that quotes `quoted`, an IPv4 packet, up to `most` bytes.
pub(crate) fn icmp_error(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, quoted: &[u8], most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let icmp = etherparse::Icmpv4Type::Unknown { type_u8: kind, code_u8: 1, bytes5to8: [0; 4] };
    PacketBuilder::ethernet2(HOST_MAC, SWITCH_MAC)
        .ipv4(src.octets(), dst.octets(), 64)
        .icmpv4(icmp)
        .write(&mut bytes, &quoted[..quoted.len().min(most)])
        .expect("it fits");
    bytes
}

/// Whether every checksum of an IPv4 frame is right, by full sums over all its bytes: IPv4, and TCP, UDP or ICMP, and
/// those of a quoted packet that are wholly there. Returns what is wrong.
pub(crate) fn wrong_checksums(frame: &[u8]) -> Vec<&'static str> {
    let at = if frame[12..14] == [0x81, 0] { 18 } else { 14 };
    let mut wrong = Vec::new();
    check_ip(&frame[at..], &mut wrong, false);
    wrong
}

fn check_ip(packet: &[u8], wrong: &mut Vec<&'static str>, quoted: bool) {
    let ihl = usize::from(packet[0] & 15) * 4;
    if sum(&packet[..ihl]) != 0xffff {
        wrong.push(if quoted { "inner ipv4" } else { "ipv4" });
    }
    let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if total > packet.len() || packet[6] & 0x3f != 0 || packet[7] != 0 {
        return;
    }
    let segment = &packet[ihl..total];
    let mut pseudo = packet[12..20].to_vec();
    pseudo.extend([0, packet[9], 0, 0]);
    let len = segment.len() as u16;
    pseudo[10..12].copy_from_slice(&len.to_be_bytes());
    pseudo.extend_from_slice(segment);
    let right = match packet[9] {
        6 => sum(&pseudo) == 0xffff,
        17 => segment[6..8] == [0, 0] || sum(&pseudo) == 0xffff,
        1 => {
            if [3, 11, 12].contains(&segment[0]) && !quoted {
                check_ip(&segment[8..], wrong, true);
            }
            // A message of nothing but zeros has the checksum 0xffff, which RFC 1624 cannot tell from 0.
            sum(segment) == 0xffff || segment.iter().all(|byte| *byte == 0)
        }
        _ => true,
    };
    if !right {
        wrong.push(if quoted { "inner transport" } else { "transport" });
    }
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u64;
    for word in bytes.chunks(2) {
        sum += u64::from(word[0]) << 8 | word.get(1).map_or(0, |byte| u64::from(*byte));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
