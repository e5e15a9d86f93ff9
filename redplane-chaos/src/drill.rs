//! A drill from its start to its report.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use redplane_sdk::net::Random;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Clock;
use crate::cluster::{Admission, Cluster, Coordinator, Plan};
use crate::fault::{self, Fault};
use crate::load::{self, Load, LoadPlan, Sockets};
use crate::report::{OUTAGE_BEYOND_DETECTION, Report, Strike};
use crate::verdict;

/// Switches of a drill: flows move between them.
pub(crate) const SWITCHES: usize = 2;

/// Nodes of a drill: a head, a middle and a tail.
pub(crate) const NODES: usize = 3;

/// How long the load runs before the first fault: every key has been counted, on a machine that is not too busy.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);

/// How long all is well between two faults.
const REST: Duration = Duration::from_millis(300);

/// How long a killed node stays away at most: it may be back before it is missed, or long after.
const AWAY_MAX_MS: u64 = 1_000;

/// How much longer than the detection takes a node is stopped or cut off, at least and at most.
const BEYOND_DETECTION_MS: [u64; 2] = [300, 900];

/// Which faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scenario {
    /// Each in turn, then at random.
    Turn,
    /// At random.
    Mixed,
    /// All nodes at once, again and again.
    Together,
    /// None.
    Calm,
}

/// What a drill is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which faults.
    pub scenario: Scenario,
    /// Who coordinates.
    pub coordinator: Coordinator,
    /// For how long new faults come.
    pub seconds: u64,
    /// How many keys.
    pub keys: u32,
    /// How many packets are under way at most.
    pub window: usize,
    /// Most packets a second; zero: as many as the window lets.
    pub rate: u64,
    /// What is random comes from it.
    pub seed: u64,
    /// Whether there is a journal.
    pub durable: bool,
    /// How many shards.
    pub shards: u16,
    /// After how long without a sign of life a node is dead.
    pub detection: Duration,
    /// The drill itself loses what was written: it must find that.
    pub broken: bool,
    /// The store's program.
    pub store: PathBuf,
}

impl Options {
    /// The cluster that they ask for.
    pub(crate) fn plan(&self, sockets: &Sockets, admission: Option<Admission>) -> Plan {
        Plan {
            nodes: NODES,
            shards: self.shards,
            coordinator: self.coordinator,
            detection: self.detection,
            durable: self.durable,
            switches: sockets.addresses.clone(),
            admission,
            store: self.store.clone(),
        }
    }

    /// The load on it.
    pub(crate) fn load(&self, cluster: &Cluster, flood: u64) -> LoadPlan {
        LoadPlan {
            keys: self.keys,
            window: self.window,
            rate: self.rate,
            seed: self.seed,
            requests: cluster.requests(),
            flood,
        }
    }
}

/// Runs a drill with its files in `folder`; each fault is told to `tell` once it is over.
///
/// # Errors
/// If it cannot be run to its end. What the checks find is in the report.
pub async fn run(options: &Options, folder: &Path, tell: &mut dyn FnMut(&str)) -> anyhow::Result<Report> {
    let clock = Clock::start();
    let sockets = Sockets::bind(SWITCHES)?;
    let cluster =
        Cluster::start(options.plan(&sockets, None), folder).await.context("the cluster does not start")?;
    let load = Load::start(&options.load(&cluster, 0), sockets, clock)?;
    let began = clock.micros();
    let mut drill =
        Drill { options, cluster, load, clock, random: Random::new(!options.seed), strikes: Vec::new() };
    drill.strike_all(tell).await?;
    let Drill { cluster, load, strikes, .. } = drill;
    let progress = load.progress.clone();
    let outcome = tokio::task::spawn_blocking(move || load.finish()).await??;
    let lasted = Duration::from_micros(clock.micros() - began);
    drop(cluster);
    Ok(report(options, strikes, &outcome, &progress, lasted))
}

fn report(
    options: &Options,
    strikes: Vec<Strike>,
    outcome: &load::Outcome,
    progress: &load::Progress,
    lasted: Duration,
) -> Report {
    use std::sync::atomic::Ordering::Relaxed;
    let start = std::time::Instant::now();
    let verdict = verdict::judge(&outcome.log, options.keys, outcome.reads_from);
    let checked_in = start.elapsed();
    let mut writes = vec![0u32; options.keys as usize];
    for passage in outcome.log.passages().iter().filter(|passage| passage.writes && passage.left().is_some())
    {
        writes[passage.key as usize] += 1;
    }
    Report {
        strikes,
        verdict,
        keys: options.keys,
        writes_min: writes.into_iter().min().unwrap_or(0),
        writes: progress.writes.load(Relaxed),
        reads: progress.reads.load(Relaxed),
        unanswered: progress.unanswered.load(Relaxed),
        recalled: outcome.recalled,
        retransmitted: outcome.retransmitted,
        lasted,
        checked_in,
    }
}

