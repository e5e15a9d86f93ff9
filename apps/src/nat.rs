//! NAPT as operators know it: endpoint-independent mapping and filtering, for TCP, UDP and ICMP echo, with the ICMP
//! errors about them (RFC 4787, RFC 5382, RFC 5508).

/// Network address and port translation.
#[redplane_sdk::app(id = 1)]
pub mod nat {
    use redplane_sdk::prelude::*;

    // ANCHOR: records
    /// The end that stands in for it on the other side.
    #[state(key = Endpoint, slots = 65_536, idle = silence)]
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

    /// Translates the source of what leaves and the destination of what comes in.
    #[handler]
    pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
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
        if !has_conversation(pkt) {
            return cx.drop("not_translatable"); // another protocol, or IPv4 options, behind which no port is seen
        }
        // ANCHOR: key
        // An ICMP error is of the conversation that it quotes a packet of, and is translated with it (RFC 5508 REQ-3 to 5).
        let tuple = five_tuple(pkt);
        let end = if from_inside { source_of(tuple) } else { destination_of(tuple) };
        // ANCHOR_END: key
        // ANCHOR: lease
        let other = if from_inside && !is_error(pkt) {
            cx.binding.lease(end)?
        } else {
            let Some(other) = cx.binding.find(end)? else { return cx.drop("unsolicited") };
            other
        };
        // ANCHOR_END: lease
        // ANCHOR: rewrite
        if from_inside {
            set_source(pkt, other.addr, other.port);
        } else {
            set_destination(pkt, other.addr, other.port);
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
        Ok(Binding { addr: public.addr, port: public.port })
    }
    // ANCHOR_END: on_create

    // ANCHOR: idle
    /// For how long a binding that nobody uses is kept.
    pub fn silence(end: &Endpoint, _: &Binding) -> Duration {
        idle_of(end.protocol)
    }
    // ANCHOR_END: idle
}
