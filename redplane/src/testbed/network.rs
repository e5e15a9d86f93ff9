//! The network of a testbed: namespaces, cables, addresses and routes.
//!
//! ```text
//!                        ┌── s1 ──┐
//! inside ── inner router ┤   │    ├ outer router ── outside
//!                        └── s2 ──┘
//!                            │
//!                          store
//! ```
//!
//! A cable is a veth pair; its end in a router or the store is called as the switch, its end in the switch as its port.

use std::fmt::Write;
use std::net::Ipv4Addr;

use anyhow::Context;

use super::namespace::{Namespace, run};
use super::topology::{CableFile, HOST_MTU, STORE_MTU, Topology};
use super::wire::Cable;

/// Ports of a switch.
pub const PORTS: [Port; 3] = [
    Port { number: 1, interface: "inside", peer: Peer::Inner },
    Port { number: 2, interface: "outside", peer: Peer::Outer },
    Port { number: 3, interface: "store", peer: Peer::Store },
];

/// A port of a switch.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its interface, in the switch's namespace.
    pub interface: &'static str,
    /// What is at the other end of the cable.
    pub peer: Peer,
}

impl Port {
    /// The port of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let port = PORTS.into_iter().find(|port| port.interface == name);
        port.with_context(|| format!("a switch has no port `{name}`; it has inside, outside and store"))
    }
}

/// What a switch is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The router of the inside.
    Inner,
    /// The router of the outside.
    Outer,
    /// The store.
    Store,
}

/// The namespaces of a testbed.
#[derive(Debug)]
pub struct Network {
    /// The hosts inside.
    pub inside: Namespace,
    /// The hosts outside.
    pub outside: Namespace,
    inner: Namespace,
    outer: Namespace,
    /// The nodes of the store.
    pub store: Namespace,
    /// The switches.
    pub switches: Vec<Namespace>,
    /// Where the cables run that may be impaired.
    pub(super) wire: Namespace,
    inner_routes: Vec<String>,
    outer_routes: Vec<String>,
}

