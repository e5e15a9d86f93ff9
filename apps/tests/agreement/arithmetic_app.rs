//! Everything that a handler computes with, on one packet without state.

#![expect(unreachable_pub, reason = "an app is written as a library would write it")]

#[redplane_sdk::app(id = 2)]
pub mod arithmetic {
    use redplane_sdk::prelude::*;

    #[key]
    pub struct Flow {
        pub addr: Ipv4Addr,
    }

    #[state(key = Flow)]
    pub struct Count {
        pub packets: u32,
    }

    const STEP: u16 = 40_000;

    #[inline]
    fn mix(a: u16, b: u16) -> u16 {
        let product = a * b + STEP;
        if product & 1 == 1 { product >> 3 } else { product << 5 }
    }

    #[inline]
    fn finish(ip: &mut Ipv4, cx: &Context, port: u16) -> Handled {
        ip.ttl -= 100;
        if port < 1000 {
            return cx.reply();
        }
        match port {
            1000 | 2000..=9999 => cx.to(port),
            _ if ip.ttl > 200 => cx.drop("old"),
            _ => cx.forward(),
        }
    }

    #[handler]
    pub fn process(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let mut sum = cx.ingress_port;
        for i in 0..3 {
            sum += mix(ip.identification >> i, sum);
        }
        let small = sum as u13 + u13::new(7000);
        let low = (ip.identification as u8 - 200) as u4;
        let both = (u32::from(ip.src) ^ 0x5a5a_1234) * 3;
        if let Some(ports) = &mut pkt.ports
            && (ports.src > ports.dst || {
                sum = !sum;
                sum > 0x8000
            })
        {
            ports.src = small.value() - u16::from(low.value());
            ports.dst += sum;
        } else if pkt.icmp.is_none() && !ip.dont_fragment {
            sum -= 1;
        }
        ip.dst = Ipv4Addr::from(both << 2);
        ip.identification = match low.value() {
            0..=3 => sum,
            4 | 5 => 9,
            _ if both >= 0x8000_0000 => (both >> 7) as u16,
            _ => u16::MAX - sum,
        };
        finish(ip, cx, sum)
    }
}
