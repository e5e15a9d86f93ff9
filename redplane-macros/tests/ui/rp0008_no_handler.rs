#![allow(unused)]

#[redplane_sdk::app(id = 1)]
pub mod counter {
//~     ^^^^^^^ RP0008
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
}

fn main() {}
