//! The software switch: port → parse → handler up to its lease point → slots → rest of the handler → settle →
//! verdict → deparse → port, or → protocol message → store. The emitted P4 has the same stations.
//!
//! Frames and time come in as arguments, frames and deadlines go out; no sockets, no clock.

mod config;
mod encapsulation;
mod local;
mod output;
mod passage;
pub mod reason;
mod statistics;

pub use config::{ConfigError, NextHop, Route, StorePath, SwitchConfig};
pub use output::Output;
pub use reason::Reason;
pub use statistics::Statistics;

use std::net::Ipv4Addr;

use redplane_protocol::{Fixed, SlotTable, Ticks};

use crate::app::{self, App};
use crate::packet::Packet;
use crate::table::Lpm;
use encapsulation::{Carried, Encapsulation, Parts};
use local::LocalStore;
use passage::{Arrival, Turn};

/// Most passes of one packet through the pipeline before it is dropped as `recirculation_limit`. A hairpinned packet
/// needs two; more than twice that is a loop.
pub const PASSES_MAX: u8 = 4;

/// The last port number. A switch has nine bits for it, and 511 says "drop" (`v1model.p4`): a packet to
/// a later port is dropped as `no_route`, here as there.
pub const PORT_LAST: u16 = 510;

/// Slots that one sweep looks at.
const SWEEP_SLOTS: u32 = 4096;

/// Ticks between two sweeps, about a second.
const SWEEP_TICKS: u32 = 1024;

const _: () = assert!(
    redplane_protocol::slot::SLOTS_MAX / SWEEP_SLOTS * SWEEP_TICKS < 1 << 24,
    "the largest table is swept in well under half a wrap of the clock"
);

/// Routes that a switch holds at most.
pub const ROUTES_MAX: usize = 1024;

/// A switch that runs one app.
///
/// The way to drive it: [`Switch::process`] for each frame that came in; [`Switch::handle_timeout`] when
/// [`Switch::poll_timeout`] is due, which is to be asked again after either. Both append frames to an [`Output`].
pub struct Switch<A: App> {
    config: SwitchConfig,
    routes: Lpm<Ipv4Addr, Option<NextHop>, ROUTES_MAX>,
    tables: A::Tables,
    slots: SlotTable<A::Key, A::State>,
    local: Option<LocalStore>,
    statistics: Statistics,
    /// For frames that stay in the switch: one for each pass that is under way.
    buffers: Vec<Vec<u8>>,
    sweep_at: Ticks,
}

impl<A: App> Switch<A> {
    /// A switch whose state survives it: in the stores that `config` names. `now` is its clock.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration cannot be.
    pub fn new(config: SwitchConfig, tables: A::Tables, now: Ticks) -> Result<Self, ConfigError> {
        if config.stores.is_empty() {
            return Err(ConfigError::NoStore);
        }
        Self::build(config, tables, None, now)
    }

    /// A switch whose state dies with it: it grants every lease to itself and asks no store. For comparison only.
    ///
    /// # Errors
    /// [`ConfigError`] if the configuration cannot be.
    pub fn without_replication(
        config: SwitchConfig,
        tables: A::Tables,
        app: A::Config,
        now: Ticks,
    ) -> Result<Self, ConfigError> {
        Self::build(config, tables, Some(LocalStore::new(app::creator::<A>(app))), now)
    }

    fn build(
        config: SwitchConfig,
        tables: A::Tables,
        local: Option<LocalStore>,
        now: Ticks,
    ) -> Result<Self, ConfigError> {
        config.check::<A>()?;
        let mut routes = Lpm::default();
        for route in &config.routes {
            routes.insert(route.prefix, route.length, Some(route.next_hop)).map_err(ConfigError::Route)?;
        }
        Ok(Switch {
            slots: SlotTable::new(config.identity, app::schema::<A>(), A::SLOTS, config.lease),
            statistics: Statistics::new(A::REASONS),
            config,
            routes,
            tables,
            local,
            buffers: Vec::new(),
            sweep_at: now.plus(SWEEP_TICKS),
        })
    }

    /// What was counted so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The slots, to look at.
    pub fn slots(&self) -> &SlotTable<A::Key, A::State> {
        &self.slots
    }

    /// The operator tables, to change while the switch runs.
    pub fn tables_mut(&mut self) -> &mut A::Tables {
        &mut self.tables
    }

    /// The configuration.
    pub fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// Adds a route, or changes the next hop of its prefix.
    ///
    /// # Errors
    /// [`ConfigError::Route`].
    pub fn set_route(&mut self, route: Route) -> Result<(), ConfigError> {
        self.routes.insert(route.prefix, route.length, Some(route.next_hop)).map_err(ConfigError::Route)
    }

    /// When a shard has a new head: where its requests go from now on. No such shard, no change.
    pub fn set_store(&mut self, shard: u16, path: StorePath) {
        if let Some(store) = self.config.stores.get_mut(usize::from(shard)) {
            *store = path;
        }
    }

    /// When a frame came in by a port.
    pub fn process(&mut self, ingress_port: u16, frame: &[u8], now: Ticks, out: &mut Output) {
        self.statistics.received += 1;
        match Packet::parse_with(frame, A::own_headers) {
            Err(error) => self.discard(error.into()),
            Ok(packet) if self.is_protocol(ingress_port, &packet) => {
                self.message(&packet, frame, &mut Turn { now, passes: 0, out });
            }
            Ok(packet) => {
                let arrival = Arrival { port: ingress_port, frame, packet, absent: None };
                self.traffic(arrival, &mut Turn { now, passes: 0, out });
            }
        }
    }

    /// When the deadline of [`Switch::poll_timeout`] passed: sends unacknowledged writes again, and clears leases that
    /// are long over.
    pub fn handle_timeout(&mut self, now: Ticks, out: &mut Output) {
        while let Some((header, key, value)) = self.slots.poll_retransmit(now) {
            self.statistics.retransmitted += 1;
            let message = Parts { header, key, value };
            self.request(&message, Carried::Nothing, &mut Turn { now, passes: 0, out });
        }
        if !now.is_before(self.sweep_at) {
            self.slots.sweep(SWEEP_SLOTS, now);
            self.sweep_at = now.plus(SWEEP_TICKS);
        }
    }

    /// When [`Switch::handle_timeout`] has something to do next.
    #[must_use]
    pub fn poll_timeout(&self) -> Ticks {
        self.slots.poll_timeout().map_or(self.sweep_at, |retransmit| retransmit.earliest(self.sweep_at))
    }

    /// When the switch is taken out of service: gives back every lease, so that others need not wait for its end.
    pub fn release_all(&mut self, now: Ticks, out: &mut Output) {
        if self.local.is_some() {
            return;
        }
        let encapsulation = Encapsulation::new(&self.config);
        for (header, key) in self.slots.release_all(now) {
            let message = Parts { header, key, value: A::State::zero() };
            if encapsulation.send(&message, Carried::Nothing, out).is_ok() {
                self.statistics.requests += 1;
                self.statistics.count_kind(header.kind);
            }
        }
    }
}
