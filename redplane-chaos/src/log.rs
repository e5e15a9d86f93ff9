//! What went in and what came out, kept small: a drill has millions of packets.

use std::collections::BTreeMap;

use redplane_simulation::frame::PacketId;
use redplane_simulation::history::{Entered, History, Intent, Micros, Shown};

/// A packet that came to a switch, and how it left.
#[derive(Clone, Copy, Debug)]
pub struct Passage {
    /// Number of its key.
    pub key: u32,
    /// It counts; else it only asks.
    pub writes: bool,
    /// When it came in.
    pub entered: Micros,
    /// How long it took to leave, in microseconds, and one more; zero: it did not leave.
    took: u32,
    /// The count that it showed.
    pub value: u32,
}

/// All packets of a drill, by number.
#[derive(Debug, Default)]
pub struct Log {
    passages: Vec<Passage>,
    /// What left a second time. Nothing should.
    again: Vec<(PacketId, Micros, u32)>,
}

impl Passage {
    /// When it left, if it did.
    #[must_use]
    pub fn left(&self) -> Option<Micros> {
        Some(self.entered + Micros::from(self.took.checked_sub(1)?))
    }
}

impl Log {
    /// A packet that comes in now.
    pub fn enter(&mut self, key: u32, writes: bool, now: Micros) -> PacketId {
        let packet = PacketId(self.passages.len() as u32);
        self.passages.push(Passage { key, writes, entered: now, took: 0, value: 0 });
        packet
    }

    /// A packet that left; as it is known after that. `None` if none like that came in.
    pub fn leave(&mut self, packet: PacketId, now: Micros, value: u32) -> Option<Passage> {
        let passage = self.passages.get_mut(packet.0 as usize)?;
        if passage.took > 0 {
            self.again.push((packet, now, value));
        } else {
            let took = now.saturating_sub(passage.entered) + 1;
            passage.took = u32::try_from(took).unwrap_or(u32::MAX);
            passage.value = value;
        }
        Some(*passage)
    }

    /// A packet.
    #[must_use]
    pub fn passage(&self, packet: PacketId) -> Option<&Passage> {
        self.passages.get(packet.0 as usize)
    }

    /// All of them.
    #[must_use]
    pub fn passages(&self) -> &[Passage] {
        &self.passages
    }

    /// Packets of each key, in the order they came in.
    #[must_use]
    pub fn by_key(&self, keys: u32) -> ByKey {
        let mut ends = vec![0u32; keys as usize + 1];
        for passage in &self.passages {
            ends[passage.key as usize + 1] += 1;
        }
        for at in 1..ends.len() {
            ends[at] += ends[at - 1];
        }
        let mut next = ends.clone();
        let mut packets = vec![0u32; self.passages.len()];
        for (packet, passage) in self.passages.iter().enumerate() {
            let at = &mut next[passage.key as usize];
            packets[*at as usize] = packet as u32;
            *at += 1;
        }
        ByKey { starts: ends, packets }
    }

    /// The history of a key, as the checker reads it.
    #[must_use]
    pub fn history(&self, packets: &[u32]) -> History {
        let mut shown = Vec::with_capacity(packets.len());
        let mut entered = Vec::with_capacity(packets.len());
        for packet in packets {
            let passage = &self.passages[*packet as usize];
            let intent = Intent { creates: true, writes: passage.writes };
            let packet = PacketId(*packet);
            entered.push((packet, Entered { at: passage.entered, copies: 1, intent }));
            if let Some(at) = passage.left() {
                shown.push(Shown { packet, at, value: Some(passage.value), wrote: passage.writes });
            }
        }
        let entered: BTreeMap<_, _> = entered.into_iter().collect();
        let again = self.again.iter().filter(|(packet, ..)| entered.contains_key(packet));
        shown.extend(again.map(|(packet, at, value)| {
            let wrote = entered[packet].intent.writes;
            Shown { packet: *packet, at: *at, value: Some(*value), wrote }
        }));
        History { entered, shown }
    }
}

/// Numbers of packets, by key.
#[derive(Debug)]
pub struct ByKey {
    starts: Vec<u32>,
    packets: Vec<u32>,
}

impl ByKey {
    /// Those of one key.
    #[must_use]
    pub fn of(&self, key: u32) -> &[u32] {
        let key = key as usize;
        &self.packets[self.starts[key] as usize..self.starts[key + 1] as usize]
    }
}
