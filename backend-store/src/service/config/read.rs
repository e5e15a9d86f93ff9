//! From the TOML file to a [`Config`], or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

use redplane_protocol::Lease;
use redplane_protocol::mac::{MAC_KEY_LEN, MAC_KEYS_MAX, parse_key};
use toml::de::DeTable;

use super::mistake::{ConfigError, Mistake};
use super::table::{self, At, ROOT, Section};
use super::{Config, Coordination, Durability, SwitchAddress, apps, nodes};
use crate::settings::SHARDS_MAX;

/// Longest configuration file: a thousand nodes and switches are far below it, and a wrong path that names a disk image
/// is refused before it is read.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Most threads for shards in one node: more than any machine has cores that a store could use.
pub const THREADS_MAX: usize = 256;

/// Records that a shard takes in if nothing is said: some hundred bytes each, so well below a gigabyte.
pub const RECORDS_PER_SHARD_DEFAULT: usize = 1_000_000;

/// Most records of a shard: what a large machine's memory holds.
const RECORDS_PER_SHARD_MAX: u64 = 1_000_000_000;

/// After what time without a sign of life a node is dead, if nothing is said. Some lost heartbeats and a pause of the
/// scheduler are shorter.
const DETECTION_DEFAULT: Duration = Duration::from_millis(500);

/// Shortest detection: a heartbeat, its answer, and what an idle machine's scheduler takes, several times over.
const DETECTION_MIN: Duration = Duration::from_millis(20);

/// Longest detection: for that long nobody writes after a failure.
const DETECTION_MAX: Duration = Duration::from_secs(60);

/// Longest name of a cluster: it is part of names of files and of keys in etcd.
const CLUSTER_LEN_MAX: usize = 64;

impl Config {
    /// Reads the configuration of a cluster. Paths in it are relative to the file.
    ///
    /// # Errors
    /// If the file cannot be read, or with everything in it that cannot be.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > CONFIG_BYTES_MAX {
            let message = format!("longer than {CONFIG_BYTES_MAX} bytes");
            return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, message)));
        }
        Self::parse(&text, path)
    }

    /// Reads a configuration out of `text`, which came from the file at `path`.
    ///
    /// # Errors
    /// With everything that cannot be.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut mistakes = Vec::new();
        let mut secrets = Vec::new();
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            mistakes.push(Mistake::new(error.span().unwrap_or(0..0), error.message()));
        }
        if mistakes.is_empty() {
            let top = 0..text.lines().next().map_or(0, str::len);
            let section = Section::new(ROOT, root.get_ref(), top);
            let folder = path.parent().unwrap_or(Path::new(""));
            let config = read(section, folder, &mut secrets, &mut mistakes);
            if let Some(config) = config.filter(|_| mistakes.is_empty()) {
                return Ok(config);
            }
        }
        Err(ConfigError::new(path.to_path_buf(), text, &secrets, mistakes))
    }
}

