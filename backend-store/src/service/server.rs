//! A node: its journal, its shards on their threads, its place in the cluster, its admin port.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use redplane_protocol::{AdmissionRates, Configuration, Node, NodeId, NodeLimits, PrefixRate, Shard};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::admin::{Admin, AdminError, AdminState};
use super::clock::Clock;
use super::config::{Config, Durability};
use super::coordination::{CoordinationError, Membership, MembershipEvent, Place, ShardReport};
use super::durable::Durable;
use super::gate::{Peers, SwitchGate};
use super::journal::{Journal, JournalError, JournalFailure, Opened, Restored};
use super::links::Links;
use super::question::{QUESTIONS_MAX, Question};
use super::schema::AppSet;
use super::shard::{BindError, ShardTask, Traffic};
use super::supervisor;
use super::udp::{BatchSocket, SocketOptions};

/// Configurations that wait to be handed to the shards: as many as a change of the cluster makes at once.
const EVENTS_MAX: usize = 256;

/// How long a node that was told to stop goes on, so that what is under way in its chains arrives.
const DRAIN: Duration = Duration::from_millis(100);

/// For how long a worker that does not answer is taken for alive.
const WORKER_SILENT: Duration = Duration::from_secs(5);

/// Why a node does not run, or does not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It has no thread or runtime.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    /// An address cannot be used.
    #[error(transparent)]
    Bind(BindError),
    /// There is no coordination.
    #[error(transparent)]
    Coordination(CoordinationError),
    /// There is no admin port.
    #[error(transparent)]
    Admin(AdminError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(JournalError),
    /// The journal stopped while the node was running.
    #[error("the node stops, for nothing that it says would last: {0}")]
    JournalFailed(JournalFailure),
    /// A worker ended.
    #[error("a worker ended by itself; see the log")]
    Worker,
}

/// Runs a node until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or its journal or a worker fails.
pub fn run(config: &Config, node: NodeId, apps: AppSet) -> Result<(), ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Thread)?;
    runtime.block_on(serve(config, node, Arc::new(apps)))
}

async fn serve(config: &Config, node: NodeId, apps: Arc<AppSet>) -> Result<(), ServeError> {
    let clock = Clock::start();
    let place = Arc::new(Place::new(clock));
    let (journal, restored) = match &config.durability {
        Some(durability) => {
            let (journal, restored) = open_journal(config, durability, node)?;
            (Some(journal), restored)
        }
        None => (None, BTreeMap::new()),
    };
    let mut has_failed = failure_of(journal.as_deref());
    let (shutdown, shut_down) = watch::channel(false);
    let (reports, reported) = watch::channel(Vec::new());
    let start = Start { config, node, apps: &apps, place: &place, reports: Arc::new(reports), shut_down };
    let mut workers = workers(config)?;
    let shards = start.shards(journal.as_ref(), restored, &mut workers)?;
    let questions = shards.iter().map(|shard| (shard.number, shard.questions.clone())).collect();
    let workers = workers.into_iter().enumerate().map(|(at, worker)| worker.start(at));
    let workers = workers.collect::<io::Result<Vec<_>>>().map_err(ServeError::Thread)?;

    let ready = Arc::new(AtomicBool::new(false));
    let admin = start_admin(config, node, clock, &ready, questions, &apps)?;
    let (events, mut heard) = mpsc::channel(EVENTS_MAX);
    let membership = Membership::start(config, node, incarnation(), reported, events, Arc::clone(&place))
        .await
        .map_err(ServeError::Coordination)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Thread)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Thread)?;
    let mut watchdog = tokio::time::interval(supervisor::watchdog_interval().unwrap_or(WORKER_SILENT));
    let ended = loop {
        tokio::select! {
            Some(event) = heard.recv() => {
                configure(&shards, event);
                if !ready.load(Ordering::Relaxed) && shards.iter().all(Running::is_configured) {
                    ready.store(true, Ordering::Relaxed);
                    tracing::info!(node = node.0, shards = shards.len(), "ready");
                    supervisor::ready();
                }
            }
            Some(failure) = has_failed.recv() => break Err(ServeError::JournalFailed(failure)),
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = watchdog.tick() => {
                if workers.iter().any(JoinHandle::is_finished) {
                    break Err(ServeError::Worker);
                }
                if all_answer(&shards).await {
                    supervisor::alive();
                }
            }
        }
    };
    supervisor::stopping();
    ready.store(false, Ordering::Relaxed);
    membership.leave().await;
    tokio::time::sleep(DRAIN).await;
    shutdown.send_replace(true);
    if ended.is_ok() {
        // A panic was told on its own thread.
        workers.into_iter().for_each(|worker| drop(worker.join()));
    }
    admin.into_iter().for_each(Admin::stop);
    ended
}

