//! The app of the drill: every packet counts, and leaves with the count.

use std::net::Ipv4Addr;
use std::time::Duration;

use redplane_sdk::App as _;

/// For how long the store keeps a count without traffic.
pub(crate) fn idle() -> Duration {
    tally::App::idle(&tally::Receiver { addr: Ipv4Addr::UNSPECIFIED }, &tally::Tally { packets: 0 })
}

/// Counts packets per receiver, for long: the count has 32 bits, and the switch room for all keys.
#[redplane_sdk::app(id = 4)]
pub mod tally {
    use redplane_sdk::prelude::*;

    /// Who is sent to.
    #[key]
    pub struct Receiver {
        /// Its address.
        pub addr: Ipv4Addr,
    }

    /// What was counted.
    #[state(key = Receiver, slots = 131_072, idle = "3600s")]
    pub struct Tally {
        /// How many packets.
        pub packets: u32,
    }

    /// UDP destination port of packets that only ask. Every other one counts.
    const SHOW: u16 = 2;

    /// Where everything leaves.
    const OUT: u16 = 1;

    /// Counts, or only shows. What leaves has the count's upper half as source port and its lower half as IPv4
    /// identification.
    #[handler]
    pub fn count(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let Some(ports) = &mut pkt.ports else { return cx.drop("no_ports") };
        let mut tally = cx.tally.lease(Receiver { addr: ip.dst })?;
        if ports.dst != SHOW {
            tally.packets = tally.packets + 1;
        }
        ip.identification = tally.packets as u16;
        ports.src = (tally.packets >> 16) as u16;
        cx.to(OUT)
    }
}
