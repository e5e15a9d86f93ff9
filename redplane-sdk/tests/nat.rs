//! A NAPT written by hand in the shape that `#[redplane_sdk::app]` gives its module.

use redplane_sdk::prelude::*;

/// One end of a connection, as this side of the NAT sees it. For ICMP echo the port is the identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    pub addr: Ipv4Addr,
    pub port: u16,
    pub protocol: u8,
}
redplane_sdk::impl_fixed!(Endpoint { addr: Ipv4Addr, port: u16, protocol: u8 });

/// The end that stands in for it on the other side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Binding {
    pub addr: Ipv4Addr,
    pub port: u16,
}
redplane_sdk::impl_fixed!(Binding { addr: Ipv4Addr, port: u16 });

/// Source prefixes that are inside.
pub type Inside = Lpm<Ipv4Addr, bool, 64>;

/// Public addresses of this NAT.
pub type Public = Lpm<Ipv4Addr, bool, 64>;

/// Public addresses and ports that may be given away.
#[derive(Clone, Debug, redplane_sdk::serde::Deserialize)]
#[serde(crate = "::redplane_sdk::serde")]
pub struct Pool {
    pub addresses: Vec<Ipv4Addr>,
    pub first_port: u16,
    pub last_port: u16,
}

const ICMP: u8 = 1;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled {
    let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
    if ip.more_fragments || ip.fragment_offset != u13::new(0) {
        return cx.drop("fragment");
    }
    let from_inside = cx.inside.lookup(ip.src);
    let to_public = cx.public.lookup(ip.dst);

    if pkt.inner_ipv4.is_some() {
        return translate_quote(pkt, cx, from_inside, to_public);
    }

    let (source, destination);
    if let Some(ports) = &pkt.ports {
        (source, destination) = (ports.src, ports.dst);
    } else if let Some(echo) = &pkt.icmp {
        if ip.protocol != ICMP || (echo.kind != ECHO_REPLY && echo.kind != ECHO_REQUEST) {
            return cx.drop("icmp_kind");
        }
        (source, destination) = (echo.identifier, echo.identifier);
    } else {
        return cx.drop("protocol");
    }

    if from_inside {
        let public = cx.binding.lease(Endpoint { addr: ip.src, port: source, protocol: ip.protocol })?;
        ip.src = public.addr;
        if let Some(ports) = &mut pkt.ports {
            ports.src = public.port;
        } else if let Some(echo) = &mut pkt.icmp {
            echo.identifier = public.port;
        }
        if to_public {
            // A hairpin: the second pass translates the destination.
            return cx.recirculate();
        }
        return cx.forward();
    }
    if !to_public {
        return cx.drop("not_ours");
    }
    let Some(private) =
        cx.binding.find(Endpoint { addr: ip.dst, port: destination, protocol: ip.protocol })?
    else {
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

/// An ICMP error speaks about a packet of ours: translates that packet, and the error with it.
fn translate_quote(pkt: &mut Packet, cx: &mut Context, from_inside: bool, to_public: bool) -> Handled {
    let (Some(ip), Some(inner)) = (&mut pkt.ipv4, &mut pkt.inner_ipv4) else { return cx.drop("icmp_quote") };
    let port;
    if let Some(ports) = &pkt.inner_ports {
        port = if from_inside { ports.dst } else { ports.src };
    } else if let Some(echo) = &pkt.inner_icmp {
        port = echo.identifier;
    } else {
        return cx.drop("icmp_quote");
    }
    if !from_inside && !to_public {
        return cx.drop("not_ours");
    }
    let addr = if from_inside { inner.dst } else { inner.src };
    let Some(other) = cx.binding.find(Endpoint { addr, port, protocol: inner.protocol })? else {
        return cx.drop("unsolicited");
    };
    if from_inside {
        inner.dst = other.addr;
        ip.src = other.addr;
    } else {
        inner.src = other.addr;
        ip.dst = other.addr;
    }
    if let Some(ports) = &mut pkt.inner_ports {
        if from_inside {
            ports.dst = other.port;
        } else {
            ports.src = other.port;
        }
    } else if let Some(echo) = &mut pkt.inner_icmp {
        echo.identifier = other.port;
    }
    cx.forward()
}

/// Chooses a free public port of the same shard: the same one if it is free, else one of the same parity (RFC 4787).
pub fn bind(
    key: &Endpoint,
    records: &mut Creation<'_, Endpoint, Binding>,
    pool: &Pool,
) -> Result<Binding, Refusal> {
    if key.port == 666 {
        return Err(Refusal("unwanted"));
    }
    let same = (pool.first_port..=pool.last_port).filter(|port| *port == key.port);
    let parity = (pool.first_port..=pool.last_port).filter(|port| port % 2 == key.port % 2);
    for port in same.chain(parity) {
        for addr in &pool.addresses {
            let public = Endpoint { addr: *addr, port, protocol: key.protocol };
            if records.is_free(&public) {
                records.companion(public, Binding { addr: key.addr, port: key.port });
                return Ok(Binding { addr: *addr, port });
            }
        }
    }
    Err(Refusal("ports_exhausted"))
}

#[derive(Clone, Debug, Default, redplane_sdk::serde::Deserialize)]
#[serde(crate = "::redplane_sdk::serde", default, deny_unknown_fields)]
pub struct Tables {
    pub inside: Inside,
    pub public: Public,
}

pub struct Context<'a> {
    pub binding: StateHandle<'a, Endpoint, Binding>,
    pub inside: &'a Inside,
    pub public: &'a Public,
    pub ingress_port: u16,
}

#[allow(dead_code, reason = "every app has every verdict")]
impl Context<'_> {
    pub fn forward(&self) -> Handled {
        Ok(Verdict::Forward)
    }
    pub fn to(&self, port: u16) -> Handled {
        Ok(Verdict::To(port))
    }
    pub fn reply(&self) -> Handled {
        Ok(Verdict::Reply)
    }
    pub fn recirculate(&self) -> Handled {
        Ok(Verdict::Recirculate)
    }
    pub fn drop(&self, reason: &'static str) -> Handled {
        Ok(Verdict::Drop(reason))
    }
}

pub struct App;

impl redplane_sdk::App for App {
    type Key = Endpoint;
    type State = Binding;
    type Tables = Tables;
    type Config = Pool;

    const NAME: &'static str = "nat";
    const ID: u16 = 1;
    const FINGERPRINT: u16 = 0x4e41;
    const IR_HASH: u64 = 0;
    const SLOTS: u32 = 65_536;
    const IDLE: Duration = Duration::from_secs(300);
    const REASONS: &'static [&'static str] =
        &["not_ipv4", "fragment", "icmp_quote", "not_ours", "unsolicited", "icmp_kind", "protocol"];

    fn handle<'a>(
        packet: &mut Packet,
        state: StateHandle<'a, Endpoint, Binding>,
        tables: &'a Tables,
        ingress_port: u16,
    ) -> Handled {
        let mut context =
            Context { binding: state, inside: &tables.inside, public: &tables.public, ingress_port };
        translate(packet, &mut context)
    }

    fn create(
        key: &Endpoint,
        records: &mut Creation<'_, Endpoint, Binding>,
        config: &Pool,
    ) -> Result<Binding, Refusal> {
        bind(key, records, config)
    }
}
