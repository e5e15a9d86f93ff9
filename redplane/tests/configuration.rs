//! Files of an operator, and what is wrong with them.

use redplane::switch::config::SwitchFile;
use redplane::testbed::topology::Topology;
use redplane::testbed::wire::Impairment;

const SWITCH: &str = r#"
app = "nat"
id = 1
address = "192.0.2.1"
mac = "02:00:00:01:01:03"
lease_ms = 100
port = [
    { number = 1, interface = "inside" },
    { number = 3, interface = "store", store_facing = true },
]
store = [{ address = "192.0.2.101", mac = "02:00:00:02:01:03", port = 3 }]
route = [{ prefix = "0.0.0.0/0", port = 1, source = "02:00:00:01:01:01", destination = "02:00:00:02:01:01" }]
tables = { inside = { "10.0.0.0/8" = true } }
"#;

const KEY: &str = "00112233445566778899aabbccddeeff";

const TOPOLOGY: &str = include_str!("../examples/nat.toml");

fn switch(from: &str, to: &str) -> String {
    assert!(SWITCH.contains(from), "{from}");
    let file: SwitchFile = match toml::from_str(&SWITCH.replace(from, to)) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    let checked = file.pipeline(1, 9000).and_then(|_| file.tables::<apps::nat::App>());
    checked.map_or_else(|error| format!("{error:#}"), |_| String::new())
}

fn topology(from: &str, to: &str) -> String {
    assert!(TOPOLOGY.contains(from), "{from}");
    Topology::parse(&TOPOLOGY.replace(from, to)).map_or_else(|error| format!("{error:#}"), |_| String::new())
}

#[track_caller]
fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

#[test]
fn the_switch_is_what_the_file_says() {
    assert_eq!(switch("id = 1", "id = 2"), "");
}

#[test]
fn a_mistake_in_a_switch_is_named() {
    assert_says(&switch("lease_ms = 100", "lease_ms = 1"), &["lease_ms", "leaves a switch"]);
    assert_says(&switch("lease_ms", "lease"), &["unknown field `lease`"]);
    assert_says(&switch(", store_facing = true", ""), &["192.0.2.101", "port 3", "store_facing"]);
    assert_says(&switch("0.0.0.0/0", "0.0.0.0"), &["ADDRESS/BITS"]);
    assert_says(&switch("0.0.0.0/0", "0.0.0/0"), &["route 0.0.0/0"]);
    assert_says(&switch("02:00:00:01:01:01", "02:00"), &["02:00", "Ethernet address"]);
    assert_says(&switch("10.0.0.0/8", "10.0.0.1/8"), &["[tables]", "bits set"]);
    assert_says(&switch("inside = {", "inner = {"), &["[tables]", "inner"]);
}

#[test]
fn a_full_frame_must_fit_on_its_way_to_the_store() {
    let file: SwitchFile = toml::from_str(SWITCH).expect("the file is sound");
    let mtu = |store| move |name: &str| if name == "store" { store } else { 1500 };
    // Ethernet, IPv4 and UDP around a message of 43 bytes.
    assert_eq!(file.check_headroom(43, mtu(1585)).expect("it fits"), 1585);
    let signing: SwitchFile =
        toml::from_str(&format!("{SWITCH}authentication = {{ keys = \"{KEY}\" }}")).expect("it is sound");
    assert_eq!(signing.check_headroom(43, mtu(1593)).expect("it fits with a code of 8 bytes"), 1593);
    assert!(signing.check_headroom(43, mtu(1592)).is_err());
    let said = file.check_headroom(43, mtu(1584)).expect_err("it does not fit").to_string();
    assert_says(&said, &["1584", "1585", "inside", "raise the MTU of store"]);
}

/// The rules of the store's file, and its words; what is said shows no key.
#[test]
fn a_mistake_in_keys_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("switch.toml");
    let load = |keys: &str| {
        let text = format!("{SWITCH}[authentication]\nkeys = {keys}\n");
        std::fs::write(&path, text).expect("it is written");
        SwitchFile::load(&path)
    };
    let other = KEY.replace("00", "99");
    for keys in [format!("[\"{KEY}\"]"), format!("\"{KEY}\""), format!("[\"{KEY}\", \"{other}\"]")] {
        let file = load(&keys).expect("they are keys");
        assert!(file.pipeline(1, 9000).expect("it can be").authentication.is_some());
        let again: SwitchFile =
            toml::from_str(&toml::to_string(&file).expect("it is written")).expect("it is read");
        assert_eq!(again.authentication.map(|file| file.keys), file.authentication.map(|file| file.keys));
    }
    let openssl = "openssl rand -hex 16";
    for (keys, parts) in [
        ("[]".to_owned(), ["0 keys, not 1 to 2", "while keys are changed"]),
        (format!("[\"{KEY}\", \"{other}\", \"{KEY}\"]"), ["3 keys, not 1 to 2", "*****"]),
        (format!("[\"{KEY}\", \"{KEY}\"]"), ["the same key twice", "*****"]),
        (format!("[\"{KEY}\", \"99 {KEY}\"]"), ["key 2", "character 3 of the key is no hex digit"]),
        ("[\"0011 2233\"]".to_owned(), [openssl, "character 5 of the key is no hex digit"]),
        ("[\"00112233\"]".to_owned(), [openssl, "a key of 8 hex digits, not 32"]),
        ("[112233]".to_owned(), [openssl, "a key is a string of 32 hex digits"]),
        (format!("[\"{KEY}\"]\nkey = 1"), ["switch.toml", "unknown field `key`"]),
        (format!("[\"{KEY}\"], 2"), ["switch.toml", "line 15"]),
    ] {
        let said = format!("{:#}", load(&keys).expect_err("they are none"));
        assert_says(&said, &parts);
        assert!(!said.contains("2233"), "it shows a key: {said}");
    }
}

