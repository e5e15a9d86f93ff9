//! The programs that read what is emitted: p4c for the control plane's names, tshark for the dissector.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use redplane_codegen::{dissector, entries, target};
use serde_json::Value;

use crate::golden::{CASES, app, p4c};

/// The `name` of each member of a list.
fn names(list: &Value) -> BTreeSet<String> {
    let names = list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str());
    names.map(str::to_owned).collect()
}

fn field(item: &Value, name: &str) -> String {
    item[name].as_str().unwrap_or_else(|| panic!("no {name}: {item}")).to_owned()
}

#[test]
fn entries_name_what_p4c_knows() {
    for case in CASES {
        let (app, source) = app(case);
        let name = format!("entries_{case}");
        if p4c(&name, &target::v1model::render(&app, &source)).is_none() {
            return;
        }
        let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
        let compiled: Value = serde_json::from_str(&fs::read_to_string(compiled).expect("p4c wrote it"))
            .expect("p4c writes JSON");
        let entries: Value = serde_json::from_str(&entries::render(&app)).expect("entries are JSON");
        let (tables, actions) = (names(&compiled["pipelines"][0]["tables"]), &compiled["actions"]);
        for table in ["defaults", "tables"].iter().flat_map(|list| entries[list].as_array()).flatten() {
            assert!(tables.contains(&field(table, "table")), "{case}: no table {table}");
            let action = field(table, "action");
            let known =
                actions.as_array().into_iter().flatten().find(|known| known["name"] == action.as_str());
            let parameters = &known.unwrap_or_else(|| panic!("{case}: no action {action}"))["runtime_data"];
            let widths = |list: &Value, width: &str| -> Vec<(String, u64)> {
                let items = list.as_array().into_iter().flatten();
                items.map(|item| (field(item, "name"), item[width].as_u64().expect("a width"))).collect()
            };
            assert_eq!(
                widths(&table["parameters"], "bits"),
                widths(parameters, "bitwidth"),
                "{case}: {action}"
            );
        }
        for set in entries["value_sets"].as_array().into_iter().flatten() {
            assert!(names(&compiled["parse_vsets"]).contains(&field(set, "value_set")), "{case}: {set}");
        }
        for counter in entries["counters"].as_array().into_iter().flatten() {
            let known = compiled["counter_arrays"].as_array().into_iter().flatten();
            let size = known
                .filter(|known| known["name"] == counter["counter"])
                .find_map(|known| known["size"].as_u64());
            let named = counter["names"].as_array().map_or(0, Vec::len);
            assert_eq!(size, u64::try_from(named).ok(), "{case}: a name for each counter");
        }
    }
}

/// An Ethernet frame with this UDP payload between the store and a switch, checksums left out.
fn udp(payload: &[u8]) -> Vec<u8> {
    let (udp_bytes, ip_bytes) = (payload.len() + 8, payload.len() + 28);
    let mut frame = vec![2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 0xaa, 0x08, 0x00];
    frame.extend([0x45, 0]);
    frame.extend(u16::try_from(ip_bytes).expect("a short packet").to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 200, 10, 0, 0, 254]);
    frame.extend([0x52, 0x50, 0x52, 0x50]);
    frame.extend(u16::try_from(udp_bytes).expect("a short packet").to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// A capture file of these frames (the classic pcap format, link type Ethernet).
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(0xa1b2_c3d4_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0]);
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
        file.extend([0; 8]);
        file.extend(length);
        file.extend(length);
        file.extend(frame);
    }
    file
}

/// A GRANT of the NAT, its key and its value, by the wire format's offsets.
fn grant(fingerprint: u16) -> Vec<u8> {
    let mut message = vec![1, 17, 0, 0, 0, 1];
    message.extend(fingerprint.to_be_bytes());
    message.extend([0, 7, 0, 3, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 4, 210, 0, 1]);
    message.extend([10, 1, 0, 5, 0x04, 0x57, 17]);
    message.extend([203, 0, 113, 1, 0x9c, 0x40]);
    message
}

#[test]
fn tshark_reads_every_field_and_the_carried_frame() {
    let (app, source) = app("nat");
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (script, capture) = (scratch.join("redplane_nat.lua"), scratch.join("nat.pcap"));
    fs::write(&script, dissector::render(&app, &source)).expect("the scratch directory can be written");
    let fingerprint = redplane_codegen::fingerprint(&app);
    let mut carried = udp(b"carried");
    carried[34..38].fill(99); // ports that nobody has
    let carrying = [grant(fingerprint), carried].concat();
    let short = grant(fingerprint)[..33].to_vec();
    let other_layout = grant(!fingerprint);
    let mut other_version = grant(fingerprint);
    other_version[0] = 2;
    let frames: Vec<Vec<u8>> = [carrying, short, other_layout, other_version, vec![1; 12]]
        .iter()
        .map(|payload| udp(payload))
        .collect();
    fs::write(&capture, pcap(&frames)).expect("the scratch directory can be written");
    let fields = [
        "redplane.kind",
        "redplane.sequence",
        "redplane.nat.key.addr",
        "redplane.nat.key.port",
        "redplane.nat.value.addr",
        "redplane.nat.value.port",
        "eth.src",
        "_ws.expert.message",
    ];
    let mut tshark = Command::new("tshark");
    tshark.arg("-X").arg(format!("lua_script:{}", script.display())).arg("-r").arg(&capture);
    tshark.args(["-T", "fields", "-E", "separator=;"]).args(fields.iter().flat_map(|field| ["-e", *field]));
    let Ok(output) = tshark.output() else {
        crate::common::skipped("tshark not found");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Lua"), "{said}");
    let read = String::from_utf8_lossy(&output.stdout).into_owned();
    let store = "02:00:00:00:00:aa";
    let expected = [
        format!("17;9;10.1.0.5;1111;203.0.113.1;40000;{store},{store};"),
        format!("17;9;;;;;{store};ends within the key or the state"),
        format!("17;9;;;;;{store};of another layout than this dissector's"),
        format!(";;;;;;{store};unknown version"),
        format!(";;;;;;{store};shorter than its header"),
    ];
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
}
