//! The app that shows its state: every packet counts, and leaves with the count.

/// Counts packets per receiver. Few slots, so that keys push each other out.
#[redplane_sdk::app(id = 2)]
pub mod counter {
    use redplane_sdk::prelude::*;

    /// Who is sent to.
    #[key]
    pub struct Receiver {
        /// Its address.
        pub addr: Ipv4Addr,
    }

    /// What was counted.
    #[state(key = Receiver, slots = 4, idle = "5s")]
    pub struct Count {
        /// How many packets.
        pub packets: u16,
    }

    /// UDP destination ports: what a packet asks for. Every other one counts.
    const SHOW: u16 = 2;
    const PEEK: u16 = 3;
    const COUNT_AND_DROP: u16 = 4;
    const COUNT_AND_SHOW_AGAIN: u16 = 5;

    /// Where everything leaves.
    const OUT: u16 = 1;

    /// Counts, or only shows. What leaves has the count as IPv4 identification; source port 0 says that there is none.
    #[handler]
    pub fn count(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let Some(ports) = &mut pkt.ports else { return cx.drop("no_ports") };
        if ports.dst == PEEK {
            let Some(count) = cx.count.find(Receiver { addr: ip.dst })? else {
                ports.src = 0;
                return cx.to(OUT);
            };
            ip.identification = count.packets;
            return cx.to(OUT);
        }
        let mut count = cx.count.lease(Receiver { addr: ip.dst })?;
        if ports.dst == SHOW {
            ip.identification = count.packets;
            return cx.to(OUT);
        }
        count.packets = count.packets + 1;
        ip.identification = count.packets;
        if ports.dst == COUNT_AND_DROP {
            return cx.drop("counted");
        }
        if ports.dst == COUNT_AND_SHOW_AGAIN {
            ports.dst = SHOW;
            return cx.recirculate();
        }
        cx.to(OUT)
    }
}
