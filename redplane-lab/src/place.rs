//! Switches that run one app, and their store, in one place: no links, no hosts. What a switch sends arrives at once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use backend_store::{
    AppFactory, Delivery, EmbeddedStore, JoinError, SettingsError, StoreDestination, StoreSettings,
};
use redplane_sdk::packet::MacAddr;
use redplane_sdk::pipeline::{ConfigError, NextHop, Output, Route, StorePath, Switch, SwitchConfig};
use redplane_sdk::protocol::wire::UDP_PORT;
use redplane_sdk::protocol::{Fixed as _, Lease, SwitchIdentity, Ticks, Time};
use redplane_sdk::{App, app};
use serde::Serialize;

use crate::datagram::Datagram;

/// Microseconds of virtual time.
pub type Micros = u64;

/// Port of a switch that leads inside.
pub const INSIDE: u16 = 0;
/// Port of a switch that leads outside.
pub const OUTSIDE: u16 = 1;
const STORE: u16 = 2;

const STORE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Rounds of messages for one frame. One lease takes two; a hairpin four.
const ROUNDS_MAX: usize = 16;

/// How long a frame may take: more than a lease.
const PATIENCE: Micros = 3_000_000;
const LOOK_INTERVAL: Micros = 20_000;

/// A frame that left, and by which port.
pub type Left = (u16, Vec<u8>);

/// What was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Bytes of frames that came in by a port that does not face the store.
    pub traffic_bytes: u64,
    /// Bytes of frames between switches and store, both ways.
    pub replication_bytes: u64,
}

impl Share {
    /// Replication's share of all bytes, in per cent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        100.0 * self.replication_bytes as f64 / (self.traffic_bytes + self.replication_bytes) as f64
    }
}

