//! The network of the demo.
//!
//! ```text
//!                      ┌── switch 1 ──┐
//! hosts inside ── ECMP ┤      │       ├ ECMP ── hosts outside
//!                      └── switch 2 ──┘      └── a stranger
//!                             │
//!                    store of three nodes
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use backend_store::{Delivery, EmbeddedStore, StoreSettings};
use redplane_sdk::net::{Clock, Device, DeviceId, Ecmp, Link, Network, Ports, SwitchDevice};
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{NextHop, Route, StorePath, Switch, SwitchConfig};
use redplane_sdk::protocol::{Lease, SwitchIdentity, Time};
use redplane_sdk::{App, app};

use super::Options;
use super::connection::{Micros, PORTION_INTERVAL, Plan};
use super::hosts::{Mac, Site};
use super::report::{Packets, Unsolicited};
use super::scenario::{self, Scenario};
use super::store::{self, Store};
use super::stranger::Stranger;
use super::workload::{CLIENTS, SERVER_PORT, SERVERS};

/// Ports of a switch.
pub const INSIDE: u16 = 0;
const OUTSIDE: u16 = 1;
const STORE: u16 = 2;
/// Port of the outer fabric that leads to the stranger.
const STRANGER: u16 = 3;

/// How many switches there are.
pub const SWITCHES: usize = 2;

const INSIDE_MAC: Mac = [0x02, 0, 0, 0, 0x11, 0];
const OUTSIDE_MAC: Mac = [0x02, 0, 0, 0, 0x22, 0];

/// Where the hosts inside are.
pub const INSIDE_PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 7, 0, 0), 24);
/// Where the hosts outside are.
pub const OUTSIDE_PREFIX: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 51, 100, 0), 24);
/// The public addresses: with replication every switch gives away all of them, else each its own.
pub const PUBLIC: [Ipv4Addr; SWITCHES] = [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)];

/// From the hosts inside to the fabric, and from a switch to it: a building and a rack.
const INSIDE_DELAY: Duration = Duration::from_micros(100);
const RACK_DELAY: Duration = Duration::from_micros(10);
/// To the hosts outside: a city.
const OUTSIDE_DELAY: Duration = Duration::from_millis(2);

/// How long the fabric takes to see that a switch is gone: BFD with three missed hellos of 10 ms (RFC 5880).
const FABRIC_DETECTION: Duration = Duration::from_millis(30);

/// IPv4 packets that the links to the store take: jumbo frames.
const STORE_MTU: u16 = 9000;

/// By how much the clocks may differ, in thousandths.
const DRIFT_MARGIN: u16 = 10;

/// The second switch's clock began elsewhere and runs faster, within the margin: nothing may depend on equal clocks.
const CLOCKS: [Clock; SWITCHES] =
    [Clock { offset: 0, drift_per_mille: 0 }, Clock { offset: 77_000_000, drift_per_mille: 2 }];

/// Bits a second that each side takes, three times what the connections need: after an outage they catch up. Its buffer
/// is deep, so what is lost is lost by the failures.
const SITE_BANDWIDTH: u64 = 300_000_000;
const SITE_QUEUE: usize = 8 * 1024 * 1024;

/// Step of the throughput's picture: whole portions, so that their rhythm does not show.
const THROUGHPUT_STEP: Micros = 3 * PORTION_INTERVAL;

/// The network of the demo, built.
pub struct Topology<S: Scenario> {
    /// The network.
    pub network: Network,
    /// The hosts inside.
    pub inside: DeviceId,
    /// The hosts outside.
    pub outside: DeviceId,
    /// The switches.
    pub switches: [DeviceId; SWITCHES],
    /// The store, with replication.
    pub store: Option<DeviceId>,
    stranger: Option<DeviceId>,
    /// What the store was told.
    config: Arc<RwLock<Config<S>>>,
    options: Options,
    lease: Lease,
    /// Counters of switches that were replaced.
    retired: Packets,
    incarnations: [u16; SWITCHES],
}

type Config<S> = <<S as Scenario>::App as App>::Config;

