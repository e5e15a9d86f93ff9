//! What an operator decides about a switch.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{Route, StorePath, SwitchConfig};
use serde::Deserialize;

/// An operator's configuration of one switch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Number of the switch.
    pub switch: u16,
    /// Number of its life: another one at each boot.
    pub incarnation: u16,
    /// Its address towards the stores.
    pub address: Ipv4Addr,
    /// Its Ethernet address towards the stores.
    pub mac: MacAddr,
    /// Ticks (1.024 ms) of a lease, the margin for drift taken off.
    pub lease_ticks: u32,
    /// Ticks after which an unacknowledged write is sent again.
    pub resend_ticks: u32,
    /// Largest IPv4 packet, in bytes, that the links to the stores take.
    pub store_mtu: u16,
    /// Where the head of each shard is, by shard.
    pub stores: Vec<StorePath>,
    /// Ports by which messages of the store may come in.
    pub store_facing_ports: Vec<u16>,
    /// Ports by which the switch's CPU may start a sweep.
    #[serde(default)]
    pub cpu_ports: Vec<u16>,
    /// What `forward()` goes by.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The app's tables by name, each as the software switch reads it too: entries by key (`{"10.0.0.0/8": true}`), or rows
    /// of columns (`[{"port": "0x50/0xf0", "value": true}]`). A table that is not there is empty.
    #[serde(default)]
    pub tables: BTreeMap<String, serde_json::Value>,
}

impl Operator {
    /// What the software switch of this configuration has, for the switch that runs the emitted P4. Tables are to be added.
    pub fn of_switch(config: &SwitchConfig, resend_ticks: u32) -> Self {
        Operator {
            switch: config.identity.switch,
            incarnation: config.identity.incarnation,
            address: config.address,
            mac: config.mac,
            lease_ticks: config.lease.ticks(),
            resend_ticks,
            store_mtu: config.store_mtu,
            stores: config.stores.clone(),
            store_facing_ports: config.store_facing_ports.clone(),
            cpu_ports: Vec::new(),
            routes: config.routes.clone(),
            tables: BTreeMap::new(),
        }
    }
}

/// A number as an operator writes it in a table: decimal, hexadecimal after `0x`, `true` or `false`, an IPv4, IPv6 or
/// Ethernet address. `None` if the text is none of these.
pub fn number(text: &str) -> Option<u128> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let address = || match text.parse().ok()? {
        IpAddr::V4(address) => Some(address.to_bits().into()),
        IpAddr::V6(address) => Some(address.to_bits()),
    };
    let ethernet = || text.parse().ok().map(mac_number);
    let truth = || text.parse::<bool>().ok().map(u128::from);
    number.or_else(address).or_else(ethernet).or_else(truth)
}

/// The octets of an Ethernet address side by side.
pub(crate) fn mac_number(mac: MacAddr) -> u128 {
    mac.octets().iter().fold(0, |number, octet| number << 8 | u128::from(*octet))
}
