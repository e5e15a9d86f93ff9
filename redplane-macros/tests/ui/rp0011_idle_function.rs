#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub mod counter {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
        pub port: u16,
    }

    #[state(key = Flow, slots = 1024, idle = silence)]
//~                                          ^^^^^^^ RP0011
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
