//! The software switch: port → parse → handler up to its lease point → slots → rest of the handler → settle →
//! verdict → deparse → port, or → protocol message → store. The emitted P4 has the same stations.
//!
//! Frames and time come in as arguments, frames and deadlines go out; no sockets, no clock.

mod config;
mod encapsulation;
mod local;
mod output;
pub mod reason;
mod statistics;

pub use config::{ConfigError, NextHop, Route, StorePath, SwitchConfig};
pub use output::Output;
pub use reason::Reason;
pub use statistics::Statistics;

use std::mem;
use std::net::Ipv4Addr;

use redplane_protocol::wire::{DecodeError, PORT_RECIRCULATE, UDP_PORT};
use redplane_protocol::{Fixed, Header, Kind, Message, Reaction, Settled, SlotTable, Ticks};

use crate::app::{self, App, Pass, StateHandle, Verdict};
use crate::packet::Packet;
use crate::table::Lpm;
use encapsulation::{Carried, Encapsulation};
use local::LocalStore;

/// Most passes of one packet through the pipeline before it is dropped as `recirculation_limit`. A hairpinned packet
/// needs two; more than twice that is a loop.
pub const PASSES_MAX: u8 = 4;

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

/// A packet on its way through the pipeline.
struct Arrival<'a, K> {
    port: u16,
    frame: &'a [u8],
    packet: Packet,
    /// The key of which the store just said that it has no record.
    absent: Option<&'a K>,
    /// Passes before this one.
    passes: u8,
}

/// Where an output packet goes.
#[derive(Clone, Copy)]
enum Destination {
    Port(u16),
    Recirculate,
    Drop(Dropped),
}

/// Why a packet is dropped: a reason of the switch's own, or the app's.
#[derive(Clone, Copy)]
enum Dropped {
    Own(Reason),
    App(&'static str),
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
        match Packet::parse(frame) {
            Err(error) => self.discard(error.into()),
            Ok(packet) if self.is_protocol(ingress_port, &packet) => self.message(&packet, frame, now, out),
            Ok(packet) => {
                self.traffic(
                    Arrival { port: ingress_port, frame, packet, absent: None, passes: 0 },
                    now,
                    out,
                );
            }
        }
    }

    /// When the deadline of [`Switch::poll_timeout`] passed: sends unacknowledged writes again, and clears leases that
    /// are long over.
    pub fn handle_timeout(&mut self, now: Ticks, out: &mut Output) {
        while let Some((header, key, value)) = self.slots.poll_retransmit(now) {
            self.statistics.retransmitted += 1;
            self.request(&header, &key, &value, Carried::Nothing, 0, now, out);
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
            if encapsulation.send(&header, &key, &A::State::zero(), Carried::Nothing, out).is_ok() {
                self.statistics.requests += 1;
            }
        }
    }

    /// Addressed to the switch, and in by a port that faces the store; all else is traffic.
    #[inline]
    fn is_protocol(&self, ingress_port: u16, packet: &Packet) -> bool {
        let (Some(ipv4), Some(ports), Some(_)) = (&packet.ipv4, &packet.ports, &packet.udp) else {
            return false;
        };
        ports.dst == UDP_PORT
            && ipv4.dst == self.config.address
            && !ipv4.more_fragments
            && self.config.store_facing_ports.contains(&ingress_port)
    }

    fn message(&mut self, packet: &Packet, frame: &[u8], now: Ticks, out: &mut Output) {
        self.statistics.messages += 1;
        let Some(payload) = udp_payload(packet, frame) else {
            return self.discard(Dropped::Own(Reason::ProtocolMalformed));
        };
        match Message::parse(payload, &app::schema::<A>()) {
            Err(DecodeError::Stranger { .. }) => self.discard(Dropped::Own(Reason::ProtocolStranger)),
            Err(_) => self.discard(Dropped::Own(Reason::ProtocolMalformed)),
            Ok(message) => {
                let (key, value) = (A::Key::decode(message.key), A::State::decode(message.value));
                self.react(&message.header, &key, &value, message.frame, 0, now, out);
            }
        }
    }

