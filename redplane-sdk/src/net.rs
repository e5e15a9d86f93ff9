//! A simulated network: devices, links that lose, repeat, reorder and corrupt, and one virtual clock.
//!
//! One thread, one seed: the same seed and the same calls give the same events, to the byte and the microsecond.

mod clock;
mod ecmp;
mod link;
mod random;
mod switch;

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

pub use clock::Clock;
pub use ecmp::Ecmp;
pub use link::Link;
pub use random::Random;
pub use redplane_protocol::Time;
pub use switch::SwitchDevice;

use link::Direction;

/// Something with ports. Time enters only as an argument.
pub trait Device: Any {
    /// When a frame came in by a port.
    fn receive(&mut self, port: u16, frame: &[u8], now: Time, out: &mut Ports);

    /// When [`Device::timeout`] has something to do next. A deadline that stays in the past is taken for the next
    /// microsecond.
    fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// When the deadline passed.
    fn timeout(&mut self, now: Time, out: &mut Ports) {
        let _ = (now, out);
    }

    /// When the link at a port, or the device behind it, went or came back: what a carrier signal would tell.
    fn link_changed(&mut self, port: u16, up: bool, now: Time, out: &mut Ports) {
        let _ = (port, up, now, out);
    }
}

/// What a device sends, in order.
#[derive(Debug, Default)]
pub struct Ports {
    frames: Vec<(u16, Vec<u8>)>,
}

impl Ports {
    /// Sends a frame by a port. Where no link is connected it is lost.
    pub fn send(&mut self, port: u16, frame: Vec<u8>) {
        self.frames.push((port, frame));
    }
}

/// A device of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(usize);

/// A link of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(usize);

/// One end of a link: a device and its port.
pub type End = (DeviceId, u16);

/// What happened to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When.
    pub time: Time,
    /// What.
    pub kind: EventKind,
    /// Where the frame was sent.
    pub from: End,
    /// Where it goes; `None` if no link is connected.
    pub to: Option<End>,
    /// The frame.
    pub frame: &'a [u8],
}

/// What happens to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A device sent it.
    Sent,
    /// It arrived.
    Delivered,
    /// It did not.
    Lost(Loss),
}

/// Why a frame did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// By chance: [`Link::loss_probability`].
    Chance,
    /// The link's queue was full.
    QueueFull,
    /// The link was down when it was sent, or went down under way.
    LinkDown,
    /// The link was cut by [`Network::partition`].
    Partitioned,
    /// The receiver was dead.
    DeadDevice,
    /// There is no link at the port.
    Unconnected,
}

