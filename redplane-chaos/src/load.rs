//! Switches under load, on a thread of their own.

mod hosts;
mod unit;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::Context;
use backend_store::service::udp::BatchSocket;
use redplane_protocol::fixed::{key_hash, shard_of};
use redplane_simulation::frame::{Datagram, PacketId};
use redplane_simulation::history::Micros;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::app::tally;
use crate::clock::Clock;
use crate::gaps::Gaps;
use crate::io::Io;
use crate::log::Log;
use hosts::Hosts;
use unit::Unit;

/// The first key; the others follow.
const FIRST_KEY: u32 = u32::from_be_bytes([10, 0, 0, 1]);

/// Who sends all packets.
const HOST: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

/// Ports of every switch: to the hosts and to the store.
mod port {
    pub(super) const HOSTS: u16 = 1;
    pub(super) const STORE: u16 = 2;
}

/// UDP destination ports: what a packet asks for. [`tally`] has the same.
mod ask {
    pub(super) const COUNT: u16 = 1;
    pub(super) const SHOW: u16 = 2;
}

/// Longest wait for a socket: deadlines of switches and hosts are milliseconds apart.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// Address of a key.
#[must_use]
pub fn address_of(key: u32) -> u32 {
    FIRST_KEY.wrapping_add(key)
}

/// Shard of a key.
fn shard_of_key(key: u32, shards: u16) -> u16 {
    shard_of(key_hash(&tally::Receiver { addr: address_of(key).into() }), shards)
}

/// What the load is.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// How many keys.
    pub keys: u32,
    /// How many packets are under way at most.
    pub window: usize,
    /// Most packets a second; zero: as many as the window lets.
    pub rate: u64,
    /// What is random comes from it.
    pub seed: u64,
    /// Where each node takes requests, by node and shard.
    pub requests: Vec<Vec<SocketAddrV4>>,
    /// New keys that come on top, by the last switch, a second; none before the flood is let in.
    pub flood: u64,
}

/// What others see of the load while it runs.
#[derive(Debug)]
pub struct Progress {
    /// Times without an acknowledged write.
    pub gaps: Gaps,
    /// Writes acknowledged.
    pub writes: AtomicU64,
    /// Reads answered.
    pub reads: AtomicU64,
    /// Packets that were given up.
    pub unanswered: AtomicU64,
    /// Packets with new keys that came on top.
    pub flooded: AtomicU64,
    /// Set: the flood comes.
    pub flood: AtomicBool,
    /// Set: no more load, read every key.
    finish: AtomicBool,
    /// Set: end at once.
    abort: AtomicBool,
}

/// What a load leaves behind.
#[derive(Debug)]
pub struct Outcome {
    /// All packets.
    pub log: Log,
    /// When the last reads began.
    pub reads_from: Micros,
    /// Leases that were recalled from a switch because another one asked.
    pub recalled: u64,
    /// Messages that switches sent again.
    pub retransmitted: u64,
}

/// A running load. It is ended when this is dropped.
#[derive(Debug)]
pub struct Load {
    /// What is known of it.
    pub progress: Arc<Progress>,
    thread: Option<JoinHandle<Outcome>>,
}

/// Sockets for switches, bound before the store's configuration names them.
pub struct Sockets {
    runtime: Io,
    sockets: Vec<BatchSocket>,
    /// Where they are.
    pub addresses: Vec<SocketAddrV4>,
}

impl Sockets {
    /// Opens so many.
    ///
    /// # Errors
    /// If there are no sockets to be had.
    pub fn bind(count: usize) -> anyhow::Result<Self> {
        let runtime = Io::new()?;
        let guard = runtime.enter();
        let bind = |_| BatchSocket::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), Default::default());
        let sockets =
            (0..count).map(bind).collect::<Result<Vec<_>, _>>().context("no sockets for switches")?;
        let addresses = sockets.iter().map(BatchSocket::local_address).collect::<Result<_, _>>()?;
        drop(guard);
        Ok(Self { runtime, sockets, addresses })
    }
}

impl Load {
    /// Starts the switches and the hosts behind them.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(plan: &LoadPlan, sockets: Sockets, clock: Clock) -> anyhow::Result<Self> {
        let shards = plan.requests.first().map_or(0, Vec::len);
        let progress = Arc::new(Progress {
            gaps: Gaps::new(shards),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            flooded: AtomicU64::new(0),
            flood: AtomicBool::new(false),
            finish: AtomicBool::new(false),
            abort: AtomicBool::new(false),
        });
        let Sockets { runtime, sockets, .. } = sockets;
        let units = (0u16..).zip(sockets);
        let units = units.map(|(at, socket)| Unit::new(at, socket, &plan.requests, clock.ticks()));
        let units = units.collect::<anyhow::Result<Vec<_>>>()?;
        let hosts = Hosts::new(plan, units.len(), shards as u16);
        let worker = Worker { clock, units, hosts, progress: Arc::clone(&progress) };
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let _guard = runtime.enter();
            worker.run()
        })?;
        Ok(Self { progress, thread: Some(thread) })
    }

    /// Ends the load, and reads every key through another switch than the one that it was last counted by.
    ///
    /// # Errors
    /// If the thread panicked.
    pub fn finish(mut self) -> anyhow::Result<Outcome> {
        self.progress.finish.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the load has no thread")?;
        thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.progress.abort.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was told on its own thread.
            let _ = thread.join();
        }
    }
}

