//! The packet as a handler sees it: one field a header, `None` where the packet has no such header.
//!
//! The headers and the graph by which they are parsed are those of `redplane_codegen::packet`, which the emitted P4
//! has too; a test compares the two.

mod deparse;
mod header;
mod mac;

use arbitrary_int::{u4, u13};

pub use header::{Ethernet, Icmp, Ipv4, Ipv6, Layout, Ports, Tcp, Udp, Vlan};
pub use mac::{MacAddr, MacAddrError};

use crate::checksum;
use crate::pipeline::Reason;

/// EtherType of IPv4 (IEEE 802 numbers).
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of a VLAN tag (IEEE 802.1Q).
pub const ETHERTYPE_VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IANA protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IANA protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// ICMP types that quote the packet they are about (RFC 792): destination unreachable, time exceeded, parameter
/// problem.
pub const ICMP_ERRORS: [u8; 3] = [3, 11, 12];

/// The headers of one packet. What follows the last of them is payload, and stays with the frame.
///
/// A handler changes fields. It neither adds nor removes headers: those that came in go out, whatever an `Option` says
/// by then. Checksums follow from the other fields ([`Packet::deparse`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The frame's header.
    pub ethernet: Ethernet,
    /// VLAN tag; one at most, a second is payload.
    pub vlan: Option<Vlan>,
    /// IPv4.
    pub ipv4: Option<Ipv4>,
    /// IPv6.
    pub ipv6: Option<Ipv6>,
    /// Ports of TCP or UDP; not there in later fragments and after IPv4 options.
    pub ports: Option<Ports>,
    /// The rest of the TCP header.
    pub tcp: Option<Tcp>,
    /// The rest of the UDP header.
    pub udp: Option<Udp>,
    /// ICMP.
    pub icmp: Option<Icmp>,
    /// The packet that an ICMP error quotes.
    pub inner_ipv4: Option<Ipv4>,
    /// The quoted packet's ports.
    pub inner_ports: Option<Ports>,
    /// The rest of the quoted packet's UDP header.
    pub inner_udp: Option<Udp>,
    /// The quoted packet's ICMP header.
    pub inner_icmp: Option<Icmp>,
    network_at: u8,
    header_len: u8,
    own: Own,
}

/// Most bytes of an app's own headers in one packet.
pub const OWN_MAX: usize = 64;

/// The bytes of an app's own headers, which follow the standard ones; zero behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Own {
    bytes: [u8; OWN_MAX],
    len: u8,
}

impl Default for Own {
    fn default() -> Self {
        Own { bytes: [0; OWN_MAX], len: 0 }
    }
}

/// A frame is not a packet that the switch takes in. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The frame ends within a header that the graph demands.
    #[error("the frame ends after {found} bytes, within the {header} header at {offset}")]
    Truncated {
        /// Name of the header.
        header: &'static str,
        /// Where the header starts.
        offset: usize,
        /// Length of the frame.
        found: usize,
    },
    /// An IPv4 header that contradicts itself or the frame.
    #[error("ipv4 {field} at {offset} is {found}")]
    Ipv4Malformed {
        /// Name of the field.
        field: &'static str,
        /// Where the header starts.
        offset: usize,
        /// The field's value.
        found: u16,
    },
    /// A wrong IPv4 header checksum.
    #[error("ipv4 checksum at {offset} is {found:#06x}, not {expected:#06x}")]
    Ipv4Checksum {
        /// Where the header starts.
        offset: usize,
        /// The right one.
        expected: u16,
        /// The header's.
        found: u16,
    },
}

impl ParseError {
    /// The drop reason.
    pub fn reason(&self) -> Reason {
        match self {
            ParseError::Truncated { .. } => Reason::ParseError,
            ParseError::Ipv4Malformed { .. } => Reason::Ipv4Malformed,
            ParseError::Ipv4Checksum { .. } => Reason::Ipv4Checksum,
        }
    }
}

/// Where the parser stands in a frame.
struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn take<const N: usize>(&mut self, header: &'static str) -> Result<&'a [u8; N], ParseError> {
        let error = ParseError::Truncated { header, offset: self.at, found: self.frame.len() };
        let bytes = self.frame.get(self.at..).and_then(<[u8]>::first_chunk).ok_or(error)?;
        self.at += N;
        Ok(bytes)
    }
}

impl Packet {
    /// Parses a frame: first all headers that the graph leads to, then what must hold of the outer IPv4 header.
    ///
    /// The IPv4 checksum is compared, not summed to zero, which is what a P4 target does: of the two zeros of one's
    /// complement only the one that a sender computes (RFC 1071) is right. It is not looked at if there are options, which
    /// are not parsed.
    ///
    /// # Errors
    /// [`ParseError`], the first in this order; each has its drop reason.
    pub fn parse(frame: &[u8]) -> Result<Packet, ParseError> {
        Packet::parse_with(frame, |_, _| Some(0))
    }

