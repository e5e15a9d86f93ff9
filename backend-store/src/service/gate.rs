//! Who is let in: datagrams of configured switches and of the other nodes, and no others.
//!
//! What is not let in gets no answer at all, so nobody can make the store send anything to a third party.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use redplane_protocol::wire::Packet;
use redplane_protocol::{NodeId, SwitchIdentity};

use super::config::{Config, SwitchAddress};

/// Why a datagram was kept from the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GateDrop {
    /// From an address of no configured switch, or as a switch that has another address.
    UnknownSwitch,
    /// On the chain's port, from an address of no node.
    UnknownNode,
    /// Without a valid message authentication code.
    Unauthenticated,
    /// This node has no place in the cluster now.
    NoPlace,
}

impl GateDrop {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::UnknownSwitch, Self::UnknownNode, Self::Unauthenticated, Self::NoPlace];

    /// Name of the counter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSwitch => "unknown_switch",
            Self::UnknownNode => "unknown_node",
            Self::Unauthenticated => "unauthenticated",
            Self::NoPlace => "no_place",
        }
    }
}

/// The configured switches, by address.
#[derive(Debug)]
pub(crate) struct SwitchGate {
    /// Empty: any, since a code proves who sent it.
    switches: BTreeMap<Ipv4Addr, Vec<(u16, Option<u16>)>>,
    /// The last one that was let in: the next is most often the same.
    last: Option<(SocketAddrV4, u16)>,
}

impl SwitchGate {
    pub(crate) fn new(config: &Config) -> Self {
        let mut switches: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, SwitchAddress { ip, port }) in &config.switches {
            switches.entry(*ip).or_default().push((*id, *port));
        }
        Self { switches, last: None }
    }

    /// Whether a switch's message comes from the address that this switch has.
    pub(crate) fn admits(&mut self, from: SocketAddrV4, bytes: &[u8]) -> bool {
        // What is too short to name a switch is counted where it is parsed.
        let Ok(packet) = Packet::new_checked(bytes) else { return self.switches.contains_key(from.ip()) };
        let SwitchIdentity { switch, .. } = packet.identity();
        if self.switches.is_empty() || self.last == Some((from, switch)) {
            return true;
        }
        let known = self.switches.get(from.ip()).is_some_and(|there| {
            there.iter().any(|(id, port)| *id == switch && port.is_none_or(|port| port == from.port()))
        });
        if known {
            self.last = Some((from, switch));
        }
        known
    }
}

/// The nodes of the cluster by the chain address that they have for one shard.
#[derive(Debug)]
pub(crate) struct Peers(Vec<(NodeId, SocketAddrV4)>);

impl Peers {
    pub(crate) fn new(config: &Config, own: NodeId, shard: u16) -> Self {
        let others = config.nodes.iter().filter(|(id, _)| **id != own);
        Self(others.filter_map(|(id, node)| Some((*id, *node.chain.get(usize::from(shard))?))).collect())
    }

    pub(crate) fn node(&self, address: SocketAddrV4) -> Option<NodeId> {
        self.0.iter().find(|(_, other)| *other == address).map(|(id, _)| *id)
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddrV4> {
        self.0.iter().find(|(id, _)| *id == node).map(|(_, address)| *address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redplane_protocol::{Header, Kind, Serial, Ticks};

    fn request(switch: u16) -> Vec<u8> {
        let header = Header {
            kind: Kind::Renew,
            create: false,
            reason: None,
            app: 1,
            fingerprint: 1,
            identity: SwitchIdentity { switch, incarnation: 1 },
            generation: Serial(1),
            sequence: Serial(1),
            ticket: Serial(1),
            sent_at: Ticks(1),
            port: 0,
        };
        let mut bytes = vec![0; redplane_protocol::wire::HEADER_LEN];
        header.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_switch_is_let_in_from_its_own_address() {
        let ip = |last| Ipv4Addr::new(127, 0, 0, last);
        let switches = [(ip(1), vec![(1, None), (2, Some(7))])].into();
        let mut gate = SwitchGate { switches, last: None };
        for (from, port, switch, admitted) in [
            (ip(1), 9, 1, true),
            (ip(1), 9, 1, true),
            (ip(1), 9, 2, false),
            (ip(1), 7, 2, true),
            (ip(1), 7, 3, false),
            (ip(2), 7, 1, false),
            (ip(1), 9, 1, true),
        ] {
            let from = SocketAddrV4::new(from, port);
            assert_eq!(gate.admits(from, &request(switch)), admitted, "{from} as {switch}");
        }
        assert!(!gate.admits(SocketAddrV4::new(ip(9), 1), &[1]));
    }
}
