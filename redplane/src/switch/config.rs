//! `switch.toml`: what the operator tells a software switch on Linux.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use redplane_sdk::App;
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{Route, StorePath, SwitchConfig};
use redplane_sdk::protocol::mac::MAC_LEN;
use redplane_sdk::protocol::{Lease, SwitchIdentity};
use serde::{Deserialize, Serialize};

use crate::authentication::{self, AuthenticationFile};

/// A switch on Linux interfaces, as a file says it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchFile {
    /// Name of the app.
    pub app: String,
    /// Number of the switch; no two that share a store have the same.
    pub id: u16,
    /// Its protocol address.
    pub address: Ipv4Addr,
    /// Its Ethernet address towards the stores.
    pub mac: String,
    /// Milliseconds of a lease; as the store has it.
    pub lease_ms: u64,
    /// By how much clocks may differ in speed, in thousandths; as the store has it.
    #[serde(default = "drift_margin")]
    pub drift_margin_per_mille: u16,
    /// Where commands and questions come in: a Unix socket.
    #[serde(default)]
    pub control: Option<std::path::PathBuf>,
    /// Where Prometheus is answered: an address of loopback.
    #[serde(default)]
    pub metrics: Option<SocketAddr>,
    /// Whether `metrics` may be another address.
    #[serde(default)]
    pub metrics_public: bool,
    /// Its ports.
    pub port: Vec<PortFile>,
    /// Where each shard of the store is reached, by shard.
    pub store: Vec<StoreFile>,
    /// What `forward` goes by.
    #[serde(default)]
    pub route: Vec<RouteFile>,
    /// The keys of the messages to and from the store; without it, they are not authenticated.
    #[serde(default)]
    pub authentication: Option<AuthenticationFile>,
    /// The app's tables.
    #[serde(default)]
    pub tables: toml::Table,
}

/// A port of a switch.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PortFile {
    /// Its number in the app, the routes and the protocol.
    pub number: u16,
    /// Its interface.
    pub interface: String,
    /// Whether the interface is a TAP device, to be made, and not one that is there.
    #[serde(default)]
    pub tap: bool,
    /// Whether messages of the store may come in here.
    #[serde(default)]
    pub store_facing: bool,
}

/// Where a shard is reached.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFile {
    /// Address of a node of its chain.
    pub address: Ipv4Addr,
    /// Ethernet address of the next hop to it.
    pub mac: String,
    /// Port that leads there.
    pub port: u16,
}

/// Where a prefix leads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteFile {
    /// The prefix, such as 10.0.0.0/8.
    pub prefix: String,
    /// Port that leads there.
    pub port: u16,
    /// The switch's Ethernet address on that link.
    pub source: String,
    /// The next hop's.
    pub destination: String,
}

fn drift_margin() -> u16 {
    10
}

/// Bytes of IPv4 and UDP around a message.
const IPV4_UDP_LEN: usize = 28;

/// Bytes of the header of an Ethernet frame, which is carried too.
const ETHERNET_LEN: usize = 14;

