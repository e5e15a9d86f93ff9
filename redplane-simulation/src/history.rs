//! What went into the switches for one key of the counter, and what came out.

use std::collections::BTreeMap;

use crate::frame::PacketId;

/// A moment of the simulation, in microseconds.
pub type Micros = u64;

/// What a packet may do to the state of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// It makes the record if there is none.
    pub creates: bool,
    /// It counts.
    pub writes: bool,
}

/// A packet that came to a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// When it first did.
    pub at: Micros,
    /// How many of it there are: it came more than once, or a link repeated a message that carried it.
    pub copies: u32,
    /// What it may do.
    pub intent: Intent,
}

/// A packet that left a switch, and what it showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub packet: PacketId,
    /// When it left.
    pub at: Micros,
    /// The count; `None`: that there is no record.
    pub value: Option<u32>,
    /// Whether the value is the packet's own doing.
    pub wrote: bool,
}

/// Everything about one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Packets in.
    pub entered: BTreeMap<PacketId, Entered>,
    /// Packets out, in order of time.
    pub shown: Vec<Shown>,
}

impl History {
    /// When a packet came to a switch.
    pub fn enter(&mut self, packet: PacketId, at: Micros, intent: Intent) {
        let entered = self.entered.entry(packet).or_insert(Entered { at, copies: 0, intent });
        entered.copies += 1;
    }

    /// When a link repeated a message that carries an input packet.
    pub fn repeat(&mut self, packet: PacketId) {
        if let Some(entered) = self.entered.get_mut(&packet) {
            entered.copies += 1;
        }
    }

    /// When a packet left a switch.
    pub fn show(&mut self, shown: Shown) {
        self.shown.push(shown);
    }

    /// The same without what was only read.
    #[must_use]
    pub fn writes_only(&self) -> History {
        let shown = self.shown.iter().copied().filter(|shown| shown.wrote).collect();
        History { entered: self.entered.clone(), shown }
    }
}
