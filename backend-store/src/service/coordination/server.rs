//! The static coordinator as a process.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;

use redplane_protocol::NodeId;
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use super::CoordinationError;
use super::state;
use super::table::{Standing, Table, TableSettings};
use super::wire::{
    ANSWER_FACTOR, Answer, Ask, DATAGRAM_LEN_MAX, Dialect, Heartbeat, Message, ShardConfiguration,
};
use crate::service::clock::Clock;
use crate::service::config::{Config, Coordination};

/// Most datagrams that are taken in before somebody is declared dead: all that a socket's default buffer holds of short
/// ones. Whoever floods the port cannot keep a dead node in its chain.
const DRAINED_MAX: usize = 1024;

/// Runs the coordinator of a cluster until `shutdown` is done.
///
/// What it decides is in its state file before anybody is told. While it is away nodes go on until their places run out;
/// when it is back, all that were in a chain get the full detection time. It is answered with three times the bytes at
/// most, and only to messages that name the cluster. With keys in the configuration, only who has one is heard; without,
/// the network must keep others' hands off the port, for a message is believed.
///
/// # Errors
/// If the configuration leaves coordination to etcd, the address cannot be had, or the state file cannot be read, is
/// unusable, or cannot be written. It stops then: a coordinator that forgets is worse than none.
pub async fn coordinate(config: &Config, shutdown: impl Future) -> Result<(), CoordinationError> {
    let Coordination::Static { address, state: path } = &config.coordination else {
        return Err(CoordinationError::NotStatic);
    };
    let (address, clock) = (*address, Clock::start());
    let settings = TableSettings::from(config);
    let failed = |source| CoordinationError::Socket { address, source };
    // First the address: whoever has it is the only one that writes the file.
    let socket = UdpSocket::bind(address).await.map_err(failed)?;
    let table = match state::read(path)? {
        Some(record) => {
            Table::from_record(settings, &record, clock.now()).map_err(|why| state::corrupt(path, why))?
        }
        None => Table::new(settings),
    };
    let mut server = Server {
        dialect: Dialect::new(config),
        socket,
        clock,
        path: path.clone(),
        saved: table.revision(),
        table,
        peers: BTreeMap::new(),
        last_reset: None,
        refused: 0,
    };
    // Whether it can be written is better known before it matters.
    state::write(path, server.table.to_record())?;
    tracing::info!(%address, state = %path.display(), "coordinating");
    server.run(shutdown).await
}

struct Server {
    dialect: Dialect,
    socket: UdpSocket,
    clock: Clock,
    path: PathBuf,
    table: Table,
    /// The table's revision that is in the file.
    saved: u64,
    /// Where each node was heard from last, and in which life.
    peers: BTreeMap<NodeId, (SocketAddr, u64)>,
    /// A repeated question is not a second reset.
    last_reset: Option<(u64, Option<String>)>,
    refused: u64,
}

impl Server {
    async fn run(&mut self, shutdown: impl Future) -> Result<(), CoordinationError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut buffer = vec![0; DATAGRAM_LEN_MAX + 1];
        loop {
            let due = self.table.poll_timeout().map(|at| self.clock.instant(at));
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = &mut shutdown => return Ok(()),
                () = is_due => {
                    // Whoever has sent a sign of life is alive, even if it was not read in time.
                    for _ in 0..DRAINED_MAX {
                        match self.socket.try_recv_from(&mut buffer) {
                            Ok((len, from)) => self.on_datagram(from, &buffer[..len])?,
                            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                            Err(_) => {}
                        }
                    }
                    self.table.handle_timeout(self.clock.now());
                    self.publish()?;
                }
                received = self.socket.recv_from(&mut buffer) => {
                    // Errors here are about what was sent before: a node that is gone.
                    if let Ok((len, from)) = received {
                        self.on_datagram(from, &buffer[..len])?;
                    }
                }
            }
        }
    }

    fn on_datagram(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), CoordinationError> {
        let reply = match self.dialect.parse(bytes) {
            Ok(Message::Heartbeat(heartbeat)) => self.on_heartbeat(from, &heartbeat)?,
            Ok(Message::Question { token, ask: Ask::Status, .. }) => {
                Message::Status { token, status: self.table.status(self.refused, self.clock.now()) }
            }
            Ok(Message::Question { token, ask: Ask::Reset { shard }, .. }) => self.on_reset(token, shard)?,
            Ok(_) | Err(_) => {
                self.refused += 1;
                return Ok(());
            }
        };
        self.send(from, reply, ANSWER_FACTOR * bytes.len());
        Ok(())
    }

    fn on_heartbeat(
        &mut self,
        from: SocketAddr,
        heartbeat: &Heartbeat,
    ) -> Result<Message, CoordinationError> {
        let (node, incarnation, now) = (NodeId(heartbeat.node), heartbeat.incarnation, self.clock.now());
        let standing = if heartbeat.leaves {
            self.table.handle_leave(node, incarnation, now);
            Standing::Former
        } else {
            let reports = &heartbeat.reports;
            self.table.handle_heartbeat(node, incarnation, heartbeat.yields, reports, now)
        };
        if standing == Standing::Counted {
            self.peers.insert(node, (from, incarnation));
        }
        self.publish()?;
        Ok(self.answer(node, incarnation, Some(heartbeat.sequence), standing))
    }

    fn on_reset(&mut self, token: u64, shard: u16) -> Result<Message, CoordinationError> {
        let refused = match self.last_reset.take().filter(|(last, _)| *last == token) {
            Some((_, refused)) => refused,
            None => self.table.reset(shard, self.clock.now()).err().map(|error| error.to_string()),
        };
        self.last_reset = Some((token, refused.clone()));
        self.publish()?;
        Ok(Message::Reset { token, refused })
    }

    /// Writes down what is new, and then tells all nodes, without waiting for their next heartbeats.
    fn publish(&mut self) -> Result<(), CoordinationError> {
        if self.table.revision() == self.saved {
            return Ok(());
        }
        state::write(&self.path, self.table.to_record())?;
        self.saved = self.table.revision();
        for (node, (address, incarnation)) in self.peers.clone() {
            self.send(address, self.answer(node, incarnation, None, Standing::Counted), DATAGRAM_LEN_MAX);
        }
        Ok(())
    }

    fn answer(&self, node: NodeId, incarnation: u64, sequence: Option<u64>, standing: Standing) -> Message {
        let configurations = self.table.configurations_for(node, incarnation);
        let configurations =
            configurations.map(|(shard, told)| ShardConfiguration::new(shard, told)).collect();
        Message::Answer(Answer { node: node.0, incarnation, sequence, standing, configurations })
    }

    /// Sends at once or not at all: the next heartbeat asks again.
    fn send(&self, to: SocketAddr, message: Message, longest: usize) {
        match self.dialect.to_bytes(message) {
            Ok(bytes) if bytes.len() <= longest => {
                let _ = self.socket.try_send_to(&bytes, to);
            }
            Ok(bytes) => {
                tracing::warn!(%to, len = bytes.len(), longest, "an answer is too long for its question");
            }
            Err(error) => tracing::error!(%to, %error, "an answer cannot be sent"),
        }
    }
}
