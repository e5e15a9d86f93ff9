// The conversation that a packet belongs to. A module gets of this what it names; it is compiled as if it stood there.
// An ICMP error belongs to the conversation of the packet that it quotes, as if it came from the quoted packet's
// destination (RFC 5508, section 4.2): so it has a 5-tuple like any packet, and is translated like any.

/// What tells one conversation from another: the 5-tuple. Both ports are the identifier in ICMP echo (RFC 5508), and zero
/// where there are neither.
pub struct FiveTuple {
    /// Source address.
    pub src: Ipv4Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Destination port.
    pub dst_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

/// One end of a conversation.
pub struct Endpoint {
    /// Its address.
    pub addr: Ipv4Addr,
    /// TCP or UDP port, or ICMP identifier.
    pub port: u16,
    /// IP protocol: each has its own ports.
    pub protocol: u8,
}

/// Type of an ICMP echo request (RFC 792).
pub const ECHO_REQUEST: u8 = 8;

/// Type of the answer to one.
pub const ECHO_REPLY: u8 = 0;

/// Whether the packet quotes another: an ICMP error.
#[inline]
pub fn is_error(pkt: &Packet) -> bool {
    pkt.inner_ipv4.is_some()
}

/// Whether it is an echo request or the answer to one.
#[inline]
pub fn is_echo(icmp: &Icmp) -> bool {
    icmp.kind == ECHO_REQUEST || icmp.kind == ECHO_REPLY
}

/// Whether the packet tells its conversation: it is, or quotes, TCP, UDP or ICMP echo.
#[inline]
pub fn has_conversation(pkt: &Packet) -> bool {
    if pkt.inner_ipv4.is_some() {
        if let Some(icmp) = &pkt.inner_icmp { is_echo(icmp) } else { pkt.inner_ports.is_some() }
    } else {
        if let Some(icmp) = &pkt.icmp { is_echo(icmp) } else { pkt.ports.is_some() }
    }
}

/// Whether the packet may begin a conversation: a SYN without ACK, or neither TCP nor an ICMP error.
#[inline]
pub fn may_open(pkt: &Packet) -> bool {
    if let Some(tcp) = &pkt.tcp { tcp.syn && !tcp.ack } else { pkt.inner_ipv4.is_none() }
}

/// The 5-tuple of the packet.
#[inline]
pub fn five_tuple(pkt: &Packet) -> FiveTuple {
    if let Some(quote) = &pkt.inner_ipv4 {
        reversed(tuple_of(quote, &pkt.inner_ports, &pkt.inner_icmp))
    } else if let Some(ip) = &pkt.ipv4 {
        tuple_of(ip, &pkt.ports, &pkt.icmp)
    } else {
        let nowhere = Ipv4Addr::new(0, 0, 0, 0);
        FiveTuple { src: nowhere, src_port: 0, dst: nowhere, dst_port: 0, protocol: 0 }
    }
}

/// The 5-tuple by these headers.
#[inline]
pub fn tuple_of(ip: &Ipv4, ports: &Option<Ports>, echo: &Option<Icmp>) -> FiveTuple {
    let mut src_port = 0u16;
    let mut dst_port = 0u16;
    if let Some(ports) = ports {
        src_port = ports.src;
        dst_port = ports.dst;
    } else if let Some(echo) = echo {
        src_port = echo.identifier;
        dst_port = echo.identifier;
    }
    FiveTuple { src: ip.src, src_port, dst: ip.dst, dst_port, protocol: ip.protocol }
}

/// The 5-tuple of the other direction.
#[inline]
pub fn reversed(tuple: FiveTuple) -> FiveTuple {
    FiveTuple {
        src: tuple.dst,
        src_port: tuple.dst_port,
        dst: tuple.src,
        dst_port: tuple.src_port,
        protocol: tuple.protocol,
    }
}

/// Who speaks.
#[inline]
pub fn source_of(tuple: FiveTuple) -> Endpoint {
    Endpoint { addr: tuple.src, port: tuple.src_port, protocol: tuple.protocol }
}

/// Who is spoken to.
#[inline]
pub fn destination_of(tuple: FiveTuple) -> Endpoint {
    Endpoint { addr: tuple.dst, port: tuple.dst_port, protocol: tuple.protocol }
}

/// Makes another end the source of the packet; in an ICMP error, the destination of the quoted one too.
#[inline]
pub fn set_source(pkt: &mut Packet, addr: Ipv4Addr, port: u16) {
    if let Some(ip) = &mut pkt.ipv4 {
        ip.src = addr;
    }
    if let Some(quote) = &mut pkt.inner_ipv4 {
        quote.dst = addr;
        if let Some(ports) = &mut pkt.inner_ports {
            ports.dst = port;
        } else if let Some(echo) = &mut pkt.inner_icmp {
            echo.identifier = port;
        }
    } else if let Some(ports) = &mut pkt.ports {
        ports.src = port;
    } else if let Some(echo) = &mut pkt.icmp {
        echo.identifier = port;
    }
}

/// Makes another end the destination of the packet; in an ICMP error, the source of the quoted one too.
#[inline]
pub fn set_destination(pkt: &mut Packet, addr: Ipv4Addr, port: u16) {
    if let Some(ip) = &mut pkt.ipv4 {
        ip.dst = addr;
    }
    if let Some(quote) = &mut pkt.inner_ipv4 {
        quote.src = addr;
        if let Some(ports) = &mut pkt.inner_ports {
            ports.src = port;
        } else if let Some(echo) = &mut pkt.inner_icmp {
            echo.identifier = port;
        }
    } else if let Some(ports) = &mut pkt.ports {
        ports.dst = port;
    } else if let Some(echo) = &mut pkt.icmp {
        echo.identifier = port;
    }
}