/// What a place cannot be, or cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The switches.
    #[error("switch: {0}")]
    Switch(#[from] ConfigError),
    /// The store.
    #[error("store: {0}")]
    Store(#[from] SettingsError),
    /// A node cannot join.
    #[error("store: {0}")]
    Join(#[from] JoinError),
    /// Nobody serves the shard.
    #[error("the store has no head")]
    NoHead,
}

type Result<T> = std::result::Result<T, PlaceError>;

/// The switches and the store.
pub struct Place<A: App> {
    switches: Vec<Switch<A>>,
    incarnations: Vec<u16>,
    store: EmbeddedStore,
    tables: A::Tables,
    routes: Vec<Route>,
    output: Output,
    now: Micros,
    carried: Share,
}

impl<A: App> Place<A> {
    /// Two switches with these tables, whose hosts inside are within `inside`, and a store that makes records by `config`.
    ///
    /// # Errors
    /// If there are too many prefixes, or one is none.
    pub fn of_two(tables: A::Tables, inside: &[(Ipv4Addr, u8)], config: A::Config) -> Result<Place<A>> {
        Place::new(2, tables, routes(inside), Box::new(move || app::creator::<A>(config.clone())))
    }

    /// So many switches, all with these tables and routes.
    ///
    /// # Errors
    /// If the routes are none.
    pub fn new(
        switches: usize,
        tables: A::Tables,
        routes: Vec<Route>,
        creator: AppFactory,
    ) -> Result<Place<A>> {
        let lease = Lease::default();
        let settings =
            StoreSettings { lease, delivery: Delivery::Internal(Duration::ZERO), ..StoreSettings::default() };
        let store = EmbeddedStore::new(settings, vec![creator], Time::ZERO)?;
        let incarnations = vec![0; switches];
        let (switches_made, output) = (Vec::new(), Output::new());
        let mut place = Place {
            switches: switches_made,
            incarnations,
            store,
            tables,
            routes,
            output,
            now: 0,
            carried: Share::default(),
        };
        for at in 0..switches {
            let switch = place.boot(at)?;
            place.switches.push(switch);
        }
        Ok(place)
    }

    fn boot(&mut self, at: usize) -> Result<Switch<A>> {
        self.incarnations[at] += 1;
        let config = SwitchConfig {
            identity: SwitchIdentity { switch: 1 + at as u16, incarnation: self.incarnations[at] },
            mac: mac(1),
            address: address(at),
            lease: Lease::default(),
            stores: vec![StorePath { address: STORE_ADDRESS, mac: mac(0xfa), port: STORE }],
            store_facing_ports: vec![STORE],
            routes: self.routes.clone(),
            store_mtu: u16::MAX,
            authentication: None,
        };
        Ok(Switch::new(config, self.tables.clone(), Ticks::from_micros(self.now))?)
    }

    /// A switch dies, and is there again with nothing in its slots.
    ///
    /// # Errors
    /// Never: it was built of the same.
    pub fn reboot(&mut self, at: usize) -> Result<()> {
        self.switches[at] = self.boot(at)?;
        Ok(())
    }

    /// A switch.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn switch(&self, at: usize) -> &Switch<A> {
        &self.switches[at]
    }

    /// A switch, to change its tables.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn switch_mut(&mut self, at: usize) -> &mut Switch<A> {
        &mut self.switches[at]
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &EmbeddedStore {
        &self.store
    }

    /// The state of a key, as the head of the store has it.
    #[must_use]
    pub fn state(&self, key: &A::Key) -> Option<A::State> {
        let mut bytes = vec![0; A::Key::LEN];
        key.encode(&mut bytes);
        let shard = self.store.shard_of_key(&bytes);
        let record = self.store.record(self.store.head(shard)?, A::ID, &bytes)?;
        Some(A::State::decode(&record.value))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Records that the store has, by its own count.
    #[must_use]
    pub fn records_created(&self) -> u64 {
        self.store.statistics().protocol.created
    }

    /// The head of the store's chain dies, and joins again.
    ///
    /// # Errors
    /// If the store has no head.
    pub fn replace_head(&mut self) -> Result<()> {
        let head = self.store.head(0).ok_or(PlaceError::NoHead)?;
        self.store.kill(head, Time(self.now));
        self.advance(self.now + 1_000_000);
        Ok(self.store.join(head, Time(self.now))?)
    }

    /// Moves the clock to `now`, and lets all deadlines before it pass; gives what left meanwhile.
    pub fn advance(&mut self, now: Micros) -> Vec<Left> {
        let mut left = Vec::new();
        while let Some(next) = Some(self.next_deadline()).filter(|next| *next <= now) {
            self.now = next.max(self.now);
            self.store.handle_timeout(Time(self.now));
            self.exchange(&mut left);
            for at in 0..self.switches.len() {
                self.switches[at].handle_timeout(Ticks::from_micros(self.now), &mut self.output);
                self.settle(&mut left);
            }
        }
        self.now = now;
        left
    }

    fn next_deadline(&self) -> Micros {
        let of_switch = |switch: &Switch<A>| {
            let ticks = switch.poll_timeout().0.wrapping_sub(Ticks::from_micros(self.now).0);
            // A deadline that is past would be half a wrap away.
            if ticks < 1 << 31 { ((self.now >> 10) + u64::from(ticks)) << 10 } else { self.now + 1 }
        };
        let switches = self.switches.iter().map(of_switch).min().unwrap_or(Micros::MAX);
        switches.min(self.store.poll_timeout().map_or(Micros::MAX, |time| time.0))
    }

    /// The first frame that leaves because of this one, even if that takes until another switch's lease is over.
    pub fn pass(&mut self, at: usize, port: u16, frame: &[u8]) -> Option<Left> {
        let first = self.process(at, port, frame).into_iter().next();
        let end = self.now + PATIENCE;
        let mut left = first;
        while left.is_none() && self.now < end {
            left = self.advance((self.now + LOOK_INTERVAL).min(end)).into_iter().next();
        }
        left
    }

    /// What was carried so far.
    #[must_use]
    pub fn carried(&self) -> Share {
        self.carried
    }

    /// The frames that leave at once because this one came in.
    pub fn process(&mut self, at: usize, port: u16, frame: &[u8]) -> Vec<Left> {
        let mut left = Vec::new();
        self.carried.traffic_bytes += frame.len() as u64;
        self.switches[at].process(port, frame, Ticks::from_micros(self.now), &mut self.output);
        self.settle(&mut left);
        left
    }

    /// Dropped frames of a switch, by reason.
    #[must_use]
    pub fn dropped(&self, at: usize) -> BTreeMap<String, u64> {
        let dropped = self.switches[at].statistics().drops().filter(|(_, count)| *count > 0);
        dropped.map(|(reason, count)| (reason.to_owned(), count)).collect()
    }

    /// Carries on what a switch has put out, and what comes of it.
    fn settle(&mut self, left: &mut Vec<Left>) {
        self.take_output(left);
        self.exchange(left);
    }

    /// What a switch has put out leaves, or goes to the store.
    fn take_output(&mut self, left: &mut Vec<Left>) {
        for (port, bytes) in self.output.iter() {
            match (port, Datagram::parse(bytes)) {
                (STORE, Some(request)) => {
                    self.carried.replication_bytes += bytes.len() as u64;
                    self.store.handle_request(request.from, request.payload, Time(self.now));
                }
                _ => left.push((port, bytes.to_vec())),
            }
        }
        self.output.clear();
    }

    /// Carries messages between switches and store until all are silent.
    fn exchange(&mut self, left: &mut Vec<Left>) {
        for _ in 0..ROUNDS_MAX {
            // The messages from node to node take no time, but they take this call.
            self.store.handle_timeout(Time(self.now));
            let from = SocketAddrV4::new(STORE_ADDRESS, UDP_PORT);
            let mut silent = true;
            while let Some(transmit) = self.store.poll_transmit() {
                let StoreDestination::Switch(to) = transmit.to else { continue };
                let Some(at) = (0..self.switches.len()).find(|at| address(*at) == *to.ip()) else { continue };
                let answer = Datagram { from, to, payload: &transmit.bytes }.to_frame([0; 6], [0; 6]);
                self.carried.replication_bytes += answer.len() as u64;
                self.switches[at].process(STORE, &answer, Ticks::from_micros(self.now), &mut self.output);
                silent = false;
            }
            self.take_output(left);
            if silent {
                return;
            }
        }
    }
}

fn mac(last: u8) -> MacAddr {
    MacAddr::new([0x02, 0, 0, 0, 0, last])
}

fn address(at: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + at as u8)
}

/// Routes to these prefixes inside, and to everything else outside.
#[must_use]
pub fn routes(inside: &[(Ipv4Addr, u8)]) -> Vec<Route> {
    let next_hop =
        |port: u16| NextHop { port, source: mac(1 + port as u8), destination: mac(0xf1 + port as u8) };
    let outside = Route { prefix: Ipv4Addr::UNSPECIFIED, length: 0, next_hop: next_hop(OUTSIDE) };
    let inside = inside.iter().map(|(prefix, length)| Route {
        prefix: *prefix,
        length: *length,
        next_hop: next_hop(INSIDE),
    });
    std::iter::once(outside).chain(inside).collect()
}
