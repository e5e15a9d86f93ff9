#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub mod counter {
//~     ^^^^^^^ RP0007
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
        pub port: u16,
    }

    #[handler]
    pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {
        cx.forward()
    }
}

fn main() {}
