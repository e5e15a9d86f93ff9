#[redplane_sdk::app(id = 1)]
pub mod counter {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
        pub port: u16,
    }

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
    pub enum Phase {
        Closed,
        Open,
    }

    #[state(key = Flow, slots = 1024, idle = "60s")]
    pub struct Count {
        pub packets: u32,
        pub phase: Phase,
//~                ^^^^^ RP0071
    }

    #[handler]
    pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let count = cx.count.lease(Flow { addr: ip.src, port: 1 })?;
        let _ = count.packets;
        cx.forward()
    }
}

fn main() {}
