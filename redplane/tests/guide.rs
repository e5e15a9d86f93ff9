//! What the guide says of a switch's and a testbed's files is what reads them.

use std::collections::BTreeSet;
use std::path::Path;

use redplane::authentication::AuthenticationFile;
use redplane::switch::config::{PortFile, RouteFile, StoreFile, SwitchFile};
use redplane::switch::metrics;
use redplane::testbed::topology::{CableFile, Side, Topology};
use redplane::testbed::wire::Impairment;
use serde::de::DeserializeOwned;

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/src").join(name);
    std::fs::read_to_string(path).expect("the guide has the page")
}

#[test]
fn the_switch_of_the_guide_is_one() {
    let page = page("interfaces.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).collect();
    for block in &blocks {
        let text = block.split("```").next().expect("a block ends");
        let file: SwitchFile = toml::from_str(text).expect("it is the file of a switch");
        file.pipeline(1, 9000).expect("it can be");
        file.tables::<apps::nat::App>().expect("its tables are the NAT's");
    }
    assert!(!blocks.is_empty());
}

/// The page lists what is served. With `UPDATE_GOLDEN=1` the list is written anew.
#[test]
fn every_metric_is_in_the_guide() {
    let (start, end) = ("<!-- metrics: generated -->\n", "<!-- end of metrics -->\n");
    let page = page("interfaces.md");
    let (before, rest) = page.split_once(start).expect("the page has the marker");
    let (_, after) = rest.split_once(end).expect("the page has the other marker");
    let today = format!("{before}{start}{}{end}{after}", metrics::table());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guide/src/interfaces.md");
        return std::fs::write(path, today).expect("it is written");
    }
    assert!(page == today, "the table is not what is served: UPDATE_GOLDEN=1 cargo test -p redplane metric");
}

/// A row of a table of keys.
struct Row {
    key: String,
    default: String,
    bounds: String,
}

/// The table below a heading.
fn rows(page: &str, heading: &str) -> Vec<Row> {
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).expect("the page has the heading");
    let table =
        rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let cell = |index: usize| cells[index].to_owned();
        Row { key: cell(0).trim_matches('`').to_owned(), default: cell(2), bounds: cell(3) }
    };
    table.skip(2).map(row).collect()
}

/// The keys that a file may have, by what is said about one that it may not have.
fn keys<T: DeserializeOwned>() -> BTreeSet<String> {
    let Err(error) = toml::from_str::<T>("nobody = 0") else { panic!("it takes any key") };
    let (_, known) = error.message().split_once("expected ").expect("it lists what it knows");
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every key is in the table and has a default if it may be left out. `sample` has all of them.
fn check<T: DeserializeOwned>(page: &str, heading: &str, sample: &str) {
    let rows = rows(page, heading);
    let listed: BTreeSet<String> = rows.iter().map(|row| row.key.clone()).collect();
    assert_eq!(listed, keys::<T>(), "{heading}");
    let sample: toml::Table = toml::from_str(sample).expect("the sample is TOML");
    assert!(sample.clone().try_into::<T>().is_ok(), "{heading}: {:?}", sample.try_into::<T>().err());
    for Row { key, default, .. } in rows {
        let mut less = sample.clone();
        assert!(less.remove(&key).is_some(), "{heading}: the sample lacks {key}");
        assert_eq!(less.try_into::<T>().is_ok(), !default.is_empty(), "{heading}: the default of `{key}`");
    }
}

const SWITCH: &str = r#"
app = "nat"
id = 1
address = "192.0.2.1"
mac = "02:00:00:01:01:03"
lease_ms = 1000
drift_margin_per_mille = 10
control = "s1.sock"
metrics = "127.0.0.1:9091"
metrics_public = false
port = [{ number = 3, interface = "eth3", store_facing = true }]
store = [{ address = "192.0.2.101", mac = "02:00:00:02:01:03", port = 3 }]
route = []
authentication = { keys = ["00112233445566778899aabbccddeeff"] }
tables = {}
"#;

const TESTBED: &str = r#"
name = "nat"
app = "nat"
data_plane = "software"
lease_ms = 100
switches = 2
store_nodes = 3
announced = []
cable = []
config = {}
folder = "here"
inside = { network = "10.7.0.0/24" }
outside = { network = "198.51.100.0/24" }
authentication = { keys = ["00112233445566778899aabbccddeeff"] }
tables = {}
"#;

#[test]
fn every_key_of_a_switch_is_in_the_guide() {
    let page = page("configuration.md");
    check::<SwitchFile>(&page, "## A switch", SWITCH);
    check::<PortFile>(&page, "### port", "number = 1\ninterface = \"eth1\"\ntap = true\nstore_facing = true");
    check::<StoreFile>(&page, "### store", "address = \"192.0.2.1\"\nmac = \"\"\nport = 3");
    check::<RouteFile>(&page, "### route", "prefix = \"\"\nport = 1\nsource = \"\"\ndestination = \"\"");
    let keys = "keys = [\"00112233445566778899aabbccddeeff\"]";
    check::<AuthenticationFile>(&page, "### authentication", keys);
}

#[test]
fn every_key_of_a_testbed_is_in_the_guide() {
    let page = page("configuration.md");
    check::<Topology>(&page, "## A testbed", TESTBED);
    check::<Side>(&page, "### side", "network = \"10.7.0.0/24\"\nhosts = 2");
    check::<CableFile>(&page, "### cable", "switch = 1\nport = \"store\"\nimpairment = {}");
    let all = "delay_ms = 1\nloss = 0\nduplicate = 0\nreorder = 0\njitter_ms = 1\ncorrupt = 0\nmegabits = 0";
    check::<Impairment>(&page, "### impairment", all);
}

/// Both ends of what the bounds say are taken, and not what is beyond them.
#[test]
fn bounds_are_what_the_guide_says() {
    let page = page("configuration.md");
    let switch = |text: &str| {
        let file: Result<SwitchFile, _> = toml::from_str(text);
        file.is_ok_and(|file| file.pipeline(1, 9000).is_ok())
    };
    let testbed = |text: &str| Topology::parse(text).is_ok();
    let mut checked = Vec::new();
    for (heading, sample) in [("## A switch", SWITCH), ("## A testbed", TESTBED)] {
        let is_taken = |text: &str| if sample == SWITCH { switch(text) } else { testbed(text) };
        for Row { key, bounds, .. } in rows(&page, heading) {
            let ends = bounds.split([',', ';']).next().and_then(|bounds| bounds.split_once(" to "));
            let Some((Ok(least), Ok(most))) = ends.map(|(least, most)| (least.parse(), most.parse())) else {
                continue;
            };
            let with = |value: i64| {
                let mut file: toml::Table = toml::from_str(sample).expect("the sample is TOML");
                file.insert(key.clone(), value.into());
                is_taken(&file.to_string())
            };
            let taken: [bool; 4] = [least - 1, least, most, most + 1].map(with);
            assert_eq!(taken, [false, true, true, false], "{key}: {bounds}");
            checked.push(key.clone());
        }
    }
    assert_eq!(checked, ["id", "lease_ms", "switches", "store_nodes"]);
}