impl<S: Scenario> Topology<S> {
    /// Builds the network for these connections.
    ///
    /// # Errors
    /// If the lease is too short to be counted.
    pub fn new(options: &Options, plans: &[Vec<Plan>]) -> Result<Topology<S>> {
        let lease = Lease::new(options.lease, DRIFT_MARGIN)?;
        let mut network = Network::new(options.seed);
        let inside = network.add(Box::new(SiteDevice(inside(plans, options.seed))));
        let outside = network.add(Box::new(SiteDevice(outside(options.seed))));
        let inner = network.add(Box::new(ecmp::<S>(options, &[(INSIDE_PREFIX, &[0]), (DEFAULT, &[1, 2])])?));
        let outer = network.add(Box::new(ecmp::<S>(options, &scenario::ways::<S>(options.replication))?));
        let incarnations = [1; SWITCHES];
        let mut switches = [inside; SWITCHES];
        for (index, id) in switches.iter_mut().enumerate() {
            *id = network.add(Box::new(switch::<S>(options, lease, index, incarnations[index], Time::ZERO)?));
        }
        let link = |delay| Link { loss_probability: options.loss, ..Link::with_delay(delay) };
        let bandwidth = Some(SITE_BANDWIDTH);
        let access = |delay| Link { bandwidth, queue_bytes_max: SITE_QUEUE, ..link(delay) };
        network.connect((inside, 0), (inner, 0), access(INSIDE_DELAY));
        network.connect((outside, 0), (outer, 0), access(OUTSIDE_DELAY));
        let config = Arc::new(RwLock::new(S::config(&PUBLIC)));
        let store = match options.replication {
            true => Some(network.add(Box::new(store_device::<S>(lease, &config)?))),
            false => None,
        };
        let stranger = S::STRANGER.then(|| network.add(Box::new(Stranger::new(options.seed))));
        if let Some(stranger) = stranger {
            network.connect((stranger, 0), (outer, STRANGER), link(OUTSIDE_DELAY));
        }
        for (index, id) in switches.iter().enumerate() {
            let port = index as u16;
            network.connect((inner, 1 + port), (*id, INSIDE), link(RACK_DELAY));
            network.connect((outer, 1 + port), (*id, OUTSIDE), link(RACK_DELAY));
            if let Some(store) = store {
                network.connect((store, port), (*id, STORE), link(RACK_DELAY));
            }
        }
        let (retired, options) = (Packets::default(), options.clone());
        Ok(Topology {
            network,
            inside,
            outside,
            switches,
            store,
            stranger,
            config,
            options,
            lease,
            retired,
            incarnations,
        })
    }

    /// The hosts of a side.
    ///
    /// # Panics
    /// If that device is no site.
    #[must_use]
    pub fn site(&self, id: DeviceId) -> &Site {
        &self.network.device::<SiteDevice>(id).expect("both sides are sites").0
    }

    /// The switch that sent most packets so far.
    #[must_use]
    pub fn busiest_switch(&self) -> usize {
        let sent = |index: usize| self.switch(index).statistics().transmitted;
        (0..SWITCHES).max_by_key(|index| (sent(*index), std::cmp::Reverse(*index))).unwrap_or(0)
    }

    /// Puts a switch that has just booted, with nothing in its slots, in the place of one that was killed.
    ///
    /// # Errors
    /// Never: the first one was built of the same.
    pub fn revive_switch(&mut self, index: usize) -> Result<()> {
        let last = count(self.switch(index));
        add(&mut self.retired, last);
        self.incarnations[index] += 1;
        let now = self.network.now();
        let fresh = switch::<S>(&self.options, self.lease, index, self.incarnations[index], now)?;
        self.network.revive(self.switches[index], Box::new(fresh));
        Ok(())
    }

    /// Packets of all switches, of those that are gone too.
    #[must_use]
    pub fn packets(&self) -> Packets {
        let mut packets = self.retired.clone();
        (0..SWITCHES).for_each(|index| add(&mut packets, count(self.switch(index))));
        packets
    }

    /// What became of the stranger's packets, if there is a stranger.
    #[must_use]
    pub fn unsolicited(&self) -> Option<Unsolicited> {
        let stranger = self.network.device::<Stranger>(self.stranger?)?;
        Some(Unsolicited { sent: stranger.attempts, let_in: self.site(self.inside).intrusions })
    }

    /// The operator changes what the store was told; says in words what it is.
    pub fn change_config(&mut self) -> Option<String> {
        self.store?;
        self.config.write().ok().and_then(|mut config| S::change(&mut config))
    }

    fn switch(&self, index: usize) -> &Switch<S::App> {
        let device = self.network.device::<SwitchDevice<S::App>>(self.switches[index]);
        device.expect("a switch is a switch").switch()
    }
}

/// A site on the network.
struct SiteDevice(Site);

impl Device for SiteDevice {
    fn receive(&mut self, _: u16, frame: &[u8], now: Time, out: &mut Ports) {
        self.0.receive(frame, now.0, |frame| out.send(0, frame));
    }