#[test]
fn metrics_are_for_this_machine_unless_it_is_said() {
    let file = |text: &str| toml::from_str::<SwitchFile>(&format!("{SWITCH}{text}")).expect("it is sound");
    assert_eq!(file("").metrics().expect("none"), None);
    let address = "metrics = \"0.0.0.0:9091\"\n";
    let said = file(address).metrics().expect_err("others reach it").to_string();
    assert_says(&said, &["`metrics` is 0.0.0.0", "no password", "metrics_public = true"]);
    let public = file(&format!("{address}metrics_public = true"));
    assert_eq!(public.metrics().expect("it is said").map(|address| address.port()), Some(9091));
    assert!(file("metrics = \"[::1]:9091\"").metrics().is_ok());
}

/// What the emitted P4 does not do is not taken for done: neither by a switch nor by a testbed.
#[test]
fn bmv2_refuses_keys() {
    let authentication = format!("[authentication]\nkeys = [\"{KEY}\"]\n[inside]");
    let text = TOPOLOGY.replace("[inside]", &authentication);
    let mut topology = Topology::parse(&text).expect("it is sound");
    topology.data_plane = redplane::testbed::topology::DataPlane::Bmv2;
    let emitted = redplane::Emitted { schema: "", v1model: "", entries: "" };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_redplane"));
    let refused = redplane::testbed::Testbed::start(topology, program, emitted);
    let parts = ["[authentication]", "emitted P4", "--data-plane software", "[[switch]]"];
    assert_says(&format!("{:#}", refused.expect_err("it cannot be")), &parts);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("switch.toml");
    std::fs::write(&path, format!("{SWITCH}authentication = {{ keys = \"{KEY}\" }}")).expect("it is written");
    let mut switch = std::process::Command::new(program);
    let output = switch.args(["switch", "--data-plane", "bmv2", "--config"]).arg(&path).output();
    let output = output.expect("the program is there");
    assert!(!output.status.success());
    assert_says(&String::from_utf8_lossy(&output.stderr), &parts);
}

#[test]
fn an_impairment_is_what_is_said() {
    let parse = |text: &str| Impairment::parse(&text.split(' ').collect::<Vec<_>>());
    let found = parse("loss=0.25 delay_ms=1.5").expect("it is sound");
    assert_eq!(found, Impairment { loss: 0.25, delay_ms: 1.5, ..Impairment::default() });
    for (text, part) in
        [("loss", "NAME=VALUE"), ("lose=1", "no `lose`"), ("loss=x", "loss=x"), ("delay_ms=-1", "delay_ms")]
    {
        assert_says(&format!("{:#}", parse(text).expect_err("it is wrong")), &[part]);
    }
}

#[test]
fn a_mistake_in_a_topology_is_named() {
    assert_eq!(topology("hosts = 3", "hosts = 4"), "");
    assert_says(&topology("name = \"nat\"", "name = \"a-name\""), &["a-name", "small letters"]);
    assert_says(&topology("10.7.0.0/24\"\nhosts = 3", "10.7.0.0/29\"\nhosts = 7"), &["no room for 7 hosts"]);
    assert_says(&topology("network = \"10.7.0.0/24\"", "network = \"10.7.0.9/24\""), &["bits set"]);
    assert_says(&topology("lease_ms = 100", "switches = 17"), &["switches is 17", "1 to 16"]);
    assert_says(&topology("lease_ms = 100", "store_nodes = 0"), &["store_nodes is 0"]);
    let cable = |text: &str| topology("[inside]", &format!("[[cable]]\n{text}\n[inside]"));
    assert_eq!(cable("switch = 1\nport = \"store\"\nimpairment = { loss = 0.5 }"), "");
    assert_says(&cable("switch = 3\nport = \"store\""), &["switch of a cable is 3"]);
    assert_says(&cable("switch = 1\nport = \"north\""), &["no port `north`"]);
    assert_says(
        &cable("switch = 1\nport = \"store\"\nimpairment = { loss = 2.0 }"),
        &["s1, store", "loss is 2"],
    );
    assert_says(&topology("lease_ms = 100", "data_plane = \"tofino\""), &["tofino", "software"]);
}
