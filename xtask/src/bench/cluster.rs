//! A cluster of the store on loopback ports.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;

use super::process::{Server, free_port};
use super::{KEY_LEN, RECORDS, VALUE_LEN};

/// Number of the app that is measured.
pub(super) const APP: u16 = 4660;
/// Its fingerprint: any, since no compiler made the schema.
pub(super) const FINGERPRINT: u16 = 0x5eed;
/// The switch that the load generator is.
pub(super) const SWITCH: u16 = 1;

/// How long processes have to open their sockets. The load generator asks again if it was too early.
const START: Duration = Duration::from_millis(500);

/// Nodes and, if they are several, their coordinator. All end when this is dropped.
pub(super) struct Cluster {
    nodes: Vec<Server>,
    _coordinator: Server,
    /// Where the head of the only shard takes requests.
    pub(super) port: u16,
}

impl Cluster {
    /// Starts so many nodes with one shard, each on one thread.
    pub(super) fn start(binary: &Path, folder: &Path, nodes: u16, gso: bool) -> anyhow::Result<Self> {
        let folder = folder.join(format!("cluster-{nodes}"));
        // What an earlier run left would be taken for this cluster's own.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        std::fs::write(folder.join("schema.json"), format!("{:#}\n", schema()))?;
        let ports =
            (0..nodes).map(|_| Ok([free_port()?, free_port()?])).collect::<anyhow::Result<Vec<_>>>()?;
        let config = folder.join("store.toml");
        std::fs::write(&config, configuration(&ports, free_port()?, gso))?;
        let mut coordinate = Command::new(binary);
        coordinate.arg("coordinate").arg("--config").arg(&config).current_dir(&folder);
        let coordinator = Server::start(&mut coordinate, &folder.join("coordinator.log"))?;
        let mut servers = Vec::new();
        for node in 0..nodes {
            let mut serve = Command::new(binary);
            serve.arg("serve").arg("--config").arg(&config).args(["--node", &node.to_string()]);
            servers
                .push(Server::start(serve.current_dir(&folder), &folder.join(format!("node-{node}.log")))?);
        }
        std::thread::sleep(START);
        if let Some(node) = servers.iter_mut().position(Server::has_ended) {
            let log = std::fs::read_to_string(folder.join(format!("node-{node}.log"))).unwrap_or_default();
            bail!("node {node} ended: {}", log.trim());
        }
        // The first shard's chain is the nodes in turn.
        Ok(Self { nodes: servers, _coordinator: coordinator, port: ports[0][0] })
    }

    /// Bytes of memory that a node occupies now.
    pub(super) fn resident_bytes(&self, node: usize) -> anyhow::Result<u64> {
        self.nodes[node].resident_bytes()
    }
}

fn configuration(ports: &[[u16; 2]], coordinator: u16, gso: bool) -> String {
    let records = RECORDS * 3 / 2;
    let mut text = format!(
        r#"cluster = "bench"
shards = 1
lease = "1s"

[coordination]
kind = "static"
address = "127.0.0.1:{coordinator}"
state = "coordinator.json"
detection = "2s"

[workers]
threads = 1
"#
    );
    if !gso {
        text += "gso = false\n";
    }
    for (id, [requests, chain]) in ports.iter().enumerate() {
        let _ = write!(
            text,
            r#"
[[node]]
id = {id}
requests = "127.0.0.1:{requests}"
chain = "127.0.0.1:{chain}"
"#
        );
    }
    let _ = write!(
        text,
        r#"
[[app]]
schema = ["schema.json"]

[limits]
records_per_shard = {records}

[[switch]]
id = {SWITCH}
address = "127.0.0.1"
"#
    );
    text
}

/// A schema as the compiler would emit it for a counter per flow.
fn schema() -> serde_json::Value {
    let field = |name: &str, kind: &str, offset: u16, bytes: u16| {
        let bits = bytes * 8;
        json!({ "name": name, "type": kind, "offset": offset, "bytes": bytes, "bits": bits })
    };
    json!({
        "app": "bench", "id": APP, "fingerprint": format!("{FINGERPRINT:#06x}"),
        "program": "0x0000000000000000", "source": "xtask/src/bench/cluster.rs",
        "slots": 65_536, "idle_ms": 300_000, "on_create": null,
        "wire": {
            "udp_port": 21_072, "version": 1, "key_offset": 30, "value_offset": 30 + KEY_LEN,
            "frame_offset": 30 + KEY_LEN + VALUE_LEN,
        },
        "key": { "name": "Flow", "docs": "A flow.", "bytes": KEY_LEN, "fields": [
            field("src", "ipv4", 0, 4), field("dst", "ipv4", 4, 4), field("src_port", "u16", 8, 2),
            field("dst_port", "u16", 10, 2), field("protocol", "u8", 12, 1),
        ] },
        "value": { "name": "Usage", "docs": "What it used.", "bytes": VALUE_LEN, "fields": [
            field("packets", "u64", 0, 8), field("bytes", "u64", 8, 8),
        ] },
        "drop_reasons": [],
    })
}
