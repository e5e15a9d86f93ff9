//! What the demo has to know of each app.

use std::net::Ipv4Addr;

use anyhow::Result;
use redplane_sdk::App;

use super::topology::{INSIDE, INSIDE_PREFIX, OUTSIDE_PREFIX, PUBLIC};
use super::translate::PORTS;
use super::workload::{SERVER_PORT, SERVERS};
use crate::load_balancer::{Backend, Pools, Service};
use crate::{firewall, load_balancer, nat};

/// A prefix, and the switches (counted from one) that lead there.
pub type Way = ((Ipv4Addr, u8), &'static [u16]);

const ANY: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);

/// An app in the demo's network.
pub trait Scenario: 'static {
    /// The app.
    type App: App;
    /// Both directions of a connection have one state, so the fabric sends them to one switch while it can.
    const SYMMETRIC: bool = false;
    /// A stranger outside tries to get in all the while.
    const STRANGER: bool = false;
    /// Each client's connection has to stay with one server.
    const STICKY: bool = false;

    /// Tables of a switch that has these of the public addresses.
    ///
    /// # Errors
    /// Never: the tables have room.
    fn tables(public: &[Ipv4Addr]) -> Result<<Self::App as App>::Tables>;

    /// Configuration of a store that gives away these public addresses.
    fn config(public: &[Ipv4Addr]) -> <Self::App as App>::Config;

    /// Where a client turns to for this server.
    fn remote(server: Ipv4Addr) -> Ipv4Addr {
        server
    }

    /// The ways from outside. With replication any switch takes what comes back.
    fn ways(_replication: bool) -> Vec<Way> {
        vec![(ANY, &[1, 2])]
    }

    /// A change of the configuration in the middle of the run; says in words what it is.
    fn change(_config: &mut <Self::App as App>::Config) -> Option<String> {
        None
    }
}

/// The NAT.
#[derive(Debug)]
pub struct Nat;

impl Scenario for Nat {
    type App = nat::App;

    fn tables(public: &[Ipv4Addr]) -> Result<nat::Tables> {
        let mut tables = nat::Tables::default();
        tables.inside.insert(INSIDE_PREFIX.0, INSIDE_PREFIX.1, true)?;
        for address in public {
            tables.public.insert(*address, 32, true)?;
        }
        Ok(tables)
    }

    fn config(public: &[Ipv4Addr]) -> nat::Pool {
        nat::Pool { addresses: public.to_vec(), first_port: PORTS.0, last_port: PORTS.1 }
    }

    /// Without replication only the switch that owns an address could take what comes back to it.
    fn ways(replication: bool) -> Vec<Way> {
        if replication {
            return vec![(ANY, &[1, 2])];
        }
        vec![((PUBLIC[0], 32), &[1]), ((PUBLIC[1], 32), &[2])]
    }
}

/// The firewall.
#[derive(Debug)]
pub struct Firewall;

impl Scenario for Firewall {
    type App = firewall::App;
    const SYMMETRIC: bool = true;
    const STRANGER: bool = true;

    fn tables(_: &[Ipv4Addr]) -> Result<firewall::Tables> {
        let mut tables = firewall::Tables::default();
        tables.inside.insert(INSIDE, true)?;
        Ok(tables)
    }

    fn config(_: &[Ipv4Addr]) {}
}

/// The load balancer. Its clients are the hosts that are inside elsewhere, its backends the servers.
#[derive(Debug)]
pub struct LoadBalancer;

const TCP: u8 = 6;

impl Scenario for LoadBalancer {
    type App = load_balancer::App;
    const STICKY: bool = true;

    fn tables(_: &[Ipv4Addr]) -> Result<load_balancer::Tables> {
        let end = |addr| load_balancer::Endpoint { addr, port: SERVER_PORT, protocol: TCP };
        let mut tables = load_balancer::Tables::default();
        tables.services.insert(end(PUBLIC[0]), true)?;
        for server in SERVERS {
            tables.fronts.insert(end(server), end(PUBLIC[0]))?;
        }
        Ok(tables)
    }

    fn config(_: &[Ipv4Addr]) -> Pools {
        let backend = |addr| Backend { addr, port: SERVER_PORT, weight: 1 };
        let backends = SERVERS.map(backend).to_vec();
        let (addr, port, protocol) = (PUBLIC[0], SERVER_PORT, TCP);
        Pools { services: vec![Service { addr, port, protocol, direct: false, backends }] }
    }

    fn remote(_: Ipv4Addr) -> Ipv4Addr {
        PUBLIC[0]
    }

    fn change(pools: &mut Pools) -> Option<String> {
        let backend = pools.services.first_mut()?.backends.first_mut()?;
        backend.weight = 0;
        Some(format!("backend {} is drained", backend.addr))
    }
}

/// Everything outside, but the hosts there.
#[must_use]
pub fn ways<S: Scenario>(replication: bool) -> Vec<Way> {
    let hosts: Way = (OUTSIDE_PREFIX, &[0]);
    std::iter::once(hosts).chain(S::ways(replication)).collect()
}
