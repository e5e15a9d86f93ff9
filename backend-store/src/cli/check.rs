//! `check-config`: what a configuration means.

use std::path::Path;

use miette::Diagnostic;
use redplane_protocol::NodeId;
use serde_json::{Value, json};

use super::output::{answer, answer_json, table};
use super::{Failure, Outcome, Registration, serve};
use crate::service::config::{Config, ConfigError, Coordination, Mistake, NodeAddresses, SwitchAddress};
use crate::service::schema::{AppSet, StoreApp};

/// Checks a configuration, its schemas too, and says what it means.
pub(super) fn run(path: &Path, json: bool, linked: Vec<Registration>) -> Result<Outcome, Failure> {
    match (check(path, linked), json) {
        (Ok((config, apps)), false) => answer(&describe(&config, &apps))?,
        (Ok((config, apps)), true) => answer_json(&resolve(&config, &apps))?,
        (Err(failure), false) => return Err(failure),
        (Err(failure), true) => {
            answer_json(&json!({ "ok": false, "mistakes": mistakes(&failure) }))?;
            return Ok(Outcome::Finding);
        }
    }
    Ok(Outcome::Well)
}

fn check(path: &Path, linked: Vec<Registration>) -> Result<(Config, AppSet), Failure> {
    let config = Config::load(path)?;
    serve::supported(&config)?;
    let apps = AppSet::load(&config, linked)?;
    Ok((config, apps))
}

/// For editors: each with its place, from one.
fn mistakes(failure: &Failure) -> Vec<Value> {
    let Failure::Config(ConfigError::Mistakes { text, mistakes, .. }) = failure else {
        return vec![json!({ "message": failure.to_string() })];
    };
    let place = |offset: usize| {
        let before = text.inner().get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    };
    let mistake = |mistake: &Mistake| {
        let (line, column) = place(mistake.offset());
        let help = mistake.help().map(|help| help.to_string());
        json!({ "line": line, "column": column, "message": mistake.to_string(), "help": help })
    };
    mistakes.iter().map(mistake).collect()
}

fn describe(config: &Config, apps: &AppSet) -> String {
    let coordination = match &config.coordination {
        Coordination::Static { address, state } => {
            format!("static at {address}, state in {}", state.display())
        }
        Coordination::Etcd { endpoints } => format!("etcd at {}", endpoints.join(", ")),
    };
    let durability = config.durability.as_ref().map_or("none".to_owned(), |durability| {
        format!("{}/node-<id>, shards {}", durability.path.display(), numbers(&durability.shards))
    });
    let authentication = match config.authentication.len() {
        0 => "none: only the switches below are served".to_owned(),
        1 => "one key".to_owned(),
        keys => format!("{keys} keys, the first signs"),
    };
    let lease = format!(
        "{:?}, {} per mille of drift",
        config.lease.duration(),
        config.lease.drift_margin_per_mille()
    );
    let lines = [
        ("cluster", config.cluster.clone()),
        ("shards", config.shards.to_string()),
        ("lease", lease),
        ("coordination", coordination),
        ("detection", format!("{:?}", config.detection)),
        ("threads", config.threads.to_string()),
        ("durability", durability),
        ("records per shard", config.records_per_shard.to_string()),
        ("authentication", authentication),
    ];
    let rows: Vec<Vec<String>> =
        lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    [table(&rows), nodes_table(config), apps_table(apps), switches_table(config)].join("\n")
}

