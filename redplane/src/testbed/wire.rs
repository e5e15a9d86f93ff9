//! Cables that lose, delay, repeat, reorder and corrupt: the link of the simulated network, between two real interfaces.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use redplane_sdk::net::{Device, DeviceId, Link, LinkId, Network, Ports};
use redplane_sdk::protocol::Time;
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Deserialize;

use super::namespace::Namespace;
use crate::linux::PacketSocket;

/// How long the thread sleeps at most: an order is obeyed within it.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// What a cable does to frames, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Impairment {
    /// Milliseconds that a frame is under way.
    pub delay_ms: f64,
    /// How often one is lost, from 0 to 1.
    pub loss: f64,
    /// How often one arrives twice.
    pub duplicate: f64,
    /// How often one is late, by up to [`Impairment::jitter_ms`].
    pub reorder: f64,
    /// How late, at most.
    pub jitter_ms: f64,
    /// How often one bit is flipped.
    pub corrupt: f64,
    /// Megabits a second; zero: as many as come.
    pub megabits: f64,
}

impl Impairment {
    /// Reads `loss=0.01 delay_ms=5`; what is not said is as on a good cable.
    ///
    /// # Errors
    /// If a word is not one of those, or its value is none.
    pub fn parse(words: &[&str]) -> anyhow::Result<Self> {
        let mut impairment = Impairment::default();
        for word in words {
            let (name, value) =
                word.split_once('=').with_context(|| format!("`{word}` is not NAME=VALUE"))?;
            let value: f64 = value.parse().with_context(|| format!("`{word}`"))?;
            let field = match name {
                "delay_ms" => &mut impairment.delay_ms,
                "loss" => &mut impairment.loss,
                "duplicate" => &mut impairment.duplicate,
                "reorder" => &mut impairment.reorder,
                "jitter_ms" => &mut impairment.jitter_ms,
                "corrupt" => &mut impairment.corrupt,
                "megabits" => &mut impairment.megabits,
                _ => bail!(
                    "a cable has no `{name}`; it has delay_ms, loss, duplicate, reorder, jitter_ms, corrupt and megabits"
                ),
            };
            *field = value;
        }
        impairment.link()?;
        Ok(impairment)
    }

    /// As the simulated network has it.
    ///
    /// # Errors
    /// If a probability is none, or a time is negative.
    pub fn link(&self) -> anyhow::Result<Link> {
        for (name, value) in [
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("reorder", self.reorder),
            ("corrupt", self.corrupt),
        ] {
            if !(0.0..=1.0).contains(&value) {
                bail!("{name} is {value}, and must be a probability, 0 to 1");
            }
        }
        let time = |name: &str, milliseconds: f64| {
            Duration::try_from_secs_f64(milliseconds / 1e3)
                .with_context(|| format!("{name} is {milliseconds}"))
        };
        Ok(Link {
            delay: time("delay_ms", self.delay_ms)?,
            loss_probability: self.loss,
            duplicate_probability: self.duplicate,
            reorder_probability: self.reorder,
            jitter: time("jitter_ms", self.jitter_ms)?,
            corrupt_probability: self.corrupt,
            bandwidth: (self.megabits > 0.0).then_some((self.megabits * 1e6) as u64),
            ..Link::default()
        })
    }
}

/// The cables of a testbed that do so. They are cut when this is dropped.
#[derive(Debug)]
pub(super) struct Wires {
    orders: Option<Sender<(Cable, Link)>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

/// A cable: number of the switch, from zero, and of the port.
pub(super) type Cable = (usize, u16);

impl Wires {
    /// Connects pairs of interfaces of a namespace.
    pub(super) fn start(
        namespace: &Namespace,
        cables: BTreeMap<Cable, ([String; 2], Link)>,
    ) -> anyhow::Result<Self> {
        let (orders, ordered) = channel();
        let (ready, is_ready) = channel();
        let thread = namespace.spawn("wires", move || {
            let relay = Relay::new(cables)?;
            ready.send(())?;
            relay.run(&ordered)
        })?;
        if is_ready.recv().is_err() {
            return match thread.join() {
                Ok(Err(error)) => Err(error),
                _ => bail!("the cables' thread ended"),
            };
        }
        Ok(Wires { orders: Some(orders), thread: Some(thread) })
    }

    /// What a cable does from now on.
    pub(super) fn set(&self, cable: Cable, link: Link) -> anyhow::Result<()> {
        let orders = self.orders.as_ref().context("the cables are cut")?;
        orders.send((cable, link)).context("the cables' thread ended")
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the cables: {error:#}");
        }
    }
}

/// Collects what arrives at one end of a link.
#[derive(Default)]
struct End(Vec<Vec<u8>>);

impl Device for End {
    fn receive(&mut self, _: u16, frame: &[u8], _: Time, _: &mut Ports) {
        self.0.push(frame.to_vec());
    }
}

struct Relay {
    started: Instant,
    network: Network,
    links: BTreeMap<Cable, LinkId>,
    /// Each interface, and the end of a link that it is.
    ends: Vec<(PacketSocket, DeviceId)>,
}

impl Relay {
    fn new(cables: BTreeMap<Cable, ([String; 2], Link)>) -> anyhow::Result<Self> {
        let mut network = Network::new(1);
        let (mut links, mut ends) = (BTreeMap::new(), Vec::new());
        for (cable, ([a, b], link)) in cables {
            let open = |name: &str| PacketSocket::open(name).with_context(|| format!("cannot open {name}"));
            let (a_end, b_end) =
                (network.add(Box::new(End::default())), network.add(Box::new(End::default())));
            links.insert(cable, network.connect((a_end, 0), (b_end, 0), link));
            ends.push((open(&a)?, a_end));
            ends.push((open(&b)?, b_end));
        }
        Ok(Relay { started: Instant::now(), network, links, ends })
    }

    fn run(mut self, ordered: &Receiver<(Cable, Link)>) -> anyhow::Result<()> {
        loop {
            match ordered.try_recv() {
                Ok((cable, link)) => {
                    let id = self.links.get(&cable).context("there is no such cable")?;
                    self.network.set_link(*id, link);
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {}
            }
            let now = self.now();
            let Relay { network, ends, .. } = &mut self;
            network.run_until(now);
            let mut busy = false;
            for (socket, end) in ends {
                busy |= socket.receive(|frame| network.send((*end, 0), frame.to_vec()))? > 0;
                let arrived = network.device_mut::<End>(*end).map(|end| std::mem::take(&mut end.0));
                socket.send(arrived.unwrap_or_default().iter().map(Vec::as_slice));
            }
            if !busy {
                self.wait()?;
            }
        }
    }

    fn now(&self) -> Time {
        Time(self.started.elapsed().as_micros() as u64)
    }

    fn wait(&self) -> anyhow::Result<()> {
        let next = self.network.next_event().map(|next| next.since(self.now()));
        let longest = next.unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
        let sockets = self.ends.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::IN));
        match rustix::event::poll(&mut sockets.collect::<Vec<_>>(), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
