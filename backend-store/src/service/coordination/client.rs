//! A node's and an operator's side of the static coordinator.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use redplane_protocol::{Configuration, Time};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::session::{HEARTBEAT_MIN, Session, has_taken_up, spawn};
use super::table::Standing;
use super::wire::{self, Answer, Ask, DATAGRAM_LEN_MAX, Dialect, Heartbeat, Message};
use super::{CoordinationError, CoordinationStatus, ShardReport};
use crate::service::config::Config;

/// Heartbeats that may be on their way at once. More than are sent in a detection time: older answers are worth nothing.
const OUTSTANDING_MAX: usize = 32;

/// After what part of the detection time without an answer a node stops serving and says so, in thousandths. Whoever
/// coordinates hears it, for it may be only the answers that are lost, and need not wait until the place is over.
const YIELD_PER_MILLE: u32 = 700;

/// How long an operator waits for an answer before the question is sent again.
const ASK_WAIT: Duration = Duration::from_millis(300);

/// How often an operator's question is sent.
const ASK_COUNT: u32 = 5;

/// How long a leaving node waits for an answer before it says so again.
const LEAVE_AGAIN: Duration = Duration::from_millis(50);

pub(crate) async fn start(session: Session, address: SocketAddrV4) -> Result<(), CoordinationError> {
    let failed = |source| CoordinationError::Socket { address, source };
    // Made here, so that the caller hears of an error; used there, by the other thread's runtime.
    let socket = connected(address).await.and_then(UdpSocket::into_std).map_err(failed)?;
    spawn(session.node, move || async move {
        match UdpSocket::from_std(socket) {
            Ok(socket) => {
                let heard = session.now();
                let yields = false;
                let client = Client {
                    session,
                    socket,
                    sequence: 0,
                    sent: VecDeque::new(),
                    refused: false,
                    heard,
                    yields,
                };
                client.run().await;
            }
            Err(error) => tracing::error!(%error, "no socket for the coordination"),
        }
    })
}

/// Asks the coordinator who is alive and in which chain.
pub(crate) async fn status(
    config: &Config,
    address: SocketAddrV4,
) -> Result<CoordinationStatus, CoordinationError> {
    match ask(config, address, Ask::Status).await? {
        Message::Status { status, .. } => Ok(status),
        _ => Err(no_answer(address)),
    }
}

/// Asks the coordinator to give up what a shard had.
pub(crate) async fn reset_shard(
    config: &Config,
    address: SocketAddrV4,
    shard: u16,
) -> Result<(), CoordinationError> {
    match ask(config, address, Ask::Reset { shard }).await? {
        Message::Reset { refused: None, .. } => Ok(()),
        Message::Reset { refused: Some(why), .. } => Err(CoordinationError::NotReset { why }),
        _ => Err(no_answer(address)),
    }
}

async fn ask(config: &Config, address: SocketAddrV4, ask: Ask) -> Result<Message, CoordinationError> {
    let failed = |source| CoordinationError::Socket { address, source };
    let socket = connected(address).await.map_err(failed)?;
    // The same in every repetition: a reset is done once.
    let token = RandomState::new().hash_one(std::process::id());
    let dialect = Dialect::new(config);
    let padding = wire::padding(config.shards, config.nodes.len());
    let question = dialect.to_bytes(Message::Question { token, ask, padding });
    let question = question.map_err(|error| failed(io::Error::other(error)))?;
    let mut buffer = vec![0; DATAGRAM_LEN_MAX + 1];
    for _ in 0..ASK_COUNT {
        // A coordinator that is not there makes sending or receiving fail at once; it may come.
        let _ = socket.send(&question).await;
        let again = Instant::now() + ASK_WAIT;
        while let Ok(received) =
            timeout(again.saturating_duration_since(Instant::now()), socket.recv(&mut buffer)).await
        {
            let Ok(len) = received else {
                sleep_until(again).await;
                continue;
            };
            match dialect.parse(&buffer[..len]) {
                Ok(message @ (Message::Status { token: echo, .. } | Message::Reset { token: echo, .. }))
                    if echo == token =>
                {
                    return Ok(message);
                }
                _ => {}
            }
        }
    }
    Err(no_answer(address))
}

fn no_answer(address: SocketAddrV4) -> CoordinationError {
    CoordinationError::NoAnswer { address, waited: ASK_WAIT * ASK_COUNT }
}

async fn connected(address: SocketAddrV4) -> io::Result<UdpSocket> {
    let local = if address.ip().is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let socket = UdpSocket::bind((local, 0)).await?;
    // Only the coordinator's datagrams come in.
    socket.connect(address).await?;
    Ok(socket)
}

/// A heartbeat whose answer may come.
struct Sent {
    sequence: u64,
    at: Time,
    reports: Vec<ShardReport>,
    /// An answer to it is no leave to serve.
    yields: bool,
}

struct Client {
    session: Session,
    socket: UdpSocket,
    sequence: u64,
    sent: VecDeque<Sent>,
    /// The coordinator said that this node does not count.
    refused: bool,
    /// When the last heartbeat was sent that was answered.
    heard: Time,
    /// The node stopped serving until it hears something.
    yields: bool,
}

