//! What a node shows Prometheus. [`METRICS`] is the whole list: the page that is scraped and the table in the guide are
//! made from it.

use std::collections::BTreeMap;

use metrics::Label;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::question::{NodeStatus, ShardRole, ShardStatus};

/// What a number does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// It grows while the process lives.
    Counter,
    /// It is as it is now.
    Gauge,
}

impl MetricKind {
    /// Its name, as Prometheus says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Where a number comes from.
enum Source {
    /// The node: one number.
    Node(fn(&NodeStatus) -> u64),
    /// A replica: one number, labelled with its shard.
    Shard(fn(&ShardStatus) -> Option<u64>),
    /// A replica: one number for each value of a further label.
    By(&'static str, fn(&ShardStatus) -> BTreeMap<String, u64>),
}

/// One metric.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
    source: Source,
}

impl Metric {
    /// Its labels, all bounded: there are at most [`SHARDS_MAX`](crate::SHARDS_MAX) shards, and the other values are
    /// words of this program and of the apps.
    #[must_use]
    pub fn labels(&self) -> Vec<&'static str> {
        match self.source {
            Source::Node(_) => Vec::new(),
            Source::Shard(_) => vec!["shard"],
            Source::By(label, _) => vec!["shard", label],
        }
    }
}

const fn counter(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric { name, kind: MetricKind::Counter, help, source }
}

const fn gauge(name: &'static str, help: &'static str, source: Source) -> Metric {
    Metric { name, kind: MetricKind::Gauge, help, source }
}

