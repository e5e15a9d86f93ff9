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
        pub kind: u16,
    }

    #[packet]
    pub struct Message {
        pub request: Option<Request>,
//~         ^^^^^^^ RP0073
        #[after(tcp, dst_port = 80)]
//~             ^^^ RP0073
        pub stream: Option<Request>,
        #[after(udp, dst_port = 21072)]
//~     ^ RP0073
        pub message: Option<Request>,
        #[after(udp, dst_port = 4800)]
        pub ports: Option<Request>,
//~         ^^^^^ RP0073
        #[after(udp, dst_port = 4800)]
        pub number: u16,
//~                 ^^^ RP0073
    }

    #[handler]
    pub fn process(pkt: &mut Message, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let mut count = cx.count.lease(Flow { addr: ip.src })?;
        count.packets += 1;
        cx.forward()
    }
}

fn main() {}