/// Tells why the journal stopped, if it does.
fn failure_of(journal: Option<&Journal>) -> mpsc::Receiver<JournalFailure> {
    let (failed, has_failed) = mpsc::channel(1);
    if let Some(journal) = journal {
        journal.when_failed(Box::new(move |failure| drop(failed.try_send(failure.clone()))));
    }
    has_failed
}

/// What a shard is started with.
struct Start<'a> {
    config: &'a Config,
    node: NodeId,
    apps: &'a AppSet,
    place: &'a Arc<Place>,
    reports: Arc<watch::Sender<Vec<ShardReport>>>,
    shut_down: watch::Receiver<bool>,
}

/// A shard, as the main thread knows it.
struct Running {
    number: u16,
    configurations: watch::Sender<Configuration>,
    questions: mpsc::Sender<Question>,
}

impl Running {
    fn is_configured(&self) -> bool {
        self.configurations.borrow().epoch > 0
    }
}

impl Start<'_> {
    fn shards(
        &self,
        journal: Option<&Arc<Journal>>,
        mut restored: BTreeMap<u16, Restored>,
        workers: &mut [Worker],
    ) -> Result<Vec<Running>, ServeError> {
        let mut shards = Vec::new();
        for number in 0..self.config.shards {
            let worker = usize::from(number) % workers.len();
            let worker = &mut workers[worker];
            // Its sockets wake the thread that serves it, and no other.
            let _context = worker.runtime.enter();
            let (running, task) = self.shard(number, journal, restored.remove(&number))?;
            worker.tasks.push(task);
            shards.push(running);
        }
        Ok(shards)
    }

    fn shard(
        &self,
        number: u16,
        journal: Option<&Arc<Journal>>,
        restored: Option<Restored>,
    ) -> Result<(Running, ShardTask), ServeError> {
        let Self { config, node: id, apps, place, .. } = self;
        let (configurations, configured) = watch::channel(Configuration::default());
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let addresses = &config.nodes[id];
        let at = usize::from(number);
        let options = SocketOptions { gso: config.gso, ..SocketOptions::default() };
        let bind = |address, what| {
            let bound = BatchSocket::bind(address, options);
            bound.map_err(|source| ServeError::Bind(BindError { address, what, shard: number, source }))
        };
        let requests = bind(addresses.requests[at], "requests")?;
        let chain = bind(addresses.chain[at], "the chain")?;
        let shard = Shard { index: number, count: config.shards };
        let mut node = Node::new(*id, shard, config.lease, apps.creators()).with_limits(limits(config, apps));
        let is_durable = restored.is_some();
        let Restored { generation, records, complete, .. } = restored.unwrap_or_default();
        let inherited = !records.is_empty() || generation.0 != 0;
        let left_out = node.restore(generation, records, place.clock().now());
        if left_out > 0 {
            tracing::warn!(shard = number, left_out, "records of the journal are of no app served here");
        }
        if is_durable {
            node.want_changes();
        }
        let durable = journal.filter(|_| is_durable);
        let task = ShardTask {
            shard: number,
            node,
            place: Arc::clone(place),
            requests,
            chain,
            gate: SwitchGate::new(config),
            peers: Peers::new(config, *id, number),
            links: Links::new(config, *id, place.clock().now()),
            durable: durable.map(|journal| Durable::new(number, Arc::clone(journal), complete)),
            configurations: configured,
            reports: Arc::clone(&self.reports),
            questions: asked,
            shutdown: self.shut_down.clone(),
            restored: complete,
            inherited,
            keys: config.mac_keys(),
            traffic: Traffic::new(config.mac_keys()),
        };
        Ok((Running { number, configurations, questions }, task))
    }
}