/// Every metric of a node.
pub const METRICS: &[Metric] = &[
    gauge(
        "redplane_store_uptime_seconds",
        "Time since the process started.",
        Source::Node(|node| node.uptime_seconds),
    ),
    gauge(
        "redplane_store_ready",
        "Whether the node has its place in the cluster: 0 or 1.",
        Source::Node(|node| node.ready.into()),
    ),
    gauge(
        "redplane_store_silent_shards",
        "Shards whose worker did not answer this scrape within a second.",
        Source::Node(|node| node.silent.len() as u64),
    ),
    gauge(
        "redplane_store_role",
        "1 for the node's place in the chain of the shard, 0 for the others.",
        Source::By("role", |shard| {
            ShardRole::ALL
                .iter()
                .map(|role| (role.name().to_owned(), u64::from(*role == shard.role)))
                .collect()
        }),
    ),
    gauge(
        "redplane_store_epoch",
        "Epoch of the shard's configuration.",
        Source::Shard(|shard| Some(shard.epoch)),
    ),
    gauge(
        "redplane_store_chain_members",
        "Nodes in the chain, as this node knows it.",
        Source::Shard(|shard| Some(shard.members.len() as u64)),
    ),
    gauge(
        "redplane_store_serving",
        "Whether the node may serve the shard now: 0 or 1.",
        Source::Shard(|shard| Some(shard.serving.into())),
    ),
    gauge(
        "redplane_store_copying",
        "Whether the node sends a joining successor its copy: 0 or 1.",
        Source::Shard(|shard| Some(shard.copying.into())),
    ),
    gauge(
        "redplane_store_records",
        "Records held, without tombstones.",
        Source::Shard(|shard| Some(shard.protocol.records)),
    ),
    gauge(
        "redplane_store_tombstones",
        "Deletions that are remembered.",
        Source::Shard(|shard| Some(shard.protocol.tombstones)),
    ),
    gauge(
        "redplane_store_waiting_requests",
        "Requests that wait for a lease or a write.",
        Source::Shard(|shard| Some(shard.protocol.queued)),
    ),
    counter(
        "redplane_store_requests_total",
        "Legal requests of switches taken, by kind.",
        Source::By("kind", |shard| shard.protocol.requests.clone()),
    ),
    counter(
        "redplane_store_drops_total",
        "Messages that the protocol dropped, by reason.",
        Source::By("reason", |shard| shard.protocol.dropped.clone()),
    ),
    counter(
        "redplane_store_gate_drops_total",
        "Datagrams that were kept from the protocol, by reason: unknown senders, wrong codes, no place in the cluster.",
        Source::By("reason", |shard| shard.network.gate_drops.clone()),
    ),
    counter(
        "redplane_store_nacks_total",
        "Refusals sent to switches, by reason.",
        Source::By("reason", |shard| shard.protocol.nacks.clone()),
    ),
    counter(
        "redplane_store_refusals_total",
        "Records that the apps' on_create refused to make, by its word.",
        Source::By("reason", |shard| shard.protocol.refusals.clone()),
    ),
    counter(
        "redplane_store_grants_total",
        "Leases granted, repeated ones too.",
        Source::Shard(|shard| Some(shard.protocol.grants)),
    ),
    counter(
        "redplane_store_generations_total",
        "Leases granted under a new generation: keys that came to another switch.",
        Source::Shard(|shard| Some(shard.protocol.generations)),
    ),
    counter(
        "redplane_store_acks_total",
        "Writes, reads and renewals acknowledged.",
        Source::Shard(|shard| Some(shard.protocol.acks)),
    ),
    counter(
        "redplane_store_recalls_total",
        "Recalls sent, repeated ones too.",
        Source::Shard(|shard| Some(shard.protocol.recalls)),
    ),
    counter(
        "redplane_store_forwarded_requests_total",
        "Requests that came to this node and were passed on to the head.",
        Source::Shard(|shard| Some(shard.protocol.forwarded)),
    ),
    counter(
        "redplane_store_metered_creations_total",
        "Creations put off because there were too many at once: admission.",
        Source::Shard(|shard| Some(shard.protocol.creations_metered)),
    ),
    counter(
        "redplane_store_full_creations_total",
        "Creations put off because the shard is full.",
        Source::Shard(|shard| Some(shard.protocol.creations_full)),
    ),
    counter(
        "redplane_store_created_records_total",
        "Records made, companions too.",
        Source::Shard(|shard| Some(shard.protocol.created)),
    ),
    counter(
        "redplane_store_deleted_records_total",
        "Records deleted because nobody used them, companions too.",
        Source::Shard(|shard| Some(shard.protocol.deleted)),
    ),
    counter(
        "redplane_store_received_datagrams_total",
        "Datagrams that came.",
        Source::Shard(|shard| Some(shard.network.received_datagrams)),
    ),
    counter(
        "redplane_store_received_bytes_total",
        "Bytes in the datagrams that came.",
        Source::Shard(|shard| Some(shard.network.received_bytes)),
    ),
    counter(
        "redplane_store_receive_calls_total",
        "System calls that brought datagrams.",
        Source::Shard(|shard| Some(shard.network.receive_calls)),
    ),
    counter(
        "redplane_store_sent_datagrams_total",
        "Datagrams that left.",
        Source::Shard(|shard| Some(shard.network.sent_datagrams)),
    ),
    counter(
        "redplane_store_sent_bytes_total",
        "Bytes in the datagrams that left.",
        Source::Shard(|shard| Some(shard.network.sent_bytes)),
    ),
    counter(
        "redplane_store_send_calls_total",
        "System calls that took datagrams.",
        Source::Shard(|shard| Some(shard.network.send_calls)),
    ),
    counter(
        "redplane_store_send_failures_total",
        "Datagrams that the system did not take.",
        Source::Shard(|shard| Some(shard.network.send_failures)),
    ),
    counter(
        "redplane_store_journal_records_total",
        "Changes written to the journal.",
        Source::Shard(|shard| Some(shard.journal.as_ref()?.records)),
    ),
    counter(
        "redplane_store_journal_bytes_total",
        "Bytes written to the journal.",
        Source::Shard(|shard| Some(shard.journal.as_ref()?.bytes)),
    ),
    counter(
        "redplane_store_journal_commits_total",
        "Group commits: times that the disk was waited for.",
        Source::Shard(|shard| Some(shard.journal.as_ref()?.commits)),
    ),
    gauge(
        "redplane_store_journal_queued_batches",
        "Batches that wait to be written to the journal.",
        Source::Shard(|shard| Some(shard.journal.as_ref()?.queued_batches)),
    ),
];

