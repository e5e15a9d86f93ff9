//! Coordination by etcd.
//!
//! Each node has a key under a lease: as long as it is there, the node is alive. Each shard has a key with its chain, which
//! whichever node notices something first replaces, by a transaction that fails if the chain or the liveness of any node is
//! not what the decision was made on. The chain is changed by the same rules as the static coordinator's.
//!
//! The lease takes the detection time, rounded up to whole seconds, for etcd counts in those; and etcd does not give less
//! than one and a half times its election timeout, which by default makes two seconds. It looks for expired leases twice a
//! second. What it says it gave is what the node's [`Place`](super::Place) is counted by.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, GetOptions, PutOptions, Txn, TxnOp, WatchOptions,
};
use redplane_protocol::{Configuration, NodeId, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::place::counted_on;
use super::roster::{Alive, LINKS_SETTLE_PER_MILLE, Roster, RosterRecord, View, any_broken};
use super::session::{HEARTBEAT_MIN, Session, has_taken_up, spawn};
use super::status::{CoordinationStatus, NodeStatus};
use super::table::{ResetError, TableSettings};
use super::{CoordinationError, ShardReport};
use crate::ChainState;
use crate::service::clock::Clock;
use crate::service::config::Config;

/// How long etcd may take for one request. Then the connection is made anew, perhaps to another member of etcd.
const REQUEST_WAIT: Duration = Duration::from_secs(1);

/// How long a node waits before it tries again to have a lease.
const RETRY_WAIT: Duration = Duration::from_millis(100);

/// How often a lease is renewed, and how often everything is read without having been called to, in the time it takes.
const RENEWALS_PER_LEASE: u32 = 10;
const READS_PER_LEASE: u32 = 4;

/// How much later than a lease is over etcd may say so: it looks twice a second, and then has to agree with itself.
const EXPIRY_SLACK: Duration = Duration::from_secs(1);

/// How often a transaction is tried that others keep crossing. Each time one of them succeeds, so it is not for nothing.
const ATTEMPTS_MAX: usize = 10;

pub(crate) fn start(session: Session, endpoints: Vec<String>) -> Result<(), CoordinationError> {
    spawn(session.node, move || {
        Keeper {
            session,
            endpoints,
            held: None,
            has_registered: false,
            registered_at: Instant::now(),
            form_at: None,
            links_at: None,
        }
        .run()
    })
}

/// Who is alive and in which chain.
pub(crate) async fn status(
    config: &Config,
    endpoints: &[String],
) -> Result<CoordinationStatus, CoordinationError> {
    let mut store = Store::connect(config, endpoints).await?;
    let snapshot = store.read().await?;
    let node_status = |node: &NodeId| {
        let incarnation = snapshot.alive.get(node).map(|alive| alive.incarnation);
        NodeStatus { node: node.0, alive: incarnation.is_some(), incarnation, quiet_ms: None }
    };
    let nodes = store.settings.nodes.iter().map(node_status).collect();
    let shards = (0..store.settings.shards).map(|shard| Ok(store.roster(&snapshot, shard)?.status()));
    let shards = shards.collect::<Result<_, CoordinationError>>()?;
    Ok(CoordinationStatus { cluster: config.cluster.clone(), nodes, shards, refused: 0 })
}

/// Gives up what a shard had that does not serve.
pub(crate) async fn reset_shard(
    config: &Config,
    endpoints: &[String],
    shard: u16,
) -> Result<(), CoordinationError> {
    let refused = |error: ResetError| CoordinationError::NotReset { why: error.to_string() };
    if shard >= config.shards {
        return Err(refused(ResetError::NoShard { shard, last: config.shards.saturating_sub(1) }));
    }
    let mut store = Store::connect(config, endpoints).await?;
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = store.read().await?;
        let mut roster = store.roster(&snapshot, shard)?;
        if !roster.reset(&snapshot.alive) {
            return Err(refused(ResetError::Serving { shard }));
        }
        if store.write(&snapshot, shard, &roster).await? {
            return Ok(());
        }
    }
    let why = format!("shard {shard} was changed {ATTEMPTS_MAX} times meanwhile; try again");
    Err(CoordinationError::NotReset { why })
}

