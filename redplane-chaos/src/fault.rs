//! What is done to the cluster.

use std::fmt;

use redplane_sdk::net::Random;

use crate::relay::Rules;

/// A place in a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// First.
    Head,
    /// Second.
    Middle,
    /// Last.
    Tail,
}

/// What a node is cut off from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// All other nodes.
    Peers,
    /// Whoever coordinates.
    Coordinator,
    /// Both.
    All,
}

/// Which of a node's messages are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Those to it and those from it.
    Both,
    /// Those from it.
    Out,
    /// Those to it.
    In,
}

/// A fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// SIGKILL, and started again.
    Kill(Place),
    /// SIGSTOP for longer than the detection takes, then SIGCONT.
    Pause(Place),
    /// Cut off for longer than the detection takes.
    Cut(Place, From, Direction),
    /// All nodes at once: SIGKILL, and started again.
    KillAll,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Head, Self::Middle, Self::Tail];

    /// The member of a chain, head first, that has it.
    #[must_use]
    pub fn of(self, members: &[u16]) -> Option<usize> {
        let member = match self {
            Self::Head => members.first(),
            Self::Middle => members.get(1),
            Self::Tail => members.last(),
        };
        member.map(|node| usize::from(*node))
    }
}

impl Fault {
    /// Every fault of one node, in an order in which the first of them are the most different.
    #[must_use]
    pub fn each() -> Vec<Self> {
        let kills = Place::ALL.map(Self::Kill);
        let pauses = Place::ALL.map(Self::Pause);
        let mut all: Vec<_> = kills.into_iter().chain(pauses).collect();
        // Within nine neighbours each pair of choices occurs; all of it takes 27.
        for round in 0..3 {
            for at in 0..9 {
                let from = [From::Peers, From::Coordinator, From::All][at % 3];
                let direction = [Direction::Both, Direction::Out, Direction::In][at / 3];
                all.push(Self::Cut(Place::ALL[(at + at / 3 + round) % 3], from, direction));
            }
        }
        all
    }

    /// One of them, at random.
    #[must_use]
    pub fn any(random: &mut Random) -> Self {
        let place = Place::ALL[random.below(3) as usize];
        match random.below(3) {
            0 => Self::Kill(place),
            1 => Self::Pause(place),
            _ => {
                let from = [From::Peers, From::Coordinator, From::All][random.below(3) as usize];
                let direction = [Direction::Both, Direction::Out, Direction::In][random.below(3) as usize];
                Self::Cut(place, from, direction)
            }
        }
    }

    /// Where it strikes: a place in the first shard's chain.
    #[must_use]
    pub fn place(self) -> Place {
        match self {
            Self::Kill(place) | Self::Pause(place) | Self::Cut(place, ..) => place,
            Self::KillAll => Place::Head,
        }
    }
}

/// Cuts a node off.
pub fn cut(rules: &Rules, node: usize, from: From, direction: Direction) {
    let coordinator = rules.coordinator();
    let peers = (0..coordinator).filter(|other| *other != node && from != From::Coordinator);
    let others = peers.chain((from != From::Peers).then_some(coordinator));
    for other in others {
        if direction != Direction::In {
            rules.cut(node, other);
        }
        if direction != Direction::Out {
            rules.cut(other, node);
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Head => "head",
            Self::Middle => "middle",
            Self::Tail => "tail",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(place) => write!(formatter, "kill the {place}"),
            Self::Pause(place) => write!(formatter, "pause the {place}"),
            Self::KillAll => write!(formatter, "kill all nodes"),
            Self::Cut(place, from, direction) => {
                let from = match from {
                    From::Peers => "its peers",
                    From::Coordinator => "the coordinator",
                    From::All => "all",
                };
                let direction = match direction {
                    Direction::Both => "",
                    Direction::Out => ", what it sends",
                    Direction::In => ", what it gets",
                };
                write!(formatter, "cut the {place} off from {from}{direction}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_comes_once() {
        let each = Fault::each();
        assert_eq!(each.len(), 3 + 3 + 27);
        for (at, fault) in each.iter().enumerate() {
            assert!(!each[..at].contains(fault), "{fault} again");
        }
    }

    #[test]
    fn a_cut_is_where_it_is_said_to_be() {
        let rules = Rules::new(3);
        cut(&rules, 1, From::Peers, Direction::Out);
        assert!(rules.is_cut(1, 0) && rules.is_cut(1, 2) && !rules.is_cut(0, 1) && !rules.is_cut(1, 3));
        rules.mend();
        cut(&rules, 0, From::All, Direction::In);
        assert!(rules.is_cut(1, 0) && rules.is_cut(3, 0) && !rules.is_cut(0, 1) && !rules.is_cut(0, 3));
        rules.mend();
        cut(&rules, 2, From::Coordinator, Direction::Both);
        assert!(rules.is_cut(2, 3) && rules.is_cut(3, 2) && !rules.is_cut(2, 0) && !rules.is_cut(0, 2));
    }
}
