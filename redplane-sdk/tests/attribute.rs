//! An app as its author writes it: what the attribute makes of it runs in the switch.

use std::net::Ipv4Addr;

use redplane_sdk::App as _;
use redplane_sdk::packet::Packet;
use redplane_sdk::pipeline::{Output, Switch};
use redplane_sdk::protocol::{Fixed, Ticks};

use crate::frames::Frame;
use crate::switch::rig::{CLIENT, SERVER, config};

/// Counts what goes to each address, in 13 bits.
#[allow(unreachable_pub, reason = "an app is public")]
#[redplane_sdk::app(id = 77)]
pub(crate) mod meter {
    use redplane_sdk::prelude::*;

    /// Who is sent to.
    #[key]
    pub struct Receiver {
        pub addr: Ipv4Addr,
    }

    /// How often.
    #[state(key = Receiver, slots = 64, idle = "10s")]
    pub struct Count {
        pub packets: u13,
        pub last: Ipv4Addr,
    }

    /// How much each count adds.
    #[table(size = 4)]
    pub type Step = Exact<u8, u16>;

    /// Counts.
    #[handler]
    pub fn count(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.drop("not_ipv4") };
        let step = cx.step.lookup(ip.protocol);
        let mut count = cx.count.lease(Receiver { addr: ip.dst })?;
        count.packets = count.packets + step as u13;
        count.last = ip.src;
        ip.identification = count.packets as u16;
        cx.to(5)
    }
}

#[test]
fn the_attribute_makes_an_app_that_the_switch_runs() {
    assert_eq!((meter::App::NAME, meter::App::ID, meter::App::SLOTS), ("meter", 77, 64));
    assert_eq!((meter::Receiver::LEN, meter::Count::LEN), (4, 6));
    assert_eq!(meter::App::REASONS, ["not_ipv4"]);
    let tables = serde_json::from_str(r#"{"step": {"17": 4096}}"#).expect("tables");
    let switch = Switch::<meter::App>::without_replication(config(), tables, (), Ticks(0));
    let mut switch = switch.expect("legal");
    for expected in [4096, 0, 4096] {
        let mut out = Output::new();
        let frame = Frame::udp((CLIENT, 1), (SERVER, 2), b"").build();
        switch.process(1, &frame, Ticks(0), &mut out);
        let (port, frame) = out.iter().next().expect("a packet");
        let ipv4 = Packet::parse(frame).expect("a packet").ipv4.expect("IPv4");
        assert_eq!((port, ipv4.identification), (5, expected), "it wraps at 13 bits");
    }
    assert_eq!(<meter::Count as Fixed>::zero().last, Ipv4Addr::UNSPECIFIED);
}
