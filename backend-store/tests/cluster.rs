//! Three nodes reduced to their admin ports, and workers that answer.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use backend_store::service::admin::{Admin, AdminState};
use backend_store::service::clock::Clock;
use backend_store::service::config::Config;
use backend_store::service::question::{QUESTIONS_MAX, Question, RecordsPage, ShardStatus};
use backend_store::service::schema::AppSet;
use redplane_protocol::*;
use tokio::sync::mpsc;

pub(crate) const CONTRIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib");

fn records(shard: u16) -> Vec<(RecordKey, Record)> {
    let key = |last: u8| RecordKey::new(7, &[10, 0, shard as u8, last, 10, 0, 0, 9, 0]).expect("it is short");
    let mut record = Record::tombstone(Serial(3));
    record.deleted = false;
    record.value = [0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 2, 0, 0][..].into();
    (1..4).map(|last| (key(last), record.clone())).collect()
}

/// A node of the chain 0, 1, 2 in both shards. Only its tail has records to show.
fn answer(node: NodeId, shard: u16, question: Question) {
    let mut replica = Node::new(node, Shard { index: shard, count: 2 }, Lease::default(), Vec::new());
    let members = (0..3).map(NodeId).collect();
    replica.reconfigure(Configuration { epoch: 4, members, joining: None }, Time::ZERO);
    match question {
        Question::Status(answer) => {
            let mut status = ShardStatus::of(shard, &replica, true);
            status.protocol.requests = [("write".to_owned(), 900)].into();
            status.protocol.records = 3;
            drop(answer.send(status));
        }
        Question::Records { from, limit, answer, .. } => {
            let records = if node.0 == 2 { records(shard) } else { Vec::new() };
            let next = (from + limit < records.len()).then_some(from + limit);
            let records = records.into_iter().skip(from).take(limit).collect();
            drop(answer.send(RecordsPage { records, next }));
        }
    }
}

/// Opens the admin port of a node.
pub(crate) fn node(id: u16) -> Admin {
    let config = Config::load(&Path::new(CONTRIB).join("store.toml")).expect("the example is legal");
    let apps = AppSet::load(&config, Vec::new()).expect("the example's schema is there");
    let mut shards = Vec::new();
    for shard in 0..2 {
        let (sender, mut questions) = mpsc::channel(QUESTIONS_MAX);
        shards.push((shard, sender));
        thread::spawn(move || {
            while let Some(question) = questions.blocking_recv() {
                answer(NodeId(id), shard, question);
            }
        });
    }
    let state = AdminState {
        cluster: "lab".to_owned(),
        node: NodeId(id),
        clock: Clock::start(),
        ready: Arc::new(true.into()),
        shards,
        apps: Arc::new(apps),
    };
    Admin::start("127.0.0.1:0".parse().expect("an address"), state).expect("there is a free port")
}
