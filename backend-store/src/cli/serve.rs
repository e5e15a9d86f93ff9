//! `serve` and `coordinate`: the processes of a cluster.

use std::future::pending;
use std::path::Path;

use redplane_protocol::NodeId;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Outcome, Registration};
use crate::service::config::{Config, Coordination};
use crate::service::schema::AppSet;
use crate::service::{coordination, server, supervisor};

/// Runs one node until it is told to stop.
pub(super) fn serve(path: &Path, node: u16, linked: Vec<Registration>) -> Result<Outcome, Failure> {
    let config = Config::load(path)?;
    supported(&config)?;
    if !config.nodes.contains_key(&NodeId(node)) {
        let nodes: Vec<String> = config.nodes.keys().map(|node| node.0.to_string()).collect();
        let nodes = nodes.join(", ");
        return Err(Failure::Usage(format!("{} has no node {node}; it has {nodes}", path.display())));
    }
    let apps = AppSet::load(&config, linked)?;
    server::run(&config, NodeId(node), apps).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Outcome::Well)
}

/// Runs the coordinator until it is told to stop.
pub(super) fn coordinate(path: &Path) -> Result<Outcome, Failure> {
    let config = Config::load(path)?;
    if matches!(config.coordination, Coordination::Etcd { .. }) {
        let message = format!("{} says kind = \"etcd\": then etcd is the coordinator", path.display());
        return Err(Failure::Usage(message));
    }
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stopped = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            supervisor::stopping();
        };
        let alive = async {
            supervisor::ready();
            let Some(every) = supervisor::watchdog_interval() else { return pending().await };
            let mut tick = tokio::time::interval(every);
            loop {
                tick.tick().await;
                supervisor::alive();
            }
        };
        tokio::select! {
            ended = coordination::coordinate(&config, stopped) => {
                ended.map_err(|error| Failure::Other(error.to_string()))?;
            }
            () = alive => {}
        }
        Ok(Outcome::Well)
    })
}

/// Gives a shard up.
pub(super) fn reset(path: &Path, shard: u16) -> Result<Outcome, Failure> {
    let config = Config::load(path)?;
    supported(&config)?;
    let reset = runtime()?.block_on(coordination::reset_shard(&config, shard));
    reset.map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Outcome::Well)
}

fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Says if this program lacks what a configuration asks for.
pub(super) fn supported(config: &Config) -> Result<(), Failure> {
    let etcd = matches!(config.coordination, Coordination::Etcd { .. });
    if etcd && !cfg!(feature = "etcd") {
        let message =
            "kind = \"etcd\" needs a program built with it: `cargo build -p backend-store --features etcd`";
        return Err(Failure::Other(message.to_owned()));
    }
    Ok(())
}
