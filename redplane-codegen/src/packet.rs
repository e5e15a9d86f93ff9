//! The standard packet: its headers, their fields, and what follows what.
//!
//! The same table describes `redplane_sdk::packet` (a test there compares the two), the P4 headers and the
//! parse graph. `inner_*` is the packet that an ICMP error quotes (RFC 792).

use crate::ir::Type;

/// One header of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Name of the field in `Packet`: `ipv4`.
    pub name: &'static str,
    /// Name of the Rust struct and, with `_h`, of the P4 header: `Ipv4`, `ipv4_h`.
    pub ty: &'static str,
    /// RFC or standard that defines it.
    pub source: &'static str,
    /// Always present (not an `Option`).
    pub always: bool,
    /// Fields in wire order; a whole number of bytes together.
    pub fields: &'static [(&'static str, Type)],
    /// The headers that it may follow, each with the condition.
    pub after: &'static [After],
}

/// An edge of the parse graph.
#[derive(Clone, Copy, Debug)]
pub struct After {
    /// Name of the header before.
    pub header: &'static str,
    /// Conditions on that header's fields; all hold. Each: field, then the values it may have.
    pub when: &'static [(&'static str, &'static [u64])],
}

const U1: Type = Type::Uint(1);
const U2: Type = Type::Uint(2);
const U3: Type = Type::Uint(3);
const U4: Type = Type::Uint(4);
const U6: Type = Type::Uint(6);
const U8: Type = Type::Uint(8);
const U12: Type = Type::Uint(12);
const U13: Type = Type::Uint(13);
const U16: Type = Type::Uint(16);
const U20: Type = Type::Uint(20);
const U32: Type = Type::Uint(32);

/// EtherType of IPv4 (IEEE 802 numbers).
pub const ETHERTYPE_IPV4: u64 = 0x0800;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u64 = 0x8100;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u64 = 0x86dd;

const IPV4_FIELDS: &[(&str, Type)] = &[
    ("version", U4),
    ("ihl", U4),
    ("dscp", U6),
    ("ecn", U2),
    ("total_len", U16),
    ("identification", U16),
    ("reserved_flag", Type::Bool),
    ("dont_fragment", Type::Bool),
    ("more_fragments", Type::Bool),
    ("fragment_offset", U13),
    ("ttl", U8),
    ("protocol", U8),
    ("checksum", U16),
    ("src", Type::Ipv4),
    ("dst", Type::Ipv4),
];
const PORTS_FIELDS: &[(&str, Type)] = &[("src", U16), ("dst", U16)];
const UDP_FIELDS: &[(&str, Type)] = &[("length", U16), ("checksum", U16)];
const ICMP_FIELDS: &[(&str, Type)] =
    &[("kind", U8), ("code", U8), ("checksum", U16), ("identifier", U16), ("sequence", U16)];

/// An IPv4 header that is followed by its payload's first header: version 4, no options, not a later fragment.
const fn first_fragment(protocol: &'static [u64]) -> [(&'static str, &'static [u64]); 4] {
    [("version", &[4]), ("ihl", &[5]), ("fragment_offset", &[0]), ("protocol", protocol)]
}
const IPV4_PORTS: &[(&str, &[u64])] = &first_fragment(&[6, 17]);
const IPV4_TCP: &[(&str, &[u64])] = &first_fragment(&[6]);
const IPV4_UDP: &[(&str, &[u64])] = &first_fragment(&[17]);
const IPV4_ICMP: &[(&str, &[u64])] = &first_fragment(&[1]);

/// ICMP error messages that quote the packet they are about: destination unreachable, time exceeded,
/// parameter problem (RFC 792; source quench is deprecated by RFC 6633).
pub const ICMP_ERRORS: &[u64] = &[3, 11, 12];

