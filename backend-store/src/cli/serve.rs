//! `serve` and `coordinate`: the processes of a cluster.

use std::path::Path;

use redplane_protocol::NodeId;

use super::{Failure, Outcome, Registration};
use crate::service::config::{Config, Coordination};
use crate::service::schema::AppSet;

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
    server::run(config, NodeId(node), apps).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Outcome::Well)
}

/// Runs the coordinator until it is told to stop.
pub(super) fn coordinate(path: &Path) -> Result<Outcome, Failure> {
    let config = Config::load(path)?;
    if matches!(config.coordination, Coordination::Etcd { .. }) {
        let message = format!("{} says kind = \"etcd\": then etcd is the coordinator", path.display());
        return Err(Failure::Usage(message));
    }
    coordination::coordinate(config).map_err(|error| Failure::Other(error.to_string()))?;
    Ok(Outcome::Well)
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

/// Why a process does not start yet.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not built yet")]
struct NotBuilt(&'static str);

/// Holds the place of `crate::service::server`.
mod server {
    use super::{AppSet, Config, NodeId, NotBuilt};

    pub(super) fn run(_config: Config, _node: NodeId, _apps: AppSet) -> Result<(), NotBuilt> {
        Err(NotBuilt("the server"))
    }
}

/// Holds the place of `crate::service::coordination::server`.
mod coordination {
    use super::{Config, NotBuilt};

    pub(super) fn coordinate(_config: Config) -> Result<(), NotBuilt> {
        Err(NotBuilt("the coordinator"))
    }
}