/// The value of a node's key.
#[derive(Serialize, Deserialize)]
struct NodeRecord {
    incarnation: u64,
    reports: Vec<ShardReport>,
}

/// All of a cluster's keys at one revision.
#[derive(Default)]
struct Snapshot {
    alive: BTreeMap<NodeId, Alive>,
    chains: BTreeMap<u16, Vec<u8>>,
    /// By key; zero, or nothing, of one that is not there.
    revisions: BTreeMap<String, i64>,
}

/// A cluster's keys.
struct Store {
    client: Client,
    endpoints: String,
    prefix: String,
    settings: TableSettings,
}

impl Store {
    async fn connect(config: &Config, endpoints: &[String]) -> Result<Self, CoordinationError> {
        let options = ConnectOptions::new().with_connect_timeout(REQUEST_WAIT);
        let settings = TableSettings::from(config);
        let prefix = format!("redplane/{}/", config.cluster);
        let listed = endpoints.join(", ");
        let client = within(&listed, "connect", Client::connect(endpoints, Some(options))).await?;
        Ok(Self { client, endpoints: listed, prefix, settings })
    }

    fn node_key(&self, node: NodeId) -> String {
        format!("{}node/{}", self.prefix, node.0)
    }

    fn shard_key(&self, shard: u16) -> String {
        format!("{}shard/{shard}", self.prefix)
    }

    async fn read(&mut self) -> Result<Snapshot, CoordinationError> {
        let all = Some(GetOptions::new().with_prefix());
        let answer = within(&self.endpoints, "read", self.client.get(self.prefix.clone(), all)).await?;
        let mut snapshot = Snapshot::default();
        for kv in answer.kvs() {
            let Ok(key) = kv.key_str() else { continue };
            snapshot.revisions.insert(key.to_owned(), kv.mod_revision());
            let Some((kind, number)) = key[self.prefix.len()..].split_once('/') else { continue };
            let Ok(number) = number.parse::<u16>() else { continue };
            match kind {
                "shard" => drop(snapshot.chains.insert(number, kv.value().to_vec())),
                "node" if self.settings.nodes.contains(&NodeId(number)) => {
                    match serde_json::from_slice::<NodeRecord>(kv.value()) {
                        Ok(NodeRecord { incarnation, reports }) => {
                            let reports = reports.into_iter().map(|report| (report.shard, report)).collect();
                            snapshot.alive.insert(NodeId(number), Alive { incarnation, reports });
                        }
                        Err(error) => tracing::warn!(key, %error, "a node is not heard"),
                    }
                }
                _ => {}
            }
        }
        Ok(snapshot)
    }

    fn roster(&self, snapshot: &Snapshot, shard: u16) -> Result<Roster, CoordinationError> {
        let durable = self.settings.durable.contains(&shard);
        let Some(bytes) = snapshot.chains.get(&shard) else { return Ok(Roster::new(shard, durable)) };
        let record = serde_json::from_slice::<RosterRecord>(bytes).map_err(|error| error.to_string());
        record
            .and_then(|record| Roster::from_record(&record, shard, durable).map_err(str::to_owned))
            .map_err(|why| CoordinationError::EtcdCorrupt { key: self.shard_key(shard), why })
    }

    /// Replaces a chain if it is as it was read, and so is every node: whether it was.
    async fn write(
        &mut self,
        snapshot: &Snapshot,
        shard: u16,
        roster: &Roster,
    ) -> Result<bool, CoordinationError> {
        let key = self.shard_key(shard);
        let value = serde_json::to_vec(&roster.to_record())
            .map_err(|error| CoordinationError::EtcdCorrupt { key: key.clone(), why: error.to_string() })?;
        let keys = self.settings.nodes.iter().map(|node| self.node_key(*node)).chain([key.clone()]);
        let as_read = keys.map(|key| {
            let revision = snapshot.revisions.get(&key).copied().unwrap_or(0);
            Compare::mod_revision(key, CompareOp::Equal, revision)
        });
        let txn = Txn::new().when(as_read.collect::<Vec<_>>()).and_then([TxnOp::put(key, value, None)]);
        let answer = within(&self.endpoints, "write a chain", self.client.txn(txn)).await?;
        Ok(answer.succeeded())
    }
}

