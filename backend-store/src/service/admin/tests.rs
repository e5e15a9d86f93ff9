//! The port over a real socket, with workers that are a thread in the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use redplane_protocol::{Node, Serial, Shard, Time, Version};

use super::*;
use crate::service::config::Config;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/meter/schema.json");

fn apps() -> Arc<AppSet> {
    let text = format!(
        r#"
        cluster = "lab"
        coordination = {{ kind = "static", address = "127.0.0.1:21100" }}
        node = [{{ id = 0, requests = "127.0.0.1:21072", chain = "127.0.0.1:22072" }}]
        app = [{{ schema = {SCHEMA:?} }}]
        switch = [{{ id = 1, address = "10.0.0.1" }}]
        "#
    );
    let config = Config::parse(&text, Path::new("store.toml")).unwrap();
    Arc::new(AppSet::load(&config, Vec::new()).unwrap())
}

/// A replica with five records of the app in `contrib/`.
fn replica(shard: u16) -> Node {
    let key = |last: u8| RecordKey::new(7, &[10, 0, 0, last, 10, 0, 0, 9, 1]).unwrap();
    let mut record = Record::tombstone(Serial(3));
    record.deleted = false;
    record.version = Version { generation: Serial(3), sequence: Serial(8) };
    record.value = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1][..].into();
    let records = (0..5).map(|last| (key(last), record.clone()));
    let shard = Shard { index: shard, count: 2 };
    let mut node = Node::new(NodeId(0), shard, Default::default(), apps().creators());
    assert_eq!(node.restore(Serial(3), records, Time::ZERO), 0);
    node
}

/// A port over shard 0, which answers, and shard 1, which does if `all_answer`.
fn port(all_answer: bool, ready: bool) -> Admin {
    let mut shards = Vec::new();
    for shard in 0..2 {
        let (sender, mut questions) = mpsc::channel(crate::service::question::QUESTIONS_MAX);
        shards.push((shard, sender));
        thread::spawn(move || {
            let node = replica(shard);
            let mut kept = Vec::new();
            while let Some(question) = questions.blocking_recv() {
                match question {
                    _ if shard == 1 && !all_answer => kept.push(question),
                    Question::Status(answer) => {
                        let mut status = ShardStatus::of(shard, &node, true);
                        status.members = vec![0];
                        let _ = answer.send(status);
                    }
                    Question::Records { app, from, limit, answer } => {
                        drop(answer.send(RecordsPage::of(&node, app, from, limit)));
                    }
                }
            }
        });
    }
    let state = AdminState {
        cluster: "lab".to_owned(),
        node: NodeId(0),
        clock: Clock::start(),
        ready: Arc::new(AtomicBool::new(ready)),
        shards,
        apps: apps(),
    };
    Admin::start("127.0.0.1:0".parse().unwrap(), state).unwrap()
}

