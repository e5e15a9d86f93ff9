//! What a node's side of every kind of coordination has in common.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redplane_protocol::{Configuration, NodeId, Time};
use tokio::sync::{mpsc, oneshot, watch};

use super::place::counted_on;
use super::wire::Dialect;
use super::{CoordinationError, MembershipEvent, Place, ShardReport};
use crate::service::config::Config;

/// Shortest time between two heartbeats. A shorter one would tell more of the scheduler than of the node.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(5);

/// Heartbeats in a detection time: some may be lost before a node counts as dead.
const HEARTBEATS_PER_DETECTION: u32 = 10;

/// What a node's side knows and talks to.
pub(crate) struct Session {
    pub(crate) dialect: Dialect,
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) config: Config,
    pub(crate) reports: watch::Receiver<Vec<ShardReport>>,
    pub(crate) events: mpsc::Sender<MembershipEvent>,
    pub(crate) place: Arc<Place>,
    pub(crate) leaves: mpsc::Receiver<oneshot::Sender<()>>,
    pub(crate) news: News,
}

impl Session {
    pub(crate) fn new(
        config: &Config,
        node: NodeId,
        incarnation: u64,
        reports: watch::Receiver<Vec<ShardReport>>,
        events: mpsc::Sender<MembershipEvent>,
        place: Arc<Place>,
        leaves: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> Self {
        Self {
            dialect: Dialect::new(config),
            node,
            incarnation,
            nodes: config.nodes.keys().copied().collect(),
            config: config.clone(),
            reports,
            events,
            place,
            leaves,
            news: News::default(),
        }
    }

    /// How often the node says that it is alive.
    pub(crate) fn heartbeat(&self) -> Duration {
        (self.config.detection / HEARTBEATS_PER_DETECTION).max(HEARTBEAT_MIN)
    }

    /// What the node says of its shards now.
    pub(crate) fn reports(&mut self) -> Vec<ShardReport> {
        let shards = self.config.shards;
        self.reports.borrow_and_update().iter().filter(|report| report.shard < shards).copied().collect()
    }

    pub(crate) fn now(&self) -> Time {
        self.place.clock().now()
    }

    /// The node counts as alive for `dead_after` from `sent_at` on, at the least.
    pub(crate) fn extend_place(&self, sent_at: Time, dead_after: Duration) {
        self.place.extend(sent_at.plus(counted_on(&self.config, dead_after)));
    }
}

/// Whether a node that reported this had taken up all of these configurations.
pub(crate) fn has_taken_up<'a>(
    reports: &[ShardReport],
    configurations: impl IntoIterator<Item = (u16, &'a Configuration)>,
) -> bool {
    configurations.into_iter().all(|(shard, configuration)| {
        reports.iter().any(|report| report.shard == shard && report.epoch >= configuration.epoch)
    })
}

/// Configurations that the node has not heard of yet: of each shard only the newest.
#[derive(Debug, Default)]
pub(crate) struct News {
    told: BTreeMap<u16, u64>,
    waiting: BTreeMap<u16, Configuration>,
}

impl News {
    pub(crate) fn offer(&mut self, shard: u16, configuration: Configuration) {
        let known = self.waiting.get(&shard).map(|waiting| waiting.epoch);
        let known = known.or_else(|| self.told.get(&shard).copied()).unwrap_or(0);
        if configuration.epoch > known {
            self.waiting.insert(shard, configuration);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self) -> Option<MembershipEvent> {
        let (shard, configuration) = self.waiting.pop_first()?;
        self.told.insert(shard, configuration.epoch);
        Some(MembershipEvent::Configured { shard, configuration })
    }
}

/// Runs what `make` makes on a thread and a runtime of its own: no load on shards keeps it from running.
pub(crate) fn spawn<F: Future<Output = ()>>(
    node: NodeId,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<(), CoordinationError> {
    let failed = |source| CoordinationError::Thread { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let name = format!("membership-{}", node.0);
    thread::Builder::new().name(name).spawn(move || runtime.block_on(make())).map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(epoch: u64) -> Configuration {
        Configuration { epoch, members: vec![NodeId(0)], joining: None }
    }

    #[test]
    fn only_the_newest_configuration_of_a_shard_waits_and_none_is_told_twice() {
        let mut news = News::default();
        for epoch in [2, 3, 1] {
            news.offer(0, configuration(epoch));
        }
        news.offer(1, configuration(1));
        let told = |news: &mut News| {
            let MembershipEvent::Configured { shard, configuration } = news.take()?;
            Some((shard, configuration.epoch))
        };
        assert_eq!([told(&mut news), told(&mut news), told(&mut news)], [Some((0, 3)), Some((1, 1)), None]);
        news.offer(0, configuration(3));
        assert!(news.is_empty());
    }

    #[test]
    fn a_node_counts_only_with_what_it_has_taken_up() {
        let report = |shard, epoch| ShardReport {
            shard,
            epoch,
            copied: true,
            restored: false,
            inherited: false,
            silent: 0,
        };
        let (first, second) = (configuration(4), configuration(2));
        let both = [(0, &first), (1, &second)];
        assert!(has_taken_up(&[report(1, 2), report(0, 4)], both));
        assert!(!has_taken_up(&[report(0, 3), report(1, 2)], both), "an older one");
        assert!(!has_taken_up(&[report(0, 4)], both), "nothing known of a shard");
        assert!(has_taken_up(&[], []));
    }
}