/// A node's lease, as the task that renews it and the one that decides by what it reads see it.
struct Held {
    id: i64,
    takes: Duration,
    session_counts_on: Duration,
    place: Arc<super::Place>,
    renewed_at: AtomicU64,
    /// The node has taken up every configuration that was read under this lease.
    may_serve: AtomicBool,
}

impl Held {
    fn clock(&self) -> Clock {
        self.place.clock()
    }

    fn extend_place(&self) {
        if self.may_serve.load(Ordering::Acquire) {
            self.place.extend(Time(self.renewed_at.load(Ordering::Acquire)).plus(self.session_counts_on));
        }
    }

    /// Renews the lease until that fails.
    async fn renew(&self, mut client: Client, endpoints: &str) -> CoordinationError {
        let opened = within(endpoints, "renew a lease", client.lease_keep_alive(self.id)).await;
        let (mut keeper, mut answers) = match opened {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        loop {
            // Read before it is sent: whatever happens in between, the place is counted from here.
            let sent_at = self.clock().now();
            let answer = async {
                keeper.keep_alive().await?;
                answers.message().await
            };
            match within(endpoints, "renew a lease", answer).await {
                Ok(Some(answer)) if answer.ttl() > 0 => {}
                Ok(_) => {
                    return failed(
                        endpoints,
                        "renew a lease",
                        Error::LeaseKeepAliveError("it is over".into()),
                    );
                }
                Err(error) => return error,
            }
            self.renewed_at.fetch_max(sent_at.0, Ordering::AcqRel);
            self.extend_place();
            sleep((self.takes / RENEWALS_PER_LEASE).max(HEARTBEAT_MIN)).await;
        }
    }
}

/// Why a node does not hold its place any more, without an error.
enum Over {
    /// Another life of the node has it.
    Former,
    /// The node itself is gone.
    Closed,
}

/// A node's side.
struct Keeper {
    session: Session,
    endpoints: Vec<String>,
    held: Option<(Client, i64)>,
    /// Since then another life under the node's key is a newer one.
    has_registered: bool,
    registered_at: Instant,
    form_at: Option<Instant>,
    links_at: Option<Instant>,
}

impl Keeper {
    async fn run(mut self) {
        let (_, nobody) = mpsc::channel(1);
        let mut leaves = std::mem::replace(&mut self.session.leaves, nobody);
        loop {
            tokio::select! {
                biased;
                leave = leaves.recv() => return self.leave(leave).await,
                over = self.hold() => match over {
                    Ok(Over::Closed) => return,
                    Ok(Over::Former) => {
                        tracing::error!(node = self.session.node.0, "another process runs as this node");
                        let leave = leaves.recv().await;
                        return self.leave(leave).await;
                    }
                    Err(error) => tracing::warn!(node = self.session.node.0, %error, "no place; trying again"),
                }
            }
            tokio::select! {
                biased;
                leave = leaves.recv() => return self.leave(leave).await,
                () = sleep(RETRY_WAIT) => {}
            }
        }
    }

    /// Gives the lease back, if this was a planned leave.
    async fn leave(self, leave: Option<oneshot::Sender<()>>) {
        let (Some(done), Some((mut client, id))) = (leave, self.held) else { return };
        let listed = self.endpoints.join(", ");
        if let Err(error) = within(&listed, "revoke a lease", client.lease_revoke(id)).await {
            tracing::warn!(%error, "the place ends by itself");
        }
        let _ = done.send(());
    }

