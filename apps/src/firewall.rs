//! A stateful firewall: what is inside opens flows, what is outside answers them, and an operator's rules say what is
//! different. TCP is followed from its handshake to FIN or RST (RFC 9293); UDP and ICMP echo have a flow as soon as one
//! end has spoken, and ICMP errors pass that are about a flow (RFC 792).

/// Lets in what was asked for.
#[redplane_sdk::app(id = 3)]
pub mod firewall {
    use redplane_sdk::prelude::*;

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

    /// What is known of a flow. Its key has the inside as source, whichever way the packet goes.
    #[state(key = FiveTuple, slots = 65_536, idle = silence)]
    pub struct Track {
        /// How far it is.
        pub phase: Phase,
    }

    /// The switch's ports that lead inside.
    #[table(size = 64)]
    pub type Inside = Exact<u16, bool>;

    /// What nobody inside may open.
    #[table(size = 256)]
    pub type Blocked = Ternary<FiveTuple, bool>;

    /// What anybody outside may open.
    #[table(size = 256)]
    pub type Published = Ternary<FiveTuple, bool>;

    /// Follows the flow of each packet, and lets pass what belongs to one.
    #[handler]
    pub fn guard(pkt: &mut Packet, cx: &mut Context) -> Handled {
        let Some(_) = &pkt.ipv4 else { return cx.drop("not_ipv4") };
        if !has_conversation(pkt) {
            return cx.drop("not_followed"); // another protocol, a later fragment, or IPv4 options
        }
        let outward = cx.inside.lookup(cx.ingress_port);
        let tuple = five_tuple(pkt);
        let flow = if outward { tuple } else { reversed(tuple) };
        if is_error(pkt) {
            let Some(_) = cx.track.find(flow)? else { return cx.drop("unsolicited") };
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
        }
        let opens = asks && if outward { !cx.blocked.lookup(tuple) } else { cx.published.lookup(tuple) };
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

    // ANCHOR: idle
    /// For how long a flow that says nothing is kept: one that is not open, or not in both directions, for four minutes
    /// (RFC 5382 REQ-5), and one that is over while its last packets may be under way.
    pub fn silence(flow: &FiveTuple, track: &Track) -> Duration {
        match track.phase {
            Phase::Closed | Phase::Reset => Duration::from_secs(10),
            Phase::Open => idle_of(flow.protocol),
            _ => idle_of(flow.protocol).min(Duration::from_secs(240)),
        }
    }
    // ANCHOR_END: idle
}
