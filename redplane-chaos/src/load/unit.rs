//! A software switch with a socket towards the store.

use std::net::{Ipv4Addr, SocketAddrV4};

use backend_store::service::udp::{BatchSocket, Outgoing};
use redplane_protocol::wire::UDP_PORT;
use redplane_protocol::{Lease, SwitchIdentity, Ticks};
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{Output, StorePath, Switch, SwitchConfig};
use redplane_simulation::frame::{Datagram, HEADERS_LEN};
use redplane_simulation::history::Micros;

use super::port;
use crate::app::tally;
use crate::clock::Clock;
use crate::{DRIFT_MARGIN_PER_MILLE, LEASE};

/// After how long without any answer of a shard a switch asks another node: some round trips of a busy machine.
const ASK_ANOTHER_AFTER: Micros = 20_000;

const MTU: u16 = 1600;
const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

/// The node that a switch sends the requests of one shard to.
#[derive(Clone, Copy)]
struct Target {
    node: usize,
    /// Since when nothing came back. Zero: nothing is awaited.
    asked: Micros,
}

/// A switch.
pub(super) struct Unit {
    pub(super) switch: Switch<tally::App>,
    pub(super) socket: BatchSocket,
    address: Ipv4Addr,
    requests: Vec<Vec<SocketAddrV4>>,
    targets: Vec<Target>,
    out: Output,
    outgoing: Outgoing,
    /// Frames that came, one behind the other, with their ends.
    inbox: (Vec<u8>, Vec<(u16, usize)>),
}

/// Protocol address of a shard, within the frames.
fn shard_address(shard: u16) -> Ipv4Addr {
    let [upper, lower] = shard.to_be_bytes();
    Ipv4Addr::new(198, 18, upper, lower)
}

impl Unit {
    pub(super) fn new(
        at: u16,
        socket: BatchSocket,
        requests: &[Vec<SocketAddrV4>],
        now: Ticks,
    ) -> anyhow::Result<Self> {
        let shards = requests.first().map_or(0, Vec::len);
        let address = Ipv4Addr::new(198, 19, 0, 1 + at as u8);
        let store = |shard| StorePath { address: shard_address(shard), mac: MAC, port: port::STORE };
        let config = SwitchConfig {
            identity: SwitchIdentity { switch: at + 1, incarnation: 1 },
            mac: MAC,
            address,
            lease: Lease::new(LEASE, DRIFT_MARGIN_PER_MILLE)?,
            stores: (0..shards as u16).map(store).collect(),
            store_facing_ports: vec![port::STORE],
            routes: Vec::new(),
            store_mtu: MTU,
            authentication: None,
        };
        let first = usize::from(at) % requests.len().max(1);
        Ok(Self {
            switch: Switch::new(config, tally::Tables::default(), now)?,
            socket,
            address,
            requests: requests.to_vec(),
            targets: vec![Target { node: first, asked: 0 }; shards],
            out: Output::new(),
            outgoing: Outgoing::new(),
            inbox: Default::default(),
        })
    }

    /// Takes in answers of the store, one call's worth: how many.
    pub(super) fn receive(&mut self, clock: Clock) -> usize {
        let (requests, (bytes, frames)) = (&self.requests, &mut self.inbox);
        let received = self.socket.receive_now(|from, payload| {
            let shard = requests.iter().find_map(|node| node.iter().position(|address| *address == from));
            if let Some(shard) = shard {
                bytes.extend_from_slice(payload);
                frames.push((shard as u16, bytes.len()));
            }
        });
        let (bytes, frames) = std::mem::take(&mut self.inbox);
        let mut start = 0;
        for (shard, end) in &frames {
            self.targets[usize::from(*shard)].asked = 0;
            let (src, dst) = ((shard_address(*shard), UDP_PORT), (self.address, UDP_PORT));
            let frame = Datagram { src, dst, identification: 0 }.to_frame(&bytes[start..*end]);
            self.switch.process(port::STORE, &frame, clock.ticks(), &mut self.out);
            start = *end;
        }
        self.inbox = (bytes, frames);
        self.inbox.0.clear();
        self.inbox.1.clear();
        // Whatever is wrong with the socket, the time for answers runs out.
        received.unwrap_or(0)
    }

    pub(super) fn process(&mut self, port: u16, frame: &[u8], clock: Clock) {
        self.switch.process(port, frame, clock.ticks(), &mut self.out);
    }

    pub(super) fn timeout(&mut self, clock: Clock) {
        let now = clock.ticks();
        if !now.is_before(self.switch.poll_timeout()) {
            self.switch.handle_timeout(now, &mut self.out);
        }
    }

    /// Puts what is for the store into datagrams, and hands over what leaves towards the hosts, with the time.
    pub(super) fn drain(&mut self, clock: Clock, mut leave: impl FnMut(&[u8], Micros)) {
        if self.out.is_empty() {
            return;
        }
        // Later than everything that the switch did with it.
        let now = clock.micros();
        for (port, frame) in self.out.iter() {
            if port != port::STORE {
                leave(frame, now);
                continue;
            }
            let (Some([.., upper, lower]), Some(payload)) =
                (frame.get(30..34).and_then(|to| <&[u8; 4]>::try_from(to).ok()), frame.get(HEADERS_LEN..))
            else {
                continue;
            };
            let shard = usize::from(u16::from_be_bytes([*upper, *lower]));
            let Some(target) = self.targets.get_mut(shard) else { continue };
            if target.asked == 0 {
                target.asked = now.max(1);
            } else if now.saturating_sub(target.asked) > ASK_ANOTHER_AFTER {
                *target = Target { node: (target.node + 1) % self.requests.len(), asked: now };
            }
            self.outgoing.push(self.requests[target.node][shard], payload);
        }
        self.out.clear();
    }

    pub(super) fn flush(&mut self) {
        if !self.outgoing.is_empty() {
            self.outgoing.flush(&self.socket);
        }
    }
}