impl Client {
    async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_LEN_MAX + 1];
        let events = self.session.events.clone();
        let (mut next, mut last) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                biased;
                leave = self.session.leaves.recv() => {
                    if let Some(done) = leave {
                        self.leave(done, &mut buffer).await;
                    }
                    return;
                }
                () = sleep_until(next) => {
                    self.yield_if_unheard();
                    self.send_heartbeat(false).await;
                    last = Instant::now();
                    next = last + self.session.heartbeat();
                }
                permit = events.reserve(), if !self.session.news.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some(event) = self.session.news.take() {
                        permit.send(event);
                    }
                }
                received = self.socket.recv(&mut buffer) => match received {
                    Ok(len) => {
                        let yielded = self.yields;
                        self.on_datagram(&buffer[..len]);
                        if yielded && !self.yields {
                            next = Instant::now();
                        }
                    }
                    // The coordinator is away. Were the error to stay, this would not spin.
                    Err(_) => tokio::time::sleep(HEARTBEAT_MIN).await,
                },
                changed = self.session.reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    next = next.min(last + HEARTBEAT_MIN);
                }
            }
        }
    }

    /// Stops serving if nothing was heard for too long. From then on only an answer to a later heartbeat counts.
    fn yield_if_unheard(&mut self) {
        let patience = self.session.config.detection * YIELD_PER_MILLE / 1000;
        if !self.yields && self.session.now() >= self.heard.plus(patience) {
            self.session.place.withdraw();
            self.sent.clear();
            self.yields = true;
        }
    }

    async fn send_heartbeat(&mut self, leaves: bool) {
        self.sequence += 1;
        let reports = self.session.reports();
        let heartbeat = Message::Heartbeat(Heartbeat {
            node: self.session.node.0,
            incarnation: self.session.incarnation,
            sequence: self.sequence,
            leaves,
            yields: self.yields,
            reports: reports.clone(),
            padding: wire::padding(self.session.config.shards, self.session.nodes.len()),
        });
        let Ok(bytes) = self.session.dialect.to_bytes(heartbeat) else { return };
        if self.sent.len() == OUTSTANDING_MAX {
            self.sent.pop_front();
        }
        // The clock is read before the heartbeat leaves: whatever happens in between, the place is counted from here.
        let (sequence, at, yields) = (self.sequence, self.session.now(), self.yields);
        self.sent.push_back(Sent { sequence, at, reports, yields });
        let _ = self.socket.send(&bytes).await;
    }

    fn on_datagram(&mut self, bytes: &[u8]) {
        let answer = match self.session.dialect.parse(bytes) {
            Ok(Message::Answer(answer)) => answer,
            Ok(_) => return,
            Err(error) => return tracing::debug!(%error, "a datagram is not heard"),
        };
        if (answer.node, answer.incarnation) == (self.session.node.0, self.session.incarnation) {
            self.on_answer(&answer);
        }
    }

    fn on_answer(&mut self, answer: &Answer) {
        let is_refused = answer.standing != Standing::Counted;
        if is_refused && !self.refused {
            tracing::error!(
                node = self.session.node.0,
                standing = ?answer.standing,
                "the coordinator does not count this node; is another process running as the same node?"
            );
        }
        self.refused = is_refused;
        let shards = self.session.config.shards;
        let known = answer.configurations.iter().filter(|configuration| configuration.shard < shards);
        let configurations: Vec<(u16, Configuration)> =
            known.map(|configuration| (configuration.shard, configuration.to_configuration())).collect();
        let asked = answer.sequence.and_then(|sequence| self.take_sent(sequence));
        if let Some(sent) = &asked {
            (self.heard, self.yields) = (self.heard.max(sent.at), false);
        }
        if let Some(sent) = asked.filter(|sent| !is_refused && !sent.yields) {
            let told = configurations.iter().map(|(shard, configuration)| (*shard, configuration));
            if has_taken_up(&sent.reports, told) {
                self.session.extend_place(sent.at, self.session.config.detection);
            }
        }
        for (shard, configuration) in configurations {
            self.session.news.offer(shard, configuration);
        }
    }

    fn take_sent(&mut self, sequence: u64) -> Option<Sent> {
        // Earlier ones are worth less than this one.
        while self.sent.front().is_some_and(|sent| sent.sequence < sequence) {
            self.sent.pop_front();
        }
        if self.sent.front()?.sequence == sequence { self.sent.pop_front() } else { None }
    }

    async fn leave(mut self, done: oneshot::Sender<()>, buffer: &mut [u8]) {
        // The caller gives up first, and then this is alone.
        while !done.is_closed() {
            self.send_heartbeat(true).await;
            let again = Instant::now() + LEAVE_AGAIN;
            while let Ok(received) =
                timeout(again.saturating_duration_since(Instant::now()), self.socket.recv(buffer)).await
            {
                let Ok(len) = received else {
                    sleep_until(again).await;
                    continue;
                };
                if let Ok(Message::Answer(answer)) = self.session.dialect.parse(&buffer[..len])
                    && answer.sequence == Some(self.sequence)
                {
                    let _ = done.send(());
                    return;
                }
            }
        }
    }
}
