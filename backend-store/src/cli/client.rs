//! The operator's side of the admin ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{CONFIG_DEFAULT, Failure};
use crate::service::config::Config;
use crate::service::question::NodeStatus;

/// For how long a node is waited for: longer than the second in which a silent shard is noticed.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Longest answer that is read: a page of the longest records is a small part of it.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Which nodes to ask.
#[derive(Debug, clap::Args)]
pub(super) struct NodesArgument {
    /// Configuration of the cluster: every node in it that has an `admin` address is asked.
    #[arg(long, default_value = CONFIG_DEFAULT)]
    config: PathBuf,
    /// Ask this admin address instead of those of the configuration; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    admin: Vec<SocketAddr>,
}

/// A node and what it said.
pub(super) struct Answer {
    /// As it is called in messages.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// What it said, or why it said nothing.
    pub(super) status: Result<NodeStatus, String>,
}

/// The nodes that are asked.
pub(super) struct Client {
    agent: ureq::Agent,
    nodes: Vec<(String, SocketAddr)>,
}

impl Client {
    pub(super) fn new(argument: &NodesArgument) -> Result<Self, Failure> {
        let mut nodes: Vec<(String, SocketAddr)> =
            argument.admin.iter().map(|address| (address.to_string(), *address)).collect();
        if nodes.is_empty() {
            let config = Config::load(&argument.config)?;
            let known = config.nodes.iter().filter_map(|(id, node)| Some((id.to_string(), node.admin?)));
            nodes.extend(known);
        }
        if nodes.is_empty() {
            let file = argument.config.display();
            return Err(Failure::Other(format!("no [[node]] of {file} has an `admin` address to ask")));
        }
        let settings =
            ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).http_status_as_error(false);
        Ok(Self { agent: settings.build().new_agent(), nodes })
    }

    /// Asks all nodes at once. The answers are in the order of the nodes.
    pub(super) fn statuses(&self) -> Vec<Answer> {
        let ask = |(name, address): &(String, SocketAddr)| Answer {
            name: name.clone(),
            address: *address,
            status: self.get(*address, "/status"),
        };
        thread::scope(|scope| {
            let asked: Vec<_> = self.nodes.iter().map(|node| scope.spawn(move || ask(node))).collect();
            asked.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    }

    /// Reads JSON from a node.
    pub(super) fn get<T: DeserializeOwned>(&self, address: SocketAddr, path: &str) -> Result<T, String> {
        let mut response =
            self.agent.get(format!("http://{address}{path}")).call().map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        if !status.is_success() {
            let error: BTreeMap<String, String> = body.read_json().unwrap_or_default();
            return Err(error.get("error").cloned().unwrap_or_else(|| format!("it answered {status}")));
        }
        body.read_json().map_err(|error| format!("its answer cannot be read: {error}"))
    }
}