/// Limits of one shard. The keys of a switch, and those with a prefix, are spread over the shards, so each has its share.
fn limits(config: &Config, apps: &AppSet) -> NodeLimits {
    let share = |rate: u32| rate.div_ceil(u32::from(config.shards.max(1)));
    let admission = apps.apps().iter().filter_map(|app| {
        let limits = app.admission.as_ref()?;
        let per_prefix = limits.per_prefix.as_ref().map(|prefix| PrefixRate {
            rate: share(prefix.rate),
            bits: prefix.bits.start as u16..prefix.bits.end as u16,
        });
        Some((app.schema.app, AdmissionRates { per_switch: share(limits.per_switch), per_prefix }))
    });
    NodeLimits {
        records_max: config.records_per_shard,
        admission: admission.collect(),
        hash_seeds: std::array::from_fn(|_| random()),
    }
}

/// The standard library's hash keys come from the operating system's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// No two lives of a node have the same.
fn incarnation() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64) ^ random()
}

/// Opens the journal. What is damaged is set aside: the node joins those shards as new, and is given a copy by the chain.
fn open_journal(
    config: &Config,
    durability: &Durability,
    node: NodeId,
) -> Result<(Arc<Journal>, BTreeMap<u16, Restored>), ServeError> {
    let folder: PathBuf = durability.path.join(format!("node-{}", node.0));
    let shards: BTreeSet<u16> = durability.shards.iter().copied().collect();
    let open = || Journal::open(&folder, &config.cluster, node, &shards);
    let opened = match open() {
        Err(JournalError::Damaged { .. }) => {
            let aside = Journal::set_aside(&folder).map_err(ServeError::Journal)?;
            tracing::error!(?aside, "the journal is damaged and was set aside; the chain will repair it");
            open()
        }
        opened => opened,
    };
    let mut opened = opened.map_err(ServeError::Journal)?;
    if opened.damaged().next().is_some() {
        for damage in opened.damaged() {
            tracing::error!(%damage, "the chain will repair it");
        }
        let (rebuilt, aside) =
            Journal::rebuild(opened, &folder, &config.cluster, node).map_err(ServeError::Journal)?;
        tracing::error!(?aside, "the damaged journal was set aside");
        opened = rebuilt;
    }
    let Opened { journal, shards } = opened;
    let restored = shards.into_iter().filter_map(|(shard, restored)| Some((shard, restored.ok()?)));
    Ok((Arc::new(journal), restored.collect()))
}

fn start_admin(
    config: &Config,
    node: NodeId,
    clock: Clock,
    ready: &Arc<AtomicBool>,
    shards: Vec<(u16, mpsc::Sender<Question>)>,
    apps: &Arc<AppSet>,
) -> Result<Option<Admin>, ServeError> {
    let Some(address) = config.nodes[&node].admin else { return Ok(None) };
    let (ready, apps) = (Arc::clone(ready), Arc::clone(apps));
    let state = AdminState { cluster: config.cluster.clone(), node, clock, ready, shards, apps };
    Admin::start(address, state).map(Some).map_err(ServeError::Admin)
}

/// A thread that serves shards, with a runtime of its own, so that a shard never moves.
struct Worker {
    runtime: Runtime,
    tasks: Vec<ShardTask>,
}

/// As many as are configured, but none without a shard.
fn workers(config: &Config) -> Result<Vec<Worker>, ServeError> {
    let count = config.threads.clamp(1, usize::from(config.shards.max(1)));
    let worker = |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Worker { runtime, tasks: Vec::new() })
    };
    (0..count).map(worker).collect::<io::Result<_>>().map_err(ServeError::Thread)
}

impl Worker {
    fn start(self, at: usize) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("shards-{at}")).spawn(move || {
            let local = tokio::task::LocalSet::new();
            for task in self.tasks {
                local.spawn_local(task.run());
            }
            self.runtime.block_on(local);
        })
    }
}

fn configure(shards: &[Running], event: MembershipEvent) {
    let MembershipEvent::Configured { shard, configuration } = event;
    if let Some(running) = shards.iter().find(|running| running.number == shard) {
        running.configurations.send_replace(configuration);
    }
}

/// Whether every worker answers.
async fn all_answer(shards: &[Running]) -> bool {
    for shard in shards {
        let (answer, answered) = oneshot::channel();
        // A full queue is that of a worker which somebody else waits for already.
        if shard.questions.try_send(Question::Status(answer)).is_ok() {
            let answered = tokio::time::timeout(WORKER_SILENT, answered).await;
            if !matches!(answered, Ok(Ok(_))) {
                tracing::error!(shard = shard.number, "the worker is silent");
                return false;
            }
        }
    }
    true
}
