//! What the operator tells a switch.

use std::net::{Ipv4Addr, SocketAddrV4};

use redplane_protocol::mac::{Link, MAC_LEN, MacKeys};
use redplane_protocol::wire::{HEADER_LEN, UDP_PORT};
use redplane_protocol::{Fixed, Lease, SwitchIdentity};
use serde::Deserialize;

use super::encapsulation::OVERHEAD;
use crate::app::App;
use crate::packet::MacAddr;
use crate::table::TableError;

/// Everything about a switch that is not the app's.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    /// Who it is; another incarnation at each boot.
    pub identity: SwitchIdentity,
    /// Its Ethernet address towards the stores.
    pub mac: MacAddr,
    /// Its protocol address.
    pub address: Ipv4Addr,
    /// How long a lease lasts; the stores must have the same.
    pub lease: Lease,
    /// Where the head of each shard is, by shard.
    pub stores: Vec<StorePath>,
    /// Ports by which messages of the store may come in.
    pub store_facing_ports: Vec<u16>,
    /// What `forward` goes by.
    pub routes: Vec<Route>,
    /// Largest IPv4 packet, in bytes, that the links to the stores take. A packet that would not fit once it is carried
    /// is dropped as `store_mtu`.
    pub store_mtu: u16,
    /// The keys of the code behind each message to and from the stores, which must have the same. A message without a right
    /// code is dropped as `protocol_unauthenticated`. `None`: no codes, and the stores must be configured with this
    /// switch's address.
    pub authentication: Option<MacKeys>,
}

/// How to reach a shard of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePath {
    /// Address of the shard's head.
    pub address: Ipv4Addr,
    /// Ethernet address of the next hop to it.
    pub mac: MacAddr,
    /// Port of this switch that leads there.
    pub port: u16,
}

/// A route: the longest prefix of the destination counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// First address of the prefix.
    pub prefix: Ipv4Addr,
    /// Bits of the prefix.
    pub length: u8,
    /// Where it leads.
    pub next_hop: NextHop,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextHop {
    /// Port of this switch.
    pub port: u16,
    /// The switch's Ethernet address on that link.
    pub source: MacAddr,
    /// The next hop's.
    pub destination: MacAddr,
}

/// Why a switch cannot be configured so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// State that shall survive needs a store.
    #[error("a switch with replication needs the address of at least one store")]
    NoStore,
    /// Shards are numbered with 16 bits.
    #[error("{found} shards are more than 65535")]
    Shards {
        /// How many there are.
        found: usize,
    },
    /// Not even a message without a packet fits.
    #[error("store_mtu {found} is less than a message of this app: {needed}")]
    StoreMtu {
        /// What is configured.
        found: u16,
        /// What the app's key and value need.
        needed: usize,
    },
    /// A route that is none, or one too many.
    #[error("route: {0}")]
    Route(#[source] TableError),
}

impl SwitchConfig {
    /// Bytes of the code behind a message.
    pub(super) fn code_len(&self) -> usize {
        if self.authentication.is_some() { MAC_LEN } else { 0 }
    }

    /// What a code is for: this switch's messages and answers.
    pub(super) fn link(&self) -> Link {
        Link::Switch(SocketAddrV4::new(self.address, UDP_PORT))
    }

    pub(super) fn check<A: App>(&self) -> Result<(), ConfigError> {
        if self.stores.len() > usize::from(u16::MAX) {
            return Err(ConfigError::Shards { found: self.stores.len() });
        }
        let needed = OVERHEAD + HEADER_LEN + A::Key::LEN + A::State::LEN + self.code_len();
        if usize::from(self.store_mtu) < needed {
            return Err(ConfigError::StoreMtu { found: self.store_mtu, needed });
        }
        Ok(())
    }
}
