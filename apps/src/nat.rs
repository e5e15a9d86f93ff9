//! NAPT as operators know it: endpoint-independent mapping and filtering, for TCP, UDP and ICMP echo, with the ICMP
//! errors about them (RFC 4787, RFC 5382, RFC 5508).

/// Network address and port translation.
#[redplane_sdk::app(id = 1)]
pub mod nat {
    use redplane_sdk::prelude::*;

    // ANCHOR: records
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
    // ANCHOR_END: records

    // ANCHOR: tables
    /// Which source prefixes are inside.
    #[table(size = 64)]
    pub type Inside = Lpm<Ipv4Addr, bool>;

    /// The public addresses of this NAT.
    #[table(size = 64)]
    pub type Public = Lpm<Ipv4Addr, bool>;
    // ANCHOR_END: tables

    // ANCHOR: pool
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
    // ANCHOR_END: pool

    /// Ports of one address that are tried for a new inside end: what one packet may cost the store when it is full.
    const SEARCH_MAX: usize = 2048;

    const ECHO_REPLY: u8 = 0;
    const ECHO_REQUEST: u8 = 8;

    // ANCHOR: ends
    /// One end of a packet.
    #[inline]
    fn end_of(ip: &Ipv4, ports: &Option<Ports>, echo: &Option<Icmp>, source: bool) -> Endpoint {
        let mut port = 0u16;
        if let Some(ports) = ports {
            port = if source { ports.src } else { ports.dst };
        } else if let Some(echo) = echo {
            port = echo.identifier;
        }
        Endpoint { addr: if source { ip.src } else { ip.dst }, port, protocol: ip.protocol }
    }

    /// Puts another end into a packet.
    #[inline]
    fn rewrite(
        ip: &mut Ipv4,
        ports: &mut Option<Ports>,
        echo: &mut Option<Icmp>,
        source: bool,
        to: &Binding,
    ) {
        if let Some(ports) = ports {
            if source { ports.src = to.port } else { ports.dst = to.port }
        } else if let Some(echo) = echo {
            echo.identifier = to.port;
        }
        if source { ip.src = to.addr } else { ip.dst = to.addr }
    }
    // ANCHOR_END: ends

    /// Translates the source of what leaves and the destination of what comes in.
    #[handler]
    pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        if ip.more_fragments || ip.fragment_offset != u13::new(0) {
            return cx.drop("fragment");
        }
        // ANCHOR: lookups
        let from_inside = cx.inside.lookup(ip.src);
        let to_public = cx.public.lookup(ip.dst);
        if !from_inside && !to_public {
            return cx.drop("not_ours");
        }
        // ANCHOR_END: lookups
        if let Some(echo) = &pkt.icmp {
            if pkt.inner_ipv4.is_none() && echo.kind != ECHO_REQUEST && echo.kind != ECHO_REPLY {
                return cx.drop("icmp_kind");
            }
        } else if pkt.ports.is_none() {
            return cx.drop("not_translatable"); // another protocol, or IPv4 options, behind which no port is seen
        }
        if pkt.inner_ipv4.is_some() && pkt.inner_ports.is_none() && pkt.inner_icmp.is_none() {
            return cx.drop("icmp_quote");
        }
        // ANCHOR: key
        // An ICMP error quotes a packet of ours: translate the quote, and the error with it (RFC 5508 REQ-3 to 5).
        let end = if let Some(quote) = &pkt.inner_ipv4 {
            end_of(quote, &pkt.inner_ports, &pkt.inner_icmp, !from_inside)
        } else {
            end_of(ip, &pkt.ports, &pkt.icmp, from_inside)
        };
        // ANCHOR_END: key
        // ANCHOR: lease
        let other = if from_inside && pkt.inner_ipv4.is_none() {
            cx.binding.lease(end)?
        } else {
            let Some(other) = cx.binding.find(end)? else { return cx.drop("unsolicited") };
            other
        };
        // ANCHOR_END: lease
        // ANCHOR: rewrite
        if let Some(quote) = &mut pkt.inner_ipv4 {
            rewrite(quote, &mut pkt.inner_ports, &mut pkt.inner_icmp, !from_inside, &other);
            if from_inside {
                ip.src = other.addr;
            } else {
                ip.dst = other.addr;
            }
        } else {
            rewrite(ip, &mut pkt.ports, &mut pkt.icmp, from_inside, &other);
        }
        // Hairpin (RFC 4787 REQ-9): a second pass translates the destination.
        if from_inside && to_public { cx.recirculate() } else { cx.forward() }
        // ANCHOR_END: rewrite
    }

    // ANCHOR: on_create
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
        let of_address = |turn| {
            let addr = pool.addresses[(host as usize + turn) % pool.addresses.len()];
            let same = Some(key.port).filter(|port| ports.contains(port)).into_iter();
            let tried = same.chain(walk(0)).chain(walk(1)).take(SEARCH_MAX);
            tried.map(move |port| Endpoint { addr, port, protocol: key.protocol })
        };
        let mut ends = (0..pool.addresses.len()).flat_map(of_address);
        let public = ends.find(|end| records.is_free(end)).ok_or(Refusal("pool_exhausted"))?;
        records.companion(public, Binding { addr: key.addr, port: key.port });
        records.keep_for(idle_of(key.protocol));
        Ok(Binding { addr: public.addr, port: public.port })
    }
    // ANCHOR_END: on_create
}
