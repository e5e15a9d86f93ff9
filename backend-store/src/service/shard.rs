//! One replica at work: datagrams in, through the protocol's [`Node`], datagrams out. One task, on one thread, for as long
//! as the process lives; nobody else touches its state.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redplane_protocol::mac::{Link, MacKeys};
use redplane_protocol::{Configuration, Destination, Node, NodeId, Time};
use tokio::sync::{mpsc, watch};

use super::coordination::{Place, ShardReport};
use super::durable::{Durable, Held};
use super::gate::{GateDrop, Peers, SwitchGate};
use super::links::{HELLO, Links};
use super::question::{NetworkCounts, Question, RecordsPage, ShardStatus};
use super::udp::{BatchSocket, Outgoing};

/// Batches that are taken in before timers, questions and configurations get their turn: a few milliseconds at most.
const BATCHES_IN_A_ROW: usize = 8;

/// How often a replica looks at the time when nothing else wakes it.
const WAKE_AT_LEAST: Duration = Duration::from_secs(1);

/// How soon the journal is offered again what it had no room for: it writes a group in some milliseconds.
const OFFER_AGAIN: Duration = Duration::from_millis(2);

/// What a replica needs.
pub(crate) struct ShardTask {
    pub(crate) shard: u16,
    pub(crate) node: Node,
    pub(crate) place: Arc<Place>,
    pub(crate) requests: BatchSocket,
    pub(crate) chain: BatchSocket,
    pub(crate) gate: SwitchGate,
    pub(crate) peers: Peers,
    pub(crate) links: Links,
    pub(crate) keys: Option<MacKeys>,
    pub(crate) durable: Option<Durable>,
    pub(crate) configurations: watch::Receiver<Configuration>,
    pub(crate) reports: Arc<watch::Sender<Vec<ShardReport>>>,
    pub(crate) questions: mpsc::Receiver<Question>,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) restored: bool,
    pub(crate) inherited: bool,
    pub(crate) traffic: Traffic,
}

/// What is under way to the sockets, and what went through them.
#[derive(Default)]
pub(crate) struct Traffic {
    to_switches: Outgoing,
    to_nodes: Outgoing,
    keys: Option<MacKeys>,
    /// The message that is being signed.
    signed: Vec<u8>,
    counts: NetworkCounts,
    gate_drops: BTreeMap<GateDrop, u64>,
}