/// A drill at work.
struct Drill<'a> {
    options: &'a Options,
    cluster: Cluster,
    load: Load,
    clock: Clock,
    random: Random,
    strikes: Vec<Strike>,
}

impl Drill<'_> {
    async fn strike_all(&mut self, tell: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(self.options.seconds);
        sleep(WARM_UP).await;
        let mut turn = match self.options.scenario {
            Scenario::Turn => Fault::each(),
            Scenario::Together => vec![Fault::KillAll],
            Scenario::Calm => {
                sleep_until(end).await;
                return Ok(());
            }
            Scenario::Mixed => Vec::new(),
        }
        .into_iter();
        if self.options.broken {
            return self.lose_everything().await;
        }
        while Instant::now() < end {
            let fault = match (turn.next(), self.options.scenario) {
                (Some(fault), _) => fault,
                (None, Scenario::Together) => Fault::KillAll,
                (None, _) => Fault::any(&mut self.random),
            };
            let strike = self.strike(fault).await?;
            tell(&strike.line());
            self.strikes.push(strike);
            sleep(REST).await;
        }
        if self.options.durable && self.options.scenario != Scenario::Together {
            let strike = self.strike(Fault::KillAll).await?;
            tell(&strike.line());
            self.strikes.push(strike);
        }
        Ok(())
    }

    /// One fault, until all is well again.
    async fn strike(&mut self, fault: Fault) -> anyhow::Result<Strike> {
        let shards = self.cluster.shards().await?;
        let members = shards.first().map(|shard| shard.members.clone()).unwrap_or_default();
        let node = fault.place().of(&members).context("the first shard has no chain")?;
        let start = self.clock.micros();
        match fault {
            Fault::Kill(_) => {
                self.cluster.kill_node(node);
                sleep(Duration::from_millis(self.random.below(AWAY_MAX_MS))).await;
                self.cluster.start_node(node)?;
            }
            Fault::Pause(_) => {
                self.cluster.node(node)?.stop()?;
                self.outlast_detection().await;
                self.cluster.node(node)?.go_on()?;
            }
            Fault::Cut(_, from, direction) => {
                fault::cut(&self.cluster.rules, node, from, direction);
                self.outlast_detection().await;
                self.cluster.rules.mend();
            }
            Fault::KillAll => self.kill_all()?,
        }
        self.cluster.complete().await?;
        self.all_write().await?;
        // Deaths may not have been noticed at the first look.
        self.cluster.complete().await?;
        let end = self.clock.micros();
        let gaps = &self.load.progress.gaps;
        let longest = |shard| Duration::from_micros(gaps.longest(shard, start, end));
        let detection = self.options.coordinator.detects_within(self.options.detection);
        let bound = (fault != Fault::KillAll).then_some(detection + OUTAGE_BEYOND_DETECTION);
        let outages = (0..usize::from(self.options.shards)).map(longest).collect();
        Ok(Strike { fault, node, outages, bound, whole_after: Duration::from_micros(end - start) })
    }

    async fn outlast_detection(&mut self) {
        let [least, most] = BEYOND_DETECTION_MS;
        let beyond = least + self.random.below(most - least);
        let detection = self.options.coordinator.detects_within(self.options.detection);
        sleep(detection + Duration::from_millis(beyond)).await;
    }

    fn kill_all(&mut self) -> anyhow::Result<()> {
        (0..NODES).for_each(|node| self.cluster.kill_node(node));
        (0..NODES).try_for_each(|node| self.cluster.start_node(node))
    }

    /// Waits until every shard acknowledges writes again.
    async fn all_write(&self) -> anyhow::Result<()> {
        const WITHIN: Duration = Duration::from_secs(30);
        let until = Instant::now() + WITHIN;
        let gaps = &self.load.progress.gaps;
        let mark = self.clock.micros();
        while (0..usize::from(self.options.shards)).any(|shard| gaps.last(shard) < mark) {
            if Instant::now() > until {
                bail!("a shard with a complete chain acknowledges no write for {WITHIN:?}");
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Kills all nodes without a journal, and has the operator give up what they had.
    async fn lose_everything(&mut self) -> anyhow::Result<()> {
        (0..NODES).for_each(|node| self.cluster.kill_node(node));
        sleep(2 * self.options.coordinator.detects_within(self.options.detection)).await;
        (0..NODES).try_for_each(|node| self.cluster.start_node(node))?;
        sleep(2 * self.options.coordinator.detects_within(self.options.detection)).await;
        self.cluster.reset().await?;
        self.cluster.complete().await?;
        sleep(WARM_UP / 2).await;
        Ok(())
    }
}