    /// [`Packet::parse`] for an app with headers of its own: `own` says how long they are together in the bytes that
    /// follow the standard ones, or that they end within one.
    ///
    /// # Errors
    /// [`ParseError`].
    #[inline]
    pub fn parse_with(
        frame: &[u8],
        own: impl FnOnce(&Packet, &[u8]) -> Option<usize>,
    ) -> Result<Packet, ParseError> {
        let mut cursor = Cursor { frame, at: 0 };
        let mut packet = Packet { ethernet: Ethernet::parse(cursor.take("ethernet")?), ..Packet::default() };
        let mut ether_type = packet.ethernet.ether_type;
        if ether_type == ETHERTYPE_VLAN {
            let vlan = Vlan::parse(cursor.take("vlan")?);
            ether_type = vlan.ether_type;
            packet.vlan = Some(vlan);
        }
        packet.network_at = cursor.at as u8;
        match ether_type {
            ETHERTYPE_IPV4 => {
                let bytes = cursor.take("ipv4")?;
                let ipv4 = Ipv4::parse(bytes);
                packet.ipv4 = Some(ipv4);
                packet.parse_transport(&mut cursor, &ipv4)?;
                packet.parse_own(&cursor, own)?;
                check_ipv4(bytes, &ipv4, usize::from(packet.network_at), frame.len())?;
            }
            ETHERTYPE_IPV6 => {
                let ipv6 = Ipv6::parse(cursor.take("ipv6")?);
                packet.ipv6 = Some(ipv6);
                if ipv6.version == u4::new(6) {
                    packet.parse_ports(&mut cursor, ipv6.next_header)?;
                }
                packet.parse_own(&cursor, own)?;
            }
            _ => packet.parse_own(&cursor, own)?,
        }
        Ok(packet)
    }

    /// The standard headers end here.
    #[inline]
    fn parse_own(
        &mut self,
        cursor: &Cursor<'_>,
        own: impl FnOnce(&Packet, &[u8]) -> Option<usize>,
    ) -> Result<(), ParseError> {
        self.header_len = cursor.at as u8;
        let rest = cursor.frame.get(cursor.at..).unwrap_or_default();
        let error = ParseError::Truncated { header: "own", offset: cursor.at, found: cursor.frame.len() };
        let len = own(self, rest).filter(|len| *len <= OWN_MAX.min(rest.len())).ok_or(error)?;
        self.own.bytes[..len].copy_from_slice(&rest[..len]);
        self.own.len = len as u8;
        Ok(())
    }

    /// The bytes of the app's own headers.
    pub fn own(&self) -> &[u8] {
        &self.own.bytes[..usize::from(self.own.len)]
    }

    /// The bytes of the app's own headers, to be changed.
    pub fn own_mut(&mut self) -> &mut [u8] {
        &mut self.own.bytes[..usize::from(self.own.len)]
    }

    /// Bytes of all standard headers together: the payload starts here, or the app's own headers do.
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// Where the IPv4 or IPv6 header starts.
    pub(crate) fn network_at(&self) -> usize {
        usize::from(self.network_at)
    }

    fn parse_transport(&mut self, cursor: &mut Cursor<'_>, ipv4: &Ipv4) -> Result<(), ParseError> {
        if !ipv4.leads_on() {
            return Ok(());
        }
        if ipv4.protocol != PROTOCOL_ICMP {
            return self.parse_ports(cursor, ipv4.protocol);
        }
        let icmp = Icmp::parse(cursor.take("icmp")?);
        self.icmp = Some(icmp);
        if ICMP_ERRORS.contains(&icmp.kind) { self.parse_quote(cursor) } else { Ok(()) }
    }

    fn parse_ports(&mut self, cursor: &mut Cursor<'_>, protocol: u8) -> Result<(), ParseError> {
        match protocol {
            PROTOCOL_TCP => {
                self.ports = Some(Ports::parse(cursor.take("ports")?));
                self.tcp = Some(Tcp::parse(cursor.take("tcp")?));
            }
            PROTOCOL_UDP => {
                self.ports = Some(Ports::parse(cursor.take("ports")?));
                self.udp = Some(Udp::parse(cursor.take("udp")?));
            }
            _ => {}
        }
        Ok(())
    }

    fn parse_quote(&mut self, cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
        let ipv4 = Ipv4::parse(cursor.take("inner_ipv4")?);
        self.inner_ipv4 = Some(ipv4);
        if !ipv4.leads_on() {
            return Ok(());
        }
        match ipv4.protocol {
            PROTOCOL_TCP => self.inner_ports = Some(Ports::parse(cursor.take("inner_ports")?)),
            PROTOCOL_UDP => {
                self.inner_ports = Some(Ports::parse(cursor.take("inner_ports")?));
                self.inner_udp = Some(Udp::parse(cursor.take("inner_udp")?));
            }
            PROTOCOL_ICMP => self.inner_icmp = Some(Icmp::parse(cursor.take("inner_icmp")?)),
            _ => {}
        }
        Ok(())
    }
}

impl Ipv4 {
    /// Whether the payload's first header follows: version 4, no options, not a later fragment.
    #[inline]
    pub fn leads_on(&self) -> bool {
        self.version == u4::new(4) && self.ihl == u4::new(5) && self.fragment_offset == u13::new(0)
    }
}

#[inline]
fn check_ipv4(
    bytes: &[u8; Ipv4::LEN],
    ipv4: &Ipv4,
    offset: usize,
    frame_len: usize,
) -> Result<(), ParseError> {
    let malformed = |field, found| Err(ParseError::Ipv4Malformed { field, offset, found });
    let ihl = u16::from(ipv4.ihl.value());
    if ipv4.version != u4::new(4) {
        return malformed("version", u16::from(ipv4.version.value()));
    }
    if ihl < 5 {
        return malformed("ihl", ihl);
    }
    if ipv4.total_len < 4 * ihl || usize::from(ipv4.total_len) > frame_len - offset {
        return malformed("total_len", ipv4.total_len);
    }
    if ihl > 5 {
        return Ok(());
    }
    let expected = !checksum::fold(checksum::sum(bytes) - u64::from(ipv4.checksum));
    if expected != ipv4.checksum {
        return Err(ParseError::Ipv4Checksum { offset, expected, found: ipv4.checksum });
    }
    Ok(())
}
