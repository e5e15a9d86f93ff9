//! Headers of its own in every place that there is, of every width, with values that are changed. Some have names that P4 or
//! the emitted machinery has for something else.

/// Takes labels apart, counts them, and lets some of them go round once more.
#[redplane_sdk::app(id = 14)]
pub(crate) mod labels {
    use redplane_sdk::prelude::*;

    /// Whose label it is.
    #[key]
    pub struct Ports {
        pub label: u20,
        pub urgent: bool,
    }

    /// What was seen of it.
    #[state(key = Ports, slots = 256, idle = "60s")]
    pub struct Seen {
        pub packets: u16,
        pub from: Ipv4Addr,
        pub stamp: u48,
        pub mark: bool,
    }

    /// Behind Ethernet, a tag, a tunnel, or another one.
    #[header]
    pub struct Shim {
        pub label: u20,
        pub select: u3,
        pub bottom: bool,
        pub ttl: u8,
    }

    /// Behind IPv4.
    #[header]
    pub struct RpUdp {
        pub urgent: bool,
        pub version: u3,
        pub protocol: u12,
        pub peer: Ipv4Addr,
    }

    /// Behind UDP.
    #[header]
    pub struct Udp {
        pub kind: u8,
        pub count: u24,
        pub label: u20,
        pub left: u4,
        pub next: u8,
    }

    /// Behind a report, of widths that lie across words.
    #[header]
    pub struct Stamp {
        pub first: u1,
        pub time: u48,
        pub rest: u15,
        pub apply: MacAddr,
    }

    /// Behind a stamp.
    #[header]
    pub struct Trail {
        pub hops: u32,
        pub host: Ipv6Addr,
    }

    /// With labels.
    #[packet]
    pub struct Labelled {
        #[after(ethernet, ether_type = 0x8847)]
        pub shim: Option<Shim>,
        #[after(vlan, ether_type = 0x8848)]
        pub rp_key: Option<Shim>,
        #[after(ipv4, protocol = 99)]
        pub table: Option<RpUdp>,
        #[after(udp, dst_port = 443)]
        pub ipv4_rest: Option<Udp>,
        #[after(table, protocol = 6)]
        pub inner: Option<Shim>,
        #[after(ipv4_rest, next = 2)]
        pub after_udp: Option<Stamp>,
        #[after(after_udp, rest = 3)]
        pub trail: Option<Trail>,
        #[after(shim, bottom = 0)]
        pub second: Option<Shim>,
    }

    /// One label further.
    #[handler]
    pub fn pass(pkt: &mut Labelled, cx: &mut Context) -> Handled {
        if let Some(shim) = &mut pkt.shim {
            if shim.ttl == 0 {
                return cx.drop("label_expired");
            }
            let name = Ports { label: shim.label, urgent: shim.bottom };
            let mut seen = cx.seen.lease(name)?;
            seen.packets = seen.packets + 1;
            shim.ttl = shim.ttl - 1;
            if let Some(second) = &mut pkt.second {
                second.label = shim.label + u20::new(1);
                second.bottom = seen.mark;
            } else {
                shim.bottom = false;
            }
            return cx.to(2);
        }
        if let Some(tagged) = &mut pkt.rp_key {
            tagged.select = tagged.select + u3::new(1);
            if tagged.select == u3::new(2) {
                return cx.reply();
            }
            return cx.recirculate();
        }
        if let Some(tunnel) = &mut pkt.table {
            let label = Ports { label: u20::new(9), urgent: tunnel.urgent };
            let Some(seen) = cx.seen.find(label)? else { return cx.via(tunnel.peer) };
            tunnel.urgent = !tunnel.urgent;
            tunnel.peer = seen.from;
            tunnel.protocol = tunnel.protocol + u12::new(0x123);
            if let Some(inner) = &mut pkt.inner {
                inner.select = u3::new(5);
            }
            return cx.forward();
        }
        let Some(report) = &mut pkt.ipv4_rest else { return cx.forward() };
        let Some(ip) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        let mut seen = cx.seen.lease(Ports { label: report.label, urgent: report.kind == 1 })?;
        report.left = report.left - u4::new(1);
        report.count = report.count + u24::new(257);
        if let Some(stamp) = &mut pkt.after_udp {
            seen.from = ip.src;
            seen.stamp = stamp.time;
            seen.mark = stamp.first == u1::new(1);
            stamp.time = stamp.time + u48::new(1);
            if let Some(trail) = &mut pkt.trail {
                trail.hops = trail.hops + 1;
            }
        }
        if report.left == u4::new(0) {
            report.next = 2;
            if let Some(ports) = &mut pkt.ports {
                ports.src = 53;
            }
            return cx.recirculate();
        }
        cx.forward()
    }
}