impl SwitchFile {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not as it should be; the message has the place.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        authentication::parse(&text)
            .with_context(|| format!("{} is not a switch's configuration", path.display()))
    }

    /// The lease.
    ///
    /// # Errors
    /// If it cannot be.
    pub fn lease(&self) -> anyhow::Result<Lease> {
        let duration = Duration::from_millis(self.lease_ms);
        Lease::new(duration, self.drift_margin_per_mille).context("lease_ms")
    }

    /// What the pipeline is told. `mtu` is that of the links to the stores.
    ///
    /// # Errors
    /// If a part of it cannot be; the message names it.
    pub fn pipeline(&self, incarnation: u16, store_mtu: u16) -> anyhow::Result<SwitchConfig> {
        let stores: anyhow::Result<Vec<_>> = self.store.iter().map(StoreFile::path).collect();
        let routes: anyhow::Result<Vec<_>> = self.route.iter().map(RouteFile::route).collect();
        let facing = self.port.iter().filter(|port| port.store_facing);
        let config = SwitchConfig {
            identity: SwitchIdentity { switch: self.id, incarnation },
            mac: mac(&self.mac)?,
            address: self.address,
            lease: self.lease()?,
            stores: stores?,
            store_facing_ports: facing.map(|port| port.number).collect(),
            routes: routes?,
            store_mtu,
            authentication: self.authentication.as_ref().and_then(AuthenticationFile::mac_keys),
        };
        for store in &config.stores {
            ensure!(
                config.store_facing_ports.contains(&store.port),
                "store {} is at port {}, which is not store_facing: its answers would be taken for traffic",
                store.address,
                store.port
            );
        }
        Ok(config)
    }

    /// Where the metrics are served, if they are.
    ///
    /// # Errors
    /// If others than this machine would reach them and the file does not say that they may.
    pub fn metrics(&self) -> anyhow::Result<Option<SocketAddr>> {
        let is_private = |address: SocketAddr| address.ip().is_loopback() || self.metrics_public;
        ensure!(
            self.metrics.is_none_or(is_private),
            "`metrics` is {}, where others than this machine reach it; it has no password: take 127.0.0.1, or say \
             `metrics_public = true`",
            self.metrics.map(|address| address.ip().to_string()).unwrap_or_default()
        );
        Ok(self.metrics)
    }

    /// The app's tables, filled.
    ///
    /// # Errors
    /// If an entry does not fit; the message names it.
    pub fn tables<A: App>(&self) -> anyhow::Result<A::Tables> {
        toml::Value::Table(self.tables.clone()).try_into().context("[tables]")
    }

    /// Checks that a full frame of the other ports fits into a message to the store.
    ///
    /// # Errors
    /// If not, with the MTU that would do.
    pub fn check_headroom(&self, message_len: usize, mtu: impl Fn(&str) -> u32) -> anyhow::Result<u16> {
        let (facing, others): (Vec<_>, Vec<_>) = self.port.iter().partition(|port| port.store_facing);
        let store =
            facing.iter().map(|port| mtu(&port.interface)).min().context("no port is store_facing")?;
        let Some(widest) = others.iter().max_by_key(|port| mtu(&port.interface)) else {
            return Ok(u16::try_from(store).unwrap_or(u16::MAX));
        };
        let code_len = if self.authentication.is_some() { MAC_LEN } else { 0 };
        let needed = mtu(&widest.interface) as usize + ETHERNET_LEN + IPV4_UDP_LEN + message_len + code_len;
        ensure!(
            store as usize >= needed,
            "the links to the store take IP packets of {store} bytes, but a full frame of {} in a message needs \
             {needed}: raise the MTU of {} (and of the way to the store), or lower that of {}",
            widest.interface,
            facing.iter().map(|port| port.interface.as_str()).collect::<Vec<_>>().join(" and "),
            widest.interface,
        );
        Ok(u16::try_from(store).unwrap_or(u16::MAX))
    }
}

impl StoreFile {
    /// For the pipeline.
    ///
    /// # Errors
    /// If the Ethernet address is none.
    pub fn path(&self) -> anyhow::Result<StorePath> {
        Ok(StorePath { address: self.address, mac: mac(&self.mac)?, port: self.port })
    }
}

impl RouteFile {
    fn route(&self) -> anyhow::Result<Route> {
        let (prefix, length) = self.prefix.split_once('/').context("a route's prefix is ADDRESS/BITS")?;
        let what = || format!("route {}", self.prefix);
        let next_hop = redplane_sdk::pipeline::NextHop {
            port: self.port,
            source: mac(&self.source)?,
            destination: mac(&self.destination)?,
        };
        Ok(Route {
            prefix: prefix.parse().with_context(what)?,
            length: length.parse().with_context(what)?,
            next_hop,
        })
    }
}

fn mac(text: &str) -> anyhow::Result<MacAddr> {
    text.parse().map_err(|_| anyhow::anyhow!("`{text}` is not an Ethernet address"))
}
