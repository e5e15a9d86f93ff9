//! The nodes of a cluster, and who listens where.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::time::Duration;

use redplane_protocol::NodeId;

use super::mistake::Mistake;
use super::table::{self, At, Section};
use super::{Coordination, NodeAddresses};
use crate::settings::NODES_MAX;

/// Who listens at an address, and where that is written.
struct Listener {
    what: String,
    at: Range<usize>,
}

/// Everybody who listens. UDP and TCP do not meet.
#[derive(Default)]
struct Listeners {
    udp: BTreeMap<SocketAddr, Listener>,
    tcp: BTreeMap<SocketAddr, Listener>,
}

/// The nodes. `shards` is `None` if their number is wrong: then the lengths of lists are not judged.
pub(super) fn read(
    root: &mut Section<'_>,
    shards: Option<u16>,
    coordination: Option<&(At<Coordination>, Duration)>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<NodeId, NodeAddresses> {
    let mut listeners = Listeners::default();
    if let Some((At { value: Coordination::Static { address, .. }, at }, _)) = coordination {
        let listener = Listener { what: "the coordinator".to_owned(), at: at.clone() };
        listeners.udp.insert(SocketAddr::V4(*address), listener);
    }
    let mut nodes: BTreeMap<NodeId, (NodeAddresses, Range<usize>)> = BTreeMap::new();
    let sections = root.sections("node", mistakes);
    if sections.is_empty() && !root.has("node") {
        root.missing("node", "a [[node]] for each node: id, requests, chain", mistakes);
    }
    if sections.len() > usize::from(NODES_MAX) {
        let at = sections[usize::from(NODES_MAX)].at.clone();
        mistakes.push(Mistake::new(at, format!("{} nodes, at most {NODES_MAX}", sections.len())));
    }
    for section in sections {
        let Some((id, addresses)) = node(section, shards, &mut listeners, mistakes) else { continue };
        let node = NodeId(id.value as u16);
        if let Some((_, first)) = nodes.get(&node) {
            let mistake = Mistake::new(id.at, format!("two nodes have the number {}", node.0));
            mistakes.push(mistake.see(first.clone(), "the other"));
            continue;
        }
        nodes.insert(node, (addresses, id.at));
    }
    nodes.into_iter().map(|(id, (addresses, _))| (id, addresses)).collect()
}

fn node(
    mut section: Section<'_>,
    shards: Option<u16>,
    listeners: &mut Listeners,
    mistakes: &mut Vec<Mistake>,
) -> Option<(At<u64>, NodeAddresses)> {
    let id = section.number("id", 0..=u64::from(u16::MAX), mistakes);
    if id.is_none() && !section.has("id") {
        section.missing("id", "its number in the cluster, from zero", mistakes);
    }
    let name = id.as_ref().map_or("this node".to_owned(), |id| format!("node {}", id.value));
    let requests = shard_addresses(&mut section, "requests", shards, mistakes);
    let chain = shard_addresses(&mut section, "chain", shards, mistakes);
    // One is enough of ports in a row.
    if let Some(address) = chain.iter().find(|address| address.value.ip().is_unspecified()) {
        let message = "`chain` is every address of a machine, so other nodes do not know where to send";
        mistakes.push(Mistake::new(address.at.clone(), message).help("write the one that they reach"));
    }
    for (key, addresses) in [("requests", &requests), ("chain", &chain)] {
        for (shard, address) in addresses.iter().enumerate() {
            let what = format!("{name}, `{key}` of shard {shard}");
            occupy(&mut listeners.udp, SocketAddr::V4(address.value), what, &address.at, mistakes);
        }
    }
    let admin = admin(&mut section, &name, listeners, mistakes);
    section.finish(mistakes);
    let plain =
        |addresses: Vec<At<SocketAddrV4>>| addresses.into_iter().map(|address| address.value).collect();
    Some((id?, NodeAddresses { requests: plain(requests), chain: plain(chain), admin }))
}

/// One address a shard: a list, or the first of as many ports in a row. Empty if it is wrong.
fn shard_addresses(
    section: &mut Section<'_>,
    key: &'static str,
    shards: Option<u16>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<At<SocketAddrV4>> {
    let Some(value) = section.value(key) else {
        section.missing(key, "an address: shard n is at its port + n; or a list with one a shard", mistakes);
        return Vec::new();
    };
    if let Some(list) = value.get_ref().as_array() {
        let addresses: Vec<_> =
            list.iter().filter_map(|value| table::address(key, value, mistakes)).collect();
        if let Some(shards) = shards.filter(|shards| usize::from(*shards) != list.len()) {
            let message = format!("`{key}` has {}, and there are {shards} shards", count(list.len()));
            let help = "one address a shard, or one alone: then shard n is at its port + n";
            mistakes.push(Mistake::new(value.span(), message).help(help));
        }
        return addresses;
    }
    let Some(first) = table::address(key, value, mistakes) else { return Vec::new() };
    let shards = shards.unwrap_or(1);
    if first.value.port().checked_add(shards - 1).is_none() {
        let message = format!("`{key}` starts at port {}, too high for {shards} ports", first.value.port());
        mistakes.push(Mistake::new(first.at, message).help("shard n is at the port + n"));
        return Vec::new();
    }
    let at_shard = |shard| SocketAddrV4::new(*first.value.ip(), first.value.port() + shard);
    (0..shards).map(|shard| At { value: at_shard(shard), at: first.at.clone() }).collect()
}

fn count(addresses: usize) -> String {
    if addresses == 1 { "1 address".to_owned() } else { format!("{addresses} addresses") }
}

fn admin(
    section: &mut Section<'_>,
    node: &str,
    listeners: &mut Listeners,
    mistakes: &mut Vec<Mistake>,
) -> Option<SocketAddr> {
    let public = section.boolean("admin_public", mistakes);
    let text = section.text("admin", mistakes)?;
    let Ok(address) = text.value.parse::<SocketAddr>() else {
        let message = format!("`admin` is no address with a port: \"{}\"", text.value);
        mistakes.push(Mistake::new(text.at, message).help("write it as in \"127.0.0.1:9090\""));
        return None;
    };
    if !address.ip().is_loopback() && !public {
        let message = format!("`admin` is {}, where others than this machine reach it", address.ip());
        let help = "it has no password: take 127.0.0.1, or say `admin_public = true` in this [[node]]";
        mistakes.push(Mistake::new(text.at.clone(), message).help(help));
    }
    occupy(&mut listeners.tcp, address, format!("{node}, `admin`"), &text.at, mistakes);
    Some(address)
}

/// Says it if there is a listener already. Every address of a machine is another on every machine.
fn occupy(
    listeners: &mut BTreeMap<SocketAddr, Listener>,
    address: SocketAddr,
    what: String,
    at: &Range<usize>,
    mistakes: &mut Vec<Mistake>,
) {
    if address.ip().is_unspecified() {
        return;
    }
    if let Some(first) = listeners.get(&address) {
        let message = format!("two listeners at {address}: {} and {what}", first.what);
        // One is enough: with ports in a row each of them would be said.
        let said = mistakes.iter().any(|mistake| mistake.offset() == at.start);
        if !said {
            mistakes.push(Mistake::new(at.clone(), message).see(first.at.clone(), "the other"));
        }
        return;
    }
    listeners.insert(address, Listener { what, at: at.clone() });
}
