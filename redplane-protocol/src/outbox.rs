//! Datagrams that a node wants to send, in one buffer that is used again and again.

use std::hash::{Hash, Hasher};

use crate::node::Destination;

/// Datagrams in the order in which they were made. Once all were taken, the next one begins at the start of the buffer:
/// a node that was busy before allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    parcels: Vec<Parcel>,
    taken: usize,
}

#[derive(Clone, Copy, Debug)]
struct Parcel {
    to: Destination,
    end: usize,
}

impl Outbox {
    /// Where the bytes of the next datagram go: append them, then [`close`](Self::close).
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the datagram.
    pub(crate) fn close(&mut self, to: Destination) {
        self.parcels.push(Parcel { to, end: self.bytes.len() });
    }

    pub(crate) fn push(&mut self, to: Destination, bytes: &[u8]) {
        self.open().extend_from_slice(bytes);
        self.close(to);
    }

    /// The next datagram, once.
    pub(crate) fn take(&mut self) -> Option<(Destination, &[u8])> {
        if self.taken == self.parcels.len() {
            self.clear();
            return None;
        }
        self.taken += 1;
        self.get(self.taken - 1)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.parcels.clear();
        self.taken = 0;
    }

    /// What was not taken yet.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Destination, &[u8])> {
        (self.taken..self.parcels.len()).filter_map(|at| self.get(at))
    }

    fn get(&self, at: usize) -> Option<(Destination, &[u8])> {
        let start = at.checked_sub(1).map_or(0, |before| self.parcels[before].end);
        let parcel = self.parcels.get(at)?;
        Some((parcel.to, &self.bytes[start..parcel.end]))
    }
}

impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Outbox {}

impl Hash for Outbox {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.iter().for_each(|parcel| parcel.hash(state));
    }
}
