#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub mod counter {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
        pub port: u16,
    }

    #[state(key = Flow, slots = 1024, idle = "60s")]
    pub struct Count {
        pub packets: u32,
        pub port: u16,
    }

    #[table(size = 4)]
    pub type Inside = Lpm<Ipv4Addr, bool>;

    #[handler]
    pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let end = source_of(pkt);
//~                         ^^^ RP0064
        cx.forward()
    }
}

fn main() {}