impl Network {
    /// The namespaces of a topology, which need not exist.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let named = |what: &str| Namespace::named(format!("{}-{what}", topology.name));
        Network {
            inside: named("inside"),
            outside: named("outside"),
            inner: named("inner"),
            outer: named("outer"),
            store: named("store"),
            switches: (1..=topology.switches).map(|switch| named(&format!("s{switch}"))).collect(),
            wire: named("wire"),
            inner_routes: vec!["default".to_owned()],
            outer_routes: topology.announced.clone(),
        }
    }

    /// The routers of the inside and of the outside.
    #[must_use]
    pub fn routers(&self) -> [&Namespace; 2] {
        [&self.inner, &self.outer]
    }

    fn all(&self) -> impl Iterator<Item = &Namespace> {
        [&self.inside, &self.outside, &self.inner, &self.outer, &self.store, &self.wire]
            .into_iter()
            .chain(&self.switches)
    }

    /// The namespace at the other end of a port's cable.
    fn peer(&self, peer: Peer) -> &Namespace {
        match peer {
            Peer::Inner => &self.inner,
            Peer::Outer => &self.outer,
            Peer::Store => &self.store,
        }
    }

    /// Removes it, with all that runs in it. What is not there is no error.
    ///
    /// # Errors
    /// If something stays.
    pub fn remove(&self) -> anyhow::Result<()> {
        self.all().try_for_each(Namespace::remove)
    }

    /// Builds it. Nothing of that name may be there.
    ///
    /// # Errors
    /// If the process may not, or a part cannot be.
    pub fn build(&self, topology: &Topology) -> anyhow::Result<()> {
        for namespace in self.all() {
            namespace.create().context("cannot make a network namespace (it needs root)")?;
        }
        for (side, hosts, router) in
            [(&topology.inside, &self.inside, &self.inner), (&topology.outside, &self.outside, &self.outer)]
        {
            cable(hosts, "eth0", router, "hosts", HOST_MTU)?;
            let mut batch = String::from("link set eth0 up\n");
            for host in side.hosts() {
                let _ = writeln!(batch, "addr add {host}/{} dev eth0", side.length());
            }
            let _ = writeln!(batch, "route add default via {}", side.router());
            let address =
                format!("addr add {}/{} dev hosts\nlink set hosts up\n", side.router(), side.length());
            router.ip(&address)?;
            hosts.ip(&batch)?;
            router.sysctl("net.ipv4.ip_forward", "1")?;
            router.sysctl("net.ipv4.fib_multipath_hash_policy", "1")?;
        }
        for (index, switch) in self.switches.iter().enumerate() {
            for port in PORTS {
                let through = |cable: &CableFile| {
                    usize::from(cable.switch) == index + 1 && cable.port == port.interface
                };
                self.connect(index, switch, port, topology.cable.iter().any(through))?;
            }
        }
        let mut batch = String::new();
        for node in 0..topology.store_nodes {
            let _ = writeln!(batch, "addr add {}/32 dev lo", store_address(node));
        }
        self.store.ip(&batch)?;
        self.route(&vec![true; self.switches.len()])
    }

    fn connect(
        &self,
        index: usize,
        switch: &Namespace,
        port: Port,
        through_wire: bool,
    ) -> anyhow::Result<()> {
        let (peer, end) = (self.peer(port.peer), peer_interface(index));
        let mtu = if port.peer == Peer::Store { STORE_MTU } else { HOST_MTU };
        if through_wire {
            let [near, far] = wire_interfaces((index, port.number));
            cable(switch, port.interface, &self.wire, &near, mtu)?;
            cable(&self.wire, &far, peer, &end, mtu)?;
            self.wire.ip(&format!("link set {near} up\nlink set {far} up\n"))?;
        } else {
            cable(switch, port.interface, peer, &end, mtu)?;
        }
        // The interface keeps an address that is not the switch's: so the kernel, which sees every frame too, throws it away
        // at once, as one for another host.
        switch.ip(&format!("link set {} up\n", port.interface))?;
        let mut batch =
            format!("link set {end} address {}\nlink set {end} up\n", peer_mac(index, port.number));
        let hop = if port.peer == Peer::Store {
            let address = switch_address(index);
            let _ = writeln!(batch, "route add {address}/32 dev {end}");
            address
        } else {
            let (own, hop) = link_addresses(index, port.number);
            let _ = writeln!(batch, "addr add {own}/30 dev {end}");
            hop
        };
        let _ = writeln!(batch, "neigh add {hop} lladdr {} dev {end} nud permanent", mac(index, port.number));
        peer.ip(&batch)
    }

    /// Lets the kernel finish every frame before it goes to a switch.
    ///
    /// # Errors
    /// If `ethtool` is not there.
    pub fn switch_off_offloads(&self) -> anyhow::Result<()> {
        for index in 0..self.switches.len() {
            for port in PORTS {
                self.peer(port.peer).switch_off_offloads(&peer_interface(index))?;
            }
        }
        Ok(())
    }

    /// Spreads traffic over these switches, on both sides. Without any there is no route.
    ///
    /// # Errors
    /// If a router does not take it.
    pub fn route(&self, usable: &[bool]) -> anyhow::Result<()> {
        for (router, routes, port) in
            [(&self.inner, &self.inner_routes, 1), (&self.outer, &self.outer_routes, 2)]
        {
            let mut batch = String::new();
            for route in routes {
                let hops: Vec<_> = usable.iter().enumerate().filter(|(_, usable)| **usable).collect();
                let _ = write!(batch, "route replace {route}");
                if hops.is_empty() {
                    batch.insert_str(batch.rfind("route replace").unwrap_or(0) + 14, "unreachable ");
                }
                for (index, _) in hops {
                    let (_, hop) = link_addresses(index, port);
                    let _ = write!(batch, " nexthop via {hop} dev {} onlink", peer_interface(index));
                }
                batch.push('\n');
            }
            router.ip(&batch)?;
        }
        Ok(())
    }

    /// Takes a switch's cable down or up, or all of them.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn set_links(&self, switch: usize, port: Option<&str>, up: bool) -> anyhow::Result<()> {
        let state = if up { "up" } else { "down" };
        let mut batch = String::new();
        for interface in
            PORTS.map(|port| port.interface).iter().filter(|name| port.is_none_or(|port| port == **name))
        {
            let _ = writeln!(batch, "link set {interface} {state}");
        }
        anyhow::ensure!(!batch.is_empty(), "a switch has no port {}", port.unwrap_or_default());
        self.switches[switch].ip(&batch)
    }
}

/// Connects two namespaces.
fn cable(a: &Namespace, a_end: &str, b: &Namespace, b_end: &str, mtu: u16) -> anyhow::Result<()> {
    let mtu = mtu.to_string();
    let mut ip = std::process::Command::new("ip");
    ip.args(["link", "add", a_end, "netns", a.name(), "mtu", &mtu, "type", "veth"]);
    ip.args(["peer", "name", b_end, "netns", b.name(), "mtu", &mtu]);
    run(&mut ip)
}

/// The interface of a router or the store that leads to a switch.
#[must_use]
pub fn peer_interface(switch: usize) -> String {
    format!("s{}", switch + 1)
}

/// The interfaces of a cable that runs through the wire's namespace: towards the switch, and away from it.
pub(super) fn wire_interfaces((switch, port): Cable) -> [String; 2] {
    ["near", "far"].map(|end| format!("s{}-{port}-{end}", switch + 1))
}

/// The Ethernet address of a switch's port.
#[must_use]
pub fn mac(switch: usize, port: u16) -> String {
    format!("02:00:00:01:{:02x}:{port:02x}", switch + 1)
}

/// The Ethernet address at the other end of its cable.
#[must_use]
pub fn peer_mac(switch: usize, port: u16) -> String {
    format!("02:00:00:02:{:02x}:{port:02x}", switch + 1)
}

/// The protocol address of a switch.
#[must_use]
pub fn switch_address(switch: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, switch as u8 + 1)
}

/// The address of a node of the store.
#[must_use]
pub fn store_address(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 101 + node)
}

/// The addresses of a router and of the next hop on their cable.
fn link_addresses(switch: usize, port: u16) -> (Ipv4Addr, Ipv4Addr) {
    let at = |host| Ipv4Addr::new(169, 254, 16 * port as u8 + switch as u8, host);
    (at(1), at(2))
}