    fn next_timeout(&self) -> Option<Time> {
        self.0.next().map(Time)
    }

    fn timeout(&mut self, now: Time, out: &mut Ports) {
        self.0.poll(now.0, |frame| out.send(0, frame));
    }
}

fn inside(plans: &[Vec<Plan>], seed: u64) -> Site {
    let mut site = Site::new(INSIDE_MAC, switch_mac(0), THROUGHPUT_STEP);
    for (address, plans) in CLIENTS.iter().zip(plans) {
        site.add_client(*address, plans, seed);
    }
    site
}

fn outside(seed: u64) -> Site {
    let mut site = Site::new(OUTSIDE_MAC, switch_mac(0), THROUGHPUT_STEP);
    for address in SERVERS {
        site.add_server(address, SERVER_PORT, seed);
    }
    site
}

const DEFAULT: (Ipv4Addr, u8) = (Ipv4Addr::UNSPECIFIED, 0);

fn ecmp<S: Scenario>(options: &Options, routes: &[((Ipv4Addr, u8), &[u16])]) -> Result<Ecmp> {
    let mut ecmp = Ecmp::new(options.seed, FABRIC_DETECTION);
    if S::SYMMETRIC {
        ecmp = ecmp.symmetric();
    }
    for ((prefix, length), ports) in routes {
        ecmp.add_route(*prefix, *length, ports.to_vec())?;
    }
    Ok(ecmp)
}

fn switch_mac(index: usize) -> Mac {
    [0x02, 0, 0, 0, 0x33, 1 + index as u8]
}

fn switch_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + index as u8)
}

fn switch<S: Scenario>(
    options: &Options,
    lease: Lease,
    index: usize,
    incarnation: u16,
    now: Time,
) -> Result<SwitchDevice<S::App>> {
    let source = MacAddr::new(switch_mac(index));
    let next_hop = |port, destination| NextHop { port, source, destination: MacAddr::new(destination) };
    let route = |(prefix, length), next_hop| Route { prefix, length, next_hop };
    let config = SwitchConfig {
        identity: SwitchIdentity { switch: 1 + index as u16, incarnation },
        mac: source,
        address: switch_address(index),
        lease,
        stores: vec![StorePath { address: store::ADDRESS, mac: MacAddr::new(store::MAC), port: STORE }],
        store_facing_ports: vec![STORE],
        routes: vec![
            route(INSIDE_PREFIX, next_hop(INSIDE, INSIDE_MAC)),
            route(DEFAULT, next_hop(OUTSIDE, OUTSIDE_MAC)),
        ],
        store_mtu: STORE_MTU,
        authentication: None,
    };
    let own = if options.replication { &PUBLIC[..] } else { &PUBLIC[index..=index] };
    let tables = S::tables(own)?;
    let clock = CLOCKS[index];
    let ticks = clock.ticks(now);
    let switch = if options.replication {
        Switch::new(config, tables, ticks)
    } else {
        Switch::without_replication(config, tables, S::config(own), ticks)
    };
    Ok(SwitchDevice::new(switch.context("switch")?, clock, now))
}

fn store_device<S: Scenario>(lease: Lease, config: &Arc<RwLock<Config<S>>>) -> Result<Store> {
    let settings =
        StoreSettings { lease, delivery: Delivery::Internal(RACK_DELAY), ..StoreSettings::default() };
    let config = Arc::clone(config);
    let factory: backend_store::AppFactory =
        Box::new(move || app::live_creator::<S::App>(Arc::clone(&config)));
    let store = EmbeddedStore::new(settings, vec![factory], Time::ZERO)?;
    let switches = (0..SWITCHES).map(|index| (switch_address(index), switch_mac(index))).collect();
    Ok(Store::new(store, switches))
}

fn count<A: App>(switch: &Switch<A>) -> Packets {
    let statistics = switch.statistics();
    let dropped = statistics.drops().filter(|(_, count)| *count > 0);
    Packets {
        held: statistics.suspended + statistics.held,
        // A switch without replication answers itself; nothing was held.
        released: if statistics.requests == 0 { 0 } else { statistics.resumed + statistics.released },
        dropped: dropped.map(|(reason, count)| (reason.to_owned(), count)).collect::<BTreeMap<_, _>>(),
    }
}

fn add(sum: &mut Packets, more: Packets) {
    sum.held += more.held;
    sum.released += more.released;
    for (reason, count) in more.dropped {
        *sum.dropped.entry(reason).or_default() += count;
    }
}
