//! What the nodes read.

use std::fmt::Write;
use std::net::SocketAddrV4;

use redplane_protocol::Fixed;
use redplane_sdk::App;
use serde_json::json;

use super::{Addresses, Coordinator, Plan};
use crate::app::tally;
use crate::{DRIFT_MARGIN_PER_MILLE, LEASE};

/// Most records that a shard takes in: all keys of the largest drill, however unevenly they are spread.
pub(super) const RECORDS_MAX: u32 = 2_000_000;

/// How many new keys a second are let in.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// From one switch.
    pub per_switch: u32,
}

/// A cluster's configuration, as one of its nodes is to see it.
pub(super) fn config(plan: &Plan, seen: &[Addresses], coordinator: &str) -> String {
    let (kind, at) = match plan.coordinator {
        Coordinator::Static => {
            ("static", format!("address = \"{coordinator}\"\nstate = \"coordinator.json\""))
        }
        Coordinator::Etcd => ("etcd", format!("endpoints = [\"http://{coordinator}\"]")),
    };
    let detection = match plan.coordinator {
        Coordinator::Static => format!("{}ms", plan.detection.as_millis()),
        Coordinator::Etcd => format!("{}s", plan.detection.as_secs().max(1)),
    };
    let mut text = format!(
        "cluster = \"chaos\"\nshards = {}\nlease = \"{}ms\"\ndrift_margin_per_mille = {DRIFT_MARGIN_PER_MILLE}\n\n\
         [coordination]\nkind = \"{kind}\"\n{at}\ndetection = \"{detection}\"\n\n[workers]\nthreads = 1\n",
        plan.shards,
        LEASE.as_millis(),
    );
    for (id, node) in seen.iter().enumerate() {
        let (requests, chain) = (list(&node.requests), list(&node.chain));
        let _ = write!(text, "\n[[node]]\nid = {id}\nrequests = {requests}\nchain = {chain}\n");
    }
    if plan.durable {
        text += "\n[durability]\npath = \"journal\"\n";
    }
    text += "\n[[app]]\nschema = [\"schema.json\"]\n";
    if let Some(Admission { per_switch }) = plan.admission {
        let _ = writeln!(text, "admission = {{ per_switch = {per_switch} }}");
    }
    let _ = write!(text, "\n[limits]\nrecords_per_shard = {RECORDS_MAX}\n");
    for (at, address) in plan.switches.iter().enumerate() {
        let _ = write!(text, "\n[[switch]]\nid = {}\naddress = \"{address}\"\n", at + 1);
    }
    text
}

fn list(addresses: &[SocketAddrV4]) -> String {
    let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

/// The app's schema, as the compiler would emit it.
pub(super) fn schema() -> serde_json::Value {
    let (key_len, value_len) = (<tally::App as App>::Key::LEN, <tally::App as App>::State::LEN);
    let field =
        |name: &str, kind: &str| json!({ "name": name, "type": kind, "offset": 0, "bytes": 4, "bits": 32 });
    json!({
        "app": tally::App::NAME, "id": tally::App::ID, "fingerprint": format!("{:#06x}", tally::App::FINGERPRINT),
        "program": format!("{:#018x}", tally::App::IR_HASH), "source": "redplane-chaos/src/app.rs",
        "slots": tally::App::SLOTS, "idle_ms": crate::app::idle().as_millis() as u64, "on_create": null,
        "wire": {
            "udp_port": 21_072, "version": 1, "key_offset": 30, "value_offset": 30 + key_len,
            "frame_offset": 30 + key_len + value_len,
        },
        "key": {
            "name": "Receiver", "docs": "Who is sent to.", "bytes": key_len, "fields": [field("addr", "ipv4")],
        },
        "value": {
            "name": "Tally", "docs": "What was counted.", "bytes": value_len, "fields": [field("packets", "u32")],
        },
        "drop_reasons": ["not_ipv4", "no_ports"],
    })
}
