//! The counter at the end of its tutorial: a host that has sent its quota sends nothing more.

#[redplane_sdk::app(id = 2)]
pub mod counter {
    use redplane_sdk::prelude::*;

    /// The host that is counted.
    #[key]
    pub struct Host {
        pub addr: Ipv4Addr,
    }

    /// What it has sent.
    #[state(key = Host, slots = 4096, idle = "60s")]
    pub struct Sent {
        pub packets: u32,
    }

    // ANCHOR: quota
    /// How many packets a host may send.
    #[table(size = 1024)]
    pub type Quota = Lpm<Ipv4Addr, u32>;
    // ANCHOR_END: quota

    // ANCHOR: handler
    /// Counts every IPv4 packet of a host, exactly, through any failure, and ends at its quota.
    #[handler]
    pub fn count(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        let quota = cx.quota.lookup(ip.src);
        let mut sent = cx.sent.lease(Host { addr: ip.src })?; // the lease point
        if sent.packets >= quota {
            return cx.drop("over_quota");
        }
        sent.packets += 1;
        cx.forward()
    }
    // ANCHOR_END: handler
}