/// Sees every event.
pub type Tap = Box<dyn FnMut(&Event<'_>)>;

struct Node {
    device: Box<dyn Device>,
    alive: bool,
    /// Not before this moment: see [`Device::next_timeout`].
    not_before: Time,
    links: BTreeMap<u16, (LinkId, usize)>,
}

struct Wire {
    link: Link,
    ends: [End; 2],
    directions: [Direction; 2],
    up: bool,
    partitioned: bool,
    /// Rises when the link goes down: what was under way is lost.
    epoch: u64,
}

struct Flight {
    link: LinkId,
    epoch: u64,
    /// The end that sent it.
    from: usize,
    frame: Vec<u8>,
}

/// Devices and links between their ports, and a virtual clock in microseconds.
pub struct Network {
    now: Time,
    random: Random,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    /// Frames under way, by arrival and then by order of sending.
    flights: BTreeMap<(Time, u64), Flight>,
    flights_sent: u64,
    tap: Option<Tap>,
}

impl Network {
    /// An empty network at time zero. All chance comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Network {
            now: Time::ZERO,
            random: Random::new(seed),
            nodes: Vec::new(),
            wires: Vec::new(),
            flights: BTreeMap::new(),
            flights_sent: 0,
            tap: None,
        }
    }

    /// The virtual clock.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Adds a device.
    pub fn add(&mut self, device: Box<dyn Device>) -> DeviceId {
        self.nodes.push(Node { device, alive: true, not_before: self.now, links: BTreeMap::new() });
        DeviceId(self.nodes.len() - 1)
    }

    /// Connects two ports. A port that was connected before sends by the new link from now on.
    ///
    /// # Panics
    /// If a device is not of this network.
    pub fn connect(&mut self, a: End, b: End, link: Link) -> LinkId {
        let id = LinkId(self.wires.len());
        self.nodes[a.0.0].links.insert(a.1, (id, 0));
        self.nodes[b.0.0].links.insert(b.1, (id, 1));
        let directions = [Direction::default(), Direction::default()];
        self.wires.push(Wire { link, ends: [a, b], directions, up: true, partitioned: false, epoch: 0 });
        id
    }

    /// Changes what a link does to frames that are sent from now on.
    ///
    /// # Panics
    /// If the link is not of this network, as all that take a link or device.
    pub fn set_link(&mut self, link: LinkId, to: Link) {
        self.wires[link.0].link = to;
    }

    /// Takes a link down or up. Down loses the frames under way; both ends are told.
    pub fn set_link_up(&mut self, link: LinkId, up: bool) {
        let wire = &mut self.wires[link.0];
        if wire.up == up {
            return;
        }
        wire.up = up;
        wire.epoch += u64::from(!up);
        for (device, port) in wire.ends {
            self.tell(device, port, up);
        }
    }

    /// Cuts every link between the two groups, silently: no device is told.
    pub fn partition(&mut self, group: &[DeviceId], from: &[DeviceId]) {
        for wire in &mut self.wires {
            let [(a, _), (b, _)] = wire.ends;
            wire.partitioned |=
                group.contains(&a) && from.contains(&b) || group.contains(&b) && from.contains(&a);
        }
    }

    /// Ends every partition.
    pub fn heal(&mut self) {
        for wire in &mut self.wires {
            wire.partitioned = false;
        }
    }

    /// Kills a device: it does nothing more, frames to it vanish, its neighbours are told that the link went.
    pub fn kill(&mut self, device: DeviceId) {
        if self.nodes[device.0].alive {
            self.nodes[device.0].alive = false;
            self.tell_neighbours(device, false);
        }
    }

    /// Puts a fresh device in the place of one that was killed, or of a live one; its neighbours are told that the link
    /// is there. Frames under way reach the new one.
    pub fn revive(&mut self, device: DeviceId, fresh: Box<dyn Device>) {
        let node = &mut self.nodes[device.0];
        node.device = fresh;
        node.alive = true;
        node.not_before = self.now;
        self.tell_neighbours(device, true);
    }

    /// Whether the device was not killed.
    pub fn is_alive(&self, device: DeviceId) -> bool {
        self.nodes[device.0].alive
    }

    /// A device, if it is a `D`; dead or alive.
    pub fn device<D: Device>(&self, device: DeviceId) -> Option<&D> {
        let device: &dyn Any = &*self.nodes[device.0].device;
        device.downcast_ref()
    }

    /// A device, if it is a `D`, to change. What it is to send goes through [`Network::act`].
    pub fn device_mut<D: Device>(&mut self, device: DeviceId) -> Option<&mut D> {
        let device: &mut dyn Any = &mut *self.nodes[device.0].device;
        device.downcast_mut()
    }

    /// Lets a live device that is a `D` do something now, such as send. `None` if it is dead or another type.
    pub fn act<D: Device, R>(
        &mut self,
        device: DeviceId,
        action: impl FnOnce(&mut D, Time, &mut Ports) -> R,
    ) -> Option<R> {
        if !self.is_alive(device) {
            return None;
        }
        let (now, mut out) = (self.now, Ports::default());
        let result = action(self.device_mut(device)?, now, &mut out);
        self.transmit(device, out);
        Some(result)
    }

    /// Sends a frame as if the device had sent it by this port.
    pub fn send(&mut self, from: End, frame: Vec<u8>) {
        self.transmit(from.0, Ports { frames: vec![(from.1, frame)] });
    }

    /// Shows every event to `tap` from now on.
    pub fn set_tap(&mut self, tap: impl FnMut(&Event<'_>) + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// When something happens next; `None` if nothing is under way and no device has a deadline.
    #[must_use]
    pub fn next_event(&self) -> Option<Time> {
        let arrival = self.flights.first_key_value().map(|((time, _), _)| *time);
        let deadline = self.next_deadline().map(|(deadline, _)| deadline);
        arrival.into_iter().chain(deadline).min()
    }

    /// Runs until this moment. At one moment frames go before deadlines, and those in the order of devices.
    pub fn run_until(&mut self, end: Time) {
        while self.step(end) {}
        self.now = self.now.max(end);
    }

    /// Runs for this long.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now.plus(duration));
    }

    /// One frame or deadline up to `end`; whether there was one.
    fn step(&mut self, end: Time) -> bool {
        let arrival = self.flights.first_key_value().map(|((time, _), _)| *time);
        let deadline = self.next_deadline();
        match (arrival, deadline) {
            (Some(arrival), deadline) if arrival <= end && deadline.is_none_or(|(at, _)| arrival <= at) => {
                if let Some(((time, _), flight)) = self.flights.pop_first() {
                    self.now = self.now.max(time);
                    self.arrive(flight);
                }
                true
            }
            (_, Some((deadline, device))) if deadline <= end => {
                self.now = self.now.max(deadline);
                let (now, mut out) = (self.now, Ports::default());
                let node = &mut self.nodes[device.0];
                node.device.timeout(now, &mut out);
                node.not_before = now.plus(Duration::from_micros(1));
                self.transmit(device, out);
                true
            }
            _ => false,
        }
    }

    fn next_deadline(&self) -> Option<(Time, DeviceId)> {
        let alive = self.nodes.iter().enumerate().filter(|(_, node)| node.alive);
        let deadlines = alive.filter_map(|(id, node)| {
            let deadline = node.device.next_timeout()?;
            Some((deadline.max(node.not_before), DeviceId(id)))
        });
        deadlines.min()
    }

    fn arrive(&mut self, flight: Flight) {
        let wire = &self.wires[flight.link.0];
        let (from, to) = (wire.ends[flight.from], wire.ends[1 - flight.from]);
        let kind = if wire.epoch != flight.epoch || !wire.up {
            EventKind::Lost(Loss::LinkDown)
        } else if wire.partitioned {
            EventKind::Lost(Loss::Partitioned)
        } else if !self.is_alive(to.0) {
            EventKind::Lost(Loss::DeadDevice)
        } else {
            EventKind::Delivered
        };
        self.note(kind, from, Some(to), &flight.frame);
        if kind == EventKind::Delivered {
            let (now, mut out) = (self.now, Ports::default());
            self.nodes[to.0.0].device.receive(to.1, &flight.frame, now, &mut out);
            self.transmit(to.0, out);
        }
    }

    fn transmit(&mut self, device: DeviceId, out: Ports) {
        for (port, frame) in out.frames {
            self.transmit_one((device, port), frame);
        }
    }

    fn transmit_one(&mut self, from: End, frame: Vec<u8>) {
        let Some((id, side)) = self.nodes[from.0.0].links.get(&from.1).copied() else {
            return self.note(EventKind::Lost(Loss::Unconnected), from, None, &frame);
        };
        let to = Some(self.wires[id.0].ends[1 - side]);
        self.note(EventKind::Sent, from, to, &frame);
        let wire = &mut self.wires[id.0];
        if !wire.up {
            return self.note(EventKind::Lost(Loss::LinkDown), from, to, &frame);
        }
        if wire.partitioned {
            return self.note(EventKind::Lost(Loss::Partitioned), from, to, &frame);
        }
        let Some(sent) = wire.directions[side].transmit(&wire.link, frame.len(), self.now) else {
            return self.note(EventKind::Lost(Loss::QueueFull), from, to, &frame);
        };
        let (link, epoch) = (wire.link, wire.epoch);
        if self.random.chance(link.loss_probability) {
            return self.note(EventKind::Lost(Loss::Chance), from, to, &frame);
        }
        let copies = 1 + u64::from(self.random.chance(link.duplicate_probability));
        for _ in 0..copies {
            let mut frame = frame.clone();
            link.corrupt(&mut frame, &mut self.random);
            let arrival = sent.plus(link.delay_of(&mut self.random));
            self.flights_sent += 1;
            self.flights.insert((arrival, self.flights_sent), Flight { link: id, epoch, from: side, frame });
        }
    }

    fn tell_neighbours(&mut self, device: DeviceId, up: bool) {
        let links: Vec<_> = self.nodes[device.0].links.values().copied().collect();
        for (link, side) in links {
            let wire = &self.wires[link.0];
            if wire.up {
                let (neighbour, port) = wire.ends[1 - side];
                self.tell(neighbour, port, up);
            }
        }
    }

    fn tell(&mut self, device: DeviceId, port: u16, up: bool) {
        let (now, mut out) = (self.now, Ports::default());
        let node = &mut self.nodes[device.0];
        if node.alive {
            node.device.link_changed(port, up, now, &mut out);
            self.transmit(device, out);
        }
    }

    fn note(&mut self, kind: EventKind, from: End, to: Option<End>, frame: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap(&Event { time: self.now, kind, from, to, frame });
        }
    }
}