/// All that the load's thread has in hand.
struct Worker {
    clock: Clock,
    units: Vec<Unit>,
    hosts: Hosts,
    progress: Arc<Progress>,
}

impl Worker {
    fn run(mut self) -> Outcome {
        let mut reads_from = None;
        loop {
            let taken = self.take_in();
            let now = self.clock.micros();
            self.hosts.give_up(now, &self.progress);
            if self.progress.abort.load(Ordering::Relaxed) {
                break;
            }
            if reads_from.is_some() {
                if self.read_all() {
                    break;
                }
            } else if self.progress.finish.load(Ordering::Relaxed) {
                if self.hosts.is_quiet() {
                    reads_from = Some(self.clock.micros());
                    self.hosts.start_reads(self.clock.micros());
                }
            } else {
                self.send_more();
            }
            self.send();
            if taken == 0 {
                self.wait();
            }
        }
        let statistics = self.units.iter().map(|unit| unit.switch.slots().statistics());
        let recalled = statistics.map(|statistics| statistics.recalled).sum();
        let retransmitted = self.units.iter().map(|unit| unit.switch.statistics().retransmitted).sum();
        let reads_from = reads_from.unwrap_or(Micros::MAX);
        Outcome { log: self.hosts.into_log(), reads_from, recalled, retransmitted }
    }

    /// Takes in what the store answered, and what leaves the switches.
    fn take_in(&mut self) -> usize {
        let mut taken = 0;
        for at in 0..self.units.len() {
            taken += self.units[at].receive(self.clock);
            self.deliver(at);
        }
        taken
    }

    /// Hands to the hosts what left a switch.
    fn deliver(&mut self, at: usize) {
        let Self { clock, units, hosts, progress } = self;
        units[at].drain(*clock, |frame, now| {
            let (Some((datagram, _)), Some(packet)) = (Datagram::parse(frame), PacketId::of(frame)) else {
                return;
            };
            let value = u32::from(datagram.src.1) << 16 | u32::from(datagram.identification);
            hosts.leave(packet, value, now, progress);
        });
    }

    /// Lets packets in as long as there is room for more.
    fn send_more(&mut self) {
        while let Some(packet) = self.hosts.next_packet(self.clock.micros()) {
            self.enter(packet.0, packet.1, packet.2);
        }
        self.flood();
        while let Some(packet) = self.hosts.probe(self.clock.micros(), &self.progress.gaps) {
            self.enter(packet.0, packet.1, packet.2);
        }
    }

    /// Lets packets with new keys in by the last switch, without any patience.
    fn flood(&mut self) {
        if !self.progress.flood.load(Ordering::Relaxed) {
            return;
        }
        let Some(at) = self.units.len().checked_sub(1) else { return };
        while let Some(key) = self.hosts.next_flood(self.clock.micros()) {
            let datagram = Datagram { src: (HOST, 9), dst: (key.into(), ask::COUNT), identification: 0 };
            // It has no number: nobody waits for it.
            self.units[at].process(port::HOSTS, &datagram.to_frame(&[0; 8]), self.clock);
            self.progress.flooded.fetch_add(1, Ordering::Relaxed);
            self.deliver(at);
        }
    }

    /// Whether every key was read, or the time for it is over.
    fn read_all(&mut self) -> bool {
        while let Some(packet) = self.hosts.next_read(self.clock.micros()) {
            self.enter(packet.0, packet.1, packet.2);
        }
        self.hosts.reads_are_over(self.clock.micros())
    }

    fn enter(&mut self, at: usize, key: u32, writes: bool) {
        let now = self.clock.micros();
        let packet = self.hosts.enter(key, writes, now);
        let ask = if writes { ask::COUNT } else { ask::SHOW };
        let datagram = Datagram { src: (HOST, 9), dst: (address_of(key).into(), ask), identification: 0 };
        self.units[at].process(port::HOSTS, &datagram.to_frame(&packet.to_bytes()), self.clock);
        self.deliver(at);
    }

    fn send(&mut self) {
        for at in 0..self.units.len() {
            self.units[at].timeout(self.clock);
            self.deliver(at);
            self.units[at].flush();
        }
    }

    fn wait(&self) {
        let sockets = self.units.iter().map(|unit| &unit.socket);
        let mut waits: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        // Interrupted or not, it goes on.
        let _ = poll(&mut waits, Some(&WAIT));
    }
}