/// The page that Prometheus scrapes. A recorder is made for it and dropped: what a node no longer has is gone from it.
#[must_use]
pub fn render(node: &NodeStatus) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || METRICS.iter().for_each(|metric| record(metric, node)));
    handle.render()
}

fn record(metric: &Metric, node: &NodeStatus) {
    match metric.kind {
        MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
        MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
    }
    match metric.source {
        Source::Node(read) => set(metric, Vec::new(), read(node)),
        Source::Shard(read) => {
            for shard in &node.shards {
                if let Some(value) = read(shard) {
                    set(metric, vec![label("shard", shard.shard)], value);
                }
            }
        }
        Source::By(name, read) => {
            for shard in &node.shards {
                for (word, value) in read(shard) {
                    set(metric, vec![label("shard", shard.shard), label(name, word)], value);
                }
            }
        }
    }
}

fn label(name: &'static str, value: impl ToString) -> Label {
    Label::new(name, value.to_string())
}

fn set(metric: &Metric, labels: Vec<Label>, value: u64) {
    match metric.kind {
        MetricKind::Counter => metrics::counter!(metric.name, labels).absolute(value),
        // Exact below 2^53, which no count of things held reaches.
        MetricKind::Gauge => metrics::gauge!(metric.name, labels).set(value as f64),
    }
}

/// The table of the guide.
#[must_use]
pub fn table() -> String {
    let mut text = "| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (metric.name, metric.kind.name());
        text.push_str(&format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), metric.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::question::{JournalCounts, NetworkCounts, ProtocolCounts};

    fn status() -> NodeStatus {
        let shard = ShardStatus {
            shard: 3,
            epoch: 9,
            role: ShardRole::Tail,
            members: vec![1, 0],
            joining: None,
            copying: false,
            serving: true,
            protocol: ProtocolCounts {
                requests: [("lease".to_owned(), 5)].into(),
                refusals: [("a\"b".to_owned(), 1)].into(),
                ..ProtocolCounts::default()
            },
            network: NetworkCounts::default(),
            journal: None,
        };
        let (cluster, version) = ("lab".to_owned(), "1".to_owned());
        NodeStatus {
            cluster,
            node: 0,
            version,
            uptime_seconds: 7,
            ready: true,
            shards: vec![shard],
            silent: vec![4],
        }
    }

    #[test]
    fn a_scrape_has_every_number_and_its_help() {
        let text = render(&status());
        for line in [
            "# HELP redplane_store_requests_total Legal requests of switches taken, by kind.",
            "# TYPE redplane_store_requests_total counter",
            "redplane_store_requests_total{shard=\"3\",kind=\"lease\"} 5",
            "redplane_store_role{shard=\"3\",role=\"tail\"} 1",
            "redplane_store_role{shard=\"3\",role=\"head\"} 0",
            "redplane_store_refusals_total{shard=\"3\",reason=\"a\\\"b\"} 1",
            "redplane_store_uptime_seconds 7",
            "redplane_store_silent_shards 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(!text.contains("journal"), "there is none: {text}");
        let mut with_journal = status();
        with_journal.shards[0].journal = Some(JournalCounts { commits: 2, ..JournalCounts::default() });
        assert!(render(&with_journal).contains("redplane_store_journal_commits_total{shard=\"3\"} 2"));
    }

    #[test]
    fn names_follow_the_convention() {
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(metric.name.starts_with("redplane_store_"), "{}", metric.name);
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == MetricKind::Counter,
                "{}",
                metric.name
            );
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(METRICS[..index].iter().all(|other| other.name != metric.name), "{} twice", metric.name);
        }
    }
}
