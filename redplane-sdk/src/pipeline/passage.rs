//! One packet's way through the stations.

use std::mem;
use std::net::Ipv4Addr;

use redplane_protocol::wire::{DecodeError, PORT_RECIRCULATE, UDP_PORT};
use redplane_protocol::{Fixed, Header, Kind, Message, Reaction, Settled, Ticks};

use super::encapsulation::{Carried, Encapsulation, Parts};
use super::{Output, PASSES_MAX, PORT_LAST, Reason, Switch};
use crate::app::{self, App, Pass, StateHandle, Verdict};
use crate::packet::{Ipv4, Packet, ParseError};

/// What stays the same while one frame that came in is dealt with, but for the passes.
pub(super) struct Turn<'o> {
    pub(super) now: Ticks,
    /// Passes through the pipeline before this one.
    pub(super) passes: u8,
    pub(super) out: &'o mut Output,
}

impl Turn<'_> {
    fn next_pass(&mut self) -> Turn<'_> {
        Turn { now: self.now, passes: self.passes + 1, out: self.out }
    }
}

/// A packet at the start of a pass.
pub(super) struct Arrival<'a, K> {
    pub(super) port: u16,
    pub(super) frame: &'a [u8],
    /// The frame, parsed.
    pub(super) packet: Packet,
    /// The key of which the store just said that it has no record.
    pub(super) absent: Option<&'a K>,
}

/// A packet at the end of a pass: its headers as they are now, the frame that they were parsed from, and the way out.
struct Departure<'a> {
    packet: &'a Packet,
    frame: &'a [u8],
    destination: Destination,
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
pub(super) enum Dropped {
    Own(Reason),
    App(&'static str),
}

impl From<Reason> for Dropped {
    fn from(reason: Reason) -> Self {
        Dropped::Own(reason)
    }
}

impl From<ParseError> for Dropped {
    fn from(error: ParseError) -> Self {
        Dropped::Own(error.reason())
    }
}

impl<A: App> Switch<A> {
    /// Addressed to the switch, and in by a port that faces the store; all else is traffic.
    #[inline]
    pub(super) fn is_protocol(&self, ingress_port: u16, packet: &Packet) -> bool {
        let (Some(ipv4), Some(ports), Some(_)) = (&packet.ipv4, &packet.ports, &packet.udp) else {
            return false;
        };
        ports.dst == UDP_PORT
            && ipv4.dst == self.config.address
            && !ipv4.more_fragments
            && self.config.store_facing_ports.contains(&ingress_port)
    }

    /// A message of the store.
    pub(super) fn message(&mut self, packet: &Packet, frame: &[u8], turn: &mut Turn<'_>) {
        self.statistics.messages += 1;
        let Some(payload) = udp_payload(packet, frame) else {
            return self.discard(Reason::ProtocolMalformed.into());
        };
        let Some(payload) = self.authentic(payload) else {
            return self.discard(Reason::ProtocolUnauthenticated.into());
        };
        match Message::parse(payload, &app::schema::<A>()) {
            Err(DecodeError::Stranger { .. }) => self.discard(Reason::ProtocolStranger.into()),
            Err(_) => self.discard(Reason::ProtocolMalformed.into()),
            Ok(message) => {
                if !message.header.kind.is_request() {
                    self.statistics.count_kind(message.header.kind);
                }
                let (key, value) = (A::Key::decode(message.key), A::State::decode(message.value));
                self.react(&Parts { header: message.header, key, value }, message.frame, turn);
            }
        }
    }

    /// A message without its code, if that is right.
    fn authentic<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match &self.config.authentication {
            None => Some(payload),
            Some(keys) => keys.verify(self.config.link(), payload).ok(),
        }
    }