impl ShardTask {
    /// Works until the process shuts down.
    pub(crate) async fn run(mut self) {
        self.report();
        loop {
            let has_room = self.durable.as_ref().is_none_or(Durable::has_room);
            let due = self.node.poll_timeout().map(|due| self.place.clock().instant(due));
            let is_refused = self.durable.as_ref().is_some_and(Durable::is_refused);
            let at_least = Instant::now() + if is_refused { OFFER_AGAIN } else { WAKE_AT_LEAST };
            let greet = self.place.clock().instant(self.links.next());
            let wake = due.map_or(at_least, |due| due.min(at_least)).min(greet);
            tokio::select! {
                biased;
                _ = self.shutdown.changed() => return,
                changed = self.configurations.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.reconfigure();
                }
                Some(question) = self.questions.recv() => self.answer(question),
                held = durable_again(&mut self.durable) => self.release(held),
                _ = self.chain.readable(), if has_room => self.take_in(),
                _ = self.requests.readable(), if has_room => self.take_in(),
                () = tokio::time::sleep_until(wake.into()) => self.take_in(),
            }
        }
    }

    /// Takes in what has come, as long as there is more, and sends what follows from it.
    fn take_in(&mut self) {
        for _ in 0..BATCHES_IN_A_ROW {
            let now = self.place.clock().now();
            let serves = self.place.serves_at(now);
            let from_chain = self.take_in_chain(now, serves);
            if from_chain == 0 {
                self.links.listened(now);
            }
            self.greet(now);
            let taken = from_chain + self.take_in_requests(now, serves);
            if serves {
                self.node.handle_timeout(now);
            }
            if let Some(durable) = &mut self.durable {
                durable.offer_again();
            }
            self.send();
            if taken == 0 || !self.durable.as_ref().is_none_or(Durable::has_room) {
                break;
            }
        }
        self.report();
    }

    fn take_in_chain(&mut self, now: Time, serves: bool) -> usize {
        let Self { chain, node, peers, links, keys, traffic, .. } = self;
        let received = chain.receive_runs(|from, run| {
            let peer = peers.node(from);
            node.anticipate_chain(run.clone());
            for bytes in run {
                traffic.count_received(bytes);
                let Some(peer) = peer else {
                    traffic.count_drop(GateDrop::UnknownNode);
                    continue;
                };
                let link = Link::Chain { from: peer, to: node.id() };
                let Some(bytes) = authentic(keys.as_ref(), link, bytes) else {
                    traffic.count_drop(GateDrop::Unauthenticated);
                    continue;
                };
                links.heard(peer, now);
                if bytes == HELLO {
                    continue;
                }
                if serves {
                    node.handle_chain(peer, bytes, now);
                } else {
                    traffic.count_drop(GateDrop::NoPlace);
                }
            }
        });
        self.traffic.count_call(received)
    }

    /// Lets the other nodes hear that this one lives, if it is time.
    fn greet(&mut self, now: Time) {
        let own = self.node.id();
        for peer in self.links.greet(now) {
            self.traffic.push(own, &self.peers, Destination::Node(peer), &HELLO);
        }
    }

    fn take_in_requests(&mut self, now: Time, serves: bool) -> usize {
        let Self { requests, node, gate, keys, traffic, .. } = self;
        let received = requests.receive_runs(|from, run| {
            node.anticipate_requests(run.clone());
            for bytes in run {
                traffic.count_received(bytes);
                match authentic(keys.as_ref(), Link::Switch(from), bytes) {
                    None => traffic.count_drop(GateDrop::Unauthenticated),
                    Some(bytes) if !gate.admits(from, bytes) => traffic.count_drop(GateDrop::UnknownSwitch),
                    Some(_) if !serves => traffic.count_drop(GateDrop::NoPlace),
                    Some(bytes) => node.handle_request(from, bytes, now),
                }
            }
        });
        self.traffic.count_call(received)
    }

    /// Sends what the node wants to send; with a journal, once all that it depends on is on disk.
    fn send(&mut self) {
        match &mut self.durable {
            Some(durable) if durable.must_hold(&self.node) => durable.hold(&mut self.node),
            _ => {
                let own = self.node.id();
                while let Some((to, bytes)) = self.node.next_transmit() {
                    self.traffic.push(own, &self.peers, to, bytes);
                }
            }
        }
        self.traffic.flush(&self.requests, &self.chain);
    }

    /// Sends what was held back.
    fn release(&mut self, held: Held) {
        for (to, bytes) in held.iter() {
            self.traffic.push(self.node.id(), &self.peers, to, bytes);
        }
        self.traffic.flush(&self.requests, &self.chain);
        if let Some(durable) = &mut self.durable {
            durable.released(held);
        }
    }

    fn reconfigure(&mut self) {
        let configuration = self.configurations.borrow_and_update().clone();
        let now = self.place.clock().now();
        tracing::info!(
            shard = self.shard,
            epoch = configuration.epoch,
            members = ?configuration.members.iter().map(|node| node.0).collect::<Vec<_>>(),
            joining = ?configuration.joining.map(|node| node.0),
            "configured"
        );
        let is_member = configuration.members.contains(&self.node.id());
        self.restored &= is_member && configuration.joining != Some(self.node.id());
        if let Some(durable) = &mut self.durable {
            durable.configured(configuration.epoch);
        }
        self.node.reconfigure(configuration, now);
        self.send();
        self.report();
    }

    /// Tells the coordination how far this replica is, if that has changed.
    fn report(&mut self) {
        let report = ShardReport {
            shard: self.shard,
            epoch: self.node.configuration().epoch,
            copied: !self.node.is_copying(),
            restored: self.restored,
            inherited: self.inherited,
            silent: self.links.silent(),
        };
        self.reports.send_if_modified(|reports| {
            match reports.iter_mut().find(|other| other.shard == report.shard) {
                Some(known) if *known == report => return false,
                Some(known) => *known = report,
                None => reports.push(report),
            }
            true
        });
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Status(answer) => {
                let serving = self.place.serves_at(self.place.clock().now());
                let mut status = ShardStatus::of(self.shard, &self.node, serving);
                status.network = self.traffic.counts();
                status.journal = self.durable.as_ref().map(Durable::counts);
                drop(answer.send(status));
            }
            Question::Records { app, from, limit, answer } => {
                drop(answer.send(RecordsPage::of(&self.node, app, from, limit)));
            }
        }
    }
}

