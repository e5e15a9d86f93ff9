//! The page and the picture of the pipeline: the stations of the emitted NAT, in the order in which its ingress and its
//! egress apply them. Nothing here lists them, so what the guide shows is what the switch runs.

mod picture;
mod stations;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use super::diagnostics::upper_first;
use super::{Made, between_marks};
use stations::Station;

const PROGRAM: &str = "p4-out/nat/v1model/nat.p4";
const PAGE: &str = "guide/src/pipeline.md";
const PICTURE: &str = "guide/src/images/pipeline.svg";

/// Where the software switch does the same: station, source, function.
const COUNTERPARTS: &[(&str, &str, &str)] = &[
    ("intake", "redplane-sdk/src/pipeline.rs", "process"),
    ("checksums before", "redplane-sdk/src/packet/deparse.rs", "deparse"),
    ("checksums after", "redplane-sdk/src/packet/deparse.rs", "deparse"),
    ("locate", "redplane-protocol/src/slot.rs", "slot"),
    ("ticket", "redplane-protocol/src/slot.rs", "on_grant"),
    ("key", "redplane-protocol/src/slot.rs", "holds"),
    ("generation", "redplane-protocol/src/slot.rs", "holds"),
    ("lease", "redplane-protocol/src/slot.rs", "lookup"),
    ("value load", "redplane-protocol/src/slot.rs", "value"),
    ("value store", "redplane-protocol/src/slot.rs", "settle"),
    ("sequence", "redplane-protocol/src/slot.rs", "settle"),
    ("acknowledged", "redplane-protocol/src/slot.rs", "on_ack"),
    ("route", "redplane-sdk/src/pipeline/passage.rs", "route"),
    ("settle", "redplane-sdk/src/pipeline/passage.rs", "settle"),
    ("renewal", "redplane-protocol/src/slot.rs", "settle"),
    ("message", "redplane-sdk/src/pipeline/passage.rs", "react"),
    ("retransmit", "redplane-protocol/src/slot.rs", "poll_retransmit"),
    ("sweep", "redplane-protocol/src/slot.rs", "sweep"),
    ("store", "redplane-sdk/src/pipeline/passage.rs", "request"),
    ("dispatch", "redplane-sdk/src/pipeline/passage.rs", "deliver"),
    ("wrap", "redplane-sdk/src/pipeline/encapsulation.rs", "send"),
    ("copy", "redplane-protocol/src/slot.rs", "poll_retransmit"),
    ("clone", "redplane-protocol/src/slot.rs", "poll_retransmit"),
    ("truncate", "redplane-sdk/src/pipeline/encapsulation.rs", "send"),
    ("recirculate", "redplane-sdk/src/pipeline/passage.rs", "recirculate"),
];

/// The page with the table of today, and the picture.
pub(super) fn made(root: &Path) -> anyhow::Result<Vec<Made>> {
    let program = fs::read_to_string(root.join(PROGRAM)).with_context(|| format!("cannot read {PROGRAM}"))?;
    let ingress = stations::of(&program, "NatIngress")?;
    let egress = stations::of(&program, "NatEgress")?;
    let mut table = String::from("| station | for | what it does | in the software switch |\n");
    table.push_str("| --- | --- | --- | --- |\n");
    for station in ingress.iter().chain(&egress) {
        row(&mut table, root, station)?;
    }
    let picture = Made { path: PICTURE, text: picture::draw(&ingress, &egress) };
    Ok(vec![between_marks(root, PAGE, &table)?, picture])
}

fn row(table: &mut String, root: &Path, station: &Station) -> anyhow::Result<()> {
    let Station { name, when, what, .. } = station;
    let counterpart = if station.is_apps {
        "the handler itself".to_owned()
    } else {
        let known = COUNTERPARTS.iter().find(|(known, ..)| known == name);
        let (_, source, function) =
            known.with_context(|| format!("what is `{name}` in the software switch?"))?;
        let text = fs::read_to_string(root.join(source)).with_context(|| format!("cannot read {source}"))?;
        let is_there =
            [format!("fn {function}("), format!("fn {function}<")].iter().any(|start| text.contains(start));
        ensure!(is_there, "{source} has no function `{function}`, which does what `{name}` does");
        let file = source.rsplit('/').next().unwrap_or(source);
        format!("`{function}` in [{file}]({}/{source})", super::REPOSITORY)
    };
    let when = if when.is_empty() { "every frame".to_owned() } else { when.join("; ") };
    writeln!(table, "| {name} | {when} | {} | {counterpart} |", upper_first(what))?;
    Ok(())
}
