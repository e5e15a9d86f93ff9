//! An exact count of what each host sends.

// ANCHOR: app
#[redplane_sdk::app(id = 2)]
pub mod counter {
    use redplane_sdk::prelude::*;

    // ANCHOR: key
    /// The host that is counted.
    #[key]
    pub struct Host {
        pub addr: Ipv4Addr,
    }
    // ANCHOR_END: key

    // ANCHOR: state
    /// What it has sent.
    #[state(key = Host, slots = 4096, idle = "60s")]
    pub struct Sent {
        pub packets: u32,
    }
    // ANCHOR_END: state

    // ANCHOR: handler
    /// Counts every IPv4 packet of a host, exactly, through any failure.
    #[handler]
    pub fn count(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        let mut sent = cx.sent.lease(Host { addr: ip.src })?; // the lease point
        sent.packets += 1;
        cx.forward()
    }
    // ANCHOR_END: handler
}
// ANCHOR_END: app
