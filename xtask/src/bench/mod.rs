//! `cargo xtask bench store`: the store against the limit of its sockets, and against others, in one run.
//!
//! Everything runs as processes of this machine, on loopback ports, one measurement after the other.

mod cluster;
mod others;
mod process;
mod table;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use cluster::Cluster;
use process::{Server, drive, free_port};
use table::{Outcome, Row};

/// Bytes of a key: the five fields of a flow (two addresses, two ports, protocol).
const KEY_LEN: usize = 13;
/// Bytes of a value: a binding and two counters.
const VALUE_LEN: usize = 16;
/// Keys that are kept busy: those of the issue.
const KEYS: u64 = 100_000;
/// Requests under way when batched: 16 connections of Redis, each 64 deep.
const BATCHED: u64 = CONNECTIONS_BATCHED * PIPELINE;
/// Requests under way in a deep window: a chain is three processes that take turns on the cores, so it needs more under
/// way than one before anything but waiting is measured.
const DEEP: u64 = 16 * BATCHED;
/// Connections of Redis when pipelined.
const CONNECTIONS_BATCHED: u64 = 16;
/// Requests of one pipeline.
const PIPELINE: u64 = 64;
/// Requests under way when not batched; redis-benchmark's own default of connections.
const UNBATCHED: u64 = 50;
/// Records whose memory is measured.
const RECORDS: u64 = 1_000_000;

/// One run: where things are, and what came out so far.
struct Run {
    binaries: PathBuf,
    folder: PathBuf,
    seconds: u64,
    rows: Vec<Row>,
}

/// Measures everything, prints a table or JSON, and writes both below `target/bench-store/`.
pub(crate) fn store(root: &Path, seconds: u64, as_json: bool) -> anyhow::Result<()> {
    let target = build(root)?;
    let folder = target.join("bench-store");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut run = Run { binaries: target.join("release"), folder, seconds, rows: Vec::new() };
    run.echoes();
    for nodes in [1, 3] {
        run.stores(nodes);
    }
    run.unbatched_store();
    run.others();
    run.half_load();
    run.memory();
    let (table, report) = (table::markdown(&run.rows), table::json(&run.rows));
    std::fs::write(run.folder.join("table.md"), &table).context("cannot write the table")?;
    std::fs::write(run.folder.join("report.json"), format!("{report:#}\n"))
        .context("cannot write the report")?;
    if as_json {
        println!("{report:#}");
    } else {
        println!("{table}");
    }
    let failed = run.rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).count();
    if failed > 0 {
        bail!("{failed} measurements failed; their output is in {}", run.folder.display());
    }
    Ok(())
}

/// Builds what is measured, optimised; the target folder.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(root);
        command
    };
    let parts =
        ["build", "--quiet", "--release", "--package", "backend-store", "--bins", "--example", "load"];
    if !cargo().args(parts).status().context("cannot run cargo")?.success() {
        bail!("the store does not build");
    }
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

fn on_or_off(gso: bool) -> &'static str {
    if gso { "GSO" } else { "no GSO" }
}

impl Run {
    /// What the load generator is told, whoever answers.
    fn arguments(&self, target: &str, port: u16, window: u64, gso: bool) -> Value {
        json!({
            "target": target, "addresses": [format!("127.0.0.1:{port}")], "keys": KEYS, "window": window, "gso": gso,
            "key_len": KEY_LEN, "value_len": VALUE_LEN, "duration": { "secs": self.seconds, "nanos": 0 },
            "app": cluster::APP, "fingerprint": cluster::FINGERPRINT, "switch": cluster::SWITCH,
        })
    }

    fn load(&self) -> PathBuf {
        self.binaries.join("examples/load")
    }

    /// Keeps the outcome of a measurement; what failed does not end the run.
    fn add(&mut self, id: &'static str, name: String, measured: anyhow::Result<Outcome>) {
        let outcome = measured.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        eprintln!("{name}: {}", outcome.summary());
        self.rows.push(Row { id, name, outcome });
    }

    fn echoes(&mut self) {
        let cases = [
            ("echo_gso", BATCHED, true),
            ("echo_deep", DEEP, true),
            ("echo", BATCHED, false),
            ("echo_unbatched", UNBATCHED, false),
        ];
        for (id, window, gso) in cases {
            let measured = self.echo(window, gso);
            self.add(id, format!("bare echo, {window} under way, {}", on_or_off(gso)), measured);
        }
    }