fn numbers(numbers: &[u16]) -> String {
    numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn nodes_table(config: &Config) -> String {
    let mut rows = vec![["node", "shard", "requests", "chain", "admin"].map(str::to_owned).to_vec()];
    for (id, node) in &config.nodes {
        let admin = node.admin.map_or("-".to_owned(), |admin| admin.to_string());
        for (shard, (requests, chain)) in node.requests.iter().zip(&node.chain).enumerate() {
            rows.push(vec![
                id.0.to_string(),
                shard.to_string(),
                requests.to_string(),
                chain.to_string(),
                admin.clone(),
            ]);
        }
    }
    table(&rows)
}

fn apps_table(apps: &AppSet) -> String {
    let head = ["app", "name", "fingerprints", "key", "value", "idle", "new values", "new keys per second"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for app in apps.apps() {
        let prints: Vec<String> =
            app.accepted().map(|schema| format!("{:#06x}", schema.fingerprint)).collect();
        rows.push(vec![
            app.schema.app.to_string(),
            app.name.clone(),
            prints.join(" "),
            format!("{} bytes", app.schema.key_len),
            format!("{} bytes", app.schema.value_len),
            app.idle.map_or_else(|| "by record".to_owned(), |idle| format!("{idle:?}")),
            if app.linked { "on_create" } else { "zero" }.to_owned(),
            admission(app),
        ]);
    }
    table(&rows)
}

fn admission(app: &StoreApp) -> String {
    let Some(admission) = &app.admission else { return "any".to_owned() };
    let switch = format!("{} a switch", admission.per_switch);
    match &admission.per_prefix {
        Some(prefix) => {
            format!(
                "{switch}, {} a prefix (bits {} to {})",
                prefix.rate,
                prefix.bits.start,
                prefix.bits.end - 1
            )
        }
        None => switch,
    }
}

fn switches_table(config: &Config) -> String {
    if config.switches.is_empty() {
        return "switches: any that signs\n".to_owned();
    }
    let mut rows = vec![vec!["switch".to_owned(), "address".to_owned()]];
    for (id, switch) in &config.switches {
        let port = switch.port.map_or("any port".to_owned(), |port| format!("port {port}"));
        rows.push(vec![id.to_string(), format!("{}, {port}", switch.ip)]);
    }
    table(&rows)
}

fn resolve(config: &Config, apps: &AppSet) -> Value {
    let coordination = match &config.coordination {
        Coordination::Static { address, state } => {
            json!({ "kind": "static", "address": address, "state": state.to_string_lossy() })
        }
        Coordination::Etcd { endpoints } => json!({ "kind": "etcd", "endpoints": endpoints }),
    };
    let node = |(id, node): (&NodeId, &NodeAddresses)| {
        let NodeAddresses { requests, chain, admin } = node;
        json!({ "id": id.0, "requests": requests, "chain": chain, "admin": admin })
    };
    let switch =
        |(id, switch): (&u16, &SwitchAddress)| json!({ "id": id, "address": switch.ip, "port": switch.port });
    let durability = config.durability.as_ref();
    let durability = durability
        .map(|durability| json!({ "path": durability.path.to_string_lossy(), "shards": durability.shards }));
    json!({
        "ok": true,
        "cluster": config.cluster,
        "shards": config.shards,
        "lease_ms": config.lease.duration().as_millis() as u64,
        "drift_margin_per_mille": config.lease.drift_margin_per_mille(),
        "coordination": coordination,
        "detection_ms": config.detection.as_millis() as u64,
        "nodes": config.nodes.iter().map(node).collect::<Vec<_>>(),
        "threads": config.threads,
        "durability": durability,
        "apps": apps.apps().iter().map(resolve_app).collect::<Vec<_>>(),
        "records_per_shard": config.records_per_shard,
        "switches": config.switches.iter().map(switch).collect::<Vec<_>>(),
        "authentication_keys": config.authentication.len(),
    })
}

fn resolve_app(app: &StoreApp) -> Value {
    let prints: Vec<String> = app.accepted().map(|schema| format!("{:#06x}", schema.fingerprint)).collect();
    let admission = app.admission.as_ref().map(|admission| {
        let prefix = admission.per_prefix.as_ref();
        let prefix = prefix.map(
            |prefix| json!({ "rate": prefix.rate, "first_bit": prefix.bits.start, "bits": prefix.bits.len() }),
        );
        json!({ "per_switch": admission.per_switch, "per_prefix": prefix })
    });
    json!({
        "app": app.schema.app,
        "name": app.name,
        "fingerprints": prints,
        "key_bytes": app.schema.key_len,
        "value_bytes": app.schema.value_len,
        "idle_ms": app.idle.map(|idle| idle.as_millis() as u64),
        "on_create": app.linked,
        "admission": admission,
    })
}