    /// Has a lease and decides by what is read, until something fails.
    async fn hold(&mut self) -> Result<Over, CoordinationError> {
        let mut store = Store::connect(&self.session.config, &self.endpoints).await?;
        let held = Arc::new(self.grant(&mut store).await?);
        if !self.register(&mut store, held.id).await? {
            return Ok(Over::Former);
        }
        let options = Some(WatchOptions::new().with_prefix());
        let watch = store.client.watch(store.prefix.clone(), options);
        let mut watch = within(&store.endpoints, "watch", watch).await?;
        let mut renewal = JoinSet::new();
        let (renewed, client, endpoints) = (Arc::clone(&held), store.client.clone(), store.endpoints.clone());
        renewal.spawn(async move { renewed.renew(client, &endpoints).await });
        let events = self.session.events.clone();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                Some(ended) = renewal.join_next() => {
                    let crashed = |error| failed(&store.endpoints, "renew a lease", Error::Internal(format!("{error}")));
                    return Err(ended.unwrap_or_else(crashed));
                }
                () = sleep_until(next) => {
                    let settled = self.settle(&mut store, &held).await?;
                    let again = if settled { held.takes / READS_PER_LEASE } else { HEARTBEAT_MIN };
                    next = Instant::now() + again;
                    next = self.links_at.filter(|at| *at > Instant::now()).map_or(next, |at| next.min(at));
                }
                changed = self.session.reports.changed() => {
                    if changed.is_err() {
                        return Ok(Over::Closed);
                    }
                    self.report(&mut store, held.id).await?;
                    next = Instant::now();
                }
                permit = events.reserve(), if !self.session.news.is_empty() => {
                    let Ok(permit) = permit else { return Ok(Over::Closed) };
                    if let Some(event) = self.session.news.take() {
                        permit.send(event);
                    }
                }
                message = watch.message() => {
                    match message {
                        Ok(Some(message)) if !message.canceled() => {}
                        Ok(_) => return Err(failed(&store.endpoints, "watch", Error::WatchError("it is over".into()))),
                        Err(error) => return Err(failed(&store.endpoints, "watch", error)),
                    }
                    // What comes in bursts is read once.
                    next = next.min(Instant::now() + HEARTBEAT_MIN);
                }
            }
        }
    }

    async fn grant(&mut self, store: &mut Store) -> Result<Held, CoordinationError> {
        let detection = self.session.config.detection;
        let seconds = (detection.as_secs() + u64::from(detection.subsec_nanos() > 0)).max(1);
        let sent_at = self.session.now();
        let granted = store.client.lease_grant(i64::try_from(seconds).unwrap_or(i64::MAX), None);
        let granted = within(&store.endpoints, "grant a lease", granted).await?;
        let takes = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(0));
        self.held = Some((store.client.clone(), granted.id()));
        Ok(Held {
            id: granted.id(),
            takes,
            session_counts_on: counted_on(&self.session.config, takes),
            place: Arc::clone(&self.session.place),
            renewed_at: AtomicU64::new(sent_at.0),
            may_serve: AtomicBool::new(false),
        })
    }

    /// Makes the node's key, or takes it over from a former life: whether there is no newer one.
    async fn register(&mut self, store: &mut Store, lease: i64) -> Result<bool, CoordinationError> {
        let key = store.node_key(self.session.node);
        for _ in 0..ATTEMPTS_MAX {
            let found = within(&store.endpoints, "read", store.client.get(key.clone(), None)).await?;
            let found = found.kvs().first();
            let life = found.and_then(|kv| serde_json::from_slice::<NodeRecord>(kv.value()).ok());
            let is_other = life.is_some_and(|life| life.incarnation != self.session.incarnation);
            if is_other && self.has_registered {
                return Ok(false);
            }
            let revision = found.map_or(0, etcd_client::KeyValue::mod_revision);
            let as_read = Compare::mod_revision(key.clone(), CompareOp::Equal, revision);
            if self.put(store, lease, as_read).await? {
                self.has_registered = true;
                self.registered_at = Instant::now();
                return Ok(true);
            }
        }
        Err(failed(&store.endpoints, "register", Error::Internal("the node's key keeps changing".into())))
    }

    async fn report(&mut self, store: &mut Store, lease: i64) -> Result<(), CoordinationError> {
        let is_mine = Compare::lease(store.node_key(self.session.node), CompareOp::Equal, lease);
        if self.put(store, lease, is_mine).await? { Ok(()) } else { Err(not_there(store)) }
    }

    async fn put(
        &mut self,
        store: &mut Store,
        lease: i64,
        only_if: Compare,
    ) -> Result<bool, CoordinationError> {
        let record = NodeRecord { incarnation: self.session.incarnation, reports: self.session.reports() };
        let key = store.node_key(self.session.node);
        let value = serde_json::to_vec(&record)
            .map_err(|error| CoordinationError::EtcdCorrupt { key: key.clone(), why: error.to_string() })?;
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
        let answer = store.client.txn(Txn::new().when([only_if]).and_then([put]));
        Ok(within(&store.endpoints, "write what the node reports", answer).await?.succeeded())
    }

    /// Reads everything, brings every chain up to it, and tells the node: whether nobody else was faster.
    async fn settle(&mut self, store: &mut Store, held: &Held) -> Result<bool, CoordinationError> {
        let (me, life) = (self.session.node, self.session.incarnation);
        let snapshot = store.read().await?;
        if snapshot.alive.get(&me).is_none_or(|alive| alive.incarnation != life) {
            return Err(not_there(store));
        }
        let now = Instant::now();
        let grace = now < self.registered_at + held.takes + EXPIRY_SLACK;
        let form_now = self.form_at.is_some_and(|at| at <= now);
        let broken = any_broken(&store.settings.nodes, &snapshot.alive);
        let links_wait = self.session.config.detection * LINKS_SETTLE_PER_MILLE / 1000;
        self.links_at = broken.then(|| self.links_at.unwrap_or(now + links_wait));
        let links_settled = self.links_at.is_some_and(|at| at <= now);
        let mut told: Vec<(u16, Configuration)> = Vec::new();
        let (mut is_forming, mut is_settled) = (false, true);
        for shard in 0..store.settings.shards {
            let mut roster = match store.roster(&snapshot, shard) {
                Ok(roster) => roster,
                Err(error) => {
                    tracing::error!(%error, "a chain is left alone");
                    continue;
                }
            };
            let hold = grace && awaits_others(&roster, &snapshot.alive);
            let nodes = store.settings.nodes.clone();
            let view = View { nodes: &nodes, alive: &snapshot.alive, hold, form_now, links_settled };
            if roster.reconcile(&view) && !store.write(&snapshot, shard, &roster).await? {
                is_settled = false;
                continue;
            }
            is_forming |= roster.state() == ChainState::Forming;
            told.extend(
                roster.configuration_for(me, life).map(|configuration| (shard, configuration.clone())),
            );
        }
        let patience = now + held.takes;
        self.form_at = is_forming.then(|| self.form_at.filter(|at| *at > now).unwrap_or(patience));
        let reports = self.session.reports.borrow().clone();
        let has_all =
            has_taken_up(&reports, told.iter().map(|(shard, configuration)| (*shard, configuration)));
        held.may_serve.store(has_all && is_settled, Ordering::Release);
        held.extend_place();
        told.into_iter().for_each(|(shard, configuration)| self.session.news.offer(shard, configuration));
        Ok(is_settled)
    }
}