fn get(admin: &Admin, path: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut response = agent.get(format!("http://{}{path}", admin.address())).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn a_node_that_is_well() {
    let admin = port(true, true);
    let (code, status) = get(&admin, "/status");
    let status: NodeStatus = serde_json::from_str(&status).unwrap();
    assert_eq!((code, status.node, status.shards.len(), status.silent.len()), (200, 0, 2, 0));
    assert_eq!(get(&admin, "/live"), (200, r#"{"live":true}"#.to_owned()));
    let ready = r#"{"incomplete":[],"place":true,"ready":true,"silent":[]}"#;
    assert_eq!(get(&admin, "/ready"), (200, ready.to_owned()));
    assert!(get(&admin, "/metrics").1.contains("redplane_store_records{shard=\"1\"} 5"));
    let apps = r#"{"apps":[{"app":7,"fingerprints":["0xca30"],"name":"meter"}]}"#;
    assert_eq!(get(&admin, "/apps"), (200, apps.to_owned()));
    admin.stop();
}

#[test]
fn a_shard_that_does_not_answer_is_said() {
    let admin = port(false, true);
    let status: NodeStatus = serde_json::from_str(&get(&admin, "/status").1).unwrap();
    assert_eq!((status.shards.len(), status.silent), (1, vec![1]));
    assert_eq!(get(&admin, "/live"), (503, r#"{"live":false,"silent":[1]}"#.to_owned()));
    assert_eq!(get(&admin, "/ready").0, 503);
    assert_eq!(
        get(&admin, "/records?shard=1&app=meter"),
        (503, r#"{"error":"shard 1 is silent"}"#.to_owned())
    );
    admin.stop();
}

#[test]
fn a_node_without_its_place_is_not_ready() {
    let admin = port(true, false);
    let answer = r#"{"incomplete":[],"place":false,"ready":false,"silent":[]}"#;
    assert_eq!(get(&admin, "/ready"), (503, answer.to_owned()));
    admin.stop();
}

#[test]
fn records_come_in_pages() {
    let admin = port(true, true);
    let mut path = "/records?shard=0&app=7&limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page: Value = serde_json::from_str(&get(&admin, &path).1).unwrap();
        let records = page["records"].as_array().unwrap().clone();
        assert!(records.len() <= 2);
        seen.extend(records);
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/records?shard=0&app=7&limit=2&from={next}");
    }
    let sources: Vec<_> = seen.iter().map(|record| record["key"]["src"].as_str().unwrap()).collect();
    assert_eq!(sources, ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    let expected = json!({ "app": "meter", "shard": 0, "generation": 3, "sequence": 8, "owner": null,
        "key": { "src": "10.0.0.4", "dst": "10.0.0.9", "stream": true },
        "value": { "packets": 1, "bytes": 2, "cut": true },
        "owner_address": null, "idle_ms": 0, "companions": [] });
    assert_eq!(seen[4], expected);
    admin.stop();
}

#[test]
fn nonsense_is_answered() {
    let admin = port(true, true);
    for (path, code) in [
        ("/", 404),
        ("/records", 400),
        ("/records?shard=x&app=meter", 400),
        ("/records?shard=9&app=meter", 404),
        ("/records?shard=0&app=nat", 404),
        ("/records?shard=0&app=meter&from=xyz", 400),
        ("/records?shard=0&app=meter&from=-1", 400),
    ] {
        let (got, body) = get(&admin, path);
        assert_eq!(got, code, "{path}: {body}");
        assert!(serde_json::from_str::<Value>(&body).unwrap()["error"].is_string(), "{body}");
    }
    let far = format!("/records?shard=0&app=meter&from={}", usize::MAX);
    assert_eq!(get(&admin, &far), (200, r#"{"next":null,"records":[]}"#.to_owned()));
    admin.stop();
}

#[test]
fn an_address_that_is_taken_is_said() {
    let admin = port(true, true);
    let state = AdminState {
        cluster: String::new(),
        node: NodeId(1),
        clock: Clock::start(),
        ready: Arc::default(),
        shards: Vec::new(),
        apps: apps(),
    };
    let error = Admin::start(admin.address(), state).err().unwrap().to_string();
    assert!(error.starts_with("the admin port cannot listen at 127.0.0.1:"), "{error}");
    admin.stop();
}

#[test]
fn connections_that_say_nothing_are_bounded_and_more_wait() {
    let admin = port(true, true);
    let open = || TcpStream::connect(admin.address()).unwrap();
    let mut silent: Vec<_> = (0..connections::CONNECTIONS_MAX).map(|_| open()).collect();
    // All places may be taken before this one asks: it is answered as soon as one is free.
    let mut waiting = open();
    waiting.write_all(b"GET /live HTTP/1.0\r\n\r\n").unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut answer = [0; 12];
    assert!(waiting.read_exact(&mut answer).is_err(), "there is no room");
    silent.clear();
    waiting.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.0 200");
    admin.stop();
}
