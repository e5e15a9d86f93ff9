//! `status`: how a cluster is.

use std::collections::BTreeMap;

use serde_json::json;

use super::client::{Answer, Client, NodesArgument};
use super::output::{answer, answer_json, table};
use super::{Failure, Outcome};
use crate::service::question::{NodeStatus, ShardRole, ShardStatus};

/// Asks all nodes, and says what is not as it should be.
pub(super) fn run(nodes: &NodesArgument, json: bool) -> Result<Outcome, Failure> {
    let answers = Client::new(nodes)?.statuses();
    let findings = findings(&answers);
    if json {
        let node = |answer: &Answer| match &answer.status {
            Ok(status) => json!({ "name": answer.name, "admin": answer.address, "status": status }),
            Err(error) => json!({ "name": answer.name, "admin": answer.address, "error": error }),
        };
        let nodes: Vec<_> = answers.iter().map(node).collect();
        answer_json(&json!({ "ok": findings.is_empty(), "nodes": nodes, "findings": findings }))?;
    } else {
        let mut text = table(&rows(&answers));
        for finding in &findings {
            text.push_str(&format!("! {finding}\n"));
        }
        answer(&text)?;
    }
    Ok(if findings.is_empty() { Outcome::Well } else { Outcome::Finding })
}

/// A row for each replica, below a head.
fn rows(answers: &[Answer]) -> Vec<Vec<String>> {
    let head = ["node", "shard", "role", "epoch", "chain", "records", "waiting", "requests", "up"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (answer, status) in answers.iter().filter_map(|answer| Some((answer, answer.status.as_ref().ok()?))) {
        for shard in &status.shards {
            rows.push(row(answer, status, shard));
        }
    }
    rows
}

fn row(answer: &Answer, status: &NodeStatus, shard: &ShardStatus) -> Vec<String> {
    let requests: u64 = shard.protocol.requests.values().sum();
    let role =
        if shard.serving { shard.role.name().to_owned() } else { format!("{}, halted", shard.role.name()) };
    vec![
        answer.name.trim_start_matches("node ").to_owned(),
        shard.shard.to_string(),
        role,
        shard.epoch.to_string(),
        chain(shard),
        shard.protocol.records.to_string(),
        shard.protocol.queued.to_string(),
        requests.to_string(),
        format!("{}s", status.uptime_seconds),
    ]
}

/// The chain, head first, a joining node in brackets.
pub(super) fn chain(shard: &ShardStatus) -> String {
    let member =
        |node: &u16| if shard.joining == Some(*node) { format!("({node})") } else { node.to_string() };
    let members: Vec<String> = shard.members.iter().map(member).collect();
    if members.is_empty() { "-".to_owned() } else { members.join(">") }
}

/// What is not as it should be.
pub(super) fn findings(answers: &[Answer]) -> Vec<String> {
    let mut findings = Vec::new();
    let mut newest: BTreeMap<u16, &ShardStatus> = BTreeMap::new();
    for answer in answers {
        let status = match &answer.status {
            Ok(status) => status,
            Err(error) => {
                findings.push(format!("{} at {} does not answer: {error}", answer.name, answer.address));
                continue;
            }
        };
        if !status.ready {
            findings.push(format!("{} is not ready", answer.name));
        }
        findings
            .extend(status.silent.iter().map(|shard| format!("{}: shard {shard} is silent", answer.name)));
        for shard in &status.shards {
            let known = newest.entry(shard.shard).or_insert(shard);
            if shard.epoch > known.epoch {
                *known = shard;
            }
        }
    }
    for (shard, newest) in newest {
        findings.extend(shard_findings(shard, newest, answers));
    }
    findings
}

fn shard_findings(shard: u16, newest: &ShardStatus, answers: &[Answer]) -> Vec<String> {
    let mut findings = Vec::new();
    if newest.members.is_empty() {
        findings.push(format!("shard {shard} has no chain"));
    }
    if let Some(joining) = newest.joining {
        findings.push(format!("shard {shard}: node {joining} has no full copy yet"));
    }
    for status in answers.iter().filter_map(|answer| answer.status.as_ref().ok()) {
        let Some(replica) = status.shards.iter().find(|replica| replica.shard == shard) else { continue };
        let node = status.node;
        if !newest.members.contains(&node) {
            findings.push(format!("shard {shard}: node {node} is not in its chain"));
        } else if !replica.serving && replica.role != ShardRole::Outside {
            findings.push(format!("shard {shard}: node {node} does not serve"));
        }
        if replica.epoch < newest.epoch && newest.members.contains(&node) {
            let (old, new) = (replica.epoch, newest.epoch);
            findings.push(format!("shard {shard}: node {node} is at epoch {old}, others at {new}"));
        }
    }
    findings
}
