//! A stateful firewall: what is inside opens flows, what is outside answers them, and an operator's rules say what is
//! different. TCP is followed from its handshake to FIN or RST (RFC 9293); UDP and ICMP echo have a flow as soon as one
//! end has spoken, and ICMP errors pass that are about a flow (RFC 792).

/// Lets in what was asked for.
#[redplane_sdk::app(id = 3)]
pub mod firewall {
    use redplane_sdk::prelude::*;

    /// A flow, whichever way its packets go.
    #[key]
    pub struct Flow {
        /// The end inside.
        pub inside: Ipv4Addr,
        /// Its TCP or UDP port, or the ICMP identifier.
        pub inside_port: u16,
        /// The end outside.
        pub outside: Ipv4Addr,
        /// Its TCP or UDP port, or the ICMP identifier.
        pub outside_port: u16,
        /// IP protocol.
        pub protocol: u8,
    }

    /// How far a flow is.
    #[repr(u8)]
    pub enum Phase {
        /// Nothing has passed.
        New,
        /// The end inside has asked.
        InsideAsked,
        /// The end outside has asked.
        OutsideAsked,
        /// Both have spoken.
        Open,
        /// The end inside has said its last (FIN).
        InsideDone,
        /// The end outside has said its last (FIN).
        OutsideDone,
        /// Both have.
        Closed,
        /// Broken off (RST).
        Reset,
    }

    /// What is known of a flow.
    #[state(key = Flow, slots = 65_536, idle = "300s")]
    pub struct Track {
        /// How far it is.
        pub phase: Phase,
    }

    /// The switch's ports that lead inside.
    #[table(size = 64)]
    pub type Inside = Exact<u16, bool>;

    /// Flows that nobody inside may open.
    #[table(size = 256)]
    pub type Blocked = Ternary<Flow, bool>;

    /// Flows that anybody outside may open.
    #[table(size = 256)]
    pub type Published = Ternary<Flow, bool>;

    const ECHO_REPLY: u8 = 0;
    const ECHO_REQUEST: u8 = 8;

    /// The flow of a packet that goes outward or inward.
    #[inline]
    fn flow_of(ip: &Ipv4, ports: &Option<Ports>, echo: &Option<Icmp>, outward: bool) -> Flow {
        let mut inside_port = 0u16;
        let mut outside_port = 0u16;
        if let Some(ports) = ports {
            inside_port = if outward { ports.src } else { ports.dst };
            outside_port = if outward { ports.dst } else { ports.src };
        } else if let Some(echo) = echo {
            inside_port = echo.identifier;
        }
        let inside = if outward { ip.src } else { ip.dst };
        let outside = if outward { ip.dst } else { ip.src };
        Flow { inside, inside_port, outside, outside_port, protocol: ip.protocol }
    }

    /// Follows the flow of each packet, and lets pass what belongs to one.
    #[handler]
    pub fn guard(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(ip) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        let outward = cx.inside.lookup(cx.ingress_port);
        // An ICMP error quotes a packet that went the other way.
        if let Some(quote) = &pkt.inner_ipv4 {
            let about = flow_of(quote, &pkt.inner_ports, &pkt.inner_icmp, !outward);
            let Some(_) = cx.track.find(about)? else { return cx.drop("unsolicited") };
            return cx.forward();
        }
        // UDP asks and answers with every packet.
        let (mut asks, mut answers, mut fin, mut rst) = (true, true, false, false);
        if let Some(tcp) = &pkt.tcp {
            asks = tcp.syn && !tcp.ack;
            answers = tcp.syn && tcp.ack;
            fin = tcp.fin;
            rst = tcp.rst;
        } else if let Some(echo) = &pkt.icmp {
            asks = echo.kind == ECHO_REQUEST;
            answers = echo.kind == ECHO_REPLY;
            if !asks && !answers {
                return cx.drop("icmp_kind");
            }
        } else if pkt.udp.is_none() {
            return cx.drop("not_followed"); // another protocol, a later fragment, or IPv4 options
        }
        let flow = flow_of(ip, &pkt.ports, &pkt.icmp, outward);
        let opens = asks && if outward { !cx.blocked.lookup(flow) } else { cx.published.lookup(flow) };
        if asks && !answers && !opens {
            return cx.drop("unsolicited");
        }
        let mut track = if opens {
            cx.track.lease(flow)?
        } else {
            let Some(track) = cx.track.find(flow)? else { return cx.drop("unsolicited") };
            track
        };
        let next = match track.phase {
            Phase::New | Phase::Closed | Phase::Reset if opens && outward => Phase::InsideAsked,
            Phase::New | Phase::Closed | Phase::Reset if opens => Phase::OutsideAsked,
            Phase::New | Phase::Reset => return cx.drop("out_of_state"),
            Phase::InsideAsked if rst && !outward => Phase::Reset,
            Phase::InsideAsked if answers && !outward => Phase::Open,
            Phase::OutsideAsked if answers && outward => Phase::Open,
            // Anybody can forge an RST. Of an open flow, one from outside passes and changes nothing: if it was right, the end
            // inside says so to whatever comes next.
            _ if rst && outward => Phase::Reset,
            Phase::InsideAsked | Phase::OutsideAsked if !opens => return cx.drop("out_of_state"),
            Phase::Open if fin && outward => Phase::InsideDone,
            Phase::Open if fin => Phase::OutsideDone,
            Phase::InsideDone if fin && !outward => Phase::Closed,
            Phase::OutsideDone if fin && outward => Phase::Closed,
            phase => phase,
        };
        if next != track.phase {
            track.phase = next;
        }
        cx.forward()
    }

    /// A new flow, kept for as long as its protocol may be silent.
    #[on_create]
    pub fn begin(key: &Flow, records: &mut Creation<Flow, Track>) -> Result<Track, Refusal> {
        records.keep_for(idle_of(key.protocol));
        Ok(Track { phase: Phase::New })
    }
}