    /// Applies an answer of the store to the slots, and does with the carried packet what comes of it.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, which only the store has in one piece"
    )]
    fn react(
        &mut self,
        header: &Header,
        key: &A::Key,
        value: &A::State,
        frame: &[u8],
        passes: u8,
        now: Ticks,
        out: &mut Output,
    ) {
        let (port, absent) = match self.slots.handle_message(header, key, value, now) {
            Reaction::Drop(reason) => return self.discard(Dropped::Own(reason.into())),
            Reaction::Reply(reply) => {
                return self.request(&reply, key, &A::State::zero(), Carried::Nothing, passes, now, out);
            }
            _ if frame.is_empty() => return,
            Reaction::Release { port } if port != PORT_RECIRCULATE => {
                self.statistics.released += 1;
                self.statistics.transmitted += 1;
                return out.push(port, frame);
            }
            Reaction::Release { port } => {
                self.statistics.released += 1;
                (port, None)
            }
            Reaction::Reprocess { absent, port } => {
                self.statistics.resumed += 1;
                (port, absent.then_some(key))
            }
        };
        match Packet::parse(frame) {
            Err(error) => self.discard(error.into()),
            Ok(packet) => self.traffic(Arrival { port, frame, packet, absent, passes }, now, out),
        }
    }

    /// One pass through the handler.
    fn traffic(&mut self, arrival: Arrival<'_, A::Key>, now: Ticks, out: &mut Output) {
        let Arrival { port, frame, mut packet, absent, passes } = arrival;
        let mut pass = Pass::default();
        let state = StateHandle::new(&self.slots, absent, now, &mut pass);
        match A::handle(&mut packet, state, &self.tables, port) {
            Ok(verdict) => {
                let destination = self.resolve(verdict, &mut packet, port);
                self.settle(&pass, destination, &packet, frame, passes, now, out);
            }
            Err(_) => {
                let Some(reached) = pass.reached else {
                    return self.discard(Dropped::Own(Reason::NoLease));
                };
                let header = self.slots.lease_request(reached.slot, reached.create, port, now);
                let (key, zero) = (reached.key, A::State::zero());
                self.request(&header, &key, &zero, Carried::Input(frame), passes, now, out);
            }
        }
    }

    /// From the verdict to the way out. Addresses of the next link and the TTL change here, checksums in the deparser.
    #[inline]
    fn resolve(&self, verdict: Verdict, packet: &mut Packet, ingress_port: u16) -> Destination {
        match verdict {
            Verdict::To(port) => Destination::Port(port),
            Verdict::Recirculate => Destination::Recirculate,
            Verdict::Drop(reason) => Destination::Drop(Dropped::App(reason)),
            Verdict::Reply if ingress_port == PORT_RECIRCULATE => {
                Destination::Drop(Dropped::Own(Reason::NoRoute))
            }
            Verdict::Reply => {
                let ethernet = &mut packet.ethernet;
                mem::swap(&mut ethernet.src, &mut ethernet.dst);
                Destination::Port(ingress_port)
            }
            Verdict::Forward => {
                let Some(ipv4) = &mut packet.ipv4 else {
                    return Destination::Drop(Dropped::Own(Reason::NoRoute));
                };
                let Some(next_hop) = self.routes.lookup(ipv4.dst) else {
                    return Destination::Drop(Dropped::Own(Reason::NoRoute));
                };
                if ipv4.ttl <= 1 {
                    return Destination::Drop(Dropped::Own(Reason::TtlExpired));
                }
                ipv4.ttl -= 1;
                packet.ethernet.src = next_hop.source;
                packet.ethernet.dst = next_hop.destination;
                Destination::Port(next_hop.port)
            }
        }
    }

    /// Lets the output packet go if it shows only what is durable, else sends it to the store.
    #[expect(clippy::too_many_arguments, reason = "one station of the pipeline, called from one place")]
    #[inline]
    fn settle(
        &mut self,
        pass: &Pass<A::Key, A::State>,
        destination: Destination,
        packet: &Packet,
        frame: &[u8],
        passes: u8,
        now: Ticks,
        out: &mut Output,
    ) {
        let Some(reached) = pass.reached.filter(|reached| reached.held) else {
            return self.deliver(destination, packet, frame, passes, now, out);
        };
        let port = match destination {
            Destination::Port(port) => port,
            Destination::Recirculate => PORT_RECIRCULATE,
            // A packet that is dropped waits for nothing, but what it wrote must still become durable.
            Destination::Drop(_) if pass.written => 0,
            Destination::Drop(reason) => return self.discard(reason),
        };
        let written = pass.written.then_some(pass.value);
        match self.slots.settle(reached.slot, written, port, now) {
            Settled::Release { renew } => {
                if let Some(header) = renew {
                    self.request(
                        &header,
                        &reached.key,
                        &A::State::zero(),
                        Carried::Nothing,
                        passes,
                        now,
                        out,
                    );
                }
                self.deliver(destination, packet, frame, passes, now, out);
            }
            Settled::Hold(header) => {
                let carried = match destination {
                    Destination::Drop(reason) => {
                        self.discard(reason);
                        Carried::Nothing
                    }
                    _ => Carried::Output(packet, frame),
                };
                let value = written.unwrap_or_else(A::State::zero);
                self.request(&header, &reached.key, &value, carried, passes, now, out);
            }
        }
    }

    #[inline]
    fn deliver(
        &mut self,
        destination: Destination,
        packet: &Packet,
        frame: &[u8],
        passes: u8,
        now: Ticks,
        out: &mut Output,
    ) {
        match destination {
            Destination::Port(port) => {
                self.statistics.transmitted += 1;
                packet.deparse(frame, out.start());
                out.finish(port);
            }
            Destination::Drop(reason) => self.discard(reason),
            Destination::Recirculate if passes + 1 >= PASSES_MAX => {
                self.discard(Dropped::Own(Reason::RecirculationLimit));
            }
            Destination::Recirculate => self.recirculate(packet, frame, passes, now, out),
        }
    }

    fn recirculate(&mut self, packet: &Packet, frame: &[u8], passes: u8, now: Ticks, out: &mut Output) {
        self.statistics.recirculated += 1;
        let mut buffer = self.buffers.pop().unwrap_or_default();
        packet.deparse(frame, &mut buffer);
        match Packet::parse(&buffer) {
            Err(error) => self.discard(error.into()),
            Ok(packet) => {
                let port = PORT_RECIRCULATE;
                let frame = &buffer;
                self.traffic(Arrival { port, frame, packet, absent: None, passes: passes + 1 }, now, out);
            }
        }
        self.recycle(buffer);
    }

    /// Sends a message to the shard of its key.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, which only the store has in one piece"
    )]
    fn request(
        &mut self,
        header: &Header,
        key: &A::Key,
        value: &A::State,
        carried: Carried<'_>,
        passes: u8,
        now: Ticks,
        out: &mut Output,
    ) {
        let carries = !matches!(carried, Carried::Nothing);
        if self.local.is_some() {
            return self.request_locally(header, key, value, carried, passes, now, out);
        }
        if Encapsulation::new(&self.config).send(header, key, value, carried, out).is_err() {
            return self.discard(Dropped::Own(Reason::StoreMtu));
        }
        self.statistics.requests += 1;
        match header.kind {
            Kind::Lease => self.statistics.suspended += 1,
            Kind::Write | Kind::Read if carries => self.statistics.held += 1,
            _ => {}
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, which only the store has in one piece"
    )]
    fn request_locally(
        &mut self,
        header: &Header,
        key: &A::Key,
        value: &A::State,
        carried: Carried<'_>,
        passes: u8,
        now: Ticks,
        out: &mut Output,
    ) {
        let Some((answer, value)) = self.local.as_mut().and_then(|local| local.answer(header, key, value))
        else {
            return;
        };
        let passes = match (header.kind, header.port) {
            (Kind::Lease, _) => passes,
            (_, PORT_RECIRCULATE) if passes + 1 >= PASSES_MAX => {
                return self.discard(Dropped::Own(Reason::RecirculationLimit));
            }
            _ => passes + 1,
        };
        let mut buffer = self.buffers.pop().unwrap_or_default();
        carried.append(&mut buffer);
        self.react(&answer, key, &value, &buffer, passes, now, out);
        self.recycle(buffer);
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.push(buffer);
    }

    #[cold]
    fn discard(&mut self, dropped: Dropped) {
        match dropped {
            Dropped::Own(reason) => self.statistics.drop_own(reason),
            Dropped::App(reason) => self.statistics.drop_app(reason),
        }
    }
}

impl From<crate::packet::ParseError> for Dropped {
    fn from(error: crate::packet::ParseError) -> Self {
        Dropped::Own(error.reason())
    }
}

/// What a UDP datagram carries, by its own length; `None` if that is not within the packet.
fn udp_payload<'a>(packet: &Packet, frame: &'a [u8]) -> Option<&'a [u8]> {
    const UDP_HEADER_LEN: usize = 8;
    let udp_len = usize::from(packet.udp?.length);
    let ip_len = usize::from(packet.ipv4?.total_len);
    let start = packet.header_len();
    if udp_len + crate::packet::Ipv4::LEN > ip_len {
        return None;
    }
    frame.get(start..start + udp_len.checked_sub(UDP_HEADER_LEN)?)
}