/// All standard headers, in wire order. `ports` is the first four bytes of TCP and of UDP, which is how a
/// switch sees them; `tcp` and `udp` are the rest.
pub const HEADERS: &[Header] = &[
    Header {
        name: "ethernet",
        ty: "Ethernet",
        source: "IEEE 802.3",
        always: true,
        fields: &[("dst", Type::Mac), ("src", Type::Mac), ("ether_type", U16)],
        after: &[],
    },
    Header {
        name: "vlan",
        ty: "Vlan",
        source: "IEEE 802.1Q",
        always: false,
        fields: &[("pcp", U3), ("dei", U1), ("vid", U12), ("ether_type", U16)],
        after: &[After { header: "ethernet", when: &[("ether_type", &[ETHERTYPE_VLAN])] }],
    },
    Header {
        name: "ipv4",
        ty: "Ipv4",
        source: "RFC 791, RFC 2474, RFC 3168",
        always: false,
        fields: IPV4_FIELDS,
        after: &[
            After { header: "ethernet", when: &[("ether_type", &[ETHERTYPE_IPV4])] },
            After { header: "vlan", when: &[("ether_type", &[ETHERTYPE_IPV4])] },
        ],
    },
    Header {
        name: "ipv6",
        ty: "Ipv6",
        source: "RFC 8200",
        always: false,
        fields: &[
            ("version", U4),
            ("traffic_class", U8),
            ("flow_label", U20),
            ("payload_len", U16),
            ("next_header", U8),
            ("hop_limit", U8),
            ("src", Type::Ipv6),
            ("dst", Type::Ipv6),
        ],
        after: &[
            After { header: "ethernet", when: &[("ether_type", &[ETHERTYPE_IPV6])] },
            After { header: "vlan", when: &[("ether_type", &[ETHERTYPE_IPV6])] },
        ],
    },
    Header {
        name: "ports",
        ty: "Ports",
        source: "RFC 9293 and RFC 768: the ports, which TCP and UDP share",
        always: false,
        fields: PORTS_FIELDS,
        after: &[
            After { header: "ipv4", when: IPV4_PORTS },
            After { header: "ipv6", when: &[("version", &[6]), ("next_header", &[6, 17])] },
        ],
    },
    Header {
        name: "tcp",
        ty: "Tcp",
        source: "RFC 9293, after the ports",
        always: false,
        fields: &[
            ("sequence", U32),
            ("acknowledgement", U32),
            ("data_offset", U4),
            ("reserved", U4),
            ("cwr", Type::Bool),
            ("ece", Type::Bool),
            ("urg", Type::Bool),
            ("ack", Type::Bool),
            ("psh", Type::Bool),
            ("rst", Type::Bool),
            ("syn", Type::Bool),
            ("fin", Type::Bool),
            ("window", U16),
            ("checksum", U16),
            ("urgent_pointer", U16),
        ],
        after: &[
            After { header: "ipv4", when: IPV4_TCP },
            After { header: "ipv6", when: &[("version", &[6]), ("next_header", &[6])] },
        ],
    },
    Header {
        name: "udp",
        ty: "Udp",
        source: "RFC 768, after the ports",
        always: false,
        fields: UDP_FIELDS,
        after: &[
            After { header: "ipv4", when: IPV4_UDP },
            After { header: "ipv6", when: &[("version", &[6]), ("next_header", &[17])] },
        ],
    },
    Header {
        name: "icmp",
        ty: "Icmp",
        source: "RFC 792; `identifier` and `sequence` are the second word, whatever the type",
        always: false,
        fields: ICMP_FIELDS,
        after: &[After { header: "ipv4", when: IPV4_ICMP }],
    },
    Header {
        name: "inner_ipv4",
        ty: "Ipv4",
        source: "RFC 792: the packet that an ICMP error quotes",
        always: false,
        fields: IPV4_FIELDS,
        after: &[After { header: "icmp", when: &[("kind", ICMP_ERRORS)] }],
    },
    Header {
        name: "inner_ports",
        ty: "Ports",
        source: "RFC 792: the quoted packet's ports",
        always: false,
        fields: PORTS_FIELDS,
        after: &[After { header: "inner_ipv4", when: IPV4_PORTS }],
    },
    Header {
        name: "inner_udp",
        ty: "Udp",
        source: "RFC 792: the quoted packet's UDP header, after its ports",
        always: false,
        fields: UDP_FIELDS,
        after: &[After { header: "inner_ipv4", when: IPV4_UDP }],
    },
    Header {
        name: "inner_icmp",
        ty: "Icmp",
        source: "RFC 792: the quoted packet's ICMP header",
        always: false,
        fields: ICMP_FIELDS,
        after: &[After { header: "inner_ipv4", when: IPV4_ICMP }],
    },
];

/// The header of this name.
pub fn header(name: &str) -> Option<usize> {
    HEADERS.iter().position(|header| header.name == name)
}
