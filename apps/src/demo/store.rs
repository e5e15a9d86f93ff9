//! The store of the demo: one node of its chain as a device, and the addresses of all.

use std::net::{Ipv4Addr, SocketAddrV4};

use redplane_sdk::net::{Device, Ports};
use redplane_sdk::protocol::Time;
use redplane_sdk::protocol::chain::{Configuration, NodeId};
use redplane_sdk::protocol::node::{Destination, Node};
use redplane_sdk::protocol::wire::UDP_PORT;

use super::datagram::Datagram;
use super::hosts::Mac;

/// UDP port on which nodes hear each other.
pub const CHAIN_PORT: u16 = UDP_PORT + 1;

/// Address of the shard: whoever is head answers to it.
pub const SHARD_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Ethernet address of the network between switches and store; it routes by IP address.
pub const FABRIC_MAC: Mac = [0x02, 0, 0, 0, 0xfa, 0xb0];

/// A node's own address.
#[must_use]
pub fn address(node: NodeId) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(192, 0, 2, 10)) + u32::from(node.0))
}

/// A store node with one link.
pub struct StoreNode {
    node: Node,
    mac: Mac,
}

impl StoreNode {
    /// Puts a node at its address.
    #[must_use]
    pub fn new(node: Node) -> StoreNode {
        let [high, low] = node.id().0.to_be_bytes();
        StoreNode { node, mac: [0x02, 0, 0, 0x57, high, low] }
    }

    /// When the coordinator made a new configuration.
    pub fn reconfigure(&mut self, configuration: Configuration, now: Time) {
        self.node.reconfigure(configuration, now);
    }

    /// The node, to look at.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    fn flush(&mut self, out: &mut Ports) {
        while let Some(transmit) = self.node.poll_transmit() {
            let own = address(self.node.id());
            let (from, to) = match transmit.to {
                Destination::Switch(to) => (SocketAddrV4::new(own, UDP_PORT), to),
                Destination::Node(node) => {
                    (SocketAddrV4::new(own, CHAIN_PORT), SocketAddrV4::new(address(node), CHAIN_PORT))
                }
            };
            let datagram = Datagram { from, to, payload: &transmit.bytes };
            out.send(0, datagram.to_frame(self.mac, FABRIC_MAC));
        }
    }
}

impl Device for StoreNode {
    fn receive(&mut self, _: u16, frame: &[u8], now: Time, out: &mut Ports) {
        let Some(datagram) = Datagram::parse(frame) else { return };
        match datagram.to.port() {
            UDP_PORT => self.node.handle_request(datagram.from, datagram.payload, now),
            CHAIN_PORT => {
                let first = u32::from(address(NodeId(0)));
                let from = u32::from(*datagram.from.ip()).wrapping_sub(first);
                if let Ok(from) = u16::try_from(from) {
                    self.node.handle_chain(NodeId(from), datagram.payload, now);
                }
            }
            _ => return,
        }
        self.flush(out);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.node.poll_timeout()
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        self.node.handle_timeout(now);
        self.flush(out);
    }
}
