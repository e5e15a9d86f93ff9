//! Whether a replica hears the other nodes.
//!
//! A node that lives, and is heard by whoever coordinates, may be out of its peers' reach all the same: then it stands in a
//! chain's way, and nobody would know. So the replicas of a shard greet each other, and tell whom they do not hear.

use std::time::Duration;

use redplane_protocol::{NodeId, Time};

use super::config::Config;

/// What a replica says to another when it has nothing else to say. No message of the protocol is so short.
pub(crate) const HELLO: [u8; 1] = [0];

/// Greetings in a detection time: some may be lost before a node counts as silent.
const HELLOS_PER_DETECTION: u32 = 10;

/// Shortest time between two greetings.
const HELLO_MIN: Duration = Duration::from_millis(5);

/// After what part of the detection time without a sound a node is silent, in thousandths. Whoever coordinates then waits
/// a little for what others say; all of it is over within the detection time.
const SILENT_PER_MILLE: u32 = 700;

/// Which nodes a replica hears.
#[derive(Debug)]
pub(crate) struct Links {
    /// With their places among all nodes, and when they were heard last.
    peers: Vec<(NodeId, u32, Time)>,
    every: Duration,
    patience: Duration,
    next: Time,
    /// Up to when everything that came was taken in: what waits in a socket is not silence.
    listened: Time,
}

impl Links {
    pub(crate) fn new(config: &Config, own: NodeId, now: Time) -> Self {
        let places = config.nodes.keys().zip(0..);
        let peers = places.filter(|(node, _)| **node != own).map(|(node, place)| (*node, place, now));
        Self {
            peers: peers.collect(),
            every: (config.detection / HELLOS_PER_DETECTION).max(HELLO_MIN),
            patience: config.detection * SILENT_PER_MILLE / 1000,
            next: now,
            listened: now,
        }
    }

    /// Something came from this node.
    pub(crate) fn heard(&mut self, node: NodeId, now: Time) {
        if let Some((.., heard)) = self.peers.iter_mut().find(|(peer, ..)| *peer == node) {
            *heard = now;
        }
    }

    /// Everything that had come was taken in.
    pub(crate) fn listened(&mut self, now: Time) {
        self.listened = now;
    }

    /// When the next greetings are due.
    pub(crate) fn next(&self) -> Time {
        self.next
    }

    /// Whom to greet now.
    pub(crate) fn greet(&mut self, now: Time) -> impl Iterator<Item = NodeId> {
        let is_due = now >= self.next;
        if is_due {
            self.next = now.plus(self.every);
        }
        self.peers.iter().filter(move |_| is_due).map(|(node, ..)| *node)
    }

    /// The nodes that are not heard: bit *n* is the *n*-th of all nodes, in the order of their numbers.
    pub(crate) fn silent(&self) -> u16 {
        let silent = self.peers.iter().filter(|(.., heard)| heard.plus(self.patience) <= self.listened);
        silent.fold(0, |all, (_, place, _)| all | 1u16.checked_shl(*place).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_heard_is_silent_and_what_was_not_read_is_no_silence() {
        let ms = |ms: u64| Time(ms * 1000);
        let peer = |node, place| (NodeId(node), place, ms(0));
        let mut links = Links {
            peers: vec![peer(3, 0), peer(9, 2)],
            every: Duration::from_millis(50),
            patience: Duration::from_millis(350),
            next: ms(0),
            listened: ms(0),
        };
        assert_eq!(links.greet(ms(1)).collect::<Vec<_>>(), [NodeId(3), NodeId(9)]);
        assert_eq!(links.greet(ms(40)).count(), 0);
        links.heard(NodeId(9), ms(200));
        links.heard(NodeId(5), ms(200));
        assert_eq!(links.silent(), 0);
        links.listened(ms(400));
        assert_eq!(links.silent(), 0b001);
        links.listened(ms(600));
        assert_eq!(links.silent(), 0b101);
        links.heard(NodeId(3), ms(600));
        assert_eq!(links.silent(), 0b100);
    }
}
