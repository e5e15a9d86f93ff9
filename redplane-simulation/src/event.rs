//! What happens in a simulation, for those who watch.

use std::fmt;

use crate::history::Micros;

/// Somebody who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// All hosts together.
    Hosts,
    /// A switch, from zero.
    Switch(u8),
    /// A node of the store, from zero.
    Node(u8),
}

/// How many places there are, at most.
pub(crate) const PLACES: usize = 1 + crate::plan::SWITCHES_MAX + crate::plan::NODES;

impl Place {
    /// Its number among all.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Place::Hosts => 0,
            Place::Switch(at) => 1 + at as usize,
            Place::Node(at) => 1 + crate::plan::SWITCHES_MAX + at as usize,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Hosts => formatter.write_str("hosts"),
            Place::Switch(at) => write!(formatter, "switch {}", at + 1),
            Place::Node(at) => write!(formatter, "node {at}"),
        }
    }
}

/// Why a frame did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// By chance.
    Chance,
    /// Its check sequence was wrong.
    Corrupt,
    /// The link was cut.
    Partitioned,
    /// The receiver was dead.
    Dead,
    /// The receiver stood still, and its queue was full.
    QueueFull,
    /// Nobody serves the shard.
    NoHead,
    /// Nobody has that address: a flipped bit was believed.
    NoSuchAddress,
}

impl Loss {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Loss::Chance => "lost",
            Loss::Corrupt => "corrupt",
            Loss::Partitioned => "partitioned",
            Loss::Dead => "receiver dead",
            Loss::QueueFull => "queue full",
            Loss::NoHead => "no head",
            Loss::NoSuchAddress => "no such address",
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A frame came to its end, good or bad.
    Frame {
        /// When it was sent.
        sent: Micros,
        /// By whom.
        from: Place,
        /// To whom.
        to: Place,
        /// Why it did not arrive; `None` if it did.
        loss: Option<Loss>,
        /// The frame; from node to node only the message.
        frame: &'a [u8],
    },
    /// Somebody failed, or came back.
    Fault {
        /// Who.
        place: Place,
        /// What, in words.
        text: &'a str,
    },
}

/// Sees every event, and when it happened.
pub type Tap = Box<dyn FnMut(Micros, &Event<'_>)>;
