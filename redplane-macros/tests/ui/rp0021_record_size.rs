#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub mod counter {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
//~            ^^^^ RP0021
        pub addr_0: Ipv6Addr,
        pub addr_1: Ipv6Addr,
        pub addr_2: Ipv6Addr,
        pub addr_3: Ipv6Addr,
        pub addr_4: Ipv6Addr,
    }

    #[state(key = Flow, slots = 1024, idle = "60s")]
    pub struct Count {
        pub packets: u32,
        pub port: u16,
    }

    #[handler]
    pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {
        cx.forward()
    }
}

fn main() {}