/// Whether a node that has only just (again) got its own lease leaves a chain to others.
///
/// If etcd stood still, all leases are over, and the first that is back must not take the others for dead. And if all nodes
/// died at once and one is back before the others' leases are over, taking only its former life out would leave the chain to
/// those who are not there. If others are alive, they act at once; if nobody of the chain is, there is nothing to wait for.
fn awaits_others(roster: &Roster, alive: &BTreeMap<NodeId, Alive>) -> bool {
    let is_alive =
        |(node, life): (NodeId, u64)| alive.get(&node).is_some_and(|alive| alive.incarnation == life);
    roster.state() == ChainState::Serving && roster.members().any(is_alive)
}

fn not_there(store: &Store) -> CoordinationError {
    failed(&store.endpoints, "keep the node's key", Error::Internal("it is gone or another life's".into()))
}

fn failed(endpoints: &str, doing: &'static str, source: Error) -> CoordinationError {
    CoordinationError::Etcd { endpoints: endpoints.to_owned(), doing, source: Box::new(source) }
}

async fn within<T>(
    endpoints: &str,
    doing: &'static str,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, CoordinationError> {
    let late = |_| Err(Error::Internal(format!("no answer within {REQUEST_WAIT:?}")));
    timeout(REQUEST_WAIT, request)
        .await
        .unwrap_or_else(late)
        .map_err(|source| failed(endpoints, doing, source))
}
