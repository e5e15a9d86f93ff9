#[redplane_sdk::app(id = 1)]
pub mod counter {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
    }

    #[state(key = Flow, slots = 1024, idle = "60s")]
    pub struct Count {
        pub packets: u32,
    }

    #[header]
    pub struct Request {
//~            ^^^^^^^ RP0072
        pub kind: u8,
    }

    #[repr(u8)]
    pub enum Kind {
        Get,
        Put,
    }

    #[header]
    pub struct Answer {
        pub kind: Kind,
//~         ^^^^ RP0072
        pub reserved: u8,
    }

    #[packet]
    pub struct Message {}

    #[handler]
    pub fn process(pkt: &mut Message, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let mut count = cx.count.lease(Flow { addr: ip.src })?;
        count.packets += 1;
        cx.forward()
    }
}

fn main() {}
