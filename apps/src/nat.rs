//! NAPT as operators know it: endpoint-independent mapping and filtering, for TCP, UDP and ICMP echo, with the ICMP
//! errors about them (RFC 4787, RFC 5382, RFC 5508).

/// Network address and port translation.
#[redplane_sdk::app(id = 1)]
pub mod nat {
    use redplane_sdk::prelude::*;

    /// One end of a connection, as one side of the NAT sees it.
    #[key]
    pub struct Endpoint {
        /// Its address.
        pub addr: Ipv4Addr,
        /// TCP or UDP port, or ICMP identifier.
        pub port: u16,
        /// IP protocol: each has its own ports.
        pub protocol: u8,
    }

    /// The end that stands in for it on the other side.
    #[state(key = Endpoint, slots = 65_536, idle = "300s")]
    pub struct Binding {
        /// Its address.
        pub addr: Ipv4Addr,
        /// TCP or UDP port, or ICMP identifier.
        pub port: u16,
    }

    /// Which source prefixes are inside.
    #[table(size = 64)]
    pub type Inside = Lpm<Ipv4Addr, bool>;

    /// The public addresses of this NAT.
    #[table(size = 64)]
    pub type Public = Lpm<Ipv4Addr, bool>;

    /// Public addresses and ports that may be given away.
    #[config]
    pub struct Pool {
        /// The addresses.
        pub addresses: Vec<Ipv4Addr>,
        /// The first port of each.
        pub first_port: u16,
        /// The last one.
        pub last_port: u16,
    }

    /// Ports of one address that are tried for a new inside end: what one packet may cost the store when it is full.
    const SEARCH_MAX: usize = 2048;

    const ECHO_REPLY: u8 = 0;
    const ECHO_REQUEST: u8 = 8;

    /// Translates the source of what leaves and the destination of what comes in.
    #[handler]
    pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        if ip.more_fragments || ip.fragment_offset != u13::new(0) {
            return cx.drop("fragment");
        }
        let from_inside = cx.inside.lookup(ip.src);
        let to_public = cx.public.lookup(ip.dst);
        if !from_inside && !to_public {
            return cx.drop("not_ours");
        }

        // An ICMP error quotes a packet of ours: translate the quote, and the error with it (RFC 5508 REQ-3 to 5).
        if let Some(quote) = &mut pkt.inner_ipv4 {
            let port = if let Some(ports) = &pkt.inner_ports {
                if from_inside { ports.dst } else { ports.src }
            } else if let Some(echo) = &pkt.inner_icmp {
                echo.identifier
            } else {
                return cx.drop("icmp_quote");
            };
            let addr = if from_inside { quote.dst } else { quote.src };
            let Some(other) = cx.binding.find(Endpoint { addr, port, protocol: quote.protocol })? else {
                return cx.drop("unsolicited");
            };
            if let Some(ports) = &mut pkt.inner_ports {
                if from_inside { ports.dst = other.port } else { ports.src = other.port }
            } else if let Some(echo) = &mut pkt.inner_icmp {
                echo.identifier = other.port;
            }
            if from_inside {
                ip.src = other.addr;
                quote.dst = other.addr;
            } else {
                ip.dst = other.addr;
                quote.src = other.addr;
            }
            return if from_inside && to_public { cx.recirculate() } else { cx.forward() };
        }
        let port = if let Some(ports) = &pkt.ports {
            if from_inside { ports.src } else { ports.dst }
        } else if let Some(echo) = &pkt.icmp {
            if echo.kind != ECHO_REQUEST && echo.kind != ECHO_REPLY {
                return cx.drop("icmp_kind");
            }
            echo.identifier
        } else {
            return cx.drop("not_translatable"); // another protocol, or IPv4 options, behind which no port is seen
        };
        if from_inside {
            let public = cx.binding.lease(Endpoint { addr: ip.src, port, protocol: ip.protocol })?;
            ip.src = public.addr;
            if let Some(ports) = &mut pkt.ports {
                ports.src = public.port;
            } else if let Some(echo) = &mut pkt.icmp {
                echo.identifier = public.port;
            }
            // Hairpin (RFC 4787 REQ-9): a second pass translates the destination.
            return if to_public { cx.recirculate() } else { cx.forward() };
        }
        let Some(private) = cx.binding.find(Endpoint { addr: ip.dst, port, protocol: ip.protocol })? else {
            return cx.drop("unsolicited");
        };
        ip.dst = private.addr;
        if let Some(ports) = &mut pkt.ports {
            ports.dst = private.port;
        } else if let Some(echo) = &mut pkt.icmp {
            echo.identifier = private.port;
        }
        cx.forward()
    }

    /// Chooses the public end of a new inside one: the same port if it is free, else one of the same parity, else any
    /// (RFC 4787 REQ-3 and 4), and makes the way back. A host keeps to one address while that has room (REQ-2).
    #[on_create]
    pub fn bind(
        key: &Endpoint,
        records: &mut Creation<Endpoint, Binding>,
        pool: &Pool,
    ) -> Result<Binding, Refusal> {
        let host = u32::from(key.addr).wrapping_mul(0x9e37_79b1) >> 16; // Fibonacci hashing: a fixed, even spread
        let start = host ^ u32::from(key.port);
        let ports = pool.first_port..=pool.last_port;
        let walk = |odd| {
            let at = pool.first_port + (start % ports.len().max(1) as u32) as u16;
            (at..=pool.last_port).chain(pool.first_port..at).filter(move |port| (port ^ key.port) & 1 == odd)
        };
        for turn in 0..pool.addresses.len() {
            let addr = pool.addresses[(host as usize + turn) % pool.addresses.len()];
            let same = Some(key.port).filter(|port| ports.contains(port));
            for port in same.into_iter().chain(walk(0)).chain(walk(1)).take(SEARCH_MAX) {
                let public = Endpoint { addr, port, protocol: key.protocol };
                if records.is_free(&public) {
                    records.companion(public, Binding { addr: key.addr, port: key.port });
                    records.keep_for(Duration::from_secs(match key.protocol {
                        6 => 2 * 3600 + 4 * 60, // TCP: RFC 5382 REQ-5
                        17 => 5 * 60,           // UDP: RFC 4787 REQ-5
                        _ => 60,                // ICMP: RFC 5508 REQ-2
                    }));
                    return Ok(Binding { addr, port });
                }
            }
        }
        Err(Refusal("pool_exhausted"))
    }
}
