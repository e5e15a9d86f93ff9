//! An app that does a little of everything the language has, to be run in two ways.

/// Of no use to anybody.
#[expect(unreachable_pub, reason = "an app is written as a library would write it")]
#[expect(clippy::nonminimal_bool, reason = "the handler says things in every way that the language has")]
#[redplane_sdk::app(id = 9)]
pub mod puzzle {
    use redplane_sdk::prelude::*;

    /// A host.
    #[key]
    pub struct Host {
        /// Its address.
        pub addr: Ipv4Addr,
        /// A part of its port.
        pub part: u8,
    }

    /// How it behaves.
    #[repr(u8)]
    pub enum Mood {
        /// As ever.
        Calm,
        /// A little.
        Wary = 3,
        /// Very.
        Angry,
    }

    /// Something to look up by.
    pub struct Trait {
        /// How it behaves.
        pub mood: Mood,
        /// A part of its port.
        pub part: u8,
    }

    /// What a trait leads to.
    #[table(size = 16)]
    pub type Next = Ternary<Trait, Trait>;

    /// What is known of it.
    #[state(key = Host, slots = 16, idle = "10s")]
    pub struct Known {
        /// Packets, more or less.
        pub count: u32,
        /// A mix of what was seen.
        pub mix: u16,
        /// Three bits.
        pub phase: u3,
        /// Whether a SYN was seen.
        pub open: bool,
        /// The last host that it spoke to.
        pub peer: Ipv4Addr,
        /// How it behaves.
        pub mood: Mood,
    }

    /// A class for each address.
    #[table(size = 16)]
    pub type Class = Lpm<Ipv4Addr, u8>;

    const QUIET: u8 = 3;
    const MASK: u16 = 0x0ff0;

    /// What comes of a mood.
    #[inline]
    fn stirred(known: &Known, icmp: &Option<Icmp>, part: u8) -> Trait {
        let (mood, other) = (known.mood, part + 1);
        let mood = match mood {
            Mood::Calm if icmp.is_some() => Mood::Wary,
            Mood::Calm | Mood::Angry => Mood::Calm,
            same => same,
        };
        Trait { mood, part: other }
    }

    /// Goes through every kind of statement.
    #[handler]
    pub fn solve(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &mut pkt.ipv4 else { return cx.reply() };
        let class = cx.class.lookup(ip.src);
        let mut part = (ip.identification >> 3) as u8;
        match class {
            0 => {}
            1 | 2 => part = part + ip.ttl,
            QUIET => return cx.drop("quiet"),
            _ => part ^= 0xa5,
        }
        for round in 0..3 {
            if part & 1 == 1 {
                part = part * 3 + round;
            } else {
                part = part >> 1;
            }
        }
        let mix =
            if let Some(ports) = &pkt.ports { (ports.src ^ ports.dst) & MASK } else { ip.total_len - 7 };
        if ip.dscp > u6::new(40) && !(ip.ecn == u2::new(3)) || class == 9 {
            let Some(mut known) = cx.known.find(Host { addr: ip.dst, part })? else {
                return cx.to(3);
            };
            known.peer = ip.src;
            ip.ttl = ip.ttl - 1;
            return cx.forward();
        }
        let mut known = cx.known.lease(Host { part, addr: ip.src })?;
        if let Some(tcp) = &mut pkt.tcp {
            if tcp.syn && !tcp.ack {
                known.open = true;
                known.count = 0;
            } else if tcp.rst || tcp.fin {
                known.open = false;
            }
            tcp.window = tcp.window << 2;
        }
        if known.open {
            known.count += mix as u32;
            known.mix = known.mix * 31 + mix;
        } else {
            known.phase = known.phase + u3::new(5);
        }
        let next = cx.next.lookup(stirred(&known, &pkt.icmp, part));
        if next.mood != known.mood && next.mood >= Mood::Wary {
            known.mood = next.mood;
            return cx.via(known.peer);
        }
        let part = ip.identification + u16::from(next.part);
        if known.phase == u3::new(2) && known.count <= 5_000 {
            ip.identification = part + known.mix;
            return cx.recirculate();
        }
        ip.dst = known.peer;
        cx.to(cx.ingress_port + 1)
    }
}