/// `None` only if there are mistakes.
fn read(
    mut root: Section<'_>,
    folder: &Path,
    secrets: &mut Vec<Range<usize>>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Config> {
    let cluster = cluster(&mut root, mistakes);
    let written =
        root.number("shards", 1..=u64::from(SHARDS_MAX), mistakes).map(|shards| shards.value as u16);
    // If it is wrong, that was said, and nothing else is judged by it.
    let shards_known = if root.has("shards") { written } else { Some(1) };
    let shards = shards_known.unwrap_or(1);
    let lease = lease(&mut root, mistakes);
    let coordination = coordination(&mut root, folder, mistakes);
    let nodes = nodes::read(&mut root, shards_known, coordination.as_ref(), mistakes);
    let (threads, gso) = workers(&mut root, shards, mistakes);
    let durability = durability(&mut root, folder, shards_known, mistakes);
    let apps = apps::read(&mut root, folder, mistakes);
    let records_per_shard = limits(&mut root, mistakes);
    let switches = switches(&mut root, mistakes);
    let authentication = authentication(&mut root, secrets, mistakes);
    if switches.is_empty() && authentication.is_empty() && !root.has("switch") && !root.has("authentication")
    {
        let message = "the file has neither [[switch]] nor [authentication]: nobody would be served";
        let help = "name the switches that are served, or give a key that all messages are signed with";
        mistakes.push(Mistake::new(root.at.clone(), message).help(help));
    }
    root.finish(mistakes);
    let (coordination, detection) = coordination?;
    Some(Config {
        cluster: cluster?,
        shards,
        lease: lease?,
        coordination: coordination.value,
        detection,
        nodes,
        threads,
        gso,
        durability: durability?,
        apps,
        records_per_shard,
        switches,
        authentication,
    })
}

fn cluster(root: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let Some(name) = root.text("cluster", mistakes) else {
        if !root.has("cluster") {
            root.missing(
                "cluster",
                "give it a name, so that nodes and files of two clusters do not mix",
                mistakes,
            );
        }
        return None;
    };
    let legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.value.is_empty() || name.value.len() > CLUSTER_LEN_MAX || !name.value.chars().all(legal) {
        let help = format!("1 to {CLUSTER_LEN_MAX} letters, digits, `-`, `_` and `.`");
        mistakes.push(Mistake::new(name.at, "`cluster` is not a name").help(help));
        return None;
    }
    Some(name.value.to_owned())
}

fn lease(root: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> Option<Lease> {
    let before = mistakes.len();
    let written = root.duration("lease", mistakes);
    let margin = root.number("drift_margin_per_mille", 0..=999, mistakes);
    if mistakes.len() > before {
        return None;
    }
    let default = Lease::default();
    let at = written.as_ref().map_or(root.at.clone(), |lease| lease.at.clone());
    let duration = written.map_or(default.duration(), |lease| lease.value);
    let margin_value = margin.as_ref().map_or(default.drift_margin_per_mille(), |margin| margin.value as u16);
    Lease::new(duration, margin_value)
        .map_err(|error| {
            let mistake = Mistake::new(at, error.to_string());
            mistakes.push(match margin {
                Some(margin) => mistake.see(margin.at, "with this margin"),
                None => mistake,
            });
        })
        .ok()
}

/// Who decides, where that is written, and the detection time.
type ReadCoordination = (At<Coordination>, Duration);

fn coordination(
    root: &mut Section<'_>,
    folder: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<ReadCoordination> {
    let Some(mut section) = root.section("coordination", mistakes) else {
        if !root.has("coordination") {
            let help = "without it nobody decides which nodes form a chain: kind = \"static\" or \"etcd\"";
            root.missing("coordination", help, mistakes);
        }
        return None;
    };
    let before = mistakes.len();
    let detection = detection(&mut section, mistakes);
    let coordination = match section.text("kind", mistakes) {
        Some(kind) if kind.value == "static" => static_coordination(&mut section, folder, mistakes),
        Some(kind) if kind.value == "etcd" => {
            whole_seconds(&detection, mistakes);
            etcd_coordination(&mut section, mistakes)
        }
        Some(kind) => {
            let message = format!("`kind` is \"{}\"", kind.value);
            mistakes.push(Mistake::new(kind.at, message).help("\"static\" or \"etcd\""));
            return None;
        }
        None => {
            if !section.has("kind") {
                section.missing("kind", "\"static\" or \"etcd\"", mistakes);
            }
            return None;
        }
    };
    section.finish(mistakes);
    let coordination = coordination.filter(|_| mistakes.len() == before)?;
    Some((coordination, detection.value))
}

fn detection(section: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> At<Duration> {
    let default = At { value: DETECTION_DEFAULT, at: section.at.clone() };
    let detection = section.duration("detection", mistakes).unwrap_or(default);
    if !(DETECTION_MIN..=DETECTION_MAX).contains(&detection.value) {
        let message =
            format!("a detection time of {:?}, not {DETECTION_MIN:?} to {DETECTION_MAX:?}", detection.value);
        mistakes.push(Mistake::new(detection.at.clone(), message));
    }
    detection
}

fn whole_seconds(detection: &At<Duration>, mistakes: &mut Vec<Mistake>) {
    if detection.value.subsec_nanos() != 0 {
        let message = format!("a detection time of {:?} with etcd", detection.value);
        let help = "a lease of etcd has whole seconds: detection = \"1s\" or more";
        mistakes.push(Mistake::new(detection.at.clone(), message).help(help));
    }
}

fn static_coordination(
    section: &mut Section<'_>,
    folder: &Path,
    mistakes: &mut Vec<Mistake>,
) -> Option<At<Coordination>> {
    let state = section.text("state", mistakes).map_or("coordinator.json", |state| state.value);
    let Some(value) = section.value("address") else {
        section.missing(
            "address",
            "where `redplane-store coordinate` listens: address = \"10.0.0.1:21100\"",
            mistakes,
        );
        return None;
    };
    let address = table::address("address", value, mistakes)?;
    if address.value.ip().is_unspecified() {
        let message = "`address` is every address of a machine, so nodes do not know where to send";
        mistakes.push(Mistake::new(address.at, message).help("write the one that the nodes reach"));
        return None;
    }
    let state = folder.join(state);
    Some(address.map(|address| Coordination::Static { address, state }))
}

fn etcd_coordination(section: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> Option<At<Coordination>> {
    let Some(value) = section.value("endpoints") else {
        let help = "where etcd listens for clients: endpoints = [\"http://127.0.0.1:2379\"]";
        section.missing("endpoints", help, mistakes);
        return None;
    };
    let mut endpoints = Vec::new();
    for value in table::elements(value) {
        let endpoint = table::text("endpoints", value, mistakes)?;
        if !(endpoint.value.starts_with("http://") || endpoint.value.starts_with("https://")) {
            let message = format!("\"{}\" is no endpoint of etcd", endpoint.value);
            mistakes.push(Mistake::new(endpoint.at, message).help("as in \"http://127.0.0.1:2379\""));
            return None;
        }
        endpoints.push(endpoint.value.to_owned());
    }
    if endpoints.is_empty() {
        mistakes.push(Mistake::new(value.span(), "`endpoints` is empty"));
        return None;
    }
    Some(At { value: Coordination::Etcd { endpoints }, at: value.span() })
}

/// Threads, and whether they send with segmentation offload.
fn workers(root: &mut Section<'_>, shards: u16, mistakes: &mut Vec<Mistake>) -> (usize, bool) {
    let machine = thread::available_parallelism().map_or(1, usize::from);
    let default = machine.min(usize::from(shards)).clamp(1, THREADS_MAX);
    let Some(mut section) = root.section("workers", mistakes) else { return (default, true) };
    let threads = section.number("threads", 1..=THREADS_MAX as u64, mistakes);
    let gso = section.value("gso").is_none() || section.boolean("gso", mistakes);
    section.finish(mistakes);
    (threads.map_or(default, |threads| threads.value as usize), gso)
}

/// `None` if it is wrong.
fn durability(
    root: &mut Section<'_>,
    folder: &Path,
    shards: Option<u16>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Option<Durability>> {
    let Some(mut section) = root.section("durability", mistakes) else { return Some(None) };
    let path = section.text("path", mistakes);
    if path.is_none() && !section.has("path") {
        section.missing("path", "the folder of the journals: path = \"/var/lib/redplane\"", mistakes);
    }
    let mut durable: Vec<u16> = Vec::new();
    match section.value("shards") {
        None => durable.extend(0..shards.unwrap_or(1)),
        Some(value) => {
            let last = shards.unwrap_or(SHARDS_MAX) - 1;
            for value in table::elements(value) {
                let Some(shard) = table::number("shards", value, 0..=u64::from(last), mistakes) else {
                    continue;
                };
                if durable.contains(&(shard.value as u16)) {
                    mistakes.push(Mistake::new(shard.at, format!("shard {} is listed twice", shard.value)));
                    continue;
                }
                durable.push(shard.value as u16);
            }
        }
    }
    section.finish(mistakes);
    durable.sort_unstable();
    Some(Some(Durability { path: folder.join(path?.value), shards: durable }))
}

fn limits(root: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> usize {
    let Some(mut section) = root.section("limits", mistakes) else { return RECORDS_PER_SHARD_DEFAULT };
    let records = section.number("records_per_shard", 1..=RECORDS_PER_SHARD_MAX, mistakes);
    section.finish(mistakes);
    records.map_or(RECORDS_PER_SHARD_DEFAULT, |records| records.value as usize)
}

fn switches(root: &mut Section<'_>, mistakes: &mut Vec<Mistake>) -> BTreeMap<u16, SwitchAddress> {
    let mut switches: BTreeMap<u16, (SwitchAddress, Range<usize>)> = BTreeMap::new();
    for mut section in root.sections("switch", mistakes) {
        let id = section.number("id", 0..=u64::from(u16::MAX), mistakes);
        if id.is_none() && !section.has("id") {
            section.missing("id", "the switch's number, as it is configured there", mistakes);
        }
        let address = section.text("address", mistakes);
        if address.is_none() && !section.has("address") {
            section.missing("address", "from where it sends: address = \"10.0.0.1\"", mistakes);
        }
        let address = address.and_then(|address| switch_address(&address, mistakes));
        section.finish(mistakes);
        let (Some(id), Some(address)) = (id, address) else { continue };
        if let Some((_, first)) = switches.get(&(id.value as u16)) {
            let mistake = Mistake::new(id.at, format!("two switches have the number {}", id.value));
            mistakes.push(mistake.see(first.clone(), "the other"));
            continue;
        }
        switches.insert(id.value as u16, (address, id.at));
    }
    switches.into_iter().map(|(id, (address, _))| (id, address)).collect()
}

fn switch_address(text: &At<&str>, mistakes: &mut Vec<Mistake>) -> Option<SwitchAddress> {
    let (ip, port) = match text.value.rsplit_once(':') {
        Some((ip, port)) => (ip, Some(port)),
        None => (text.value, None),
    };
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0));
    match (ip.parse(), port) {
        (Ok(ip), None) => Some(SwitchAddress { ip, port: None }),
        (Ok(ip), Some(Some(port))) => Some(SwitchAddress { ip, port: Some(port) }),
        _ => {
            let message = format!("`address` is no IPv4 address: \"{}\"", text.value);
            let help = "as in \"10.0.0.1\", or \"10.0.0.1:21072\" if only that port is right";
            mistakes.push(Mistake::new(text.at.clone(), message).help(help));
            None
        }
    }
}

fn authentication(
    root: &mut Section<'_>,
    secrets: &mut Vec<Range<usize>>,
    mistakes: &mut Vec<Mistake>,
) -> Vec<[u8; MAC_KEY_LEN]> {
    let Some(mut section) = root.section("authentication", mistakes) else { return Vec::new() };
    let mut keys: Vec<At<[u8; MAC_KEY_LEN]>> = Vec::new();
    match section.value("keys") {
        None => section.missing("keys", "one or two keys of 32 hex digits; the first signs", mistakes),
        Some(list) => {
            let values = table::elements(list);
            secrets.extend(values.iter().map(|value| value.span()));
            if !(1..=MAC_KEYS_MAX).contains(&values.len()) {
                let message = format!("{} keys, not 1 to {MAC_KEYS_MAX}", values.len());
                let help = "two are live while keys are changed: the new one first, then without the old one";
                mistakes.push(Mistake::new(list.span(), message).help(help));
            }
            for value in values {
                let Some(key) = key(value, mistakes) else { continue };
                if let Some(first) = keys.iter().find(|other| other.value == key.value) {
                    let mistake = Mistake::new(key.at, "the same key twice");
                    mistakes.push(mistake.see(first.at.clone(), "the other"));
                    continue;
                }
                keys.push(key);
            }
        }
    }
    section.finish(mistakes);
    keys.into_iter().map(|key| key.value).collect()
}

fn key(value: &table::Value<'_>, mistakes: &mut Vec<Mistake>) -> Option<At<[u8; MAC_KEY_LEN]>> {
    let text = table::text("keys", value, mistakes)?;
    match parse_key(text.value) {
        Ok(key) => Some(text.map(|_| key)),
        Err(error) => {
            let help = "make one with `openssl rand -hex 16`";
            mistakes.push(Mistake::new(text.at, error.to_string()).help(help));
            None
        }
    }
}
