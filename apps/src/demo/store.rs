//! The store of the demo as a device: three nodes in one box, with one link to each switch.

use std::net::{Ipv4Addr, SocketAddrV4};

use backend_store::{EmbeddedStore, StoreDestination};
use redplane_sdk::net::{Device, Ports};
use redplane_sdk::protocol::Time;
use redplane_sdk::protocol::wire::UDP_PORT;

use super::datagram::Datagram;
use super::hosts::Mac;

/// Address of the shard: whoever is head answers to it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Ethernet address of the store.
pub const MAC: Mac = [0x02, 0, 0, 0, 0x57, 0x0e];

/// The store with its links.
pub struct Store {
    store: EmbeddedStore,
    /// Address and Ethernet address of the switch at each port.
    switches: Vec<(Ipv4Addr, Mac)>,
}

impl Store {
    /// A store that reaches these switches, each by the port of its index.
    #[must_use]
    pub fn new(store: EmbeddedStore, switches: Vec<(Ipv4Addr, Mac)>) -> Store {
        Store { store, switches }
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &EmbeddedStore {
        &self.store
    }

    /// The nodes, to kill them and to let them join. What they want to send leaves at the next deadline, at once.
    pub fn nodes_mut(&mut self) -> &mut EmbeddedStore {
        &mut self.store
    }

    fn flush(&mut self, out: &mut Ports) {
        while let Some(transmit) = self.store.poll_transmit() {
            // Messages between nodes stay within the box.
            let StoreDestination::Switch(to) = transmit.to else { continue };
            let Some(port) = self.switches.iter().position(|(address, _)| address == to.ip()) else {
                continue;
            };
            let from = SocketAddrV4::new(ADDRESS, UDP_PORT);
            let datagram = Datagram { from, to, payload: &transmit.bytes };
            out.send(port as u16, datagram.to_frame(MAC, self.switches[port].1));
        }
    }
}

impl Device for Store {
    fn receive(&mut self, _: u16, frame: &[u8], now: Time, out: &mut Ports) {
        let Some(datagram) = Datagram::parse(frame) else { return };
        if datagram.to == SocketAddrV4::new(ADDRESS, UDP_PORT) {
            self.store.handle_request(datagram.from, datagram.payload, now);
        }
        self.flush(out);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.store.poll_timeout()
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        self.store.handle_timeout(now);
        self.flush(out);
    }
}
