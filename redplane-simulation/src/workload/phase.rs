//! What the firewall says of itself: in which phase of a flow which packet passes, and what comes of it.

use crate::automaton::Automaton;
use crate::frame::flag;

/// How far a flow is. As the firewall keeps it, so that what the store has can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    New,
    InsideAsked,
    OutsideAsked,
    Open,
    InsideDone,
    OutsideDone,
    Closed,
    Reset,
}

use Phase::{Closed, InsideAsked, InsideDone, New, Open, OutsideAsked, OutsideDone, Reset};

impl Phase {
    const ALL: [Phase; 8] = [New, InsideAsked, OutsideAsked, Open, InsideDone, OutsideDone, Closed, Reset];

    pub(super) fn of(number: u8) -> Option<Phase> {
        Phase::ALL.get(usize::from(number)).copied()
    }
}

/// What a packet says to a firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// SYN.
    Ask,
    /// SYN and ACK.
    Answer,
    /// ACK.
    Data,
    /// FIN.
    Last,
    /// RST.
    Break,
    /// UDP: asks and answers.
    Datagram,
}

impl Says {
    /// The last one is UDP's.
    pub(super) const ALL: [Says; 6] =
        [Says::Ask, Says::Answer, Says::Data, Says::Last, Says::Break, Says::Datagram];

    /// TCP's flags; `None` for UDP.
    pub(super) const fn flags(self) -> Option<u8> {
        match self {
            Says::Ask => Some(flag::SYN),
            Says::Answer => Some(flag::SYN | flag::ACK),
            Says::Data => Some(flag::ACK),
            Says::Last => Some(flag::FIN | flag::ACK),
            Says::Break => Some(flag::RST),
            Says::Datagram => None,
        }
    }
}

/// A packet, as far as a firewall tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) outward: bool,
    pub(super) says: Says,
}

impl Kind {
    const COUNT: u8 = 2 * Says::ALL.len() as u8;

    pub(super) const fn number(self) -> u8 {
        2 * self.says as u8 + self.outward as u8
    }

    fn of(number: u8) -> Kind {
        Kind { outward: number % 2 == 1, says: Says::ALL[usize::from(number / 2)] }
    }
}

/// Who may open a flow of TCP or UDP, and what follows for its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) inside_opens: bool,
    pub(super) outside_opens: bool,
    pub(super) tcp: bool,
    pub(super) automaton: Automaton,
}

impl Policy {
    pub(super) fn of(inside_opens: bool, outside_opens: bool, tcp: bool) -> Policy {
        let step = |phase: u8, kind: u8| {
            let Kind { outward, says } = Kind::of(kind);
            if says.flags().is_some() != tcp {
                return None;
            }
            let may = if outward { inside_opens } else { outside_opens };
            Some(step(Phase::of(phase)?, outward, says, may)? as u8)
        };
        let automaton = Automaton::new(Phase::ALL.len() as u8, Kind::COUNT, step);
        Policy { inside_opens, outside_opens, tcp, automaton }
    }

    /// All that there can be.
    pub(super) fn all() -> Vec<Policy> {
        let of = |bits: u8| Policy::of(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
        (0..8).map(of).collect()
    }

    pub(super) fn opens(&self, outward: bool) -> bool {
        if outward { self.inside_opens } else { self.outside_opens }
    }

    pub(super) fn passes_open(&self, kind: Kind) -> bool {
        self.automaton.next(Open as u8, kind.number()).is_some()
    }

    /// Whether a packet may end a flow that is open.
    pub(super) fn ends(&self, kind: Kind) -> bool {
        self.automaton.next(Open as u8, kind.number()).is_some_and(|next| next != Open as u8)
    }

    /// Whether a flow that such a packet passes is open, or has been.
    pub(super) fn only_if_open(&self, kind: Kind) -> bool {
        let after = Phase::ALL.iter().filter_map(|phase| self.automaton.next(*phase as u8, kind.number()));
        after.into_iter().all(|next| (Open as u8..Reset as u8).contains(&next))
    }
}

/// The phase after a packet that passes. `may`: who sends it may open the flow.
fn step(phase: Phase, outward: bool, says: Says, may: bool) -> Option<Phase> {
    let opens = may && matches!(says, Says::Ask | Says::Datagram);
    let answers = matches!(says, Says::Answer | Says::Datagram);
    // A flow is asked for by those who may, or it does not matter who asks.
    if says == Says::Ask && !may {
        return None;
    }
    match (phase, says) {
        (New | Closed | Reset, _) if opens => Some(if outward { InsideAsked } else { OutsideAsked }),
        (New | Reset, _) => None,
        // Only those who were asked may answer or refuse.
        (InsideAsked, Says::Break) => Some(Reset),
        (InsideAsked, _) if answers && !outward => Some(Open),
        (OutsideAsked, _) if answers && outward => Some(Open),
        // An end inside may always break off; one outside is heard, and not believed.
        (_, Says::Break) if outward => Some(Reset),
        (InsideAsked | OutsideAsked, _) => opens.then_some(phase),
        (Open, Says::Last) => Some(if outward { InsideDone } else { OutsideDone }),
        (InsideDone, Says::Last) if !outward => Some(Closed),
        (OutsideDone, Says::Last) if outward => Some(Closed),
        _ => Some(phase),
    }
}
