//! A fabric that spreads flows over equal paths, and learns late which of them are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use redplane_protocol::Time;

use super::random::mix;
use super::{Device, Ports};
use crate::packet::Packet;
use crate::table::{Lpm, TableError};

/// Most routes of the fabric.
const ROUTES_MAX: usize = 1024;

/// Equal-cost multipath routing. A flow, that is a 5-tuple, keeps its path while the path lives (rendezvous hashing,
/// Thaler and Ravishankar 1998): when one dies only its flows move, and they move back when it returns.
///
/// It changes nothing in a frame, neither addresses nor TTL: it stands for a whole fabric. What is not IPv4, or has no
/// route or live path, is dropped and counted.
pub struct Ecmp {
    seed: u64,
    detection_delay: Duration,
    routes: Lpm<Ipv4Addr, Option<u16>, ROUTES_MAX>,
    groups: Vec<Vec<u16>>,
    dead: BTreeSet<u16>,
    /// What was seen of a port's link but not yet believed, and when it will be.
    pending: BTreeMap<u16, (Time, bool)>,
    dropped: u64,
    symmetric: bool,
}

impl Ecmp {
    /// A fabric that believes a change of a link only after `detection_delay`. `seed` decides which flow goes where.
    pub fn new(seed: u64, detection_delay: Duration) -> Self {
        Ecmp {
            seed,
            detection_delay,
            routes: Lpm::default(),
            groups: Vec::new(),
            dead: BTreeSet::new(),
            pending: BTreeMap::new(),
            dropped: 0,
            symmetric: false,
        }
    }

    /// Both directions of a flow take the path of the same number, of all fabrics with this seed.
    #[must_use]
    pub fn symmetric(self) -> Self {
        Ecmp { symmetric: true, ..self }
    }

    /// Sends what goes to this prefix by any of `ports`.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn add_route(&mut self, prefix: Ipv4Addr, length: u8, ports: Vec<u16>) -> Result<(), TableError> {
        // There are at most as many groups as routes that were ever added; the last index is refused.
        let group =
            u16::try_from(self.groups.len()).map_err(|_| TableError::Full { size: self.groups.len() })?;
        self.routes.insert(prefix, length, Some(group))?;
        self.groups.push(ports);
        Ok(())
    }

    /// Frames that had nowhere to go.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// By which port a frame would leave now.
    pub fn path(&self, frame: &[u8]) -> Option<u16> {
        let packet = Packet::parse(frame).ok()?;
        let ipv4 = packet.ipv4?;
        let group = self.routes.lookup(ipv4.dst)?;
        let ports = packet.ports.filter(|_| !ipv4.more_fragments).unwrap_or_default();
        let mut ends = [(ipv4.src, ports.src), (ipv4.dst, ports.dst)];
        if self.symmetric {
            ends.sort_unstable();
        }
        let [(from, from_port), (to, to_port)] = ends;
        let addresses = u64::from(u32::from(from)) << 32 | u64::from(u32::from(to));
        let rest = u64::from(from_port) << 32 | u64::from(to_port) << 16 | u64::from(ipv4.protocol);
        let flow = mix(mix(self.seed ^ addresses) ^ rest);
        let live = self.groups.get(usize::from(group))?.iter().filter(|port| !self.dead.contains(port));
        live.copied().max_by_key(|port| mix(flow ^ mix(u64::from(*port) + 1)))
    }
}

impl Device for Ecmp {
    fn receive(&mut self, _port: u16, frame: &[u8], _now: Time, out: &mut Ports) {
        match self.path(frame) {
            Some(port) => out.send(port, frame.to_vec()),
            None => self.dropped += 1,
        }
    }

    fn next_timeout(&self) -> Option<Time> {
        self.pending.values().map(|(at, _)| *at).min()
    }

    fn timeout(&mut self, now: Time, _out: &mut Ports) {
        let dead = &mut self.dead;
        self.pending.retain(|port, (at, up)| {
            let due = *at <= now;
            if due && *up {
                dead.remove(port);
            } else if due {
                dead.insert(*port);
            }
            !due
        });
    }

    fn link_changed(&mut self, port: u16, up: bool, now: Time, _out: &mut Ports) {
        self.pending.insert(port, (now.plus(self.detection_delay), up));
    }
}