    fn echo(&self, window: u64, gso: bool) -> anyhow::Result<Outcome> {
        let port = free_port()?;
        let mut command = Command::new(self.load());
        command.args(["echo", &format!("127.0.0.1:{port}")]);
        if !gso {
            command.arg("--no-gso");
        }
        let _server = Server::start(&mut command, &self.folder.join("echo.log"))?;
        drive(&self.load(), &self.arguments("echo", port, window, gso))
    }

    fn stores(&mut self, nodes: u16) {
        let ids = if nodes == 1 {
            ["store_gso", "store_deep", "store"]
        } else {
            ["chain_gso", "chain_deep", "chain"]
        };
        for (id, (window, gso)) in ids.into_iter().zip([(BATCHED, true), (DEEP, true), (BATCHED, false)]) {
            let measured = self
                .cluster(nodes, gso)
                .and_then(|cluster| drive(&self.load(), &self.arguments("store", cluster.port, window, gso)));
            let what =
                if nodes == 1 { "store, one node".to_owned() } else { format!("store, chain of {nodes}") };
            self.add(id, format!("{what}, {window} under way, {}", on_or_off(gso)), measured);
        }
    }

    fn cluster(&self, nodes: u16, gso: bool) -> anyhow::Result<Cluster> {
        Cluster::start(&self.binaries.join("redplane-store"), &self.folder, nodes, gso)
    }

    fn unbatched_store(&mut self) {
        let measured = self.cluster(1, false).and_then(|cluster| {
            drive(&self.load(), &self.arguments("store", cluster.port, UNBATCHED, false))
        });
        self.add("store_unbatched", format!("store, one node, {UNBATCHED} under way, no GSO"), measured);
    }

    fn others(&mut self) {
        let redis = others::redis(&self.folder, self.seconds, CONNECTIONS_BATCHED, PIPELINE);
        let name = format!("Redis SET, {CONNECTIONS_BATCHED} connections, {PIPELINE} deep");
        self.add("redis_pipelined", name, redis);
        let redis = others::redis(&self.folder, self.seconds, UNBATCHED, 1);
        self.add("redis", format!("Redis SET, {UNBATCHED} connections, not pipelined"), redis);
        for (id, window, gso) in [("memcached_gso", BATCHED, true), ("memcached", UNBATCHED, false)] {
            let measured = others::memcached(&self.folder).and_then(|started| {
                let Some((_server, port)) = started else {
                    return Ok(Outcome::Skipped("memcached not found".to_owned()));
                };
                let mut arguments = self.arguments("memcached", port, window, gso);
                // Its answers name a request by 16 bits only.
                arguments["keys"] = json!(1 << 16);
                drive(&self.load(), &arguments)
            });
            self.add(id, format!("memcached over UDP, {window} under way, {}", on_or_off(gso)), measured);
        }
    }

    /// Latency at half of the rate that the store was just measured to reach.
    fn half_load(&mut self) {
        let full = self.rows.iter().find(|row| row.id == "store_gso").and_then(|row| row.outcome.rate());
        let half = full.map(|rate| (rate / 2.0) as u64).filter(|rate| *rate > 0);
        let measured = match half {
            None => Ok(Outcome::Skipped("the store's rate is not known".to_owned())),
            Some(rate) => self.cluster(1, true).and_then(|cluster| {
                let mut arguments = self.arguments("store", cluster.port, BATCHED, true);
                arguments["rate"] = json!(rate);
                drive(&self.load(), &arguments)
            }),
        };
        self.add("half_load", "store, one node, open loop at half load".to_owned(), measured);
    }

    fn memory(&mut self) {
        let measured = self.cluster(1, true).and_then(|cluster| {
            let before = cluster.resident_bytes(0)?;
            let mut arguments = self.arguments("store", cluster.port, BATCHED, true);
            arguments["keys"] = json!(RECORDS);
            drive(&self.load(), &arguments)?;
            let grown = cluster.resident_bytes(0)?.saturating_sub(before);
            Ok(Outcome::Memory { records: RECORDS, bytes_per_record: grown as f64 / RECORDS as f64 })
        });
        self.add("memory", format!("store, memory of {RECORDS} records"), measured);
    }
}