/// Waits for what was held back and may leave now; for ever without a journal.
async fn durable_again(durable: &mut Option<Durable>) -> Held {
    match durable {
        Some(durable) => durable.next().await,
        None => std::future::pending().await,
    }
}

/// The message of a datagram, without the code behind it if there are keys; `None` if that is wrong.
fn authentic<'a>(keys: Option<&MacKeys>, link: Link, bytes: &'a [u8]) -> Option<&'a [u8]> {
    keys.map_or(Some(bytes), |keys| keys.verify(link, bytes).ok())
}

impl Traffic {
    pub(crate) fn new(keys: Option<MacKeys>) -> Self {
        Self { keys, ..Self::default() }
    }

    fn push(&mut self, own: NodeId, peers: &Peers, to: Destination, bytes: &[u8]) {
        let (outgoing, address, link) = match to {
            Destination::Switch(address) => (&mut self.to_switches, address, Link::Switch(address)),
            Destination::Node(node) => {
                // A configuration may name a node that this file does not have yet.
                let Some(address) = peers.address(node) else { return self.counts.send_failures += 1 };
                (&mut self.to_nodes, address, Link::Chain { from: own, to: node })
            }
        };
        self.counts.sent_bytes += bytes.len() as u64;
        match &self.keys {
            None => outgoing.push(address, bytes),
            Some(keys) => {
                self.signed.clear();
                self.signed.extend_from_slice(bytes);
                keys.sign(link, &mut self.signed);
                outgoing.push(address, &self.signed);
            }
        }
    }

    fn flush(&mut self, requests: &BatchSocket, chain: &BatchSocket) {
        for (outgoing, socket) in [(&mut self.to_nodes, chain), (&mut self.to_switches, requests)] {
            if !outgoing.is_empty() {
                let flushed = outgoing.flush(socket);
                self.counts.sent_datagrams += flushed.sent as u64;
                self.counts.send_failures += flushed.dropped as u64;
                self.counts.send_calls += 1;
            }
        }
    }

    fn count_received(&mut self, bytes: &[u8]) {
        self.counts.received_datagrams += 1;
        self.counts.received_bytes += bytes.len() as u64;
    }

    fn count_call(&mut self, received: io::Result<usize>) -> usize {
        self.counts.receive_calls += 1;
        received.unwrap_or_else(|error| {
            // Such as ECONNREFUSED for an answer to a switch that is gone: it concerns no datagram that came.
            tracing::debug!(%error, "receive");
            0
        })
    }

    fn count_drop(&mut self, reason: GateDrop) {
        *self.gate_drops.entry(reason).or_default() += 1;
    }

    fn counts(&self) -> NetworkCounts {
        let gate_drops = GateDrop::ALL.map(|reason| {
            (reason.name().to_owned(), self.gate_drops.get(&reason).copied().unwrap_or_default())
        });
        NetworkCounts { gate_drops: gate_drops.into(), ..self.counts.clone() }
    }
}

/// An address of the configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address} for {what} of shard {shard}: {source}; is another node running there?")]
pub struct BindError {
    /// Which.
    pub address: SocketAddrV4,
    /// For what.
    pub what: &'static str,
    /// Of which shard.
    pub shard: u16,
    /// Why.
    pub source: io::Error,
}
