//! `dump`: the records of a cluster, as lines of JSON.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, NodesArgument};
use super::{Failure, Outcome};
use crate::service::question::{RECORDS_PAGE_MAX, ShardRole};

/// A page, as the admin port sends it.
#[derive(Deserialize)]
struct Page {
    records: Vec<Value>,
    next: Option<usize>,
}

/// The apps of a node, as the admin port lists them.
#[derive(Deserialize)]
struct Apps {
    apps: Vec<App>,
}

#[derive(Deserialize)]
struct App {
    app: u16,
    name: String,
}

/// Writes out the records of every shard, from the node that has only what is acknowledged: the last with a full copy.
pub(super) fn run(
    nodes: &NodesArgument,
    app: Option<&str>,
    shard: Option<u16>,
    limit: Option<u64>,
) -> Result<Outcome, Failure> {
    let client = Client::new(nodes)?;
    let sources = sources(&client, shard)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let mut left = limit.unwrap_or(u64::MAX);
    for (shard, address) in sources {
        let get = |path: &str| {
            client
                .get(address, path)
                .map_err(|error| Failure::Other(format!("shard {shard} at {address}: {error}")))
        };
        let apps: Apps = client.get(address, "/apps").map_err(Failure::Other)?;
        let number = app.and_then(|app| app.parse().ok());
        let wanted: Vec<u16> = apps
            .apps
            .iter()
            .filter(|known| app.is_none_or(|app| known.name == app) || Some(known.app) == number)
            .map(|known| known.app)
            .collect();
        if wanted.is_empty() {
            let names: Vec<&str> = apps.apps.iter().map(|app| app.name.as_str()).collect();
            let app = app.unwrap_or_default();
            return Err(Failure::Usage(format!("there is no app `{app}`; there are {}", names.join(", "))));
        }
        for app in wanted {
            let mut from = 0;
            while left > 0 {
                let count = left.min(RECORDS_PAGE_MAX as u64);
                let page: Page = get(&format!("/records?shard={shard}&app={app}&limit={count}&from={from}"))?;
                for record in &page.records {
                    writeln!(out, "{record}")?;
                }
                left = left.saturating_sub(page.records.len() as u64);
                let Some(next) = page.next else { break };
                from = next;
            }
        }
    }
    out.flush()?;
    Ok(Outcome::Well)
}

/// For each shard the node to read from.
fn sources(client: &Client, only: Option<u16>) -> Result<Vec<(u16, SocketAddr)>, Failure> {
    let answers = client.statuses();
    let mut sources: Vec<(u16, u64, usize, SocketAddr)> = Vec::new();
    let mut shards = Vec::new();
    for answer in &answers {
        let Ok(status) = &answer.status else { continue };
        for replica in status.shards.iter().filter(|replica| only.is_none_or(|only| only == replica.shard)) {
            shards.push(replica.shard);
            let full = !matches!(replica.role, ShardRole::Joining | ShardRole::Outside);
            if full && replica.serving {
                let place = replica.members.iter().position(|member| *member == status.node).unwrap_or(0);
                sources.push((replica.shard, replica.epoch, place, answer.address));
            }
        }
    }
    shards.sort_unstable();
    shards.dedup();
    if shards.is_empty() {
        let errors: Vec<String> = answers
            .iter()
            .filter_map(|answer| Some(format!("{}: {}", answer.name, answer.status.as_ref().err()?)))
            .collect();
        let why = only.map_or("no node has a shard".to_owned(), |only| format!("no node has a shard {only}"));
        let why = if errors.is_empty() { why } else { format!("{why}; {}", errors.join("; ")) };
        return Err(Failure::Other(why));
    }
    let best = |shard: u16| {
        sources.iter().filter(|source| source.0 == shard).max_by_key(|source| (source.1, source.2))
    };
    let found = shards.into_iter().map(|shard| match best(shard) {
        Some((_, _, _, address)) => Ok((shard, *address)),
        None => Err(Failure::Other(format!("no node that answers serves shard {shard}"))),
    });
    found.collect()
}
