//! `testbed.toml`: hosts on two sides, switches between them, and a store.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::network::Port;
use super::wire::Impairment;
use crate::authentication::{self, AuthenticationFile};

/// Most switches: the second byte of a link's addresses counts them.
pub const SWITCHES_MAX: u8 = 16;

/// Most nodes of the store.
pub const STORE_NODES_MAX: u8 = 7;

/// Longest name: an interface's name has 15 characters, and so have those that are made of it.
const NAME_LEN_MAX: usize = 8;

/// Bytes of an IP packet that the hosts' links take.
pub const HOST_MTU: u16 = 1500;

/// Bytes of an IP packet that the links to the store take: a full frame within a message fits.
pub const STORE_MTU: u16 = 9000;

/// Which data plane the switches run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DataPlane {
    /// The software switch.
    Software,
    /// The emitted P4 in BMv2's `simple_switch`.
    Bmv2,
}

impl DataPlane {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DataPlane::Software => "software",
            DataPlane::Bmv2 => "bmv2",
        }
    }
}

/// A testbed, as a file says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name: every namespace begins with it.
    pub name: String,
    /// Which app the switches run.
    pub app: String,
    /// Which data plane runs it.
    #[serde(default = "software")]
    pub data_plane: DataPlane,
    /// Milliseconds of a lease.
    #[serde(default = "lease_ms")]
    pub lease_ms: u64,
    /// How many switches there are.
    #[serde(default = "two")]
    pub switches: u8,
    /// How many nodes the store has.
    #[serde(default = "three")]
    pub store_nodes: u8,
    /// The hosts inside.
    pub inside: Side,
    /// The hosts outside.
    pub outside: Side,
    /// Prefixes that the outside reaches through the switches: a NAT's public addresses, a firewall's inside.
    pub announced: Vec<String>,
    /// Cables of switches that are not perfect, or may become so.
    #[serde(default)]
    pub cable: Vec<CableFile>,
    /// The keys of the messages between switches and store; without it, they are not authenticated.
    #[serde(default)]
    pub authentication: Option<AuthenticationFile>,
    /// The app's tables.
    #[serde(default)]
    pub tables: toml::Table,
    /// The app's configuration, for its `on_create`.
    #[serde(default)]
    pub config: Option<toml::Value>,
    /// Where its files are while it runs (default: /run/redplane/NAME).
    #[serde(default)]
    pub folder: Option<PathBuf>,
}

/// A cable of a switch that goes through this program, which impairs it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CableFile {
    /// Number of the switch, from one.
    pub switch: u8,
    /// The switch's port: inside, outside or store.
    pub port: String,
    /// What it does to frames.
    #[serde(default)]
    pub impairment: Impairment,
}

/// Hosts on one side: one namespace with as many addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Its network, such as 10.7.0.0/24; the hosts have the first addresses, the router the last one.
    pub network: String,
    /// How many hosts there are.
    #[serde(default = "one")]
    pub hosts: u8,
}

fn software() -> DataPlane {
    DataPlane::Software
}

fn lease_ms() -> u64 {
    100
}

fn one() -> u8 {
    1
}

fn two() -> u8 {
    2
}

fn three() -> u8 {
    3
}

impl Topology {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not as it should be.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// If it is not as it should be; the message has the place.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let topology: Self = authentication::parse(text)?;
        let fits = |what: &str, found: u8, most: u8| {
            ensure!((1..=most).contains(&found), "{what} is {found}, and must be 1 to {most}");
            Ok(())
        };
        fits("switches", topology.switches, SWITCHES_MAX)?;
        fits("store_nodes", topology.store_nodes, STORE_NODES_MAX)?;
        let name = &topology.name;
        let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        ensure!(
            is_plain && (1..=NAME_LEN_MAX).contains(&name.len()),
            "name `{name}` must have 1 to {NAME_LEN_MAX} small letters and digits: namespaces are called by it"
        );
        for cable in &topology.cable {
            fits("the switch of a cable", cable.switch, topology.switches)?;
            Port::named(&cable.port)?;
            cable.impairment.link().with_context(|| format!("cable of s{}, {}", cable.switch, cable.port))?;
        }
        for side in [&topology.inside, &topology.outside] {
            let (_, length) = side.parts()?;
            let room = 1u64 << (32 - length);
            ensure!(
                u64::from(side.hosts) + 2 < room,
                "{} has no room for {} hosts and a router",
                side.network,
                side.hosts
            );
        }
        Ok(topology)
    }

    /// Where its files are while it runs.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| Path::new("/run/redplane").join(&self.name))
    }
}

impl Side {
    fn parts(&self) -> anyhow::Result<(Ipv4Addr, u8)> {
        let network = &self.network;
        let (address, length) =
            network.split_once('/').with_context(|| format!("network `{network}` is not ADDRESS/BITS"))?;
        let length: u8 = length.parse().with_context(|| format!("network `{network}`"))?;
        ensure!((8..=29).contains(&length), "network `{network}` must have 8 to 29 bits");
        let address: Ipv4Addr = address.parse().with_context(|| format!("network `{network}`"))?;
        let host_bits = u32::MAX >> length;
        ensure!(u32::from(address) & host_bits == 0, "network `{network}` has bits set behind its prefix");
        Ok((address, length))
    }

    /// Bits of its network.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.parts().map_or(24, |(_, length)| length)
    }

    /// The addresses of its hosts.
    #[must_use]
    pub fn hosts(&self) -> Vec<Ipv4Addr> {
        let first = self.parts().map_or(0, |(address, _)| u32::from(address));
        (1..=u32::from(self.hosts)).map(|host| Ipv4Addr::from(first + host)).collect()
    }

    /// The address of its router.
    #[must_use]
    pub fn router(&self) -> Ipv4Addr {
        let first = self.parts().map_or(0, |(address, _)| u32::from(address));
        Ipv4Addr::from(first + (u32::MAX >> self.length()) - 1)
    }
}
