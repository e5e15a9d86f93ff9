//! An app that writes: it counts packets per destination, and stamps each with its count.

use redplane_sdk::prelude::*;
use redplane_sdk::{App, ops};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Flow {
    pub(crate) dst: Ipv4Addr,
}
redplane_sdk::impl_fixed!(Flow { dst: Ipv4Addr });

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Count {
    pub(crate) packets: u16,
}
redplane_sdk::impl_fixed!(Count { packets: u16 });

/// What a packet asks for is its UDP destination port.
pub(crate) mod port {
    pub(crate) const READ: u16 = 1;
    pub(crate) const COUNT: u16 = 2;
    pub(crate) const COUNT_AND_DROP: u16 = 3;
    pub(crate) const COUNT_AND_REPLY: u16 = 4;
    pub(crate) const COUNT_AND_RECIRCULATE: u16 = 5;
    pub(crate) const RECIRCULATE: u16 = 6;
    pub(crate) const COUNT_AND_FORWARD: u16 = 7;
    pub(crate) const REPLY_ON_THE_SECOND_PASS: u16 = 8;
    pub(crate) const COUNT_AND_SEND_NOWHERE: u16 = 9;
    pub(crate) const COUNT_AND_SEND_BEYOND: u16 = 10;
}

/// Where counted packets leave.
pub(crate) const OUT: u16 = 9;

pub(crate) struct Counter;

impl App for Counter {
    type Key = Flow;
    type State = Count;
    type Tables = ();
    type Config = ();

    const NAME: &'static str = "counter";
    const ID: u16 = 2;
    const FINGERPRINT: u16 = 0x434f;
    const IR_HASH: u64 = 0;
    const SLOTS: u32 = 16;
    const REASONS: &'static [&'static str] = &["not_udp", "asked_to"];

    fn handle<'a>(
        packet: &mut Packet,
        mut state: StateHandle<'a, Flow, Count>,
        (): &'a (),
        ingress_port: u16,
    ) -> Handled {
        let (Some(ipv4), Some(ports), Some(_)) = (&mut packet.ipv4, &mut packet.ports, &packet.udp) else {
            return Ok(Verdict::Drop("not_udp"));
        };
        if ports.dst == port::RECIRCULATE {
            return Ok(Verdict::Recirculate);
        }
        if ports.dst == port::REPLY_ON_THE_SECOND_PASS {
            return Ok(if ingress_port == 0xfffe { Verdict::Reply } else { Verdict::Recirculate });
        }
        let mut count = state.lease(Flow { dst: ipv4.dst })?;
        if ports.dst == port::READ {
            ports.src = count.packets;
            return Ok(Verdict::To(OUT));
        }
        count.packets = ops::add(count.packets, 1);
        ports.src = count.packets;
        Ok(match ports.dst {
            port::COUNT => Verdict::To(OUT),
            port::COUNT_AND_REPLY => Verdict::Reply,
            port::COUNT_AND_FORWARD => Verdict::Forward,
            port::COUNT_AND_RECIRCULATE => {
                ports.dst = port::READ;
                Verdict::Recirculate
            }
            port::COUNT_AND_SEND_NOWHERE => Verdict::To(0xfffe),
            port::COUNT_AND_SEND_BEYOND => Verdict::To(511),
            port::COUNT_AND_DROP => Verdict::Drop("asked_to"),
            _ => Verdict::Drop("nobody_declared_this"),
        })
    }

    fn idle(_: &Flow, _: &Count) -> Duration {
        Duration::from_secs(1)
    }

    fn create(_: &Flow, _: &mut Creation<'_, Flow, Count>, (): &()) -> Result<Count, Refusal> {
        Ok(Count { packets: 100 })
    }
}
