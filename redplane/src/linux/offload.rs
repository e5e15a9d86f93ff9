//! What network cards do for Linux, and virtual ones leave undone: checksums and segmentation. A frame comes in as it would
//! be on a cable.

/// EtherType of a VLAN tag (IEEE 802.1Q).
pub(super) const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;

/// `virtio_net_hdr` (linux/virtio_net.h, without the later fields): what is still to be done to a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// The checksum at `csum_offset` behind `csum_start` has only the pseudo-header in it.
    pub needs_checksum: bool,
    /// What kind of packet is to be segmented; zero: none.
    pub gso_type: u8,
    /// Bytes of payload of each segment.
    pub gso_size: u16,
    /// Where the checksum's bytes begin.
    pub csum_start: u16,
    /// Where it stands, from there.
    pub csum_offset: u16,
}

const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
/// Beside the type: the packet has CWR set (RFC 3168).
const GSO_ECN: u8 = 0x80;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;

impl VnetHeader {
    /// Bytes in front of each frame.
    pub const LEN: usize = 10;

    /// Reads one, in the machine's byte order.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        VnetHeader {
            needs_checksum: bytes[0] & NEEDS_CSUM != 0,
            gso_type: bytes[1] & !GSO_ECN,
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }
}

/// Shows the frame, or each of its segments, as it would be on a cable. What makes no sense is shown as it is: then its
/// checksum is wrong, and whoever receives it says so.
pub fn undo(header: &VnetHeader, frame: &mut [u8], each: &mut impl FnMut(&[u8])) {
    if header.gso_type != GSO_NONE && segment(header, frame, each).is_some() {
        return;
    }
    if header.needs_checksum {
        complete_checksum(header, frame);
    }
    each(frame);
}

fn complete_checksum(header: &VnetHeader, frame: &mut [u8]) -> Option<()> {
    let start = usize::from(header.csum_start);
    let at = start + usize::from(header.csum_offset);
    let checksum = !fold(sum(frame.get(start..)?));
    // Zero would say to UDP that there is none (RFC 768), and is the same number to TCP: as `skb_checksum_help` in Linux has it.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    frame.get_mut(at..at + 2)?.copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// Where the parts of a packet begin that is to be segmented.
struct Layout {
    network: usize,
    is_ipv4: bool,
    transport: usize,
    payload: usize,
    protocol: u8,
}

impl Layout {
    fn of(header: &VnetHeader, frame: &[u8]) -> Option<Self> {
        let mut network = 14;
        let mut ether_type = word(frame, 12)?;
        while ether_type == ETHERTYPE_VLAN {
            ether_type = word(frame, network + 2)?;
            network += 4;
        }
        let is_ipv4 = match ether_type {
            ETHERTYPE_IPV4 => true,
            ETHERTYPE_IPV6 => false,
            _ => return None,
        };
        let (transport, protocol) = (usize::from(header.csum_start), header.gso_type);
        let (header_len, protocol) = match protocol {
            GSO_TCPV4 | GSO_TCPV6 => (usize::from(frame.get(transport + 12)? >> 4) * 4, PROTOCOL_TCP),
            GSO_UDP_L4 => (UDP_LEN, PROTOCOL_UDP),
            _ => return None,
        };
        let payload = transport + header_len;
        let network_len = if is_ipv4 { usize::from(frame.get(network)? & 15) * 4 } else { IPV6_LEN };
        let is_sound = network + network_len <= transport && payload <= frame.len() && header_len >= UDP_LEN;
        is_sound.then_some(Layout { network, is_ipv4, transport, payload, protocol })
    }
}

fn segment(header: &VnetHeader, frame: &[u8], each: &mut impl FnMut(&[u8])) -> Option<()> {
    let layout = Layout::of(header, frame)?;
    let size = usize::from(header.gso_size);
    if size == 0 {
        return None;
    }
    let payload = &frame[layout.payload..];
    let count = payload.len().div_ceil(size).max(1);
    let mut out = Vec::with_capacity(layout.payload + size);
    for index in 0..count {
        let part = &payload[index * size..payload.len().min((index + 1) * size)];
        out.clear();
        out.extend_from_slice(&frame[..layout.payload]);
        out.extend_from_slice(part);
        number(&layout, &mut out, index, index * size);
        if layout.protocol == PROTOCOL_TCP {
            let flags = &mut out[layout.transport + 13];
            if index + 1 < count {
                *flags &= !(TCP_FIN | TCP_PSH);
            }
            if index > 0 {
                *flags &= !TCP_CWR;
            }
        }
        checksums(&layout, &mut out);
        each(&out);
    }
    Some(())
}

const TCP_FIN: u8 = 1;
const TCP_PSH: u8 = 8;
const TCP_CWR: u8 = 128;

/// Lengths, the IPv4 identification and the TCP sequence number of a segment.
fn number(layout: &Layout, out: &mut [u8], index: usize, offset: usize) {
    let Layout { network, transport, .. } = *layout;
    let len = out.len();
    let put = |out: &mut [u8], at: usize, value: u16| out[at..at + 2].copy_from_slice(&value.to_be_bytes());
    if layout.is_ipv4 {
        let identification = word(out, network + 4).unwrap_or_default();
        put(out, network + 2, (len - network) as u16);
        put(out, network + 4, identification.wrapping_add(index as u16));
    } else {
        put(out, network + 4, (len - network - IPV6_LEN) as u16);
    }
    if layout.protocol == PROTOCOL_TCP {
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| out[transport + 4 + byte]);
        let sequence = u32::from_be_bytes([a, b, c, d]).wrapping_add(offset as u32);
        out[transport + 4..transport + 8].copy_from_slice(&sequence.to_be_bytes());
    } else {
        put(out, transport + 4, (len - transport) as u16);
    }
}

fn checksums(layout: &Layout, out: &mut [u8]) {
    let Layout { network, transport, .. } = *layout;
    let header_end = network + usize::from(out[network] & 15) * 4;
    if layout.is_ipv4 {
        out[network + 10..network + 12].fill(0);
        let checksum = !fold(sum(&out[network..header_end]));
        out[network + 10..network + 12].copy_from_slice(&checksum.to_be_bytes());
    }
    let at = transport + if layout.protocol == PROTOCOL_TCP { 16 } else { 6 };
    out[at..at + 2].fill(0);
    let addresses =
        if layout.is_ipv4 { &out[network + 12..network + 20] } else { &out[network + 8..network + 40] };
    let pseudo = sum(addresses) + u64::from(layout.protocol) + (out.len() - transport) as u64;
    let checksum = match !fold(pseudo + sum(&out[transport..])) {
        // To UDP zero says that there is none (RFC 768).
        0 if layout.protocol == PROTOCOL_UDP => 0xffff,
        checksum => checksum,
    };
    out[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// Sum of 16-bit words (RFC 1071), not folded.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let odd = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + odd
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