    /// Applies an answer of the store to the slots, and does with the carried packet what comes of it.
    fn react(&mut self, answer: &Parts<A::Key, A::State>, frame: &[u8], turn: &mut Turn<'_>) {
        let Parts { header, key, value } = answer;
        let (port, absent) = match self.slots.handle_message(header, key, value, turn.now) {
            Reaction::Drop(reason) => return self.discard(Reason::from(reason).into()),
            Reaction::Reply(header) => {
                let reply = Parts { header, key: *key, value: A::State::zero() };
                return self.request(&reply, Carried::Nothing, turn);
            }
            _ if frame.is_empty() => return,
            Reaction::Release { port } if port > PORT_LAST && port != PORT_RECIRCULATE => {
                return self.discard(Reason::NoRoute.into());
            }
            Reaction::Release { port } if port != PORT_RECIRCULATE => {
                self.statistics.released += 1;
                self.statistics.transmitted += 1;
                return turn.out.push(port, frame);
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
        match Packet::parse_with(frame, A::own_headers) {
            Err(error) => self.discard(error.into()),
            Ok(packet) => self.traffic(Arrival { port, frame, packet, absent }, turn),
        }
    }

    /// One pass through the handler.
    pub(super) fn traffic(&mut self, arrival: Arrival<'_, A::Key>, turn: &mut Turn<'_>) {
        let Arrival { port, frame, mut packet, absent } = arrival;
        let mut pass = Pass::default();
        let state = StateHandle::new(&self.slots, absent, turn.now, &mut pass);
        match A::handle(&mut packet, state, &self.tables, port) {
            Ok(verdict) => {
                let destination = self.resolve(verdict, &mut packet, port);
                self.settle(&pass, &Departure { packet: &packet, frame, destination }, turn);
            }
            Err(_) => {
                // Only a lease point makes a `Suspend`.
                let Some(reached) = pass.reached else { return self.discard(Reason::NoLease.into()) };
                let header = self.slots.lease_request(reached.slot, reached.create, port, turn.now);
                let lease = Parts { header, key: reached.key, value: A::State::zero() };
                self.request(&lease, Carried::Input(frame), turn);
            }
        }
    }

    /// From the verdict to the way out. Addresses of the next link and the TTL change here, checksums in the deparser.
    #[inline]
    fn resolve(&self, verdict: Verdict, packet: &mut Packet, ingress_port: u16) -> Destination {
        let destination = match verdict {
            Verdict::To(port) => Destination::Port(port),
            Verdict::Recirculate => Destination::Recirculate,
            Verdict::Drop(reason) => Destination::Drop(Dropped::App(reason)),
            Verdict::Reply => {
                let ethernet = &mut packet.ethernet;
                mem::swap(&mut ethernet.src, &mut ethernet.dst);
                Destination::Port(ingress_port)
            }
            Verdict::Forward => self.route(packet, None),
            Verdict::Via(next_hop) => self.route(packet, Some(next_hop)),
        };
        match destination {
            // A packet that was recirculated came in by such a port, too.
            Destination::Port(port) if port > PORT_LAST => Destination::Drop(Reason::NoRoute.into()),
            destination => destination,
        }
    }

    #[inline]
    fn route(&self, packet: &mut Packet, via: Option<Ipv4Addr>) -> Destination {
        self.next_hop(packet, via).unwrap_or_else(|reason| Destination::Drop(reason.into()))
    }

    #[inline]
    fn next_hop(&self, packet: &mut Packet, via: Option<Ipv4Addr>) -> Result<Destination, Reason> {
        let ipv4 = packet.ipv4.as_mut().ok_or(Reason::NoRoute)?;
        let next_hop = self.routes.lookup(via.unwrap_or(ipv4.dst)).ok_or(Reason::NoRoute)?;
        if ipv4.ttl <= 1 {
            return Err(Reason::TtlExpired);
        }
        ipv4.ttl -= 1;
        packet.ethernet.src = next_hop.source;
        packet.ethernet.dst = next_hop.destination;
        Ok(Destination::Port(next_hop.port))
    }

    /// Lets the output packet go if it shows only what is durable, else sends it to the store.
    #[inline]
    fn settle(&mut self, pass: &Pass<A::Key, A::State>, departure: &Departure<'_>, turn: &mut Turn<'_>) {
        let Some(reached) = pass.reached.filter(|reached| reached.held) else {
            return self.deliver(departure, turn);
        };
        let port = match departure.destination {
            Destination::Port(port) => port,
            Destination::Recirculate => PORT_RECIRCULATE,
            // A packet that is dropped waits for nothing, but what it wrote must still become durable.
            Destination::Drop(_) if pass.written => 0,
            Destination::Drop(reason) => return self.discard(reason),
        };
        let written = pass.written.then_some(pass.value);
        match self.slots.settle(reached.slot, written, port, turn.now) {
            Settled::Release { renew } => {
                if let Some(header) = renew {
                    let renew = Parts { header, key: reached.key, value: A::State::zero() };
                    self.request(&renew, Carried::Nothing, turn);
                }
                self.deliver(departure, turn);
            }
            Settled::Hold(header) => {
                let carried = match departure.destination {
                    Destination::Drop(reason) => {
                        self.discard(reason);
                        Carried::Nothing
                    }
                    _ => Carried::Output(departure.packet, departure.frame),
                };
                let value = written.unwrap_or_else(A::State::zero);
                let message = Parts { header, key: reached.key, value };
                if !pass.written || self.fits(&message, carried) {
                    return self.request(&message, carried, turn);
                }
                // The change counts, whatever becomes of the packet.
                self.discard(Reason::StoreMtu.into());
                let header = Header { port: 0, ..header };
                self.request(&Parts { header, ..message }, Carried::Nothing, turn);
            }
        }
    }

    #[inline]
    fn deliver(&mut self, departure: &Departure<'_>, turn: &mut Turn<'_>) {
        let Departure { packet, frame, destination } = *departure;
        match destination {
            Destination::Port(port) => {
                self.statistics.transmitted += 1;
                packet.deparse(frame, turn.out.start());
                turn.out.finish(port);
            }
            Destination::Drop(reason) => self.discard(reason),
            Destination::Recirculate if turn.passes + 1 >= PASSES_MAX => {
                self.discard(Reason::RecirculationLimit.into());
            }
            Destination::Recirculate => self.recirculate(packet, frame, turn),
        }
    }

    fn recirculate(&mut self, packet: &Packet, frame: &[u8], turn: &mut Turn<'_>) {
        self.statistics.recirculated += 1;
        let mut buffer = self.buffers.pop().unwrap_or_default();
        packet.deparse(frame, &mut buffer);
        match Packet::parse_with(&buffer, A::own_headers) {
            Err(error) => self.discard(error.into()),
            Ok(packet) => {
                let arrival = Arrival { port: PORT_RECIRCULATE, frame: &buffer, packet, absent: None };
                self.traffic(arrival, &mut turn.next_pass());
            }
        }
        self.recycle(buffer);
    }

    /// Whether a message takes the packet along to the store.
    fn fits(&self, message: &Parts<A::Key, A::State>, carried: Carried<'_>) -> bool {
        self.local.is_some() || Encapsulation::new(&self.config).fits(message, carried)
    }

    /// Sends a message to the shard of its key.
    pub(super) fn request(
        &mut self,
        message: &Parts<A::Key, A::State>,
        carried: Carried<'_>,
        turn: &mut Turn<'_>,
    ) {
        if self.local.is_some() {
            return self.request_locally(message, carried, turn);
        }
        if Encapsulation::new(&self.config).send(message, carried, turn.out).is_err() {
            return self.discard(Reason::StoreMtu.into());
        }
        self.statistics.requests += 1;
        self.statistics.count_kind(message.header.kind);
        match carried {
            Carried::Input(_) => self.statistics.suspended += 1,
            Carried::Output(..) => self.statistics.held += 1,
            Carried::Nothing => {}
        }
    }

    fn request_locally(
        &mut self,
        message: &Parts<A::Key, A::State>,
        carried: Carried<'_>,
        turn: &mut Turn<'_>,
    ) {
        let Some(answer) = self.local.as_mut().and_then(|local| local.answer(message)) else { return };
        let mut buffer = self.buffers.pop().unwrap_or_default();
        carried.append(&mut buffer);
        match (message.header.kind, message.header.port) {
            (Kind::Lease, _) => self.react(&answer, &buffer, turn),
            (_, PORT_RECIRCULATE) if turn.passes + 1 >= PASSES_MAX => {
                self.discard(Reason::RecirculationLimit.into());
            }
            _ => self.react(&answer, &buffer, &mut turn.next_pass()),
        }
        self.recycle(buffer);
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.push(buffer);
    }

    #[cold]
    pub(super) fn discard(&mut self, dropped: Dropped) {
        match dropped {
            Dropped::Own(reason) => self.statistics.drop_own(reason),
            Dropped::App(reason) => self.statistics.drop_app(reason),
        }
    }
}

/// What a UDP datagram carries; `None` if its length, the packet's and the frame's do not agree.
fn udp_payload<'a>(packet: &Packet, frame: &'a [u8]) -> Option<&'a [u8]> {
    let udp_len = usize::from(packet.udp?.length);
    let ip_len = usize::from(packet.ipv4?.total_len);
    let start = packet.header_len();
    if udp_len + Ipv4::LEN != ip_len || packet.network_at() + ip_len != frame.len() {
        return None;
    }
    frame.get(start..)
}
